package upstream

// Placement is where a request would go at this moment.
type Placement struct {
	// Balance is the policy, as a configuration names it.
	Balance string `json:"balance"`
	// Keyed says that the policy places requests by a key, so that Steps is in the
	// order in which this one asks. Else it is in the order of the configuration:
	// whose turn it is depends on all the other requests, or on chance.
	Keyed bool `json:"keyed"`
	// Hash is where the walk begins, 0 where it is not Keyed.
	Hash uint64 `json:"-"` // JSON would round it
	// Panicking says that health is disregarded, since too few members are fit.
	Panicking bool `json:"panicking"`
	// Steps are the first members of the walk, and after them those that get no
	// requests; More is how many others there are.
	Steps []Step `json:"steps"`
	More  int    `json:"more,omitempty"`
}

// Step is a member, as a request on its walk finds it.
type Step struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Weight  int    `json:"weight"`
	Backup  bool   `json:"backup,omitempty"`
	// Share is the part of its weight that it gets requests for, 0 to 1.
	Share float64 `json:"share"`
	// Standing is what is known of it, and Reason why.
	Standing string `json:"standing"`
	Reason   string `json:"reason"`
	// InFlight counts the requests to it, Queued those that wait for one of these
	// to end, and Limit is how many it may have. Capacity is how many are its share
	// of the load and some more; 0 where that is not bounded.
	InFlight int   `json:"in_flight"`
	Queued   int   `json:"queued,omitempty"`
	Limit    int   `json:"limit"`
	Capacity int64 `json:"capacity,omitempty"`
	// Room is whether it takes the request.
	Room Room `json:"room"`
}

// Room is whether a member takes a request without a wait. The set is closed.
type Room string

const (
	// HasRoom: it does.
	HasRoom Room = "yes"
	// OverShare: it has more than its share of the load (bounded load).
	OverShare Room = "over-share"
	// IsFull: it has as many requests as it may have.
	IsFull Room = "full"
	// IsOut: it gets no requests.
	IsOut Room = "out"
)

// String returns the policy as a configuration names it.
func (b Balance) String() string {
	return [...]string{"hash", "ketama", "least_requests", "round_robin", "random"}[b]
}

// Explain returns where a request would go at this moment, with at most limit
// steps. It asks nobody, counts nothing and takes no place. Of req only Hash and
// Key matter.
func (p *Pool) Explain(req *Request, limit int) Placement {
	var o order
	s := p.set.Load()
	o.locate(p, s, req)
	out := Placement{Balance: s.plan.o.Balance.String(), Keyed: s.plan.o.Balance.keyed(), Panicking: s.panics}
	if s.live == nil {
		return out
	}
	if out.Keyed {
		out.Hash = o.hash
	}
	reasons := make(map[string]string)
	for _, h := range p.group.Snapshot() {
		reasons[h.Target.ID] = h.Reason
	}
	for _, m := range o.visits(out.Keyed) {
		if len(out.Steps) == limit {
			out.More++
			continue
		}
		out.Steps = append(out.Steps, o.look(m, reasons))
	}
	return out
}

// visits returns all members: in the order of the walk, and those that are not on
// it in the order in which they would be, were all fit.
func (o *order) visits(keyed bool) (members []int) {
	on := make([]bool, len(o.set.members))
	if keyed {
		w := o.start
		for m, ok := w.Next(); ok; m, ok = w.Next() {
			members, on[m] = append(members, m), true
		}
		w = o.set.all.Walk(o.hash)
		for m, ok := w.Next(); ok; m, ok = w.Next() {
			if !on[m] {
				members, on[m] = append(members, m), true
			}
		}
	}
	for m := range o.set.members { // of no weight, or of a policy without a key
		if !on[m] {
			members = append(members, m)
		}
	}
	return members
}

// look is a member as the request finds it.
func (o *order) look(m int, reasons map[string]string) Step {
	s, at := o.set, o.set.members[m]
	step := Step{
		ID: at.id, Address: at.address, Weight: at.weight, Backup: at.backup,
		Share: s.factors[m], Standing: s.states[m].Standing.String(), Reason: reasons[at.id],
		InFlight: at.gate.inFlight(), Queued: at.gate.queued(), Limit: int(at.gate.limit), Room: HasRoom,
	}
	if o.total > 0 && s.weight(m) > 0 {
		step.Capacity = o.capacity(m)
	}
	switch {
	case s.weight(m) == 0:
		step.Room = IsOut
	case o.isOver(m):
		step.Room = OverShare
	case !at.gate.hasRoom():
		step.Room = IsFull
	}
	return step
}
