package main_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// step is one request of a story and what its client and the origin see.
type step struct {
	method string // default GET
	fields []string
	status int    // default 200
	cached bool   // it did not reach the origin
	body   string // of the answer, where it matters
	says   string // a parameter of Cache-Status
	has    string // "Name: value" of a field of the answer
	age    int    // the least Age of the answer
}

// date is an HTTP-date some time from now.
func date(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }

const ten = "0123456789"

// revalidated answers 304 to the validator of the answer it gives otherwise.
func revalidated(a, confirmed origin.Answer, validator, value string) origin.Script {
	confirmed.Status = 304
	return func(r origin.Request) origin.Answer {
		if r.Get(validator) == value {
			return confirmed
		}
		return a
	}
}

func TestCaching(t *testing.T) {
	t.Parallel()
	text := func(fields ...string) origin.Answer {
		a := origin.Answer{Body: []byte(ten)}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			a = a.With(name, value)
		}
		return a
	}
	byField := func(name string, fields ...string) origin.Script {
		return func(r origin.Request) origin.Answer {
			a := text(append(fields, "Vary: "+name, "Cache-Control: max-age=60")...)
			a.Body = []byte(name + "=" + r.Get(name))
			return a
		}
	}
	etagged := text("ETag: \"v1\"", "Cache-Control: max-age=60", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")
	type story struct {
		script origin.Script
		steps  []step
	}
	tests := map[string]story{
		"max-age":            {always(text("Cache-Control: max-age=60")), []step{{says: "fwd=uri-miss"}, {cached: true, says: "hit", body: ten}}},
		"s-maxage over 0":    {always(text("Cache-Control: max-age=0, s-maxage=60")), []step{{}, {cached: true, says: "hit"}}},
		"Expires":            {always(text("Date: "+date(0), "Expires: "+date(time.Hour))), []step{{}, {cached: true, says: "hit"}}},
		"Expires past":       {always(text("Date: "+date(0), "Expires: "+date(-time.Hour))), []step{{}, {}}},
		"Expires 0":          {always(text("Expires: 0")), []step{{}, {}}},
		"Age counts":         {always(text("Age: 50", "Cache-Control: max-age=60")), []step{{}, {cached: true, age: 50}}},
		"Age ends it":        {always(text("Age: 100", "Cache-Control: max-age=60")), []step{{}, {}}},
		"nothing said":       {always(text()), []step{{}, {}}},
		"no-store":           {always(text("Cache-Control: no-store, max-age=60")), []step{{}, {says: "detail=uncacheable"}}},
		"private":            {always(text("Cache-Control: private, max-age=60")), []step{{}, {}}},
		"Set-Cookie":         {always(text("Set-Cookie: id=1", "Cache-Control: max-age=60")), []step{{has: "Set-Cookie: id=1"}, {has: "Set-Cookie: id=1"}}},
		"a 404":              {always(origin.Answer{Status: 404}.With("Cache-Control", "max-age=60")), []step{{status: 404}, {status: 404, cached: true}}},
		"a 301":              {always(origin.Answer{Status: 301}.With("Cache-Control", "max-age=60").With("Location", "/b")), []step{{status: 301}, {status: 301, cached: true, has: "Location: /b"}}},
		"Vary: *":            {always(text("Vary: *", "Cache-Control: max-age=60")), []step{{}, {}}},
		"POST":               {always(text("Cache-Control: max-age=60")), []step{{method: "POST"}, {method: "POST", says: "fwd=method"}, {}, {cached: true}}},
		"POST invalidates":   {always(text("Cache-Control: max-age=60")), []step{{}, {cached: true}, {method: "POST"}, {says: "fwd=miss"}, {cached: true}}},
		"DELETE invalidates": {always(text("Cache-Control: max-age=60")), []step{{}, {method: "DELETE"}, {}}},
		"an error does not": {func(r origin.Request) origin.Answer {
			if r.Method == "POST" {
				return origin.Answer{Status: 500}
			}
			return text("Cache-Control: max-age=60")
		}, []step{{}, {method: "POST", status: 500}, {cached: true}}},
		"Authorization": {always(text("Cache-Control: max-age=60")), []step{
			{fields: []string{"Authorization: Basic eA=="}}, {fields: []string{"Authorization: Basic eA=="}}, {}, {cached: true}}},
		"Authorization, public": {always(text("Cache-Control: public, max-age=60")), []step{
			{fields: []string{"Authorization: Basic eA=="}}, {fields: []string{"Authorization: Basic eQ=="}, cached: true}, {cached: true}}},
		"Vary": {byField("Accept-Language"), []step{
			{fields: []string{"Accept-Language: en"}, body: "Accept-Language=en"},
			{fields: []string{"Accept-Language: de"}, body: "Accept-Language=de"},
			{fields: []string{"Accept-Language: en"}, cached: true, body: "Accept-Language=en"},
			{fields: []string{"Accept-Language: de"}, cached: true, body: "Accept-Language=de"},
			{body: "Accept-Language="}, {cached: true, body: "Accept-Language="}}},
		"conditions": {always(etagged), []step{{},
			{fields: []string{`If-None-Match: "v1"`}, status: 304, cached: true, has: `ETag: "v1"`},
			{fields: []string{`If-None-Match: "v0", W/"v1"`}, status: 304, cached: true},
			{fields: []string{`If-None-Match: *`}, status: 304, cached: true},
			{fields: []string{`If-None-Match: "v0"`}, cached: true, body: ten},
			{fields: []string{"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"}, status: 304, cached: true},
			{fields: []string{"If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT"}, cached: true, body: ten},
			{fields: []string{`If-None-Match: "v0"`, "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"}, cached: true, body: ten}}},
		"condition on a cold key": {always(etagged), []step{
			{fields: []string{`If-None-Match: "v1"`}, status: 304}, {cached: true, body: ten}}},
		"HEAD from a GET": {always(etagged), []step{{}, {method: "HEAD", cached: true, has: "Content-Length: 10"}}},
		"ranges": {always(etagged), []step{{},
			{fields: []string{"Range: bytes=2-4"}, status: 206, cached: true, body: "234", has: "Content-Range: bytes 2-4/10"},
			{fields: []string{"Range: bytes=7-"}, status: 206, cached: true, body: "789"},
			{fields: []string{"Range: bytes=-2"}, status: 206, cached: true, body: "89"},
			{fields: []string{"Range: bytes=10-"}, status: 416, cached: true, has: "Content-Range: bytes */10"},
			{fields: []string{"Range: lines=1-2"}, cached: true, body: ten},
			{fields: []string{"Range: bytes=2-4", `If-Range: "v1"`}, status: 206, cached: true, body: "234"},
			{fields: []string{"Range: bytes=2-4", `If-Range: "v0"`}, cached: true, body: ten}}},
		"only-if-cached": {always(etagged), []step{
			{fields: []string{"Cache-Control: only-if-cached"}, status: 504, cached: true}, {},
			{fields: []string{"Cache-Control: only-if-cached"}, cached: true, body: ten}}},
		"request no-cache": {always(text("Cache-Control: max-age=60")), []step{{}, {fields: []string{"Cache-Control: no-cache"}, says: "fwd=request"}, {cached: true}}},
		"request no-store": {always(text("Cache-Control: max-age=60")), []step{{fields: []string{"Cache-Control: no-store"}}, {}}},
		"request max-age":  {always(text("Age: 30", "Cache-Control: max-age=60")), []step{{}, {fields: []string{"Cache-Control: max-age=10"}}}},
		"revalidated by ETag": {revalidated(text("ETag: \"v1\"", "Cache-Control: max-age=0"), text("ETag: \"v1\"", "Cache-Control: max-age=60"), "If-None-Match", `"v1"`),
			[]step{{body: ten}, {body: ten}, {cached: true, body: ten, has: "Cache-Control: max-age=60", says: "hit"}}},
		"revalidated by date": {revalidated(text("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Cache-Control: no-cache"), text("Cache-Control: max-age=60"), "If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
			[]step{{body: ten}, {body: ten}, {cached: true, body: ten}}},
		"revalidated under a client's own condition": {revalidated(text("ETag: \"v1\"", "Cache-Control: max-age=0"), text("Cache-Control: max-age=60"), "If-None-Match", `"v1"`),
			[]step{{}, {fields: []string{`If-None-Match: "other"`}, body: ten}, {fields: []string{`If-None-Match: "v1"`}, status: 304, cached: true}}},
		"no-cache is asked each time": {revalidated(text("ETag: \"v1\"", "Cache-Control: no-cache"), text(), "If-None-Match", `"v1"`),
			[]step{{body: ten}, {body: ten}, {body: ten}}},
	}
	shared, o := behind(t, each(tests, func(s story, r origin.Request) origin.Answer { return s.script(r) }))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := shared.with(t)
			for i, s := range tt.steps {
				before := o.Record().Total
				if s.method == "" {
					s.method = "GET"
				}
				if s.status == 0 {
					s.status = 200
				}
				r := p.do(s.method, target(name), "", s.fields...)
				p.settle()
				if r.err != nil || r.status != s.status || s.body != "" && r.body != s.body {
					t.Fatalf("step %d: got %s; want %d %q", i+1, r, s.status, s.body)
				}
				if asked := o.Record().Total - before; asked > 1 || (asked == 0) != s.cached {
					t.Errorf("step %d: origin was asked %d times; Cache-Status: %s", i+1, asked, r.header.Get("Cache-Status"))
				}
				if s.says != "" && !r.is(s.says) {
					t.Errorf("step %d: Cache-Status %q, want %s", i+1, r.header.Get("Cache-Status"), s.says)
				}
				if age, err := strconv.Atoi(r.header.Get("Age")); s.age > 0 && (err != nil || age < s.age || age > s.age+30) {
					t.Errorf("step %d: Age is %q, want about %d", i+1, r.header.Get("Age"), s.age)
				}
				if field, value, _ := strings.Cut(s.has, ": "); s.has != "" && r.header.Get(field) != value {
					t.Errorf("step %d: %s is %q, want %q", i+1, field, r.header.Get(field), value)
				}
			}
		})
	}
}

// A 304 upstream is asked for with the proxy's validators, in place of any of
// the client's.
func TestRevalidationUsesOwnValidators(t *testing.T) {
	t.Parallel()
	p, o := behind(t, always(origin.Text("max-age=0", "x").With("ETag", `"mine"`)))
	p.get("/").must(t, 200)
	p.settle()
	p.get("/", `If-None-Match: "client's"`, "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT").must(t, 200)
	r := o.Record().Requests[1]
	if got := r.Values("If-None-Match"); len(got) != 1 || got[0] != `"mine"` || r.Get("If-Modified-Since") != "" {
		t.Errorf("asked with If-None-Match %q, If-Modified-Since %q", got, r.Get("If-Modified-Since"))
	}
}

// What is larger than one object may be is served, and not kept.
func TestTooLargeToStore(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", origin.FromQuery(origin.Answer{Size: 100_000}.With("Cache-Control", "max-age=60")))
	p := startProxy(t, setup{top: "cache: {max_object_size: 64KiB}", origins: []*origin.Origin{o}})
	for _, target := range []string{"/?framing=length", "/?framing=chunked"} {
		for range 2 {
			if r := p.get(target).must(t, 200); len(r.body) != 100_000 || r.is("hit") {
				t.Errorf("%s: %d bytes, %s", target, len(r.body), r.header.Get("Cache-Status"))
			}
			p.settle()
		}
		if n := o.Count(target).Total; n != 2 {
			t.Errorf("%s: origin was asked %d times", target, n)
		}
	}
}

// A field that the client's Connection nominates is not forwarded, so the answer
// may not be kept as the variant of those who send that field.
func TestNominatedFieldsSelectNothing(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, func(r origin.Request) origin.Answer {
		return origin.Text("max-age=60", "lang="+r.Get("X-Lang")).With("Vary", "X-Lang")
	})
	c := p.dial()
	c.send("GET /page HTTP/1.1", "Host: "+p.addr, "Connection: close, X-Lang", "X-Lang: de")
	if r := whole(c.response("GET")).must(t, 200); r.body != "lang=" {
		t.Fatalf("nominated: %s", r)
	}
	p.settle()
	if r := p.get("/page", "X-Lang: de").must(t, 200); r.body != "lang=de" {
		t.Errorf("then: %s", r)
	}
}
