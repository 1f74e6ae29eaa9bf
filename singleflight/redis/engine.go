package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/ring"
)

// Engine is this instance's connection to what the fleet shares: one Redis or
// Valkey of at least version 7.0, in whatever form, or several that know
// nothing of each other. Its methods may be called by many goroutines at once.
type Engine struct {
	o      Options
	id     string // of this instance, at random
	nodes  []*node
	placed *ring.Ring                // nil where there is one node
	live   atomic.Pointer[ring.Ring] // placed without the nodes out of use
	n      counters
	moving sync.Mutex // held while live is made anew

	private  atomic.Int64 // Options.PrivateMemory at the moment
	tokens   atomic.Uint64
	buffered atomic.Int64
	leads    atomic.Int64
	follows  atomic.Int64

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open begins to connect and returns at once: where the engine is away it goes
// on trying in the background, and until then Lead fills without it. The
// engine must be closed. Options are checked, all faults being reported.
func Open(o Options) (*Engine, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	places := [][]string{o.Addresses}
	if o.Mode == Standalone {
		places = places[:0]
		for _, a := range o.Addresses {
			places = append(places, []string{a})
		}
	}
	return open(o, places, func(at []string) (backend, error) { return dial(&o, at) })
}

// SetPrivateMemory changes Options.PrivateMemory, above 0, for what is found out
// from now on.
func (e *Engine) SetPrivateMemory(d time.Duration) { e.private.Store(int64(d)) }

func (e *Engine) privateMemory() time.Duration { return time.Duration(e.private.Load()) }

func open(o Options, places [][]string, dial func([]string) (backend, error)) (*Engine, error) {
	e := &Engine{o: o, id: strings.ToLower(rand.Text()[:16])}
	e.SetPrivateMemory(o.PrivateMemory)
	members := make([]ring.Member, len(places))
	for i, at := range places {
		name := strings.Join(at, ",")
		members[i] = ring.Member{ID: name, Weight: 1}
		e.nodes = append(e.nodes, newNode(e, name, func() (backend, error) { return dial(at) }))
	}
	e.resume(o.Resume)
	placed, err := ring.New(members)
	if err != nil {
		return nil, fmt.Errorf("redis: addresses: %w", err)
	}
	e.placed = placed
	e.rebalance()
	var ctx context.Context
	ctx, e.stop = context.WithCancel(context.Background())
	for _, n := range e.nodes {
		e.running.Go(func() { n.run(ctx) })
	}
	return e, nil
}

// Close gives up the connections, when all Lockers of the engine are closed.
// It waits for what runs in the background, at most for connections that are
// being made.
func (e *Engine) Close() {
	e.stop()
	e.running.Wait()
}

// rebalance places keys on the nodes in use.
func (e *Engine) rebalance() {
	e.moving.Lock()
	defer e.moving.Unlock()
	factors := make([]float64, len(e.nodes))
	for i, n := range e.nodes {
		if n.link.Load() != nil {
			factors[i] = 1
		}
	}
	e.live.Store(e.placed.WithFactors(factors))
}

// node gives the node that a key's name is placed on at the moment, or nil
// where none is in use.
func (e *Engine) node(name string) *node {
	w := e.live.Load().Walk(xxhash.Sum64String(name))
	if i, ok := w.Next(); ok {
		return e.nodes[i]
	}
	return nil
}

// logKey is the name of a key's log, with a hash tag: what belongs to one name
// lies in one slot. It does not grow with the key, and two keys have one name
// only where SHA-256 collides.
func (e *Engine) logKey(key Key) string {
	log := e.o.Prefix + formatVersion + "{" + digest(key.Name) + "}"
	if key.Variant != "" {
		log += digest(key.Variant)
	}
	return log
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:21])
}

// token is never given twice in the fleet.
func (e *Engine) token() string { return e.id + "-" + number(e.tokens.Add(1)) }

const (
	// leastRead and mostRead bound what one read asks for, in bytes.
	leastRead = 64 << 10
	mostRead  = 8 << 20
)

// reserve counts bytes as being on their way: as many as wanted, or fewer near
// the limit, or, past it, none.
func (e *Engine) reserve(want int64) (got int64) {
	for want >= leastRead {
		if e.buffered.Add(want) <= e.o.MaxBuffered {
			return want
		}
		e.buffered.Add(-want)
		want /= 2
	}
	e.n.overloads.Add(1)
	return 0
}

func (e *Engine) release(n int64) { e.buffered.Add(-n) }
