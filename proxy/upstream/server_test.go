package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringfence/health"
)

// someServer makes a server with limits that nobody runs into. When the test
// ends, nothing may be under way.
func someServer(t testing.TB, address string, change func(*serverOptions)) *server {
	t.Helper()
	o := serverOptions{
		id: "a", address: address, connectTimeout: time.Minute, idleTimeout: time.Minute, maxIdle: 100, maxConnections: 100,
	}
	if change != nil {
		change(&o)
	}
	s := newServer(o)
	g, err := health.NewGroup(health.Options{}, []health.Target{{ID: o.id, Address: o.address}})
	if err != nil {
		t.Fatal(err)
	}
	s.health.Store(g.Shares()[0].Member)
	t.Cleanup(func() {
		if open, idle := s.connections(); s.gate.inFlight() != 0 || s.gate.queued() != 0 || open != idle {
			t.Errorf("%d in flight, %d queued, %d connections open, %d idle at the end", s.gate.inFlight(), s.gate.queued(), open, idle)
		}
		s.close()
		if open, _ := s.connections(); open != 0 {
			t.Errorf("%d connections open after close", open)
		}
	})
	return s
}

var (
	testLimits  = terms{response: time.Minute, read: time.Minute, write: time.Minute}
	testBuffers = newBuffers(16 << 10)
)

// ask enters s with req and returns the answer, its body still open.
func ask(ctx context.Context, s *server, req *Request) (*Response, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	resp, _, err := start(ctx, s, testBuffers, testLimits, req, false)
	if err != nil {
		s.leave()
	}
	return resp, err
}

// askAll is ask, and reads the body.
func askAll(ctx context.Context, s *server, req *Request) (string, error) {
	resp, err := ask(ctx, s, req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return string(all), err
}

// mustAsk is a GET that must be answered with want.
func mustAsk(t testing.TB, s *server, want string) {
	t.Helper()
	if got, err := askAll(t.Context(), s, get("GET")); err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// askMany has n answers open at once.
func askMany(t testing.TB, s *server, n int) (finish func()) {
	t.Helper()
	var open []*Response
	for range n {
		resp, err := ask(t.Context(), s, get("GET"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	return func() {
		t.Helper()
		for _, resp := range open {
			if _, err := io.ReadAll(resp.Body); err != nil {
				t.Error(err)
			}
		}
	}
}

func wantConnections(t testing.TB, s *server, open, idle int) {
	t.Helper()
	if o, i := s.connections(); o != open || i != idle {
		t.Errorf("%d connections open, %d idle; want %d, %d", o, i, open, idle)
	}
}

// TestServerLimits: the smaller limit counts, and what is beyond is refused
// unsent, or waits.
func TestServerLimits(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	for _, tt := range []struct{ connections, requests, limit int }{{3, 0, 3}, {3, 2, 2}, {2, 3, 2}, {1, 1, 1}} {
		s := someServer(t, o.addr(), func(o *serverOptions) { o.maxConnections, o.maxRequests = tt.connections, tt.requests })
		finish := askMany(t, s, tt.limit)
		_, err := ask(t.Context(), s, get("GET"))
		wantKind(t, err, ConnectionLimit)
		if _, unsent := kindOf(err); !unsent {
			t.Error("a request that was refused counts as sent")
		}
		if s.tryEnter() {
			t.Errorf("%+v: it takes more requests", tt)
		}
		finish()
		mustAsk(t, s, "hello")
	}
}

// TestServerQueue: a request beyond the limit gets the connection of the one
// before it; the queue ends in its size, its time and its context.
func TestServerQueue(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	s := someServer(t, o.addr(), func(o *serverOptions) { o.maxConnections, o.queueSize, o.queueTimeout = 1, 1, time.Minute })
	finish := askMany(t, s, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	wait := func() {
		go func() {
			_, err := askAll(ctx, s, get("GET"))
			done <- err
		}()
		until(t, func() bool { return s.gate.queued() > 0 })
	}
	wait()
	_, err := ask(t.Context(), s, get("GET"))
	wantKind(t, err, ConnectionLimit)
	why := errors.New("nobody wants it")
	cancel(why)
	if err = <-done; !errors.Is(err, why) {
		t.Error(err)
	}
	wantKind(t, err, Canceled)
	ctx = t.Context()
	wait()
	finish()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if o.accepted.Load() != 1 {
		t.Errorf("%d connections, want 1", o.accepted.Load())
	}
	late := someServer(t, o.addr(), func(o *serverOptions) {
		o.maxConnections, o.queueSize, o.queueTimeout = 1, 1, time.Millisecond
	})
	finish = askMany(t, late, 1)
	_, err = ask(t.Context(), late, get("GET"))
	wantKind(t, err, ConnectionLimit)
	finish()
	if f := late.failures[ConnectionLimit].Load(); f != 1 || late.gate.late.Load() != 1 || s.failures[Canceled].Load() != 1 {
		t.Errorf("%d failures, %d late", f, late.gate.late.Load())
	}
}

// TestIdleMakesRoom: idle connections count, and the oldest gives way to a new
// one.
func TestIdleMakesRoom(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	s := someServer(t, o.addr(), func(o *serverOptions) { o.maxConnections = 3 })
	askMany(t, s, 3)()
	oldest, next := s.idle[0], s.idle[1]
	s.gate.tryEnter()
	resp, reused, err := start(t.Context(), s, testBuffers, testLimits, get("GET"), true)
	if err != nil || reused {
		t.Fatalf("%v, reused %v", err, reused)
	}
	wantConnections(t, s, 3, 2)
	if s.idle[0] != next {
		t.Error("it is not the oldest that went")
	}
	if _, err := oldest.Conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection that gave way is open: %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	wantConnections(t, s, 2, 2)
}

// TestMaxIdle: of the connections that nobody uses, the youngest stay.
func TestMaxIdle(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	for most := range 4 {
		s := someServer(t, o.addr(), func(o *serverOptions) { o.maxIdle = most })
		finish := askMany(t, s, 3)
		wantConnections(t, s, 3, 0)
		finish()
		kept := min(3, most)
		wantConnections(t, s, kept, kept)
		for i := 1; i < kept; i++ {
			if s.idle[i].idleSince.Before(s.idle[i-1].idleSince) {
				t.Error("the idle ones are out of order")
			}
		}
		before := o.accepted.Load()
		mustAsk(t, s, "hello")
		if made := o.accepted.Load() - before; (made == 1) != (most == 0) {
			t.Errorf("with %d idle ones kept, %d connections were made", most, made)
		}
	}
}

// TestMaxIdleKeepsTheYoungest: what is beyond the bound goes from the old end.
func TestMaxIdleKeepsTheYoungest(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	s := someServer(t, o.addr(), func(o *serverOptions) { o.maxIdle = 2 })
	finish, one := askMany(t, s, 2), askMany(t, s, 1)
	finish()
	second := s.idle[1]
	one()
	if s.idle[0] != second || len(s.idle) != 2 {
		t.Error("it is not the oldest that went")
	}
}

// TestClosedServer: requests that are inside or wait go on, and nothing stays.
func TestClosedServer(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	s := someServer(t, o.addr(), func(o *serverOptions) { o.maxConnections, o.queueSize, o.queueTimeout = 2, 1, time.Minute })
	askMany(t, s, 2)()
	finish := askMany(t, s, 2)
	done := make(chan error)
	go func() {
		_, err := askAll(t.Context(), s, get("GET"))
		done <- err
	}()
	until(t, func() bool { return s.gate.queued() > 0 })
	s.close()
	wantConnections(t, s, 2, 0)
	finish()
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantConnections(t, s, 0, 0)
	mustAsk(t, s, "hello") // chosen before, and begun only now
	wantConnections(t, s, 0, 0)
}

// TestFailedConnectMakesNoTrace: a connection that did not open is not counted.
func TestFailedConnectMakesNoTrace(t *testing.T) {
	s := someServer(t, refused(t), func(o *serverOptions) { o.maxConnections = 1 })
	for range 3 {
		_, err := ask(t.Context(), s, get("GET"))
		wantKind(t, err, Refused)
		wantConnections(t, s, 0, 0)
	}
}

func TestServerAddress(t *testing.T) {
	base := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, tt := range []struct {
		address, name, configured, network, dest, host string
	}{
		{"app:80", "", "", "tcp", "app:80", "app"},
		{"10.0.0.1:80", "", "", "tcp", "10.0.0.1:80", "10.0.0.1"},
		{"10.0.0.1:80", "app", "", "tcp", "10.0.0.1:80", "app"},
		{"10.0.0.1:80", "app", "other", "tcp", "10.0.0.1:80", "other"},
		{"[::1]:80", "", "", "tcp", "[::1]:80", "::1"},
		{"unix:/run/app.sock", "", "", "unix", "/run/app.sock", "localhost"},
		{"unix:/run/app.sock", "", "app", "unix", "/run/app.sock", "app"},
		{"unix:@app", "", "", "unix", "@app", "localhost"},
	} {
		base.ServerName = tt.configured
		s := newServer(serverOptions{address: tt.address, name: tt.name, tls: base, maxConnections: 1})
		if s.network != tt.network || s.dest != tt.dest || s.tls.ServerName != tt.host {
			t.Errorf("%+v: got %s %s, TLS with %s", tt, s.network, s.dest, s.tls.ServerName)
		}
	}
	if base.ClientSessionCache != nil {
		t.Error("the pool's configuration was changed")
	}
}

// TestUnixSocket: a pool whose servers listen on Unix sockets.
func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, address := range []string{path("a.sock"), "@ringfence-" + filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)} {
		o := newOriginOn(t, listen(t, "unix", address), always(text("hello")))
		p := pool(t, nil, "unix:"+address)
		for range 3 {
			mustGet(t, p, "hello")
		}
		req := post(io.NopCloser(strings.NewReader(long(1<<20))), 1<<20)
		if _, body, err := roundTrip(t.Context(), p, req); err != nil || body != "hello" {
			t.Errorf("POST: got %q, %v", body, err)
		}
		if o.accepted.Load() != 1 || o.asked.Load() != 4 {
			t.Errorf("%d connections, %d requests", o.accepted.Load(), o.asked.Load())
		}
	}
	restarted := path("b.sock")
	end := make(chan struct{})
	newOriginOn(t, listen(t, "unix", restarted), func(p *peer) {
		p.request()
		p.send(text("hello"))
		<-end
	})
	p := pool(t, nil, "unix:"+restarted)
	mustGet(t, p, "hello")
	idle := p.set.Load().members[0].idle[0]
	close(end)
	until(t, func() bool { return !idle.quiet() })
	mustGet(t, p, "hello") // on a new connection
	_, _, err := roundTrip(t.Context(), pool(t, nil, "unix:"+path("absent.sock")), get("GET"))
	wantKind(t, err, Refused)
	left := path("left.sock")
	ln := listen(t, "unix", left).(*net.UnixListener)
	ln.SetUnlinkOnClose(false)
	ln.Close()
	_, _, err = roundTrip(t.Context(), pool(t, nil, "unix:"+left), get("GET"))
	wantKind(t, err, Refused)
}
