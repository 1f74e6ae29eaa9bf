package main_test

import (
	"testing"

	"ringfence/loadtest/origin"
)

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
