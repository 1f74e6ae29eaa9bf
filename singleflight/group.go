package singleflight

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shardCount = 64
	// closeGrace is how long Close waits for fills it has cancelled.
	closeGrace = 5 * time.Second
)

// Group is a table of flights, at most one per key. All its methods may be
// called by many goroutines at once. A Group must be closed, for its fills run
// in goroutines it owns.
type Group[H any] struct {
	o        atomic.Pointer[Options[H]] // of the flights that begin
	seed     maphash.Seed
	pools    [chunkSizes]sync.Pool // of *chunk, firstChunk and its doubles up to chunkSize
	flights  atomic.Int64
	buffered atomic.Int64
	closed   atomic.Bool
	idle     chan struct{} // closed when closed and without flights
	idleOnce sync.Once
	shards   [shardCount]shard[H]
}

// shard is a part of the table, chosen by the key's hash. A shard's lock is
// taken inside a flight's, never the other way round.
type shard[H any] struct {
	mu       sync.Mutex
	flights  map[string]*flight[H]
	failures failures
	// ctx is the parent of the shard's fills; one for the group would make
	// every lead on every core take its lock.
	ctx    context.Context
	cancel context.CancelCauseFunc
	n      counters
	_      [64]byte
}

// New makes a Group. It starts nothing.
func New[H any](o Options[H]) *Group[H] {
	g := &Group[H]{seed: maphash.MakeSeed(), idle: make(chan struct{})}
	o = o.withDefaults()
	g.o.Store(&o)
	for i := range g.shards {
		s := &g.shards[i]
		s.flights = make(map[string]*flight[H])
		s.failures = newFailures(o.FailureMemory, (o.MaxFailures+shardCount-1)/shardCount)
		s.ctx, s.cancel = context.WithCancelCause(context.Background())
	}
	return g
}

// Reconfigure has the flights that begin from now on go by other options, of
// which FailureMemory and MaxFailures do not count; those under way keep what they
// began with. It does not wait.
func (g *Group[H]) Reconfigure(o Options[H]) {
	o = o.withDefaults()
	g.o.Store(&o)
}

// Join gives a reader of key's flight, which the caller must Close. Where
// there is no flight it starts one with fill; else fill is kept for an
// election should the leader's fail. key need not outlive the call.
//
// Errors: ErrTooManyReaders, ErrTooManyFlights, ErrClosed (a closed group
// starts no flight; one under way may still be joined), or the failure of the
// key's flight a moment ago, wrapped. It never blocks.
func (g *Group[H]) Join(key string, fill Fill[H]) (*Reader[H], error) {
	s := &g.shards[maphash.String(g.seed, key)%shardCount]
	for {
		s.mu.Lock()
		f := s.flights[key]
		if f == nil {
			r, err := g.lead(s, key, fill)
			s.mu.Unlock()
			return r, err
		}
		s.mu.Unlock()
		// A flight that is gone has left the table before it said so: the next
		// look finds another or none.
		if r, err := f.follow(fill); !errors.Is(err, errGone) {
			return r, err
		}
	}
}

// lead starts a flight. The shard's lock is held.
func (g *Group[H]) lead(s *shard[H], key string, fill Fill[H]) (*Reader[H], error) {
	if err := s.failures.of(key, time.Now); err != nil {
		s.n.remembered.Add(1)
		return nil, err
	}
	if err := g.admit(s); err != nil {
		return nil, err
	}
	s.n.leads.Add(1)
	f := newFlight(g, s, strings.Clone(key))
	r := f.attach(nil)
	f.leader = r
	s.flights[f.key] = f
	go f.run(fill)
	return r, nil
}

// admit counts a flight in, or refuses it. It counts before it looks at
// closed, and Close the other way round, so one of them sees the other.
func (g *Group[H]) admit(s *shard[H]) error {
	n := g.flights.Add(1)
	switch {
	case g.closed.Load():
		g.retire()
		return ErrClosed
	case n > int64(g.o.Load().MaxFlights):
		g.retire()
		s.n.refusedFlights.Add(1)
		return ErrTooManyFlights
	}
	return nil
}

func (g *Group[H]) retire() {
	if g.flights.Add(-1) == 0 && g.closed.Load() {
		g.idleOnce.Do(func() { close(g.idle) })
	}
}

// Close lets no new flight start and waits for the fills in progress. When ctx
// ends it cancels them, waits up to 5 s more for them to heed it, and returns
// ctx's cause, wrapped. Readers are not waited for. It may be called again.
func (g *Group[H]) Close(ctx context.Context) error {
	g.closed.Store(true)
	if g.flights.Load() == 0 {
		g.idleOnce.Do(func() { close(g.idle) })
	}
	select {
	case <-g.idle:
		return nil
	default:
	}
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
	}
	for i := range g.shards {
		g.shards[i].cancel(ErrClosed)
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-g.idle:
		return fmt.Errorf("singleflight: fills cancelled by Close: %w", context.Cause(ctx))
	case <-grace.C:
		return fmt.Errorf("singleflight: %d fills did not heed their cancelling: %w", g.flights.Load(), context.Cause(ctx))
	}
}

// Stats adds the counters up.
func (g *Group[H]) Stats() Stats {
	s := Stats{Flights: g.flights.Load(), Buffered: g.buffered.Load()}
	for i := range g.shards {
		s.add(&g.shards[i].n)
	}
	return s
}

// reserve counts n bytes as buffered if they are within MaxBuffered.
func (g *Group[H]) reserve(n int) bool {
	if g.buffered.Add(int64(n)) <= g.o.Load().MaxBuffered {
		return true
	}
	g.buffered.Add(-int64(n))
	return false
}

// newChunk gives a chunk of n bytes, which the caller has counted.
func (g *Group[H]) newChunk(n int) *chunk {
	p := g.pool(n)
	if p == nil {
		return &chunk{buf: make([]byte, 0, n)}
	}
	if c, ok := p.Get().(*chunk); ok {
		return c
	}
	return &chunk{buf: make([]byte, 0, n), pooled: true}
}

// pool is where chunks of n bytes are kept, nil for other sizes than a log grows
// by.
func (g *Group[H]) pool(n int) *sync.Pool {
	if n < firstChunk || n > chunkSize || n&(n-1) != 0 {
		return nil
	}
	return &g.pools[bits.TrailingZeros(uint(n/firstChunk))]
}

// freeChunk takes back a chunk no reader has a slice of, or marked as not
// pooled.
func (g *Group[H]) freeChunk(c *chunk) {
	g.buffered.Add(-int64(cap(c.buf)))
	if c.pooled {
		*c = chunk{buf: c.buf[:0], pooled: true}
		g.pool(cap(c.buf)).Put(c)
	}
}
