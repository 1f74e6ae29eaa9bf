package redis

import (
	"context"
	"sync"
	"time"
)

// watches are the channels of one node that this instance listens to, one per
// followed log, all over the backend's one connection.
type watches struct {
	mu     sync.Mutex
	topics map[string]*topic
	closed bool
	all    sync.WaitGroup
}

// topic is a subscription, shared by all who watch the same log.
type topic struct {
	ctx      context.Context
	cancel   context.CancelFunc
	ready    chan struct{} // closed when the engine has confirmed
	once     sync.Once
	done     chan struct{} // closed when it has ended, for whatever reason
	watchers map[*watch]struct{}
}

// watch is one follower's ear.
type watch struct {
	n     *node
	key   string
	topic *topic
	wake  chan struct{}
}

// watch begins to listen for what is appended to a log. The caller must stop
// it. It blocks until the engine has confirmed, at most a timeout: who reads
// the log after that misses nothing.
func (n *node) watch(ctx context.Context, l *link, key string) *watch {
	w := &watch{n: n, key: key, wake: make(chan struct{}, 1)}
	n.watches.mu.Lock()
	t := n.watches.topics[key]
	if t == nil || t.ctx.Err() != nil {
		t = n.subscribe(ctx, l, key, t)
	}
	w.topic = t
	t.watchers[w] = struct{}{}
	n.watches.mu.Unlock()
	late := time.NewTimer(n.e.o.Timeout)
	defer late.Stop()
	select {
	case <-t.ready:
	case <-t.done:
	case <-ctx.Done():
	case <-late.C:
	}
	return w
}

// subscribe starts a topic, after the one before it has ended. The lock is
// held.
func (n *node) subscribe(ctx context.Context, l *link, key string, before *topic) *topic {
	t := &topic{ready: make(chan struct{}), done: make(chan struct{}), watchers: make(map[*watch]struct{})}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if n.watches.closed {
		close(t.done)
		return t
	}
	n.watches.topics[key] = t
	n.watches.all.Go(func() {
		defer close(t.done)
		defer n.forget(key, t)
		if before != nil {
			<-before.done
		}
		if t.ctx.Err() != nil || n.enter(t.ctx, l) != nil {
			return
		}
		entered := sync.OnceFunc(func() { <-n.calls })
		defer entered()
		_ = l.listen(t.ctx, key, func() { t.once.Do(func() { close(t.ready); entered() }) },
			func() { n.wakeAll(t) }) // lost: the watchers poll
	})
	return t
}

func (n *node) wakeAll(t *topic) {
	n.watches.mu.Lock()
	defer n.watches.mu.Unlock()
	for w := range t.watchers {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (n *node) forget(key string, t *topic) {
	n.watches.mu.Lock()
	defer n.watches.mu.Unlock()
	if n.watches.topics[key] == t {
		delete(n.watches.topics, key)
	}
	t.cancel()
}

// stop ends the watch, and with the last one of a log the subscription.
func (w *watch) stop() {
	w.n.watches.mu.Lock()
	defer w.n.watches.mu.Unlock()
	delete(w.topic.watchers, w)
	if len(w.topic.watchers) == 0 {
		w.topic.cancel()
	}
}

// over says that the subscription was lost.
func (w *watch) over() bool {
	select {
	case <-w.topic.done:
		return true
	default:
		return false
	}
}

// close ends all subscriptions and lets no new one begin.
func (ws *watches) close() {
	ws.mu.Lock()
	ws.closed = true
	for _, t := range ws.topics {
		t.cancel()
	}
	ws.mu.Unlock()
	ws.all.Wait()
}
