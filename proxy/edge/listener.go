package edge

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ListenerOptions describe what comes in by one listener.
type ListenerOptions struct {
	Limits Limits
	// TLS is how clients are spoken to; nil: in plain.
	TLS *tls.Config
}

// Listener makes an [Conn] of each connection of another listener. It implements
// net.Listener.
type Listener struct {
	net.Listener
	door   *Door
	limits Limits
	tls    *tls.Config
}

// NewListener returns a listener whose connections come through the door.
func NewListener(inner net.Listener, d *Door, o ListenerOptions) *Listener {
	return &Listener{Listener: inner, door: d, limits: o.Limits, tls: o.TLS}
}

// Accept implements net.Listener. The connection is a [Conn].
func (l *Listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := l.Wrap(tcp)
		if l.door.enter(c) {
			return c, nil
		}
		// There is nobody to tell that this failed.
		_ = tcp.Close()
	}
}

// Wrap returns a connection that has not come through the door yet.
func (l *Listener) Wrap(tcp net.Conn) *Conn {
	c := &Conn{Conn: tcp, tcp: tcp, door: l.door, l: l, peer: addrPort(tcp.RemoteAddr()), in: bufio.NewReaderSize(tcp, readBuffer)}
	c.clock.on = tcp
	return c
}

// addrPort returns the address of a TCP socket; another kind has none.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// Handshake does what comes before the first request: it finds out who the
// client is. fasthttp's server calls it once, before it reads. An error means
// that the connection is of no use.
func (c *Conn) Handshake() error {
	err := c.introduce()
	if err != nil {
		c.door.failed.Add(1)
		return err
	}
	c.door.identify(c)
	return nil
}

func (c *Conn) introduce() error {
	if c.l.tls == nil {
		return nil
	}
	if d := c.l.limits.Head; d > 0 {
		if err := c.tcp.SetDeadline(time.Now().Add(d)); err != nil {
			return err
		}
	}
	t := tls.Server(c.tcp, c.l.tls)
	if err := t.Handshake(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.Conn, c.secure = t, true
	c.clock.on = t
	c.in.Reset(t)
	return c.tcp.SetDeadline(time.Time{})
}

// ConnectionState returns what was agreed on in the handshake; of a connection
// without TLS the zero value. It has fasthttp's server choose who serves it.
func (c *Conn) ConnectionState() tls.ConnectionState {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}
