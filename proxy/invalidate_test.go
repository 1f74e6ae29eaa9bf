package proxy

import (
	"slices"
	"testing"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

// RFC 9111, section 4.4, and RFC 9110, section 4.3.1: what an answer names is
// invalidated where it has the origin of the request.
func TestResolve(t *testing.T) {
	for _, tt := range []struct{ raw, reference, want string }{ // "" is refused
		{"/a/b?q", "/c", "/c"},
		{"/a/b?q", "c", "/a/c"},
		{"/a/b?q", "../c?x=1", "/c?x=1"},
		{"/a/b?q", "?x", "/a/b?x"},
		{"/a/b?q", "?", "/a/b?"},
		{"/a/b?q", "#f", "/a/b?q"},
		{"/a/b", "/c#f", "/c"},
		{"/a", "/c/./d/../e", "/c/e"},
		{"/a", "/c%2Fd%c3%a9", "/c%2Fd%c3%a9"},
		{"/a", "/\xc3\xa9", "/%C3%A9"},
		{"/a", "http://example.com/c", "/c"},
		{"/a", "HTTP://EXAMPLE.com:80/c", "/c"},
		{"/a", "http://user@example.com/c", "/c"},
		{"/a", "http://example.com", "/"},
		{"/a", "http://example.com?q", "/?q"},
		{"/a", "//example.com/c", "/c"},

		{"/a", "", ""},
		{"/a", "//other.example/c", ""},
		{"/a", "http://example.com:8080/c", ""},
		{"/a", "http://example.com.other/c", ""},
		{"/a", "https://example.com/c", ""},
		{"/a", "mailto:x@example.com", ""},
		{"/a", "http:c", ""},
		{"/a", "/%zz", ""},
		{"/a", "http://exa mple.com/", ""},
	} {
		base, err := parseTarget("http", "POST", tt.raw, host("Example.com"))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := base.resolve(tt.reference)
		if ok != (tt.want != "") || ok && (got.raw != tt.want || got.authority != "example.com" || got.path+got.query != got.raw) {
			t.Errorf("%q at %s: %+v, want %q", tt.reference, tt.raw, got, tt.want)
		}
	}
}

// FuzzResolve: what an answer names is a target of the same origin, which a
// request could have, and naming it again names the same.
func FuzzResolve(f *testing.F) {
	for _, seed := range [][2]string{
		{"/a/b?q", "../c?x#f"}, {"/", "http://a:80/c"}, {"/%2f//x", "//a/%2E%2e/y"}, {"/a", "?"}, {"/a:b", "c:d"}, {"*", "/"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, raw, reference string) {
		base, err := parseTarget("http", "OPTIONS", raw, host("a"))
		if err != nil {
			return
		}
		got, ok := base.resolve(reference)
		if !ok {
			return
		}
		again, err := parseTarget("http", "GET", got.raw, host(got.authority))
		if err != nil || again != got || got.authority != "a" || got.scheme != "http" {
			t.Errorf("%q at %q: %+v, then %+v, %v", reference, raw, got, again, err)
		}
		if same, ok := base.resolve("http://a" + got.raw); !ok || same.raw != got.raw {
			t.Errorf("%q at %q: %q, then %q", reference, raw, got.raw, same.raw)
		}
	})
}

// A group is its origin's own (RFC 9875, section 2.1).
func TestTagOf(t *testing.T) {
	base := tagOf(target{scheme: "http", authority: "a"}, "bc")
	for _, other := range []struct{ scheme, authority, group string }{
		{"http", "a", "b"}, {"http", "ab", "c"}, {"https", "a", "bc"}, {"http", "a:8080", "bc"}, {"", "httpa", "bc"},
	} {
		if tagOf(target{scheme: other.scheme, authority: other.authority}, other.group) == base {
			t.Errorf("%v is the group bc of http://a", other)
		}
	}
	if tagOf(target{scheme: "http", authority: "a", raw: "/x", path: "/x"}, "bc") != base {
		t.Error("the group depends on the path")
	}
	a := target{scheme: "http", authority: "a"}
	tags := tagsOf(a, &cache.Meta{Groups: []string{"bc", "x"}, Tags: []string{"x", "y"}})
	want := []uint64{base, tagOf(a, "x"), tagOf(target{}, "bc"), tagOf(target{}, "x"), tagOf(target{}, "x"), tagOf(target{}, "y")}
	if !slices.Equal(tags, want) || tagsOf(a, new(cache.Meta)) != nil {
		t.Errorf("tags %v, want %v", tags, want)
	}
}

// An invalidation is about all that is stored for a URI, whatever else is in
// its key, and about nothing else.
func TestResourceOfKeys(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1", func(o *Options) {
		o.Routes[0].Key = append([]KeyPart{{kind: keyCookie, name: "c"}, {kind: keyHeader, name: "H"}}, o.Routes[0].Key...)
	})
	build := func(path, query string, fields ...wire.Field) (k keys) {
		k.build(h.snap.Load().routes[0], target{scheme: "http", authority: "a", path: path, query: query}, fields)
		return k
	}
	one := build("/", "?q", wire.Field{Name: "H", Value: "1"})
	for name, other := range map[string]keys{
		"header": build("/", "?q", wire.Field{Name: "H", Value: "2"}), "cookie": build("/", "?q", wire.Field{Name: "Cookie", Value: "c=1"}),
	} {
		if other.resource != one.resource || other.hash == one.hash || string(other.bytes) == string(one.bytes) {
			t.Errorf("another %s: resource %x and hash %x, of %x and %x", name, other.resource, other.hash, one.resource, one.hash)
		}
	}
	for name, other := range map[string]keys{"path": build("/a", "?q"), "query": build("/", "")} {
		if other.resource == one.resource {
			t.Errorf("another %s has the same resource", name)
		}
	}
}
