// Package health turns observations of servers into availability.
//
// A [Group] keeps the state of one upstream's members: what active checks say of
// each, what real requests came to, and what the operator wants. From these it
// derives each member's [Share] of the traffic and tells its owner of each
// change. What observations mean is decided by plain values: [State] for runs of
// check results, [Ejection] for real ones. [Panicking] says when all of it is
// better ignored, and a [Limiter] finds out how much an upstream can take.
package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Options describe a group. The zero Options have every member live always.
type Options struct {
	// Check says how members are probed. Default: they are not.
	Check *Check

	// Ejection says when the results that members are reported take them out.
	// Default: never.
	Ejection Ejection

	// SlowStart is how long it takes a member that is new beside live ones, or
	// comes back to them, to get its full share. It begins with a hundredth, or
	// in other words with about one request to every hundred of each other
	// member. Where no member has a full share, all live ones get theirs at
	// once: there is nobody to spare them. Default: at once.
	SlowStart time.Duration

	// OnChange, if set, is told the shares of all members, in the order of the
	// targets: when the group starts, and then whenever one has changed or the
	// set has. The slice is the callee's. Changes that fall together are told
	// together.
	OnChange func([]Share)

	// OnEvent, if set, is told of each change of a member's standing, after
	// OnChange.
	//
	// Both are called by the group's one goroutine, in order and never at the
	// same time. They should return soon: until then nothing else changes and
	// no member is probed again. They may call the group's methods except Close
	// and First. A panic in them is not caught.
	OnEvent func(Event)

	// Dial opens the connection of a probe ("tcp" or "unix") and must give up
	// when ctx is done. It is called from several goroutines. Default: a
	// net.Dialer, which looks host names up anew for each probe.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Event is a change of a member's standing.
type Event struct {
	Target    Target
	Was, Is   Standing
	Reason    string    // "GET /healthz: 503 Service Unavailable", "5 failures in a row"
	Ejections int       // where it is Ejected, the count that made the ejection's length
	Until     time.Time // where it is Ejected, when that ends
	At        time.Time
}

// ErrClosed says that a group came to its end before what was waited for.
var ErrClosed = errors.New("health: the group is closed")

// Group is the one owner of the state of one upstream's members. Its methods may
// be called concurrently.
type Group struct {
	onChange func([]Share)
	onEvent  func(Event)
	dial     dialFunc
	epoch    time.Time

	results chan result   // from the goroutines that probe, taken by the group's own
	wake    chan struct{} // holds one token: a turn is due
	ended   chan struct{} // closed when the group's goroutine is gone, or will never be
	running sync.WaitGroup

	mu      sync.Mutex
	rules   rules
	members []*Member
	stop    context.CancelFunc // nil until Start or Close
	begun   bool               // Start has counted
	tick    time.Time          // when windows are judged next
}

// result is what one probe came to.
type result struct {
	m            *Member
	check        *Check
	out          outcome
	began, ended time.Time
}

// NewGroup returns a group that does nothing yet, with every member live that is
// not drained. It reports all faults of options and targets at once.
func NewGroup(o Options, targets []Target) (*Group, error) {
	g := &Group{
		onChange: o.OnChange, onEvent: o.OnEvent, dial: o.Dial,
		epoch:   time.Now(),
		results: make(chan result),
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
	var f faults
	var err error
	if g.rules, err = o.rules(); err != nil {
		f = append(f, err)
	}
	if g.dial == nil {
		g.dial = (&net.Dialer{}).DialContext
	}
	if err := g.Set(targets); err != nil {
		f = append(f, err)
	}
	if len(f) > 0 {
		return nil, fmt.Errorf("health: %w", errors.Join(f...))
	}
	return g, nil
}

// Start begins the checks and all that goes by the clock, and returns at once.
// Each member's first check begins within 250 ms. It all ends with ctx or Close.
// Only the first call counts, and none after Close.
func (g *Group) Start(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop != nil {
		return
	}
	ctx, g.stop = context.WithCancel(ctx)
	g.begun = true
	g.running.Go(func() {
		defer close(g.ended)
		g.run(ctx)
	})
}

// Close ends what Start began. It breaks off the checks under way, which then
// count for nothing, and returns when no goroutine and no call of OnChange or
// OnEvent is left. It may be called more than once; from then on the group's
// state stands still, and can still be asked for.
func (g *Group) Close() {
	g.mu.Lock()
	if g.stop == nil {
		g.stop = func() {}
		close(g.ended)
	}
	g.stop()
	g.mu.Unlock()
	g.running.Wait()
}

// Set replaces the members. One that is in the new set as well, with the same
// address and host, keeps its state and its [Member]; whatever is under way for
// one that is not changes nothing any more. While the group runs, one that is new
// begins with a slow start, after its first good check where there are checks;
// but where no member would be live without them, the new ones are at once.
// OnChange is told soon. An error names every fault of the targets, and then
// nothing changes.
func (g *Group) Set(targets []Target) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	port := 0
	if g.rules.check != nil {
		port = g.rules.check.Port
	}
	if err := validateTargets(targets, port); err != nil {
		return err
	}
	now := time.Now()
	old := make(map[string]*Member, len(g.members))
	for _, m := range g.members {
		old[m.id] = m
	}
	next := make([]*Member, len(targets))
	for i, t := range targets {
		m := old[t.ID]
		if m == nil || m.address != t.Address || m.host != t.Host {
			m = g.newMember(t, now)
		} else {
			delete(old, t.ID)
		}
		m.drained = t.Drained
		next[i] = m
	}
	for _, m := range old {
		m.leave()
	}
	g.members = next
	g.changed(now)
	return nil
}

func (g *Group) newMember(t Target, now time.Time) *Member {
	m := &Member{id: t.ID, address: t.Address, host: t.Host, wake: g.wake, epoch: g.epoch}
	m.limit.Store(g.rules.ejection.streak())
	if g.rules.ejection.watches() {
		m.window = window{m.counts.read()}
	}
	m.checked = make(chan struct{})
	m.changed, m.reason = now, "new"
	if g.begun {
		m.waiting, m.standing = g.rules.check != nil, Unchecked // so that to be live is a change
	}
	return m
}

// leave ends what a member that has left the group still does.
func (m *Member) leave() {
	m.gone = true
	if m.stop != nil {
		m.stop()
	}
	if !m.checks.Proven {
		close(m.checked)
	}
}

// Drain keeps new traffic away from a member, or no longer does; requests in
// flight are not touched, and checks go on. It says whether there is such a
// member. What its Target says of draining stays as it is.
func (g *Group) Drain(id string, on bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.members, func(m *Member) bool { return m.id == id })
	if i < 0 {
		return false
	}
	g.members[i].drainedBy = on
	g.changed(time.Now())
	return true
}

// changed has the consequences of a change drawn: by the group's goroutine, or
// here while there is none yet. Then nothing is an event.
func (g *Group) changed(now time.Time) {
	if g.begun {
		poke(g.wake)
		return
	}
	for _, m := range g.members {
		m.standing, m.changed, m.factor = m.stands(), now, 0
		if m.standing == Live {
			m.factor = 1
		}
	}
}

// First waits until every member that is there now has had its first check, or
// has left. Without checks it returns at once. The error is that of ctx, or
// [ErrClosed].
func (g *Group) First(ctx context.Context) error {
	g.mu.Lock()
	members, checked := g.members, g.rules.check != nil
	g.mu.Unlock()
	if !checked {
		return nil
	}
	for _, m := range members {
		select {
		case <-m.checked:
		case <-g.ended:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Shares returns the shares as they are, in the order of the targets; a change
// that OnChange has not been told yet may be in them already.
func (g *Group) Shares() []Share {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shares()
}

func (g *Group) shares() []Share {
	all := make([]Share, len(g.members))
	for i, m := range g.members {
		all[i] = Share{Member: m, Factor: m.factor, Standing: m.standing}
	}
	return all
}

// Status is everything that an operator may want to know of a member.
type Status struct {
	Target    Target
	Standing  Standing
	Factor    float64   // of its traffic that it should get
	Reason    string    // for its standing
	Since     time.Time // when it came to that standing, or into the group
	Until     time.Time // the end of its ejection; zero: none
	Trial     bool      // the next result decides whether it is ejected again
	Ejections int       // count that multiplies the length of an ejection, the one under way included
	Streak    int       // failures in a row
	Window    Tally     // zero where no rule of the Ejection looks at a window
	Checks    Checks
}

// Snapshot returns the status of every member, in the order of the targets. The
// slice is the caller's.
func (g *Group) Snapshot() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	all := make([]Status, len(g.members))
	for i, m := range g.members {
		all[i] = m.status(now, g.rules.ejection)
	}
	return all
}

func (m *Member) target() Target {
	return Target{ID: m.id, Address: m.address, Host: m.host, Drained: m.drained}
}

func (m *Member) status(now time.Time, e Ejection) Status {
	s := Status{
		Target: m.target(), Standing: m.standing, Factor: m.factor, Reason: m.reason, Since: m.changed,
		Until: m.ban.until, Ejections: m.ban.level(now, e), Checks: m.checks,
	}
	if m.window != nil {
		s.Window = m.window.tally(m.counts.read())
	}
	streak := m.streak.Load()
	s.Trial = streak >= onTrial
	if s.Trial {
		streak -= onTrial
	}
	s.Streak = int(streak)
	return s
}

// poke makes a turn due, if none is.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
