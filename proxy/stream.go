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

const (
	// copyBuffer is how much of a body is moved at a time.
	copyBuffer = 32 << 10
	// maxWrite is how much a client must take within the write timeout.
	maxWrite = 64 << 10
)

// stream hands an answer's body to fasthttp as it arrives. It takes over the
// request's accounting, which ends with Close.
type stream struct {
	src    io.ReadCloser
	h      *Handler
	count  *stripe
	conn   net.Conn
	length int64        // bytes, wire.Chunked, or wire.UntilClose
	body   *requestBody // of the request, nil for none
	closed bool
}

// putStream sets the body of the answer, its length in bytes or wire.Chunked,
// of which some have arrived. A short one that is all there leaves in one piece
// with its head. Where it fails nothing is set.
func (c *call) putStream(src io.ReadCloser, length, arrived int64) error {
	if length <= 0 || length > copyBuffer || arrived < length {
		c.stream(src, length)
		return nil
	}
	buf := c.h.copies.Get().(*[]byte)
	defer c.h.copies.Put(buf)
	if _, err := io.ReadFull(src, (*buf)[:length]); err != nil {
		return err
	}
	c.ctx.Response.SetBody((*buf)[:length])
	c.count.bytes.Add(uint64(length))
	return nil
}

// stream sets the body of the answer, and its length in bytes or wire.Chunked.
// It takes src over.
func (c *call) stream(src io.ReadCloser, length int64) {
	s := &stream{src: src, h: c.h, count: c.count, conn: c.ctx.Conn(), length: length, body: c.body}
	c.src, c.streaming = nil, true
	resp := &c.ctx.Response
	resp.ImmediateHeaderFlush = true
	if length >= 0 || c.ctx.Request.Header.IsHTTP11() {
		resp.SetBodyStream(s, int(length))
		return
	}
	// An HTTP/1.0 client knows no chunks: the body ends with the connection
	// (RFC 9112, section 6.3). fasthttp knows no such body, so it is told of an
	// empty one.
	s.length = wire.UntilClose
	resp.SetBodyStream(s, 0)
	resp.Header.Del("Content-Length")
	resp.Header.SetConnectionClose()
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) { return s.src.Read(p) }

// SupportsBodyWriteTo tells fasthttp to use WriteTo.
func (s *stream) SupportsBodyWriteTo() bool { return true }

// WriteTo moves the body to w. Unless it is sent in chunks it goes to the
// connection itself, past fasthttp's buffer, which is empty once the head was
// flushed: so each byte leaves when it comes.
func (s *stream) WriteTo(w io.Writer) (n int64, err error) {
	if s.length != wire.Chunked {
		w = s.conn
	}
	w = &out{conn: s.conn, w: w, timeout: s.h.opts.WriteTimeout}
	if wt, ok := s.src.(io.WriterTo); ok {
		n, err = wt.WriteTo(w)
	} else {
		n, err = s.copy(w)
	}
	s.count.bytes.Add(uint64(n))
	switch {
	case s.length >= 0 && err == nil && n != s.length:
		err = io.ErrUnexpectedEOF
	case s.length == wire.UntilClose && err == nil:
		n = 0 // the empty body that fasthttp knows of
	case s.length == wire.UntilClose:
		abort(s.conn)
	}
	return n, err
}

// abort makes the peer see a reset instead of a regular end, where the
// connection can do that.
func abort(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
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

// Write implements io.Writer. It writes no more than maxWrite bytes at a time,
// so that what has to leave within the timeout does not grow with p.
func (o *out) Write(p []byte) (n int, err error) {
	for {
		// As in the upstream's connections: the clock is cheaper than the timer.
		if now := time.Now(); now.Sub(o.set) >= o.timeout/8 {
			o.set = now
			if err := o.conn.SetWriteDeadline(now.Add(o.timeout)); err != nil {
				return n, err
			}
		}
		m, err := o.w.Write(p[:min(len(p), maxWrite)])
		n += m
		if p = p[m:]; err != nil || len(p) == 0 {
			return n, err
		}
	}
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
