package upstream

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one connection to a server. Its timeouts bound the silence between
// two reads or two writes, not the whole message. One goroutine reads and one
// writes; interrupt may be called by any.
type conn struct {
	net.Conn
	raw         syscall.RawConn
	read, write deadline
	cut         atomic.Bool
	// idleSince is when the connection was last given back, zero while it has
	// served no request.
	idleSince time.Time
}

// deadline is one direction's rolling deadline.
type deadline struct {
	timeout time.Duration // 0: the deadline stays as it is
	set     time.Time
}

// longAgo is a deadline that ends every read and write at once.
var longAgo = time.Unix(1, 0)

func newConn(c net.Conn) (*conn, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, raw: raw}, nil
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.roll(&c.read, c.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.roll(&c.write, c.Conn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// roll moves a deadline on, but not more often than each eighth of it: setting
// one costs more than looking at the clock.
func (c *conn) roll(d *deadline, set func(time.Time) error) error {
	if d.timeout == 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(d.set) < d.timeout/8 {
		return nil
	}
	d.set = now
	err := set(now.Add(d.timeout))
	if c.cut.Load() {
		return c.Conn.SetDeadline(longAgo)
	}
	return err
}

// interrupt ends every read and write, now and later.
func (c *conn) interrupt() {
	c.cut.Store(true)
	// An error means that the connection is closed, which is as good.
	_ = c.Conn.SetDeadline(longAgo)
}

// quiet reports whether the peer has neither closed the connection nor sent
// anything unasked, so that the next bytes will belong to the next request.
func (c *conn) quiet() bool {
	var probe [1]byte
	var seen error
	err := c.raw.Read(func(fd uintptr) bool {
		_, _, seen = syscall.Recvfrom(int(fd), probe[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && errors.Is(seen, syscall.EAGAIN)
}
