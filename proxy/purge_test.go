package proxy

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
)

// purge asks for a purge that has to be good, until it is confirmed: an engine on
// a busy machine may be too slow.
func (s *site) purge(kind PurgeKind, soft bool, names ...string) (done Purged) {
	s.t.Helper()
	waitFor(s.t, "a purge to be confirmed", func() bool {
		var err error
		if done, err = s.h.Purge(Purge{Kind: kind, Names: names, Soft: soft}); err != nil {
			s.t.Fatalf("purge of %s %q: %v", kind, names, err)
		}
		return done.Unconfirmed == nil
	})
	return done
}

// tagging is a route that reads both fields of tags.
func tagging(o *Options) { o.Routes[0].Policy.TagFields = cache.CacheTag | cache.SurrogateKey }

// What a purge names is gone, or stale, and nothing else; and each answer has
// none of the fields of tags.
func TestPurge(t *testing.T) {
	const all = "/a /a?q /a/b /ab /c/d"
	tags := map[string][]string{
		"/a":   {"Cache-Tag", "one, two words"},
		"/a?q": {"Surrogate-Key", "one three"},
		"/a/b": {"Cache-Groups", `"one", "group"`},
	}
	for _, tt := range []struct {
		kind  PurgeKind
		names []string
		hits  string // purged
	}{
		{PurgeURL, []string{"http://x/a"}, "/a"},
		{PurgeURL, []string{"http://X:80/a?q", "HTTP://x/c/d"}, "/a?q /c/d"},
		{PurgeURL, []string{"https://x/a"}, ""},
		{PurgeURL, []string{"http://y/a"}, ""},
		{PurgeTag, []string{"one"}, "/a /a?q /a/b"},
		{PurgeTag, []string{"two words", "three"}, "/a /a?q"},
		{PurgeTag, []string{"group"}, "/a/b"},
		{PurgeTag, []string{"two"}, ""},
		{PurgeTag, []string{"One"}, ""},
		{PurgePrefix, []string{"http://x/a"}, "/a /a?q /a/b"},
		{PurgePrefix, []string{"http://x/a/b", "http://x/c/"}, "/a/b /c/d"},
		{PurgePrefix, []string{"http://x/"}, all},
		{PurgePrefix, []string{"http://y/"}, ""},
		{PurgeEverything, nil, all},
	} {
		for _, soft := range []bool{false, true} {
			name := fmt.Sprintf("%s %q soft=%v", tt.kind, tt.names, soft)
			s := newSite(t, func(r origin.Request) origin.Answer {
				a := origin.Text("max-age=60", r.Target).With("ETag", `"1"`).With("Vary", "X-V")
				if f := tags[r.Target]; f != nil {
					a = a.With(f[0], f[1])
				}
				if r.Get("If-None-Match") != "" {
					a.Status, a.Body = 304, nil
				}
				return a
			}, tagging)
			variants := []string{"X-V: 1", "X-V: 2"}
			for _, path := range strings.Fields(all) {
				for _, v := range variants {
					r := s.get(path, v)
					if r.status != 200 || r.header["Cache-Tag"] != nil || r.header["Surrogate-Key"] != nil || (r.header["Cache-Groups"] != nil) != (path == "/a/b") {
						t.Errorf("%s: a miss of %s: %s", name, path, r)
					}
				}
			}
			s.idle()
			if done := s.purge(tt.kind, soft, tt.names...); done.Instances != 1 {
				t.Errorf("%s: %d instances", name, done.Instances)
			}
			for _, path := range strings.Fields(all) {
				for _, v := range variants {
					want := "; hit"
					switch purged := strings.Contains(" "+tt.hits+" ", " "+path+" "); {
					case purged && soft:
						want = "fwd=stale; fwd-status=304"
					case purged:
						want = "fwd=miss"
					}
					r := s.get(path, v)
					if r.status != 200 || r.body != path || !r.says(want) || r.header["Cache-Tag"] != nil || r.header["Surrogate-Key"] != nil {
						t.Errorf("%s: then %s: %s, want %s", name, path, r, want)
					}
					s.idle()
					if r = s.get(path, v); !r.says("; hit") {
						t.Errorf("%s: and then %s: %s", name, path, r)
					}
				}
			}
		}
	}
}

// A key is purged by its hash, with all its variants, and without the others of
// its URL.
func TestPurgeKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(r origin.Request) origin.Answer {
		return origin.Text("max-age=60", r.Get("X-K")).With("Vary", "X-V")
	}, func(o *Options) { o.Routes[0].Key = append(o.Routes[0].Key, KeyPart{kind: keyHeader, name: "X-K"}) })
	ask := func(k, v string) reply { return s.get("/", "X-K: "+k, "X-V: "+v) }
	for _, k := range []string{"1", "2"} {
		ask(k, "a")
		ask(k, "b")
	}
	s.idle()
	var k keys
	at, _ := parseTarget("http", "GET", "/", host("x"))
	k.build(s.h.snap.Load().routes[0], at, fieldsOf("X-K: 1"))
	s.purge(PurgeKey, false, fmt.Sprintf("%016x", k.hash))
	for _, tt := range []struct {
		k, v string
		hit  bool
	}{{"1", "a", false}, {"1", "b", false}, {"2", "a", true}, {"2", "b", true}} {
		if r := ask(tt.k, tt.v); r.says("; hit") != tt.hit || r.body != tt.k {
			t.Errorf("%+v: %s", tt, r)
		}
	}
}

// What names nothing is refused, and nothing is done.
func TestPurgeOfNothing(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1", func(o *Options) { o.Routes[0].Host = "x" })
	for _, p := range []Purge{
		{Kind: PurgeURL}, {Kind: PurgeKinds, Names: []string{"a"}}, {Kind: PurgeEverything, Names: []string{"a"}},
		{Kind: PurgeTag, Names: make([]string, maxPurge+1)},
		{Kind: PurgeURL, Names: []string{"/a"}}, {Kind: PurgeURL, Names: []string{"x/a"}}, {Kind: PurgeURL, Names: []string{"ftp://x/a"}},
		{Kind: PurgeURL, Names: []string{"http:///a"}}, {Kind: PurgeURL, Names: []string{"http://x/a#b"}}, {Kind: PurgeURL, Names: []string{"http://x/a b"}},
		{Kind: PurgeURL, Names: []string{"http://u@x/"}}, {Kind: PurgeURL, Names: []string{"http://x/", "http://y/"}}, {Kind: PurgeURL, Names: []string{""}},
		{Kind: PurgePrefix, Names: []string{"http://x/?q"}}, {Kind: PurgePrefix, Names: []string{"http://y/"}}, {Kind: PurgePrefix, Names: []string{"http://x:0/"}},
		{Kind: PurgePrefix, Names: []string{"http://x" + strings.Repeat("/x", maxDepth+1)}},
		{Kind: PurgeTag, Names: []string{""}}, {Kind: PurgeTag, Names: []string{"a", " b"}},
		{Kind: PurgeKey, Names: []string{"0123"}}, {Kind: PurgeKey, Names: []string{"0123456789abcdeg"}}, {Kind: PurgeKey, Names: []string{"-123456789abcdef"}},
	} {
		if done, err := h.Purge(p); err == nil || done != (Purged{}) || h.struck.Now() != 0 || h.View().Purges != [PurgeKinds]PurgeStats{} {
			t.Errorf("%+.80v: %+v, %v", p, done, err)
		}
	}
	for _, soft := range []bool{false, true, true} {
		if _, err := h.Purge(Purge{Kind: PurgeTag, Names: []string{"a", "b"}, Soft: soft}); err != nil {
			t.Error(err)
		}
	}
	if got := h.View().Purges; got != [PurgeKinds]PurgeStats{PurgeTag: {Hard: 1, Soft: 2}} {
		t.Errorf("counted are %v", got)
	}
}

// What a soft purge leaves answers within its stale windows, which begin at the
// purge, while it is fetched again, and while its upstream fails; and a second
// purge does not lengthen them.
func TestSoftPurgeServesStale(t *testing.T) {
	t.Parallel()
	hold, fails := make(chan struct{}), new(atomic.Bool)
	s := newSite(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60, stale-while-revalidate=60, stale-if-error=60", r.Target)
		if r.Target == "/swr" && r.Get("X-First") == "" {
			a.Hold = hold
		}
		if fails.Load() {
			return origin.Answer{Status: 503}
		}
		return a
	})
	s.get("/swr", "X-First: 1")
	s.get("/sie", "X-First: 1")
	s.stored(2)
	s.purge(PurgePrefix, true, "http://x/")
	for range 3 {
		if r := s.get("/swr"); r.body != "/swr" || !r.says("; hit; ttl=0; detail=stale-while-revalidate") && !r.says("; hit; ttl=-") {
			t.Errorf("while it is renewed: %s", r)
		}
	}
	if n := s.h.View().Requests.Renewals; n != 1 {
		t.Errorf("%d renewals", n)
	}
	close(hold)
	s.stored(3)
	if r := s.get("/swr"); !r.says("; hit; ttl=") || r.says("detail") {
		t.Errorf("when it is renewed: %s", r)
	}
	fails.Store(true)
	if r := s.get("/sie", "Cache-Control: max-age=1"); r.status != 200 || !r.says("ttl=0; detail=stale-if-error") && !r.says("ttl=-") {
		t.Errorf("while its upstream fails: %s", r)
	}
	e := s.entry("/sie")
	o := e.object()
	if o == e.Object || o.Lifetime > time.Since(e.ResponseTime) {
		t.Errorf("it is fresh for %v of %v", o.Lifetime, e.Lifetime)
	}
	s.purge(PurgeEverything, true)
	if again := s.entry("/sie").object(); again != o {
		t.Errorf("a second purge makes it stale as of %v, in place of %v", again.Lifetime, o.Lifetime)
	}
}

// It was fresh until the purge, and clocks that are set back or forth since make
// nothing fresh.
func TestSoftPurgeAndClocks(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, -20 * time.Second, 0, time.Hour} {
		now := time.Now()
		e := &entry{Object: &cache.Object{Meta: cache.Meta{ResponseTime: now.Add(-time.Minute), Lifetime: 10 * time.Hour}}}
		e.expire(now.Add(skew), now)
		if want := min(time.Minute, time.Minute+skew); e.object().Lifetime != max(want, 0) {
			t.Errorf("off by %v: it was fresh for %v", skew, e.object().Lifetime)
		}
		if d := cache.Decide(e.object(), cache.NewRequest(&cache.Policy{}, "GET", nil), now); d.Action == cache.Serve {
			t.Errorf("off by %v: %+v", skew, d)
		}
	}
}

// Once a purge was confirmed, nobody who asks then is given what was filled
// before it, or what a fill brings that began before it: not at all, or, after a
// soft one, not without a question to the origin.
func TestPurgeRacesFills(t *testing.T) {
	kinds := []struct {
		kind PurgeKind
		name []string
	}{
		{PurgeURL, []string{"http://x/a/0", "http://x/a/1", "http://x/b?2"}}, {PurgeTag, []string{"t"}}, {PurgeTag, []string{"g"}},
		{PurgePrefix, []string{"http://x/a", "http://x/b"}}, {PurgePrefix, []string{"http://x/"}}, {PurgeEverything, nil},
	}
	for seed := range uint64(2) {
		var version atomic.Int64
		s := newSite(t, func(r origin.Request) origin.Answer {
			text := strconv.FormatInt(version.Load(), 10)
			a := origin.Text("max-age=60", text).With("Surrogate-Key", "t").With("Cache-Groups", `"g"`).With("Vary", "X-V")
			a.Delay = time.Duration(rand.IntN(3)) * time.Millisecond
			if etag := `"` + text + `"`; r.Get("X-Etag") != "" {
				if a = a.With("ETag", etag); r.Get("If-None-Match") == etag {
					a.Status, a.Body = 304, nil
				}
			}
			return a
		}, tagging, func(o *Options) { o.Routes[0].Key = append(o.Routes[0].Key, KeyPart{kind: keyCookie, name: "k"}) })
		var known, hits atomic.Int64
		var all sync.WaitGroup
		done := make(chan struct{})
		for client := range uint64(6) {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, client))
				for {
					select {
					case <-done:
						return
					default:
					}
					least, path := known.Load(), [...]string{"/a/0", "/a/1", "/b?2"}[rng.IntN(3)]
					fields := []string{fmt.Sprintf("X-V: %d", rng.IntN(2))}
					for _, f := range []string{"Authorization: a", "Cookie: k=1", "X-Etag: 1", "Range: bytes=0-", "Cache-Control: no-cache"} {
						if rng.IntN(6) == 0 {
							fields = append(fields, f)
						}
					}
					r := s.get(path, fields...)
					if got, err := strconv.ParseInt(r.body, 10, 64); err != nil || got < least {
						t.Errorf("%s %v: version %s after a purge at %d: %s", path, fields, r.body, least, r)
						return
					}
					if r.says("; hit") {
						hits.Add(1)
					}
				}
			})
		}
		for i := range 90 {
			now, k := version.Add(1), kinds[i%len(kinds)]
			s.purge(k.kind, i%4 == 3, k.name...)
			known.Store(now)
			// Fills and hits in between.
			before := hits.Load()
			waitFor(t, "hits", func() bool { return hits.Load() > before || t.Failed() })
		}
		close(done)
		all.Wait()
		s.idle()
	}
}

// A fill that began before a purge is not stored.
func TestPurgeUnderWay(t *testing.T) {
	t.Parallel()
	for _, p := range []Purge{{Kind: PurgeTag, Names: []string{"t"}}, {Kind: PurgePrefix, Names: []string{"http://x/a"}}, {Kind: PurgeEverything}} {
		gate := make(chan struct{})
		a := origin.Text("max-age=60", "first").With("Cache-Tag", "t")
		a.Hold = gate
		s := newSite(t, always(a), tagging)
		before := s.begin("/a/b")
		s.reached(1)
		s.purge(p.Kind, false, p.Names...)
		close(gate)
		if r := <-before; r.body != "first" {
			t.Errorf("%v: who came before it: %s", p, r)
		}
		s.idle()
		if v := s.h.View(); v.Memory.Entries != 0 || v.Requests.Unstored[cache.Invalidated] != 1 {
			t.Errorf("%v: stored are %d, and unstored %v", p, v.Memory.Entries, v.Requests.Unstored)
		}
	}
}

// Clients get no tags in answers that are not stored either; and a field that the
// route does not read is one like any other.
func TestTagsAreNotForClients(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, control string
		change          func(*Route)
	}{
		{"GET", "no-store", nil}, {"GET", "private", nil}, {"POST", "max-age=60", nil}, {"HEAD", "max-age=60", nil},
		{"GET", "max-age=60", func(r *Route) { r.Cache = CacheOff }},
		{"GET", "max-age=60", func(r *Route) {
			r.Compression = &Compression{Codings: []cache.Coding{cache.Gzip}, Types: []string{"text/*"}}
		}},
	} {
		s := newSite(t, always(origin.Text(tt.control, strings.Repeat("x", 2000)).With("Content-Type", "text/plain").
			With("Cache-Tag", "a").With("Surrogate-Key", "b").With("X-Other", "c")), func(o *Options) {
			o.Routes[0].Policy.TagFields = cache.SurrogateKey
			if tt.change != nil {
				tt.change(&o.Routes[0])
			}
		})
		for range 2 {
			r := s.do(tt.method, "/", "Content-Length: 0", "Accept-Encoding: gzip")
			if r.status != 200 || r.header["Surrogate-Key"] != nil || r.header["Cache-Tag"] == nil || r.header["X-Other"] == nil {
				t.Errorf("%s %s: %s", tt.method, tt.control, r)
			}
			s.idle()
		}
	}
}

// A fill that began before a soft purge is stored as stale.
func TestSoftPurgeUnderWay(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		if r.Get("If-None-Match") != "" {
			return origin.Answer{Status: 304}
		}
		a := origin.Text("max-age=60", "first").With("ETag", `"1"`)
		if r.Get("X-N") != "" {
			a.Body = []byte(r.Get("X-N"))
			return a
		}
		a.Hold = gate
		return a
	})
	before := s.begin("/")
	s.reached(1)
	s.purge(PurgeURL, true, "http://x/")
	if r := s.get("/", "X-N: second", "Cache-Control: no-store"); r.body != "second" {
		t.Errorf("who came after it: %s", r)
	}
	close(gate)
	if r := <-before; r.body != "first" {
		t.Errorf("who came before it: %s", r)
	}
	s.stored(1)
	if r := s.get("/"); !r.says("fwd=stale; fwd-status=304") || r.body != "first" {
		t.Errorf("then: %s", r)
	}
}

// PURGE purges for those who may, is refused to others, and passes where nobody
// is named.
func TestPurgeRequests(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from    []string
		trusted []string
		fields  []string
		status  int
		left    memory.Left // 2: all
	}{
		"allowed":                        {from: []string{"127.0.0.0/8"}, status: 200, left: memory.Nothing},
		"softly":                         {from: []string{"127.0.0.0/8"}, fields: []string{"Soft-Purge: 1"}, status: 200, left: memory.Stale},
		"not allowed":                    {from: []string{"192.0.2.0/24"}, status: 403, left: 2},
		"not believed":                   {from: []string{"192.0.2.0/24"}, fields: []string{"X-Forwarded-For: 192.0.2.1"}, status: 403, left: 2},
		"behind a proxy":                 {from: []string{"192.0.2.0/24"}, trusted: []string{"127.0.0.1/32"}, fields: []string{"X-Forwarded-For: 192.0.2.1"}, status: 200, left: memory.Nothing},
		"not for whom the proxy asks":    {from: []string{"127.0.0.0/8"}, trusted: []string{"127.0.0.1/32"}, fields: []string{"X-Forwarded-For: 192.0.2.1"}, status: 403, left: 2},
		"nobody, and a method like any":  {status: 405, left: 2},
		"with a wish to switch protocol": {from: []string{"127.0.0.0/8"}, fields: []string{"Connection: upgrade", "Upgrade: websocket"}, status: 200, left: memory.Nothing},
	} {
		s := newSite(t, func(r origin.Request) origin.Answer {
			if r.Method == "PURGE" {
				return origin.Answer{Status: 405}
			}
			return origin.Text("max-age=60", "x").With("ETag", `"1"`)
		}, func(o *Options) {
			o.Routes[0].PurgeFrom, o.TrustedProxies = prefixes(tt.from...), prefixes(tt.trusted...)
			o.Routes[0].Upgrade = []string{"websocket"}
			o.Routes[0].Query = &QueryRules{Sort: true}
		})
		s.get("/a?x&y")
		s.stored(1)
		r := s.do("PURGE", "/a?y&x", tt.fields...)
		if r.status != tt.status || (tt.status == 200) != r.says("detail=purged") || (tt.status == 405) != (s.o.Count("/a?x&y").Total == 2) {
			t.Errorf("%s: %s", name, r)
		}
		want := [...]string{memory.Nothing: "fwd=miss", memory.Stale: "fwd=stale", 2: "; hit"}[tt.left]
		if r := s.get("/a?x&y"); !r.says(want) {
			t.Errorf("%s: then %s, want %s", name, r, want)
		}
		s.idle()
	}
}
