package proxy

import (
	"errors"
	"strings"
	"testing"

	"ringfence/proxy/wire"
)

func host(values ...string) (f wire.Fields) {
	for _, v := range values {
		f = append(f, wire.Field{Name: "Host", Value: v})
	}
	return f
}

func TestTarget(t *testing.T) {
	for _, tt := range []struct {
		raw    string
		fields wire.Fields
		want   target // scheme is http throughout; a zero authority means refused
	}{
		{"/", host("example.com"), target{authority: "example.com", host: "example.com", raw: "/", path: "/"}},
		{"/a%2Fb//c/../d?x=%20&y", host("Example.COM:8080"),
			target{authority: "example.com:8080", host: "example.com", raw: "/a%2Fb//c/../d?x=%20&y", path: "/a%2Fb//c/../d", query: "?x=%20&y"}},
		{"/?", host("a"), target{authority: "a", host: "a", raw: "/?", path: "/", query: "?"}},
		{"//evil.example/x", host("a"), target{}},
		{"http://b/", host("a b"), target{}},
		{"/", host("a:80"), target{authority: "a", host: "a", raw: "/", path: "/"}},
		{"/", host("[::1]:8080"), target{authority: "[::1]:8080", host: "[::1]", raw: "/", path: "/"}},
		{"/", host("[::1]"), target{authority: "[::1]", host: "[::1]", raw: "/", path: "/"}},
		{"http://B.example/p?q", host("a"), target{authority: "b.example", host: "b.example", raw: "/p?q", path: "/p", query: "?q"}},
		{"HTTP://b", host("a"), target{authority: "b", host: "b", raw: "/", path: "/"}},
		{"http://b?q", host("a"), target{authority: "b", host: "b", raw: "/?q", path: "/", query: "?q"}},

		{"https://b/", host("a"), target{}},
		{"http:///p", host("a"), target{}},
		{"http://user@b/", host("a"), target{}},
		{"b/p", host("a"), target{}},
		{"*", host("a"), target{}},
		{"/", host("a, b"), target{}},
		{"/", host("user@a"), target{}},
		{"/", host("a:0"), target{}},
		{"/", host("a:65536"), target{}},
		{"/", host("a:"), target{}},
		{"/", host(":80"), target{}},
		{"/", host("a/b"), target{}},
		{"/", host("[::1"), target{}},
		{"/", host("[]"), target{}},
		{"/", host("[1.2.3.4]"), target{}},
		{"/", host("[fe80::1%25eth0]"), target{}},
		{"/", host("[::1]x"), target{}},
		{"/a\\b", host("a"), target{}},
	} {
		got, err := parseTarget("http", "GET", tt.raw, tt.fields)
		if tt.want.authority == "" {
			if !errors.Is(err, errTarget) {
				t.Errorf("%q with %v: got %+v, %v, want it refused", tt.raw, tt.fields, got, err)
			}
			continue
		}
		tt.want.scheme = "http"
		if err != nil || got != tt.want {
			t.Errorf("%q with %v:\n got %+v, %v\nwant %+v", tt.raw, tt.fields, got, err, tt.want)
		}
	}
}

func TestTargetOfOldClients(t *testing.T) {
	got, err := parseTarget("http", "GET", "/x", nil)
	if err != nil || got.authority != "" || got.path != "/x" {
		t.Errorf("HTTP/1.0 without Host: %+v, %v", got, err)
	}
}

// FuzzTarget: whatever is accepted is canonical, so that reading the canonical
// form again gives the same target.
func FuzzTarget(f *testing.F) {
	for _, seed := range [][2]string{{"/a?b", "Example.com:80"}, {"http://a:8080?x", "b"}, {"//x", "[::1]:1"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, raw, authority string) {
		if raw == "" {
			return // the edge refuses it
		}
		got, err := parseTarget("http", "GET", raw, host(authority))
		if err != nil {
			return
		}
		again, err := parseTarget("http", "GET", got.raw, host(got.authority))
		if err != nil || again != got {
			t.Errorf("%q at %q: %+v, then %+v, %v", raw, authority, got, again, err)
		}
		if got.path+got.query != got.raw || !strings.HasPrefix(got.path, "/") {
			t.Errorf("%q: path %q and query %q", raw, got.path, got.query)
		}
	})
}
