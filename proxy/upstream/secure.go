package upstream

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// secure is TLS on a socket.
type secure struct {
	*tls.Conn
	under carrier
	probe [1]byte
}

// startTLS makes the client's handshake on c, within ctx. Its error is a
// [handshakeError]; the connection is then of no use.
func (c *conn) startTLS(ctx context.Context, config *tls.Config) error {
	s := &secure{under: carrier{socket: &c.socket}}
	s.under.transfer = s.under.transferNow
	s.Conn = tls.Client(&s.under, config)
	if err := s.HandshakeContext(ctx); err != nil {
		return handshakeError{fmt.Errorf("TLS handshake with %s: %w", config.ServerName, err)}
	}
	c.secure = s
	return nil
}

// Read implements net.Conn. crypto/tls takes an end of the stream between two
// records for a clean one, as many servers end so. It may as well be a cut by
// anybody on the way, which a body that ends with its connection must not hide.
func (s *secure) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.under.ended && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// quiet takes in what arrived, without waiting, and reports whether it was
// nothing, or nothing but whole records that are TLS's own affair, such as
// session tickets: crypto/tls takes 16 of those between two answers. What it had
// read ahead and decrypted counts as well, so that a look at the socket alone
// would not do.
func (s *secure) quiet() bool {
	s.under.hurry()
	defer s.under.rest()
	n, err := s.Conn.Read(s.probe[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && s.under.records.between()
}

// Close says goodbye (close_notify; RFC 9112, section 9.8) as far as that takes
// no waiting.
func (s *secure) Close() error {
	s.under.hurry()
	return s.Conn.Close()
}

// carrier is the socket as TLS sees it. In a hurry it waits for nothing.
type carrier struct {
	*socket
	records records
	ended   bool // the stream has ended

	hasty    bool
	transfer func(fd uintptr) // transferNow, bound once
	out      bool             // which way transfer goes
	buf      []byte
	n        int
	err      error
}

// hurry makes reads and writes do what is possible at once, and else give
// os.ErrDeadlineExceeded, after which crypto/tls can go on reading, until rest.
func (c *carrier) hurry() { c.hasty = true }

func (c *carrier) rest() { c.hasty = false }

// Read implements net.Conn.
func (c *carrier) Read(p []byte) (n int, err error) {
	if c.hasty {
		n, err = c.now(p, false)
	} else {
		n, err = c.socket.Read(p)
	}
	c.records.pass(p[:n])
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

// Write implements net.Conn.
func (c *carrier) Write(p []byte) (int, error) {
	if c.hasty {
		return c.now(p, true)
	}
	return c.socket.Write(p)
}

// now reads or writes as much of p as is possible at this moment.
func (c *carrier) now(p []byte, out bool) (int, error) {
	c.buf, c.out = p, out
	err := c.raw.Control(c.transfer)
	c.buf = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(c.err, syscall.EAGAIN):
		return 0, os.ErrDeadlineExceeded
	case c.err != nil:
		return 0, c.err
	case c.n < len(p) && out:
		return c.n, io.ErrShortWrite
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

func (c *carrier) transferNow(fd uintptr) {
	if c.out {
		c.n, c.err = syscall.SendmsgN(int(fd), c.buf, nil, nil, syscall.MSG_DONTWAIT)
		return
	}
	c.n, _, c.err = syscall.Recvfrom(int(fd), c.buf, syscall.MSG_DONTWAIT)
}

// records keeps the place in a stream of TLS records (RFC 8446, section 5.1).
type records struct {
	head [5]byte // type, version, length
	have int     // bytes of the head
	left int     // bytes of the record behind its head
}

// pass moves on by p.
func (r *records) pass(p []byte) {
	for len(p) > 0 {
		var n int
		if r.have < len(r.head) {
			n = copy(r.head[r.have:], p)
			if r.have += n; r.have == len(r.head) {
				r.left = int(binary.BigEndian.Uint16(r.head[3:]))
			}
		} else {
			n = min(r.left, len(p))
			r.left -= n
		}
		if r.have == len(r.head) && r.left == 0 {
			r.have = 0
		}
		p = p[n:]
	}
}

// between reports whether the place is between two records.
func (r *records) between() bool { return r.have == 0 }
