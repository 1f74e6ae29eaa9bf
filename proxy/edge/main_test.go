package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func limits() Limits {
	return Limits{
		MaxHead: 4 << 10, MaxTarget: 1 << 10, MaxFields: 20, MaxBody: 1 << 20,
		Idle: time.Minute, Head: 10 * time.Second, Read: 5 * time.Second, Write: 5 * time.Second, Request: time.Hour,
	}
}

// echo answers with what it knows of the request, whose body it reads where that
// is wanted by a target with "body" in it.
func echo(ctx *fasthttp.RequestCtx) {
	c := ctx.Conn().(Client)
	r := c.Request()
	if r.Refusal != nil {
		ctx.SetStatusCode(r.Refusal.Status)
		ctx.SetBodyString(r.Refusal.Why)
		ctx.Response.Header.SetConnectionClose()
		return
	}
	body, err := "", error(nil)
	if r.Body != nil && strings.Contains(r.Target, "body") {
		r.Body.Start = func() { _ = c.Interim(100, nil) }
		var b []byte
		b, err = io.ReadAll(r.Body)
		body = string(b)
	}
	if r.Body != nil && !r.Body.Spare() {
		ctx.Response.Header.SetConnectionClose()
	}
	ctx.SetBodyString(fmt.Sprintf("%s %s %q %v", r.Method, r.Target, body, err))
}

// quiet drops what fasthttp has to say of connections.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// peer is a client and the server that it talks to: over a pipe, so that time can
// be a bubble's.
type peer struct {
	net.Conn
	t      *testing.T
	br     *bufio.Reader
	door   *Door
	served chan error
}

func connect(t *testing.T, l Limits, handle fasthttp.RequestHandler) *peer {
	t.Helper()
	near, far := net.Pipe()
	d := NewDoor(Capacity{})
	c := NewListener(nil, d, nil, ListenerOptions{Limits: l}).Wrap(far)
	d.enter(c)
	p := &peer{Conn: near, t: t, br: bufio.NewReader(near), door: d, served: make(chan error, 1)}
	s := NewServer(handle, quiet{})
	go func() { p.served <- s.ServeConn(c) }()
	t.Cleanup(func() {
		_ = near.Close()
		<-p.served
		if n := d.Stats().Open; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return p
}

// send writes a text, without waiting for anybody to take all of it.
func (p *peer) send(text string) { go func() { _, _ = io.WriteString(p.Conn, text) }() }

// sent writes a text, in pieces of n bytes.
func (p *peer) sent(text string, n int) {
	for text != "" {
		m := min(n, len(text))
		if _, err := io.WriteString(p.Conn, text[:m]); err != nil {
			return
		}
		text = text[m:]
	}
}

// answer reads one answer: its status and body.
func (p *peer) answer(method string) string {
	p.t.Helper()
	resp, err := http.ReadResponse(p.br, &http.Request{Method: method})
	if err != nil {
		return "none: " + err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("%d %s", resp.StatusCode, b)
	if resp.Close {
		s += " close"
	}
	return s
}

// ended reports whether the connection ends without another byte.
func (p *peer) ended() bool {
	_, err := p.br.ReadByte()
	return err != nil
}

// listen serves on loopback until the test ends.
func listen(t *testing.T, d *Door, o ListenerOptions, handle fasthttp.RequestHandler) (addr string, stop func()) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(handle, quiet{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(NewListener(tcp, d, nil, o)) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = tcp.Close()
			<-done
			d.CloseAll()
			waitFor(t, "all connections to end", func() bool { return d.Stats().Open == 0 })
		})
	}
	t.Cleanup(stop)
	return tcp.Addr().String(), stop
}

// waitFor waits until cond holds; what says what is waited for.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}
