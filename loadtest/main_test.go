package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"ringfence/loadtest/origin"
	"ringfence/loadtest/result"
)

func TestRunCommand(t *testing.T) {
	o, err := origin.Start(origin.Options{Script: origin.FromQuery(origin.Answer{Size: 10})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	out := filepath.Join(t.TempDir(), "run.json")
	url := "--url http://" + o.Addr()
	tests := map[string]struct {
		args   string
		wants  []string // parts of what is printed
		failed string   // a part of the error; "" for none
	}{
		"all answered": {url + "/{key} --keys 4 --clients 1 --count 8 --out " + out, []string{"p99", "run    8 ", "200 8\n", "errors = 0: 0: met"}, ""},
		"by the clock": {url + "/rate --rate 100 --duration 80ms --threshold late<=8", []string{"run    8 ", "200 8\n"}, ""},
		"some lost":    {url + "/?status=503 --clients 1 --count 5", []string{"503 5\n"}, "run: errors = 0: 5"},
		"refused":      {"--url http://127.0.0.1:1/ --clients 1 --count 2", []string{"refused 2, such as: ", "connection refused"}, "errors = 0: 2"},
		"not kept":     {url + "/?delay=30ms --rate 1000 --duration 100ms --connections 1", []string{"VOID: run: the rate was not kept: of 100 requests "}, "all connections were waiting"},
		"missed":       {url + "/ --clients 1 --count 1 --threshold p99<1us", []string{"FAILED"}, "run: p99<1us: "},
		"no URL":       {"--rate 1", nil, "--url"},
		"no rate":      {"--url http://127.0.0.1:1/ --rate 0", nil, "rate"},
		"no such":      {"none.yaml", nil, "none.yaml"},
		"both":         {"none.yaml --keys 3", nil, "--keys: the scenario says that"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			c := runCommand()
			c.SetArgs(strings.Fields(tt.args))
			c.SetOut(&out)
			c.SetErr(&out)
			err := c.ExecuteContext(t.Context())
			if (err == nil) != (tt.failed == "") || err != nil && !strings.Contains(err.Error(), tt.failed) {
				t.Errorf("error %v, want %q", err, tt.failed)
			}
			for _, want := range tt.wants {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in %q", want, out.String())
				}
			}
		})
	}
	if r, err := result.Load(out); err != nil || len(r.Phases) != 1 || r.Phases[0].Sent != 8 {
		t.Errorf("the file has %+v, %v", r, err)
	}
	if r := o.Record(); r.Targets["/0"].Total != 2 || r.Targets["/3"].Total != 2 {
		t.Errorf("the keys did not take turns: %v", r.Targets)
	}
}

func TestOriginCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	c := originCommand()
	c.SetArgs([]string{"--listen", "127.0.0.1:0", "--name", "me"})
	c.SetOut(&out)
	if err := c.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "origin me at http://127.0.0.1:") || !strings.Contains(got, "requests 0,") {
		t.Errorf("printed %q", got)
	}
}

func TestDrillCommand(t *testing.T) {
	for args, want := range map[string]string{
		"":                           "stampede",
		"none":                       `no drill is called "none"`,
		"--proxy /nonexistent later": "drill later",
	} {
		var out strings.Builder
		c := drillCommand()
		c.SetArgs(strings.Fields(args))
		c.SetOut(&out)
		c.SetErr(&out)
		err := c.ExecuteContext(t.Context())
		if got := fmt.Sprint(out.String(), err); !strings.Contains(got, want) || (err == nil) != (args == "") {
			t.Errorf("%q: %s, want %q", args, got, want)
		}
	}
}

func TestPrintRecord(t *testing.T) {
	r := origin.Record{Total: 5, Targets: map[string]origin.Count{"/b": {Total: 1, Peak: 1}, "/a": {Total: 4, Peak: 3}}}
	for i := range 20 {
		r.Targets[fmt.Sprintf("/z%d", i)] = origin.Count{Total: 1}
	}
	var out strings.Builder
	if err := printRecord(&out, r); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1+mostTargets || strings.Join(strings.Fields(lines[1]), " ") != "4 at most 3 at once /a" {
		t.Errorf("printed %q", lines)
	}
}

func TestReportCommand(t *testing.T) {
	dir := t.TempDir()
	one, page := filepath.Join(dir, "one.json"), filepath.Join(dir, "page.html")
	run := result.Run{Name: "it", Phases: []result.Phase{{Name: "steady", Seconds: 1, Outcomes: map[string]int{"200": 5}, Sent: 5}}}
	if err := run.Save(one); err != nil {
		t.Fatal(err)
	}
	if err := (result.Run{}).Save(filepath.Join(dir, "none.json")); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		one:                                  "| answers, /s | 5.00 |",
		"--html " + page + " " + one:         "",
		filepath.Join(dir, "none.json"):      "it has no phases",
		filepath.Join(dir, "missing.json"):   "no such file",
		"--html " + dir + "/a/b.html " + one: "no such file",
	} {
		out := told(t, reportCommand(), args)
		if !strings.Contains(out, want) {
			t.Errorf("%s: %q is not in %q", args, want, out)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "<h2>steady</h2>") {
		t.Errorf("the page: %v: %.200s", err, text)
	}
}

func TestReplayCommand(t *testing.T) {
	o, err := origin.Start(origin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	log := filepath.Join(t.TempDir(), "access.log")
	text := `c - - [04/Mar/2026:05:06:07 +0000] "GET /a HTTP/1.1" 200 12
nonsense
c - - [04/Mar/2026:05:06:07 +0000] "POST /b HTTP/1.1" 200 12
c - - [04/Mar/2026:05:06:07 +0000] "GET http://h.example/b HTTP/1.1" 200 12
{"time":"2026-03-04T05:06:08.5Z","target":"/a","method":"HEAD"}
`
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, wants := range map[string][]string{
		"--speed 5 --keep-host --threshold sent=3 --target http://" + o.Addr() + " " + log: {
			"1 lines are no requests, such as line 2: ", "1 requests have other methods than GET, HEAD", "replay: sent=3: 3: met",
		},
		"--speed 0 --target http://a " + log:       {"--speed: want more than 0"},
		"--method PUT --target http://a " + log:    {"no request is left to send"},
		"--target nowhere " + log:                  {"want http://"},
		"--target http://a missing.log":            {"no such file"},
		"--target http://a --threshold x<1 " + log: {"no figure is called"},
		"--target http://a --origin x " + log:      {"origin: want http://"},
	} {
		out := told(t, replayCommand(), args)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in %q", args, want, out)
			}
		}
	}
	r := o.Record()
	if len(r.Requests) != 3 || r.Requests[1].Get("Host") != "h.example" || r.Requests[1].Target != "/b" || r.Requests[2].Method != "HEAD" {
		t.Errorf("%+v", r.Requests)
	}
}

func TestSimulateCommand(t *testing.T) {
	dir := t.TempDir()
	log, page, data := filepath.Join(dir, "access.log"), filepath.Join(dir, "page.html"), filepath.Join(dir, "data.json")
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "c - - [04/Mar/2026:05:06:%02d +0000] \"GET /%d HTTP/1.1\" 200 1000\n", i%60, i%10)
	}
	if err := os.WriteFile(log, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--memory 1MiB --ttl 1h --servers 2 --html " + page + " --json " + data + " " + log: "lru        1h0m0s  1.00         90.00 %",
		"--memory x " + log:   `--memory: want a number of bytes such as 64MiB, got "x"`,
		"--policy arc " + log: `no policy is called "arc"`,
		"--servers 0 " + log:  "ring: no members",
	} {
		out := told(t, simulateCommand(), args)
		if !strings.Contains(out, want) {
			t.Errorf("%s: %q is not in\n%s", args, want, out)
		}
	}
	for path, want := range map[string]string{page: "<svg", data: `"hit_ratio": 0.9`} {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v: %.300s", path, err, text)
		}
	}
}

// told is what a command writes, and its error.
func told(t *testing.T, c *cobra.Command, args string) string {
	t.Helper()
	var out strings.Builder
	c.SetArgs(strings.Fields(args))
	c.SetOut(&out)
	c.SetErr(&out)
	if err := c.ExecuteContext(t.Context()); err != nil {
		out.WriteString(err.Error())
	}
	return out.String()
}
