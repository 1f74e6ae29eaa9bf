package main_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// latest is the latest request that reached an origin.
func latest(t *testing.T, o *origin.Origin) origin.Request {
	t.Helper()
	rs := o.Record().Requests
	if len(rs) == 0 {
		t.Fatal("no request reached the origin")
	}
	return rs[len(rs)-1]
}

// Who is believed when it says for whom it asks: nobody, or the proxies that the
// configuration names.
func TestWhoIsBelieved(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	claims := []string{"X-Request-Id: theirs-7", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 8443",
		"X-Real-IP: 6.6.6.6", "True-Client-IP: 6.6.6.6", "traceparent: " + trace, "tracestate: a=1"}
	const https = `;host="example.com";proto=https`
	const plain = `;host="example.com";proto=http`
	for name, tt := range map[string]struct {
		top, way       string // the way is a field line
		want           string // X-Forwarded-For
		forwarded      string
		scheme, itsOwn string // request id
	}{
		"nobody": {"", "X-Forwarded-For: 203.0.113.9", "127.0.0.1", "for=127.0.0.1" + plain, "http", ""},
		"others": {"server: {trusted_proxies: [10.0.0.0/8, '::1']}", "Forwarded: for=203.0.113.9;proto=https", "127.0.0.1", "for=127.0.0.1" + plain, "http", ""},
		"the peer": {"server: {trusted_proxies: [127.0.0.1]}", "X-Forwarded-For: 6.6.6.6, 203.0.113.9",
			"203.0.113.9, 127.0.0.1", "for=203.0.113.9" + https + ", for=127.0.0.1", "https", "theirs-7"},
		"a chain": {"server: {trusted_proxies: [127.0.0.0/8, '2001:db8::/32']}", `Forwarded: for=6.6.6.6, for=203.0.113.9;proto=https, for="[2001:db8::1]:80"`,
			"203.0.113.9, 2001:db8::1, 127.0.0.1", "for=203.0.113.9" + https + `, for="[2001:db8::1]", for=127.0.0.1`, "https", "theirs-7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "one", nil)
			p := startProxy(t, setup{top: tt.top, origins: []*origin.Origin{o}})
			for _, method := range []string{"GET", "POST"} {
				c := p.dial()
				c.send(append([]string{method + " / HTTP/1.1", "Host: example.com", "Connection: close", "Content-Length: 0", tt.way}, claims...)...)
				_ = c.response(method).Body.Close()
				r := latest(t, o)
				for name, want := range map[string]string{
					"X-Forwarded-For": tt.want, "Forwarded": tt.forwarded, "X-Forwarded-Proto": tt.scheme, "X-Forwarded-Host": "example.com",
					"Host": "example.com", "X-Forwarded-Port": "", "X-Real-IP": "", "True-Client-IP": "", "traceparent": trace, "tracestate": "a=1",
				} {
					if got := strings.Join(r.Values(name), "|"); got != want {
						t.Errorf("%s: %s is %q, want %q", method, name, got, want)
					}
				}
				if id := r.Get("X-Request-Id"); tt.itsOwn != "" && id != tt.itsOwn || tt.itsOwn == "" && len(id) != 32 {
					t.Errorf("%s: the id is %q", method, id)
				}
			}
		})
	}
}

// The scheme of a trusted proxy's client is a part of the key.
func TestSchemeOfTrustedProxy(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer { return origin.Text("max-age=60", r.Get("X-Forwarded-Proto")) })
	p := startProxy(t, setup{top: "server: {trusted_proxies: [127.0.0.1]}", origins: []*origin.Origin{o}})
	for i, scheme := range []string{"http", "https", "http", "https"} {
		if r := p.do("GET", "/", "", "X-Forwarded-Proto: "+scheme).must(t, 200); r.body != scheme || r.is("hit") != (i > 1) {
			t.Errorf("%d: %s gets %s", i, scheme, r)
		}
		p.settle()
	}
}

// An id leads from an answer to the upstream's log, and from a failure's line in
// ours. A hit has none, nor has what is stored.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "x").With("X-Request-Id", "echo")))
	p := startProxy(t, setup{origins: []*origin.Origin{o}})
	miss := p.do("GET", "/", "").must(t, 200)
	if id := latest(t, o).Get("X-Request-Id"); len(id) != 32 || strings.Join(miss.header["X-Request-Id"], "|") != id {
		t.Errorf("the origin got the id %q, the client %q", id, miss.header["X-Request-Id"])
	}
	p.settle()
	if hit := p.do("GET", "/", ""); !hit.is("hit") || hit.header["X-Request-Id"] != nil {
		t.Errorf("a hit: %s", hit)
	}
	o.Stop()
	failed := p.do("GET", "/else", "")
	id := failed.header.Get("X-Request-Id")
	logged := p.stderr.await(p.exited, func(log string) bool {
		for line := range strings.Lines(log) {
			var l struct {
				ID string `json:"request_id"`
			}
			if json.Unmarshal([]byte(line), &l) == nil && l.ID == id {
				return true
			}
		}
		return false
	})
	if failed.status < http.StatusBadGateway || len(id) != 32 || !logged {
		t.Errorf("a failure: %s; logged: %v", failed, logged)
	}
}

// What applications obey and no key has does not reach them, in whatever
// spelling, unless a route wants it: then it is in the key.
func TestUnkeyedFields(t *testing.T) {
	t.Parallel()
	names := []string{"X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Original-URL", "X-Rewrite-URL",
		"X-Original-Host", "X-Host", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "Front-End-Https", "X-Original-URI",
		"X-ProxyUser-Ip", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP", "Client-IP", "Proxy"}
	var lines []string
	for _, name := range names {
		lines = append(lines, name+": unkeyed", strings.ReplaceAll(strings.ToLower(name), "-", "_")+": unkeyed")
	}
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		return origin.Text("max-age=60", r.Get("x-http-method-override"))
	})
	p := startProxy(t, setup{route: "forward_fields: [X-HTTP-Method-Override]", origins: []*origin.Origin{o}})
	for i, want := range []string{"unkeyed", "", "unkeyed", ""} {
		fields := lines
		if want == "" {
			fields = []string{"X-Host: other"}
		}
		if r := p.do("GET", "/", "", fields...).must(t, 200); r.body != want || r.is("hit") != (i > 1) {
			t.Errorf("%d: %s", i, r)
		}
		p.settle()
	}
	if n := strings.Count(o.Record().Requests[0].Head, "unkeyed"); n != 1 {
		t.Errorf("%d of them reached the origin: %s", n, o.Record().Requests[0].Head)
	}
}
