package health

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// onTrial is the streak of a member on trial. A success ends it as it ends any
// streak, and a failure goes one past it.
const onTrial = math.MaxInt64 / 2

// Member is a handle on one member of a [Group], to report results to. It stays
// valid, and its ID and address the same, when the member leaves the group; what
// is reported from then on changes nothing.
type Member struct {
	id, address, host string

	// What a request looks at. It is written to by failures and by the group
	// alone, so that the members that are well share it in every core's cache.
	limit  atomic.Int64  // the streak that makes a turn due
	wake   chan struct{} // the group's
	epoch  time.Time     // what since counts from
	since  atomic.Int64  // in ns: results of requests from before that say nothing; 0: all count
	streak atomic.Int64  // failures in a row, or onTrial and those since
	_      [64]byte

	record // guarded by the group's mutex
	counts counters
}

// record is what a group knows of a member beside its counters.
type record struct {
	drained   bool // by its Target
	drainedBy bool // by Group.Drain
	waiting   bool // new, for its first good check
	gone      bool

	checks  Checks
	checked chan struct{}      // closed after the first check, or when the member is gone
	stop    context.CancelFunc // ends its checks; nil: not begun

	ban    ban
	cause  string // of the last ejection
	window window

	standing Standing
	reason   string // for the standing
	changed  time.Time
	ramp     time.Time // start of the slow start; zero: none
	factor   float64
}

// Checks is what active checks know of a member. It is zero without checks.
type Checks struct {
	State
	Last     time.Time     // start of the last finished check; zero: none yet
	Duration time.Duration // of the last finished check
	Result   string        // what it came to: "connect: connection refused"
	Done     uint64        // checks finished
	Failed   uint64        // those among them that failed
}

// after is what is known after one more check.
func (c Checks) after(out outcome, rise, fall int, began, ended time.Time) Checks {
	c.State, _ = c.Observe(out.ok, rise, fall)
	c.Last, c.Duration, c.Result = began, ended.Sub(began), out.reason
	c.Done++
	if !out.ok {
		c.Failed++
	}
	return c
}

// ID is the member's identity in its group.
func (m *Member) ID() string { return m.id }

// Address is where the member is.
func (m *Member) Address() string { return m.address }

// Report tells the result of one request, or one attempt at it. ok is false
// where the server failed as a gateway's upstream fails: no connection, a reset,
// a timeout, 502, 503 or 504; whether a plain 500 counts is for the caller to
// say. A request that its client has given up says nothing and is not reported.
// latency is the time from the beginning of the attempt until now: the result of
// an attempt from before the member was last taken out or brought back neither
// ejects it nor ends its trial.
//
// Report may be called by many goroutines; it takes no lock, allocates nothing
// and returns at once. What follows from it happens in the group's goroutine.
func (m *Member) Report(ok bool, latency time.Duration) {
	if ok {
		m.counts.served[bucketOf(latency)].Add(1)
		if m.streak.Load() != 0 && !m.isLate(latency) {
			m.streak.Store(0)
		}
		return
	}
	if m.isLate(latency) {
		return
	}
	m.counts.failures.Add(1)
	if n := m.streak.Add(1); n == m.limit.Load() || n == onTrial+1 {
		poke(m.wake)
	}
}

func (m *Member) isLate(latency time.Duration) bool {
	since := m.since.Load()
	return since != 0 && int64(time.Since(m.epoch)-latency) < since
}

// renew lets what is reported of attempts that begin from now on count alone.
func (m *Member) renew(now time.Time, streak int64) {
	m.since.Store(max(1, int64(now.Sub(m.epoch))))
	m.streak.Store(streak)
}

// comeBack readies a member for traffic after it was out.
func (m *Member) comeBack(now time.Time) {
	if streak := m.streak.Load(); streak >= onTrial {
		m.renew(now, onTrial)
	} else {
		m.renew(now, 0)
	}
	if m.window != nil {
		m.window = window{m.counts.read()}
	}
}

func (m *Member) eject(now time.Time, next ban, cause string) {
	m.ban, m.cause = next, cause
	m.renew(now, 0)
}

// endEjection puts a member whose ejection is over on trial.
func (m *Member) endEjection(now time.Time) {
	if next := m.ban.after(now); next != m.ban {
		m.ban = next
		m.renew(now, onTrial)
	}
}

// failing says whether results since the last success call for an ejection, and
// why.
func (m *Member) failing() (reason string, yes bool) {
	switch n := m.streak.Load(); {
	case n > onTrial:
		return "failed on trial", true
	case n >= m.limit.Load() && n < onTrial:
		return fmt.Sprintf("%d failures in a row", n), true
	}
	return "", false
}

// stands is the standing that the record amounts to.
func (r *record) stands() Standing {
	switch {
	case r.drained || r.drainedBy:
		return Drained
	case r.checks.Down:
		return Down
	case r.ban.active():
		return Ejected
	case r.waiting:
		return Unchecked
	}
	return Live
}

// why is the reason for a standing that is new.
func (r *record) why(next Standing) string {
	switch next {
	case Drained:
		return "drained"
	case Down:
		return r.checks.Result
	case Ejected:
		return r.cause
	case Unchecked:
		return "waiting for the first check"
	}
	switch {
	case r.standing == Drained:
		return "no longer drained"
	case r.standing == Ejected:
		return "ejection over, on trial"
	case r.checks.Result != "":
		return r.checks.Result
	}
	return "new"
}
