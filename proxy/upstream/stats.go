package upstream

import "ringfence/health"

// ServerStats is a view of one server at a moment.
type ServerStats struct {
	Server
	// Up is false while health checks keep the server out.
	Up bool
	// Check is what the health checks know; zero without checks.
	Check health.Status
	// InFlight counts the exchanges under way; Open and Idle the connections.
	InFlight, Open, Idle int
	// Requests counts the exchanges begun, Reused those on a kept connection.
	Requests, Reused uint64
	// Failures counts what went wrong, by kind.
	Failures map[Kind]uint64
}

// Stats is a view of a pool at a moment.
type Stats struct {
	Name    string
	Servers []ServerStats
	// Panics counts the requests that were sent although every member was
	// ejected.
	Panics uint64
}

// Stats returns the pool's state and counters. It takes no lock that a request
// holds for long.
func (p *Pool) Stats() Stats {
	st := Stats{Name: p.name, Panics: p.panics.Load()}
	var checks []health.Status
	if p.monitor != nil {
		checks = p.monitor.Snapshot()
	}
	for i, s := range p.servers {
		view := ServerStats{
			Server:   Server{ID: s.id, Address: s.address, Weight: p.all.Members()[i].Weight},
			Up:       true,
			InFlight: int(s.inFlight.Load()),
			Requests: s.requests.Load(),
			Reused:   s.reused.Load(),
			Failures: make(map[Kind]uint64),
		}
		view.Open, view.Idle = s.connections()
		for k := range s.failures {
			if n := s.failures[k].Load(); n > 0 {
				view.Failures[Kind(k)] = n
			}
		}
		if checks != nil {
			view.Check = checks[i]
			view.Up = checks[i].Up()
		}
		st.Servers = append(st.Servers, view)
	}
	return st
}
