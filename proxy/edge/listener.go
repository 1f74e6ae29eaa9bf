package edge

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ringfence/proxy/wire"
)

// ListenerOptions describe what comes in by one listener.
type ListenerOptions struct {
	Limits Limits
	// TLS is how clients are spoken to; nil: in plain.
	TLS *tls.Config
	// ProxyFrom are the addresses whose connections begin with a PROXY header,
	// which is believed. Others may not send one.
	ProxyFrom []netip.Prefix
	// Site is for whoever answers.
	Site Site
	// H2C lets clients speak HTTP/2 without TLS, if they begin with it (RFC 9113,
	// section 3.3). It means nothing with TLS, where the client and TLS.NextProtos
	// agree on it. What speaks it is an [H2].
	H2C bool
}

// Listener makes an [Conn] of each connection of another listener. It implements
// net.Listener.
type Listener struct {
	net.Listener
	door    *Door
	hit     func(*Conn) bool
	opts    atomic.Pointer[ListenerOptions]
	readers sync.Pool // *bufio.Reader of readBuffer bytes
	outs    sync.Pool // *[]byte with room for outBuffer bytes
}

// NewListener returns a listener whose connections come through the door. hit is
// asked first to answer each request of HTTP/1, by [Conn.Answer]; it reports whether
// it did. nil answers none.
func NewListener(inner net.Listener, d *Door, hit func(*Conn) bool, o ListenerOptions) *Listener {
	if hit == nil {
		hit = func(*Conn) bool { return false }
	}
	l := &Listener{Listener: inner, door: d, hit: hit}
	l.Reconfigure(o)
	l.readers.New = func() any { return bufio.NewReaderSize(nil, readBuffer) }
	l.outs.New = func() any { b := make([]byte, 0, outBuffer); return &b }
	return l
}

// Reconfigure has the connections that come from now on go by other options; those
// that are there keep what they came with.
func (l *Listener) Reconfigure(o ListenerOptions) { l.opts.Store(&o) }

// acceptPause is how long no connection is accepted where the system has nothing
// left to do so with.
const acceptPause = 10 * time.Millisecond

// Accept implements net.Listener. The connection is a [Conn]. Where the process or
// the system has run out of file descriptors or memory, clients wait in the
// kernel's queue until there are some: an error is for good.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.Listener.Accept()
		if isStarved(err) {
			l.door.starved.Add(1)
			time.Sleep(acceptPause)
			continue
		}
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

// isStarved reports whether accepting failed for a reason that goes away.
func isStarved(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Wrap returns a connection that has not come through the door yet.
func (l *Listener) Wrap(tcp net.Conn) *Conn {
	c := &Conn{Conn: tcp, tcp: tcp, door: l.door, l: l, opts: l.opts.Load(), peer: addrPort(tcp.RemoteAddr()), local: addrPort(tcp.LocalAddr())}
	c.clock.on, c.clock.made = tcp, time.Now()
	c.in.Init(tcp, rawOf(tcp), &l.readers)
	c.in.OnArrival(c.arrived)
	return c
}

// rawOf returns the socket that a connection is, nil where it is none.
func rawOf(c net.Conn) syscall.RawConn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
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
// client is and what it speaks. fasthttp's server calls it once, before it reads,
// and reads after an error as well. Then there is nothing to be read, but for a
// client that speaks HTTP where TLS is spoken: it is told so.
func (c *Conn) Handshake() error {
	err := c.introduce()
	if err != nil {
		c.door.failed.Add(1)
		c.away = errGone
		var record tls.RecordHeaderError
		if errors.As(err, &record) && opensMethod(record.RecordHeader) {
			c.away = &wire.Refusal{Status: 400, Why: "this is HTTP without TLS; ask by https"}
			c.heard = true
		}
		return err
	}
	c.door.identify(c)
	if c.opts.H2C && !c.secure && c.away == nil {
		c.h2c = c.opensH2()
	}
	return nil
}

// opensMethod reports whether what should have been the head of a TLS record is
// the beginning of a request of HTTP/1.
func opensMethod(b [5]byte) bool {
	for _, c := range b[:3] {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func (c *Conn) introduce() error {
	proxied := within(c.opts.ProxyFrom, c.peer.Addr())
	if c.opts.TLS == nil && !proxied {
		return nil
	}
	if d := c.opts.Limits.Head; d > 0 {
		if err := c.tcp.SetDeadline(time.Now().Add(d)); err != nil {
			return err
		}
	}
	if proxied {
		h, err := ReadProxyHeader(c.tcp)
		if err != nil {
			return err
		}
		if h != (wire.ProxyHeader{}) { // else it speaks for itself
			c.peer, c.local = h.Source, h.Destination
		}
	}
	if c.opts.TLS != nil {
		t := tls.Server(c.tcp, c.opts.TLS)
		if err := t.Handshake(); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		c.Conn, c.secure = t, true
		c.clock.on = t
		c.in.Init(t, nil, &c.l.readers)
	}
	return c.tcp.SetDeadline(time.Time{})
}

// ConnectionState implements [Client]. It has fasthttp's server choose who serves
// the connection.
func (c *Conn) ConnectionState() tls.ConnectionState {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.ConnectionState()
	}
	if c.h2c {
		return tls.ConnectionState{NegotiatedProtocol: "h2"}
	}
	return tls.ConnectionState{}
}

// h2Preface is what a client begins HTTP/2 with (RFC 9113, section 3.4). No
// request of HTTP/1 does.
const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// opensH2 reports whether the client begins with HTTP/2, and takes nothing from
// what it sends. It waits for no more of it than tells, as long as a request might
// take to begin and its head to arrive.
func (c *Conn) opensH2() bool {
	c.clock.read = c.opts.Limits.Idle
	for n := 1; n <= len(h2Preface); n++ {
		if c.clock.allowRead() != nil {
			return false
		}
		got, err := c.in.Load().Peek(n)
		if err != nil {
			c.away = errGone
			return false
		}
		if string(got) != h2Preface[:n] {
			return false
		}
		if n == 1 {
			c.clock.read = 0
			if d := c.opts.Limits.Head; d > 0 {
				c.clock.end = time.Now().Add(d)
			}
		}
	}
	return true
}
