package proxy

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
)

// snapshotOf returns the snapshot of a handler.
func snapshotOf(t testing.TB, h *Handler) []byte {
	t.Helper()
	var b bytes.Buffer
	done, err := h.WriteSnapshot(context.Background(), &b)
	if err != nil || done.Bytes != int64(b.Len()) {
		t.Fatalf("%+v of %d bytes, %v", done, b.Len(), err)
	}
	return b.Bytes()
}

func noPast(t testing.TB) Past {
	t.Helper()
	p, ok := readJournal(filepath.Join(t.TempDir(), "none"))
	if !ok {
		t.Fatal("no journal is not sound")
	}
	return p
}

// reloaded is a handler that has loaded a snapshot, before no server at all.
func reloaded(t *testing.T, b []byte, change ...func(*Options)) *Handler {
	t.Helper()
	h := newHandlerFor(t, "127.0.0.1:1", change...)
	if err := h.LoadSnapshot(context.Background(), bytes.NewReader(b), int64(len(b)), noPast(t)); err != nil {
		t.Fatal(err)
	}
	return h
}

// restarted is a site of such a handler. It has to be asked for something.
func restarted(t *testing.T, b []byte, change ...func(*Options)) *site {
	t.Helper()
	h := reloaded(t, b, change...)
	return &site{t: t, h: h, addr: serveOn(t, testFront(h))}
}

func compressing(o *Options) {
	o.Routes[0].Compression = &Compression{Codings: []cache.Coding{cache.Brotli, cache.Gzip}, Types: []string{"text/*"}}
}

// What was stored answers after a restart as it did before: each variant, coding,
// tag and group, with its age, stale or not; and what was purged does not.
func TestSnapshotRestores(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("some text ", 500)
	answers := map[string]origin.Answer{
		"/plain":      origin.Text("max-age=600", "plain").With("Age", "100").With("X-A", "1").With("X-A", "2"),
		"/empty":      origin.Text("max-age=600", ""),
		"/404":        {Status: 404, Fields: origin.Text("max-age=600", "").Fields, Body: []byte("none")},
		"/coded":      origin.Text("max-age=600", text).With("Content-Type", "text/plain"),
		"/tagged":     origin.Text("max-age=600", "tagged").With("Cache-Tag", "t").With("Cache-Groups", `"g"`),
		"/stale":      origin.Text("max-age=1, stale-while-revalidate=600", "stale").With("Age", "2"),
		"/validate":   origin.Text("no-cache", "validate").With("ETag", `"1"`),
		"/soft":       origin.Text("max-age=600, stale-while-revalidate=600", "soft"),
		"/hard":       origin.Text("max-age=600", "hard"),
		"/hard/below": origin.Text("max-age=600", "hard"),
	}
	change := []func(*Options){tagging, compressing}
	old := newSite(t, func(r origin.Request) origin.Answer {
		if r.Path() == "/varied" {
			return varies(r)
		}
		return answers[r.Path()]
	}, change...)
	for path := range answers {
		old.get(path)
	}
	old.get("/varied", english)
	old.get("/varied", german)
	old.stored(uint64(len(answers) + 2))
	for _, p := range []Purge{{Kind: PurgeURL, Names: []string{"http://x/soft"}, Soft: true}, {Kind: PurgePrefix, Names: []string{"http://x/hard"}}} {
		if _, err := old.h.Purge(p); err != nil {
			t.Fatal(err)
		}
	}
	s := restarted(t, snapshotOf(t, old.h), change...)
	if l := s.h.View().Loaded; l.Entries != uint64(len(answers)) || l.Skipped != [skips]uint64{} {
		t.Errorf("loaded %+v", l)
	}
	for path, want := range map[string]string{"/plain": "100", "/empty": "0", "/404": "0", "/coded": "0", "/tagged": "0", "/stale": "2", "/soft": "0"} {
		r := s.get(path)
		if a := answers[path]; r.body != string(a.Body) || !r.says("; hit") || r.header.Get("Age") < want || len(r.header.Get("Age")) != len(want) {
			t.Errorf("%s: %s", path, r)
		}
	}
	if r := s.get("/plain"); len(r.header["X-A"]) != 2 || len(r.header["Date"]) != 1 || len(r.header) != len(old.get("/plain").header) {
		t.Errorf("the head: %s, was %s", r, old.get("/plain"))
	}
	if r := s.get("/stale"); !r.says("stale-while-revalidate") {
		t.Errorf("stale: %s", r)
	}
	if r := s.get("/soft"); !r.says("stale-while-revalidate") {
		t.Errorf("softly purged: %s", r)
	}
	if r := s.get("/coded", "Accept-Encoding: br"); r.header.Get("Content-Encoding") != "br" || len(r.body) > len(text)/2 {
		t.Errorf("coded: %d bytes, %v", len(r.body), r.header)
	}
	if e, g := s.get("/varied", english), s.get("/varied", german); e.body != "in en" || g.body != "in de" || !g.says("; hit") {
		t.Errorf("variants: %s, %s", e, g)
	}
	for _, path := range []string{"/hard", "/hard/below", "/validate"} {
		if r := s.get(path); r.status != 502 {
			t.Errorf("%s: %s", path, r)
		}
	}
	s.h.struck.apply(hard(tagOf(target{scheme: "http", authority: "y"}, "g")), time.Now())
	for _, tag := range []string{"t", "g", ""} { // what is loaded can be purged by all that it belongs to
		again := restarted(t, snapshotOf(t, s.h), change...)
		if r := again.get("/tagged"); !r.says("; hit") {
			t.Errorf("loaded twice: %s", r)
		}
		if tag != "" {
			again.purge(PurgeTag, false, tag)
		} else { // by its origin's group
			again.h.struck.apply(hard(tagOf(target{scheme: "http", authority: "x"}, "g")), time.Now())
		}
		if r := again.get("/tagged"); r.status != 502 {
			t.Errorf("purged by %s: %s", tag, r)
		}
	}
}

// What the journal of a snapshot has struck does not come back, or is stale; where
// the journal cannot be read nothing comes back.
func TestSnapshotAndItsJournal(t *testing.T) {
	t.Parallel()
	old := newSite(t, always(origin.Text("max-age=600, stale-while-revalidate=600", "x")))
	path := filepath.Join(t.TempDir(), "j")
	old.h.journal = NewJournal(path, func(err error) { t.Error(err) })
	for _, path := range []string{"/kept", "/soft", "/hard"} {
		old.get(path)
	}
	old.stored(3)
	if _, err := old.h.journal.Open(); err != nil {
		t.Fatal(err)
	}
	b := snapshotOf(t, old.h)
	old.purge(PurgeURL, true, "http://x/soft")
	old.purge(PurgeURL, false, "http://x/hard")
	if err := old.h.journal.Close(); err != nil {
		t.Fatal(err)
	}
	past, _ := readJournal(path)
	h := newHandlerFor(t, "127.0.0.1:1")
	if err := h.LoadSnapshot(context.Background(), bytes.NewReader(b), int64(len(b)), Past{}); !errors.Is(err, errNoPast) || h.View().Loaded.Entries != 0 {
		t.Errorf("without a past: %v, %+v", err, h.View().Loaded)
	}
	if err := h.LoadSnapshot(context.Background(), bytes.NewReader(b), int64(len(b)), past); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, h: h, addr: serveOn(t, testFront(h))}
	if r := s.get("/kept"); !r.says("; hit; ttl=6") && !r.says("; hit; ttl=5") {
		t.Errorf("kept: %s", r)
	}
	if r := s.get("/soft"); !r.says("stale-while-revalidate") {
		t.Errorf("softly struck: %s", r)
	}
	if r := s.get("/hard"); r.status != 502 {
		t.Errorf("struck: %s", r)
	}
}

// What is asked for often comes first, and what takes its place inherits that.
func TestSnapshotOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, always(origin.Text("max-age=600", "x")))
	for i := range 20 {
		s.get("/" + strconv.Itoa(i))
	}
	s.stored(20)
	now := time.Now()
	at := heatAt(now)
	for e := range s.h.store.Ranked(func(*entry) uint64 { return 0 }) {
		n, _ := readName(e.Key, e.variant)
		for i, _ := strconv.Atoi(n.pathText()[1:]); i > 0; i-- {
			e.heat.Store(uint64(heat(e.heat.Load()).used(at)))
		}
	}
	b := snapshotOf(t, reloaded(t, snapshotOf(t, s.h)))
	f, _, err := newFrameReader(bytes.NewReader(b), int64(len(b)))
	for want := 19; err == nil; want-- {
		var head []byte
		if head, err = f.next(); head == nil {
			break
		}
		p, ok := readPreserved(head)
		if n, _ := readName(p.key, p.variant); !ok || n.pathText() != "/"+strconv.Itoa(want) {
			t.Errorf("%s in the place of %d", n.pathText(), want)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// A use counts, and so does that of what an object takes the place of. The most
// used variant is the last one that gives way to others.
func TestSnapshotOrderOfUse(t *testing.T) {
	t.Parallel()
	s := newSite(t, varies)
	s.get("/", english)
	s.get("/", german)
	s.stored(2)
	const hot = 1000
	for e := range s.h.store.Ranked(func(*entry) uint64 { return 0 }) {
		if e.heat.Store(0); string(e.Body) == "in de" {
			e.heat.Store(uint64(heatAt(time.Now()))<<32 | uint64(math.Float32bits(hot)))
		}
	}
	if r := s.get("/", german, "Cache-Control: no-cache"); r.status != 200 {
		t.Error(r)
	}
	s.stored(3)
	s.get("/", english)
	h := reloaded(t, snapshotOf(t, s.h))
	var hottest []uint64
	for e := range h.store.Ranked(func(e *entry) uint64 { return heat(e.heat.Load()).rank(heatAt(time.Now())) }) {
		hottest = append(hottest, xxhash.Sum64String(e.variant))
		if score := heat(e.heat.Load()).score(heatAt(time.Now())); string(e.Body) == "in de" && score < hot*0.9 || score == 0 {
			t.Errorf("%s: %v", e.Body, score)
		}
	}
	var k keys
	at, _ := parseTarget("http", "GET", "/", host("x"))
	k.build(h.snap.Load().routes[0], at, nil)
	rec, _ := h.index.Lookup(k.hash, view(k.bytes), time.Now())
	if slices.Reverse(hottest); len(hottest) != 2 || !slices.Equal(rec.Variants, hottest) {
		t.Errorf("variants %v, by their use %v", rec.Variants, hottest)
	}
}

// An object comes back only where it would be stored, and found, now.
func TestSnapshotSkips(t *testing.T) {
	t.Parallel()
	old := newSite(t, func(r origin.Request) origin.Answer {
		if r.Path() == "/varied" {
			return varies(r)
		}
		return origin.Text("max-age=600", strings.Repeat("x", 1000)).With("Set-Cookie", "a=b").With("Cache-Control", "public").With("Surrogate-Key", "t")
	})
	old.get("/a/b")
	old.get("/varied", english)
	old.get("/varied", german)
	old.stored(3)
	b := snapshotOf(t, old.h)
	for name, tt := range map[string]struct {
		change func(*Options)
		before func(*Handler)
		want   map[Skip]uint64
	}{
		"as before":                {nil, nil, nil},
		"no such path":             {func(o *Options) { o.Routes[0].PathPrefix = "/a" }, nil, map[Skip]uint64{SkipUnrouted: 2}},
		"no such host":             {func(o *Options) { o.Routes[0].Host = "y" }, nil, map[Skip]uint64{SkipUnrouted: 3}},
		"another key":              {func(o *Options) { o.Routes[0].Key = o.Routes[0].Key[1:] }, nil, map[Skip]uint64{SkipUnrouted: 3}},
		"no cache":                 {func(o *Options) { o.Routes[0].Cache = CacheOff }, nil, map[Skip]uint64{SkipUnrouted: 3}},
		"another rule for cookies": {func(o *Options) { o.Routes[0].Policy.SetCookie = cache.SetCookieBypass }, nil, map[Skip]uint64{SkipPolicy: 1}},
		"a smaller bound":          {func(o *Options) { o.MaxObject = 999 }, nil, map[Skip]uint64{SkipPolicy: 1}},
		"fewer variants":           {func(o *Options) { o.MaxVariants = 1 }, nil, map[Skip]uint64{SkipNewer: 1}},
		"struck":                   {nil, func(h *Handler) { h.struck.apply(strike{}, time.Now()) }, map[Skip]uint64{SkipStruck: 3}},
		"one struck": {nil, func(h *Handler) {
			if _, err := h.Purge(Purge{Kind: PurgeURL, Names: []string{"http://x/varied"}}); err != nil {
				t.Error(err)
			}
		}, map[Skip]uint64{SkipStruck: 2}},
	} {
		change := func(o *Options) {
			if tt.change != nil {
				tt.change(o)
			}
		}
		h := newHandlerFor(t, "127.0.0.1:1", change)
		if tt.before != nil {
			tt.before(h)
		}
		if err := h.LoadSnapshot(context.Background(), bytes.NewReader(b), int64(len(b)), noPast(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := SnapshotLoaded{Entries: 3}
		for why, n := range tt.want {
			want.Skipped[why] = n
			want.Entries -= n
		}
		if got := h.View(); got.Loaded.Skipped != want.Skipped || got.Loaded.Entries != want.Entries || got.Memory.Entries != int64(want.Entries) {
			t.Errorf("%s: %+v, want %+v", name, got.Loaded, want)
		}
	}
}

// What requests fill while a snapshot is loaded stays, and nothing that is stored
// gives way to it.
func TestSnapshotGivesWay(t *testing.T) {
	t.Parallel()
	version := "old"
	s := newSite(t, func(r origin.Request) origin.Answer {
		if r.Path() == "/unvaried" && version == "new" {
			return origin.Text("max-age=600", version)
		}
		return origin.Text("max-age=600", version+strings.Repeat("x", 300_000)).With("Vary", r.Path()[1:])
	}, func(o *Options) { o.Memory = 4 << 20 })
	paths := []string{"/same", "/unvaried", "/gone"}
	for _, path := range paths {
		s.get(path)
	}
	s.stored(3)
	b := snapshotOf(t, s.h)
	version = "new"
	s.purge(PurgeEverything, false)
	for i, path := range paths[:2] {
		s.get(path)
		s.stored(uint64(4 + i))
	}
	load := func() SnapshotLoaded {
		h := s.h
		h.struck = &struck{Epochs: memory.NewEpochs(0)} // as in a new process
		if err := h.LoadSnapshot(context.Background(), bytes.NewReader(b), int64(len(b)), noPast(t)); err != nil {
			t.Fatal(err)
		}
		return h.View().Loaded
	}
	if l := load(); l.Skipped[SkipNewer] != 2+1 { // "/gone" is in the store still
		t.Errorf("loaded %+v", l)
	}
	for _, path := range paths[:2] {
		if r := s.get(path); !strings.HasPrefix(r.body, "new") || !r.says("; hit") {
			t.Errorf("%s: %.10q %v", path, r.body, r.header)
		}
	}
	for e := range s.h.store.Ranked(func(*entry) uint64 { return 0 }) {
		s.h.store.Delete(e.Key)
	}
	for i := range 13 {
		s.get("/full" + strconv.Itoa(i))
	}
	was := s.h.View().Loaded.Skipped[SkipNoRoom]
	if l := load(); l.Skipped[SkipNoRoom] == was || s.h.View().Memory.Evicted > 0 {
		t.Errorf("where it is full: %+v, %+v", l, s.h.View().Memory)
	}
}

// Ages go on by the clock, and never fall, whatever the clock does.
func TestSnapshotAge(t *testing.T) {
	t.Parallel()
	old := newSite(t, always(origin.Text("max-age=600", "x").With("Age", "50")))
	old.get("/")
	old.stored(1)
	for away, want := range map[time.Duration]string{0: "50", 100 * time.Second: "150", 500 * time.Second: "550", -time.Hour: "50", 551 * time.Second: ""} {
		b := snapshotOf(t, old.h)
		f, o, err := newFrameReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		o.Written = o.Written.Add(-away)
		head, err := f.next()
		p, _ := readPreserved(head)
		body, bodyErr := f.body(1, p.bodies[0].sum)
		if err := errors.Join(err, bodyErr); err != nil {
			t.Fatal(err)
		}
		var changed bytes.Buffer
		w := newFrameWriter(&changed, o)
		w.frame(head, body)
		w.end()
		s := restarted(t, changed.Bytes())
		r, l := s.get("/"), s.h.View().Loaded
		at, _ := strconv.Atoi(want)
		if want == "" && (r.status != 502 || l.Skipped[SkipExpired] != 1) ||
			want != "" && (r.header.Get("Age") != want && r.header.Get("Age") != strconv.Itoa(at+1) || !r.says("; hit")) {
			t.Errorf("away for %v: %s, %+v", away, r, l)
		}
	}
}
