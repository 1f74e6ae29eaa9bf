package proxy

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/wire"
)

// copyBuffer is how much of a body is moved at a time.
const copyBuffer = 32 << 10

// stream hands an answer's body to fasthttp as it arrives. It takes over the
// request's accounting, which ends with Close.
type stream struct {
	src    io.ReadCloser
	h      *Handler
	count  *stripe
	conn   net.Conn
	length int64        // bytes, or below 0 for chunks
	body   *requestBody // of the request, nil for none
	closed bool
}

// stream sets the body of the answer, and its length in bytes or below 0.
func (c *call) stream(src io.ReadCloser, length int64) {
	s := &stream{src: src, h: c.h, count: c.count, conn: c.ctx.Conn(), length: length, body: c.body}
	c.streaming = true
	if length < 0 && !c.ctx.Request.Header.IsHTTP11() && !c.ctx.IsHead() {
		c.untilClose(s)
		return
	}
	c.ctx.Response.ImmediateHeaderFlush = true
	c.ctx.Response.SetBodyStream(s, int(length))
}

// untilClose streams to an HTTP/1.0 client, which knows no chunks: the body
// ends with the connection (RFC 9112, section 6.3).
func (c *call) untilClose(s *stream) {
	h := &c.ctx.Response.Header
	h.SetContentLength(0)
	h.Del("Content-Length")
	h.SetConnectionClose()
	head := append([]byte(nil), h.Header()...)
	c.ctx.HijackSetNoResponse(true)
	c.ctx.Hijack(func(net.Conn) {
		defer func() { _ = s.Close() }()
		if _, err := s.out(s.conn).Write(head); err != nil {
			return
		}
		if _, err := s.WriteTo(s.conn); err != nil {
			abort(s.conn)
		}
	})
}

// abort makes the peer see a reset instead of a regular end, where the
// connection can do that.
func abort(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) { return s.src.Read(p) }

// SupportsBodyWriteTo tells fasthttp to use WriteTo.
func (s *stream) SupportsBodyWriteTo() bool { return true }

// WriteTo moves the body to w. A body of known length goes to the connection
// itself, past fasthttp's buffer, which is empty once the head was flushed: so
// each byte leaves when it comes.
func (s *stream) WriteTo(w io.Writer) (n int64, err error) {
	if s.length >= 0 {
		w = s.out(s.conn)
	} else {
		w = &out{conn: s.conn, w: w, timeout: s.h.opts.WriteTimeout}
	}
	if wt, ok := s.src.(io.WriterTo); ok {
		n, err = wt.WriteTo(w)
	} else {
		n, err = s.copy(w)
	}
	s.count.bytes.Add(uint64(n))
	if err == nil && s.length >= 0 && n != s.length {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *stream) copy(w io.Writer) (n int64, err error) {
	buf := s.h.copies.Get().(*[]byte)
	defer s.h.copies.Put(buf)
	for {
		m, rerr := s.src.Read(*buf)
		if m > 0 {
			if _, err := w.Write((*buf)[:m]); err != nil {
				return n, err
			}
			n += int64(m)
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return n, nil
		case rerr != nil:
			return n, rerr
		}
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.count.inFlight.Add(-1)
	err := s.src.Close()
	if s.body != nil && !s.body.finished() {
		s.h.linger(s.conn)
	}
	return err
}

// out writes to a client and bounds the silence between two writes.
type out struct {
	conn    net.Conn
	w       io.Writer
	timeout time.Duration
	set     time.Time
}

func (s *stream) out(conn net.Conn) *out {
	return &out{conn: conn, w: conn, timeout: s.h.opts.WriteTimeout}
}

// Write implements io.Writer.
func (o *out) Write(p []byte) (int, error) {
	// As in the upstream's connections: the clock is cheaper than the timer.
	if now := time.Now(); now.Sub(o.set) >= o.timeout/8 {
		o.set = now
		if err := o.conn.SetWriteDeadline(now.Add(o.timeout)); err != nil {
			return 0, err
		}
	}
	return o.w.Write(p)
}

// requestBody reads a client's body and bounds the silence between two reads.
type requestBody struct {
	conn    net.Conn
	body    io.Reader
	timeout time.Duration
	set     time.Time
	length  int64 // bytes, or below 0 for chunks
	read    int64
	whole   atomic.Bool // it was read to its end
	closed  atomic.Bool
}

func newRequestBody(ctx *fasthttp.RequestCtx, body io.Reader, timeout time.Duration) *requestBody {
	length := int64(max(ctx.Request.Header.ContentLength(), int(wire.Chunked)))
	return &requestBody{conn: ctx.Conn(), body: body, timeout: timeout, length: length}
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.set) >= b.timeout/8 {
		b.set = now
		if err := b.deadline(now.Add(b.timeout)); err != nil {
			return 0, err
		}
	}
	n, err := b.body.Read(p)
	b.read += int64(n)
	switch {
	case b.length >= 0 && b.read == b.length:
		b.whole.Store(true)
	case !errors.Is(err, io.EOF):
	case b.length < 0 && b.ended():
		b.whole.Store(true)
	default:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// finished reports whether the whole body was read.
func (b *requestBody) finished() bool { return b.whole.Load() }

// deadline sets the read deadline, unless Close has cut the body off.
func (b *requestBody) deadline(t time.Time) error {
	if err := b.conn.SetReadDeadline(t); err != nil {
		return err
	}
	if b.closed.Load() {
		return b.conn.SetReadDeadline(longAgo)
	}
	return nil
}

// ended tells the last chunk from a connection that ended between two chunks,
// for which fasthttp gives io.EOF as well: a body that has ended answers again
// without looking at the connection, where the deadline has passed.
func (b *requestBody) ended() bool {
	if err := b.conn.SetReadDeadline(longAgo); err != nil {
		return false
	}
	var probe [1]byte
	_, err := b.body.Read(probe[:])
	return errors.Is(err, io.EOF)
}

// Close ends a Read under way and all later ones. The connection cannot be
// used for another request.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return b.conn.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)
