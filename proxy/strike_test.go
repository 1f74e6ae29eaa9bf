package proxy

import (
	"strings"
	"testing"
	"time"

	"ringfence/proxy/cache/memory"
	"ringfence/proxy/wire"
)

func TestStrikesOnTheWire(t *testing.T) {
	for _, x := range []strike{
		{}, {left: memory.Stale}, {memory.Nothing, oneHash, 1<<64 - 1}, {memory.Stale, below, 7}, {memory.Nothing, below + maxDepth, 0},
	} {
		if got, ok := decodeStrike(x.encode()); !ok || got != x {
			t.Errorf("%+v becomes %+v, %v", x, got, ok)
		}
	}
	for _, s := range []string{"", "\x00", "\x02\x0112345678", "\x00\x4212345678", "\x00\x01123456789"} {
		if x, ok := decodeStrike(s); ok {
			t.Errorf("%q is %+v", s, x)
		}
	}
}

func FuzzStrike(f *testing.F) {
	f.Add(strike{memory.Stale, below + 3, 9}.encode())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if x, ok := decodeStrike(s); ok && x.encode() != s {
			t.Errorf("%q is %+v, which is %q", s, x, x.encode())
		}
	})
}

// A prefix reaches its own path and those below it by whole segments, of its
// origin alone, whatever else was struck before.
func TestPrefixes(t *testing.T) {
	for _, tt := range []struct{ prefix, reached, spared string }{
		{"http://a/", "/ /x /x/y /x?q", ""},
		{"http://a", "/ /x", ""},
		{"HTTP://A:80/b", "/b /b/ /b/c /b?q /b/c/d/e", "/ /bc /bc/d /a/b /B"},
		{"http://a/b/", "/b /b/ /b/c", "/bc /"},
		{"http://a/b//", "/b/ /b//c", "/b /b/c"},
		{"http://a/b/c", "/b/c /b/c/d /b/c?x=1", "/b /b/cc /c /b//c"},
		{"http://a/%62", "/%62 /%62/c", "/b"},
		{"http://a" + strings.Repeat("/x", maxDepth), strings.Repeat("/x", maxDepth) + " " + strings.Repeat("/x", 90), strings.Repeat("/x", maxDepth-1)},
		{"http://other/", "", "/ /x"},
		{"https://a/", "", "/ /x"},
		{"http://a:81/", "", "/ /x"},
	} {
		h := newHandlerFor(t, "127.0.0.1:1")
		for _, other := range []string{"http://a/z", "http://a/z/z/z", "http://z/"} {
			if _, err := h.Purge(Purge{Kind: PurgePrefix, Names: []string{other}, Soft: true}); err != nil {
				t.Fatal(err)
			}
		}
		born := h.struck.Now()
		if _, err := h.Purge(Purge{Kind: PurgePrefix, Names: []string{tt.prefix}}); err != nil {
			t.Fatal(err)
		}
		for list, want := range map[string]bool{tt.reached: true, tt.spared: false} {
			for _, raw := range strings.Fields(list) {
				at, err := parseTarget("http", "GET", raw, host("a"))
				if err != nil {
					t.Fatal(err)
				}
				var k keys
				k.build(h.snap.Load().routes[0], at, nil)
				last := h.struck.last(&k, nil)
				if got := last.Nothing > born; got != want || last.Stale != 0 {
					t.Errorf("%s reaches %s: %v, want %v; %+v", tt.prefix, raw, got, want, last)
				}
			}
		}
	}
}

// FuzzPrefix: what is struck below a path is what matchPath says.
func FuzzPrefix(f *testing.F) {
	for _, seed := range [][2]string{{"/a", "/a/b"}, {"/a/", "/a"}, {"/", "/x"}, {"/a/b", "/a/bc"}, {"/a//", "/a//b"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, prefix, path string) {
		if !strings.HasPrefix(prefix, "/") || !strings.HasPrefix(path, "/") || strings.Count(prefix, "/") > maxDepth {
			return
		}
		r := &Route{}
		for _, part := range []string{"scheme", "host", "path", "query"} {
			p, _ := ParseKeyPart(part)
			r.Key = append(r.Key, p)
		}
		r.ofOrigin, r.ofTarget = 2, 4
		var k, p keys
		k.build(r, target{scheme: "http", authority: "a", path: path}, nil)
		p.build(r, target{scheme: "http", authority: "a", path: prefix}, nil)
		if k.pathText() != path {
			t.Fatalf("the path of the key of %q is %q", path, k.pathText())
		}
		trimmed := strings.TrimSuffix(prefix, "/")
		s := &struck{Epochs: memory.NewEpochs(100)}
		// Both have the same origin.
		s.apply(strike{memory.Nothing, below + reach(strings.Count(trimmed, "/")), belowHash(p.origin(), trimmed)}, time.Unix(1, 0))
		if got, want := s.last(&k, nil).Nothing > 0, path == trimmed || matchPath(trimmed+"/", path); got != want {
			t.Errorf("%q below %q: %v, want %v", path, prefix, got, want)
		}
	})
}

// A route whose key has no host, or fields, is reached through each of its
// hosts; one that cannot have the path is not asked.
func TestStrikesByRoute(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1", func(o *Options) {
		base, part := o.Routes[0], func(names ...string) (parts []KeyPart) {
			for _, name := range names {
				p, err := ParseKeyPart(name)
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, p)
			}
			return parts
		}
		hostless, keyed, deep := base, base, base
		hostless.PathPrefix, hostless.Key = "/hostless", part("path")
		keyed.PathPrefix, keyed.Key = "/keyed", part("path", "host", "header:X-K")
		deep.Host, deep.PathPrefix, deep.Key = "*.example", "/keyed/deep", part("path", "query", "host")
		o.Routes = append(o.Routes, hostless, keyed, deep)
	})
	for name, want := range map[string]int{
		"http://a/": 3, "http://a/hostless": 2, "http://a/hostless/x": 2, "http://a/hostlessx": 1, "http://a/keyed": 2,
		"http://a.example/keyed": 3, "http://a.example/keyed/deep/x": 3, "http://a.example/": 4, "http://a.example/keyed/de": 2,
	} {
		list, err := h.strikesOf(Purge{Kind: PurgePrefix, Names: []string{name}})
		if err != nil || len(list) != want {
			t.Errorf("%s: %d strikes, want %d; %v", name, len(list), want, err)
		}
	}
	key := func(raw string, fields wire.Fields) (k keys) {
		at, err := parseTarget("http", "GET", raw, host("b"))
		if err != nil {
			t.Fatal(err)
		}
		k.build(h.snap.Load().routes.match("b", at.path), at, fields)
		return k
	}
	for _, tt := range []struct {
		purge Purge
		raw   string
	}{
		{Purge{Kind: PurgePrefix, Names: []string{"http://other/hostless/"}}, "/hostless/x"},
		{Purge{Kind: PurgeURL, Names: []string{"https://other/hostless/x?q"}}, "/hostless/x"},
		{Purge{Kind: PurgePrefix, Names: []string{"http://b/keyed"}}, "/keyed"},
		{Purge{Kind: PurgeURL, Names: []string{"http://b/keyed"}}, "/keyed"},
	} {
		for _, fields := range []wire.Fields{nil, {{Name: "X-K", Value: "1"}}} {
			k, born := key(tt.raw, fields), h.struck.Now()
			if _, err := h.Purge(tt.purge); err != nil {
				t.Fatal(err)
			}
			if h.struck.last(&k, nil).Nothing <= born {
				t.Errorf("%v does not reach %s %v", tt.purge, tt.raw, fields)
			}
		}
	}
}

// BenchmarkStruck is what the first hit after an invalidation pays: with none of
// a prefix ever, and with some of each depth that its path has.
func BenchmarkStruck(b *testing.B) {
	for name, before := range map[string]func(*Handler){"no prefixes": func(*Handler) {}, "a million purges": manyPurges} {
		b.Run(name, func(b *testing.B) {
			h := newHandlerFor(b, "127.0.0.1:1", func(o *Options) { o.IndexEntries = 1 << 20 })
			before(h)
			at, err := parseTarget("http", "GET", "/static/js/vendor/app.js?v=3", host("www.example.com"))
			if err != nil {
				b.Fatal(err)
			}
			var k keys
			k.build(h.snap.Load().routes[0], at, nil)
			b.ReportAllocs()
			for b.Loop() {
				h.struck.last(&k, nil)
			}
		})
	}
}
