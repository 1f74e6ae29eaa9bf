package main_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"ringfence/loadtest/drill"
)

// The drill is a crowd of slow clients and servers, fewer than by hand. It
// measures time and memory, so no other test runs beside it.
func TestEdge(t *testing.T) {
	servers := filepath.Join(t.TempDir(), "loadtest")
	if out, err := exec.Command("go", "build", "-o", servers, "ringfence/loadtest").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	d := drill.Edge()[0]
	var r drill.Report
	for range 3 { // what is void says nothing
		var err error
		if r, err = d.Run(t.Context(), drill.Env{Proxy: binary, Server: servers, Margin: slowdown()}); err != nil {
			t.Fatal(err)
		}
		if !r.Void {
			break
		}
	}
	tell(t, d, r)
}
