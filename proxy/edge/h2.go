package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// What a connection may make net/http hold of what its client sends, beside the
// heads: a frame, and the bodies that nobody has read yet, of all streams and of
// one. A body that nobody reads leaves room for others.
const (
	h2Frame            = 16 << 10 // the smallest that RFC 9113, section 4.2, allows
	h2ConnectionWindow = 256 << 10
	h2StreamWindow     = 128 << 10
)

// H2Options describe how HTTP/2 is spoken.
type H2Options struct {
	// Limits hold for each stream as they do for a request of HTTP/1. They had
	// better be those of the connections' listeners.
	Limits Limits
	// MaxStreams bounds the streams that one connection may have open; above 0.
	MaxStreams int
	// Log is told of clients that break the protocol.
	Log *log.Logger
}

// H2 speaks HTTP/2 (RFC 9113) with the clients of listeners: net/http's server
// does, and each of its streams becomes a request of a [Client], for the handler
// that also answers those of HTTP/1. It has no goroutine of its own. It is safe
// for concurrent use.
//
// Beyond what net/http bounds, which is how many streams of a connection are
// answered at a time and wait for that, it closes connections whose clients take
// most of their requests back as soon as they have made them.
type H2 struct {
	handle  fasthttp.RequestHandler
	limits  Limits
	resets  int64 // how many rapid resets are taken
	server  *http.Server
	blank   fasthttp.ResponseHeader
	streams sync.Pool // *stream
	serving atomic.Int64
}

// NewH2 returns what serves connections to h2 by handle, which is that of
// [NewServer].
func NewH2(handle fasthttp.RequestHandler, o H2Options) *H2 {
	h := &H2{handle: handle, limits: o.Limits, resets: 2 * int64(o.MaxStreams)}
	h.streams.New = func() any { return new(stream) }
	ReadBlank(&h.blank)
	h.server = &http.Server{
		Handler: http.HandlerFunc(h.serve),
		// TLS, where there is any, is not net/http's business.
		Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          o.MaxStreams,
			MaxReadFrameSize:              h2Frame,
			MaxReceiveBufferPerConnection: h2ConnectionWindow,
			MaxReceiveBufferPerStream:     h2StreamWindow,
			WriteByteTimeout:              o.Limits.Write,
		},
		// What is longer than allowed is read up to this, so that it can be answered;
		// beyond it only the connection ends. A field counts 32 bytes more than its text
		// (RFC 9113, section 6.5.2).
		MaxHeaderBytes:               2*o.Limits.MaxHead + 32*o.Limits.MaxFields,
		ReadHeaderTimeout:            o.Limits.Head, // it bounds the connection preface
		IdleTimeout:                  o.Limits.Idle,
		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: func(c net.Conn, state http.ConnState) { c.(*h2Conn).note(state) },
		ErrorLog:  o.Log,
	}
	h.server.Protocols.SetUnencryptedHTTP2(true)
	return h
}

// connKey is that of a stream's [h2Conn] in its context.
type connKey struct{}

var errCipher = errors.New("a cipher suite that HTTP/2 prohibits")

// Serve serves a [Conn] that agreed on HTTP/2, until it is closed and all of its
// requests have ended. It is what fasthttp's Server.NextProto wants; the caller
// closes the connection.
func (h *H2) Serve(conn net.Conn) error {
	h.serving.Add(1)
	defer h.serving.Add(-1)
	c, ok := conn.(*Conn)
	if !ok {
		return fmt.Errorf("%T is no connection of a Listener", conn)
	}
	if !allowsH2(c.ConnectionState()) {
		c.door.failed.Add(1)
		return errCipher
	}
	if c.away != nil {
		return c.turnAway()
	}
	l := newSingle(c)
	switch err := h.server.Serve(l); {
	case l.given:
		<-l.conn.done
		c.door.h2Open.Add(-1)
		return nil
	case errors.Is(err, http.ErrServerClosed):
		return c.turnAway()
	default:
		return err
	}
}

// turnAway tells a client of HTTP/2 to ask elsewhere for what it has sent.
func (c *Conn) turnAway() error {
	c.state.Store(busy)
	c.req.Refusal = errGone // it is read from until it has seen that
	c.clock.write = interimTimeout
	_, err := io.WriteString(c, goAway)
	return err
}

// goAway are the frames of a server that takes no request: empty SETTINGS and a
// GOAWAY with the last stream 0 and NO_ERROR (RFC 9113, sections 3.4 and 6.8).
const goAway = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
	"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// allowsH2 reports whether HTTP/2 may be spoken over TLS like this (RFC 9113,
// section 9.2). The zero value stands for no TLS.
func allowsH2(s tls.ConnectionState) bool {
	return s.Version == 0 || s.Version > tls.VersionTLS12 || s.Version == tls.VersionTLS12 && slices.Contains([]uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	}, s.CipherSuite)
}

// Serving is how many connections Serve has not done with.
func (h *H2) Serving() int { return int(h.serving.Load()) }

// Drain sends all clients a GOAWAY, and does not wait: the streams that are open
// end, there are no others, and a connection without any is closed a second later
// at the latest. Connections that come to Serve from now on are turned away.
func (h *H2) Drain() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.server.Shutdown(ctx) // that it does not wait is its error
}

// single is a listener with one connection, which it gives unless it was closed
// before.
type single struct {
	conn   *h2Conn
	given  bool
	closed chan struct{}
	once   sync.Once
}

func newSingle(c *Conn) *single {
	l := &single{conn: &h2Conn{Conn: c, c: c, done: make(chan struct{})}, closed: make(chan struct{})}
	l.conn.users.Store(1)
	return l
}

// Accept implements net.Listener.
func (l *single) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	if !l.given {
		l.given = true
		l.conn.c.Raw()
		l.conn.c.door.h2Accepted.Add(1)
		l.conn.c.door.h2Open.Add(1)
		return l.conn, nil
	}
	select {
	case <-l.closed:
	case <-l.conn.done:
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener. It has no part in the connection.
func (l *single) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

// h2Conn is a connection as net/http sees it: it must not see the TLS, for which
// it has another way that knows only crypto/tls's own type.
type h2Conn struct {
	net.Conn // c, without its other methods
	c        *Conn
	// users are net/http, until it closes the connection, and the streams' handlers,
	// which may take longer. done is closed after the last.
	users  atomic.Int64
	closed atomic.Bool
	done   chan struct{}

	streams, resets atomic.Int64 // so far, and rapid ones among them
	abused          atomic.Bool
}

// Close implements net.Conn.
func (c *h2Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	defer c.leave()
	return c.c.Conn.Close()
}

// enter counts a handler among the users. It reports false where the last one has
// left.
func (c *h2Conn) enter() bool {
	for {
		n := c.users.Load()
		if n == 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (c *h2Conn) leave() {
	if c.users.Add(-1) == 0 {
		close(c.done)
	}
}

// note takes down whether there are streams, for [Door.CloseIdle].
func (c *h2Conn) note(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.c.state.CompareAndSwap(idle, busy)
	case http.StateIdle:
		c.c.rested.Store(time.Now().UnixNano())
		c.c.state.CompareAndSwap(busy, idle)
	}
}

// rapid is how soon after its request a reset must come to be suspect.
const rapid = time.Second

// noteReset takes down that a request was taken back that had come at began and
// had no answer yet. It closes the connection where that is what its client does
// with most of them (CVE-2023-44487): each may cost an upstream a request.
func (c *h2Conn) noteReset(began time.Time, allowed int64) {
	if time.Since(began) >= rapid {
		return
	}
	if n := c.resets.Add(1); n > allowed && 2*n > c.streams.Load() && c.abused.CompareAndSwap(false, true) {
		c.c.door.h2Abusive.Add(1)
		// The socket: who closes TLS waits for its client.
		_ = c.c.tcp.Close()
	}
}
