package upstream

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ringfence/proxy/wire"
)

// conn is one connection to a server, in plain text or, where secure is there,
// over TLS. One goroutine reads and one writes; interrupt may be called by any.
type conn struct {
	socket
	secure *secure
	in     wire.Intake // what answers are read by
	// told is what the server was told of the client, see [Options].ProxyProtocol.
	told wire.ProxyHeader
	// idleSince is when the connection was last given back, zero while it has
	// served no request.
	idleSince time.Time
}

func newConn(nc net.Conn) (*conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, errors.New("not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{socket: socket{Conn: nc, raw: raw}}
	c.peek = c.look
	return c, nil
}

// takeIn has answers be read by readers of the pool.
func (c *conn) takeIn(readers *sync.Pool) {
	raw := c.raw
	if c.secure != nil {
		raw = nil
	}
	c.in.Init(c, raw, readers)
}

// load waits for what the server sends, within the read timeout, and gives a
// reader of it.
func (c *conn) load() *bufio.Reader {
	c.allowRead()
	return c.in.Load()
}

// allowRead gives the next read its time.
func (c *conn) allowRead() {
	if now, due := c.socket.read.due(); due {
		// An error means that the connection is closed: the read says so.
		_ = c.SetReadDeadline(now.Add(c.socket.read.timeout))
	}
}

// Read implements net.Conn. Over TLS, io.EOF is an end that the peer declared
// (RFC 8446, section 6.1); any other is io.ErrUnexpectedEOF.
func (c *conn) Read(p []byte) (int, error) {
	if c.secure != nil {
		return c.secure.Read(p)
	}
	return c.socket.Read(p)
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.secure != nil {
		return c.secure.Write(p)
	}
	return c.socket.Write(p)
}

// CloseWrite ends what is written: with a close_notify over TLS (RFC 8446,
// section 6.1), else with the sending side of the socket.
func (c *conn) CloseWrite() error {
	if c.secure != nil {
		return c.secure.CloseWrite()
	}
	if s, ok := c.socket.Conn.(interface{ CloseWrite() error }); ok {
		return s.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn. It does not wait for the peer, and must not be
// called while another goroutine reads or writes.
func (c *conn) Close() error {
	if c.secure != nil {
		return c.secure.Close()
	}
	return c.socket.Close()
}

// quiet reports whether the peer has neither closed the connection nor sent
// anything unasked, so that the next bytes will belong to the next request. A
// deadline that has passed does not matter to it.
func (c *conn) quiet() bool {
	if c.secure != nil {
		return c.secure.quiet()
	}
	return c.socket.quiet()
}

// socket is a connection whose timeouts bound the silence between two reads or
// two writes, not the whole message.
type socket struct {
	net.Conn
	raw         syscall.RawConn
	peek        func(fd uintptr) // look, bound once
	silent      bool             // what peek saw
	read, write deadline
	cut         atomic.Bool // interrupted
}

// deadline is one direction's rolling deadline.
type deadline struct {
	timeout time.Duration // 0: the deadline stays as it is
	set     time.Time
}

// longAgo is a deadline that ends every read and write at once.
var longAgo = time.Unix(1, 0)

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if now, due := s.read.due(); due {
		if err := s.SetReadDeadline(now.Add(s.read.timeout)); err != nil {
			return 0, err
		}
	}
	return s.Conn.Read(p)
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	if now, due := s.write.due(); due {
		if err := s.SetWriteDeadline(now.Add(s.write.timeout)); err != nil {
			return 0, err
		}
	}
	return s.Conn.Write(p)
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
func (s *socket) SetDeadline(t time.Time) error { return s.heed(s.Conn.SetDeadline(t)) }

// SetReadDeadline implements net.Conn.
func (s *socket) SetReadDeadline(t time.Time) error { return s.heed(s.Conn.SetReadDeadline(t)) }

// SetWriteDeadline implements net.Conn.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.heed(s.Conn.SetWriteDeadline(t)) }

// heed repeats an interruption that a deadline set at the same moment may have
// undone.
func (s *socket) heed(err error) error {
	if s.cut.Load() {
		return s.Conn.SetDeadline(longAgo)
	}
	return err
}

// interrupt ends every read and write, now and later.
func (s *socket) interrupt() {
	s.cut.Store(true)
	// An error means that the connection is closed, which is as good.
	_ = s.Conn.SetDeadline(longAgo)
}

// quiet reports whether nothing arrived, the end neither.
func (s *socket) quiet() bool {
	s.silent = false
	return s.raw.Control(s.peek) == nil && s.silent
}

func (s *socket) look(fd uintptr) {
	var probe [1]byte
	_, _, err := syscall.Recvfrom(int(fd), probe[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	s.silent = errors.Is(err, syscall.EAGAIN)
}
