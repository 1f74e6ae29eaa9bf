package proxy

import (
	"errors"
	"io"

	"ringfence/proxy/edge"
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
	client edge.Client
	record *record
	length int64 // bytes, wire.Chunked, or wire.UntilClose
	// waiting is what it was of the call.
	waiting, closed bool
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
	s := &stream{src: src, h: c.h, count: c.count, client: c.conn, record: c.record, length: length, waiting: c.waiting}
	c.src, c.streaming = nil, true
	resp := &c.ctx.Response
	resp.ImmediateHeaderFlush = true
	if length >= 0 || c.req.Minor > 0 {
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
		w = s.client
	}
	if wt, ok := s.src.(io.WriterTo); ok {
		n, err = wt.WriteTo(w)
	} else {
		n, err = s.copy(w)
	}
	s.count.bytes.Add(uint64(n))
	if s.length >= 0 && err == nil && n != s.length {
		err = io.ErrUnexpectedEOF
	}
	s.record.sent(n, err)
	switch {
	case s.length == wire.UntilClose && err == nil:
		n = 0 // the empty body that fasthttp knows of
	case s.length == wire.UntilClose:
		s.client.Abort()
	}
	return n, err
}

// waiter is a body that can be waited for without a buffer to read it into.
type waiter interface {
	// Await blocks until Read does not.
	Await()
}

// dribble is how much a read gives at least of a body whose sender is not slow:
// the next one of less is waited for first.
const dribble = 1 << 10

// copy moves the body through a buffer, which it does not hold while it waits for
// a slow upstream.
func (s *stream) copy(w io.Writer) (n int64, err error) {
	var buf *[]byte
	giveBack := func() {
		if buf != nil {
			s.h.copies.Put(buf)
			buf = nil
		}
	}
	defer giveBack()
	slow, _ := s.src.(waiter)
	for {
		if buf == nil {
			if slow != nil {
				slow.Await()
			}
			buf = s.h.copies.Get().(*[]byte)
		}
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
		case slow != nil && m < dribble:
			giveBack()
		}
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.h.leave(s.count, s.waiting)
	return s.src.Close()
}
