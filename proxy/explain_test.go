package proxy

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full is an explanation in which everything occurs.
func full() Explanation {
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	soft := at.Add(-2 * time.Second)
	object := &ExplainedObject{
		Tier: "memory", Status: 200, Bytes: 1234, Codings: []string{"gzip", "br"},
		Fields: []string{"Cache-Control: max-age=60", "Vary: Accept-Language"}, Tags: []string{"news", "all"}, Groups: []string{"g"},
		Freshness: ExplainedFreshness{
			Date: at.Add(-70 * time.Second), ResponseTime: at.Add(-65 * time.Second), ApparentAge: 5, AgeValue: 7, ResponseDelay: 0.25,
			CorrectedAge: 7.25, InitialAge: 7.25, ResidentTime: 65, Age: 72.25, Lifetime: 60, From: "max-age", TTL: -12.25,
			StaleWhileRevalidate: 30, StaleIfError: 600,
		},
		NoCache: true, MustRevalidate: true, Purged: &at, Expired: &soft, Failing: true,
	}
	shared := ExplainedObject{Tier: "the fleet's engine at 127.0.0.1:6379", Status: 200, Bytes: 9, Freshness: object.Freshness}
	shared.Freshness.TTL = 30
	return Explanation{
		Time: at, Method: "GET", URL: "http://x/a?b", Client: "192.0.2.1", Outcome: ForecastStale, Reason: "stale-while-revalidate",
		Why: "it is stale", Status: 200, CacheStatus: "ringfence; hit; ttl=-13", Notes: []string{"one", "two"},
		Route: &ExplainedRoute{Name: "*/a", Upstream: "app"},
		Key: &ExplainedKey{
			Hash: "0123456789abcdef",
			Parts: []ExplainedPart{
				{Name: "upstream", Value: "app"}, {Name: "path", Value: "/a"}, {Name: "query"}, {Name: "header:X", Absent: true},
				{Name: "cookie:c", Value: "\x1b[2J"},
			},
			Variant: []ExplainedPart{{Name: "accept-language", Value: "de,"}},
		},
		Placement: &ExplainedPlacement{
			Upstream: "app", By: "client", Value: "192.0.2.1", Hash: "fedcba9876543210",
			Placement: upstream.Placement{Balance: "hash", Keyed: true, Panicking: true, More: 2, Steps: []upstream.Step{
				{ID: "a", Address: "127.0.0.1:1", Weight: 2, Share: 1, Standing: "live", InFlight: 9, Limit: 100, Capacity: 9, Room: upstream.OverShare},
				{ID: "b", Address: "127.0.0.1:2", Weight: 1, Share: 1, Standing: "live", InFlight: 100, Queued: 3, Limit: 100, Room: upstream.IsFull},
				{ID: "c", Address: "127.0.0.1:3", Weight: 1, Backup: true, Share: 0.25, Standing: "live", Limit: 100, Room: upstream.HasRoom},
				{ID: "d", Address: "127.0.0.1:4", Weight: 1, Standing: "ejected", Reason: "5 failures in a row", Limit: 100, Room: upstream.IsOut},
			}},
		},
		Stored: object, Shared: &shared,
		Marks: []ExplainedMark{{Mark: "uncacheable", Reason: "private", Until: at.Add(9 * time.Second)}},
	}
}

// What people and programs read.
func TestExplanationGolden(t *testing.T) {
	x := full()
	asJSON, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"explain.txt": x.Text(), "explain.json": string(asJSON) + "\n"} {
		path := "testdata/" + name
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || got != string(want) {
			t.Errorf("%s is another (%v; go test . -run Golden -update):\n%s", path, err, got)
		}
	}
	if text := (&Explanation{Method: "GET", Live: true, Outcome: ForecastRefused}).Text(); strings.Contains(text, "key") || strings.Contains(text, "alone") {
		t.Errorf("of nothing: %s", text)
	}
}

func TestNewQuestion(t *testing.T) {
	q, err := NewQuestion("", "HTTPS://x/a", []string{"A: b", "C:d ", "E:"}, "192.0.2.1")
	want := wire.Fields{{Name: "A", Value: "b"}, {Name: "C", Value: "d"}, {Name: "E"}}
	if err != nil || q.Method != "GET" || !slices.Equal(q.Fields, want) || q.Client != netip.MustParseAddr("192.0.2.1") || !q.Secure() {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []struct {
		url, field, client string
	}{{"x/a", "A: b", ""}, {"ftp://x/", "A: b", ""}, {"", "A: b", ""}, {"http://x/", "A", ""}, {"http://x/", "A: b", "me"}} {
		if q, err := NewQuestion("GET", bad.url, []string{bad.field}, bad.client); err == nil {
			t.Errorf("%+v: %+v", bad, q)
		}
	}
}

var manyLimits = edge.Limits{MaxHead: 4096, MaxTarget: 100, MaxFields: 10, MaxBody: 1000}

// What a listener would refuse or redirect is that here, with the same status.
func TestExplainRefuses(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1")
	for _, tt := range []struct {
		method, url, field string
		status             int
	}{
		{"GET", "http://x/a b", "", 400}, {"GET", "http://x/#f", "", 400}, {"GET", "http://", "", 400}, {"GET", "http:///a", "", 400},
		{"GET", "http://x//a", "", 400}, {"GET", `http://x/a\b`, "", 400}, {"GET", "http://x:y/", "", 400},
		{"G T", "http://x/", "", 400}, {"CONNECT", "http://x/", "", 501}, {"GET", "http://x/" + strings.Repeat("a", 100), "", 414},
		{"GET", "http://x/", "Transfer-Encoding: gzip, chunked", 501}, {"GET", "http://x/", "Content_Length: 1", 400},
		{"GET", "http://x/", "A: " + strings.Repeat("a", 5000), 431}, {"POST", "http://x/", "Content-Length: 1001", 413},
		{"GET", "http://x/", "Bad Name: a", 400},
	} {
		var fields []string
		if tt.field != "" {
			fields = []string{tt.field}
		}
		q, err := NewQuestion(tt.method, tt.url, fields, "")
		if err != nil {
			t.Fatal(err)
		}
		q.Limits = manyLimits
		if x := h.Explain(q); x.Outcome != ForecastRefused || x.Status != tt.status || x.Why == "" || x.Route != nil {
			t.Errorf("%s %.40s %.40s: %+v, want %d", tt.method, tt.url, tt.field, x, tt.status)
		}
	}
	q := Question{URL: "http://x/", Limits: manyLimits, Site: edge.Site{RedirectToHTTPS: 443}}
	if x := h.Explain(q); x.Outcome != ForecastRedirect || x.Status != 308 {
		t.Errorf("redirect: %+v", x)
	}
}

// The parts of a key are those that it was built from, whatever they hold; the
// hash is that by which it is purged.
func TestExplainKey(t *testing.T) {
	s := newSite(t, always(origin.Text("max-age=60", "x")), func(o *Options) {
		r := &o.Routes[0]
		r.Key = nil
		for _, part := range []string{"scheme", "host", "path", "query", "header:A", "cookie:c"} {
			p, err := ParseKeyPart(part)
			if err != nil || p.String() != part {
				t.Fatal(p, err)
			}
			r.Key = append(r.Key, p)
		}
		r.Query = &QueryRules{Drop: []string{"utm_*"}, Sort: true}
	})
	q, _ := NewQuestion("GET", "http://X:80/p?z=1&utm_x=2&a", []string{"A: 1", "A: \x80", "Cookie: b=1; c=2"}, "")
	q.Limits = manyLimits
	x := s.h.Explain(q)
	got := fmt.Sprint(x.Key.Parts)
	want := fmt.Sprint([]ExplainedPart{
		{Name: "upstream", Value: "app"}, {Name: "scheme", Value: "http"}, {Name: "host", Value: "x"}, {Name: "path", Value: "/p"},
		{Name: "query", Value: "?a&z=1"}, {Name: "header:A", Value: "1"}, {Name: "header:A", Value: "\x80"}, {Name: "cookie:c", Value: "2"},
	})
	if got != want || x.URL != "http://x/p?a&z=1" {
		t.Errorf("%s %s\nwant %s", x.URL, got, want)
	}
	const path = "/p?a&z=1"
	s.get(path)
	s.stored(1)
	plain := Question{URL: "http://x" + path, Limits: manyLimits}
	x = s.h.Explain(plain)
	if x.Outcome != ForecastHit || x.Key.Parts[5] != (ExplainedPart{Name: "header:A", Absent: true}) {
		t.Fatalf("%+v", x)
	}
	if _, err := s.h.Purge(Purge{Kind: PurgeKey, Names: []string{x.Key.Hash}}); err != nil {
		t.Fatal(err)
	}
	if x := s.h.Explain(plain); x.Outcome != ForecastMiss || x.Reason != "invalidated" || x.Stored == nil || x.Stored.Purged == nil {
		t.Errorf("after a purge by its hash: %+v", x)
	}
}

// Where the client decides, it is the one that is believed; and a trusted peer's
// word on the scheme counts.
func TestExplainClient(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1", func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		o.Routes[0].PurgeFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		o.Routes[0].PlaceBy = PlaceBy{kind: placeByClient}
	})
	for _, tt := range []struct {
		peer, client, url string
		status            int
	}{
		{"192.0.2.1", "192.0.2.1", "http://x/", 200},
		{"10.0.0.1", "192.0.2.7", "https://x/", 200},
		{"198.51.100.1", "198.51.100.1", "http://x/", 403},
		{"", "", "http://x/", 403},
	} {
		q, err := NewQuestion("PURGE", "http://x/", []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"}, tt.peer)
		if err != nil {
			t.Fatal(err)
		}
		q.Limits = manyLimits
		x := h.Explain(q)
		unknown := slices.ContainsFunc(x.Notes, func(n string) bool { return strings.Contains(n, "not known here") })
		if x.Status != tt.status || x.Client != tt.client || x.URL != tt.url || x.Placement.Value != tt.client || unknown != (tt.peer == "") {
			t.Errorf("%s: %+v %+v", tt.peer, x, x.Placement)
		}
	}
}

// A failing upstream, and a fill under way.
func TestExplainUnderWay(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		switch {
		case r.Path() == "/held":
			<-hold
		case r.Get("If-None-Match") != "":
			return origin.Answer{Status: 503}
		}
		return origin.Text("max-age=60, stale-if-error=600", "x").With("Age", "100").With("ETag", `"1"`)
	})
	ask := func(path string) Explanation {
		return s.h.Explain(Question{URL: "http://x" + path, Limits: manyLimits})
	}
	s.get("/fails")
	s.stored(1)
	if x := ask("/fails"); x.Outcome != ForecastRevalidate || !strings.Contains(fmt.Sprint(x.Notes), "if the upstream fails") || strings.Contains(fmt.Sprint(x.Notes), "under way") {
		t.Errorf("before it fails: %+v", x)
	}
	s.get("/fails")
	x := ask("/fails")
	if r := s.get("/fails"); x.Outcome != ForecastStale || x.Reason != "stale-if-error" || !x.Stored.Failing || !r.says("; hit") || !r.says("stale-if-error") {
		t.Errorf("after it has failed: %+v, it was %s", x, r)
	}
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	held := s.begin("/held")
	waitFor(t, "the fill", func() bool { return strings.Contains(fmt.Sprint(ask("/held").Notes), "under way") })
	release()
	<-held
}
