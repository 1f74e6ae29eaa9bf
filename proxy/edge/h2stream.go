package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/wire"
)

// stream is one request of HTTP/2 and its answer. It implements [Client]: to the
// handler it is a connection with one request. It is used again for others.
type stream struct {
	h    *H2
	conn *h2Conn
	w    http.ResponseWriter
	r    *http.Request

	ctx    fasthttp.RequestCtx
	req    Request
	body   Body
	clock  clock
	timing streamDeadlines
	late   chan struct{} // closed once an interim response was written that took too long
	begun  bool          // the answer
	failed bool
	broken bool     // a write has failed
	names  []string // room to sort
}

// serve answers one request. net/http calls it in a goroutine of the stream.
func (h *H2) serve(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*h2Conn)
	if !c.enter() {
		panic(http.ErrAbortHandler)
	}
	defer c.leave()
	c.streams.Add(1)
	c.c.door.count(c.c, h2)
	s := h.streams.Get().(*stream)
	defer h.streams.Put(s)
	s.open(h, c, w, r)
	defer s.close()
	h.handle(&s.ctx)
	if err := s.answer(&s.ctx.Response); err != nil {
		// RST_STREAM: what has left must not look like all.
		panic(http.ErrAbortHandler)
	}
}

func (s *stream) open(h *H2, c *h2Conn, w http.ResponseWriter, r *http.Request) {
	s.h, s.conn, s.w, s.r = h, c, w, r
	s.timing.rc = http.NewResponseController(w)
	s.clock = clock{on: &s.timing, made: time.Now(), read: h.limits.Read, write: h.limits.Write}
	s.readRequest()
	if d := h.limits.Request; d > 0 {
		s.clock.end = s.req.Time.Add(d)
	}
	s.ctx.Init2(s, nil, true)
	s.ctx.Request.Header.SetMethod(s.req.Method) // all that it is asked for
	h.blank.CopyTo(&s.ctx.Response.Header)
}

// close ends the use of what is net/http's, and forgets the request.
func (s *stream) close() {
	if s.late != nil {
		<-s.late
	}
	s.timing.end()
	if !s.begun && s.r.Context().Err() != nil {
		s.conn.noteReset(s.req.Time, s.h.resets)
	}
	_ = s.ctx.Response.CloseBodyStream() // after a panic
	s.ctx.ResetUserValues()              // which closes them, while there is a request
	s.ctx.Request.Reset()
	s.ctx.Response.Reset()
	clear(s.req.Fields)
	clear(s.names)
	s.req = Request{RequestHead: wire.RequestHead{Fields: s.req.Fields[:0]}}
	s.h, s.conn, s.w, s.r, s.late, s.begun, s.failed, s.broken = nil, nil, nil, nil, nil, false, false, false
}

// Request implements [Client].
func (s *stream) Request() *Request { return &s.req }

// Peer implements [Client].
func (s *stream) Peer() netip.AddrPort { return s.conn.c.Peer() }

// Local implements [Client].
func (s *stream) Local() netip.AddrPort { return s.conn.c.Local() }

// Site implements [Client].
func (s *stream) Site() *Site { return s.conn.c.Site() }

// Secure implements [Client].
func (s *stream) Secure() bool { return s.conn.c.Secure() }

// ConnectionState implements [Client].
func (s *stream) ConnectionState() tls.ConnectionState { return s.conn.c.ConnectionState() }

// Broken implements [Client].
func (s *stream) Broken() bool { return s.broken }

// Context implements [Client].
func (s *stream) Context() context.Context { return s.r.Context() }

// Abort implements [Client].
func (s *stream) Abort() { s.failed = true }

var errInterim = errors.New("the client takes no interim response")

// Interim implements [Client]. net/http waits until it is written, and that may
// be long where the client reads nothing; who calls this must not.
func (s *stream) Interim(status int, fields wire.Fields) error {
	if s.late != nil {
		return errInterim
	}
	h := s.w.Header()
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.w.WriteHeader(status)
	}()
	timer := time.NewTimer(interimTimeout)
	defer timer.Stop()
	select {
	case <-written:
		clear(h)
		return nil
	case <-timer.C:
		s.late = written
		return errInterim
	}
}

// Write implements net.Conn: p is a part of the answer's body, and leaves at once.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.send(p)
	if err == nil {
		err = s.timing.rc.Flush()
	}
	return n, err
}

// Flush implements [Client].
func (s *stream) Flush() error { return s.timing.rc.Flush() }

// WriteChunk implements [Client].
func (s *stream) WriteChunk(p []byte) error {
	_, err := s.Write(p)
	return err
}

// send gives a part of the body to net/http, so much at a time that the client's
// silence can be told from its slowness.
func (s *stream) send(p []byte) (n int, err error) {
	for n < len(p) {
		if err := s.clock.allowWrite(); err != nil {
			return n, err
		}
		m, err := s.w.Write(p[n:min(n+maxRecord, len(p))])
		n += m
		if err != nil {
			s.broken = true
			return n, err
		}
	}
	return n, nil
}

// Read implements net.Conn. What the client sends is in the request's body.
func (s *stream) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements net.Conn. The stream ends when it was answered.
func (s *stream) Close() error { return nil }

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// SetDeadline implements net.Conn. It does nothing, as the other two: the stream
// bounds all waiting by its limits.
func (s *stream) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn like SetDeadline.
func (s *stream) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn like SetDeadline.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// streamDeadlines are those of net/http's stream, which must not be touched after
// its handler. They are safe for concurrent use.
type streamDeadlines struct {
	mu sync.Mutex
	rc *http.ResponseController // nil after the handler
}

// SetReadDeadline implements deadlines.
func (d *streamDeadlines) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rc == nil {
		return net.ErrClosed
	}
	return d.rc.SetReadDeadline(t)
}

// SetWriteDeadline implements deadlines.
func (d *streamDeadlines) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rc == nil {
		return net.ErrClosed
	}
	return d.rc.SetWriteDeadline(t)
}

func (d *streamDeadlines) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rc = nil
}

// streamBody reads a request's body from net/http, which says 100 (Continue) where
// the client waits for it.
type streamBody struct{ io.Reader }

// Read implements io.Reader. An end that came too early is io.ErrUnexpectedEOF,
// whatever it was.
func (b streamBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
