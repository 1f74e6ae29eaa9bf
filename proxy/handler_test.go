package proxy

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
	"ringfence/proxy/upstream/discover"
)

// newTestHandler returns a handler with one route to one real server, which
// answers with origin. All of it ends with the test.
func newTestHandler(tb testing.TB, origin fasthttp.RequestHandler) *Handler {
	tb.Helper()
	return newHandlerFor(tb, serveOn(tb, &fasthttp.Server{Handler: origin}))
}

// serveOn lets s serve on a free port until the test ends, and returns its
// address.
func serveOn(tb testing.TB, s server) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	tb.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			tb.Error(err)
		}
		_ = l.Close() // a server that has not begun by then would begin after its end
		<-done
	})
	return l.Addr().String()
}

// newHandlerFor returns a handler with one route to one server. When the test
// ends nothing may be in flight any more.
func newHandlerFor(tb testing.TB, server string, change ...func(*Options)) *Handler {
	tb.Helper()
	pool, err := upstream.New(upstream.Options{
		Name: "app", Discover: discover.Options{Entries: []discover.Entry{{ID: "a", Address: server, Weight: 1}}},
		ConnectTimeout: time.Minute, ResponseTimeout: time.Minute, ReadTimeout: time.Minute,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxIdle: 64, MaxConnections: 64, MaxHeadSize: 16 << 10,
		Retry: upstream.Retry{Attempts: 1},
	})
	if err != nil {
		tb.Fatal(err)
	}
	pool.Start()
	var key []KeyPart
	for _, name := range []string{"scheme", "host", "path", "query"} {
		part, err := ParseKeyPart(name)
		if err != nil {
			tb.Fatal(err)
		}
		key = append(key, part)
	}
	o := Options{
		Routes: []Route{{PathPrefix: "/", Upstream: pool, Cache: CacheOn, Key: key}},
		Memory: 64 << 20, MaxObject: 8 << 20, IndexEntries: 1 << 10,
		WaitTimeout: time.Minute, LeadTimeout: time.Minute, MaxWaiters: 1000, MaxFills: 100, MaxVariants: 64, MaxRequests: 1 << 20,
		UncacheableTTL: time.Minute, FillTimeout: time.Minute,
		MaxTunnels: 100, TunnelTimeout: time.Minute, TunnelGrace: time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	h, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		waitFor(tb, "all requests to end", func() bool { return h.View().Requests.InFlight == 0 })
		if err := h.Close(context.Background()); err != nil {
			tb.Error(err)
		}
		pool.Close()
		for _, s := range pool.Stats().Servers {
			if s.InFlight != 0 || s.Open != 0 {
				tb.Errorf("left behind: %d exchanges, %d connections", s.InFlight, s.Open)
			}
		}
	})
	return h
}

// front is a server as the composition root makes it.
type front struct {
	*fasthttp.Server
	door   *edge.Door
	hit    func(*edge.Conn) bool
	limits edge.Limits
	site   edge.Site
}

func testFront(h *Handler) front {
	var hit func(*edge.Conn) bool
	if h != nil {
		hit = h.Hit
	}
	return front{
		Server: edge.NewServer(h.Serve, nil), door: edge.NewDoor(edge.Capacity{}), hit: hit,
		limits: edge.Limits{MaxHead: 16 << 10, MaxTarget: 8 << 10, MaxFields: 100, Read: time.Minute, Write: time.Minute, Head: time.Minute, Idle: time.Minute},
	}
}

func (f front) listener(inner net.Listener) *edge.Listener {
	return edge.NewListener(inner, f.door, f.hit, edge.ListenerOptions{Limits: f.limits, Site: f.site})
}

// Serve serves the clients of a listener.
func (f front) Serve(inner net.Listener) error { return f.Server.Serve(f.listener(inner)) }

// ServeConn serves one client.
func (f front) ServeConn(c net.Conn) error { return f.Server.ServeConn(f.listener(nil).Wrap(c)) }

// Shutdown ends it. Nothing may be in flight.
func (f front) Shutdown() error {
	// fasthttp would close connections that are being served.
	for end := time.Now().Add(10 * time.Second); f.door.Stats().Open > 0 && time.Now().Before(end); runtime.Gosched() {
		f.door.CloseIdle()
	}
	return f.Server.Shutdown()
}

// server is what serves connections.
type server interface {
	Serve(net.Listener) error
	ServeConn(net.Conn) error
	Shutdown() error
}

// waitFor waits until cond holds; what says what is waited for.
func waitFor(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			tb.Fatal("waited in vain for " + what)
		}
	}
}
