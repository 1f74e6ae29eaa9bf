package redis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// lease is the right to write a key's log, as long as the engine sees it that
// way.
type lease struct {
	n       *node
	key     string // of the log
	id      string // of its first entry
	token   string
	attempt int
	took    time.Time

	renewed atomic.Int64 // nanoseconds after took when the engine last lengthened it
	lost    atomic.Bool
}

// leaseKey is where the context of a fill has the lease that the fill is under.
type leaseKey struct{}

// Holds reports whether what a fill has brought may be kept, ctx being what the
// fill was called with: it is under no lease, or under one that no other
// instance can have taken since. Where the engine is away nobody can take it. A
// fill that stood still past its lease must not put what it has in the place of
// what came later.
func Holds(ctx context.Context) bool {
	l, ok := ctx.Value(leaseKey{}).(*lease)
	if !ok {
		return true
	}
	left := l.n.e.o.LeaseTTL - (time.Since(l.took) - time.Duration(l.renewed.Load()))
	return !l.lost.Load() && (left > 0 || l.n.link.Load() == nil)
}

// leases are those of one node that are to be renewed.
type leases struct {
	mu   sync.Mutex
	held map[*lease]struct{}
}

func (n *node) hold(l *lease) {
	n.leases.mu.Lock()
	defer n.leases.mu.Unlock()
	n.leases.held[l] = struct{}{}
}

func (n *node) letGo(l *lease) {
	n.leases.mu.Lock()
	defer n.leases.mu.Unlock()
	delete(n.leases.held, l)
}

// due takes the leases that have not been renewed for a third of their time. A
// log that is written to is renewed by that.
func (n *node) due() (due []*lease) {
	n.leases.mu.Lock()
	defer n.leases.mu.Unlock()
	for l := range n.leases.held {
		if time.Since(l.took)-time.Duration(l.renewed.Load()) >= n.e.o.LeaseTTL/3 && !l.lost.Load() {
			due = append(due, l)
		}
	}
	return due
}

// renew keeps the node's leases until ctx ends. One call renews many, but in a
// cluster, where their logs lie in different slots.
func (n *node) renew(ctx context.Context) {
	batch := 128
	if n.e.o.Mode == Cluster {
		batch = 1
	}
	tick := time.NewTicker(n.e.o.LeaseTTL / 9)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := n.due(); len(due) > 0; {
			k := min(batch, len(due))
			if err := n.renewAll(ctx, due[:k]); err != nil {
				break // the next tick tries again
			}
			due = due[k:]
		}
	}
}

func (n *node) renewAll(ctx context.Context, due []*lease) error {
	keys, args := make([]string, len(due)), append(make([]string, 0, 1+2*len(due)), millis(n.e.o.LeaseTTL))
	for i, l := range due {
		keys[i] = l.key
		args = append(args, l.id, l.token)
	}
	l := n.link.Load()
	if l == nil {
		return errDown
	}
	asked := time.Now()
	// It waits for no turn: a crowd of new fills must not cost those under way
	// their leases.
	v, err := n.ask(ctx, l, 0, scriptRenew, keys, args)
	if err != nil {
		return err
	}
	for i, l := range due {
		if v.at(i).n == 1 {
			l.renewed.Store(int64(asked.Sub(l.took)))
		} else {
			l.lose()
		}
	}
	return nil
}

// lose notes, once, that the lease is another's or nobody's. A lease whose log
// was ended in the meantime is not lost.
func (l *lease) lose() {
	l.n.leases.mu.Lock()
	_, held := l.n.leases.held[l]
	l.n.leases.mu.Unlock()
	if held && !l.lost.Swap(true) {
		l.n.e.n.lost.Add(1)
	}
}

// entry is what is to be appended to a log.
type entry struct {
	kind  kind
	value string
}

// append writes entries, the first as number seq, and gives the log ttl to
// live. It says false where the lease was lost: then nothing is written.
func (l *lease) append(ctx context.Context, seq uint64, ttl time.Duration, entries ...entry) (bool, error) {
	args, bytes := append(make([]string, 0, 4+2*len(entries)), l.id, l.token, millis(ttl), number(seq)), 0
	for _, e := range entries {
		args = append(args, string(rune(e.kind)), e.value)
		bytes += len(e.value)
	}
	var v value
	var err error
	asked := time.Now()
	for range fall { // as many as take the node out of use
		asked = time.Now()
		v, err = l.n.eval(ctx, int64(bytes), scriptAppend, []string{l.key}, args)
		if !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	if err != nil {
		return false, err
	}
	if v.n != 1 {
		l.n.e.n.fenced.Add(1)
		l.lose()
		return false, nil
	}
	l.n.e.n.written.Add(int64(bytes))
	l.renewed.Store(int64(asked.Sub(l.took)))
	return true, nil
}

// drop gives the lease up with all that was written, so that another may lead
// at once. Where the engine does not hear it, the lease runs out.
func (l *lease) drop(ctx context.Context) {
	_, _ = l.n.eval(ctx, 0, scriptDrop, []string{l.key}, []string{l.id, l.token}) // counted by the node
}
