package upstream

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// server is one member of a pool: its connections and its counters.
type server struct {
	id, address string
	dialer      net.Dialer
	maxConns    int
	idleTimeout time.Duration

	mu     sync.Mutex
	idle   []*conn // last used last; taken from the end
	open   int     // connections in use and idle
	closed bool

	inFlight atomic.Int64
	requests atomic.Uint64
	failures [kinds]atomic.Uint64
	reused   atomic.Uint64
}

// take returns a connection and whether it was used before. Unless fresh is
// wanted, the most recently used idle one that is still quiet comes first.
func (s *server) take(ctx context.Context, fresh bool) (c *conn, reused bool, err error) {
	for {
		c, err := s.takeIdle(fresh)
		if err != nil {
			return nil, false, err
		}
		if c == nil {
			c, err := s.dial(ctx)
			return c, false, err
		}
		if c.quiet() {
			s.reused.Add(1)
			return c, true, nil
		}
		s.discard(c)
	}
}

// takeIdle returns an idle connection unless a fresh one is wanted, or nil with
// the right to open one.
func (s *server) takeIdle(fresh bool) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.idle); n > 0 && !fresh {
		c := s.idle[n-1]
		s.idle[n-1] = nil
		s.idle = s.idle[:n-1]
		return c, nil
	}
	if s.open >= s.maxConns {
		return nil, errNoConnection
	}
	s.open++
	return nil, nil
}

func (s *server) dial(ctx context.Context) (*conn, error) {
	nc, err := s.dialer.DialContext(ctx, "tcp", s.address)
	if err == nil {
		var c *conn
		if c, err = newConn(nc); err == nil {
			return c, nil
		}
		_ = nc.Close()
	}
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	return nil, err
}

// give takes a connection back that stands between two messages.
func (s *server) give(c *conn) {
	c.read, c.write = deadline{}, deadline{}
	c.idleSince = time.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.discard(c)
		return
	}
	s.idle = append(s.idle, c)
	s.mu.Unlock()
}

// discard closes a connection that cannot be used again.
func (s *server) discard(c *conn) {
	// The connection is gone either way.
	_ = c.Close()
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
}

// closeIdle closes the idle connections that were last used before cutoff, or
// all of them where cutoff is zero.
func (s *server) closeIdle(cutoff time.Time) {
	s.mu.Lock()
	n := len(s.idle)
	if !cutoff.IsZero() {
		for n = 0; n < len(s.idle) && s.idle[n].idleSince.Before(cutoff); n++ {
		}
	}
	old := append([]*conn(nil), s.idle[:n]...)
	s.idle = append(s.idle[:0], s.idle[n:]...)
	clear(s.idle[len(s.idle):cap(s.idle)])
	s.mu.Unlock()
	for _, c := range old {
		s.discard(c)
	}
}

// close closes the idle connections and lets no other become idle.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.closeIdle(time.Time{})
}

// connections returns how many connections are open and how many of them idle.
func (s *server) connections() (open, idle int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, len(s.idle)
}
