package load

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// arrivals are when the requests of an open loop are due.
type arrivals struct {
	rate, to float64 // requests a second, at the start and at the end
	seconds  float64
	most     int
	times    []time.Duration // in place of a rate

	mu     sync.Mutex
	chance *rand.Rand // nil: at even distances
	i      int
	events float64 // of a process with one event a second
}

func newArrivals(p Plan) *arrivals {
	a := &arrivals{rate: p.Rate, to: p.To, seconds: p.Duration.Seconds(), most: p.Count}
	if a.most == 0 {
		a.most = math.MaxInt
	}
	if a.times = p.Times; a.times != nil {
		a.most = len(a.times)
	}
	if p.Poisson {
		a.chance = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return a
}

// next returns the next request's number and when it is due after the start; ok is
// false past the last one.
func (a *arrivals) next() (i int, at time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.i >= a.most {
		return a.i, 0, false
	}
	if at, ok = a.due(a.events); !ok {
		return a.i, 0, false
	}
	i = a.i
	a.i++
	if a.chance == nil {
		a.events = float64(a.i)
	} else {
		a.events += a.chance.ExpFloat64()
	}
	return i, at, true
}

// due is when the rate, summed up from the start, comes to this many events.
func (a *arrivals) due(events float64) (time.Duration, bool) {
	if a.times != nil {
		return a.times[a.i], true
	}
	// The sum at t is rate t + (to - rate) t² / (2 seconds). This form of the root
	// holds where the rate does not change, too.
	grow := (a.to - a.rate) / a.seconds
	root := a.rate*a.rate + 2*grow*events
	if root < 0 {
		return 0, false
	}
	at := 2 * events / (a.rate + math.Sqrt(root))
	return time.Duration(at * float64(time.Second)), at < a.seconds-1e-12
}

// left is how many have not been handed out; of those by chance, about.
func (a *arrivals) left() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.times != nil || a.i >= a.most {
		return a.most - a.i
	}
	if _, ok := a.due(a.events); !ok {
		return 0
	}
	return min(int(math.Round((a.rate+a.to)/2*a.seconds-a.events)), a.most-a.i)
}

// sleepUntil returns false where ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

const (
	// coarse is how precise the runtime's timers are on an idle machine, which would
	// show in every latency.
	coarse = 2 * time.Millisecond
	// brief is a wait that is not worth a sleep.
	brief = 20 * time.Microsecond
)

// await sleeps until a moment with more precision than sleepUntil.
func (a *alarm) await(ctx context.Context, at time.Time) bool {
	if !sleepUntil(ctx, at.Add(-coarse)) {
		return false
	}
	for d := time.Until(at); d > 0; d = time.Until(at) {
		if d > brief {
			a.sleep(d)
		} else {
			runtime.Gosched()
		}
	}
	return ctx.Err() == nil
}
