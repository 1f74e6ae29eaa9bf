package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// explanation is what the tests use of it.
type explanation struct {
	Live                 bool
	Outcome, Reason, Why string
	Status               int
	CacheStatus          string `json:"cache_status"`
	Client               string
	Notes                []string
	Route                *struct{ Name, Upstream string }
	Key                  *struct {
		Hash           string
		Parts, Variant []struct {
			Name, Value string
			Absent      bool
		}
	}
	Placement *struct {
		By, Value, Hash string
		Keyed           bool
		Steps           []struct{ ID, Standing, Reason, Room string }
	}
	Stored *struct {
		Tier, Purged, Expired string
		Status                int
		Fields, Tags          []string
		Freshness             struct {
			AgeValue float64 `json:"age_value"`
			Age      float64 `json:"current_age"`
			Lifetime float64 `json:"freshness_lifetime"`
			From     string  `json:"lifetime_from"`
			TTL      float64
		}
	}
	Shared *struct{ Tier string }
	Marks  []struct{ Mark, Reason string }
}

// explain asks the admin surface what would become of a request.
func (p *process) explain(method, target string, fields ...string) (x explanation) {
	p.t.Helper()
	ask := url.Values{"url": {"http://" + p.addr + target}, "method": {method}, "header": fields, "client": {"127.0.0.1"}}
	resp, err := http.Get("http://" + p.admin + "/api/explain?" + ask.Encode())
	if err != nil {
		p.t.Fatal(err)
	}
	r := whole(resp).must(p.t, 200)
	if err := json.Unmarshal([]byte(r.body), &x); err != nil {
		p.t.Fatalf("%v: %s", err, r.body)
	}
	return x
}

// says reports whether an answer's Cache-Status has all that was foretold, but
// for the time to live.
func (x explanation) says(r reply) bool {
	for _, param := range strings.Split(x.CacheStatus, ";") {
		if param = strings.TrimSpace(param); param != "" && !strings.HasPrefix(param, "ttl=") && !r.is(param) {
			return false
		}
	}
	return x.CacheStatus != "" && (x.Status == 0 || x.Status == r.status)
}

// What explain says would happen is what Cache-Status then says has happened,
// and asking changes nothing.
func TestExplainForetells(t *testing.T) {
	t.Parallel()
	text := func(control string, more ...string) origin.Answer {
		a := origin.Text(control, "some text")
		for _, f := range more {
			name, value, _ := strings.Cut(f, ": ")
			a = a.With(name, value)
		}
		return a
	}
	fresh, old := text("max-age=60"), text("max-age=60", "Age: 100", `ETag: "1"`)
	type row struct {
		path     string // "/c/NAME" where it is ""
		answer   origin.Answer
		before   []string // requests before it: METHOD, then fields
		method   string   // "" for GET
		fields   []string
		want     string // outcome and reason
		describe func(explanation) bool
	}
	rows := map[string]row{
		"hit": {answer: text("max-age=60", "Age: 7", "Surrogate-Key: a b"), before: []string{"GET"}, want: "hit ", describe: func(x explanation) bool {
			f := x.Stored.Freshness
			return x.Status == 200 && f.AgeValue == 7 && f.Age >= 7 && f.Lifetime == 60 && f.From == "max-age" && f.TTL <= 53 &&
				slices.Contains(x.Stored.Fields, "Cache-Control: max-age=60") && slices.Equal(x.Stored.Tags, []string{"a", "b"}) &&
				x.Stored.Tier == "memory" && x.Route.Name == "*/c" && len(x.Key.Hash) == 16 && x.Key.Hash == x.Placement.Hash
		}},
		"head":      {answer: fresh, before: []string{"GET"}, method: "HEAD", want: "hit "},
		"range":     {answer: fresh, before: []string{"GET"}, fields: []string{"Range: bytes=0-1"}, want: "hit ", describe: func(x explanation) bool { return x.Status == 206 }},
		"condition": {answer: text("max-age=60", `ETag: "1"`), before: []string{"GET"}, fields: []string{`If-None-Match: "1"`}, want: "hit ", describe: func(x explanation) bool { return x.Status == 304 }},
		"miss":      {answer: fresh, want: "miss uri-miss", describe: func(x explanation) bool { return x.Stored == nil }},
		"head cold": {answer: fresh, method: "HEAD", want: "bypass uri-miss"},
		"part cold": {answer: fresh, fields: []string{"Range: bytes=0-1"}, want: "miss range-miss"},
		"swr":       {answer: text("max-age=60, stale-while-revalidate=600", "Age: 100"), before: []string{"GET"}, want: "stale stale-while-revalidate"},
		"max-stale": {answer: old, before: []string{"GET"}, fields: []string{"Cache-Control: max-stale=900"}, want: "stale "},
		"stale": {answer: old, before: []string{"GET"}, want: "revalidate stale", describe: func(x explanation) bool {
			return x.Stored.Freshness.TTL < 0 && strings.Contains(fmt.Sprint(x.Notes), "If-None-Match")
		}},
		"no-cache":  {answer: text("no-cache, max-age=60", `ETag: "1"`), before: []string{"GET"}, want: "revalidate must-revalidate"},
		"reload":    {answer: fresh, before: []string{"GET"}, fields: []string{"Cache-Control: no-cache"}, want: "miss request-no-cache"},
		"max-age":   {answer: fresh, before: []string{"GET"}, fields: []string{"Cache-Control: max-age=0"}, want: "miss request-max-age"},
		"min-fresh": {answer: fresh, before: []string{"GET"}, fields: []string{"Cache-Control: min-fresh=90"}, want: "miss request-min-fresh"},
		"no-store":  {answer: fresh, before: []string{"GET"}, fields: []string{"Cache-Control: no-store"}, want: "bypass request-no-store"},
		"only":      {answer: fresh, fields: []string{"Cache-Control: only-if-cached"}, want: "refused request-only-if-cached", describe: func(x explanation) bool { return x.Status == 504 }},
		"if-match":  {answer: fresh, before: []string{"GET"}, fields: []string{`If-Match: "1"`}, want: "bypass precondition"},
		"post":      {answer: fresh, method: "POST", want: "bypass method"},
		"private": {answer: text("private"), before: []string{"GET"}, want: "bypass uncacheable", describe: func(x explanation) bool {
			return x.Stored == nil && len(x.Marks) == 1 && x.Marks[0].Mark == "uncacheable" && x.Marks[0].Reason == "private"
		}},
		"cookie": {answer: text("max-age=60", "Set-Cookie: a=1"), before: []string{"GET"}, want: "bypass uncacheable", describe: func(x explanation) bool { return x.Marks[0].Reason == "set-cookie" }},
		"varies": {answer: text("max-age=60", "Vary: X-Who"), before: []string{"GET X-Who: a"}, fields: []string{"X-Who: b"}, want: "miss vary-miss", describe: func(x explanation) bool {
			return len(x.Key.Variant) == 1 && x.Key.Variant[0].Name == "x-who" && x.Key.Variant[0].Value == "b" && x.Stored == nil
		}},
		"variant":     {answer: text("max-age=60", "Vary: X-Who"), before: []string{"GET X-Who: a"}, fields: []string{"X-Who: a"}, want: "hit "},
		"purged":      {answer: fresh, before: []string{"GET", "PURGE"}, want: "miss invalidated", describe: func(x explanation) bool { return x.Stored.Purged != "" }},
		"soft":        {answer: text("max-age=60", `ETag: "1"`), before: []string{"GET", "PURGE Soft-Purge: 1"}, want: "revalidate stale", describe: func(x explanation) bool { return x.Stored.Expired != "" && x.Stored.Purged == "" }},
		"unsafe":      {answer: fresh, before: []string{"GET", "POST"}, want: "miss invalidated"},
		"off":         {path: "/off/x", answer: fresh, want: "bypass route-off", describe: func(x explanation) bool { return x.Route.Name == "*/off" }},
		"no route":    {path: "/none", want: "refused refused", describe: func(x explanation) bool { return x.Status == 404 && x.Route == nil && x.Placement == nil }},
		"two slashes": {path: "//c/x", want: "refused refused", describe: func(x explanation) bool { return x.Status == 400 }},
		"purge":       {answer: fresh, method: "PURGE", want: "purge "},
		"trace":       {answer: fresh, method: "TRACE", want: "refused refused", describe: func(x explanation) bool { return x.Status == 501 }},
	}
	byPath := map[string]origin.Answer{}
	for name, r := range rows {
		if r.path == "" {
			r.path = "/c" + target(name)
			rows[name] = r
		}
		byPath[r.path] = r.answer
	}
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer { return byPath[r.Path()] })
	p := runFile(t, fmt.Sprintf(`listen: 127.0.0.1:0
admin: {listen: '127.0.0.1:0'}
upstreams: {app: {servers: [{address: '%s', id: one}]}}
routes:
  - {upstream: app, path_prefix: /c, purge_from: [127.0.0.1], tags_from: [Surrogate-Key]}
  - {upstream: app, path_prefix: /off, cache: off}
`, o.Addr()))
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			p := p.with(t)
			for _, b := range r.before {
				method, field, _ := strings.Cut(b, " ")
				if field == "" {
					p.do(method, r.path, "")
				} else {
					p.do(method, r.path, "", field)
				}
				p.settle()
			}
			method := r.method
			if method == "" {
				method = "GET"
			}
			p.settle()
			was := p.status()
			x := p.explain(method, r.path, r.fields...)
			again := p.explain(method, r.path, r.fields...)
			is := p.status()
			if left, before := fmt.Sprint(is.Requests.Hits, is.Requests.Forwarded, is.Memory, is.Index, is.attempts()),
				fmt.Sprint(was.Requests.Hits, was.Requests.Forwarded, was.Memory, was.Index, was.attempts()); left != before {
				t.Errorf("asking has left its mark: %s, before %s", left, before)
			}
			if x.Outcome+" "+x.Reason != r.want || !x.Live || x.Why == "" || r.describe != nil && !r.describe(x) {
				t.Errorf("explained as %+v\nwant %s", x, r.want)
			}
			if again.Outcome != x.Outcome || again.CacheStatus != x.CacheStatus && x.Stored == nil {
				t.Errorf("asked again: %+v", again)
			}
			if got := p.do(method, r.path, "", r.fields...); !x.says(got) {
				t.Errorf("explained as %s, %d %q; it was %s", r.want, x.Status, x.CacheStatus, got)
			}
		})
	}
}

// The walk is that which a request takes: without the drained and the ejected,
// which it names; and by the client's address, where that decides.
func TestExplainPlacement(t *testing.T) {
	t.Parallel()
	servers := ""
	for _, name := range []string{"a", "b", "c"} {
		o := newOrigin(t, name, func(r origin.Request) origin.Answer {
			if name == "c" && r.Path() == "/c/fails" {
				return origin.Answer{Status: 503}
			}
			return origin.Text("no-store", name)
		})
		servers += fmt.Sprintf("{address: '%s', id: %s},", o.Addr(), name)
	}
	p := runFile(t, fmt.Sprintf(`listen: 127.0.0.1:0
admin: {listen: '127.0.0.1:0'}
upstreams:
  app: {servers: [%s], retry: {attempts: 1}, ejection: {consecutive_failures: 1, base_time: 1h, max_time: 1h, max_ejected: 100}}
  ours: {servers: [%s], hash_by: client}
routes:
  - {upstream: app, path_prefix: /c}
  - {upstream: ours, path_prefix: /by-client}
`, servers, servers))
	for i := range 8 {
		for _, path := range []string{fmt.Sprint("/c/", i), fmt.Sprint("/by-client/", i)} {
			x := p.explain("GET", path)
			if r := p.get(path).must(t, 200); x.Placement.Steps[0].ID != r.body || len(x.Placement.Steps) != 3 {
				t.Errorf("%s went to %s: %+v", path, r.body, x.Placement)
			}
		}
	}
	if x := p.explain("GET", "/by-client/1"); x.Placement.By != "client" || x.Placement.Value != "127.0.0.1" || x.Client != "127.0.0.1" {
		t.Errorf("by client: %+v", x.Placement)
	}
	resp, err := http.Post("http://"+p.admin+"/api/drain?upstream=app&server=a", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	whole(resp).must(t, 200)
	eventually(t, "c to be ejected", func() bool {
		for i := range 20 {
			p.get(fmt.Sprint("/c/fails?", i))
		}
		return p.status().server("c").Standing == "ejected"
	})
	x := p.explain("GET", "/c/x").Placement
	if s := x.Steps; s[0].ID != "b" || s[0].Room != "yes" || s[1].Room != "out" || s[2].Room != "out" {
		t.Errorf("the walk: %+v", s)
	}
	for _, s := range x.Steps {
		if want := map[string]string{"a": "drained", "b": "live", "c": "ejected"}[s.ID]; s.Standing != want || s.Reason == "" {
			t.Errorf("%+v, want %s", s, want)
		}
	}
}

// What another instance of the fleet has is found without a lease.
func TestExplainFleet(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		if r.Path() == "/private" {
			return origin.Text("private", "x")
		}
		return origin.Text("max-age=60", "x")
	})
	redis := startRedis(t, "")
	var fleet []*process
	for range 2 {
		fleet = append(fleet, startProxy(t, setup{
			route:   "cache_key: [path, query]",
			top:     "cache: {shared: {redis: {addresses: ['127.0.0.1:" + redis.port + "']}, timeout: 300ms, lease_ttl: 2s}}",
			origins: []*origin.Origin{o},
		}))
	}
	eventually(t, "the engine to be in use", func() bool {
		return strings.Contains(fmt.Sprint(fleet[1].explain("GET", "/").Notes), "takes the lease") &&
			strings.Contains(fmt.Sprint(fleet[0].explain("GET", "/").Notes), "takes the lease")
	})
	for path, want := range map[string]string{"/x": "hit shared", "/private": "bypass uri-miss"} {
		fleet[0].get(path).must(t, 200)
		fleet[0].settle()
		x := fleet[1].explain("GET", path)
		if x.Outcome+" "+x.Reason != want || (x.Shared != nil) != (path == "/x") {
			t.Errorf("%s: %+v", path, x)
		}
		if r := fleet[1].get(path); !x.says(r) {
			t.Errorf("%s: %q, it was %s", path, x.CacheStatus, r)
		}
	}
}

// The command asks the proxy of its file, or says that it explains that alone.
func TestExplainCommand(t *testing.T) {
	t.Parallel()
	const file = "upstreams: {app: {servers: [{address: '127.0.0.1:1', id: a}, {address: '127.0.0.1:2', id: b, weight: 3}]}}\nroutes: [{upstream: app, host: x.example}]\n"
	run := func(args ...string) (out, said string, code int) {
		c := startCommand(t, append([]string{"explain"}, args...)...)
		code = c.wait(soon)
		return c.stdout.String(), c.stderr.String(), code
	}
	closed := writeFile(t, "admin: {listen: '127.0.0.1:1'}\n"+file)
	p, _ := behind(t, always(origin.Text("max-age=60", "x")))
	p.get("/").must(t, 200)
	p.settle()
	for name, tt := range map[string]struct {
		args      []string
		out, said string
		code      int
	}{
		"not there":  {[]string{"-c", closed, "http://x.example/a"}, `"outcome": "miss"`, "no proxy answers at 127.0.0.1:1", 0},
		"offline":    {[]string{"-c", closed, "--offline", "--json=false", "http://x.example/a", "-H", "A: b", "--method", "HEAD"}, "explained from the configuration alone", "", 0},
		"no route":   {[]string{"-c", closed, "--offline", "--json=false", "http://y.example/a"}, "REFUSED: no route", "", 0},
		"running":    {[]string{"--admin", p.admin, "--json=false", "http://" + p.addr + "/"}, "\nHIT: what is stored is fresh\n", "", 0},
		"as JSON":    {[]string{"--admin", p.admin, "http://" + p.addr + "/"}, `"live": true`, "", 0},
		"no URL":     {[]string{"-c", closed, "x.example"}, "", "want a URL", 1},
		"bad header": {[]string{"-c", closed, "--offline", "http://x.example/", "-H", "nonsense"}, "", "want Name: value", 1},
		"bad client": {[]string{"--admin", p.admin, "http://x.example/", "--client", "me"}, "", "no IP address", 1},
		"nothing":    {[]string{"--offline", "http://x.example/"}, "", "--config FILE", 1},
		"nobody":     {[]string{"--admin", "127.0.0.1:1", "http://x.example/"}, "", "127.0.0.1:1", 1},
	} {
		out, said, code := run(tt.args...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(said, tt.said) || tt.said == "" && said != "" {
			t.Errorf("%s: exit code %d\n%s\n%s", name, code, out, said)
		}
	}
}
