package redis

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"ringfence/singleflight"
)

// BenchmarkFleet: the engine on the same machine. TestCost bounds the calls.
func BenchmarkFleet(b *testing.B) {
	s := startServer(b)
	all := fleet(b, 2, Options{}, s)
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		body := bodyOf(size)
		p := page{Name: "n", Length: int64(size), Keep: 10 * time.Second, ETag: "e"}
		fill := give(p, singleflight.Store, 0, 0, body)
		b.Run(fmt.Sprint("fill/", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			s.must("CONFIG", "RESETSTAT")
			n := 0
			for ; b.Loop(); n++ {
				all[0].get(fmt.Sprint(b.Name(), b.N, n), fill)
			}
			eventually(b, 10*time.Second, "all is written", func() bool { return all[0].e.Stats().Leading == 0 })
			b.ReportMetric(float64(s.asked())/float64(n), "calls/op")
		})
		all[0].get(fmt.Sprint("hit", size), fill)
		eventually(b, 10*time.Second, "all is written", func() bool { return all[0].e.Stats().Leading == 0 })
		b.Run(fmt.Sprint("hit/", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			s.must("CONFIG", "RESETSTAT")
			n := 0
			for ; b.Loop(); n++ {
				if r := all[1].get(fmt.Sprint("hit", size), fill); !r.whole(body) {
					b.Fatal(r.err)
				}
			}
			b.ReportMetric(float64(s.asked())/float64(n), "calls/op")
		})
	}
}

// BenchmarkLate is how much later the other instance has the end of a fill, and
// what it takes to follow a thousand at once.
func BenchmarkLate(b *testing.B) {
	s := startServer(b)
	all := fleet(b, 2, Options{}, s)
	body := bodyOf(10 << 10)
	for _, keys := range []int{1, 1000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			late, round := time.Duration(0), 0
			for ; b.Loop(); round++ {
				ends := [2]time.Time{}
				var mu sync.Mutex
				var clients sync.WaitGroup
				for i, in := range all {
					for k := range keys {
						clients.Go(func() {
							r := in.get(fmt.Sprint(b.N, round, k), give(plain, singleflight.Store, 100*time.Millisecond, 20*time.Millisecond, body, body, body))
							mu.Lock()
							defer mu.Unlock()
							if r.ended.After(ends[i]) {
								ends[i] = r.ended
							}
						})
					}
				}
				clients.Wait()
				late += ends[1].Sub(ends[0]).Abs()
			}
			b.ReportMetric(float64(late.Microseconds())/float64(round), "µs-late/op")
		})
	}
	b.Logf("%d fills, %+v", fills(all), all[0].e.Stats())
}
