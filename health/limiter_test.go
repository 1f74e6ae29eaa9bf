package health

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newLimiter(t testing.TB, l Limits) *Limiter {
	t.Helper()
	a, err := NewLimiter(l)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNewLimiterNamesEveryFault(t *testing.T) {
	for _, tt := range []struct {
		l     Limits
		wants []string
	}{
		{Limits{}, nil},
		{Limits{Max: 2}, nil},
		{Limits{Min: 50}, nil},
		{Limits{Min: -1, Tolerance: 0.5, Smoothing: 2}, []string{"minimum -1", "tolerance 0.5", "smoothing 2"}},
		{Limits{Min: 10, Max: 5}, []string{"maximum 5"}},
		{Limits{Initial: 2000}, []string{"initial limit 2000"}},
	} {
		_, err := NewLimiter(tt.l)
		if (err == nil) != (len(tt.wants) == 0) {
			t.Fatalf("%+v: %v", tt.l, err)
		}
		for _, want := range tt.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v does not name %q", tt.l, err, want)
			}
		}
	}
}

// Under twice the load that a server of ten slots can take, clients that are
// let in are served in about twice the time it takes, and most slots are used.
func TestLimiterProtectsAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots, service = 10, 20 * time.Millisecond
		a := newLimiter(t, Limits{})
		server := make(chan struct{}, slots)
		var clients sync.WaitGroup
		var served, taken, most atomic.Int64
		began := time.Now()
		for time.Since(began) < 40*time.Second {
			time.Sleep(service / slots / 2)
			if !a.Acquire() {
				continue
			}
			settled := time.Since(began) > 20*time.Second
			if s := a.Snapshot(); settled {
				most.Store(max(most.Load(), int64(s.InFlight)))
			}
			clients.Go(func() {
				arrived := time.Now()
				server <- struct{}{}
				time.Sleep(service)
				<-server
				latency := time.Since(arrived)
				a.Release(latency, Served)
				if settled {
					served.Add(1)
					taken.Add(int64(latency))
				}
			})
		}
		clients.Wait()
		latency := time.Duration(taken.Load() / served.Load())
		use := float64(served.Load()) * float64(service) / float64(slots) / float64(20*time.Second)
		if latency > 46*time.Millisecond || use < 0.95 || most.Load() > 26 {
			t.Errorf("latency %v, use %.2f, up to %d in flight", latency, use, most.Load())
		}
		if s := a.Snapshot(); s.InFlight != 0 || s.Rejected < 5000 || s.Unloaded < service || s.Unloaded > service*3/2 {
			t.Errorf("in the end %+v", s)
		}
	})
}

func TestLimiterAdmitsExactlyItsLimit(t *testing.T) {
	for range 500 {
		a := newLimiter(t, Limits{Initial: 20})
		var in atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 50 {
					if a.Acquire() {
						in.Add(1)
					}
				}
			})
		}
		all.Wait()
		if s := a.Snapshot(); in.Load() != 20 || s.InFlight != 20 || s.Rejected != 180 {
			t.Fatalf("%d were let in: %+v", in.Load(), s)
		}
	}
}

func TestLimiterOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		outcome Outcome
		grows   int // compared with the initial limit
	}{
		{"served fast", Served, 1}, {"dropped", DroppedByServer, -1}, {"ignored", Ignored, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newLimiter(t, Limits{})
			before := a.Snapshot().Limit
			for range 1000 {
				n := 0
				for a.Acquire() {
					n++
				}
				time.Sleep(10 * time.Millisecond)
				for range n {
					a.Release(10*time.Millisecond, tt.outcome)
				}
			}
			got := a.Snapshot().Limit
			if tt.grows > 0 && got <= before || tt.grows < 0 && got != 4 || tt.grows == 0 && got != before {
				t.Errorf("%s: limit %d, from %d", tt.name, got, before)
			}
		})
	}
}

// One request at a time for an hour leaves the limit as it is.
func TestLimiterIsNotInflatedByIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newLimiter(t, Limits{})
		for range 3600 {
			if !a.Acquire() {
				t.Fatal("not let in")
			}
			time.Sleep(time.Second)
			a.Release(time.Second, Served)
		}
		if got := a.Snapshot(); got.Limit != 20 || got.Unloaded != time.Second {
			t.Errorf("%+v", got)
		}
	})
}

func BenchmarkLimiter(b *testing.B) {
	a := newLimiter(b, Limits{Max: 100000, Initial: 100000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a.Acquire() {
				a.Release(time.Millisecond, Served)
			}
		}
	})
}
