package proxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
)

// restBuffer is what each direction of a tunnel reads into while little comes:
// most tunnels are silent most of the time.
const restBuffer = 2 << 10

var errTooManyTunnels = errors.New("as many tunnels as there may be")

// TunnelEnd is why a tunnel has ended.
type TunnelEnd uint8

// Why tunnels end.
const (
	// TunnelClosed: both sides had closed.
	TunnelClosed TunnelEnd = iota
	// TunnelBroken: a connection failed.
	TunnelBroken
	// TunnelIdle: nothing came from either side for Options.TunnelTimeout.
	TunnelIdle
	// TunnelDrained: the instance was stopped.
	TunnelDrained

	// TunnelEnds is how many there are.
	TunnelEnds
)

// String returns the end in one word, for metrics.
func (e TunnelEnd) String() string { return [...]string{"closed", "broken", "idle", "drained"}[e] }

// TunnelStats is a view of the tunnels at a moment.
type TunnelStats struct {
	// Open counts the tunnels that there are, Total those that there were as
	// well, and Ended those that have ended, by why.
	Open  int
	Total uint64
	Ended [TunnelEnds]uint64
	// Refused counts the requests beyond Options.MaxTunnels.
	Refused uint64
	// FromClients and FromServers count the bytes that went through.
	FromClients, FromServers uint64
}

// tunnels are those of a handler. Its methods may be called concurrently.
type tunnels struct {
	mu             sync.Mutex
	limit          int
	timeout, grace time.Duration
	taken          int            // places: of tunnels, and of requests for one
	places         sync.WaitGroup // the same
	open           map[*tunnel]struct{}
	timer          *time.Timer // of the grace; nil before drain
	over           bool        // it is
	counts         TunnelStats // but for Open and the bytes

	fromClients, fromServers atomic.Uint64
}

func newTunnels(limit int, timeout, grace time.Duration) *tunnels {
	return &tunnels{limit: limit, timeout: timeout, grace: grace, open: make(map[*tunnel]struct{})}
}

// reconfigure has other bounds hold for the tunnels to come, and another grace for
// all of them.
func (ts *tunnels) reconfigure(limit int, timeout, grace time.Duration) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.limit, ts.timeout, ts.grace = limit, timeout, grace
}

func (ts *tunnels) stats() TunnelStats {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	st := ts.counts
	st.Open, st.FromClients, st.FromServers = len(ts.open), ts.fromClients.Load(), ts.fromServers.Load()
	return st
}

// reserve takes a place for a tunnel where there is one; release gives it back.
func (ts *tunnels) reserve() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.over || ts.taken >= ts.limit {
		ts.counts.Refused++
		return false
	}
	ts.taken++
	ts.places.Add(1)
	return true
}

func (ts *tunnels) release() {
	ts.mu.Lock()
	ts.taken--
	ts.mu.Unlock()
	ts.places.Done()
}

// drain begins the grace, at the end of which all tunnels are ended. A second
// time it does nothing.
func (ts *tunnels) drain() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.timer == nil {
		ts.timer = time.AfterFunc(ts.grace, ts.cut)
	}
}

// cut ends all tunnels, and those that come later.
func (ts *tunnels) cut() {
	ts.mu.Lock()
	ts.over = true
	open := slices.Collect(maps.Keys(ts.open))
	ts.mu.Unlock()
	for _, t := range open {
		t.stop(TunnelDrained)
	}
}

// close waits for the end of all tunnels, which is that of the grace or of ctx
// at the latest. reserve must not be called any more.
func (ts *tunnels) close(ctx context.Context) {
	ts.drain()
	defer ts.timer.Stop()
	defer context.AfterFunc(ctx, ts.cut)()
	ts.places.Wait()
}

// tunnel is one pair of connections.
type tunnel struct {
	timeout time.Duration
	began   time.Time
	moved   atomic.Int64 // when a byte moved last, in ns since began

	mu        sync.Mutex
	interrupt func() // ends the reads and writes of both connections; nil once over
	timer     *time.Timer
	why       TunnelEnd
}

// begin opens a tunnel. interrupt is not called after end.
func (ts *tunnels) begin(interrupt func()) *tunnel {
	ts.mu.Lock()
	t := &tunnel{timeout: ts.timeout, began: time.Now(), interrupt: interrupt}
	ts.mu.Unlock()
	t.mu.Lock()
	t.timer = time.AfterFunc(t.timeout, t.look)
	t.mu.Unlock()
	ts.mu.Lock()
	ts.open[t] = struct{}{}
	ts.counts.Total++
	over := ts.over
	ts.mu.Unlock()
	if over {
		t.stop(TunnelDrained)
	}
	return t
}

// end counts the tunnel as ended, and returns why it did.
func (ts *tunnels) end(t *tunnel) TunnelEnd {
	t.mu.Lock()
	t.interrupt = nil
	t.timer.Stop()
	t.mu.Unlock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.open, t)
	ts.counts.Ended[t.why]++
	return t.why
}

// stop ends the tunnel. The first reason is the one that counts.
func (t *tunnel) stop(why TunnelEnd) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopLocked(why)
}

func (t *tunnel) stopLocked(why TunnelEnd) {
	if t.interrupt == nil || t.why != TunnelClosed {
		return
	}
	t.why = why
	t.interrupt()
}

// look ends the tunnel where it was silent for the timeout, and else looks
// again when it may have been.
func (t *tunnel) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.interrupt == nil {
		return
	}
	if left := time.Duration(t.moved.Load()) + t.timeout - time.Since(t.began); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.stopLocked(TunnelIdle)
}

// sink is where the bytes of one direction go.
type sink interface {
	io.Writer
	// CloseWrite says that no more will come.
	CloseWrite() error
}

// relay moves what comes from src to dst until it ends, and passes the end on.
// Where that is not possible the tunnel is broken.
func (t *tunnel) relay(dst sink, src io.Reader, count *atomic.Uint64, large *sync.Pool) (moved int64) {
	moved, err := t.copy(dst, src, count, large)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		// The latter is an end that TLS was not told of. What is tunnelled has
		// its own way to say that it is complete.
		err = dst.CloseWrite()
	}
	if err != nil {
		t.stop(TunnelBroken)
	}
	return moved
}

// copy moves bytes until an error, io.EOF among them, and returns how many. It
// borrows a large buffer
// for as long as there is more than fits.
func (t *tunnel) copy(dst io.Writer, src io.Reader, count *atomic.Uint64, large *sync.Pool) (moved int64, err error) {
	small := make([]byte, restBuffer)
	var borrowed *[]byte
	defer func() {
		if borrowed != nil {
			large.Put(borrowed)
		}
	}()
	for buf := small; ; {
		n, err := src.Read(buf)
		if n > 0 {
			t.moved.Store(int64(time.Since(t.began)))
			if _, err := dst.Write(buf[:n]); err != nil {
				return moved, err
			}
			t.moved.Store(int64(time.Since(t.began)))
			count.Add(uint64(n))
			moved += int64(n)
		}
		switch full := n == len(buf); {
		case err != nil:
			return moved, err
		case full && borrowed == nil:
			borrowed = large.Get().(*[]byte)
			buf = *borrowed
		case !full && borrowed != nil:
			large.Put(borrowed)
			borrowed, buf = nil, small
		}
	}
}

// tunnel writes the head of the answer to the client and moves what comes from
// either side to the other, until both have ended or one has failed. It closes
// both, ends the record, and gives the place back that was reserved.
func (h *Handler) tunnel(c *edge.Conn, server *upstream.Tunnel, head []byte, r *record) {
	defer h.tunnels.release()
	_, err := c.Write(head)
	if err = errors.Join(err, c.Flush()); err != nil {
		closeBoth(c, server, TunnelBroken)
		r.tunnelled(0, TunnelBroken)
		return
	}
	c.Raw()
	t := h.tunnels.begin(func() {
		_ = c.SetDeadline(time.Unix(1, 0)) // fails where it is closed
		server.Interrupt()
	})
	var up sync.WaitGroup
	up.Go(func() { t.relay(server, c, &h.tunnels.fromClients, &h.copies) })
	sent := t.relay(c, server, &h.tunnels.fromServers, &h.copies)
	up.Wait()
	why := h.tunnels.end(t)
	closeBoth(c, server, why)
	r.tunnelled(sent, why)
}

// closeBoth closes both connections. Where one has failed neither of the two
// users is to take it for a regular end.
func closeBoth(c *edge.Conn, server *upstream.Tunnel, why TunnelEnd) {
	if why == TunnelBroken {
		c.Abort()
		server.Abort()
	}
	// There is nobody to tell.
	_ = c.Close()
	_ = server.Close()
}
