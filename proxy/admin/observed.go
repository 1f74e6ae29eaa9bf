package admin

import (
	"maps"
	"slices"

	"ringfence/proxy"
)

type observedStatus struct {
	Bytes    int64                          `json:"bytes"` // of what would be stored, bodies included
	MaxBytes int64                          `json:"max_bytes"`
	Entries  int64                          `json:"entries"`
	Evicted  uint64                         `json:"evicted"`
	Routes   map[string]observedRouteStatus `json:"routes"` // by host and path prefix
}

type observedRouteStatus struct {
	Outcomes  map[string]uint64 `json:"outcomes"`
	HitRatio  *float64          `json:"hit_ratio"`     // nil without a request
	Offload   *float64          `json:"offload_ratio"` // likewise
	Forwarded map[string]uint64 `json:"forwarded"`     // by reason
	Unstored  map[string]uint64 `json:"unstored"`      // by reason
	Stored    uint64            `json:"stored"`
}

func observedOf(o *proxy.Observed) *observedStatus {
	out := &observedStatus{
		Bytes: o.Memory.Bytes, MaxBytes: o.Memory.MaxBytes, Entries: o.Memory.Entries, Evicted: o.Memory.Evicted,
		Routes: make(map[string]observedRouteStatus, len(o.Routes)),
	}
	for name, r := range o.Routes {
		route := observedRouteStatus{
			Outcomes: make(map[string]uint64), Forwarded: byName(r.Forwarded), Unstored: byName(r.Unstored), Stored: r.Stored,
		}
		for outcome, n := range r.Outcomes {
			if n > 0 {
				route.Outcomes[proxy.Outcome(outcome).String()] = n
			}
		}
		if all := r.Outcomes.Sum(); all > 0 {
			hits, offload := float64(r.Hits())/float64(all), float64(r.Hits()+r.Outcomes[proxy.Collapsed])/float64(all)
			route.HitRatio, route.Offload = &hits, &offload
		}
		out.Routes[name] = route
	}
	return out
}

func (m metrics) observed(st State) {
	o := st.Proxy.Observed
	if o == nil {
		return
	}
	m.gauge("observed_bytes", "Bytes of what the routes that observe would have stored.", float64(o.Memory.Bytes))
	m.gauge("observed_limit_bytes", "Bound on the bytes of what they would have stored.", float64(o.Memory.MaxBytes))
	m.gauge("observed_objects", "Objects that they would have stored.", float64(o.Memory.Entries))
	m.counter("observed_evicted_total", "Objects that would have made room for others.", o.Memory.Evicted)
	for _, name := range slices.Sorted(maps.Keys(o.Routes)) {
		r, route := o.Routes[name], label{"route", name}
		for outcome, n := range r.Outcomes {
			m.counter("observed_requests_total", "Requests of routes that observe, by what would have become of them in the cache.", n,
				route, label{"outcome", proxy.Outcome(outcome).String()})
		}
		for reason, n := range r.Forwarded {
			m.counter("observed_requests_forwarded_total", "Requests that the store would not have answered, by why.", n, route, label{"reason", reason.String()})
		}
		m.counter("observed_fills_stored_total", "Fills that would have been stored.", r.Stored, route)
		for reason, n := range r.Unstored {
			m.counter("observed_fills_unstored_total", "Fills that would not have been stored, by why.", n, route, label{"reason", reason.String()})
		}
	}
}
