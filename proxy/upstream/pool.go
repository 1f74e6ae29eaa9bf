// Package upstream carries one request to a pool of servers and survives the
// failures on the way. A pool places each request on its ring, leaves out the
// members that health checks have ejected, keeps connections alive, and moves
// on along the ring's walk where that is safe.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/health"
	"ringfence/ring"
)

// Balance is the way in which keys are placed on members.
type Balance uint8

// The ways to balance.
const (
	// Hash places the caller's hash by weighted rejection hashing.
	Hash Balance = iota
	// Ketama places the request target as nginx's consistent hash does.
	Ketama
)

// Server is one member of a pool.
type Server struct {
	// ID is the member's identity on the ring and in logs and metrics.
	ID string
	// Address is its host:port.
	Address string
	// Weight is its share of the keys, 0 to 65535; with 0 it gets none.
	Weight int
}

// Options describe a pool. All of them are required, but for Check and Log.
type Options struct {
	Name    string
	Balance Balance
	Servers []Server
	// Check is the active health check, nil for none: then no member is ever
	// ejected.
	Check *health.Check
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
	// IdleTimeout is how long an unused connection is kept.
	IdleTimeout time.Duration
	// MaxConnections bounds the connections to each server.
	MaxConnections int
	// Attempts bounds how many members a request is tried on.
	Attempts int
	// Log is told when a member is ejected or restored. Default: nothing is
	// logged.
	Log *slog.Logger
}

// Pool is a set of servers that answer for one another. Its methods may be
// called concurrently.
type Pool struct {
	name     string
	balance  Balance
	attempts int
	limits   timeouts
	servers  []*server
	bufs     *buffers
	log      *slog.Logger

	all     *ring.Ring                // every member that has weight
	live    atomic.Pointer[ring.Ring] // all, without the ejected members
	monitor *health.Monitor           // nil without checks
	panics  atomic.Uint64             // requests sent although every member was ejected

	stop   context.CancelFunc
	reaper sync.WaitGroup
}

// minHead is the least that Options.MaxHeadSize may be.
const minHead = 256

// New builds a pool that does nothing yet: no goroutine, no connection.
func New(o Options) (*Pool, error) {
	if o.MaxHeadSize < minHead {
		return nil, fmt.Errorf("upstream %s: response heads of %d bytes are too small, at least %d are needed",
			o.Name, o.MaxHeadSize, minHead)
	}
	members := make([]ring.Member, len(o.Servers))
	for i, s := range o.Servers {
		members[i] = ring.Member{ID: s.ID, Weight: s.Weight}
	}
	build := ring.New
	if o.Balance == Ketama {
		build = ring.NewKetama
		for i, s := range o.Servers {
			members[i].ID = s.Address
		}
	}
	all, err := build(members)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
	}
	p := &Pool{
		name: o.Name, balance: o.Balance, attempts: o.Attempts, all: all, log: o.Log, bufs: newBuffers(o.MaxHeadSize),
		limits: timeouts{response: o.ResponseTimeout, read: o.ReadTimeout, write: o.WriteTimeout},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.live.Store(all)
	for _, s := range o.Servers {
		p.servers = append(p.servers, &server{
			id: s.ID, address: s.Address, maxConns: o.MaxConnections, idleTimeout: o.IdleTimeout,
			dialer: net.Dialer{Timeout: o.ConnectTimeout},
		})
	}
	if o.Check != nil {
		if err := p.watch(*o.Check); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
		}
	}
	return p, nil
}

// watch prepares the health checks.
func (p *Pool) watch(check health.Check) (err error) {
	targets := make([]health.Target, len(p.servers))
	place := make(map[string]int, len(p.servers))
	for i, s := range p.servers {
		targets[i] = health.Target{ID: s.id, Address: s.address}
		place[s.id] = i
	}
	factors := make([]float64, len(p.servers))
	for i := range factors {
		factors[i] = 1
	}
	p.monitor, err = health.New(health.Config{Check: check, Targets: targets, OnChange: func(e health.Event) {
		factors[place[e.Target.ID]] = 0
		if e.Up {
			factors[place[e.Target.ID]] = 1
		}
		p.live.Store(p.all.WithFactors(factors))
		p.report(e)
	}})
	return err
}

// report logs a change of one member, and that the last one is gone.
func (p *Pool) report(e health.Event) {
	log := p.log.With("upstream", p.name, "server", e.Target.ID)
	if e.Up {
		log.Info("server restored", "reason", e.Reason, "checks", e.Count)
		return
	}
	log.Warn("server ejected", "reason", e.Reason, "checks", e.Count)
	w := p.live.Load().Walk(0)
	if _, left := w.Next(); !left {
		log.Error("every server of the upstream is down: requests are sent to them all the same")
	}
}

// Start begins the health checks and the closing of idle connections. It is
// called at most once, and before Close.
func (p *Pool) Start() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	if p.monitor != nil {
		p.monitor.Start(ctx)
	}
	p.reaper.Go(func() { p.reap(ctx) })
}

// Close ends what Start began, waits for it, and closes the idle connections;
// requests in flight go on and close theirs as they end. It may be called more
// than once.
func (p *Pool) Close() {
	if p.stop != nil {
		p.stop()
	}
	if p.monitor != nil {
		p.monitor.Close()
	}
	p.reaper.Wait()
	for _, s := range p.servers {
		s.close()
	}
}

// reap closes connections that were idle for too long.
func (p *Pool) reap(ctx context.Context) {
	idle := p.servers[0].idleTimeout
	tick := time.NewTicker(max(idle/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, s := range p.servers {
				s.closeIdle(now.Add(-idle))
			}
		}
	}
}

// Do sends req to the member its key belongs to, and where that fails and it
// is safe, to the next members of the walk (at most Options.Attempts in all). It
// is safe where no byte of the request left, or where the connection ended
// before a response head, the method is idempotent and there is no body. The
// same rule gives a request that met a kept connection's end a new connection
// to the same member, which is not counted as an attempt. Where every member is
// ejected, health is disregarded. The error is an [*Error]. ctx ends the
// exchange, its body included.
func (p *Pool) Do(ctx context.Context, req *Request) (*Response, error) {
	place := req.Hash
	if p.balance == Ketama {
		place = p.all.Hash([]byte(req.Target))
	}
	walk := p.live.Load().Walk(place)
	m, ok := walk.Next()
	if !ok {
		p.panics.Add(1)
		walk = p.all.Walk(place)
		if m, ok = walk.Next(); !ok {
			return nil, &Error{Kind: Unavailable, Unsent: true, Err: errors.New("no server of " + p.name + " has any weight")}
		}
	}
	for n := 1; ; n++ {
		resp, err := p.try(ctx, p.servers[m], req)
		if err == nil {
			resp.Attempts = n
			return resp, nil
		}
		if n == p.attempts || !movable(req, err) {
			return nil, err
		}
		if m, ok = walk.Next(); !ok {
			return nil, err
		}
	}
}

// try sends req to one server, on a second connection where the first had been
// idle and turned out to be closed.
func (p *Pool) try(ctx context.Context, s *server, req *Request) (*Response, error) {
	resp, reused, err := start(ctx, s, p.bufs, p.limits, req, false)
	if err != nil && reused && movable(req, err) && isHangUp(err) {
		resp, _, err = start(ctx, s, p.bufs, p.limits, req, true)
	}
	return resp, err
}

// movable reports whether a request that failed with err may be sent again.
func movable(req *Request, err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Unsent && e.Kind != Canceled || e.Kind == Terminated && req.isRepeatable()
}
