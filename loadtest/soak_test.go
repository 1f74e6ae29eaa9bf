package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/loadtest/drill"
)

// A fleet of three goes through all mishaps twice, under little load: without an
// answer that is wrong, a data race, or anything left over.
func TestSoak(t *testing.T) {
	folder := t.TempDir()
	proxy := filepath.Join(folder, "proxy")
	if text, err := exec.Command("go", "build", "-race", "-o", proxy, "ringfence/cmd/proxy").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	env := drill.Env{Proxy: proxy, Server: build(t, folder, "ringfence/loadtest"), Margin: 4, Progress: func(line string) { t.Log(line) }}
	r, err := drill.Soak().Run(t.Context(), env)
	if err != nil {
		t.Error(err)
	}
	var all strings.Builder
	if _, err := r.WriteTo(&all); err != nil {
		t.Error(err)
	}
	if len(r.Failed()) > 0 {
		t.Error("not met")
	}
	t.Log("\n" + all.String())
}
