package main_test

import (
	"slices"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

func TestRequestIsForwardedAsItCame(t *testing.T) {
	t.Parallel()
	p, o := behind(t, nil)
	const target = "/a%2Fb//c/../d%7e/./?x=%20&y&&z=a+b;c"
	c := p.dial()
	c.send("GET "+target+" HTTP/1.1",
		"host: Example.COM:80",
		"X-b: 1", "x-A: two words", "X-b: 3",
		"Connection: close, X-Mine", "X-Mine: no", "keep-alive: timeout=5", "Proxy-Connection: x",
		"Proxy-Authorization: Basic eA==", "TE: trailers", "Upgrade: h2c",
		"Cookie: b=1; a=2", "Cookie: c=3", "Accept-Encoding: gzip",
		"Via: 1.0 before", "X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9")
	_ = c.response("GET").Body.Close()

	r := o.Record().Requests[0]
	if r.Target != target || r.Method != "GET" || r.Proto != "HTTP/1.1" {
		t.Errorf("request line is %q", strings.SplitN(r.Head, "\r\n", 2)[0])
	}
	// The client's own fields, in their order, without hop-by-hop fields
	// (RFC 9110, section 7.6.1).
	own := []origin.Field{
		{Name: "X-b", Value: "1"}, {Name: "x-A", Value: "two words"}, {Name: "X-b", Value: "3"},
		{Name: "Cookie", Value: "b=1; a=2"}, {Name: "Cookie", Value: "c=3"}, {Name: "Accept-Encoding", Value: "gzip"},
	}
	var got []origin.Field
	for _, f := range r.Fields {
		if !slices.Contains([]string{"host", "via", "forwarded", "connection", "x-request-id"}, strings.ToLower(f.Name)) &&
			!strings.HasPrefix(f.Name, "X-Forwarded-") {
			got = append(got, f)
		}
	}
	if !slices.Equal(got, own) {
		t.Errorf("fields\n got %v\nwant %v", got, own)
	}
	for name, want := range map[string]string{
		"Via":               "1.0 before, 1.1 ringfence",
		"X-Forwarded-For":   "127.0.0.1",
		"X-Forwarded-Proto": "http",
		"Connection":        "",
	} {
		if got := strings.Join(r.Values(name), "|"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"Host", "X-Forwarded-Host"} {
		if vs := r.Values(name); len(vs) != 1 || !strings.HasPrefix(strings.ToLower(vs[0]), "example.com") {
			t.Errorf("%s is %q", name, vs)
		}
	}
	if f := r.Get("Forwarded"); !strings.Contains(f, "for=127.0.0.1") || !strings.Contains(f, "proto=http") || !strings.Contains(strings.ToLower(f), "host=") {
		t.Errorf("Forwarded is %q", f)
	}
}

func TestResponseIsForwardedAsItCame(t *testing.T) {
	t.Parallel()
	for _, control := range []string{"max-age=60", "no-store"} {
		t.Run(control, func(t *testing.T) {
			t.Parallel()
			a := origin.Text(control, "body").With("x-B", "1").With("X-Thing", "a, b").With("x-B", "2").
				With("Date", "Sun, 06 Nov 1994 08:49:37 GMT").
				With("Connection", "X-Mine, keep-alive").With("X-Mine", "no").With("Keep-Alive", "timeout=5").
				With("Proxy-Authenticate", "Basic").With("Server", "other/1").With("Trailer", "x").With("Upgrade", "h2c")
			p, _ := behind(t, always(a))
			for range 2 { // a miss, then a hit where it may be one
				c := p.dial()
				c.send("GET / HTTP/1.1", "Host: x")
				lines := c.head()
				if lines[0] != "HTTP/1.1 200 OK" {
					t.Errorf("status line %q", lines[0])
				}
				want := []string{"Cache-Control: " + control, "x-B: 1", "X-Thing: a, b", "x-B: 2", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Server: other/1"}
				got := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !slices.Contains(want, l) })
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("not each of %q once in %q", want, lines)
				}
				if one, two := slices.Index(lines, "x-B: 1"), slices.Index(lines, "x-B: 2"); one > two {
					t.Errorf("repeated lines changed places: %q", lines)
				}
				for _, l := range lines {
					name, _, _ := strings.Cut(strings.ToLower(l), ":")
					if slices.Contains([]string{"x-mine", "keep-alive", "connection", "upgrade", "trailer", "transfer-encoding"}, name) {
						t.Errorf("hop-by-hop field %q reached the client", l)
					}
				}
				p.settle()
			}
		})
	}
}

// Interim answers are not the answer.
func TestInterimAnswers(t *testing.T) {
	t.Parallel()
	a := origin.Text("max-age=60", "final")
	a.Interim = []string{"HTTP/1.1 103 Early Hints\r\nLink: </s>; rel=preload", "HTTP/1.1 102 Processing"}
	p, o := behind(t, always(a))
	for _, method := range []string{"GET", "POST"} {
		if r := p.do(method, "/", "").must(t, 200); r.body != "final" {
			t.Errorf("%s: %s", method, r)
		}
	}
	if n := o.Record().Connections; n != 1 {
		t.Errorf("%d connections; the first could not be used again", n)
	}
}
