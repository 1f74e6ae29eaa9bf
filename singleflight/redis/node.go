package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/health"
)

const (
	// maxCalls is how many calls of one node may be under way: what a healthy
	// engine answers well within a timeout.
	maxCalls = 256
	// patience is how many timeouts a call may wait for its turn. A node that
	// goes out of use ends the wait at once.
	patience = 10
	// fall is how many failures in a row take a node out of use.
	fall = 3
	// probeEvery is how often a node that is out of use is asked.
	probeEvery = 250 * time.Millisecond
	// beatEvery is how often a node in use is told that this instance lives,
	// and instanceTTL how long it takes its word.
	beatEvery   = time.Second
	instanceTTL = 3 * time.Second
)

var (
	errDown       = errors.New("redis: the node is out of use")
	errOverloaded = errors.New("redis: too many calls wait for the node")
)

// node is one engine, which knows nothing of the others.
type node struct {
	e       *Engine
	name    string
	connect func() (backend, error)

	calls   chan struct{}        // holds one token per call under way
	link    atomic.Pointer[link] // nil while out of use
	poked   chan struct{}        // asks the node's goroutine to look again
	line    line
	leases  leases
	watches watches

	mu    sync.Mutex
	state health.State
	cause error // why it is out of use
}

// link is a node in use, until down is closed.
type link struct {
	backend
	down chan struct{}
}

func newNode(e *Engine, name string, connect func() (backend, error)) *node {
	n := &node{
		e: e, name: name, connect: connect,
		calls: make(chan struct{}, maxCalls),
		poked: make(chan struct{}, 1),
		state: health.State{Down: true},
		cause: errors.New("redis: not connected yet"),
	}
	n.line = newLine(e.o.Prefix, e.o.Tier)
	n.leases.held = make(map[*lease]struct{})
	n.watches.topics = make(map[string]*topic)
	return n
}

// eval calls a script, waiting for its turn at most patience timeouts and for
// the answer one timeout, and more where bytes have to be moved.
func (n *node) eval(ctx context.Context, bytes int64, s script, keys, args []string) (value, error) {
	l := n.link.Load()
	if l == nil {
		return value{}, errDown
	}
	if err := n.enter(ctx, l); err != nil {
		return value{}, err
	}
	defer func() { <-n.calls }()
	return n.ask(ctx, l, bytes, s, keys, args)
}

func (n *node) enter(ctx context.Context, l *link) error {
	select {
	case n.calls <- struct{}{}:
		return nil
	default:
	}
	late := time.NewTimer(patience * n.e.o.Timeout)
	defer late.Stop()
	select {
	case n.calls <- struct{}{}:
		return nil
	case <-l.down:
		return errDown
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		n.e.n.overloads.Add(1)
		return errOverloaded
	}
}

// ask calls a script and learns from the result how the node is.
func (n *node) ask(ctx context.Context, l *link, bytes int64, s script, keys, args []string) (value, error) {
	bounded, cancel := context.WithTimeout(ctx, n.e.o.Timeout+time.Duration(bytes>>15)*time.Millisecond)
	defer cancel()
	v, err := l.eval(bounded, s, keys, args)
	switch {
	case err == nil:
		n.observe(l, nil)
		return v, nil
	case ctx.Err() != nil:
		return value{}, context.Cause(ctx) // says nothing of the node
	}
	n.e.n.errors.Add(1)
	err = fmt.Errorf("redis: node %s: %w", n.name, err)
	if isFull(err) {
		n.observe(l, nil)
	} else {
		n.observe(l, err)
	}
	return value{}, err
}

// observe counts a call's result, and takes the node out of use after some
// failures in a row. Results of calls that began before that count for nothing.
func (n *node) observe(l *link, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link.Load() != l || err == nil && n.state.Failures == 0 {
		return
	}
	var changed bool
	if n.state, changed = n.state.Observe(err == nil, 1, fall); !changed {
		return
	}
	n.cause = err
	n.link.Store(nil)
	close(l.down)
	n.e.rebalance()
	n.poke()
}

// admit takes a node that has answered into use.
func (n *node) admit(b backend) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state, _ = n.state.Observe(true, 1, fall)
	n.cause = nil
	n.link.Store(&link{b, make(chan struct{})})
	n.e.rebalance()
}

func (n *node) poke() {
	select {
	case n.poked <- struct{}{}:
	default:
	}
}

// run connects, and then keeps the node's line of invalidations and its state
// up to date, until ctx ends.
func (n *node) run(ctx context.Context) {
	b := n.dial(ctx)
	if b == nil {
		return
	}
	defer b.close()
	var others sync.WaitGroup
	others.Go(func() { n.renew(ctx) })
	others.Go(func() { n.hear(ctx, b) })
	defer others.Wait()
	defer n.watches.close()

	idle := &link{b, make(chan struct{})} // to ask a node that is out of use
	for up := false; ctx.Err() == nil; {
		l := n.link.Load()
		asked := l
		if asked == nil {
			asked = idle
		}
		err := n.sync(ctx, asked)
		switch {
		case l != nil || ctx.Err() != nil:
		case err == nil:
			n.admit(b)
		default:
			n.notUsed(err)
		}
		if l = n.link.Load(); (l != nil) != up {
			up = !up
			n.tell(up)
		}
		next := beatEvery
		if l == nil || err != nil {
			next = probeEvery
		}
		n.rest(ctx, next)
	}
	_, _ = n.beat(context.WithoutCancel(ctx), idle, n.line.position(), 0) // else it counts as alive for a while
}

// dial connects, for as long as it takes. It gives nil when ctx ends.
func (n *node) dial(ctx context.Context) backend {
	for ctx.Err() == nil {
		b, err := n.connect()
		if err == nil {
			return b
		}
		n.e.n.errors.Add(1)
		n.notUsed(err)
		n.rest(ctx, probeEvery)
	}
	return nil
}

// notUsed notes why a node that was never in use is not, and tells of it once.
func (n *node) notUsed(err error) {
	n.mu.Lock()
	first := !n.state.Proven
	n.state.Proven, n.cause = true, err
	n.mu.Unlock()
	if first {
		n.tell(false)
	}
}

func (n *node) tell(up bool) {
	if n.e.o.OnNode == nil {
		return
	}
	n.mu.Lock()
	err := n.cause
	n.mu.Unlock()
	n.e.o.OnNode(n.name, up, err)
}

// rest waits, the time being jittered by a fifth.
func (n *node) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(jitter(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-n.poked:
	case <-t.C:
	}
}

func jitter(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(rand.Int64N(int64(d)*2/5+1))
}
