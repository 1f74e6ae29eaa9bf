//go:build !race

// The race detector makes pools forget on purpose, so allocations are counted
// without it; make test does both.

package proxy

import "testing"

// TestHitDoesNotAllocate: the hot path costs no garbage.
func TestHitDoesNotAllocate(t *testing.T) {
	s := hitServer(t, 1<<10)
	const n = 2000
	perConn := testing.AllocsPerRun(5, func() { serveLoop(t, s, 1) })
	many := testing.AllocsPerRun(5, func() { serveLoop(t, s, n) })
	if perHit := (many - perConn) / (n - 1); perHit > 0.05 {
		t.Errorf("a hit allocates %.2f times", perHit)
	}
}
