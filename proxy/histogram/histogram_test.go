package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// bucketOf finds a duration's bucket from the definition.
func bucketOf(d time.Duration) int {
	bounds := make([]float64, Buckets)
	for i := range bounds {
		bounds[i] = Bound(i)
	}
	i, _ := slices.BinarySearch(bounds, d.Seconds())
	return i
}

// near are the durations at which something may go wrong.
func near() (all []time.Duration) {
	all = []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}
	for i := range Buckets - 1 {
		at := time.Duration(Bound(i) * 1e9)
		all = append(all, at-1, at, at+1, at+2)
	}
	for power := range 62 {
		at := time.Duration(1) << power
		all = append(all, at-1, at, at+1, at+at/16, at+at/16*15)
	}
	for range 10_000 {
		all = append(all, time.Duration(rand.Int64()>>rand.IntN(63)))
	}
	return all
}

func TestBucketIsTheDefinition(t *testing.T) {
	for _, d := range near() {
		if got, want := Bucket(d), bucketOf(d); got != want {
			t.Errorf("%d ns: bucket %d, want %d", d, got, want)
		}
	}
}

func TestBucketsGrow(t *testing.T) {
	all := near()
	slices.Sort(all)
	for i, d := range all[1:] {
		if a, b := Bucket(all[i]), Bucket(d); a > b {
			t.Fatalf("%v is in bucket %d, %v in %d", all[i], a, d, b)
		}
	}
	if Bucket(all[0]) != 0 || Bucket(all[len(all)-1]) != Buckets-1 {
		t.Error("the ends have other buckets than the first and the last")
	}
}

// Of each duration that has a bucket of its own, the bucket's bound is too large
// by 9.1 % at most.
func TestError(t *testing.T) {
	const most = 0.0906
	for _, d := range near() {
		b := Bucket(d)
		if b == 0 || b == Buckets-1 {
			continue
		}
		if off := Bound(b)/d.Seconds() - 1; off < -1e-12 || off > most {
			t.Fatalf("%v is in the bucket up to %v s: %v off", d, Bound(b), off)
		}
	}
}

// Native buckets are those of Prometheus: index 0 ends at a second, 8 at two.
func TestNative(t *testing.T) {
	for d, want := range map[time.Duration]int{
		time.Second: 0, time.Second + 1: 1, 2 * time.Second: 8, time.Second / 2: -8, 4096 * time.Second: 96,
		4096*time.Second + 1: 97, 1e6 * time.Second: 97, 954: -159,
	} {
		if got := Native(Bucket(d)); got != want {
			t.Errorf("%v has index %d, want %d", d, got, want)
		}
	}
	if Bucket(953) != 0 || Bound(0) != Zero {
		t.Errorf("953 ns in bucket %d, which ends at %v", Bucket(953), Bound(0))
	}
}

// What several have counted at once is what one would have counted.
func TestMergeIsTheSum(t *testing.T) {
	all := near()[6:]
	var parts [3]Histogram
	var whole Histogram
	var wg sync.WaitGroup
	for i := range parts {
		for range 2 {
			wg.Go(func() {
				for j := i; j < len(all); j += len(parts) {
					parts[i].Observe(all[j] % time.Hour)
				}
			})
		}
	}
	for _, d := range all {
		whole.Observe(d % time.Hour)
		whole.Observe(d % time.Hour)
	}
	wg.Wait()
	var a, b, got, want Snapshot
	a.Add(&parts[0])
	a.Add(&parts[1])
	b.Add(&parts[2])
	got.Merge(&a)
	got.Merge(&b)
	want.Add(&whole)
	if got != want {
		t.Errorf("%v\nwant %v", got, want)
	}
	if n := uint64(2 * len(all)); want.Count() != n || want.AtMost(highest) != n || want.AtMost(lowest) != want.Counts[0] {
		t.Errorf("%d of %d durations", want.Count(), n)
	}
}

func TestAtMost(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{time.Second / 4, time.Second, time.Second + 1, 2 * time.Second, time.Hour * 2} {
		h.Observe(d)
	}
	var s Snapshot
	s.Add(&h)
	for power, want := range map[int]uint64{-3: 0, -2: 1, -1: 1, 0: 2, 1: 4, highest: 4} {
		if got := s.AtMost(power); got != want {
			t.Errorf("%d durations up to 2^%d s, want %d", got, power, want)
		}
	}
}

func TestNegativeIsNothing(t *testing.T) {
	var h Histogram
	h.Observe(-time.Hour)
	var s Snapshot
	if s.Add(&h); s.Sum != 0 || s.Counts[0] != 1 {
		t.Errorf("%v, %d", s.Sum, s.Counts[0])
	}
}

func FuzzBucket(f *testing.F) {
	for _, d := range []int64{-1, 0, 953, 954, 1e9, 1e9 + 1, math.MaxInt64} {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, d int64) {
		if got, want := Bucket(time.Duration(d)), bucketOf(time.Duration(d)); got != want {
			t.Errorf("%d ns: bucket %d, want %d", d, got, want)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Observe(time.Duration(1000 + i%1000))
	}
}
