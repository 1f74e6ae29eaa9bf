package scenario_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"ringfence/loadtest/origin"
	"ringfence/loadtest/result"
	"ringfence/loadtest/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, a origin.Answer) *origin.Origin {
	t.Helper()
	c, err := origin.NewControl(a)
	if err != nil {
		t.Fatal(err)
	}
	o, err := origin.Start(origin.Options{Script: c.Script})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	return o
}

func play(t *testing.T, o *origin.Origin, text string) result.Run {
	t.Helper()
	f, err := scenario.Read(strings.NewReader("target: http://" + o.Addr() + "\norigin: http://" + o.Addr() + "\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.New(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Play(t.Context(), "it", func(scenario.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlay(t *testing.T) {
	o := start(t, origin.Answer{Size: 10}.With("Cache-Status", "c; hit"))
	r := play(t, o, `
keys: {count: 2, prefix: k}
requests:
  - {path: "/{key}?size={size}&n={n}", method: POST, body: '{"a": "{key}"}', headers: {X-N: "no {n}"}}
sizes: 7
checks: {status: [200], headers: {Cache-Status: hit}}
phases:
  - {name: first, warmup: true, clients: 1, count: 4, thresholds: [errors = 9]}
  - {name: second, clients: 1, count: 6, requests: [{path: "/{key}"}]}
thresholds: ["errors = 0", "p99<1m", "first_p50 <= 60s", "hit_ratio >= 100%", "sent = 6", "status_200 = 6", "timeout = 0",
  "origin_requests = 6", "origin_keys = 2", "origin_requests_per_key <= 3", "origin_peak_per_key = 1", "rate > 1", "mean > 0s",
  "max > 0s", "error_ratio = 0", "late = 0"]
`)
	if len(r.Phases) != 2 || len(r.Void) > 0 || len(r.Failed()) > 0 || len(r.Thresholds) != 16 {
		t.Fatalf("%+v", r)
	}
	if p := r.Phases[0]; p.Sent != 4 || p.Bytes != 28 || p.Origin.Requests != 4 || p.Origin.Keys != 4 || !p.Warmup {
		t.Errorf("%+v", p)
	}
	q := o.Record().To("/k1?size=7&n=1")
	if len(q) != 1 || q[0].Method != "POST" || q[0].Body.Start != `{"a": "k1"}` || q[0].Get("X-N") != "no 1" {
		t.Errorf("it sent %+v", q)
	}
	r = play(t, o, "phases: [{rate: 100, duration: 50ms, thresholds: [late > 99, p50 < 1ns, hit_ratio < 10%]}, {clients: 1, count: 1, checks: {status: [304]}}]")
	if len(r.Failed()) != 4 || r.Phases[0].Name != "phase 1" || r.Phases[1].Outcomes["wrong"] != 1 {
		t.Errorf("failed %+v", r.Failed())
	}
}

// The server answers in 2 ms up to some 500 requests a second, the connections' doing.
func TestSearch(t *testing.T) {
	o := start(t, origin.Answer{Delay: 10_000_000})
	r := play(t, o, `
connections: 4
phases: [{name: peak, search: {from: 20, to: 3000, hold: 300ms}, thresholds: [p50 < 500ms]}]
`)
	last := r.Phases[len(r.Phases)-1]
	if last.Name != "peak" || last.Warmup || len(r.Phases) < 4 || last.Rate() < 10 || last.Rate() > 450 || len(r.Void) > 0 {
		t.Errorf("%s at %f, %v", last.Name, last.Rate(), r.Void)
	}
	r = play(t, o, "phases: [{name: peak, search: {from: 20, to: 3000, hold: 100ms}, thresholds: [p50 < 1ms]}]")
	if len(r.Phases) != 1 || len(r.Failed()) != 1 || !strings.Contains(r.Failed()[0].Shown, "lowest rate") {
		t.Errorf("%+v", r.Failed())
	}
	r = play(t, o, "phases: [{name: peak, search: {from: 20, to: 50, hold: 100ms}}]")
	if last := r.Phases[len(r.Phases)-1]; len(r.Phases) != 4 || last.Due != 5 {
		t.Errorf("%d steps, %+v", len(r.Phases), last.Due)
	}
}

func TestBrokenOff(t *testing.T) {
	o := start(t, origin.Answer{})
	f, _ := scenario.Read(strings.NewReader("target: http://" + o.Addr() + "\nphases: [{rate: 100, duration: 1h}, {rate: 1, duration: 1h}]"))
	s, err := scenario.New(f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Play(ctx, "", func(p scenario.Progress) {
		if p.Sent > 3 && p.Left > 0 {
			cancel()
		}
	})
	if err != nil || len(r.Phases) != 1 || len(r.Void) != 2 || r.Phases[0].Sent < 3 {
		t.Errorf("%+v, %v", r.Void, err)
	}
}

func TestOriginWithoutCounts(t *testing.T) {
	o, err := origin.Start(origin.Options{Script: func(origin.Request) origin.Answer { return origin.Answer{Status: 404} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	f, _ := scenario.Read(strings.NewReader("target: http://" + o.Addr() + "\norigin: http://" + o.Addr() + "\nphases: [{clients: 1, count: 1}]"))
	s, err := scenario.New(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Play(t.Context(), "", func(scenario.Progress) {}); err == nil || !strings.Contains(err.Error(), "want an origin with --control") {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	const phases = "\nphases: [{rate: 1, duration: 1s}]"
	for text, want := range map[string]string{
		"":                                                        "it is empty",
		"name: x":                                                 "phases: want at least one",
		"unknown: 1" + phases:                                     "line 2: field unknown not found",
		"target: x" + phases:                                      "phase 1: target",
		"protocol: h3" + phases:                                   "protocol: want http/1.1 or h2",
		"origin: 1.1.1.1" + phases:                                "origin: want http://host:port",
		"timeout: 5" + phases:                                     `line 2: want a duration such as 200ms, got "5"`,
		"sizes: 5x" + phases:                                      `line 2: want a number of bytes such as 4KiB, got "5x"`,
		"sizes: {of: 1}" + phases:                                 "field of not found",
		"sizes: {from: 2, to: 1}" + phases:                        "sizes: want sizes from",
		"keys: {law: x, count: 1}" + phases:                       "keys: law",
		"keys: {law: zipf}" + phases:                              "keys: count",
		"keys: {list: none}" + phases:                             "keys: stat none",
		"tls: {ca: none}" + phases:                                "tls: open none",
		"requests: [{path: a}]" + phases:                          "requests[0]: path: want one that begins with /",
		`requests: [{path: "/{kee}"}]` + phases:                   "want no braces but of {key}",
		`requests: [{path: "/a b"}]` + phases:                     "want no blanks",
		`requests: [{path: "/", method: "a b"}]` + phases:         "method: want one such as GET",
		`requests: [{path: "/", weight: -1}]` + phases:            "weight: want at least 1",
		`requests: [{path: "/", headers: {Host: a}}]` + phases:    "headers: Host is not set here",
		`requests: [{path: "/", headers: {"a b": a}}]` + phases:   `headers: "a b" is no name`,
		"checks: {status: [100]}" + phases:                        "checks: status 100",
		"thresholds: [p99]" + phases:                              `threshold "p99": want a figure`,
		"thresholds: [p101 < 1s]" + phases:                        `no figure is called "p101"`,
		"thresholds: [p99 < 5]" + phases:                          "want a duration such as 5ms",
		"thresholds: [errors < 5%]" + phases:                      `want a number, got "5%"`,
		"thresholds: [origin_keys < 5]" + phases:                  "want origin, where its counts are told",
		"phases: [{rate: 1}]":                                     "want a duration above 0",
		"phases: [{duration: 1s}]":                                "want either a rate or clients",
		"phases: [{rate: 1, duration: 1s, arrivals: x}]":          "arrivals: want even or poisson",
		"phases: [{search: {from: 2, to: 1, hold: 1s}}]":          "search: want rates from and to",
		"phases: [{rate: 1, search: {from: 1, to: 2, hold: 1s}}]": "search: want neither rate",
	} {
		f, err := scenario.Read(strings.NewReader(map[bool]string{true: "target: http://127.0.0.1:1\n"}[text != "" && !strings.HasPrefix(text, "target")] + text))
		if err == nil {
			_, err = scenario.New(f)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestKeysOfAList(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keys"), []byte("a\n\nb/c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := start(t, origin.Answer{})
	path := filepath.Join(dir, "some.yaml")
	if err := os.WriteFile(path, []byte("target: http://"+o.Addr()+"\nkeys: {list: keys}\nphases: [{clients: 1, count: 4}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := scenario.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.New(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Play(t.Context(), "", func(scenario.Progress) {})
	if err != nil || r.Name != "some" || o.Count("/a").Total != 2 || o.Count("/b/c").Total != 2 {
		t.Errorf("%s, %v: %v", r.Name, err, o.Record().Targets)
	}
}

// What the repository has of scenarios can be played.
func TestExamples(t *testing.T) {
	paths, err := filepath.Glob("../scenarios/*.yaml")
	if err != nil || len(paths) < 3 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		f, err := scenario.ReadFile(path)
		if err == nil {
			_, err = scenario.New(f)
		}
		if err != nil {
			t.Error(err)
		}
	}
}
