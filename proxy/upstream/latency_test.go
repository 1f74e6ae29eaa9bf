package upstream

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestLatencies: the percentile is above the true one, and by an eighth at most.
func TestLatencies(t *testing.T) {
	for name, quantile := range map[string]func(u float64) float64{ // in milliseconds
		"uniform":     func(u float64) float64 { return 1 + 99*u },
		"exponential": func(u float64) float64 { return -20 * math.Log(1-u) },
		"heavy tail":  func(u float64) float64 { return 2 / (1 - u) },
		"two modes": func(u float64) float64 {
			if u < 0.8 {
				return 5 + u
			}
			return 500 + u
		},
	} {
		for _, percent := range []int{1, 25, 50, 75, 90, 95, 99} {
			l := latencies{share: float64(percent) / 100}
			u := 0.0
			for n := range 3 * latencyMost {
				if u += math.Phi - 1; u >= 1 { // evenly, however far
					u--
				}
				l.add(time.Duration(quantile(u) * float64(time.Millisecond)))
				if n > 1000 && n%500 == 0 {
					// The order of what came last matters for a part in a thousand.
					low := quantile(max(l.share-0.003, 0)) * float64(time.Millisecond)
					high := quantile(min(l.share+0.003, 0.999)) * float64(time.Millisecond)
					if got := float64(l.percentile()); got < low || got > high*9/8+1<<latencyShift {
						t.Fatalf("%s: %d%% of %d: %v, want %v to an eighth", name, percent, n,
							l.percentile(), time.Duration(high))
					}
				}
			}
		}
	}
}

// TestLatenciesNeedSome: too few say nothing.
func TestLatenciesNeedSome(t *testing.T) {
	l := latencies{share: 0.9}
	for n := 1; n <= latencyLeast; n++ {
		if l.percentile() != 0 {
			t.Fatalf("%v after %d", l.percentile(), n-1)
		}
		l.add(time.Millisecond)
	}
	if got := l.percentile(); got < time.Millisecond || got > 9*time.Millisecond/8 {
		t.Errorf("%v after %d of a millisecond", got, latencyLeast)
	}
}

// TestLatenciesFollow: what was long ago is forgotten, in either direction.
func TestLatenciesFollow(t *testing.T) {
	l := latencies{share: 0.5}
	for _, d := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 2 * time.Millisecond} {
		for range 5 * latencyMost {
			l.add(time.Second)
			l.add(d)
			l.add(d)
		}
		if got := l.percentile(); got < d || got > d*9/8 {
			t.Errorf("%v, want %v", got, d)
		}
	}
}

// TestLatencyBuckets: each latency is in the bucket whose ceiling is the next
// above it, by an eighth or 16 us.
func TestLatencyBuckets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		d := time.Duration(rnd.Uint64() >> (25 + rnd.IntN(39)))
		b := latencyBucket(d)
		if high := latencyCeiling(b); d >= high || high > d+d/8+1<<latencyShift || b > 0 && d < latencyCeiling(b-1) {
			t.Fatalf("%v is in bucket %d, up to %v", d, b, high)
		}
	}
	for _, d := range []time.Duration{-1, 0, math.MinInt64} {
		if latencyBucket(d) != 0 {
			t.Errorf("%v is in bucket %d", d, latencyBucket(d))
		}
	}
	if b := latencyBucket(math.MaxInt64); b != latencyBuckets-1 {
		t.Errorf("the longest is in bucket %d", b)
	}
}

// TestLatenciesAtOnce: many may add.
func TestLatenciesAtOnce(t *testing.T) {
	l := latencies{share: 0.9}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range latencyMost {
				l.add(10 * time.Millisecond)
			}
		})
	}
	all.Wait()
	if got := l.percentile(); got < 10*time.Millisecond || got > 10*time.Millisecond*9/8 {
		t.Errorf("got %v", got)
	}
	total := uint32(0)
	for i := range l.counts {
		total += l.counts[i].Load()
	}
	if total == 0 || total > latencyWeight*(latencyMost+latencyEvery*8) {
		t.Errorf("%d count", total)
	}
}

func BenchmarkLatencies(b *testing.B) {
	l := latencies{share: 0.9}
	b.ReportAllocs()
	for b.Loop() {
		l.add(10 * time.Millisecond)
	}
}
