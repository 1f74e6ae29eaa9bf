package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
)

func TestFailures(t *testing.T) {
	up := func(k upstream.Kind) error {
		return fmt.Errorf("fill: %w", &upstream.Error{Kind: k, Err: errors.New("x")})
	}
	for _, tt := range []struct {
		err    error
		status int
		kind   string
		busy   bool
	}{
		{up(upstream.Unavailable), 503, "destination_unavailable", true},
		{up(upstream.ConnectionLimit), 503, "connection_limit_reached", true},
		{up(upstream.Refused), 502, "connection_refused", false},
		{up(upstream.NameError), 502, "dns_error", false},
		{up(upstream.Terminated), 502, "connection_terminated", false},
		{up(upstream.Protocol), 502, "http_protocol_error", false},
		{up(upstream.ConnectTimeout), 504, "connection_timeout", false},
		{up(upstream.ReadTimeout), 504, "connection_read_timeout", false},
		{up(upstream.WriteTimeout), 504, "connection_write_timeout", false},
		{up(upstream.RequestIncomplete), 400, "http_request_error", false},
		{singleflight.ErrLeadTime, 504, "http_response_timeout", false},
		{context.DeadlineExceeded, 504, "http_response_timeout", false},
		{singleflight.ErrClosed, 503, "http_request_denied", true},
		{&singleflight.PanicError{Value: "x"}, 502, "proxy_internal_error", false},
		{errors.New("x"), 502, "proxy_internal_error", false},
	} {
		f := failureOf(tt.err)
		if f.status != tt.status || f.kind != tt.kind || f.isBusy() != tt.busy || f.text == "" {
			t.Errorf("%v: %+v, want %d %s", tt.err, f, tt.status, tt.kind)
		}
	}
}

// Who may read a fill, and what is remembered of it.
func TestVerdicts(t *testing.T) {
	plain, personal := wire.Fields{}, wire.Fields{{Name: "Cookie", Value: "a"}}
	for _, tt := range []struct {
		reason cache.Reason
		status int
		fields wire.Fields
		want   singleflight.Verdict
		marks  bool
	}{
		{cache.None, 200, plain, singleflight.Store, false},
		{cache.None, 500, personal, singleflight.Store, false},
		{cache.TooLarge, 200, plain, singleflight.Share, true},
		{cache.NoFreshness, 503, plain, singleflight.Share, false},
		{cache.NoFreshness, 503, personal, singleflight.Private, false},
		{cache.Private, 503, plain, singleflight.Private, false},
		{cache.SetCookie, 500, plain, singleflight.Private, false},
		{cache.NoFreshness, 200, plain, singleflight.Private, true},
		{cache.Private, 200, personal, singleflight.Private, true},
		{cache.ResponseNoStore, 302, plain, singleflight.Private, true},
		{cache.NoFreshness, 404, plain, singleflight.Private, true},
		{cache.NoFreshness, 429, plain, singleflight.Private, false},
		{cache.RequestNoStore, 200, plain, singleflight.Private, false},
	} {
		h := newHandlerFor(t, "127.0.0.1:1")
		hd := &head{reason: tt.reason, meta: cache.Meta{Status: tt.status}}
		if got := verdict(hd, tt.fields); got != tt.want {
			t.Errorf("%v, %d: verdict %v, want %v", tt.reason, tt.status, got, tt.want)
		}
		j := &job{h: h, tables: &h.tables, fields: tt.fields, key: keys{bytes: []byte("k"), primary: 1}}
		j.remember(hd)
		c := &call{h: h, tables: &h.tables, key: j.key, fields: tt.fields}
		if got := c.isUncacheable(); got != tt.marks {
			t.Errorf("%v, %d: marked is %v", tt.reason, tt.status, got)
		}
		c.fields = nil
		if got := c.isUncacheable(); got && hasCredentials(tt.fields) {
			t.Errorf("%v, %d: credentials mark it for those without", tt.reason, tt.status)
		}
	}
}

// A head is written once, read by fasthttp, and comes out as it was meant.
func TestHead(t *testing.T) {
	f := func(lines ...string) (fs wire.Fields) {
		for _, l := range lines {
			name, value, _ := strings.Cut(l, ": ")
			fs = append(fs, wire.Field{Name: name, Value: value})
		}
		return fs
	}
	for _, tt := range []struct {
		status int
		fields wire.Fields
		length int64
		want   string // after the status line
	}{
		{200, f("x-lower: 1", "X-Lower: 2"), 3, "Content-Length: 3|x-lower: 1|X-Lower: 2"},
		{200, f("Date: Sun, 06 Nov 1994 08:49:37 GMT"), 0, "Content-Length: 0|Date: Sun, 06 Nov 1994 08:49:37 GMT"},
		{200, f("Content-Length: 7"), 0, "Content-Length: 7"},
		{200, f("Content-Length: 7"), 3, "Content-Length: 3"},
		{200, f("Content-Length: 7"), wire.Chunked, "Transfer-Encoding: chunked"},
		{200, nil, wire.UntilClose, ""},
		{204, f("Content-Length: 7"), 0, ""},
		{304, nil, 0, ""},
		{304, f("Content-Length: 7"), 0, "Content-Length: 7"},
		{299, f("Content-Type: a/b", "Server: s"), 1, "Server: s|Content-Type: a/b|Content-Length: 1"},
		{999, f("Set-Cookie: a=1, b", "Set-Cookie: a=1, b"), 1, "Content-Length: 1|Set-Cookie: a=1, b|Set-Cookie: a=1, b"},
	} {
		h := serverHeader(t)
		var r headReader
		for range 2 { // the second head leaves nothing of the first
			r.buf = appendHead(r.buf[:0], tt.status, tt.fields, tt.length)
			if err := r.read(h, tt.length); err != nil {
				t.Fatal(err)
			}
		}
		status, rest, _ := strings.Cut(h.String(), "\r\n")
		got := strings.TrimSuffix(strings.ReplaceAll(rest, "\r\n", "|"), "|")
		if got = strings.TrimSuffix(got, "|"); got != tt.want || !strings.HasPrefix(status, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
			t.Errorf("%d %v %d: %q %q, want %q", tt.status, tt.fields, tt.length, status, got, tt.want)
		}
	}
}

// serverHeader is a response header as a front server hands it to a handler.
func serverHeader(t *testing.T) *fasthttp.ResponseHeader {
	t.Helper()
	var h fasthttp.ResponseHeader
	s := testFront(nil)
	s.Handler = func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.CopyTo(&h) }
	serveLoop(t, s, 1)
	return &h
}

// Two routes share an object only where one upstream is asked by the same parts.
func TestKeyScopes(t *testing.T) {
	parts := func(names ...string) (ps []KeyPart) {
		for _, n := range names {
			p, err := ParseKeyPart(n)
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, p)
		}
		return ps
	}
	tg := target{path: "/a", query: "?a"}
	fields := wire.Fields{{Name: "Cookie", Value: "x=?a"}}
	key := func(name string, ps []KeyPart) string {
		return string(appendKey(keyScope(name, ps), ps, tg, fields))
	}
	base := key("app", parts("path", "query"))
	if key("app", parts("path", "query")) != base {
		t.Error("the same parts of the same upstream differ")
	}
	for name, other := range map[string]string{
		"upstream": key("api", parts("path", "query")), "part": key("app", parts("path", "cookie:x")),
		"fewer": key("app", parts("path")),
	} {
		if other == base {
			t.Errorf("another %s has the same key", name)
		}
	}
}

// A route in trouble logs one failure a second, and how many it did not.
func TestFailureLog(t *testing.T) {
	var f failureLog
	start := time.Unix(1, 0)
	for _, tt := range []struct {
		after   time.Duration
		skipped uint64
		ok      bool
	}{{0, 0, true}, {0, 0, false}, {999 * time.Millisecond, 0, false}, {time.Second, 2, true}, {time.Second, 0, false}, {time.Minute, 1, true}} {
		if skipped, ok := f.admit(start.Add(tt.after), time.Second); skipped != tt.skipped || ok != tt.ok {
			t.Errorf("after %v: %d, %v; want %d, %v", tt.after, skipped, ok, tt.skipped, tt.ok)
		}
	}
}
