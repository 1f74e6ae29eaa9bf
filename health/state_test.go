package health

import (
	"slices"
	"strings"
	"testing"
)

func TestObserve(t *testing.T) {
	// Results: + is a success, - a failure. After each of them: u is up, d is
	// down, in capitals where the result changed that.
	for _, tt := range []struct {
		name           string
		rise, fall     int
		results, wants string
	}{
		{"first failure decides alone", 2, 3, "-", "D"},
		{"first success proves without a change", 2, 3, "+", "u"},
		{"then it takes fall failures in a row", 2, 3, "+--+---", "uuuuuuD"},
		{"and rise successes in a row", 2, 3, "--+-++", "DddddU"},
		{"a proven target falls again", 2, 3, "-++---++", "DdUuuDdU"},
		{"more of the same changes nothing", 2, 2, "+++----", "uuuuDdd"},
		{"rise 1, fall 1 follows every result", 1, 1, "+-+--+", "uDUDdU"},
		{"thresholds below 1 count as 1", 0, -1, "+-+", "uDU"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s State
			var got strings.Builder
			for _, result := range tt.results {
				next, changed := s.Observe(result == '+', tt.rise, tt.fall)
				mark := "u"
				if !next.Up() {
					mark = "d"
				}
				if changed {
					mark = strings.ToUpper(mark)
				}
				got.WriteString(mark)
				s = next
			}
			if got.String() != tt.wants {
				t.Errorf("after %s: got %s, want %s", tt.results, got.String(), tt.wants)
			}
		})
	}
}

func TestZeroStateIsUpAndUnproven(t *testing.T) {
	if s := (State{}); !s.Up() || s.Proven {
		t.Errorf("got %+v", s)
	}
}

// Every sequence of results up to a length, with every small pair of thresholds:
// a target changes exactly when its last results are a run of the right kind
// that is just long enough, so one that alternates never flaps.
func TestObserveChangesOnlyAtThresholds(t *testing.T) {
	const length = 11
	for rise := 1; rise <= 3; rise++ {
		for fall := 1; fall <= 4; fall++ {
			for bits := range 1 << length {
				var s State
				var results []bool
				for i := range length {
					ok := bits>>i&1 == 1
					results = append(results, ok)
					next, changed := s.Observe(ok, rise, fall)
					run := runLength(results)

					want := s.Down && ok && run >= rise ||
						s.Up() && !ok && (run >= fall || len(results) == 1)
					if changed != want || changed != (next.Down != s.Down) {
						t.Fatalf("rise %d, fall %d, results %v from %+v: changed %v to %+v, want change %v",
							rise, fall, results, s, changed, next, want)
					}
					if !next.Proven || max(next.Successes, next.Failures) != run || min(next.Successes, next.Failures) != 0 {
						t.Fatalf("results %v: %+v, want a run of %d", results, next, run)
					}
					s = next
				}
			}
		}
	}
}

// runLength is how many results at the end are like the last.
func runLength(results []bool) int {
	last := results[len(results)-1]
	n := 0
	for _, r := range slices.Backward(results) {
		if r != last {
			break
		}
		n++
	}
	return n
}
