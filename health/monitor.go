package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Monitor is made of.
type Config struct {
	// Check says how all targets are probed.
	Check Check

	// Targets are the servers to probe.
	Targets []Target

	// OnChange, if set, is told once of each change of a target between up and
	// down. It is called by the goroutine that probes that target, never twice
	// at a time, and in the order of the changes of each target; Snapshot has
	// the change already. It should return soon: until then the target is not
	// probed again, and other targets' changes wait; those that still wait when
	// probing ends are not told. It must not call Close. A panic in it is not
	// caught.
	OnChange func(Event)

	// Dial opens the connection of a probe and must give up when ctx is done.
	// It is called from several goroutines. Default: a net.Dialer, which looks
	// host names up anew for each probe.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Event is a change of a target between up and down.
type Event struct {
	Target Target
	Up     bool
	Reason string    // what the last probe came to: "GET /healthz: 503 Service Unavailable"
	Count  int       // results in a row that led to it
	At     time.Time // end of the last probe
}

// Status is a target as its last finished probe left it.
type Status struct {
	Target Target
	State
	Since     time.Time     // of the last change between up and down, or New
	LastProbe time.Time     // start of the last finished probe; zero: none yet
	Duration  time.Duration // of the last finished probe
	Result    string        // what it came to: "connect: connection refused"
	Probes    uint64        // probes finished
	Failed    uint64        // those among them that failed
}

// Monitor probes targets, each in a goroutine of its own with at most one probe
// at a time, and keeps what it learns. Its methods may be called concurrently.
type Monitor struct {
	check    Check
	dial     dialFunc
	onChange func(Event)
	statuses []atomic.Pointer[Status] // one per target, replaced by its goroutine alone

	notify  chan struct{} // holds one token while onChange runs
	running sync.WaitGroup

	life sync.Mutex
	stop context.CancelFunc // nil until Start or Close
}

// New returns a Monitor that does nothing yet, with every target up. It reports
// all faults of the configuration at once.
func New(cfg Config) (*Monitor, error) {
	check := cfg.Check.withDefaults()
	if err := check.validate(); err != nil {
		return nil, fmt.Errorf("health check: %w", err)
	}
	if err := validateTargets(cfg.Targets); err != nil {
		return nil, fmt.Errorf("health check: %w", err)
	}
	m := &Monitor{
		check:    check,
		dial:     cfg.Dial,
		onChange: cfg.OnChange,
		notify:   make(chan struct{}, 1),
		statuses: make([]atomic.Pointer[Status], len(cfg.Targets)),
	}
	if m.dial == nil {
		m.dial = (&net.Dialer{}).DialContext
	}
	now := time.Now()
	for i, t := range cfg.Targets {
		m.statuses[i].Store(&Status{Target: t, Since: now})
	}
	return m, nil
}

// Start begins probing and returns at once. Each target's first probe begins
// within 250 ms. Probing ends with ctx or Close. Only the first call counts, and
// none after Close.
func (m *Monitor) Start(ctx context.Context) {
	m.life.Lock()
	defer m.life.Unlock()
	if m.stop != nil {
		return
	}
	ctx, m.stop = context.WithCancel(ctx)
	for i := range m.statuses {
		m.running.Go(func() { m.watch(ctx, &m.statuses[i]) })
	}
}

// Close ends probing. It breaks off the probes under way, which then count for
// nothing, and returns when no goroutine and no call of OnChange is left. It may
// be called more than once; Snapshot goes on answering.
func (m *Monitor) Close() {
	m.life.Lock()
	if m.stop == nil {
		m.stop = func() {}
	}
	m.stop()
	m.life.Unlock()
	m.running.Wait()
}

// Snapshot returns the status of every target, in the order of Config.Targets.
// It takes no lock that a probe could hold, and the slice is the caller's.
func (m *Monitor) Snapshot() []Status {
	all := make([]Status, len(m.statuses))
	for i := range m.statuses {
		all[i] = *m.statuses[i].Load()
	}
	return all
}

// watch probes one target until ctx is done.
func (m *Monitor) watch(ctx context.Context, status *atomic.Pointer[Status]) {
	target := status.Load().Target
	timer := time.NewTimer(m.check.firstDelay(rand.Float64()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		out := probe(ctx, m.dial, m.check, target)
		if ctx.Err() != nil {
			return // broken off: says nothing of the target
		}
		m.record(ctx, status, out, began, time.Now())
		timer.Reset(time.Until(began.Add(m.check.spacing(rand.Float64()))))
	}
}

// record counts one finished probe and tells the owner if it changed anything.
func (m *Monitor) record(ctx context.Context, status *atomic.Pointer[Status], out outcome, began, ended time.Time) {
	next, changed := status.Load().after(out, m.check, began, ended)
	status.Store(&next)
	if !changed || m.onChange == nil {
		return
	}
	select {
	case m.notify <- struct{}{}:
		defer func() { <-m.notify }()
	case <-ctx.Done():
		return // the owner has ended this: it waits for no more news
	}
	m.onChange(Event{
		Target: next.Target,
		Up:     next.Up(),
		Reason: out.reason,
		Count:  max(next.Successes, next.Failures),
		At:     ended,
	})
}

// after is the status after one more probe.
func (s Status) after(out outcome, c Check, began, ended time.Time) (next Status, changed bool) {
	next = s
	next.State, changed = s.Observe(out.ok, c.Rise, c.Fall)
	if changed {
		next.Since = ended
	}
	next.LastProbe, next.Duration, next.Result = began, ended.Sub(began), out.reason
	next.Probes++
	if !out.ok {
		next.Failed++
	}
	return next, changed
}
