package proxy

import (
	"ringfence/singleflight"
)

// snapshot is all that a reload replaces, at once. It is immutable. A request
// keeps the one that it began with to its end, and so does a fill.
type snapshot struct {
	Options
	routes  routes
	trusted trust
}

// newSnapshot prepares the options. Routes that were there before, nil for none,
// go on with what they have logged and counted.
func (h *Handler) newSnapshot(o Options, before routes) *snapshot {
	s := &snapshot{Options: o, routes: newRoutes(o.Routes), trusted: newTrust(o.TrustedProxies)}
	logs := make(map[string]*failureLog, len(before))
	for _, r := range before {
		logs[r.name] = r.failures
	}
	for _, r := range s.routes {
		r.prepare()
		r.counts = h.tally.of(r.name)
		h.observe(r, o)
		if log := logs[r.name]; log != nil {
			r.failures = log
		}
	}
	return s
}

// Reload has the requests that come from now on answered by other options. Memory,
// IndexEntries, Shared, Journal and Log stay those of New, whatever o says. What is stored
// stays, and answers wherever the upstream's name and the parts of the key are the
// same. Requests and fills under way go on by the options that they began with, so
// what these refer to must still be there for a while: an upstream that is gone may
// be closed, but not its servers.
func (h *Handler) Reload(o Options) {
	was := h.snap.Load()
	o.Memory, o.IndexEntries, o.Shared, o.Log = was.Memory, was.IndexEntries, was.Shared, was.Log
	h.snap.Store(h.newSnapshot(o, was.routes))
	flights := h.flightOptions(o)
	h.flights.Reconfigure(flights)
	if h.fleet != nil {
		h.fleet.locker.Reconfigure(flights)
		h.fleet.engine.SetPrivateMemory(o.UncacheableTTL)
	}
	h.tunnels.reconfigure(o.MaxTunnels, o.TunnelTimeout, o.TunnelGrace)
}

func (h *Handler) flightOptions(o Options) singleflight.Options[*head] {
	return singleflight.Options[*head]{
		MaxFlights:  o.MaxFills,
		MaxReaders:  o.MaxWaiters,
		MaxBuffered: o.Memory,
		Keep:        o.MaxObject,
		MaxLead:     o.LeadTimeout,
		ReadWait:    o.FillTimeout,
		OnPanic: func(_ string, p *singleflight.PanicError) {
			h.log.Error("panic in a fill", "panic", p.Value, "stack", string(p.Stack))
		},
	}
}
