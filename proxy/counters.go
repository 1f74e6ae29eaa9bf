package proxy

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"ringfence/proxy/cache"
	"ringfence/proxy/histogram"
)

// stripes is how many copies of the counters there are, so that cores do not
// take one cache line from each other at every request.
const stripes = 16

// counters count requests. A request uses the stripe of its connection, a fill
// the first one. All of them are some 380 KiB.
type counters [stripes]stripe

type stripe struct {
	inFlight  atomic.Int64
	forwarded [cache.ReasonCount]atomic.Uint64 // by why the store did not answer
	unstored  [cache.ReasonCount]atomic.Uint64 // by why the answer was not stored
	collapsed atomic.Uint64
	stored    atomic.Uint64
	stale     atomic.Uint64 // answers from the store in place of a failing upstream
	renewals  atomic.Uint64 // fills in the background
	// variantsDropped counts objects that gave way to newer variants of a key.
	variantsDropped atomic.Uint64
	refused         atomic.Uint64
	overload        atomic.Uint64
	status          [6]atomic.Uint64            // by class
	bytes           [OutcomeCount]atomic.Uint64 // of bodies
	// took is the time to the first byte of answers that left in one piece, which is
	// that of the whole as well.
	took [OutcomeCount]histogram.Histogram
	_    [64]byte
}

// timings are what a request takes that waits or streams. Against that the price
// of a cache line that cores share is nothing, so there is one copy. They are
// some 46 KiB.
type timings struct {
	// first and whole are of answers that are streamed.
	first, whole [OutcomeCount]histogram.Histogram
	// waits are for the heads of other requests' fills.
	waits histogram.Histogram
}

// routeCounts are the requests of one route by outcome, each stripe on cache
// lines of its own: 2 KiB.
type routeCounts [stripes]struct {
	outcomes [OutcomeCount]atomic.Uint64
	_        [128 - unsafe.Sizeof([OutcomeCount]atomic.Uint64{})]byte
}

func (r *routeCounts) count(lane uint64, o Outcome) { r[lane].outcomes[o].Add(1) }

const (
	// maxRoutes bounds the names that routes are counted under, now and before;
	// those beyond share one.
	maxRoutes   = 1024
	otherRoutes = "other"
)

// tally has the counts of all routes that there are or were, by name: a route
// that comes again goes on where it was.
type tally struct {
	mu     sync.Mutex
	routes map[string]*routeCounts
}

// of returns the counts of a route.
func (t *tally) of(name string) *routeCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.routes == nil {
		t.routes = make(map[string]*routeCounts)
	}
	if t.routes[name] == nil && len(t.routes) >= maxRoutes {
		name = otherRoutes
	}
	r := t.routes[name]
	if r == nil {
		r = new(routeCounts)
		t.routes[name] = r
	}
	return r
}

func (t *tally) sum() map[string]ByOutcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := make(map[string]ByOutcome, len(t.routes))
	for name, counts := range t.routes {
		var by ByOutcome
		for i := range counts {
			for o := range by {
				by[o] += counts[i].outcomes[o].Load()
			}
		}
		sums[name] = by
	}
	return sums
}

// said returns the status of the answer, and the length of a body that goes with it
// and not after it.
func (c *call) said() (status int, size int64) {
	resp := &c.ctx.Response
	if c.out != nil || resp.SkipBody || c.ctx.IsHead() {
		return resp.StatusCode(), 0
	}
	return resp.StatusCode(), int64(len(resp.Body()))
}

// countAnswer counts the request by its outcome. Its answer, about to be sent, took
// so long; size is of the body that goes with the head.
func (c *call) countAnswer(status int, size int64, took time.Duration) {
	n, o := c.count, c.outcome
	n.status[min(status/100, len(n.status)-1)].Add(1)
	if c.route != nil {
		c.route.counts.count(c.lane, o)
	}
	if c.out != nil {
		c.out.began, c.out.outcome = c.req.Time, o
		c.h.timings.first[o].Observe(took)
		return
	}
	n.took[o].Observe(took)
	n.bytes[o].Add(uint64(size))
}

// ByOutcome is a number for each outcome.
type ByOutcome [OutcomeCount]uint64

// Sum is that of all outcomes.
func (b ByOutcome) Sum() (n uint64) {
	for _, of := range b {
		n += of
	}
	return n
}

// Stats is a view of the request counters at a moment.
type Stats struct {
	// InFlight counts the requests being answered.
	InFlight int64
	// Routes counts the requests that have a route by its name, which is its host
	// and path prefix, and by outcome. Past 1024 names the rest is one, "other".
	Routes map[string]ByOutcome
	// Hits counts the answers from the store: Hit, Stale and SharedHit.
	Hits uint64
	// Forwarded counts the other ones, by why.
	Forwarded map[cache.Reason]uint64
	// Unstored counts the fills that were not stored, by why.
	Unstored map[cache.Reason]uint64
	// Collapsed counts the requests answered by another request's fill, and
	// Stored the fills that went into the store.
	Collapsed, Stored uint64
	// Stale counts the answers from the store in place of a failing upstream,
	// Renewals the fills in the background, and VariantsDropped the objects that
	// gave way to newer variants of their key.
	Stale, Renewals, VariantsDropped uint64
	// Refused counts the requests that were malformed, too large, too late, or had
	// no route, and Overload those beyond MaxRequests.
	Refused, Overload uint64
	// Status counts the answers by class: Status[2] is 2xx.
	Status [6]uint64
	// Bytes counts the bytes of answers' bodies.
	Bytes ByOutcome
	// FirstByte has for each outcome how long requests took from the end of their
	// head to the first byte of the answer, and Whole to its last: the moment it
	// was given to the connection. An answer that is not streamed leaves in one
	// piece, so for it the two are one.
	FirstByte, Whole []histogram.Snapshot
	// Waits is how long requests waited for the heads of other requests' fills.
	Waits histogram.Snapshot
}

// requestStats is the view of what requests have come to.
func (h *Handler) requestStats() Stats {
	s := h.counts.sum()
	copy(s.Whole, s.FirstByte)
	for o := range s.Whole {
		s.FirstByte[o].Add(&h.timings.first[o])
		s.Whole[o].Add(&h.timings.whole[o])
	}
	s.Waits.Add(&h.timings.waits)
	s.Routes = h.tally.sum()
	for _, by := range s.Routes {
		s.Hits += by[Hit] + by[Stale] + by[SharedHit]
	}
	return s
}

func (c *counters) sum() Stats {
	s := Stats{
		Forwarded: make(map[cache.Reason]uint64), Unstored: make(map[cache.Reason]uint64),
		FirstByte: make([]histogram.Snapshot, OutcomeCount), Whole: make([]histogram.Snapshot, OutcomeCount),
	}
	for i := range c {
		p := &c[i]
		s.InFlight += p.inFlight.Load()
		s.Collapsed += p.collapsed.Load()
		s.Stored += p.stored.Load()
		s.Stale += p.stale.Load()
		s.Renewals += p.renewals.Load()
		s.VariantsDropped += p.variantsDropped.Load()
		s.Refused += p.refused.Load()
		s.Overload += p.overload.Load()
		for o := range p.took {
			s.Bytes[o] += p.bytes[o].Load()
			s.FirstByte[o].Add(&p.took[o])
		}
		for class := range p.status {
			s.Status[class] += p.status[class].Load()
		}
		for r := range p.forwarded {
			if n := p.forwarded[r].Load(); n > 0 {
				s.Forwarded[cache.Reason(r)] += n
			}
			if n := p.unstored[r].Load(); n > 0 {
				s.Unstored[cache.Reason(r)] += n
			}
		}
	}
	return s
}
