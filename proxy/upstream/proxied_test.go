package upstream

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"ringfence/health"
	"ringfence/proxy/wire"
)

// introduction reads the PROXY header that a connection begins with.
func introduction(c net.Conn) (wire.ProxyHeader, error) {
	var b []byte
	for {
		h, n, err := wire.ParseProxyHeader(b)
		if err != nil || n <= len(b) {
			return h, err
		}
		one := make([]byte, 1)
		if _, err := c.Read(one); err != nil {
			return h, err
		}
		b = append(b, one[0])
	}
}

// listener is an origin's that wants a PROXY header on each connection, and
// then goes on as next does. heard says what the connections told, in order.
type listener struct {
	*origin
	mu    sync.Mutex
	heard []string
}

func newListener(t testing.TB, next func(*peer)) *listener {
	l := &listener{}
	l.origin = newOrigin(t, func(p *peer) {
		h, err := introduction(p.Conn)
		l.mu.Lock()
		if err != nil {
			l.heard = append(l.heard, err.Error())
		} else {
			l.heard = append(l.heard, nameOf(h))
		}
		l.mu.Unlock()
		next(p)
	})
	return l
}

func (l *listener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

// client is the connection of the n-th client.
func client(n int) wire.ProxyHeader {
	return wire.ProxyHeader{
		Source:      netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 40000),
		Destination: netip.MustParseAddrPort("198.51.100.1:443"),
	}
}

func nameOf(h wire.ProxyHeader) string {
	if h == (wire.ProxyHeader{}) {
		return "nobody"
	}
	return fmt.Sprintf("%v to %v", h.Source, h.Destination)
}

// askFor sends a GET of client n, 0 being nobody.
func askFor(t testing.TB, p *Pool, n int) {
	t.Helper()
	req := get("GET")
	if n > 0 {
		req.Client = client(n)
	}
	if _, body, err := roundTrip(t.Context(), p, req); err != nil || body != "hello" {
		t.Fatalf("client %d: got %q, %v", n, body, err)
	}
}

// TestProxyHeaderTellsOfTheClient: each connection tells one client, before TLS,
// and is kept for what is of the same client.
func TestProxyHeaderTellsOfTheClient(t *testing.T) {
	ca := newAuthority(t, "ca")
	config := ca.serverTLS(t, "app")
	for _, v := range []wire.ProxyVersion{wire.ProxyV1, wire.ProxyV2} {
		for _, secure := range []bool{false, true} {
			l := newListener(t, func(p *peer) {
				if secure {
					p.Conn = tls.Server(p.Conn, config)
					p.r = bufio.NewReader(p.Conn)
				}
				always(text("hello"))(p)
			})
			p := pool(t, func(o *Options) {
				o.ProxyProtocol = v
				if secure {
					o.TLS = &TLSOptions{CA: ca.pem(), ServerName: "app"}
				}
			}, l.addr())
			for _, n := range []int{1, 1, 2, 0, 0, 1, 2, 0, 2} {
				askFor(t, p, n)
			}
			want := []string{nameOf(client(1)), nameOf(client(2)), "nobody"}
			if got := l.all(); !slices.Equal(got, want) || l.asked.Load() != 9 {
				t.Errorf("version %d, TLS %t: %d requests on connections of %v, want %v", v, secure, l.asked.Load(), got, want)
			}
		}
	}
}

// TestNoProxyHeaderUnasked: servers that are told nothing see what all clients
// share.
func TestNoProxyHeaderUnasked(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	p := pool(t, nil, o.addr())
	for _, n := range []int{1, 2, 0} {
		askFor(t, p, n)
	}
	if o.accepted.Load() != 1 || o.asked.Load() != 3 {
		t.Errorf("%d requests on %d connections", o.asked.Load(), o.accepted.Load())
	}
}

// TestProxyHeaderAgain: what takes the place of a kept connection that has ended
// tells of the same client.
func TestProxyHeaderAgain(t *testing.T) {
	l := newListener(t, func(p *peer) {
		for range 2 {
			if _, ok := p.request(); !ok {
				return
			}
			if p.n > 1 || p.o.asked.Load() == 1 {
				p.send(text("hello"))
			}
		}
	})
	p := pool(t, func(o *Options) { o.ProxyProtocol = wire.ProxyV2 }, l.addr())
	askFor(t, p, 1)
	askFor(t, p, 1) // its connection ends with it
	if got, want := l.all(), []string{nameOf(client(1)), nameOf(client(1))}; !slices.Equal(got, want) || l.asked.Load() != 3 {
		t.Errorf("%d requests on connections of %v, want %v", l.asked.Load(), got, want)
	}
}

// TestClientsConnectionsAreBounded: many clients leave no more connections
// behind than any requests do, and keep nobody out.
func TestClientsConnectionsAreBounded(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"idle":        func(o *Options) { o.MaxIdle = 3 },
		"connections": func(o *Options) { o.MaxConnections = 3 },
	} {
		l := newListener(t, always(text("hello")))
		p := pool(t, func(o *Options) { o.ProxyProtocol = wire.ProxyV1; change(o) }, l.addr())
		for n := range 10 {
			askFor(t, p, n)
		}
		for _, n := range []int{7, 8, 9} {
			askFor(t, p, n)
		}
		if s := p.Stats().Servers[0]; s.Open != 3 || s.Idle != 3 || s.Reused != 3 || len(l.all()) != 10 {
			t.Errorf("%s: %d connections, %d open, %d idle, %d requests on a kept one", name, len(l.all()), s.Open, s.Idle, s.Reused)
		}
	}
}

// TestChecksTellOfNobody, and tell nothing on a port of their own.
func TestChecksTellOfNobody(t *testing.T) {
	for _, kind := range []health.Kind{health.HTTP, health.TCP} {
		for _, v := range []wire.ProxyVersion{wire.ProxyV1, wire.ProxyV2} {
			l := newListener(t, always(text("hello")))
			other := newOrigin(t, func(p *peer) {
				if b, _ := p.r.Peek(1); len(b) > 0 && b[0] != 'G' {
					t.Errorf("a check on a port of its own begins with %q", b)
				}
				always(text("hello"))(p)
			})
			check := health.Check{Kind: kind, Interval: time.Minute, Timeout: 30 * time.Second, Rise: 1}
			own := check
			own.Port = other.ln.Addr().(*net.TCPAddr).Port
			for _, c := range []health.Check{check, own} {
				p := pool(t, func(o *Options) { o.ProxyProtocol, o.Check = v, &c }, l.addr())
				soon(t, func() { _ = p.First(t.Context(), true) })
				if s := p.Stats().Servers[0].Health; s.Standing != health.Live {
					t.Errorf("version %d, check %d on port %d: %+v", v, kind, c.Port, s)
				}
			}
			until(t, func() bool { return len(l.all()) == 1 && other.accepted.Load() == 1 })
			if got := l.all(); got[0] != "nobody" {
				t.Errorf("version %d, check %d: %v", v, kind, got)
			}
		}
	}
}

// TestEachServerIsTold: where the first server is not there, the next one is
// told of the same client.
func TestEachServerIsTold(t *testing.T) {
	l := newListener(t, always(text("hello")))
	p := pool(t, func(o *Options) { o.ProxyProtocol = wire.ProxyV2 }, refused(t), l.addr())
	var want []string
	for n := range 10 {
		askFor(t, p, n)
		want = append(want, nameOf(client(n)))
	}
	want[0] = "nobody"
	if got := l.all(); !slices.Equal(got, want) {
		t.Errorf("connections of %v, want %v", got, want)
	}
}
