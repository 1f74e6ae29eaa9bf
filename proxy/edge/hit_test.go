package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// hitting serves on loopback: what is asked of /hit is answered at once, and all
// else by the server.
func hitting(t *testing.T) (addr string, d *Door, hits *atomic.Int64) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hits, d = new(atomic.Int64), NewDoor(Capacity{})
	hit := func(c *Conn) bool {
		r := c.Request()
		if r.Refusal != nil || !strings.HasPrefix(r.Target, "/hit") {
			return false
		}
		hits.Add(1)
		line := ""
		if !r.Persistent {
			line = "Connection: close\r\n"
		}
		_ = c.Answer(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n", line, len(r.Target)), []byte(r.Target))
		return true
	}
	s := NewServer(func(ctx *fasthttp.RequestCtx) {
		r := ctx.Conn().(Client).Request()
		if r.Refusal != nil {
			ctx.SetStatusCode(r.Refusal.Status)
		}
		if r.Body != nil {
			b, _ := io.ReadAll(r.Body)
			ctx.SetBody(b)
			return
		}
		ctx.SetBodyString("served " + r.Target)
	}, quiet{})
	done := make(chan error, 1)
	l := limits()
	go func() { done <- s.Serve(NewListener(tcp, d, hit, ListenerOptions{Limits: l})) }()
	t.Cleanup(func() {
		_ = tcp.Close()
		<-done
		d.CloseAll()
		waitFor(t, "all connections to end", func() bool { return d.Stats().Open == 0 })
	})
	return tcp.Addr().String(), d, hits
}

// Whatever comes after requests that were answered at once, and in whatever pieces,
// is answered once and in order: the connection rests without looking for more.
func TestAfterHits(t *testing.T) {
	const hit = "GET /hit HTTP/1.1\r\nHost: x\r\n\r\n"
	exact := func(n int) string { // a request of n bytes
		return "GET /hit/ HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", n-len("GET /hit/ HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n")) + "\r\n\r\n"
	}
	for _, before := range []int{0, 1, trusted - 1, trusted, trusted + 1, 20} {
		for _, tt := range []struct {
			name   string
			pieces []string // sent one by one
			want   string
		}{
			{"one more", []string{hit}, "200 /hit"},
			{"two at once", []string{hit + hit}, "200 /hit|200 /hit"},
			{"three at once, one served", []string{hit + "GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + hit}, "200 /hit|200 served /a|200 /hit"},
			{"in two pieces", []string{hit[:10], hit[10:]}, "200 /hit"},
			{"one and a half", []string{hit + hit[:10], hit[10:]}, "200 /hit|200 /hit"},
			{"byte by byte", strings.Split(hit, ""), "200 /hit"},
			{"served", []string{"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", hit}, "200 served /a|200 /hit"},
			{"with a body", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo", "dy", hit}, "200 body|200 /hit"},
			{"an empty line before", []string{"\r\n" + hit}, "200 /hit"},
			{"the last one", []string{"GET /hit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}, "200 /hit close"},
			{"refused", []string{"GET /hit HTTP/1.1\r\n\r\n"}, "400 served /hit close"},
			{"as long as the buffer, and another", []string{exact(readBuffer) + hit}, "200 /hit/|200 /hit"},
			{"longer than the buffer", []string{exact(readBuffer + 100), hit}, "200 /hit/|200 /hit"},
			{"twice the buffer, and another", []string{exact(2*readBuffer) + hit}, "200 /hit/|200 /hit"},
		} {
			t.Run(fmt.Sprintf("%d, %s", before, tt.name), func(t *testing.T) {
				t.Parallel()
				addr, _, _ := hitting(t)
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				p := &peer{Conn: c, t: t, br: bufio.NewReader(c)}
				for range before {
					_, _ = io.WriteString(c, hit)
					if got := p.answer("GET"); got != "200 /hit" {
						t.Fatal(got)
					}
				}
				_ = c.(*net.TCPConn).SetNoDelay(true)
				for _, piece := range tt.pieces {
					_, _ = io.WriteString(c, piece)
				}
				var all []string
				for range strings.Count(tt.want, "|") + 1 {
					all = append(all, p.answer("GET"))
				}
				if got := strings.Join(all, "|"); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if strings.HasSuffix(tt.want, " close") && !p.ended() {
					t.Error("it goes on")
				}
			})
		}
	}
}

// A connection that its client ends is ended: at once where the end came with the
// only request, as tools send it, and where it comes while the connection rests.
func TestEndAfterHits(t *testing.T) {
	addr, d, hits := hitting(t)
	for _, before := range []int{0, 10} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(c)
		for i := range before + 1 {
			_, _ = io.WriteString(c, "GET /hit HTTP/1.1\r\nHost: x\r\n\r\n")
			if i == 0 && before == 0 {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		if before > 0 {
			_ = c.(*net.TCPConn).CloseWrite()
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("after %d: %v", before, err)
		}
		_ = c.Close()
	}
	waitFor(t, "them to leave", func() bool { return d.Stats().Open == 0 })
	if n := hits.Load(); n != 12 {
		t.Errorf("%d were answered at once", n)
	}
}

// A connection that rests is idle: it is closed when it has been so for long, and
// when the server drains.
func TestRestIsIdle(t *testing.T) {
	addr, d, _ := hitting(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &peer{Conn: c, t: t, br: bufio.NewReader(c)}
	for range 10 {
		_, _ = io.WriteString(c, "GET /hit HTTP/1.1\r\nHost: x\r\n\r\n")
		p.answer("GET")
	}
	waitFor(t, "it to be closed", func() bool { d.CloseIdle(); return d.Stats().Open == 0 })
	if !p.ended() {
		t.Error("it goes on")
	}
}
