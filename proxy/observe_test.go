package proxy

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
)

func observes(o *Options) { o.Routes[0].Cache = CacheObserve }

// observedNow is what the one route would have come to.
func (s *site) observedNow() ObservedRoute { return s.h.View().Observed.Routes["*/"] }

// outcomesOf are the outcomes that were counted, in words.
func outcomesOf(by ByOutcome) string {
	var words []string
	for o, n := range by {
		if n > 0 {
			words = append(words, fmt.Sprintf("%v %d", Outcome(o), n))
		}
	}
	return strings.Join(words, ", ")
}

// What is counted is what a route that caches comes to under the same requests,
// one after another: by outcome, by why a request went on and a fill was not kept,
// and what there is at the end takes as many bytes.
func TestObservedIsWhatWouldBe(t *testing.T) {
	type ask struct{ method, fields string } // a method that begins with a small letter is done to the site
	get := func(fields ...string) ask { return ask{"GET", strings.Join(fields, "|")} }
	head := func(fields ...string) ask { return ask{"HEAD", strings.Join(fields, "|")} }
	next, purge, soften := ask{method: "next"}, ask{method: "purge"}, ask{method: "soften"}
	text := func(control string) origin.Answer { return origin.Text(control, "xx") }
	tag, part := `If-None-Match: "v"`, "Range: bytes=0-0"
	large := strings.Repeat("x", largeBody+1)
	compresses := func(o *Options) {
		o.Routes[0].Compression = &Compression{Codings: []cache.Coding{cache.Gzip}, Types: []string{"text/*"}, MinSize: 1 << 20}
	}
	for name, tt := range map[string]struct {
		answers []origin.Answer // until next, and from then on
		asks    []ask
		change  func(*Options)
	}{
		"a hit":             {[]origin.Answer{text("max-age=60")}, []ask{get(), get(), head()}, nil},
		"a large one":       {[]origin.Answer{origin.Text("max-age=60", large)}, []ask{get(), get()}, nil},
		"too large":         {[]origin.Answer{text("max-age=60")}, []ask{get(), get()}, func(o *Options) { o.MaxObject, o.Routes[0].RangeFill = 1, 1 }},
		"too large, late":   {[]origin.Answer{{Fields: text("max-age=60").Fields, Size: 1 << 10, Framing: origin.Chunked}}, []ask{get(), get()}, func(o *Options) { o.MaxObject = 1 << 9 }},
		"until close":       {[]origin.Answer{{Fields: text("max-age=60").Fields, Size: 1 << 10, Framing: origin.UntilClose}}, []ask{get(), get()}, nil},
		"cut off":           {[]origin.Answer{{Raw: []byte("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\nx"), Ending: origin.Drop}}, []ask{get(), get()}, nil},
		"no freshness":      {[]origin.Answer{text("")}, []ask{get(), get()}, nil},
		"private":           {[]origin.Answer{text("private")}, []ask{get(), get(), get("Cookie: a=1")}, nil},
		"no longer shared":  {[]origin.Answer{text("no-cache").With("ETag", `"v"`), text("private")}, []ask{get(), next, get(), get()}, nil},
		"authorized":        {[]origin.Answer{text("max-age=60")}, []ask{get("Authorization: a"), get("Authorization: a"), get(), get()}, nil},
		"no-store asked":    {[]origin.Answer{text("max-age=60")}, []ask{get("Cache-Control: no-store"), get(), get("Cache-Control: no-store")}, nil},
		"only if cached":    {[]origin.Answer{text("max-age=60")}, []ask{get("Cache-Control: only-if-cached"), get(), get("Cache-Control: only-if-cached")}, nil},
		"varies":            {[]origin.Answer{text("max-age=60").With("Vary", "A")}, []ask{get("A: 1"), get("A: 2"), get("A: 1"), get("A: 2")}, nil},
		"varies too much":   {[]origin.Answer{text("max-age=60").With("Vary", "A")}, []ask{get("A: 1"), get("A: 2"), get("A: 1")}, func(o *Options) { o.MaxVariants = 1 }},
		"an unsafe request": {[]origin.Answer{text("max-age=60")}, []ask{get(), {"POST", ""}, get(), get()}, nil},
		"a purge":           {[]origin.Answer{text("max-age=60")}, []ask{get(), purge, get(), get()}, nil},
		"a soft purge":      {[]origin.Answer{text("max-age=60, stale-while-revalidate=60")}, []ask{get(), soften, get()}, nil},
		"a tag that stays":  {[]origin.Answer{text("no-cache").With("ETag", `"v"`).With("Cache-Tag", "t")}, []ask{get(), get(tag), purge, get()}, tagging},
		"validated":         {[]origin.Answer{text("no-cache").With("ETag", `"v"`)}, []ask{get(), get(), get()}, nil},
		"another validator": {[]origin.Answer{text("no-cache").With("ETag", `"v"`), text("no-cache").With("ETag", `"w"`)}, []ask{get(), next, get(), get()}, nil},
		"a client's own":    {[]origin.Answer{text("max-age=60").With("ETag", `"v"`)}, []ask{get(), get(tag), get()}, nil},
		"freshened by HEAD": {[]origin.Answer{text("max-age=60").With("ETag", `"v"`)}, []ask{get(), head("Cache-Control: no-cache"), get()}, nil},
		"undone by HEAD":    {[]origin.Answer{text("max-age=60").With("ETag", `"v"`), text("max-age=60").With("ETag", `"w"`)}, []ask{get(), next, head("Cache-Control: no-cache"), get()}, nil},
		"a range":           {[]origin.Answer{text("max-age=60")}, []ask{get(part), get(part), get()}, func(o *Options) { o.Routes[0].RangeFill = 9 }},
		"a range, too long": {[]origin.Answer{text("max-age=60")}, []ask{get(part), get(part), get()}, func(o *Options) { o.Routes[0].RangeFill = 1 }},
		"a range, passed":   {[]origin.Answer{text("max-age=60")}, []ask{get(part), get(), get(part)}, nil},
		"compressed":        {[]origin.Answer{text("max-age=60").With("Vary", "Accept-Encoding")}, []ask{get("Accept-Encoding: gzip"), get()}, compresses},
		"renewed":           {[]origin.Answer{text("max-age=60, stale-while-revalidate=600").With("Age", "90")}, []ask{get(), get(), get(), head()}, nil},
		"stale on error":    {[]origin.Answer{stale("xx"), {Status: 503}}, []ask{get(), next, get(), get(), get("Cache-Control: no-store")}, nil},
		"stale on silence":  {[]origin.Answer{stale("xx"), {Raw: []byte{}, Ending: origin.Drop}}, []ask{get(), next, get(), get(), {"POST", ""}}, nil},
		"an error":          {[]origin.Answer{{Status: 500}}, []ask{get(), get()}, nil},
		"no answer":         {[]origin.Answer{{Raw: []byte{}, Ending: origin.Drop}}, []ask{get(), get(), {"POST", ""}}, nil},
		"too many requests": {[]origin.Answer{text("max-age=60")}, []ask{get(), {"POST", ""}}, func(o *Options) { o.MaxRequests = 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(change ...func(*Options)) (*site, []reply) {
				if tt.change != nil {
					change = append(change, tt.change)
				}
				var turn atomic.Int32
				s := newSite(t, func(r origin.Request) origin.Answer { return answerTo(r, tt.answers[turn.Load()]) }, change...)
				var replies []reply
				for _, a := range tt.asks {
					switch a.method {
					case "next":
						turn.Add(1)
					case "purge", "soften":
						p := Purge{Kind: PurgeTag, Names: []string{"t"}, Soft: a == soften}
						if tt.answers[0].Fields[len(tt.answers[0].Fields)-1].Name != "Cache-Tag" {
							p.Kind, p.Names = PurgeURL, []string{"http://x/"}
						}
						if _, err := s.h.Purge(p); err != nil {
							t.Fatal(err)
						}
					default:
						replies = append(replies, s.do(a.method, "/", strings.FieldsFunc(a.fields, func(r rune) bool { return r == '|' })...))
						waitFor(t, "the fill to end", func() bool { return s.h.View().Flights.Flights == 0 && s.h.observedFills() == 0 })
					}
				}
				return s, replies
			}
			actual, _ := run()
			shadow, replies := run(observes)
			for i, r := range replies {
				if !r.says("fwd=bypass; detail=observe") || r.header.Get("Age") != "" && tt.answers[0].Body == nil {
					t.Errorf("request %d: %v", i, r)
				}
			}
			if n := shadow.h.View().Memory.Entries; n != 0 {
				t.Errorf("%d objects are stored", n)
			}
			if n := shadow.o.Record().Total; n < len(replies) && name != "too many requests" {
				t.Errorf("%d of %d requests went upstream", n, len(replies))
			}
			st, o := actual.h.View().Requests, shadow.observedNow()
			if outcomesOf(o.Outcomes) != outcomesOf(st.Routes["*/"]) || !maps.Equal(o.Forwarded, st.Forwarded) ||
				!maps.Equal(o.Unstored, st.Unstored) || o.Stored != st.Stored {
				t.Errorf("%s %v %v %d, want %s %v %v %d", outcomesOf(o.Outcomes), o.Forwarded, o.Unstored, o.Stored,
					outcomesOf(st.Routes["*/"]), st.Forwarded, st.Unstored, st.Stored)
			}
			a, b := actual.h.View().Memory, shadow.h.View().Observed.Memory
			// Lists of fields are not always equally long behind their ends.
			if d := a.Bytes - b.Bytes; a.Entries != b.Entries || d*d > 64*64 {
				t.Errorf("%d objects of %d bytes, want %d of %d", b.Entries, b.Bytes, a.Entries, a.Bytes)
			}
		})
	}
}

// answerTo makes of an answer the one to a request with a condition or a range.
func answerTo(r origin.Request, a origin.Answer) origin.Answer {
	if tag := r.Get("If-None-Match"); tag != "" && slices.Contains(a.Fields, origin.Field{Name: "ETag", Value: tag}) {
		a.Fields = slices.DeleteFunc(slices.Clone(a.Fields), func(f origin.Field) bool { return f.Name == "Cache-Tag" })
		a.Status, a.Body = 304, nil
	}
	if r.Get("Range") == "bytes=0-0" && a.Status == 0 {
		a = a.With("Content-Range", fmt.Sprintf("bytes 0-0/%d", len(a.Body)))
		a.Status, a.Body = 206, a.Body[:1]
	}
	return a
}

// observedFills is how many fills would be under way.
func (h *Handler) observedFills() int {
	h.shadow.mu.Lock()
	defer h.shadow.mu.Unlock()
	return len(h.shadow.fills)
}

// Requests at once each go upstream, and count as the one fill and those who would
// have waited for it; or as passed on where it is for its client alone. A body that
// its client does not read to the end counts as what was announced.
func TestObservedAtOnce(t *testing.T) {
	for _, tt := range []struct{ control, path, want string }{
		{"max-age=60", "/", "collapsed 9, miss 1"}, {"private", "/", "miss 1, pass 9"},
		{"max-age=60", "/%d", "miss 2, pass 8"}, // there may be two fills
	} {
		hold := make(chan struct{})
		s := newSite(t, always(origin.Answer{Fields: origin.Text(tt.control, "").Fields, Size: 1 << 10, Hold: hold}), observes, func(o *Options) { o.MaxFills = 2 })
		var asked []<-chan reply
		for i := range 10 {
			asked = append(asked, s.begin(strings.Replace(tt.path, "%d", strconv.Itoa(i), 1)))
		}
		s.reached(len(asked))
		close(hold)
		for _, r := range asked {
			if r := <-r; len(r.body) != 1<<10 || !r.says("detail=observe") {
				t.Error(r)
			}
		}
		waitFor(t, "the fill to end", func() bool { return s.h.observedFills() == 0 })
		if got := outcomesOf(s.observedNow().Outcomes); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
	s := newSite(t, always(origin.Answer{Fields: origin.Text("max-age=60", "").Fields, Size: 32 << 20}), observes, func(o *Options) { o.MaxObject = 64 << 20 })
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(request("GET", "/"))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	waitFor(t, "the fill to end", func() bool { return s.observedNow().Stored == 1 })
	if n := s.h.View().Observed.Memory.Bytes; n < 32<<20 {
		t.Errorf("%d bytes would be stored", n)
	}
}

// A route changes between on, off and observe as it runs. Nothing that it observed
// is served, what it had stored is still there, but for what was purged or changed
// meanwhile; and its counts go on.
func TestObserveReloads(t *testing.T) {
	s := newSite(t, always(origin.Text("max-age=60", "x")))
	turn := func(to Caching) { s.reload(func(o *Options) { o.Routes[0].Cache = to }) }
	want := func(method, path, says string) {
		t.Helper()
		if r := s.do(method, path); !r.says(says) {
			t.Errorf("%s %s: want %s: %v", method, path, says, r)
		}
		waitFor(t, "the fill to end", func() bool { return s.h.View().Flights.Flights == 0 && s.h.observedFills() == 0 })
	}
	for _, path := range []string{"/kept", "/changed", "/purged"} {
		want("GET", path, "fwd=uri-miss")
	}
	if s.h.View().Observed != nil {
		t.Error("something is observed")
	}
	turn(CacheObserve)
	for _, path := range []string{"/kept", "/seen", "/seen"} {
		want("GET", path, "detail=observe")
	}
	want("POST", "/changed", "detail=observe")
	if _, err := s.h.Purge(Purge{Kind: PurgeURL, Names: []string{"http://x/purged"}}); err != nil {
		t.Fatal(err)
	}
	turn(CacheOff)
	want("GET", "/seen", "detail=route-off")
	turn(CacheOn)
	want("GET", "/kept", "hit")
	want("GET", "/seen", "fwd=uri-miss")
	want("GET", "/changed", "detail=invalidated")
	want("GET", "/purged", "detail=invalidated")
	turn(CacheObserve)
	want("GET", "/seen", "detail=observe")
	if got := outcomesOf(s.observedNow().Outcomes); got != "hit 2, miss 2, pass 1" {
		t.Error(got)
	}
	if x := s.h.Explain(Question{URL: "http://x/seen", Limits: manyLimits}); !x.Route.Observe || x.Route.Cache || x.Outcome != ForecastBypass ||
		x.Stored == nil || x.Stored.Bytes != 1 || !strings.Contains(strings.Join(x.Notes, ""), "with cache: on it would be hit") {
		t.Errorf("%+v", x)
	}
}
