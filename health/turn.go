package health

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// run is the group's one goroutine: it takes what there is to take, derives all
// that follows, tells of it, and waits for more.
func (g *Group) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var told []Share
	for first := true; ; first = false {
		shares, events, rest := g.turn(ctx, time.Now())
		if g.onChange != nil && ctx.Err() == nil && (first || !slices.Equal(shares, told)) {
			told = slices.Clone(shares)
			g.onChange(shares)
		}
		for _, e := range events {
			if g.onEvent != nil && ctx.Err() == nil {
				g.onEvent(e)
			}
		}
		timer.Reset(rest)
		select {
		case <-ctx.Done():
			return
		case r := <-g.results:
			g.take(r)
		case <-g.wake:
		case <-timer.C:
		}
	}
}

// watch probes one member until ctx is done. The run of its results is kept here
// as well as in the member, to know when to probe again; it goes on from state.
func (g *Group) watch(ctx context.Context, m *Member, check *Check, state State) {
	target := Target{ID: m.id, Address: m.address, Host: m.host}
	timer := time.NewTimer(check.firstDelay(rand.Float64()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		out := probe(ctx, g.dial, *check, target)
		if ctx.Err() != nil {
			return // broken off: says nothing of the member
		}
		state, _ = state.Observe(out.ok, check.Rise, check.Fall)
		select {
		case <-ctx.Done():
			return
		case g.results <- result{m, check, out, began, time.Now()}:
		}
		timer.Reset(time.Until(began.Add(check.spacing(state, rand.Float64()))))
	}
}

// take records one finished probe.
func (g *Group) take(r result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := r.m
	if m.gone || r.check != g.rules.check {
		return
	}
	if !m.checks.Proven {
		close(m.checked)
	}
	was := m.checks.Down
	m.checks = m.checks.after(r.out, r.check.Rise, r.check.Fall, r.began, r.ended)
	if was && !m.checks.Down {
		m.ban = m.ban.recovered(r.ended)
	}
	m.waiting = false // up or down from now on
}

// turn derives everything that follows from the observations so far: whose
// ejection is over, who is ejected, where each member stands, and its share. It
// returns the shares, what has changed, and how long until time alone changes
// something.
func (g *Group) turn(ctx context.Context, now time.Time) (shares []Share, events []Event, rest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		if g.rules.check != nil && m.stop == nil {
			var watched context.Context
			watched, m.stop = context.WithCancel(ctx)
			check, state := g.rules.check, m.checks.State
			g.running.Go(func() { g.watch(watched, m, check, state) })
		}
		m.endEjection(now)
	}
	g.admit()
	events = g.settle(now, events)
	if g.eject(now) {
		events = g.settle(now, events)
	}
	g.ramp(now)
	return g.shares(), events, g.rest(now)
}

// admit lets new members in without a check where no member would be live
// otherwise.
func (g *Group) admit() {
	if slices.ContainsFunc(g.members, func(m *Member) bool { return m.stands() == Live }) {
		return
	}
	for _, m := range g.members {
		m.waiting = false
	}
}

// settle puts every member where its record says it stands, and adds what
// changed to the events.
func (g *Group) settle(now time.Time, events []Event) []Event {
	for _, m := range g.members {
		is := m.stands()
		if is == m.standing {
			continue
		}
		e := Event{Target: m.target(), Was: m.standing, Is: is, Reason: m.why(is), At: now}
		m.standing, m.reason, m.changed, m.ramp = is, e.Reason, now, time.Time{}
		switch is {
		case Live:
			m.comeBack(now)
			m.ramp = now
		case Ejected:
			e.Ejections, e.Until = m.ban.count, m.ban.until
		}
		events = append(events, e)
	}
	return events
}

// eject takes out the live members that are due, as far as there is room, and
// says whether it did: those whose last results were failures, and at each tick
// those that the window speaks against.
func (g *Group) eject(now time.Time) (changed bool) {
	live := make([]*Member, 0, len(g.members))
	ejected := 0
	for _, m := range g.members {
		if m.standing == Live {
			live = append(live, m)
		}
		if m.ban.active() {
			ejected++
		}
	}
	var due []suspect
	for i, m := range live {
		if reason, yes := m.failing(); yes {
			due = append(due, suspect{place: i, reason: reason})
		}
	}
	if g.rules.ejection.watches() && !now.Before(g.tick) {
		due = append(due, g.rules.ejection.outliers(g.readWindows(live))...)
		g.tick = now.Add(g.rules.ejection.Window / slots)
	}
	left := len(live)
	for _, s := range due {
		m := live[s.place]
		if m.ban.active() || !g.rules.ejection.hasRoom(len(g.members), ejected, left) {
			continue
		}
		m.eject(now, m.ban.again(now, g.rules.ejection, rand.Float64()), s.reason)
		ejected++
		left--
		changed = true
	}
	return changed
}

// readWindows returns the tallies of the live members, and moves the windows of
// all members on.
func (g *Group) readWindows(live []*Member) []Tally {
	tallies := make([]Tally, len(live))
	for i, m := range live {
		tallies[i] = m.window.tally(m.counts.read())
	}
	for _, m := range g.members {
		m.window = m.window.tick(m.counts.read())
	}
	return tallies
}

// ramp computes the factors.
func (g *Group) ramp(now time.Time) {
	full := false
	for _, m := range g.members {
		m.factor = 0
		if m.standing != Live {
			continue
		}
		m.factor = 1
		if !m.ramp.IsZero() {
			m.factor = rampFactor(now.Sub(m.ramp), g.rules.slowStart)
		}
		full = full || m.factor == 1
	}
	if full {
		return
	}
	for _, m := range g.members {
		if m.standing == Live {
			m.factor, m.ramp = 1, time.Time{}
		}
	}
}

// maxRest is how long the group's goroutine sleeps where nothing is to come.
const maxRest = time.Hour

// rest is the time until the clock alone changes something.
func (g *Group) rest(now time.Time) time.Duration {
	rest := maxRest
	if g.rules.ejection.watches() {
		rest = min(rest, g.tick.Sub(now))
	}
	for _, m := range g.members {
		if m.ban.active() {
			rest = min(rest, m.ban.until.Sub(now))
		}
		if m.standing != Live || m.ramp.IsZero() {
			continue
		}
		if next := rampNext(now.Sub(m.ramp), g.rules.slowStart); next > 0 {
			rest = min(rest, next)
		}
	}
	return rest
}
