package health

import (
	"errors"
	"fmt"
	"reflect"
	"time"
)

// rules are what a group judges its members by.
type rules struct {
	check     *Check // nil: no active checks
	ejection  Ejection
	slowStart time.Duration
}

// rules returns those that the options stand for, or every fault of them.
func (o Options) rules() (rules, error) {
	r := rules{ejection: o.Ejection.withDefaults(), slowStart: o.SlowStart}
	var f faults
	if o.Check != nil {
		check := o.Check.withDefaults()
		if err := check.validate(); err != nil {
			f = append(f, fmt.Errorf("check: %w", err))
		}
		r.check = &check
	}
	if err := r.ejection.validate(); err != nil {
		f = append(f, fmt.Errorf("ejection: %w", err))
	}
	f.when(o.SlowStart < 0, "slow start of %v is negative", o.SlowStart)
	return r, errors.Join(f...)
}

// Reconfigure has the group judge by the Check, Ejection and SlowStart of o from
// now on; the rest of o does not count. Members keep their state: one that is out
// stays out until the new rules bring it back, or the time of its ejection is
// over. Only where there are no checks any more are those that were down live
// again, as nothing else would find out. A check of another kind begins anew, with
// nothing but the state; results of the old one that are under way change nothing.
//
// An error names every fault of the options, and then nothing changes. What
// targets must be where the check has a port of its own is for Set to say.
func (g *Group) Reconfigure(o Options) error {
	next, err := o.rules()
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	sameCheck := reflect.DeepEqual(g.rules.check, next.check)
	if sameCheck {
		next.check = g.rules.check // by which results under way are known
	}
	g.rules = next
	for _, m := range g.members {
		m.limit.Store(next.ejection.streak())
		switch {
		case !next.ejection.watches():
			m.window = nil
		case m.window == nil:
			m.window = window{m.counts.read()}
		}
		if !sameCheck {
			m.checkAnew(next.check != nil)
		}
	}
	g.tick = time.Time{}
	g.changed(time.Now())
	return nil
}

// checkAnew ends the member's checks, for others to begin where there are any.
func (m *Member) checkAnew(others bool) {
	if m.stop != nil {
		m.stop()
		m.stop = nil
	}
	if !others {
		m.checks = Checks{State: State{Proven: m.checks.Proven}}
		m.waiting = false
	}
}

// streak is how many failures in a row make a turn of the group due.
func (e Ejection) streak() int64 {
	if e.Consecutive > 0 {
		return int64(e.Consecutive)
	}
	return onTrial
}
