package main_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// observedRoute is what the tests use of a route's part in the status.
type observedRoute struct {
	Outcomes map[string]int
	HitRatio *float64 `json:"hit_ratio"`
	Unstored map[string]int
	Stored   int
}

// observed is what the status says of the routes that observe.
func (p *process) observed() (o struct {
	Bytes  int64
	Routes map[string]observedRoute
}) {
	p.t.Helper()
	resp, err := http.Get("http://" + p.admin + "/api/status")
	if err != nil {
		p.t.Fatal(err)
	}
	all := struct{ Observed any }{&o}
	if err := json.Unmarshal([]byte(whole(resp).must(p.t, 200).body), &all); err != nil {
		p.t.Fatal(err)
	}
	return o
}

// A route that observes serves nothing from the cache and says what it would have
// served; the others are as ever. Once it is on, it begins with nothing.
func TestObserve(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		if strings.HasSuffix(r.Path(), "/private") {
			return origin.Text("private", "body")
		}
		return origin.Text("max-age=3600", "body")
	})
	s := setup{origins: []*origin.Origin{o}, route: "cache: observe, path_prefix: /watched}\n  - {upstream: app"}
	path := t.TempDir() + "/access.log"
	s.top = "reload: {watch: off}\naccess_log: {path: '" + path + "', flush: 10ms, format: '{target} {status} {cache} {reason}'}"
	p, file := configured(t, s.yaml())
	j := &journal{t: t, path: path}

	p.get("/other").must(t, 200)
	p.settle()
	if r := p.get("/other").must(t, 200); !r.is("hit") {
		t.Errorf("a route that caches: %v", r)
	}
	j.next(2)
	for range 4 {
		if r := p.get("/watched/a").must(t, 200); !r.is("fwd=bypass") || !r.is("detail=observe") || r.header.Get("Age") != "" {
			t.Error(r)
		}
		eventually(t, "the fill is noted", func() bool { return p.observed().Routes["*/watched"].Stored == 1 })
		if line := j.next(1)[0]; line != "/watched/a 200 bypass observe" {
			t.Errorf("access log: %s", line)
		}
	}
	p.get("/watched/private").must(t, 200)
	if n := o.Count("/watched/a").Total; n != 4 {
		t.Errorf("%d of 4 requests went upstream", n)
	}
	eventually(t, "the last one is counted", func() bool { return p.observed().Routes["*/watched"].Unstored["private"] == 1 })
	all := p.observed()
	if w := all.Routes["*/watched"]; w.Outcomes["hit"] != 3 || w.Outcomes["miss"] != 2 || w.HitRatio == nil || *w.HitRatio != 0.6 || all.Bytes < 4 {
		t.Errorf("%+v", all)
	}
	if n := p.metric(`ringfence_observed_requests_total{outcome="hit",route="*/watched"}`); n != 3 {
		t.Errorf("%v hits by the metric", n)
	}
	if n := p.metric(`ringfence_requests_total{outcome="hit",route="*/watched"}`); n != 0 {
		t.Errorf("%v requests count as real hits", n)
	}
	if x := p.explain("GET", "/watched/a"); x.Outcome != "bypass" || x.Reason != "observe" || x.Stored == nil ||
		!strings.Contains(strings.Join(x.Notes, "\n"), "with cache: on it would be hit") {
		t.Errorf("%+v", x)
	}
	if out, code := p.purge("http://" + p.addr + "/watched/a"); code != 0 {
		t.Error(out)
	}
	p.get("/watched/a").must(t, 200)
	eventually(t, "a purge counts", func() bool { return p.observed().Routes["*/watched"].Outcomes["miss"] == 3 })

	replace(t, file, strings.Replace(s.yaml(), "cache: observe", "cache: on", 1))
	if status, result, errs := p.reload(); status != 200 || result != "success" {
		t.Fatal(status, result, errs)
	}
	if r := p.get("/watched/a").must(t, 200); !r.is("fwd=miss") && !r.is("fwd=uri-miss") {
		t.Errorf("what was observed answers: %v", r)
	}
	p.settle()
	if r := p.get("/watched/a").must(t, 200); !r.is("hit") {
		t.Errorf("the route does not cache: %v", r)
	}
}

// What is valid and hardly meant is told on standard error, at its place, and is a
// fault if one wants it so; run and a reload log it.
func TestCheckWarns(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "body")))
	good := setup{origins: []*origin.Origin{o}, top: "reload: {watch: off}"}.yaml()
	doubtful := strings.Replace(good, "routes:\n", "routes:\n  - {upstream: app, path_prefix: //never}\n", 1)
	want := ":9:34: routes[0].path_prefix: a path that begins with two slashes"
	check := func(text string, args ...string) (file, stdout, stderr string, code int) {
		file = writeFile(t, text)
		p := startCommand(t, append([]string{"check", "--config", file}, args...)...)
		code = p.wait(soon)
		return file, p.stdout.String(), p.stderr.String(), code
	}
	for _, tt := range []struct {
		text   string
		strict []string
		warns  bool
		code   int
	}{{good, nil, false, 0}, {good, []string{"--strict"}, false, 0}, {doubtful, nil, true, 0}, {doubtful, []string{"--strict"}, true, 1}} {
		file, stdout, stderr, code := check(tt.text, tt.strict...)
		if code != tt.code || strings.Contains(stderr, "warning: "+file+want) != tt.warns || (stdout == file+": ok\n") != (code == 0) {
			t.Errorf("%v: exit code %d, %q, %q", tt.strict, code, stdout, stderr)
		}
	}
	p, file := configured(t, doubtful)
	p.logs("WARN", "doubtful configuration", file+want)
	replace(t, file, strings.Replace(good, "reload:", "server: {max_connections: 10, max_connections_per_client: 11}\nreload:", 1))
	p.reload()
	p.logs("WARN", "doubtful configuration", "contradiction", "server.max_connections_per_client")
}
