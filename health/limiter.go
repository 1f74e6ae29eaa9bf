package health

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is what became of a request that a [Limiter] let in. The set is
// closed.
type Outcome uint8

// The outcomes of a request.
const (
	// Served says that latency is what the server took: the only outcome whose
	// latency counts.
	Served Outcome = iota
	// DroppedByServer says that the server was too busy: a timeout, a 503, a
	// reset.
	DroppedByServer
	// Ignored says nothing of the server: the client gave up, or another fault
	// was met first.
	Ignored
)

// A window of a limiter is at least this long, at least as long as a request
// takes, so that it sees what the last change of the limit came to, and has at
// least so many requests served.
const (
	minWindow  = 100 * time.Millisecond
	minSamples = 10
)

// Limiter bounds how many requests are in flight to what they share, and finds
// the bound by itself, by the steps of a [Gradient]. Its methods may be called
// concurrently and never wait.
type Limiter struct {
	limits Limits
	epoch  time.Time

	limit    atomic.Int64 // what is admitted now
	inFlight atomic.Int64
	rejected atomic.Uint64

	// The window under way.
	peak    atomic.Int64
	served  atomic.Int64
	sum     atomic.Int64 // ns
	dropped atomic.Bool
	due     atomic.Int64 // ns since epoch: its end, if it has samples enough

	mu       sync.Mutex
	gradient Gradient
}

// NewLimiter returns a limiter with no request in flight. The error names every
// fault of the limits.
func NewLimiter(l Limits) (*Limiter, error) {
	l = l.withDefaults()
	if err := l.validate(); err != nil {
		return nil, fmt.Errorf("health: limits: %w", err)
	}
	a := &Limiter{limits: l, epoch: time.Now(), gradient: NewGradient(l)}
	a.limit.Store(int64(a.gradient.Admits(l)))
	a.due.Store(int64(minWindow))
	return a, nil
}

// Acquire lets a request in, unless as many are in flight as may be. Each one
// that is let in has to be released once.
func (a *Limiter) Acquire() bool {
	limit := a.limit.Load()
	for {
		n := a.inFlight.Load()
		if n >= limit {
			a.rejected.Add(1)
			return false
		}
		if a.inFlight.CompareAndSwap(n, n+1) {
			a.raise(n + 1)
			return true
		}
	}
}

// raise notes how many were in flight at once.
func (a *Limiter) raise(n int64) {
	for {
		peak := a.peak.Load()
		if n <= peak || a.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

// Release ends a request that was let in. latency is from Acquire to the
// response's head, so that a client that reads slowly is not taken for a slow
// server.
func (a *Limiter) Release(latency time.Duration, o Outcome) {
	a.inFlight.Add(-1)
	switch o {
	case Served:
		a.sum.Add(int64(max(latency, 1)))
		a.served.Add(1)
	case DroppedByServer:
		a.dropped.Store(true)
	default:
		return
	}
	if a.served.Load() < minSamples && !a.dropped.Load() {
		return
	}
	if now := time.Since(a.epoch); int64(now) >= a.due.Load() && a.mu.TryLock() {
		a.step(now)
		a.mu.Unlock()
	}
}

// step ends the window, unless another goroutine just has.
func (a *Limiter) step(now time.Duration) {
	if int64(now) < a.due.Load() {
		return
	}
	s := Sample{InFlight: int(a.peak.Swap(a.inFlight.Load())), Dropped: a.dropped.Swap(false)}
	if n := a.served.Swap(0); n > 0 {
		s.Latency = time.Duration(a.sum.Swap(0) / n)
	}
	a.gradient = a.gradient.Step(s, a.limits)
	a.limit.Store(int64(a.gradient.Admits(a.limits)))
	a.due.Store(int64(now + max(minWindow, s.Latency)))
}

// LimiterStatus is a view of a limiter at a moment.
type LimiterStatus struct {
	Limit    int           // how many may be in flight
	InFlight int           // how many are
	Rejected uint64        // how many were not let in
	Unloaded time.Duration // latency without a queue; 0: not known yet
}

// Snapshot returns the limiter's state.
func (a *Limiter) Snapshot() LimiterStatus {
	a.mu.Lock()
	long := a.gradient.Long
	a.mu.Unlock()
	return LimiterStatus{
		Limit: int(a.limit.Load()), InFlight: int(a.inFlight.Load()), Rejected: a.rejected.Load(), Unloaded: long,
	}
}
