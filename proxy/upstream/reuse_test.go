package upstream

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

func TestKeepAlive(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	p := pool(t, nil, o.addr())
	for range 5 {
		mustGet(t, p, "hello")
	}
	if st := p.Stats().Servers[0]; o.accepted.Load() != 1 || st.Reused != 4 || st.Requests != 5 {
		t.Errorf("%d connections, %d reused", o.accepted.Load(), st.Reused)
	}
}

// TestKeptConnectionHasNoOldDeadline: a connection serves again after the
// deadlines of its last request have passed.
func TestKeptConnectionHasNoOldDeadline(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	p := pool(t, func(o *Options) { o.ResponseTimeout, o.ReadTimeout = 200*time.Millisecond, 200*time.Millisecond }, o.addr())
	mustGet(t, p, "hello")
	idle := p.set.Load().members[0].idle[0]
	if err := idle.SetDeadline(longAgo); err != nil {
		t.Fatal(err)
	}
	mustGet(t, p, "hello")
	if o.accepted.Load() != 1 {
		t.Errorf("%d connections, want the kept one", o.accepted.Load())
	}
}

// TestStaleConnection: what happens where a kept connection turns out to be no
// good. Each script is run for the first connection once its first request was
// answered; further connections answer "hello".
func TestStaleConnection(t *testing.T) {
	closed := func(p *peer) { p.Close() }
	hangUp := func(p *peer) { p.request() }
	post := func(body string) *Request {
		return &Request{Method: "POST", Target: "/", Body: io.NopCloser(strings.NewReader(body)), Length: int64(len(body))}
	}
	for _, tt := range []struct {
		name        string
		idle        func(*peer)
		req         *Request
		asked       int64 // requests that servers read, with the first one
		connections int64
		kind        Kind
	}{
		{"alive", func(p *peer) { p.request(); p.send(text("hello")); p.hold() }, get("GET"), 2, 1, none},
		{"closed", closed, get("GET"), 2, 2, none},
		{"closed, POST", closed, get("POST"), 2, 2, none},
		{"closed, body", closed, post("x"), 2, 2, none},
		{"reset, body", (*peer).reset, post("x"), 2, 2, none},
		{"unasked bytes", func(p *peer) { p.send(text("evil")) }, get("GET"), 2, 2, none},
		{"goes with the request", hangUp, get("GET"), 3, 2, none},
		{"goes with the request, PUT", hangUp, get("PUT"), 3, 2, none},
		{"goes with the request, POST", hangUp, get("POST"), 2, 1, Terminated},
		{"goes with the request, body", hangUp, post("x"), 2, 1, Terminated},
		{"goes inside the head", func(p *peer) { p.request(); p.send("HTTP/1.1 200 OK\r\n") }, get("GET"), 3, 2, none},
		{"goes inside the body", func(p *peer) { p.request(); p.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe") }, get("GET"), 2, 1, Incomplete},
		{"garbage", func(p *peer) { p.request(); p.send("garbage\r\n\r\n") }, get("GET"), 2, 1, Protocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answered, idled := make(chan struct{}), make(chan struct{})
			o := newOrigin(t, func(p *peer) {
				if p.n > 1 {
					always(text("hello"))(p)
					return
				}
				p.request()
				p.send(text("hello"))
				<-answered
				if tt.asked == 2 && tt.connections == 2 { // it goes before the request
					defer p.Close()
					defer close(idled)
				} else {
					close(idled)
				}
				tt.idle(p)
			})
			p := pool(t, nil, o.addr())
			mustGet(t, p, "hello")
			close(answered)
			<-idled
			resp, body, err := roundTrip(t.Context(), p, tt.req)
			if tt.kind == none {
				if err != nil || body != "hello" || resp.Attempts != 1 {
					t.Errorf("got %q, %v", body, err)
				}
			} else {
				wantKind(t, err, tt.kind)
			}
			if o.asked.Load() != tt.asked || o.accepted.Load() != tt.connections {
				t.Errorf("%d requests on %d connections, want %d on %d",
					o.asked.Load(), o.accepted.Load(), tt.asked, tt.connections)
			}
		})
	}
}

// kept makes n requests at once, so that as many connections are kept.
func kept(t *testing.T, p *Pool, n int) {
	t.Helper()
	var open []*Response
	for range n {
		resp, err := p.Do(t.Context(), get("GET"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	for _, resp := range open {
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	if _, idle := p.set.Load().members[0].connections(); idle != n {
		t.Fatalf("%d connections kept, want %d", idle, n)
	}
}

// TestSecondConnectionIsNew: where one kept connection went with its request,
// the next kept one would do no better.
func TestSecondConnectionIsNew(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send(text("hello"))
		if p.n <= 3 {
			p.request()
			return
		}
		p.hold()
	})
	p := pool(t, nil, o.addr())
	kept(t, p, 3)
	if resp := mustGet(t, p, "hello"); resp.Attempts != 1 || o.accepted.Load() != 4 || o.asked.Load() != 5 {
		t.Errorf("%d attempts, %d connections, %d requests", resp.Attempts, o.accepted.Load(), o.asked.Load())
	}
}

// TestCanceledBefore: what nobody wants does not go out on a kept connection.
func TestCanceledBefore(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	p := pool(t, nil, o.addr())
	mustGet(t, p, "hello")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := roundTrip(ctx, p, get("GET"))
	wantKind(t, err, Canceled)
	if _, idle := p.set.Load().members[0].connections(); idle != 1 {
		t.Error("it cost the kept connection")
	}
}

// TestCanceledAfterTheAnswerArrived: the answer may be read to its end, but the
// interrupted connection is not for the next request.
func TestCanceledAfterTheAnswerArrived(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	p := pool(t, nil, o.addr())
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := p.Do(ctx, get("GET"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "o" {
			t.Fatalf("got %q, %v", rest, err)
		}
		if got := mustGet(t, p, "hello"); got.Attempts != 1 {
			t.Fatal("the next request was retried")
		}
	}
}

// TestProvablyUnsent: where not one byte could be written, any request moves
// to a new connection, its body untouched.
func TestProvablyUnsent(t *testing.T) {
	bodies := make(chan string, 1)
	o := newOrigin(t, func(p *peer) {
		if p.n == 1 {
			p.request()
			p.send(text("hello"))
			<-p.o.ended
			return
		}
		r, _ := p.request()
		bodies <- r.body
		p.send(text("hello"))
		p.hold()
	})
	p := pool(t, nil, o.addr())
	mustGet(t, p, "hello")
	if err := p.set.Load().members[0].idle[0].Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	req := &Request{Method: "POST", Target: "/", Body: io.NopCloser(strings.NewReader("body")), Length: 4}
	if _, body, err := roundTrip(t.Context(), p, req); err != nil || body != "hello" {
		t.Fatalf("got %q, %v", body, err)
	}
	if got := <-bodies; got != "body" || o.asked.Load() != 2 {
		t.Errorf("the body arrived as %q, %d requests", got, o.asked.Load())
	}
}

// TestConnectionLimit: a server's connections are bounded, and one that is gone
// makes room.
func TestConnectionLimit(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		if p.n > 1 {
			always(text("hello"))(p)
		}
		p.request()
		p.send(text("hello"))
		p.request() // and hang up on it
	})
	p := pool(t, func(o *Options) { o.MaxConnections, o.QueueSize, o.Retry.Attempts = 1, 0, 1 }, o.addr())
	resp, err := p.Do(t.Context(), get("GET"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = roundTrip(t.Context(), p, get("GET"))
	wantKind(t, err, ConnectionLimit)
	if _, unsent := kindOf(err); !unsent {
		t.Error("a request without a connection counts as sent")
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	mustGet(t, p, "hello")
	mustGet(t, p, "hello")
	if o.accepted.Load() != 2 {
		t.Errorf("%d connections, want the first and one in its place", o.accepted.Load())
	}
}

// TestIdleConnectionsAreClosed: the reaper closes what nobody uses.
func TestIdleConnectionsAreClosed(t *testing.T) {
	gone := make(chan struct{})
	o := newOrigin(t, func(p *peer) {
		always(text("hello"))(p)
		close(gone)
	})
	p := pool(t, func(o *Options) { o.IdleTimeout = 20 * time.Millisecond }, o.addr())
	mustGet(t, p, "hello")
	soon(t, func() { <-gone })
	p.Close() // ends the reaper, which may still be counting
}

func TestReapKeepsTheYoung(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	p := pool(t, nil, o.addr())
	kept(t, p, 4)
	s := p.set.Load().members[0]
	s.reap(s.idle[2].idleSince.Add(s.idleTimeout))
	if open, idle := s.connections(); open != 2 || idle != 2 {
		t.Errorf("%d open, %d idle; want the two youngest", open, idle)
	}
	mustGet(t, p, "hello")
}

// TestCloseDuringARequest: a pool that closes lets the request end, and keeps
// nothing of it.
func TestCloseDuringARequest(t *testing.T) {
	gone := make(chan struct{})
	o := newOrigin(t, func(p *peer) {
		always(text("hello"))(p)
		close(gone)
	})
	p := pool(t, nil, o.addr())
	resp, err := p.Do(t.Context(), get("GET"))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Errorf("got %q, %v", body, err)
	}
	soon(t, func() { <-gone })
}

func TestInterruptedConnectionStaysSo(t *testing.T) {
	o := newOrigin(t, (*peer).hold)
	s := newServer(serverOptions{address: o.addr(), connectTimeout: time.Minute, maxConnections: 1})
	c, _, err := s.take(context.Background(), wire.ProxyHeader{}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.discard(c)
	c.read.timeout, c.write.timeout = time.Minute, time.Minute
	c.interrupt()
	for name, set := range map[string]func(time.Time) error{
		"both": c.SetDeadline, "read": c.SetReadDeadline, "write": c.SetWriteDeadline,
		"rolling": func(time.Time) error { return nil },
	} {
		if err := set(time.Time{}); err != nil {
			t.Fatal(err)
		}
		soon(t, func() {
			if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
				t.Errorf("%s: read: %v", name, err)
			}
			if _, err := c.Write([]byte("x")); !isTimeout(err) {
				t.Errorf("%s: write: %v", name, err)
			}
		})
	}
}
