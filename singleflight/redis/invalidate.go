package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrNotConfirmed is what Invalidate returns where an instance that counts as
// alive has not confirmed in time.
var ErrNotConfirmed = errors.New("redis: not all instances have confirmed")

// Invalidate makes what carries one of the tags unusable in the whole fleet. It
// returns without an error when each live instance, this one too, has applied it
// to its Tier and confirmed, so that nobody asks for anything after that and is given what
// was filled before; not even from a fill that is under way. An instance that
// is cut off counts as alive for 3 s more, and applies what it missed before it
// uses the engine again, or, where neither this node nor another can tell it,
// drops all it has. For 3 s after the engine was
// first used, or has lost its data, it waits for instances that it does not
// know of.
//
// It tells how many instances are alive, as far as a node could be asked.
//
// It waits at most until ctx ends, and 5 s, and then returns ErrNotConfirmed.
// Where a node could not be told it says so, too; the others have been told.
// Nothing is sent again later: the caller may repeat it.
func (e *Engine) Invalidate(ctx context.Context, tags []string) (instances int, err error) {
	if len(tags) == 0 {
		return 0, nil
	}
	e.n.invalidations.Add(1)
	ctx, cancel := context.WithTimeout(ctx, instanceTTL+2*time.Second)
	defer cancel()
	live, faults := make([]int, len(e.nodes)), make([]error, len(e.nodes))
	var all sync.WaitGroup
	for i, n := range e.nodes {
		all.Go(func() { live[i], faults[i] = n.invalidate(ctx, tags) })
	}
	all.Wait()
	return slices.Max(live), errors.Join(faults...)
}

func (n *node) invalidate(ctx context.Context, tags []string) (live int, err error) {
	p := n.line.position()
	v, err := n.eval(ctx, 0, scriptBump, n.line.keys,
		[]string{number(lineLimit), number(newLineID()), packTags(tags), number(p.line), number(p.at)})
	if err != nil {
		return 0, fmt.Errorf("redis: invalidate: %w", err)
	}
	line, at := v.at(0).s, v.at(1).s
	n.poke()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		v, err := n.eval(ctx, 0, scriptLaggards, n.line.keys, []string{line, at, millis(instanceTTL)})
		if err == nil {
			if live = int(v.at(0).n); v.at(1).n == 0 {
				return live, nil
			}
			err = fmt.Errorf("%d of %d on node %s", v.at(1).n, live, n.name)
		}
		// A call that was too slow says nothing of the instances.
		t := time.NewTimer(wait)
		select {
		case <-t.C:
			if n.link.Load() != nil {
				continue
			}
		case <-ctx.Done():
			t.Stop()
		}
		return live, fmt.Errorf("redis: invalidate: %w: %w", ErrNotConfirmed, err)
	}
}
