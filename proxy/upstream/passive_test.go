package upstream

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"ringfence/health"
)

// TestPassiveResults is what health is told of an exchange.
func TestPassiveResults(t *testing.T) {
	body := func(then func(*peer)) func(*peer) {
		return func(p *peer) { p.request(); p.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"); then(p) }
	}
	put := func(r io.Reader) *Request {
		return &Request{Method: "POST", Target: "/", Body: &clientBody{Reader: r}, Length: 9}
	}
	for _, tt := range []struct {
		name   string
		script func(*peer)
		req    *Request
		streak int // failures in a row, after one success less
	}{
		{"fine", always(text("hello")), get("GET"), 0},
		{"HEAD", always(text("hello")[:38]), get("HEAD"), 0},
		{"not there", nil, get("GET"), 1},
		{"reset", resets, get("GET"), 1},
		{"silent", silent, get("GET"), 1},
		{"garbage", func(p *peer) { p.request(); p.send("?\r\n\r\n"); p.hold() }, get("GET"), 1},
		{"reset in the body", body((*peer).reset), get("GET"), 1},
		{"end in the body", body(func(*peer) {}), get("GET"), 1},
		{"silent in the body", body((*peer).hold), get("GET"), 1},
		{"503", status(503), get("GET"), 1},
		{"503 to a HEAD", always("HTTP/1.1 503 X\r\nContent-Length: 3\r\n\r\n"), get("HEAD"), 1},
		{"500", status(500), get("GET"), 0},
		{"404", status(404), get("GET"), 0},
		{"the client's body broke", silent, put(iotest.ErrReader(errors.New("broke"))), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := inWalk(t, func(o *Options) {
				o.Ejection, o.FailureStatuses = health.Ejection{Consecutive: 9}, []int{502, 503}
				o.Retry.Attempts, o.ReadTimeout, o.ResponseTimeout = 1, 50*time.Millisecond, 50*time.Millisecond
			}, tt.script)
			for range 2 {
				_, _, _ = roundTrip(t.Context(), p, tt.req)
				if tt.req.Body != nil {
					break
				}
			}
			if got := p.Stats().Servers[0].Health.Streak; got != 2*tt.streak {
				t.Errorf("%d failures in a row, want %d", got, 2*tt.streak)
			}
		})
	}
}

// TestWhatClientsDoSaysNothing of the server: it leaves the streak as it was.
func TestWhatClientsDoSaysNothing(t *testing.T) {
	part := func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
		p.hold()
	}
	for name, tt := range map[string]struct {
		script func(*peer)
		leave  func(*Pool, *origin)
		streak int
	}{
		"before the head": {silent, func(p *Pool, o *origin) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for o.asked.Load() == 0 {
					<-time.After(time.Millisecond)
				}
				cancel()
			}()
			_, err := p.Do(ctx, get("GET"))
			wantKind(t, err, Canceled)
		}, 1},
		"in the body": {part, func(p *Pool, _ *origin) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := p.Do(ctx, get("GET"))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.ReadFull(resp.Body, make([]byte, 5))
			cancel()
			_, err = io.ReadAll(resp.Body)
			wantKind(t, err, Canceled)
		}, 1},
		"by closing": {part, func(p *Pool, _ *origin) { // the head was fine
			resp, err := p.Do(t.Context(), get("GET"))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, tt.script)
			p := pool(t, func(o *Options) { o.Ejection = health.Ejection{Consecutive: 9} }, o.addr())
			p.set.Load().members[0].health.Load().Report(false, 0)
			soon(t, func() { tt.leave(p, o) })
			if got := p.Stats().Servers[0].Health.Streak; got != tt.streak {
				t.Errorf("%d failures in a row, want %d", got, tt.streak)
			}
		})
	}
}

// TestKeptConnectionThatEnded says nothing of the server either.
func TestKeptConnectionThatEnded(t *testing.T) {
	p, _ := inWalk(t, func(o *Options) { o.Ejection = health.Ejection{Consecutive: 1} }, func(p *peer) {
		p.request()
		p.send(text("hello"))
		p.request() // and hang up on it
	}, echo)
	for range 5 {
		mustGet(t, p, "hello")
	}
	if st := p.Stats().Servers; st[0].Health.Ejections+st[1].Health.Ejections != 0 {
		t.Errorf("it was ejected")
	}
}

// TestEjected: a server that fails again and again gets nothing for a while.
func TestEjected(t *testing.T) {
	p, walk := inWalk(t, func(o *Options) {
		o.Ejection, o.FailureStatuses = health.Ejection{Consecutive: 3}, []int{503}
	}, status(503), echo)
	for range 3 {
		mustGet(t, p, "503")
	}
	first := walk[0] - 'a'
	until(t, func() bool { return p.Stats().Servers[first].Share == 0 })
	for range 3 {
		mustGet(t, p, "GET ")
	}
	st := p.Stats()
	if s := st.Servers[first]; s.Requests != 3 || s.Health.Standing != health.Ejected || st.Panics != 0 || s.Keys != 0 || st.Servers[1-first].Keys != 1 {
		t.Errorf("%+v", s)
	}
	// The log, and with it the count, comes after the change.
	until(t, func() bool { s := p.Stats().Servers[first]; return s.Ejected == 1 && s.Downed == 0 })
	if took := st.Servers[0].Took + st.Servers[1].Took; st.Took.Count() != 6 || took != st.Took.Sum || took <= 0 {
		t.Errorf("%d requests took %v, those of the servers %v", st.Took.Count(), st.Took.Sum, took)
	}
}
