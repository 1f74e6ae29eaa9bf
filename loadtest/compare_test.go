package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/loadtest/compare"
)

// build builds a command of this module.
func build(t *testing.T, folder, of string) string {
	t.Helper()
	path := filepath.Join(folder, filepath.Base(of))
	c := exec.Command("go", "build", "-o", path, of)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return path
}

// The whole in short: every peer here does what the scenario is about, is measured,
// and is gone afterwards.
func TestCompare(t *testing.T) {
	folder := t.TempDir()
	proxy, self := build(t, folder, "ringfence/cmd/proxy"), build(t, folder, "ringfence/loadtest")
	out := filepath.Join(folder, "out.json")
	c := exec.CommandContext(t.Context(), self, "compare", "--proxy", proxy, "--scenario", "hit-1k-1000,hit-100k,pass-1k",
		"--peer", "fasthttp,ringfence,nginx", "--rounds", "3", "--duration", "100ms", "--connections", "8", "--out", out)
	temp := filepath.Join(folder, "temp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	c.Env = append(os.Environ(), "TMPDIR="+temp)
	text, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, want := range []string{"hit-1k-1000: hit, 1 KiB, 1000 keys, 8 connections", "of fasthttp", "the better of nginx and HAProxy: "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	file, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var tables []compare.Table
	if err := json.Unmarshal(file, &tables); err != nil || len(tables) != 3 {
		t.Fatalf("%v: %s", err, file)
	}
	for _, table := range tables {
		for _, cell := range table.Cells {
			if cell.Missing != "" || len(cell.Rounds) != 3 || cell.Memory < 1<<20 {
				t.Errorf("%s, %s: %q, %d rounds, %d bytes", table.Scenario.Name, cell.Peer, cell.Missing, len(cell.Rounds), cell.Memory)
			}
			for _, r := range cell.Rounds {
				asked := int64(0)
				if table.Scenario.Pass && cell.Peer != "fasthttp" {
					asked = r.Answers
				}
				// What was under way at the end reached the origin, too, and so it may have after the round before.
				if r.Answers == 0 || r.CPU < 0.1 || r.P99 < r.P50 || r.Origin < asked || r.Origin > asked+2*8 {
					t.Errorf("%s, %s: %+v", table.Scenario.Name, cell.Peer, r)
				}
			}
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

func TestCompareRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                          "want --proxy",
		"--proxy x --scenario none": `no scenario is called "none": there are hit-1k, `,
		"--proxy x --peer none":     `no peer is called "none": there are fasthttp, `,
	} {
		var out strings.Builder
		c := compareCommand()
		c.SetArgs(strings.Fields(args))
		c.SetOut(&out)
		c.SetErr(&out)
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
