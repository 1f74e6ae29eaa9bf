package proxy

import (
	"errors"
	"io"
	"sync"
	"time"

	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// copyBuffer is how much of a body is moved at a time, and thriftyBuffer while it
// may be that its client reads nothing: a system takes some 32 KiB for any client,
// and a few times as much for few that read nothing.
const (
	copyBuffer    = 32 << 10
	thriftyBuffer = 16 << 10
	surelySent    = copyBuffer
	surelyRead    = 256 << 10
)

// stream hands an answer's body to fasthttp as it arrives. It takes over the
// request's accounting, which ends with Close.
type stream struct {
	src    io.ReadCloser
	h      *Handler
	count  *stripe
	client edge.Client
	record *record
	length int64 // bytes, wire.Chunked, or wire.UntilClose
	ready  bool  // some of it is there
	// waiting, began and outcome are what they were of the call, which tells of the
	// last two as it ends.
	waiting, closed bool
	began           time.Time
	outcome         Outcome
}

// putStream sets the body of the answer, its length in bytes or wire.Chunked,
// of which some have arrived. A short one that is all there leaves in one piece
// with its head. Where it fails nothing is set.
func (c *call) putStream(src io.ReadCloser, length, arrived int64) error {
	if length <= 0 || length > copyBuffer || arrived < length {
		c.stream(src, length, arrived > 0)
		return nil
	}
	buf := c.h.copies.Get().(*[]byte)
	defer c.h.copies.Put(buf)
	if _, err := io.ReadFull(src, (*buf)[:length]); err != nil {
		return err
	}
	c.ctx.Response.SetBody((*buf)[:length])
	return nil
}

// stream sets the body of the answer, and its length in bytes or wire.Chunked. The
// head waits for the beginning of one that is ready. It takes src over.
func (c *call) stream(src io.ReadCloser, length int64, ready bool) {
	s := &stream{src: src, h: c.h, count: c.count, client: c.conn, record: c.record, length: length, ready: ready, waiting: c.waiting}
	c.src, c.out = nil, s
	resp := &c.ctx.Response
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

// chunks writes each part of a body as a chunk.
type chunks struct{ edge.Client }

// Write implements io.Writer.
func (c chunks) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.WriteChunk(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteTo moves the body to the client itself, past fasthttp, which only ends it:
// so each byte leaves when it comes, and the head at once where none is there yet.
func (s *stream) WriteTo(io.Writer) (n int64, err error) {
	n, err = s.send()
	s.count.bytes[s.outcome].Add(uint64(n))
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

func (s *stream) send() (n int64, err error) {
	if !s.ready {
		if err := s.client.Flush(); err != nil {
			return 0, err
		}
	}
	var w io.Writer = s.client
	if s.length == wire.Chunked {
		w = chunks{s.client}
	}
	if wt, ok := s.src.(io.WriterTo); ok {
		return wt.WriteTo(w)
	}
	return s.copy(w)
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
	var pool *sync.Pool
	var buf *[]byte
	giveBack := func() {
		if buf != nil {
			pool.Put(buf)
			buf = nil
		}
	}
	defer giveBack()
	slow, _ := s.src.(waiter)
	for {
		if next := s.h.copyPool(n); next != pool {
			giveBack()
			pool = next
		}
		if buf == nil {
			if slow != nil {
				slow.Await()
			}
			buf = pool.Get().(*[]byte)
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

// copyPool is what to take a buffer from once n bytes of a body were sent.
func (h *Handler) copyPool(n int64) *sync.Pool {
	if n >= surelySent && n < surelyRead {
		return &h.thrifty
	}
	return &h.copies
}

// Close implements io.Closer.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.h.timings.whole[s.outcome].Observe(time.Since(s.began))
	s.h.leave(s.count, s.waiting)
	return s.src.Close()
}
