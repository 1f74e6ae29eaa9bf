package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringfence/proxy/upstream/discover"
	"ringfence/proxy/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin is a scripted server on a socket of its own.
type origin struct {
	ln       net.Listener
	accepted atomic.Int64 // connections
	asked    atomic.Int64 // request heads read
	peers    sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
	ended    chan struct{} // closed when the test ends
}

// peer is the origin's end of a connection, which may be TLS.
type peer struct {
	net.Conn
	o *origin
	r *bufio.Reader
	n int // which connection of the origin it is, from 1
}

// request is what a peer read.
type request struct {
	method, target, body string
	header               http.Header
	err                  error // what was wrong with the body
}

// newOrigin starts an origin that runs script for each connection, and closes
// the connection behind it.
func newOrigin(t testing.TB, script func(*peer)) *origin {
	t.Helper()
	return newOriginOn(t, listen(t, "tcp", "127.0.0.1:0"), script)
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func newOriginOn(t testing.TB, ln net.Listener, script func(*peer)) *origin {
	o := &origin{ln: ln, ended: make(chan struct{})}
	o.peers.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p := &peer{Conn: c, o: o, r: bufio.NewReader(c), n: int(o.accepted.Add(1))}
			o.mu.Lock()
			o.open = append(o.open, c)
			o.mu.Unlock()
			o.peers.Go(func() {
				defer p.Close()
				script(p)
			})
		}
	})
	t.Cleanup(func() {
		close(o.ended)
		ln.Close()
		o.mu.Lock()
		for _, c := range o.open {
			c.Close()
		}
		o.mu.Unlock()
		o.peers.Wait()
	})
	return o
}

func (o *origin) addr() string { return o.ln.Addr().String() }

// head reads a request's head; its body is to be read from it.
func (p *peer) head() (*http.Request, bool) {
	r, err := http.ReadRequest(p.r)
	if err != nil {
		return nil, false
	}
	p.o.asked.Add(1)
	return r, true
}

// request reads a whole request.
func (p *peer) request() (request, bool) {
	r, ok := p.head()
	if !ok {
		return request{}, false
	}
	body, err := io.ReadAll(r.Body)
	return request{r.Method, r.RequestURI, string(body), r.Header, err}, true
}

func (p *peer) send(s string) { _, _ = io.WriteString(p.Conn, s) }

// hold keeps the connection until the other side closes it.
func (p *peer) hold() { _, _ = io.Copy(io.Discard, p.Conn) }

// socket is the connection under TLS, or the connection.
func (p *peer) socket() net.Conn {
	if c, ok := p.Conn.(*tls.Conn); ok {
		return c.NetConn()
	}
	return p.Conn
}

// CloseWrite ends what the peer sends, and under TLS without a word.
func (p *peer) CloseWrite() error { return p.socket().(*net.TCPConn).CloseWrite() }

// reset ends the connection with a RST.
func (p *peer) reset() {
	_ = p.socket().(*net.TCPConn).SetLinger(0)
	_ = p.socket().Close()
}

// always answers every request with the same bytes.
func always(answer string) func(*peer) {
	return func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			p.send(answer)
		}
	}
}

// text is a plain answer.
func text(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// pool makes a started pool of the origins, with timeouts nobody runs into.
// When the test ends, nothing may be under way.
func pool(t testing.TB, change func(*Options), addrs ...string) *Pool {
	t.Helper()
	o := Options{
		Name: "test", ConnectTimeout: time.Minute, ResponseTimeout: time.Minute, ReadTimeout: time.Minute,
		WriteTimeout: time.Minute, MaxHeadSize: 16 << 10, IdleTimeout: time.Minute, MaxIdle: 100, MaxConnections: 100,
		QueueSize: 100, QueueTimeout: time.Minute,
		Retry: Retry{Attempts: 3, Connect: true, Reset: true, BudgetMin: 100},
	}
	for i, a := range addrs {
		o.Discover.Entries = append(o.Discover.Entries, discover.Entry{ID: string(rune('a' + i)), Address: a, Weight: 1})
	}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	p.Start()
	t.Cleanup(func() {
		for _, s := range p.Stats().Servers {
			if s.InFlight != 0 || s.Open != s.Idle {
				t.Errorf("server %s: %d in flight, %d connections open, %d idle at the end", s.ID, s.InFlight, s.Open, s.Idle)
			}
		}
		p.Close()
		for _, s := range p.Stats().Servers {
			if s.Open != 0 {
				t.Errorf("server %s: %d connections open after Close", s.ID, s.Open)
			}
		}
	})
	return p
}

// get is a request without a body.
func get(method string, fields ...wire.Field) *Request {
	return &Request{Method: method, Target: "/x?y", Fields: append(wire.Fields{{Name: "Host", Value: "h"}}, fields...)}
}

// roundTrip sends req and reads the answer's body.
func roundTrip(ctx context.Context, p *Pool, req *Request) (resp *Response, body string, err error) {
	resp, err = p.Do(ctx, req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return resp, string(all), err
}

// mustGet sends a GET that must be answered with body.
func mustGet(t testing.TB, p *Pool, want string) *Response {
	t.Helper()
	resp, body, err := roundTrip(t.Context(), p, get("GET"))
	if err != nil || body != want {
		t.Fatalf("got %q, %v; want %q", body, err, want)
	}
	return resp
}

// kindOf returns the kind and whether the request was unsent; "" where err is
// not an [Error].
func kindOf(err error) (string, bool) {
	var e *Error
	if !errors.As(err, &e) {
		return "", false
	}
	return e.Kind.String(), e.Unsent
}

// wantKind checks that err is a failure of that kind.
func wantKind(t testing.TB, err error, want Kind) {
	t.Helper()
	if got, _ := kindOf(err); got != want.String() {
		t.Errorf("got %v, want %v", err, want)
	}
}

// soon fails the test where f does not return in a time that is ample on a
// busy machine, and far below the timeouts of [pool].
func soon(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("still waiting")
	}
}

// bound returns a socket with an address of its own until the test ends.
func bound(t testing.TB) (fd int, addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

// refused returns an address where nobody listens, or will.
func refused(t testing.TB) string {
	t.Helper()
	_, addr := bound(t)
	return addr
}

// deaf returns an address where connections do not open: its queue is full.
func deaf(t testing.TB) string {
	t.Helper()
	fd, addr := bound(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", addr, 50*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue of a listening socket does not fill")
	return ""
}

// long is a body of n bytes.
func long(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }
