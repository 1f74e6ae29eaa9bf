package upstream

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// gate bounds the requests that are inside a server. The ones beyond wait in
// the order in which they came, in a queue that is bounded in length and in
// time. A place that gets free goes straight to the first of the queue, so that
// nobody overtakes it and no other is woken.
type gate struct {
	limit   uint32        // requests inside, at least 1
	size    uint32        // requests that wait; 0: none
	timeout time.Duration // of one wait

	// state is how many are inside, and from waiting up how many wait. Somebody
	// waits only while the inside is full, so that entering and leaving take one
	// atomic operation as long as nobody does. The upper half changes under mu.
	state atomic.Uint64

	mu    sync.Mutex
	queue list.List // of chan struct{}, closed where the place is theirs

	waited atomic.Uint64 // requests that went into the queue
	full   atomic.Uint64 // requests that found it full
	late   atomic.Uint64 // requests that waited for the timeout, in vain
}

// waiting is one request in the upper half of a gate's state.
const waiting = 1 << 32

// Why a gate does not let a request in.
var (
	errQueueFull = errors.New("as many requests as it may have, and the queue is full")
	errQueueLate = errors.New("as many requests as it may have, and none left in time")
)

// inFlight returns how many requests are inside.
func (g *gate) inFlight() int { return int(g.state.Load() % waiting) }

// queued returns how many requests wait.
func (g *gate) queued() int { return int(g.state.Load() / waiting) }

// hasRoom reports whether tryEnter would go in at this moment.
func (g *gate) hasRoom() bool { return uint32(g.state.Load()) < g.limit }

// tryEnter goes in where there is room, and does not wait.
func (g *gate) tryEnter() bool {
	for {
		s := g.state.Load()
		if uint32(s) >= g.limit {
			return false
		}
		if g.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// enter goes in, and waits for it where it has to. Its error is errQueueFull,
// errQueueLate or the context's cause; who got none must leave.
func (g *gate) enter(ctx context.Context) error {
	if g.tryEnter() {
		return nil
	}
	turn, err := g.enqueue()
	if turn == nil {
		return err
	}
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	select {
	case <-turn.Value.(chan struct{}):
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = errQueueLate
	}
	if !g.giveUp(turn) {
		return nil
	}
	if errors.Is(err, errQueueLate) {
		g.late.Add(1)
	}
	return err
}

// enqueue returns a place in the queue, or nil where it is full or, without an
// error, where there is room inside by now, which is then taken.
func (g *gate) enqueue() (*list.Element, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		s := g.state.Load()
		switch {
		case uint32(s) < g.limit:
			if g.state.CompareAndSwap(s, s+1) {
				return nil, nil
			}
		case s/waiting >= uint64(g.size):
			g.full.Add(1)
			return nil, errQueueFull
		case g.state.CompareAndSwap(s, s+waiting):
			g.waited.Add(1)
			return g.queue.PushBack(make(chan struct{})), nil
		}
	}
}

// giveUp takes turn off the queue. It is false where its place inside came at
// that very moment.
func (g *gate) giveUp(turn *list.Element) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-turn.Value.(chan struct{}):
		return false
	default:
	}
	g.queue.Remove(turn)
	g.state.Add(^uint64(waiting - 1))
	return true
}

// leave frees a place inside: for the first of the queue, where somebody waits.
func (g *gate) leave() {
	for {
		s := g.state.Load()
		if s >= waiting {
			if g.handOver() {
				return
			}
		} else if g.state.CompareAndSwap(s, s-1) {
			return
		}
	}
}

// handOver gives the caller's place to the first of the queue. It is false
// where the last of them has given up.
func (g *gate) handOver() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.queue.Front()
	if first == nil {
		return false
	}
	close(g.queue.Remove(first).(chan struct{}))
	g.state.Add(^uint64(waiting - 1))
	return true
}
