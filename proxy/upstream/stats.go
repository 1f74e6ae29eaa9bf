package upstream

import (
	"time"

	"ringfence/health"
	"ringfence/proxy/histogram"
	"ringfence/proxy/upstream/discover"
)

// ServerStats is a view of one server at a moment.
type ServerStats struct {
	// ID, Address, Weight and Backup are the server's own.
	ID, Address string
	Weight      int
	Backup      bool
	// Health is what is known of it.
	Health health.Status
	// Share is the part of its weight that it gets requests for, 0 to 1.
	Share float64
	// Keys is the part of all keys, 0 to 1, that are the server's now, as weights
	// and shares make it.
	Keys float64
	// InFlight counts the requests to it, Queued those that wait for one of
	// these to end; Open and Idle the connections.
	InFlight, Queued, Open, Idle int
	// Requests counts the exchanges begun, Reused those on a kept connection.
	Requests, Reused uint64
	// Took is how long requests to the server took in all, each from when it was
	// let in to the head of the answer or the failure.
	Took time.Duration
	// Ejected counts the ejections for what came of requests, Downed those for what
	// came of checks.
	Ejected, Downed uint64
	// Waited counts the requests that were queued, QueueFull those that found no
	// place in the queue, and QueueLate those that waited in vain.
	Waited, QueueFull, QueueLate uint64
	// Failures counts what went wrong, by kind.
	Failures map[Kind]uint64
}

// Stats is a view of a pool at a moment.
type Stats struct {
	Name    string
	Servers []ServerStats
	// Panicking says that health is disregarded, since too few members are fit;
	// Panics counts the requests since New that were sent all the same.
	Panicking bool
	Panics    uint64
	// Retries and Hedges count the requests sent to one more member, and
	// OutOfBudget those that the budget did not allow.
	Retries, Hedges, OutOfBudget uint64
	// Spread counts how often a member was passed over for being over its share
	// of the load.
	Spread uint64
	// Took is how long requests to servers took, as in [ServerStats]: each retry and
	// hedge is one of its own, and time in queues does not count.
	Took histogram.Snapshot
	// Limit is what adaptive concurrency allows at once, 0 without it; Shed
	// counts the requests beyond.
	Limit int
	Shed  uint64
	// Discovery counts the look-ups of names.
	Discovery discover.Stats
}

// Stats returns the pool's state and counters. It takes no lock that a request
// holds for long.
func (p *Pool) Stats() Stats {
	s := p.set.Load()
	st := Stats{
		Name: s.plan.o.Name, Panicking: s.panics, Panics: p.counts.panics.Load(),
		Retries: p.counts.retried.Load(), Hedges: p.counts.hedged.Load(), OutOfBudget: s.plan.budget.refused.Load(),
		Spread: p.counts.spread.Load(), Shed: p.counts.shed.Load(), Discovery: p.discovery().Stats(),
	}
	if l := s.plan.limiter; l != nil {
		st.Limit = l.Snapshot().Limit
	}
	st.Took.Add(s.plan.took)
	weight := 0.0
	for i := range s.members {
		weight += s.weight(i)
	}
	states := make(map[string]health.Status)
	for _, h := range p.group.Snapshot() {
		states[h.Target.ID] = h
	}
	for i, m := range s.members {
		view := ServerStats{
			ID: m.id, Address: m.address, Weight: m.weight, Backup: m.backup,
			Health: states[m.id], Share: s.factors[i],
			InFlight: m.gate.inFlight(), Queued: m.gate.queued(),
			Requests: m.requests.Load(), Reused: m.reused.Load(),
			Took: time.Duration(m.took.Load()), Ejected: m.ejected.Load(), Downed: m.downed.Load(),
			Waited: m.gate.waited.Load(), QueueFull: m.gate.full.Load(), QueueLate: m.gate.late.Load(),
			Failures: make(map[Kind]uint64),
		}
		if weight > 0 {
			view.Keys = s.weight(i) / weight
		}
		view.Open, view.Idle = m.connections()
		for k := range m.failures {
			if n := m.failures[k].Load(); n > 0 {
				view.Failures[Kind(k)] = n
			}
		}
		st.Servers = append(st.Servers, view)
	}
	return st
}

// Name is the pool's name.
func (p *Pool) Name() string { return p.set.Load().plan.o.Name }
