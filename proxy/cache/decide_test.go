package cache

import (
	"testing"
	"time"

	"ringfence/proxy/wire"
)

func TestDecide(t *testing.T) {
	const (
		plain   = "Cache-Control: max-age=60"
		tagged  = `Cache-Control: max-age=60|ETag: "a"`
		none    = "" // nothing stored
		swr     = ", stale-while-revalidate=40"
		atFresh = 30
		atStale = 90
	)
	for _, c := range []struct {
		name, method, request, response string
		after                           int64 // seconds
		action                          Action
		reason                          Reason
	}{
		{"cold", "GET", "", none, 0, Fetch, Miss},
		{"cold, conditional", "GET", `If-None-Match: "a"`, none, 0, Fetch, Miss},
		{"cold HEAD", "HEAD", "", none, 0, Pass, Miss},
		{"cold range", "GET", "Range: bytes=0-1", none, 0, Fetch, RangeMiss},
		{"HEAD has no ranges", "HEAD", "Range: bytes=0-1", plain, atFresh, Serve, None},
		{"fresh", "GET", "", plain, atFresh, Serve, None},
		{"fresh HEAD", "HEAD", "", plain, atFresh, Serve, None},
		{"fresh range", "GET", "Range: bytes=0-1", plain, atFresh, Serve, None},
		{"last instant of freshness", "GET", "", plain, 59, Serve, None},
		{"lifetime reached", "GET", "", plain, 60, Fetch, Stale},
		{"stale", "GET", "", tagged, atStale, Revalidate, Stale},
		{"stale range", "GET", "Range: bytes=0-1", tagged, atStale, Revalidate, Stale},
		{"stale range, no validator", "GET", "Range: bytes=0-1", plain, atStale, Fetch, Stale},
		{"stale HEAD leads nothing", "HEAD", "", tagged, atStale, Pass, Stale},

		{"no-cache response", "GET", "", tagged + "|Cache-Control: no-cache", 0, Revalidate, MustRevalidate},
		{"no-cache response, max-stale", "GET", "Cache-Control: max-stale", tagged + "|Cache-Control: no-cache", 0, Revalidate, MustRevalidate},
		{"no-cache", "GET", "Cache-Control: no-cache", tagged, atFresh, Revalidate, RequestNoCache},
		{"no-cache, no validator", "GET", "Cache-Control: no-cache", plain, atFresh, Fetch, RequestNoCache},
		{"Pragma", "GET", "Pragma: no-cache", plain, atFresh, Fetch, RequestNoCache},
		{"Pragma under Cache-Control", "GET", "Pragma: no-cache|Cache-Control: foo", plain, atFresh, Serve, None},
		{"max-age reached", "GET", "Cache-Control: max-age=30", plain, 30, Serve, None},
		{"max-age passed", "GET", "Cache-Control: max-age=29", plain, 30, Fetch, RequestMaxAge},
		{"max-age=0", "GET", "Cache-Control: max-age=0", tagged, atFresh, Revalidate, RequestMaxAge},
		{"max-age unreadable", "GET", "Cache-Control: max-age=x", tagged, atFresh, Revalidate, RequestMaxAge},
		{"the least max-age counts", "GET", "Cache-Control: max-age=1, max-age=50", plain, atFresh, Fetch, RequestMaxAge},
		{"min-fresh kept", "GET", "Cache-Control: min-fresh=30", plain, 30, Serve, None},
		{"min-fresh broken", "GET", "Cache-Control: min-fresh=31", plain, 30, Fetch, RequestMinFresh},
		{"min-fresh unreadable", "GET", "Cache-Control: min-fresh=x", plain, 0, Fetch, RequestMinFresh},
		{"max-stale", "GET", "Cache-Control: max-stale", plain, atStale, Serve, None},
		{"max-stale reached", "GET", "Cache-Control: max-stale=30", plain, atStale, Serve, None},
		{"max-stale passed", "GET", "Cache-Control: max-stale=29", plain, atStale, Fetch, Stale},
		{"max-stale unreadable", "GET", "Cache-Control: max-stale=x", plain, atStale, Fetch, Stale},
		{"max-stale, max-age", "GET", "Cache-Control: max-stale, max-age=89", plain, atStale, Fetch, RequestMaxAge},
		{"max-stale, must-revalidate", "GET", "Cache-Control: max-stale", plain + ", must-revalidate", atStale, Fetch, Stale},
		{"max-stale, proxy-revalidate", "GET", "Cache-Control: max-stale", plain + ", proxy-revalidate", atStale, Fetch, Stale},
		{"max-stale, s-maxage", "GET", "Cache-Control: max-stale", "Cache-Control: s-maxage=60", atStale, Fetch, Stale},
		{"stale-while-revalidate", "GET", "", plain + swr, atStale, ServeAndRefresh, StaleWhileRevalidate},
		{"stale-while-revalidate, fresh", "GET", "", plain + swr, atFresh, Serve, None},
		{"stale-while-revalidate, last second", "GET", "", plain + swr, 100, ServeAndRefresh, StaleWhileRevalidate},
		{"stale-while-revalidate, over", "GET", "", plain + swr, 101, Fetch, Stale},
		{"stale-while-revalidate, over, max-stale", "GET", "Cache-Control: max-stale", plain + swr, 101, Serve, None},
		{"stale-while-revalidate, HEAD", "HEAD", "", plain + swr, atStale, Serve, StaleWhileRevalidate},
		{"stale-while-revalidate, range", "GET", "Range: bytes=0-1", plain + swr, atStale, ServeAndRefresh, StaleWhileRevalidate},
		{"stale-while-revalidate, only-if-cached", "GET", "Cache-Control: only-if-cached", plain + swr, atStale, Serve, StaleWhileRevalidate},
		{"stale-while-revalidate, no-cache", "GET", "Cache-Control: no-cache", plain + swr, atStale, Fetch, RequestNoCache},
		{"stale-while-revalidate, max-age", "GET", "Cache-Control: max-age=1000", plain + swr, atStale, Fetch, Stale},
		{"stale-while-revalidate, min-fresh", "GET", "Cache-Control: min-fresh=0", plain + swr, atStale, Fetch, RequestMinFresh},
		{"stale-while-revalidate, less max-stale", "GET", "Cache-Control: max-stale=29", plain + swr, atStale, Fetch, Stale},
		{"stale-while-revalidate, enough max-stale", "GET", "Cache-Control: max-age=90, max-stale=30", plain + swr, atStale, ServeAndRefresh, StaleWhileRevalidate},
		{"stale-while-revalidate, body", "GET", "Content-Length: 1", plain + swr, atStale, Pass, RequestBody},
		{"stale-while-revalidate, must-revalidate", "GET", "", plain + swr + ", must-revalidate", atStale, Fetch, Stale},
		{"stale-while-revalidate, proxy-revalidate", "GET", "", plain + swr + ", proxy-revalidate", atStale, Fetch, Stale},
		{"stale-while-revalidate, s-maxage", "GET", "", "Cache-Control: s-maxage=60" + swr, atStale, Fetch, Stale},
		{"stale-while-revalidate, no-cache response", "GET", "", tagged + "|Cache-Control: no-cache" + swr, atStale, Revalidate, MustRevalidate},
		{"stale-while-revalidate unreadable", "GET", "", plain + ", stale-while-revalidate=x", atStale, Fetch, Stale},
		{"stale-while-revalidate contradicted", "GET", "", plain + swr + ", stale-while-revalidate=50", atStale, Fetch, Stale},
		{"stale-if-error is no permission without one", "GET", "", plain + ", stale-if-error=99", atStale, Fetch, Stale},
		{"no-store", "GET", "Cache-Control: no-store", plain, atFresh, Pass, RequestNoStore},
		{"only-if-cached, fresh", "GET", "Cache-Control: only-if-cached", plain, atFresh, Serve, None},
		{"only-if-cached, stale", "GET", "Cache-Control: only-if-cached", tagged, atStale, OnlyIfCached, RequestOnlyIfCached},
		{"only-if-cached, cold", "GET", "Cache-Control: only-if-cached", none, 0, OnlyIfCached, RequestOnlyIfCached},
		{"only-if-cached, stale allowed", "GET", "Cache-Control: only-if-cached, max-stale", plain, atStale, Serve, None},

		{"POST", "POST", "", plain, atFresh, Pass, Method},
		{"POST, only-if-cached", "POST", "Cache-Control: only-if-cached", none, 0, Pass, Method},
		{"methods have a case", "get", "", plain, atFresh, Pass, Method},
		{"body", "GET", "Content-Length: 1", plain, atFresh, Pass, RequestBody},
		{"chunked body", "GET", "Transfer-Encoding: chunked", plain, atFresh, Pass, RequestBody},
		{"empty body", "GET", "Content-Length: 0", plain, atFresh, Serve, None},
		{"If-Match", "GET", `If-Match: "a"`, plain, atFresh, Pass, Precondition},
		{"If-Unmodified-Since", "GET", "If-Unmodified-Since: {0}", plain, atFresh, Pass, Precondition},
	} {
		var o *Object
		if c.response != none {
			o = stored(t, c.response)
		}
		now := epoch.Add(time.Duration(c.after) * time.Second)
		d := Decide(o, NewRequest(&Policy{}, c.method, lines(t, c.request)), now)
		if d.Action != c.action || d.Reason != c.reason {
			t.Errorf("%s: action %v for %v, want %v for %v", c.name, d.Action, d.Reason, c.action, c.reason)
		}
		if o != nil && (seconds64(d.Age) != c.after || seconds64(d.TTL) != 60-c.after) && c.response != none {
			t.Errorf("%s: age %v, ttl %v after %d s", c.name, d.Age, d.TTL, c.after)
		}
	}
}

// TestIgnoredDirectives: a route can leave out what clients ask, each directive
// by itself.
func TestIgnoredDirectives(t *testing.T) {
	for _, c := range []struct {
		request           string
		after             time.Duration
		by                RequestDirectives // any of these suffices
		honoured, ignored Reason
	}{
		{"Cache-Control: no-cache", 0, DirectiveNoCache, RequestNoCache, None},
		{"Cache-Control: no-store", 0, DirectiveNoStore, RequestNoStore, None},
		{"Cache-Control: max-age=0", 1, DirectiveMaxAge, RequestMaxAge, None},
		{"Cache-Control: min-fresh=99", 0, DirectiveMinFresh, RequestMinFresh, None},
		{"Cache-Control: max-stale", 90, DirectiveMaxStale, None, Stale},
		{"Cache-Control: only-if-cached", 90, DirectiveOnlyIfCached, RequestOnlyIfCached, Stale},
		{"Pragma: no-cache", 0, DirectivePragma | DirectiveNoCache, RequestNoCache, None},
	} {
		o := stored(t, "Cache-Control: max-age=60")
		for ignore := RequestDirectives(1); ignore != 0; ignore <<= 1 {
			want := c.honoured
			if ignore&c.by != 0 {
				want = c.ignored
			}
			rq := NewRequest(&Policy{Ignore: ignore}, "GET", lines(t, c.request))
			if d := Decide(o, rq, epoch.Add(c.after*time.Second)); d.Reason != want {
				t.Errorf("%s, ignoring %b: %v, want %v", c.request, ignore, d.Reason, want)
			}
		}
	}
}

func TestInvalidates(t *testing.T) {
	for method, want := range map[string]bool{
		"POST": true, "PUT": true, "DELETE": true, "PATCH": true, "M-SEARCH": true, "PURGE": true, "FOO": true, "post": true, "get": true,
		"GET": false, "HEAD": false, "OPTIONS": false, "TRACE": false, "PROPFIND": false,
	} {
		for status, success := range map[int]bool{199: false, 200: true, 204: true, 303: true, 399: true, 400: false, 500: false} {
			if got := Invalidates(method, status); got != (want && success) {
				t.Errorf("%s with %d: %v", method, status, got)
			}
		}
	}
}

// browserHead is what a browser sends with a navigation.
var browserHead = wire.Fields{
	{Name: "Host", Value: "www.example.com"},
	{Name: "User-Agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	{Name: "Accept", Value: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	{Name: "Accept-Language", Value: "en-US,en;q=0.5"},
	{Name: "Accept-Encoding", Value: "gzip, deflate, br, zstd"},
	{Name: "Connection", Value: "keep-alive"},
	{Name: "Cookie", Value: "session=0123456789abcdef; theme=dark"},
	{Name: "Sec-Fetch-Dest", Value: "document"},
	{Name: "Sec-Fetch-Mode", Value: "navigate"},
	{Name: "Upgrade-Insecure-Requests", Value: "1"},
}

func TestHitPathAllocatesNothing(t *testing.T) {
	o := stored(t, `Cache-Control: max-age=60|ETag: "a"|Vary: Accept-Encoding, Accept-Language, Cookie`)
	directed := append(lines(t, `Cache-Control: max-age=50, min-fresh=1|If-None-Match: "b", "c"|Range: bytes=2-5`), browserHead...)
	key, line := make([]byte, 0, 1024), make([]byte, 0, 1024)
	now := epoch.Add(time.Second)
	for name, f := range map[string]func(){
		"NewRequest":    func() { NewRequest(&Policy{}, "GET", browserHead) },
		"directives":    func() { NewRequest(&Policy{}, "GET", directed) },
		"Decide":        func() { Decide(o, NewRequest(&Policy{}, "GET", browserHead), now) },
		"Decide slowly": func() { Decide(o, NewRequest(&Policy{}, "GET", directed), now) },
		"Evaluate":      func() { Evaluate(&o.Meta, 10, NewRequest(&Policy{}, "GET", directed)) },
		"AppendVariant": func() { key = AppendVariant(key[:0], o.Vary, browserHead) },
		"Status": func() {
			line = Status{Forward: RequestMaxAge, HasTTL: true, Stored: true}.Append(line[:0], "ringfence")
		},
		"Status, stale": func() {
			line = Status{Hit: true, HasTTL: true, TTL: -9e9, Detail: StaleWhileRevalidate}.Append(line[:0], "ringfence")
		},
		"early":      func() { RefreshesEarly(o, time.Second, 0.5) },
		"on error":   func() { ServesOnError(o, NewRequest(&Policy{}, "GET", directed), now) },
		"AppendDate": func() { line = AppendDate(line[:0], now) },
		"strip":      func() { StripConditions(directed[:0], directed) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkNewRequest(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewRequest(&Policy{}, "GET", browserHead)
	}
}

func BenchmarkDecide(b *testing.B) {
	o := stored(b, "Cache-Control: max-age=60")
	for name, rq := range map[string]Request{
		"plain": NewRequest(&Policy{}, "GET", browserHead), "max-age": get(b, "Cache-Control: max-age=30"),
	} {
		b.Run(name, func(b *testing.B) {
			now := epoch.Add(time.Second)
			b.ReportAllocs()
			for b.Loop() {
				if Decide(o, rq, now).Action != Serve {
					b.Fatal("not served")
				}
			}
		})
	}
}

func BenchmarkAppendVariant(b *testing.B) {
	for name, vary := range map[string][]string{
		"Accept-Encoding": {"accept-encoding"}, "three": {"accept-encoding", "accept-language", "cookie"},
	} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 512)
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendVariant(dst[:0], vary, browserHead)
			}
		})
	}
}

func BenchmarkAssess(b *testing.B) {
	rq := NewRequest(&Policy{}, "GET", browserHead)
	f := lines(b, `Date: {0}|Cache-Control: public, max-age=60|ETag: "a"|Last-Modified: {-100}|Vary: Accept-Encoding|Content-Type: text/html|Content-Length: 5`)
	b.ReportAllocs()
	for b.Loop() {
		if _, why := Assess(&Policy{}, rq, 200, f, epoch, epoch); why != None {
			b.Fatal(why)
		}
	}
}
