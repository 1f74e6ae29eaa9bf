package redis

import "sync/atomic"

// Stats are plain numbers: first what is so now, then what was counted since
// the engine was opened. They are read one after another, so sums need not
// agree exactly.
type Stats struct {
	Nodes     []NodeStats
	Leading   int64 // leases held, or being asked for
	Following int64 // fills of other instances being followed
	Buffered  int64 // bytes reserved for what is on its way

	Taken         int64 // leases taken
	HeldElsewhere int64 // fills that found another instance leading
	Lost          int64 // leases that ran out or were taken over while held
	FencedOff     int64 // writes refused because the lease was lost
	Followed      int64 // fills of another instance that were followed to their end
	Hits          int64 // whole objects found
	TakenOver     int64 // fills begun because another's ended, vanished or changed after its head
	Errors        int64 // calls that failed, attempts to connect included
	Fallbacks     int64 // fills that went on without the engine
	Overloads     int64 // waits and reads cut short because too much was under way
	BadValues     int64 // values that were damaged or foreign
	Written       int64 // bytes written to logs
	Read          int64 // bytes read from logs
	Invalidations int64 // sent by this instance
}

// NodeStats is one node's.
type NodeStats struct {
	Address  string
	Up       bool  // in use
	Failures int   // calls that failed in a row
	Calls    int   // calls under way
	Cause    error // why it is out of use, nil while it is in use
}

type counters struct {
	taken, heldElsewhere, lost, fenced, followed, hits, takenOver atomic.Int64
	errors, fallbacks, overloads, badValues, written, read        atomic.Int64
	invalidations                                                 atomic.Int64
}

// Stats gives the counters.
func (e *Engine) Stats() Stats {
	s := Stats{
		Leading:   e.leads.Load(),
		Following: e.follows.Load(),
		Buffered:  e.buffered.Load(),

		Taken:         e.n.taken.Load(),
		HeldElsewhere: e.n.heldElsewhere.Load(),
		Lost:          e.n.lost.Load(),
		FencedOff:     e.n.fenced.Load(),
		Followed:      e.n.followed.Load(),
		Hits:          e.n.hits.Load(),
		TakenOver:     e.n.takenOver.Load(),
		Errors:        e.n.errors.Load(),
		Fallbacks:     e.n.fallbacks.Load(),
		Overloads:     e.n.overloads.Load(),
		BadValues:     e.n.badValues.Load(),
		Written:       e.n.written.Load(),
		Read:          e.n.read.Load(),
		Invalidations: e.n.invalidations.Load(),
	}
	for _, n := range e.nodes {
		n.mu.Lock()
		s.Nodes = append(s.Nodes, NodeStats{
			Address: n.name, Up: n.link.Load() != nil, Failures: n.state.Failures, Calls: len(n.calls), Cause: n.cause,
		})
		n.mu.Unlock()
	}
	return s
}
