package proxy

import (
	"sync"
	"sync/atomic"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
)

// shadow is the cache of the routes that observe: what it would hold, without the
// bodies. An entry counts as much as the real one would, so that it is let in and
// gives way as that one would; what it really takes is less, and so within the
// same bound. There is none before the first such route.
type shadow struct {
	tables atomic.Pointer[tables]
	mu     sync.Mutex
	routes map[string]*observedCounts // of all routes that observe or did, by name
	fills  map[string]struct{}        // the flights that would be under way
}

// observedCounts are of one route. What they count goes upstream, so there is one
// copy of them.
type observedCounts struct {
	outcomes            [OutcomeCount]atomic.Uint64
	forwarded, unstored [cache.ReasonCount]atomic.Uint64
	stored              atomic.Uint64
}

// countStored counts what a fill has brought, which was stored unless there is a
// reason against it.
func (o *observedCounts) countStored(why cache.Reason) {
	if why == cache.None {
		o.stored.Add(1)
	} else {
		o.unstored[why].Add(1)
	}
}

// observe prepares a route that observes. Where there can be no shadow, it is off.
func (h *Handler) observe(r *Route, o Options) {
	if r.Cache != CacheObserve {
		return
	}
	s := &h.shadow
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables.Load() == nil {
		store, err := memory.New(memory.Options[*entry]{
			MaxBytes: o.Memory,
			Key:      func(e *entry) string { return e.Key },
			Cost:     (*entry).cost,
		})
		if err != nil {
			h.log.Error("a route cannot observe", "route", r.name, "error", err)
			r.Cache = CacheOff
			return
		}
		s.routes, s.fills = make(map[string]*observedCounts), make(map[string]struct{})
		s.tables.Store(&tables{store, memory.NewIndex(o.IndexEntries), h.struck})
	}
	name := r.name
	if s.routes[name] == nil && len(s.routes) >= maxRoutes {
		name = otherRoutes
	}
	if s.routes[name] == nil {
		s.routes[name] = new(observedCounts)
	}
	r.observed = s.routes[name]
}

func (s *shadow) close() {
	if t := s.tables.Load(); t != nil {
		t.store.Close()
	}
}

// place is a request's in the flight that it would have joined.
type place uint8

const (
	nowhere    place = iota // there are too many
	leading                 // ended by land
	behind                  // another one
	refreshing              // in the background
)

func (s *shadow) join(flight string, most int) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch _, flies := s.fills[flight]; {
	case flies:
		return behind
	case len(s.fills) >= most:
		return nowhere
	}
	s.fills[flight] = struct{}{}
	return leading
}

func (s *shadow) land(flight string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fills, flight)
}

// Observed is what the routes that observe would have come to.
type Observed struct {
	// Memory is of what would be stored, bodies included, in a tier of its own, as
	// large as the real one.
	Memory memory.Stats
	// Routes are by name, as in [Stats].Routes.
	Routes map[string]ObservedRoute
}

// ObservedRoute is what one route would have come to.
type ObservedRoute struct {
	// Outcomes counts the requests. One that would have been answered by a 304
	// counts as Revalidated where its answer has the validator of what is stored.
	Outcomes ByOutcome
	// Forwarded counts those that the store would not have answered, and Unstored
	// the fills that it would not have kept, by why; Stored counts the others.
	Forwarded, Unstored map[cache.Reason]uint64
	Stored              uint64
}

// Hits are the requests that the store would have answered.
func (r ObservedRoute) Hits() uint64 { return r.Outcomes[Hit] + r.Outcomes[Stale] }

func (s *shadow) stats() *Observed {
	t := s.tables.Load()
	if t == nil {
		return nil
	}
	o := &Observed{Memory: t.store.Stats(), Routes: make(map[string]ObservedRoute)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, counts := range s.routes {
		r := ObservedRoute{Forwarded: byReason(&counts.forwarded), Unstored: byReason(&counts.unstored), Stored: counts.stored.Load()}
		for outcome := range counts.outcomes {
			r.Outcomes[outcome] = counts.outcomes[outcome].Load()
		}
		o.Routes[name] = r
	}
	return o
}

func byReason(counts *[cache.ReasonCount]atomic.Uint64) map[cache.Reason]uint64 {
	by := make(map[cache.Reason]uint64)
	for r := range counts {
		if n := counts[r].Load(); n > 0 {
			by[cache.Reason(r)] = n
		}
	}
	return by
}
