package histogram

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A quantile is never below that of the durations themselves, nor above it by
// more than a bucket.
func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var h Histogram
		all := make([]time.Duration, 1+r.IntN(300))
		for i := range all {
			all[i] = time.Duration(1e3 + r.Int64N(int64(1)<<(12+r.IntN(24))))
			h.Observe(all[i])
		}
		slices.Sort(all)
		var s Snapshot
		s.Add(&h)
		for _, percent := range []int{0, 1, 50, 90, 99, 100} {
			want := all[max((percent*len(all)+99)/100, 1)-1].Seconds()
			if got := s.Quantile(float64(percent) / 100); got < want || got > want*1.0906 {
				t.Errorf("p%d of %d: %v, want %v", percent, len(all), got, want)
			}
		}
	}
}

// What was counted before does not count, and the ends of the row are finite.
func TestQuantileOfDifference(t *testing.T) {
	var h Histogram
	h.Observe(time.Hour)
	var before, now Snapshot
	if got := before.Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	before.Add(&h)
	h.Observe(time.Second)
	now.Add(&h)
	now.Less(&before)
	if got := now.Quantile(0.99); got != 1 || now.Count() != 1 || now.Sum != time.Second {
		t.Errorf("p99 %v of %d, sum %v", got, now.Count(), now.Sum)
	}
	h.Observe(100 * time.Hour)
	now = Snapshot{}
	now.Add(&h)
	if got := now.Quantile(1); got != 4096 {
		t.Errorf("of what is too long: %v", got)
	}
}
