package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

// arrivedAt returns how many bytes are there for c to be read.
func arrivedAt(c *conn) (n int) {
	buf := make([]byte, 1<<20)
	if err := c.raw.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), buf, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); err != nil {
		return 0
	}
	return max(n, 0)
}

// TestQuietTLS: what may have come on an idle connection that is used again.
// All of it is sent by hand, once the first request was answered.
func TestQuietTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tt := range []struct {
		name string
		send func(*scribe) string
		kept bool
	}{
		{"nothing", func(*scribe) string { return "" }, true},
		{"a session ticket", (*scribe).ticket, true},
		{"several", func(s *scribe) string { return s.ticket() + s.ticket() + s.ticket() + s.ticket() }, true},
		{"two in a record", func(s *scribe) string {
			one := "\x04\x00\x00\x14" + "\x00\x00\x0e\x10" + "\x01\x02\x03\x04" + "\x01n" + "\x00\x06ticket" + "\x00\x00"
			return s.seal(handshakeRecord, one+one)
		}, true},
		{"new keys", func(s *scribe) string { return s.keyUpdate(0) }, true},
		{"new keys for both", func(s *scribe) string { return s.keyUpdate(1) }, true},
		{"a record of nothing", func(s *scribe) string { return s.seal(dataRecord, "") }, true},
		{"half a ticket", func(s *scribe) string { return s.ticket()[:50] }, false},
		{"all but a byte of it", func(s *scribe) string { r := s.ticket(); return r[:len(r)-1] }, false},
		{"a ticket and a half", func(s *scribe) string { return s.ticket() + s.ticket()[:50] }, false},
		{"half a record's head", func(s *scribe) string { return s.ticket()[:3] }, false},
		{"tickets without end", func(s *scribe) (all string) {
			for range 20 {
				all += s.ticket()
			}
			return all
		}, false},
		{"an answer unasked", func(s *scribe) string { return s.seal(dataRecord, text("evil")) }, false},
		{"an answer behind a ticket", func(s *scribe) string { return s.ticket() + s.seal(dataRecord, text("evil")) }, false},
		{"goodbye", func(s *scribe) string { return s.seal(alertRecord, "\x01\x00") }, false},
		{"goodbye behind a ticket", func(s *scribe) string { return s.ticket() + s.seal(alertRecord, "\x01\x00") }, false},
		{"another alert", func(s *scribe) string { return s.seal(alertRecord, "\x02\x50") }, false},
		{"a record of no key", func(*scribe) string { return "\x17\x03\x03\x00\x20" + long(32) }, false},
		{"plain text", func(*scribe) string { return "HTTP/1.1 408 Request Timeout\r\n\r\n" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var by scribe
			config := ca.serverTLS(t, "app")
			config.KeyLogWriter, config.SessionTicketsDisabled = &by, true
			answered, sent := make(chan struct{}), make(chan int, 1)
			o := newOriginOn(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), config), func(p *peer) {
				if p.n > 1 {
					always(text("hello"))(p)
					return
				}
				if err := by.begin(p); err != nil {
					t.Error(err)
				}
				defer p.socket().Close()
				p.request()
				_, _ = io.WriteString(p.socket(), by.seal(dataRecord, text("hello")))
				<-answered
				n, _ := io.WriteString(p.socket(), tt.send(&by))
				sent <- n
				for {
					if _, ok := p.request(); !ok {
						return
					}
					_, _ = io.WriteString(p.socket(), by.seal(dataRecord, text("hello")))
				}
			})
			s := someServer(t, o.addr(), func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
			mustAsk(t, s, "hello")
			close(answered)
			want, idle := <-sent, s.idle[0]
			until(t, func() bool { return arrivedAt(idle) >= want })
			for range 3 {
				mustAsk(t, s, "hello")
			}
			if kept := o.accepted.Load() == 1; kept != tt.kept {
				t.Errorf("%d connections", o.accepted.Load())
			}
		})
	}
}

// TestQuietSeesWhatWasReadAhead: bytes behind an answer that left the socket
// with it, and are with TLS or with the reader, are no part of the next one.
func TestQuietSeesWhatWasReadAhead(t *testing.T) {
	ca := newAuthority(t, "ca")
	body := long(20 << 10) // read past the buffer of the reader
	for name, write := range map[string]func(*scribe, *peer){
		"in its record":      func(by *scribe, p *peer) { p.send(text("hello") + text("evil")) },
		"in its last record": func(by *scribe, p *peer) { p.send(text(body) + text("evil")) },
		"in a record of its own": func(by *scribe, p *peer) {
			_, _ = io.WriteString(p.socket(), by.seal(dataRecord, text("hello"))+by.seal(dataRecord, text("evil")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var by scribe
			config := ca.serverTLS(t, "app")
			config.KeyLogWriter, config.SessionTicketsDisabled = &by, true
			o := newOriginOn(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), config), func(p *peer) {
				if err := by.begin(p); err != nil {
					t.Error(err)
				}
				for {
					if _, ok := p.request(); !ok {
						return
					}
					write(&by, p)
				}
			})
			s := someServer(t, o.addr(), func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
			for range 20 {
				got, err := askAll(t.Context(), s, get("GET"))
				if err != nil || got != "hello" && got != body {
					t.Fatalf("got %.20q, %v", got, err)
				}
			}
		})
	}
}

// TestTruncation: a body that lasts until the connection ends is complete only
// where TLS says so (RFC 9112, section 9.8).
func TestTruncation(t *testing.T) {
	ca := newAuthority(t, "ca")
	untilClose := "HTTP/1.1 200 OK\r\n\r\nhello"
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
	cut := func(p *peer) { _ = p.socket().Close() }
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range []struct {
			name, answer string
			end          func(*peer)
			kind         Kind
		}{
			{"said goodbye", untilClose, func(*peer) {}, none},
			{"half-closed with a goodbye", untilClose, func(p *peer) { _ = p.Conn.(*tls.Conn).CloseWrite(); p.hold() }, none},
			{"cut", untilClose, cut, Incomplete},
			{"half-closed without", untilClose, func(p *peer) { _ = p.CloseWrite(); p.hold() }, Incomplete},
			{"reset", untilClose, (*peer).reset, Incomplete},
			{"cut in a record", untilClose, func(p *peer) { _, _ = p.socket().Write([]byte{dataRecord, 3, 3, 0, 99, 1}); cut(p) }, Incomplete},
			{"cut behind the last chunk", chunked + "0\r\n\r\n", cut, none},
			{"goodbye before the last chunk", chunked, func(*peer) {}, Incomplete},
			{"cut behind the length", text("hello"), cut, none},
			{"goodbye before the length", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", func(*peer) {}, Incomplete},
			{"cut before an answer", "", cut, Terminated},
			{"goodbye before an answer", "", func(*peer) {}, Terminated},
		} {
			t.Run(fmt.Sprintf("%x %s", version, tt.name), func(t *testing.T) {
				config := ca.serverTLS(t, "app")
				config.MaxVersion = version
				o := newOriginOn(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), config), func(p *peer) {
					p.request()
					p.send(tt.answer)
					tt.end(p)
				})
				s := someServer(t, o.addr(), func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
				got, err := askAll(t.Context(), s, get("GET"))
				if tt.kind == none && (err != nil || got != "hello") {
					t.Errorf("got %q, %v", got, err)
				} else if tt.kind != none {
					wantKind(t, err, tt.kind)
				}
			})
		}
	}
}

// TestGoodbye: connections that are closed end with a close_notify (RFC 8446,
// section 6.1), those that broke without any wait.
func TestGoodbye(t *testing.T) {
	ca := newAuthority(t, "ca")
	ends := make(chan bool, 1)
	ln := listen(t, "tcp", "127.0.0.1:0")
	config := ca.serverTLS(t, "app")
	o := newOriginOn(t, ln, func(p *peer) {
		under := &carrier{socket: &socket{Conn: p.Conn}}
		c := tls.Server(under, config)
		r := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				ends <- errors.Is(err, io.EOF) && !under.ended
				return
			}
			_, _ = io.WriteString(c, text("hello"))
		}
	})
	s := someServer(t, o.addr(), func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
	mustAsk(t, s, "hello")
	s.close()
	if !<-ends {
		t.Error("an idle connection ends without a goodbye")
	}

	full := newOriginOn(t, listen(t, "tcp", "127.0.0.1:0"), func(p *peer) {
		_ = tls.Server(p.Conn, config).Handshake()
		<-p.o.ended
	})
	s = someServer(t, full.addr(), func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
	s.tryEnter()
	defer s.leave()
	c, _, err := s.take(t.Context(), wire.ProxyHeader{}, false)
	if err != nil {
		t.Fatal(err)
	}
	c.write = deadline{timeout: 100 * time.Millisecond}
	for err == nil {
		_, err = c.Write(make([]byte, 64<<10))
	}
	if !isTimeout(err) {
		t.Error(err)
	}
	c.write = deadline{}
	began := time.Now()
	s.discard(c)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("closing a connection that is stuck took %v", took)
	}
}

// TestHurry: reads and writes that wait for nothing do what they can.
func TestHurry(t *testing.T) {
	quit := make(chan struct{})
	o := newOrigin(t, func(p *peer) {
		p.send("hello")
		<-quit
	})
	s := someServer(t, o.addr(), nil)
	s.tryEnter()
	defer s.leave()
	c, _, err := s.take(t.Context(), wire.ProxyHeader{}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.discard(c)
	until(t, func() bool { return arrivedAt(c) == 5 })
	fast := &carrier{socket: &c.socket}
	fast.transfer = fast.transferNow
	fast.hurry()
	big := make([]byte, 64<<20)
	for _, tt := range []struct {
		what string
		do   func([]byte) (int, error)
		p    []byte
		some bool
		err  error
	}{
		{"read", fast.Read, big[:3], true, nil},
		{"read the rest", fast.Read, big, true, nil},
		{"read nothing", fast.Read, big, false, os.ErrDeadlineExceeded},
		{"write", fast.Write, big[:3], true, nil},
		{"write more than fits", fast.Write, big, true, io.ErrShortWrite},
	} {
		n, err := tt.do(tt.p)
		if !errors.Is(err, tt.err) || (n > 0) != tt.some {
			t.Errorf("%s: %d, %v", tt.what, n, err)
		}
	}
	if fast.ended {
		t.Error("it ended before its end")
	}
	close(quit)
	until(t, func() bool {
		_, err = fast.Read(big)
		return !isTimeout(err)
	})
	if !fast.ended && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the end: %v", err)
	}
}

// TestInterruptTLS: an answer that nobody wants any more ends at once.
func TestInterruptTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	o := newOriginOn(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), ca.serverTLS(t, "app")), func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello")
		p.hold()
	})
	s := someServer(t, o.addr(), func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := ask(ctx, s, get("GET"))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	soon(t, func() {
		_, err = io.ReadAll(resp.Body)
		wantKind(t, err, Canceled)
	})
	wantConnections(t, s, 0, 0)
}

// TestTLSUpload: both directions at once, each larger than what fits between.
func TestTLSUpload(t *testing.T) {
	ca := newAuthority(t, "ca")
	o := newOriginOn(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), ca.serverTLS(t, "app")), func(p *peer) {
		for {
			r, ok := p.head()
			if !ok {
				return
			}
			p.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", r.ContentLength))
			_, _ = io.Copy(p.Conn, r.Body)
		}
	})
	s := someServer(t, o.addr(), func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
	for _, size := range []int{8 << 20, 1} {
		want := long(size)
		got, err := askAll(t.Context(), s, post(io.NopCloser(strings.NewReader(want)), int64(size)))
		if err != nil || got != want {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	if o.accepted.Load() != 1 {
		t.Errorf("%d connections", o.accepted.Load())
	}
}

// TestRecords: the place among records does not depend on how they arrive.
func TestRecords(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var stream []byte
		ends := map[int]bool{0: true}
		for range rnd.IntN(6) {
			n := rnd.IntN(600) * rnd.IntN(2)
			stream = append(stream, 22, 3, 3, byte(n>>8), byte(n))
			stream = append(stream, make([]byte, n)...)
			ends[len(stream)] = true
		}
		var r records
		for at := 0; ; {
			if r.between() != ends[at] {
				t.Fatalf("between records at %d: %v", at, r.between())
			}
			if at == len(stream) {
				break
			}
			n := 1 + rnd.IntN(min(len(stream)-at, 1+rnd.IntN(1000)))
			r.pass(stream[at : at+n])
			at += n
		}
	}
}

// FuzzRecords: whatever comes, in whatever pieces, leads to the same place.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("\x17\x03\x03\x00\x02ab\x16\x03\x03\x00\x00\x15\x03"), byte(3))
	f.Add([]byte("HTTP/1.1 200 OK\r\n"), byte(1))
	f.Fuzz(func(t *testing.T, stream []byte, piece byte) {
		var whole, pieces records
		whole.pass(stream)
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			pieces.pass(rest[:n])
			rest = rest[n:]
		}
		if whole.have != pieces.have || whole.left != pieces.left {
			t.Fatalf("at once %+v, in pieces %+v", whole, pieces)
		}
	})
}

// BenchmarkRoundTripTLS is one GET for 1 KiB over a kept TLS connection.
func BenchmarkRoundTripTLS(b *testing.B) {
	ca := newAuthority(b, "ca")
	answer := bulk(benchHead + "Content-Length: 1024\r\n\r\n" + long(1024))
	o := newOriginOn(b, tls.NewListener(listen(b, "tcp", "127.0.0.1:0"), ca.serverTLS(b, "app")), answer)
	s := someServer(b, o.addr(), func(o *serverOptions) { o.tls = mustTLS(b, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
	b.ReportAllocs()
	for b.Loop() {
		if got, err := askAll(b.Context(), s, get("GET")); err != nil || len(got) != 1024 {
			b.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
}
