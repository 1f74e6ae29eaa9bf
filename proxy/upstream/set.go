package upstream

import (
	"fmt"
	"slices"

	"ringfence/health"
	"ringfence/ring"
)

// member is a server's place in a set.
type member struct {
	*server
	weight int
	backup bool
}

// set is the members of a pool at a moment, and where their keys are. It is
// immutable; what changes makes another one.
type set struct {
	plan    *plan
	members []member
	all     *ring.Ring // of all members, with their full weight; nil without members
	live    *ring.Ring // of those that get requests now
	factors []float64  // of live
	states  []health.Share
	fit     int  // how many get requests now
	panics  bool // health is disregarded
}

// newSet places members, all of them fit.
func newSet(p *plan, members []member) (*set, error) {
	s := &set{plan: p, members: members}
	if len(members) == 0 {
		return s, nil
	}
	places := make([]ring.Member, len(members))
	for i, m := range members {
		places[i] = ring.Member{ID: m.id, Weight: m.weight}
	}
	build := ring.New
	if p.o.Balance == Ketama {
		build = ring.NewKetama
		for i, m := range members {
			places[i].ID = m.address
		}
	}
	all, err := build(places)
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	s.all = all
	return s, nil
}

// weight is the weight that a member has at the moment.
func (s *set) weight(m int) float64 { return float64(s.members[m].weight) * s.factors[m] }

// load is what a member has to do for its weight, with one request more.
func (s *set) load(m int) float64 {
	return float64(s.members[m].gate.inFlight()+1) / s.weight(m)
}

// with gives the set with other states of its members.
func (s *set) with(states []health.Share) *set {
	next := *s
	next.states = states
	next.factors, next.panics = factors(s.members, states, s.plan.o.PanicPercent)
	if s.all != nil {
		next.live = s.all.WithFactors(next.factors)
	}
	next.fit = 0
	for i := range s.members {
		if next.weight(i) > 0 {
			next.fit++
		}
	}
	return &next
}

// factors says what part of its weight each member gets requests for. Backups
// get theirs while no other member is fit. Where too few of the others are fit,
// and no backup is there to help, health is disregarded: the few would only fail
// under the load of all (the panic threshold of Envoy). What is drained gets
// nothing in any case. panics says that members get requests against what is
// known of them, which is not so where they are merely new.
func factors(members []member, states []health.Share, panicPercent int) (factors []float64, panics bool) {
	var own, helpers []health.Share
	for i, m := range members {
		switch {
		case m.weight == 0 || states[i].Standing == health.Drained:
		case m.backup:
			helpers = append(helpers, states[i])
		default:
			own = append(own, states[i])
		}
	}
	backups, all := false, false
	switch {
	case stand(helpers, health.Live):
		backups = !stand(own, health.Live)
	case !stand(own, health.Live) || health.Panicking(own, panicPercent):
		backups, all = len(own) == 0, true
	}
	factors = make([]float64, len(members))
	for i, m := range members {
		switch {
		case m.backup != backups || states[i].Standing == health.Drained:
		case all:
			factors[i] = 1
			panics = panics || states[i].Standing == health.Down || states[i].Standing == health.Ejected
		default:
			factors[i] = states[i].Factor
		}
	}
	return factors, panics
}

// stand reports whether any of the states is of that standing.
func stand(states []health.Share, standing health.Standing) bool {
	return slices.ContainsFunc(states, func(s health.Share) bool { return s.Standing == standing })
}

// inFlight is how many requests the members have.
func (s *set) inFlight() (n int64) {
	for _, m := range s.members {
		n += int64(m.gate.inFlight())
	}
	return n
}
