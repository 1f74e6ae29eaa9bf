package proxy

import (
	"sync/atomic"

	"ringfence/proxy/cache"
)

// stripes is how many copies of the counters there are, so that cores do not
// take one cache line from each other at every request.
const stripes = 16

// counters count requests. A request uses the stripe of its connection, a fill
// the first one.
type counters [stripes]stripe

type stripe struct {
	inFlight  atomic.Int64
	hits      atomic.Uint64
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
	status          [6]atomic.Uint64 // by class
	bytes           atomic.Uint64
	_               [64]byte
}

// Stats is a view of the request counters at a moment.
type Stats struct {
	// InFlight counts the requests being answered.
	InFlight int64
	// Hits counts the answers from the store.
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
	Bytes uint64
}

func (c *counters) sum() Stats {
	s := Stats{Forwarded: make(map[cache.Reason]uint64), Unstored: make(map[cache.Reason]uint64)}
	for i := range c {
		p := &c[i]
		s.InFlight += p.inFlight.Load()
		s.Hits += p.hits.Load()
		s.Collapsed += p.collapsed.Load()
		s.Stored += p.stored.Load()
		s.Stale += p.stale.Load()
		s.Renewals += p.renewals.Load()
		s.VariantsDropped += p.variantsDropped.Load()
		s.Refused += p.refused.Load()
		s.Overload += p.overload.Load()
		s.Bytes += p.bytes.Load()
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
