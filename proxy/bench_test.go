package proxy

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// loopConn is a connection whose peer sends one request n times and reads
// every answer, so that a server's work per request can be measured alone.
type loopConn struct {
	net.Conn
	request []byte
	left    int
	wrote   int
}

func (c *loopConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(p, c.request), nil
}

func (c *loopConn) Write(p []byte) (int, error)      { c.wrote += len(p); return len(p), nil }
func (c *loopConn) Close() error                     { return nil }
func (c *loopConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *loopConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *loopConn) SetDeadline(time.Time) error      { return nil }
func (c *loopConn) SetReadDeadline(time.Time) error  { return nil }
func (c *loopConn) SetWriteDeadline(time.Time) error { return nil }

const benchRequest = "GET /static/app.js?v=3 HTTP/1.1\r\nHost: www.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Referer: https://www.example.com/\r\nCookie: a=1; b=2\r\n\r\n"

// serveLoop lets s answer n requests on one connection.
func serveLoop(tb testing.TB, s *fasthttp.Server, n int) *loopConn {
	c := &loopConn{request: []byte(benchRequest), left: n}
	if err := s.ServeConn(c); err != nil {
		tb.Fatal(err)
	}
	return c
}

// hitServer is a proxy that has stored the answer to benchRequest.
func hitServer(tb testing.TB, size int) *fasthttp.Server {
	h := newTestHandler(tb, func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("Cache-Control", "max-age=3600")
		ctx.Response.Header.Set("ETag", `"1"`)
		ctx.SetContentType("text/javascript")
		ctx.SetBodyString(strings.Repeat("x", size))
	})
	s := testFront(h)
	serveLoop(tb, s, 1)
	waitFor(tb, "the answer to be stored", func() bool { return h.View().Requests.Stored == 1 })
	return s
}

// bareServer is fasthttp answering the same body without a proxy.
func bareServer(size int) *fasthttp.Server {
	body := []byte(strings.Repeat("x", size))
	s := testFront(nil)
	s.Handler = func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("Cache-Control", "max-age=3600")
		ctx.Response.Header.Set("ETag", `"1"`)
		ctx.SetContentType("text/javascript")
		ctx.Response.SetBodyRaw(body)
	}
	return s
}

// BenchmarkHit is the server's work per hit without sockets, beside what
// fasthttp itself takes for the same answer.
func BenchmarkHit(b *testing.B) {
	for _, bench := range []struct {
		name   string
		server *fasthttp.Server
	}{
		{"bare/1KiB", bareServer(1 << 10)},
		{"proxy/1KiB", hitServer(b, 1<<10)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			serveLoop(b, bench.server, b.N)
		})
	}
}

// BenchmarkPass is the server's work per request that is passed on, with real
// sockets to the upstream and none to the client.
func BenchmarkPass(b *testing.B) {
	h := newTestHandler(b, func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("Cache-Control", "no-store")
		ctx.SetBody(make([]byte, 1<<10))
	})
	h.routes[0].Cache = false
	b.ReportAllocs()
	serveLoop(b, testFront(h), b.N)
}
