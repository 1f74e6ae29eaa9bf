package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"ringfence/proxy/wire"
)

const (
	// headBuffer bounds a response head and is the size of the read buffer of
	// a response under way.
	headBuffer = 16 << 10
	// maxInterim bounds the interim responses (1xx) before the final one.
	maxInterim = 16
	// uploadGrace is how long a request body may go on after the response has
	// ended. It covers the moment between the server's reading the last byte
	// and our learning that it was written.
	uploadGrace = 100 * time.Millisecond
)

// timeouts bound one exchange.
type timeouts struct {
	response    time.Duration // from the end of the request to the response head
	read, write time.Duration // silence between two reads or writes of a body
}

// buffers are the pool's reusable buffers.
type buffers struct {
	readers sync.Pool // *bufio.Reader of headBuffer bytes
	heads   sync.Pool // *[]byte, request heads
	uploads sync.Pool // *[]byte of uploadBuffer bytes
}

func newBuffers() *buffers {
	return &buffers{
		readers: sync.Pool{New: func() any { return bufio.NewReaderSize(nil, headBuffer) }},
		heads:   sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }},
		uploads: sync.Pool{New: func() any { b := make([]byte, uploadBuffer); return &b }},
	}
}

// exchange is one request and its response on one connection. It ends in
// finish, exactly once, which returns what it borrowed.
type exchange struct {
	server *server
	conn   *conn
	reader *bufio.Reader
	bufs   *buffers
	limits timeouts
	req    *Request
	unhook func() bool // takes the context's hold off the connection
	upload *upload     // nil where the request has no body
}

// start sends req to s and reads up to the response's final head. reused says
// whether the connection had served a request before.
func start(ctx context.Context, s *server, b *buffers, t timeouts, req *Request, fresh bool) (resp *Response, reused bool, err error) {
	s.inFlight.Add(1)
	s.requests.Add(1)
	c, reused, err := s.take(ctx, fresh)
	if err != nil {
		s.inFlight.Add(-1)
		return nil, false, s.fail(takeKind(err), true, err)
	}
	x := &exchange{server: s, conn: c, bufs: b, limits: t, req: req}
	x.reader = b.readers.Get().(*bufio.Reader)
	x.reader.Reset(c)
	if ctx.Done() != nil {
		x.unhook = context.AfterFunc(ctx, c.interrupt)
	}
	head, length, err := x.run()
	if err != nil {
		err = x.explain(ctx, err)
		x.finish(false)
		return nil, reused, err
	}
	c.read = deadline{timeout: t.read}
	resp = &Response{Status: head.Status, Fields: head.Fields, Length: length, Server: s.id}
	resp.Body = newBody(x, length, reusable(head, length))
	return resp, reused, nil
}

func takeKind(err error) Kind {
	if errors.Is(err, errNoConnection) {
		return ConnectionLimit
	}
	return connectKind(err)
}

// fail counts a failure and gives it its name.
func (s *server) fail(kind Kind, unsent bool, err error) error {
	s.failures[kind].Add(1)
	return &Error{Kind: kind, Server: s.id, Unsent: unsent, Err: err}
}

// run writes the request and reads the response head.
func (x *exchange) run() (head wire.ResponseHead, length int64, err error) {
	if err = x.conn.SetDeadline(time.Now().Add(x.limits.response)); err != nil {
		return head, 0, err
	}
	if err = x.writeHead(); err != nil {
		return head, 0, &sendError{err}
	}
	if x.req.Body != nil {
		if err = x.conn.SetReadDeadline(time.Time{}); err != nil {
			return head, 0, err
		}
		x.conn.write = deadline{timeout: x.limits.write}
		x.upload = startUpload(x.conn, x.bufs, x.req, x.limits.response)
	}
	if head, err = readFinalHead(x.reader); err != nil {
		return head, 0, err
	}
	if x.upload != nil {
		x.upload.headArrived()
	}
	if head.Status == 304 && !isConditional(x.req.Fields) {
		return head, 0, fmt.Errorf("%w: 304 to a request without conditions", wire.ErrHead)
	}
	length, err = wire.BodyLength(head, x.req.Method)
	return head, length, err
}

// sendError marks a failure to write the request.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

// explain turns what run met into an [Error].
func (x *exchange) explain(ctx context.Context, err error) error {
	var send *sendError
	switch {
	case ctx.Err() != nil:
		return x.server.fail(Canceled, false, context.Cause(ctx))
	case x.upload != nil && x.upload.clientErr() != nil:
		return x.server.fail(RequestIncomplete, false, x.upload.clientErr())
	case errors.As(err, &send):
		return x.server.fail(writeKind(err), false, err)
	}
	return x.server.fail(headKind(err), false, err)
}

func (x *exchange) writeHead() error {
	buf := x.bufs.heads.Get().(*[]byte)
	defer x.bufs.heads.Put(buf)
	*buf = appendHead((*buf)[:0], x.req)
	_, err := x.conn.Write(*buf)
	return err
}

// appendHead appends the request's head: its fields as they are, and the
// framing that fits its body (RFC 9112, section 6).
func appendHead(dst []byte, req *Request) []byte {
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, req.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = wire.AppendFields(dst, req.Fields)
	switch {
	case req.Body != nil && req.Length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case req.Body != nil || expectsBody(req.Method):
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, max(req.Length, 0), 10)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// expectsBody reports whether a request without a body should say so
// (RFC 9110, section 8.6).
func expectsBody(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

func isConditional(f wire.Fields) bool {
	return f.Has("If-None-Match") || f.Has("If-Modified-Since")
}

func readFinalHead(r *bufio.Reader) (wire.ResponseHead, error) {
	for range maxInterim {
		head, err := wire.ReadResponseHead(r)
		switch {
		case err != nil:
			return head, err
		case head.Status >= 200:
			return head, nil
		case head.Status == 101:
			return head, fmt.Errorf("%w: switched protocols unasked", wire.ErrHead)
		}
	}
	return wire.ResponseHead{}, fmt.Errorf("%w: more than %d interim responses", wire.ErrHead, maxInterim)
}

// reusable reports whether the connection persists after this response
// (RFC 9112, section 9.3).
func reusable(head wire.ResponseHead, length int64) bool {
	return head.Minor >= 1 && length != wire.UntilClose && !head.Fields.HasToken("Connection", "close")
}

// finish ends the exchange. The connection is kept only where keep is true and
// nothing is left on it or under way.
func (x *exchange) finish(keep bool) {
	if x.upload != nil && !x.upload.end(keep) {
		keep = false
	}
	if x.unhook != nil && !x.unhook() {
		keep = false
	}
	if keep && x.reader.Buffered() == 0 {
		x.server.give(x.conn)
	} else {
		x.server.discard(x.conn)
	}
	x.reader.Reset(nil)
	x.bufs.readers.Put(x.reader)
	x.server.inFlight.Add(-1)
}

// body is a response's body. It answers io.EOF only where the body is
// complete.
type body struct {
	x    *exchange
	src  io.Reader
	left int64 // bytes still to come, or one of the wire lengths below 0
	keep bool
	err  error // what ended it; nil while it is open
}

func newBody(x *exchange, length int64, keep bool) *body {
	b := &body{x: x, src: x.reader, left: length, keep: keep}
	switch length {
	case 0:
		b.end(io.EOF)
	case wire.Chunked:
		b.src = wire.NewChunkedReader(x.reader)
	}
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.src.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
		switch {
		case b.left == 0:
			err = io.EOF
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		b.end(err)
		err = b.err
	}
	return n, err
}

// Close implements io.Closer. A body that is closed before its end costs its
// connection.
func (b *body) Close() error {
	if b.err == nil {
		b.end(errBodyClosed)
	}
	return nil
}

var errBodyClosed = errors.New("read from a closed response body")

func (b *body) end(err error) {
	switch {
	case errors.Is(err, io.EOF):
		b.err = io.EOF
	case errors.Is(err, errBodyClosed):
		b.err = err
	default:
		b.err = b.x.server.fail(bodyKind(err), false, err)
	}
	b.x.finish(errors.Is(b.err, io.EOF) && b.keep)
}
