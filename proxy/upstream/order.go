package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"unsafe"

	"ringfence/ring"
)

// Balance is the way in which requests are placed on members.
type Balance uint8

// The ways to balance.
const (
	// Hash places the request's key by weighted rejection hashing.
	Hash Balance = iota
	// Ketama places it as nginx's consistent hash does.
	Ketama
	// LeastRequests takes two members at random and of these the one that has
	// fewer requests in flight for its weight (Mitzenmacher, "The Power of Two
	// Choices in Randomized Load Balancing", 2001).
	LeastRequests
	// RoundRobin takes the members in turn, by weight, without runs of the same
	// one (nginx's smooth weighted round robin).
	RoundRobin
	// Random takes any member, by weight.
	Random
)

// keyed reports whether a request's key decides where it goes.
func (b Balance) keyed() bool { return b <= Ketama }

// order is the order in which one request asks the members: those with room
// first, in the order of the policy, and then, to wait there, those without. It
// is for one goroutine.
type order struct {
	p       *Pool
	set     *set
	ahead   [2]int // come before the walk
	aheads  int
	hash    uint64 // where the walk begins
	start   ring.Walk
	passed  int // of ahead
	walk    ring.Walk
	total   int64 // requests in flight to all members, this one included; 0: not counted
	crowded bool  // all members with room have been asked
	asked   [maxAttempts]int
	n       int // of asked
}

// maxAttempts is the most that Retry.Attempts may be.
const maxAttempts = 10

// begin sets the order for a request among the members of a set.
func (o *order) begin(p *Pool, s *set, req *Request) {
	o.locate(p, s, req)
	if o.set.live == nil {
		o.crowded = true
		return
	}
	if o.set.panics {
		p.counts.panics.Add(1)
	}
	o.prefer()
	o.walk = o.start
}

// locate finds out where a request's walk begins, and changes nothing.
func (o *order) locate(p *Pool, s *set, req *Request) {
	o.p, o.set = p, s
	if o.set.live == nil {
		return
	}
	// Members that are down have nothing in flight: while health is disregarded
	// they would make the share of those that work too small.
	if s.plan.o.Balance.keyed() && s.plan.o.BalanceFactor > 0 && !o.set.panics {
		o.total = o.set.inFlight() + 1
	}
	o.hash = s.place(req)
	o.start = o.set.live.Walk(o.hash)
}

// place is where a request's walk begins.
func (s *set) place(req *Request) uint64 {
	switch {
	case !s.plan.o.Balance.keyed():
		return rand.Uint64()
	case req.Key != "":
		// The key's own bytes, which are only read: a copy would be allocated.
		return s.live.Hash(unsafe.Slice(unsafe.StringData(req.Key), len(req.Key)))
	}
	return req.Hash
}

// prefer puts those ahead that the policy wants first.
func (o *order) prefer() {
	switch o.set.plan.o.Balance {
	case LeastRequests:
		for o.aheads < len(o.ahead) {
			m, ok := o.start.Next()
			if !ok {
				return
			}
			o.ahead[o.aheads] = m
			o.aheads++
		}
		if o.set.load(o.ahead[1]) < o.set.load(o.ahead[0]) {
			o.ahead[0], o.ahead[1] = o.ahead[1], o.ahead[0]
		}
	case RoundRobin:
		if m := o.p.turns.next(o.set); m >= 0 {
			o.ahead[0], o.aheads = m, 1
		}
	}
}

// step gives the next member of the policy, twice where a round robin had it
// ahead.
func (o *order) step() (int, bool) {
	if o.set.live == nil {
		return 0, false
	}
	if o.passed < o.aheads {
		o.passed++
		return o.ahead[o.passed-1], true
	}
	return o.walk.Next()
}

// errNoMember says that there is nobody left to ask.
var errNoMember = errors.New("no other server")

// enter gives the next member that the request has not asked and that has let it
// in. Where none has room the request waits in the queue of the first. It must
// leave the member again.
func (o *order) enter(ctx context.Context) (*server, error) {
	if s, ok := o.enterIfRoom(); ok {
		return s, nil
	}
	o.crowd()
	for {
		m, ok := o.step()
		if !ok {
			return nil, errNoMember
		}
		if !o.hasAsked(m) {
			s := o.take(m)
			return s, s.enter(ctx)
		}
	}
}

// enterNow is enter for a request that has an answer, if a bad one, and does not
// wait for a better one: where none has room, one that may have it over its share
// of the load will do.
func (o *order) enterNow() (*server, bool) {
	if s, ok := o.enterIfRoom(); ok {
		return s, true
	}
	o.crowd()
	for {
		m, ok := o.step()
		if !ok {
			return nil, false
		}
		if !o.hasAsked(m) && o.set.members[m].tryEnter() {
			return o.take(m), true
		}
	}
}

// crowd goes back to the first member, room or not.
func (o *order) crowd() { o.crowded, o.passed, o.walk = true, 0, o.start }

// enterIfRoom is enter for a request that would rather not wait.
func (o *order) enterIfRoom() (*server, bool) {
	for !o.crowded {
		m, ok := o.step()
		if !ok {
			return nil, false
		}
		if !o.hasAsked(m) && o.admits(m) {
			return o.take(m), true
		}
	}
	return nil, false
}

func (o *order) hasAsked(m int) bool { return slices.Contains(o.asked[:o.n], m) }

func (o *order) take(m int) *server {
	o.asked[o.n] = m
	o.n++
	return o.set.members[m].server
}

// mayGoOn reports whether another member may be asked, and is there.
func (o *order) mayGoOn() bool { return o.n < min(o.set.plan.o.Retry.Attempts, o.set.fit) }

// admits lets the request into a member that has room for it: within what it may
// have at once, and, where the policy places keys, within its share of the load
// and some more (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
// Bounded Loads", 2018). A hot key thus spreads over the next members of its
// walk as far as it has to.
func (o *order) admits(m int) bool {
	if o.isOver(m) {
		o.p.counts.spread.Add(1)
		return false
	}
	return o.set.members[m].tryEnter()
}

// isOver reports whether a member has its share of the load already.
func (o *order) isOver(m int) bool {
	return o.total > 0 && int64(o.set.members[m].gate.inFlight()) >= o.capacity(m)
}

// capacity is a member's share of the load, in requests.
func (o *order) capacity(m int) int64 {
	return o.set.live.Capacity(m, o.total, o.set.plan.o.BalanceFactor)
}

// turns is a round robin.
type turns struct {
	mu sync.Mutex
}

// next is whose turn it is, or -1: each member's claim grows by its weight, the
// greatest claim wins, and pays the sum of the weights.
func (t *turns) next(s *set) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	best, sum := -1, 0.0
	for m, srv := range s.members {
		w := s.weight(m)
		if w == 0 {
			continue
		}
		sum += w
		srv.claim += w
		if best < 0 || srv.claim > s.members[best].claim {
			best = m
		}
	}
	if best >= 0 {
		s.members[best].claim -= sum
	}
	return best
}
