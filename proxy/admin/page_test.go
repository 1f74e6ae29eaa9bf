package admin

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringfence/proxy"
	"ringfence/proxy/histogram"
)

// Each file of the page is served as what it is, and what it asks for is there:
// nothing comes from elsewhere, nothing is inline, and no text becomes markup.
func TestPageIsComplete(t *testing.T) {
	kinds := map[string]string{"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
	asked := regexp.MustCompile(`(?:src|href)="([^"#]+)"|from "\./([^"]+)"|ask\("[A-Z]+", .(api/[a-z]+)`)
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function| style="| on[a-z]+="|<script>|<style|@import|url\(|https?://[^/]*\.(?:com|org|net)/[^"]*\.(?:js|css)`)
	files, err := fs.Glob(pageFiles, "page/*")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		w := ask(t, options(true), "GET", "/"+file)
		_, extension, _ := strings.Cut(file, ".")
		if got := w.Header().Get("Content-Type"); w.Code != 200 || got != kinds[extension] || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") {
			t.Errorf("%s: %d %v", file, w.Code, w.Header())
		}
		if bad := forbidden.FindString(w.Body.String()); bad != "" {
			t.Errorf("%s has %s", file, bad)
		}
		for _, m := range asked.FindAllStringSubmatch(w.Body.String(), -1) {
			path := "/" + m[1] + m[3]
			if m[2] != "" {
				path = "/page/" + m[2]
			}
			if w := ask(t, options(true), "GET", path); w.Code == 404 {
				t.Errorf("%s asks for %s, which is not there", file, path)
			}
		}
	}
	if w := ask(t, options(true), "GET", "/"); w.Header().Get("Content-Type") != kinds["html"] || strings.Contains(w.Header().Get("Content-Security-Policy"), "unsafe") {
		t.Errorf("the page: %v", w.Header())
	}
}

// The latencies of an event are those of the answers since the one before it.
func TestLatency(t *testing.T) {
	state := func(hits, misses []time.Duration) (st State) {
		st.Proxy.Requests.FirstByte = make([]histogram.Snapshot, proxy.OutcomeCount)
		for o, list := range map[proxy.Outcome][]time.Duration{proxy.SharedHit: hits, proxy.Collapsed: misses, proxy.NoOutcome: {time.Hour}} {
			var h histogram.Histogram
			for _, d := range list {
				h.Observe(d)
			}
			st.Proxy.Requests.FirstByte[o].Add(&h)
		}
		return st
	}
	const slow, quick = 8 * time.Second, time.Second / 64 // bounds of buckets
	was, is := state([]time.Duration{slow, slow}, []time.Duration{slow}), state([]time.Duration{slow, slow, quick, quick, quick, time.Second}, []time.Duration{slow})
	got := latencyOf(was, is)
	if got.Rest != nil || got.Hits == nil || *got.Hits != (quantiles{quick.Seconds(), 1, 1}) {
		t.Errorf("%+v, %+v", got.Hits, got.Rest)
	}
	if got = latencyOf(State{}, is); got.Hits.P99 != 8 || *got.Rest != (quantiles{8, 8, 8}) {
		t.Errorf("since the start: %+v, %+v", got.Hits, got.Rest)
	}
	if got = latencyOf(State{}, State{}); got != (latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
