package proxy

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/edge"
)

// loopConn is a connection whose peer sends one request n times and reads
// every answer, so that a server's work per request can be measured alone.
type loopConn struct {
	net.Conn
	request []byte
	left    int
	wrote   int
	first   string // the beginning of the first answer
}

func (c *loopConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(p, c.request), nil
}

func (c *loopConn) Write(p []byte) (int, error) {
	if c.wrote == 0 {
		c.first = string(p)
	}
	c.wrote += len(p)
	return len(p), nil
}

func (c *loopConn) Close() error                     { return nil }
func (c *loopConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *loopConn) RemoteAddr() net.Addr             { return loopback }
func (c *loopConn) SetDeadline(time.Time) error      { return nil }
func (c *loopConn) SetReadDeadline(time.Time) error  { return nil }
func (c *loopConn) SetWriteDeadline(time.Time) error { return nil }

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

const benchRequest = "GET /static/app.js?v=3 HTTP/1.1\r\nHost: www.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Referer: https://www.example.com/\r\nCookie: a=1; b=2\r\n\r\n"

const missRequest = "GET /static/000000000?v=3 HTTP/1.1\r\nHost: www.example.com\r\nAccept-Encoding: gzip, br\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\nCookie: a=1; b=2\r\n\r\n"

// serveLoop lets s answer benchRequest n times on one connection.
func serveLoop(tb testing.TB, s server, n int) *loopConn {
	return serveRequests(tb, s, benchRequest, n)
}

func serveRequests(tb testing.TB, s server, request string, n int) *loopConn {
	c := &loopConn{request: []byte(request), left: n}
	if err := s.ServeConn(c); err != nil {
		tb.Fatal(err)
	}
	return c
}

// hit is one shape of a hit.
type hit struct {
	name string
	// method is that of the request if not GET, and fields are lines it has
	// beside those of benchRequest.
	method, fields string
	// answers are what the origin answers to one request after the other: each a
	// status and field lines. The answer to the next request is long in coming.
	answers []string
	// asks is how many requests reach the origin before there is such a hit.
	asks   int64
	change func(*Route)
	// before is what happens before anything is stored.
	before func(*Handler)
	// trusted is where a proxy in front may be; "" for none.
	trusted string
	logged  bool   // in an access log
	want    string // the beginning of the answer, and words of its head
}

func hits() []hit {
	const fresh = "200|Cache-Control: max-age=3600|ETag: \"1\"|Content-Type: text/javascript"
	plain := []string{fresh}
	return []hit{
		{name: "plain", answers: plain, want: "HTTP/1.1 200 OK|; hit; ttl="},
		{name: "varied", answers: []string{fresh + "|Vary: Accept-Encoding, Accept-Language, X"}, want: "HTTP/1.1 200 OK|; hit"},
		{name: "tagged", answers: []string{fresh + `|Cache-Groups: "a", "b", "c"`}, want: "HTTP/1.1 200 OK|; hit"},
		{name: "after a million purges", answers: []string{fresh + "|Cache-Tag: a, b, c"}, want: "HTTP/1.1 200 OK|; hit", before: manyPurges},
		{name: "coded", answers: plain, want: "HTTP/1.1 200 OK|; hit|Content-Encoding: br", change: func(r *Route) {
			codings := []cache.Coding{cache.Zstd, cache.Brotli, cache.Gzip}
			r.Compression = &Compression{Codings: codings, Types: []string{"text/*"}}
		}},
		{name: "keyed", answers: plain, want: "HTTP/1.1 200 OK|; hit", change: func(r *Route) {
			r.Key = append(r.Key, KeyPart{kind: keyHeader, name: "Accept"}, KeyPart{kind: keyCookie, name: "b"})
			r.Query = &QueryRules{Drop: []string{"utm_*"}, Sort: true}
		}},
		{name: "behind a proxy", answers: plain, trusted: "127.0.0.0/8", fields: "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n",
			want: "HTTP/1.1 200 OK|; hit"},
		{name: "Forwarded", answers: plain, trusted: "127.0.0.0/8", fields: "Forwarded: for=192.0.2.1;host=a;proto=http\r\n",
			want: "HTTP/1.1 200 OK|; hit"},
		{name: "logged", answers: plain, logged: true, want: "HTTP/1.1 200 OK|; hit"},
		{name: "logged behind a proxy", answers: plain, logged: true, trusted: "127.0.0.0/8",
			fields: "X-Forwarded-For: 192.0.2.1\r\nX-Request-Id: 7\r\n", want: "HTTP/1.1 200 OK|; hit"},
		{name: "HEAD", method: "HEAD", answers: plain, want: "HTTP/1.1 200 OK|; hit"},
		{name: "not modified", fields: "If-None-Match: \"1\"\r\n", answers: plain, want: "HTTP/1.1 304 Not Modified|; hit"},
		{name: "range", fields: "Range: bytes=100-199\r\n", answers: plain, want: "HTTP/1.1 206 Partial Content|; hit"},
		{name: "being renewed", answers: []string{"200|Cache-Control: max-age=0, stale-while-revalidate=600"}, asks: 2,
			want: "HTTP/1.1 200 OK|; hit|detail=stale-while-revalidate"},
		{name: "stale on error", answers: []string{"200|Cache-Control: max-age=0, stale-if-error=600", "503"}, asks: 3,
			want: "HTTP/1.1 200 OK|; hit|detail=stale-if-error"},
	}
}

// manyPurges carries out a million purges: of URLs, tags, and prefixes of all
// depths that there are.
func manyPurges(h *Handler) {
	now := time.Now()
	for i := range uint64(1_000_000) {
		h.struck.apply(strike{memory.Left(i % 2), oneHash + reach(i%(maxDepth+2)), xxhash.Sum64String(strconv.FormatUint(i, 10))}, now)
	}
}

// request is what the hit answers.
func (x hit) request() string {
	head, _ := strings.CutSuffix(benchRequest, "\r\n")
	method := cmp.Or(x.method, "GET")
	return method + strings.TrimPrefix(head, "GET") + x.fields + "\r\n"
}

// server is a proxy that answers the request by the hit, with a body of that
// many bytes where it has a whole one.
func (x hit) server(tb testing.TB, size int) server {
	var asked atomic.Int64
	held := make(chan struct{})
	addr := serveOn(tb, &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		n := int(asked.Add(1))
		if n > len(x.answers) {
			<-held
		}
		answer := strings.Split(x.answers[min(n, len(x.answers))-1], "|")
		status, _ := strconv.Atoi(answer[0])
		ctx.SetStatusCode(status)
		for _, line := range answer[1:] {
			name, value, _ := strings.Cut(line, ": ")
			ctx.Response.Header.Set(name, value)
		}
		ctx.SetBodyString(strings.Repeat("x", size))
	}})
	h := newHandlerFor(tb, addr, func(o *Options) {
		o.Routes[0].Policy.EarlyRefresh = true
		o.Routes[0].Policy.TagFields = cache.CacheTag
		o.RequestID = "X-Request-Id"
		if x.trusted != "" {
			o.TrustedProxies = prefixes(x.trusted)
		}
		if x.logged {
			o.AccessLog = newAccessLog(tb, os.DevNull)
		}
		if x.change != nil {
			x.change(&o.Routes[0])
		}
	})
	tb.Cleanup(func() { close(held) })
	if x.before != nil {
		x.before(h)
	}
	s := testFront(h)
	serveLoop(tb, s, 1)
	waitFor(tb, "the answer to be stored", func() bool { return h.View().Requests.Stored == 1 })
	waitFor(tb, "the origin to be asked again", func() bool {
		answer := serveRequests(tb, s, x.request(), 1).first
		for _, want := range strings.Split(x.want, "|") {
			if !strings.Contains(answer, want) && asked.Load() >= x.asks {
				tb.Fatalf("%s: %q, want %s", x.name, answer, x.want)
			}
		}
		return asked.Load() >= x.asks
	})
	return s
}

// bareServer is fasthttp answering the same body without a proxy.
func bareServer(size int) *fasthttp.Server {
	body := []byte(strings.Repeat("x", size))
	s := edge.NewServer(nil, nil)
	s.ReadBufferSize = 16 << 10
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
	b.Run("bare/1KiB", func(b *testing.B) {
		s := bareServer(1 << 10)
		b.ReportAllocs()
		b.ResetTimer()
		serveLoop(b, s, b.N)
	})
	for _, x := range hits() {
		b.Run("proxy/"+strings.ReplaceAll(x.name, " ", "-")+"/1KiB", func(b *testing.B) {
			s := x.server(b, 1<<10)
			b.ReportAllocs()
			b.ResetTimer()
			serveRequests(b, s, x.request(), b.N)
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
	h.snap.Load().routes[0].Cache = CacheOff
	b.ReportAllocs()
	serveLoop(b, testFront(h), b.N)
}

// missConn is a loopConn for missRequest, each time for another resource.
type missConn struct{ loopConn }

func (c *missConn) Read(p []byte) (int, error) {
	for i := bytes.IndexByte(c.request, '?') - 1; ; i-- { // the name is a number
		if c.request[i]++; c.request[i] <= '9' {
			return c.loopConn.Read(p)
		}
		c.request[i] = '0'
	}
}

// BenchmarkMiss is the work per request that fetches and stores an answer, with
// real sockets to the upstream and none to the client.
func BenchmarkMiss(b *testing.B) {
	h := newTestHandler(b, func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("Cache-Control", "max-age=3600")
		ctx.Response.Header.Set("ETag", `"1"`)
		ctx.SetBody(make([]byte, 1<<10))
	})
	s := testFront(h)
	b.ReportAllocs()
	b.ResetTimer()
	if err := s.ServeConn(&missConn{loopConn{request: []byte(missRequest), left: b.N}}); err != nil {
		b.Fatal(err)
	}
}
