package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"
)

// connections are those of HTTP/1.1. One that has nothing under way is used again,
// the last one first, so that there are no more than are needed.
type connections struct {
	plan    Plan
	addr    string
	host    string
	name    string // of the target, for its certificate
	secure  bool
	ctx     context.Context
	unwatch func() bool

	mu     sync.Mutex
	closed bool
	idle   []*conn
	all    map[*conn]struct{}
}

func newConnections(ctx context.Context, p Plan, to *url.URL) *connections {
	c := &connections{
		plan: p, addr: address(to), host: to.Host, name: to.Hostname(), secure: to.Scheme == "https",
		ctx: ctx, all: map[*conn]struct{}{},
	}
	c.unwatch = context.AfterFunc(ctx, c.closeAll)
	return c
}

func (c *connections) close() {
	c.unwatch()
	c.closeAll()
}

func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for one := range c.all {
		_ = one.Close()
	}
}

// do sends a request, a second time where a connection that had served others turned
// out to have ended, as clients do (RFC 9112, section 9.3.1).
func (c *connections) do(r *Request, deadline time.Time) (answer, error) {
	one, err := c.take(deadline)
	if err != nil {
		return answer{}, err
	}
	served := one.served
	a, err := c.exchange(one, r, deadline)
	if err != nil && served > 0 && a.first.IsZero() && isGone(err) && isIdempotent(r.Method) {
		if one, err = c.dial(deadline); err != nil {
			return answer{}, err
		}
		a, err = c.exchange(one, r, deadline)
	}
	return a, err
}

// exchange sends a request over a connection, which may be used again if the answer
// leaves it so.
func (c *connections) exchange(one *conn, r *Request, deadline time.Time) (answer, error) {
	a, keep, err := one.exchange(r, deadline)
	c.mu.Lock()
	defer c.mu.Unlock()
	if keep && !c.plan.Fresh && !c.closed {
		one.served++
		c.idle = append(c.idle, one)
		return a, err
	}
	delete(c.all, one)
	_ = one.Close()
	return a, err
}

func (c *connections) take(deadline time.Time) (*conn, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		one := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return one, nil
	}
	c.mu.Unlock()
	return c.dial(deadline)
}

// slowBuffer is how much the system takes in for a client that reads slowly, in
// bytes; else it would take in whole answers.
const slowBuffer = 16 << 10

func (c *connections) dial(deadline time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(c.ctx, deadline)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	if t, ok := raw.(*net.TCPConn); ok && c.plan.ReadRate > 0 {
		_ = t.SetReadBuffer(slowBuffer) // else it is only less slow
	}
	if c.secure {
		config := c.plan.TLS.Clone()
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if config.ServerName == "" {
			config.ServerName = c.name
		}
		secured := tls.Client(raw, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		raw = secured
	}
	one := newConn(raw, c.host, c.plan.ReadRate)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.Join(context.Canceled, one.Close())
	}
	c.all[one] = struct{}{}
	return one, nil
}

// isGone reports whether a connection had ended before it brought an answer.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isIdempotent is by RFC 9110, section 9.2.2.
func isIdempotent(method string) bool {
	return slices.Contains([]string{"", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}, method)
}
