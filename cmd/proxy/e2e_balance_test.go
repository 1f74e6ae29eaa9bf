package main_test

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"ringfence/loadtest/drill"
)

// slowdown is what the drills' bounds on time are multiplied by, and their load
// divided by. The race detector makes a proxy some eight times as slow; and go
// test runs other packages beside this one.
func slowdown() float64 {
	if raceOn {
		return 8
	}
	return 2
}

// The drills are bad days for five servers, each a process, behind one proxy.
// They measure time: no other test runs beside them, and only one of them has the
// turn.
func TestBalance(t *testing.T) {
	var turn sync.Mutex
	servers := filepath.Join(t.TempDir(), "loadtest")
	if out, err := exec.Command("go", "build", "-o", servers, "ringfence/loadtest").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, d := range drill.Balance() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			var r drill.Report
			for range 3 { // what is void says nothing
				var err error
				if r, err = d.Run(t.Context(), drill.Env{Proxy: binary, Server: servers, Margin: slowdown(), Turn: &turn}); err != nil {
					t.Fatal(err)
				}
				if !r.Void {
					break
				}
			}
			tell(t, d, r)
		})
	}
}
