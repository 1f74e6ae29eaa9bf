// Package upstream carries one request to a pool of servers and survives the
// failures on the way. A pool keeps up with the names, the health and the load
// of its servers, places each request on one of them, keeps connections alive,
// and moves on along the request's walk where that is safe.
package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/health"
	"ringfence/proxy/upstream/discover"
	"ringfence/proxy/wire"
)

// Options describe a pool. A field whose zero value means something says so; the
// others are required.
type Options struct {
	Name    string
	Balance Balance
	// BalanceFactor bounds the load of a member, where requests are placed by
	// their keys: 1 + BalanceFactor times its share of what is in flight. 0: no
	// bound.
	BalanceFactor float64
	// Discover says what the servers are. OnChange and OnError are the pool's.
	Discover discover.Options
	// TLS is how servers are spoken to; nil: in plain text.
	TLS *TLSOptions
	// ProxyProtocol is the version of the PROXY header that connections begin
	// with, before TLS; the zero value is none. A connection serves only requests
	// that tell the same in [Request].Client: those of one connection of a client,
	// or all that tell of none. Checks tell of none; on a port of their own they
	// send no header, as there it would be for another listener.
	ProxyProtocol wire.ProxyVersion
	// Check is the active health check, nil for none; Ejection is the passive
	// one, the zero value being none; see [health.Options] for these and for
	// SlowStart.
	Check     *health.Check
	Ejection  health.Ejection
	SlowStart time.Duration
	// FailureStatuses are the answers that count as failures of a server.
	FailureStatuses []int
	// PanicPercent is the percentage of members fit below which health is
	// disregarded; with 0 it is only where none is.
	PanicPercent int
	// Retry says what is sent again.
	Retry Retry
	// HedgePercentile, from 1 to 99, sends a GET that has waited longer than
	// this percentile of the latest answers to a second member, too, even where
	// Retry.Attempts is 1. It is told of no interim responses: the one answer may
	// be another server's. 0: never.
	HedgePercentile int
	// Concurrency bounds the requests in flight to all servers by a limit that
	// is learnt from their latency; nil: there is none.
	Concurrency *health.Limits
	// ConnectTimeout bounds the opening of a connection.
	ConnectTimeout time.Duration
	// ResponseTimeout bounds the wait from the end of a request to the head of
	// its response.
	ResponseTimeout time.Duration
	// ReadTimeout and WriteTimeout bound the silence between two reads of a
	// response body and between two writes of a request body. They may end it
	// an eighth early.
	ReadTimeout, WriteTimeout time.Duration
	// MaxHeadSize bounds a response head in bytes, each interim one as well; a
	// larger one is a failure, [HeadTooLarge]. It is also the size of the read
	// buffer of a response under way. At least 256.
	MaxHeadSize int
	// IdleTimeout is how long an unused connection is kept, and MaxIdle how many
	// of them each server has at most.
	IdleTimeout time.Duration
	MaxIdle     int
	// MaxConnections bounds the connections to each server, and MaxRequests the
	// requests to one that has no bound of its own.
	MaxConnections, MaxRequests int
	// QueueSize bounds the requests that wait for a server which has all that it
	// may have, and QueueTimeout the wait of each. With a QueueSize of 0 none
	// waits.
	QueueSize    int
	QueueTimeout time.Duration
	// Log is told when a member's standing changes, and when a name cannot be
	// looked up. Default: nothing is logged.
	Log *slog.Logger
}

// Pool is a set of servers that answer for one another. Its methods may be
// called concurrently.
type Pool struct {
	log   *slog.Logger
	group *health.Group
	turns turns

	set atomic.Pointer[set]
	mu  sync.Mutex // held while set is replaced

	changing sync.Mutex // held while the members or the plan change
	plan     *plan
	names    *discover.Discovery

	counts counts

	stop    context.CancelFunc
	running sync.WaitGroup
}

// counts are the pool's own, beside those of its servers.
type counts struct {
	panics, retried, hedged, spread, shed atomic.Uint64
}

// New builds a pool that does nothing yet: no goroutine, no connection.
func New(o Options) (*Pool, error) {
	p, err := build(o)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
	}
	return p, nil
}

func build(o Options) (p *Pool, err error) {
	p = &Pool{log: o.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.log = p.log.With("upstream", o.Name)
	if p.plan, err = newPlan(o); err != nil {
		return nil, err
	}
	if p.names, err = p.discover(o.Discover); err != nil {
		return nil, err
	}
	return p, p.begin()
}

// discover finds out what the pool's servers are, once it is started.
func (p *Pool) discover(o discover.Options) (d *discover.Discovery, err error) {
	o.OnChange = func(servers []discover.Server) { p.update(d, servers) }
	o.OnError = func(err error) { p.log.Warn("servers are not up to date", "error", err) }
	d, err = discover.New(o)
	return d, err
}

// begin builds the first set.
func (p *Pool) begin() (err error) {
	members := p.membersOf(p.names.Servers())
	rules := p.plan.health()
	rules.OnChange, rules.OnEvent = p.adopt, p.report
	if p.group, err = health.NewGroup(rules, targetsOf(members)); err != nil {
		return err
	}
	s, err := newSet(p.plan, members)
	if err != nil {
		return err
	}
	states := p.group.Shares()
	s.bind(states)
	p.set.Store(s.with(states))
	return nil
}

func targetsOf(members []member) []health.Target {
	targets := make([]health.Target, len(members))
	for i, m := range members {
		targets[i] = health.Target{ID: m.id, Address: m.address, Host: m.options.name, Drained: m.weight == 0}
	}
	return targets
}

// membersOf gives the members that servers stand for. A server that was there
// before, with the same address and bounds, keeps its connections and counts.
func (p *Pool) membersOf(servers []discover.Server) []member {
	old := make(map[string]*server)
	if s := p.set.Load(); s != nil {
		for _, m := range s.members {
			old[m.id] = m.server
		}
	}
	members := make([]member, len(servers))
	for i, d := range servers {
		o := p.plan.server
		o.id, o.address, o.name = d.ID, d.Address, d.Host
		if d.MaxRequests > 0 {
			o.maxRequests = d.MaxRequests
		}
		s := old[d.ID]
		if s == nil || !s.is(o) {
			s = newServer(o)
		}
		members[i] = member{server: s, weight: d.Weight, backup: d.Backup}
	}
	return members
}

// update replaces the members by those that names has found, as long as it is
// names that counts.
func (p *Pool) update(names *discover.Discovery, servers []discover.Server) {
	p.changing.Lock()
	defer p.changing.Unlock()
	if names != p.names {
		return
	}
	if err := p.replace(servers); err != nil {
		p.log.Warn("the servers found cannot be used, those of before stay", "error", err)
	}
}

// replace replaces the members. Requests in flight on those that go end there. It
// is called with changing held.
func (p *Pool) replace(servers []discover.Server) error {
	members := p.membersOf(servers)
	s, err := newSet(p.plan, members)
	if err != nil {
		return err
	}
	if err := p.group.Set(targetsOf(members)); err != nil {
		return err
	}
	p.mu.Lock()
	was := p.set.Load()
	states := p.group.Shares()
	s.bind(states)
	p.install(s.with(states))
	p.mu.Unlock()
	for _, m := range was.members {
		if !slices.ContainsFunc(members, func(n member) bool { return n.server == m.server }) {
			p.log.Info("server gone", "server", m.id)
			m.close()
		}
	}
	p.log.Info("servers changed", "servers", len(members))
	return nil
}

// adopt takes over what health says of the members.
func (p *Pool) adopt(states []health.Share) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.set.Load()
	if len(states) != len(s.members) {
		return // of a set that comes, or has gone
	}
	for i, m := range s.members {
		if states[i].Member != m.health.Load() {
			return
		}
	}
	p.install(s.with(states))
}

// install puts next in place. It is called with mu held. What servers know comes
// first: no request of next may be abandoned for what was so before.
func (p *Pool) install(next *set) {
	for i, m := range next.members {
		m.setDown(next.states[i].Standing == health.Down && !next.panics)
	}
	was := p.set.Swap(next)
	if next.panics && !was.panics {
		p.log.Error("too few servers are fit: health is disregarded")
	}
	if was.panics && !next.panics {
		p.log.Info("enough servers are fit: health counts again")
	}
}

// bind lets the members' servers report to health.
func (s *set) bind(states []health.Share) {
	for i, m := range s.members {
		m.health.Store(states[i].Member)
	}
}

// report logs a change of one member, and counts it where it is an ejection.
func (p *Pool) report(e health.Event) {
	for _, m := range p.set.Load().members {
		switch {
		case m.id != e.Target.ID:
		case e.Is == health.Ejected:
			m.ejected.Add(1)
		case e.Is == health.Down:
			m.downed.Add(1)
		}
	}
	log := p.log.With("server", e.Target.ID, "is", e.Is.String(), "was", e.Was.String(), "reason", e.Reason)
	switch e.Is {
	case health.Live, health.Unchecked:
		log.Info("server restored")
	case health.Drained:
		log.Info("server drained")
	case health.Ejected:
		log.Warn("server ejected", "ejections", e.Ejections, "until", e.Until.Format(time.RFC3339))
	case health.Down:
		log.Warn("server ejected")
	}
}

// Start begins to look names up, to check health and to close idle connections.
// It is called at most once, and before Close.
func (p *Pool) Start() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.group.Start(ctx)
	p.discovery().Start(ctx)
	p.running.Go(func() { p.reap(ctx) })
}

// discovery is what finds out the servers at the moment.
func (p *Pool) discovery() *discover.Discovery {
	p.changing.Lock()
	defer p.changing.Unlock()
	return p.names
}

// First waits until each name was looked up once and, where checks is set, each
// server was checked once. The error says that ctx has ended before.
func (p *Pool) First(ctx context.Context, checks bool) error {
	p.discovery().First(ctx)
	if !checks {
		return ctx.Err()
	}
	return p.group.First(ctx)
}

// Close ends what Start began, waits for it, and closes the idle connections;
// requests in flight go on and close theirs as they end. It may be called more
// than once.
func (p *Pool) Close() {
	if p.stop != nil {
		p.stop()
	}
	p.discovery().Close()
	p.group.Close()
	p.running.Wait()
	for _, m := range p.set.Load().members {
		m.close()
	}
}

// Drain keeps new requests away from a server, or no longer does; requests in
// flight end. It says whether there is such a server.
func (p *Pool) Drain(id string, on bool) bool { return p.group.Drain(id, on) }

// maxReapPause bounds how late a shorter idle timeout is noticed.
const maxReapPause = 5 * time.Second

// reap closes connections that were idle for too long.
func (p *Pool) reap(ctx context.Context) {
	pause := func() time.Duration {
		return max(min(p.set.Load().plan.o.IdleTimeout/4, maxReapPause), time.Millisecond)
	}
	timer := time.NewTimer(pause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			for _, m := range p.set.Load().members {
				m.reap(now)
			}
			timer.Reset(pause())
		}
	}
}
