package proxy

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
	"unsafe"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
)

// A panic is answered, and strands nobody: neither in a fill, for all who wait
// for it, nor in a request's own goroutine.
func TestPanics(t *testing.T) {
	s := newSite(t, always(origin.Text("max-age=60", "x")))
	s.get("/stored")
	s.stored(1)
	pool := s.h.snap.Load().routes[0].Upstream
	s.h.snap.Load().routes[0].Upstream = nil
	for method, status := range map[string]int{"GET": 502, "POST": 500} {
		if r := s.do(method, "/", "Content-Length: 0"); r.status != status || r.header.Get("Proxy-Status") == "" {
			t.Errorf("%s: %s", method, r)
		}
	}
	waitFor(t, "the requests and fills to end", func() bool {
		v := s.h.View()
		return v.Requests.InFlight == 0 && v.Flights.Flights == 0 && v.Flights.Readers == 0
	})
	s.h.snap.Load().routes[0].Upstream = pool
	if r := s.get("/stored"); !r.says("hit") {
		t.Errorf("afterwards: %s", r)
	}
}

// panicking is a log whose warnings panic.
type panicking struct{ slog.Handler }

func (panicking) Enabled(_ context.Context, l slog.Level) bool { return l == slog.LevelWarn }
func (panicking) Handle(context.Context, slog.Record) error    { panic("no space left") }

// A request that panics gives back what it holds: here its place in a flight.
func TestPanicReleasesTheFlight(t *testing.T) {
	s := newSite(t, always(origin.Answer{Raw: []byte("nonsense\r\n\r\n"), Ending: origin.Drop}),
		func(o *Options) { o.Log = slog.New(panicking{slog.DiscardHandler}) })
	if r := s.get("/"); r.status != 500 || !r.closed {
		t.Errorf("got %s", r)
	}
	waitFor(t, "the reader to leave", func() bool { return s.h.View().Flights.Readers == 0 })
}

// deafConn is a loopConn whose peer does not take a byte.
type deafConn struct{ loopConn }

func (*deafConn) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// A client that goes away before its answer leaves nothing behind, whatever way
// the answer would have taken. It may find out with the first of two
// pipelined answers, or the second.
func TestClientGoneBeforeItsAnswer(t *testing.T) {
	for name, a := range map[string]origin.Answer{
		"chunked": {Body: []byte("x"), Framing: origin.Chunked},
		"length":  {Body: []byte("x")},
		"stored":  origin.Text("max-age=60", "x"),
	} {
		for _, version := range []string{"1.0", "1.1"} {
			t.Run(name+" "+version, func(t *testing.T) {
				s := newSite(t, func(r origin.Request) origin.Answer {
					if r.Target == "/first" {
						return origin.Text("max-age=60", "x")
					}
					return a
				})
				s.get("/first")
				s.stored(1)
				c := &deafConn{loopConn{left: 1}}
				c.request = []byte(request("GET", "/first") + "GET / HTTP/" + version + "\r\nHost: x\r\n\r\n")
				_ = testFront(s.h).ServeConn(c) // what it fails of is the client's doing
				waitFor(t, "the request to end", func() bool {
					v := s.h.View()
					return v.Requests.InFlight == 0 && v.Flights.Readers == 0
				})
			})
		}
	}
}

// An HTTP/1.0 client sees a body that is cut short end in a reset, not as a
// whole one.
func TestCutBodyToOldClient(t *testing.T) {
	for _, control := range []string{"max-age=60", "no-store"} {
		s := newSite(t, always(origin.Answer{
			Fields: []origin.Field{{Name: "Cache-Control", Value: control}},
			Size:   1 << 20, Framing: origin.Chunked, Cut: true, CutAfter: 1 << 19,
		}))
		if r := s.roundTrip("GET", "GET / HTTP/1.0\r\nHost: x\r\n\r\n"); r.status != 200 || r.err == nil || !r.closed {
			t.Errorf("%s: %d bytes, %v", control, len(r.body), r.err)
		}
	}
}

// Where the leader's second look found an object each request looks for itself:
// a follower may select another variant.
func TestFollowersOfASecondLook(t *testing.T) {
	s := newSite(t, func(r origin.Request) origin.Answer {
		return origin.Text("max-age=60", r.Get("Accept-Language")).With("Vary", "Accept-Language")
	})
	var k keys
	fields := wire.Fields{{Name: "Host", Value: "x"}}
	k.build(s.h.snap.Load().routes[0], target{scheme: "http", authority: "x", path: "/"}, fields)
	found := make(chan struct{})
	r, err := s.h.flights.Join(k.flight(0, false), func(_ context.Context, w *singleflight.Writer[*head]) error {
		<-found
		return w.Head(&head{found: true}, singleflight.Store)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	follower := s.begin("/", "Accept-Language: fr")
	s.waiting(2)
	close(found)
	if r := <-follower; r.status != 200 || r.body != "fr" {
		t.Errorf("the French reader got %s", r)
	}
}

// A Vary record follows what the origin says last.
func TestRememberVary(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1")
	var k keys
	k.build(h.snap.Load().routes[0], target{path: "/"}, nil)
	primary := string(k.bytes)
	fields := wire.Fields{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}
	for _, vary := range [][]string{{"a"}, {"a", "b"}, nil, {"b"}} {
		h.rememberVary(&k, vary)
		_, why := h.find(&k, fields, time.Now())
		want := string(cache.AppendVariant([]byte(primary), vary, fields))
		if string(k.bytes) != want || (why == cache.VaryMiss) != (vary != nil) {
			t.Errorf("Vary %v: key %q, want %q; %v", vary, k.bytes, want, why)
		}
		// It holds on to no more of the head than the names.
		rec, _ := h.index.Lookup(k.hash, primary, time.Now())
		if len(vary) > 0 && unsafe.StringData(rec.Vary[0]) == unsafe.StringData(vary[0]) {
			t.Errorf("Vary %v is a part of the head", rec.Vary)
		}
	}
}
