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
	peek        func(fd uintptr) // c.look, bound once
	silent      bool             // what peek saw
	read, write deadline
	cut         atomic.Bool // interrupted
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

func newConn(nc net.Conn) (*conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, errors.New("not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, raw: raw}
	c.peek = c.look
	return c, nil
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if now, due := c.read.due(); due {
		if err := c.SetReadDeadline(now.Add(c.read.timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if now, due := c.write.due(); due {
		if err := c.SetWriteDeadline(now.Add(c.write.timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// due reports whether the deadline must move on, which is not more often than
// each eighth of it: setting one costs more than looking at the clock.
func (d *deadline) due() (now time.Time, due bool) {
	if d.timeout == 0 {
		return now, false
	}
	if now = time.Now(); now.Sub(d.set) < d.timeout/8 {
		return now, false
	}
	d.set = now
	return now, true
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.heed(c.Conn.SetDeadline(t)) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.heed(c.Conn.SetReadDeadline(t)) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.heed(c.Conn.SetWriteDeadline(t)) }

// heed repeats an interruption that a deadline set at the same moment may have
// undone.
func (c *conn) heed(err error) error {
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
// anything unasked, so that the next bytes will belong to the next request. A
// deadline that has passed does not matter to it.
func (c *conn) quiet() bool {
	c.silent = false
	return c.raw.Control(c.peek) == nil && c.silent
}

func (c *conn) look(fd uintptr) {
	var probe [1]byte
	_, _, err := syscall.Recvfrom(int(fd), probe[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	c.silent = errors.Is(err, syscall.EAGAIN)
}
