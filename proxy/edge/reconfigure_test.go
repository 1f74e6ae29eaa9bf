package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// Connections keep what they came with; those that come later have the new
// options, and find the new capacity.
func TestReconfigure(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := Limits{MaxHead: 4 << 10, MaxTarget: 8, MaxFields: 10, Idle: time.Minute, Head: time.Minute}
	d := NewDoor(Capacity{Connections: 10})
	l := NewListener(inner, d, nil, ListenerOptions{Limits: limits})
	s := NewServer(func(ctx *fasthttp.RequestCtx) {
		if r := ctx.Conn().(Client).Request().Refusal; r != nil {
			ctx.SetStatusCode(r.Status)
		}
	}, nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { d.CloseAll(); _ = inner.Close(); <-done })
	dial := func() func() int {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		br := bufio.NewReader(c)
		return func() int {
			_, _ = io.WriteString(c, "GET /"+strings.Repeat("a", 20)+" HTTP/1.1\r\nHost: x\r\n\r\n")
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode
		}
	}
	if got := dial()(); got != 414 {
		t.Errorf("before: %d", got)
	}
	limits.MaxTarget = 100
	l.Reconfigure(ListenerOptions{Limits: limits})
	wide := dial()
	if got := wide(); got != 200 {
		t.Errorf("after: %d", got)
	}
	limits.MaxTarget = 8
	l.Reconfigure(ListenerOptions{Limits: limits})
	d.SetCapacity(Capacity{Connections: 10, PerClient: 1})
	if got := wide(); got != 200 {
		t.Errorf("on a connection from before: %d", got)
	}
	if got := dial()(); got != 414 {
		t.Errorf("the first that counts: %d", got)
	}
	if d.SetCapacity(Capacity{Connections: 10, PerClient: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}); dial()() != 414 {
		t.Error("exempt addresses are counted")
	}
	if d.SetCapacity(Capacity{Connections: 1}); dial()() != 503 {
		t.Error("there is room for two")
	}
}
