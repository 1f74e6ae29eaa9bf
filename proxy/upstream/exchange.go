package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"ringfence/proxy/wire"
)

// maxInterim bounds the interim responses (1xx) before the final one.
const maxInterim = 16

// Response is what a server answered.
type Response struct {
	// Status is 200 or above, or 101 to a request with an Upgrade: interim
	// responses are for [Request].Interim.
	Status int
	// Fields are the field lines as received, hop-by-hop ones included. They
	// are the caller's to keep.
	Fields wire.Fields
	// Length is the body's length in bytes, wire.Chunked or wire.UntilClose.
	Length int64
	// Body streams the body. It is never nil, gives io.EOF only where the body
	// is complete and an [Error] where it is not, and must be closed. It is for
	// one goroutine; to break it off from another, end the context of
	// [Pool.Do]. After a 101 it is a [*Tunnel].
	Body io.ReadCloser
	// Server is the id of the server that answered.
	Server string
	// Attempts is how many servers were asked.
	Attempts int
}

// Arrived says how many bytes of a body of known length are there to be read
// without waiting.
func (r *Response) Arrived() int64 {
	b, ok := r.Body.(*body)
	if !ok {
		return 0
	}
	return b.arrived()
}

// terms are what one exchange is held to.
type terms struct {
	response    time.Duration // from the end of the request to the response head
	read, write time.Duration // silence between two reads or writes of a body
	failures    []int         // statuses that count as failures of the server
	movable     bool          // another server may be asked in its place
}

// buffers are the pool's reusable buffers.
type buffers struct {
	readers sync.Pool // *bufio.Reader of Options.MaxHeadSize bytes
	heads   sync.Pool // *[]byte, request heads
	uploads sync.Pool // *[]byte of uploadBuffer bytes
}

func newBuffers(maxHead int) *buffers {
	return &buffers{
		readers: sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxHead) }},
		heads:   sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }},
		uploads: sync.Pool{New: func() any { b := make([]byte, uploadBuffer); return &b }},
	}
}

// exchange is one request and its response on one connection. It ends in
// finish, exactly once, which returns what it borrowed. What the response
// consists of is part of it, so that it takes one allocation.
type exchange struct {
	ctx        context.Context
	server     *server
	conn       *conn
	bufs       *buffers
	limits     terms
	req        *Request
	began      time.Time
	took       time.Duration // until the head was there
	prev, next *exchange     // of those that wait for the server's head
	abandoned  bool          // meanwhile
	failed     bool          // by its status
	unhook     func() bool   // takes the context's hold off the connection; nil: it has none
	release    func()        // called at the end; nil: nothing is
	upload     *upload       // nil where the request has no body
	persist    bool          // the connection may serve another request
	resp       Response
	body       body
}

// start sends req to s, which the caller has entered, and reads up to the
// response's final head, on a connection that has served no request before where
// fresh is set. stale says that it failed because a kept connection had ended,
// which says nothing of the server, and that req may be sent to it again. The
// end of the response's body leaves the server; where start fails, that is for
// the caller to do.
func start(ctx context.Context, s *server, b *buffers, t terms, req *Request, fresh bool) (resp *Response, stale bool, err error) {
	x := &exchange{ctx: ctx, server: s, bufs: b, limits: t, req: req, began: time.Now()}
	s.requests.Add(1)
	var reused bool
	if err = ctx.Err(); err == nil {
		x.conn, reused, err = s.take(ctx, req.Client, fresh)
	}
	if err != nil {
		err = x.blame(connectKind(err), true, err)
		x.judge(err)
		return nil, false, err
	}
	x.conn.takeIn(&b.readers)
	if ctx.Done() != nil {
		x.unhook = context.AfterFunc(ctx, x.conn.interrupt)
	}
	if err = x.run(); err != nil {
		if stale = reused && isHangUp(err) && isResendable(req, err); !stale {
			x.judge(err)
		}
		x.finish(false)
		return nil, stale, err
	}
	return &x.resp, false, nil
}

// run writes the request, reads the response head and opens the body.
func (x *exchange) run() error {
	if sent, err := x.writeHead(); err != nil {
		return x.blame(writeKind(err), sent == 0, err)
	}
	if x.req.hasBody() {
		x.upload = startUpload(x.conn, x.bufs, x.req, x.limits)
	}
	x.server.await(x)
	head, err := readFinalHead(x.conn.load(), x.req)
	x.conn.in.Unload()
	if !x.server.arrived(x) {
		return x.blame(Terminated, false, errAbandoned)
	}
	if err == nil && head.Status == 304 && !x.req.isConditional() {
		err = fmt.Errorf("%w: 304 to a request without conditions", wire.ErrHead)
	}
	var length int64
	if err == nil {
		length, err = wire.BodyLength(head, x.req.Method)
	}
	if err != nil {
		return x.blame(headKind(err), false, err)
	}
	if x.upload != nil {
		x.upload.headArrived()
	}
	x.took, x.failed = time.Since(x.began), slices.Contains(x.limits.failures, head.Status)
	if head.Status == 101 {
		return x.openTunnel(head)
	}
	x.conn.read = deadline{timeout: x.limits.read}
	x.persist = persists(head, length)
	x.resp = Response{Status: head.Status, Fields: head.Fields, Length: length, Body: &x.body, Server: x.server.id}
	x.body.open(x, length)
	return nil
}

// writeHead sends the request's head and returns how much of it left. The wait
// for the response begins with it, unless a body follows.
func (x *exchange) writeHead() (int, error) {
	if err := x.conn.SetDeadline(time.Now().Add(x.limits.response)); err != nil {
		return 0, err
	}
	buf := x.bufs.heads.Get().(*[]byte)
	defer x.bufs.heads.Put(buf)
	*buf = x.req.appendHead((*buf)[:0])
	return x.conn.Write(*buf)
}

// readFinalHead reads past the interim responses (RFC 9110, section 15.2), and
// hands those to req.Interim that say something: not 100, for which nothing
// waits. A 101 to what was asked for is final.
func readFinalHead(r *bufio.Reader, req *Request) (wire.ResponseHead, error) {
	for range maxInterim + 1 {
		head, err := wire.ReadResponseHead(r)
		switch {
		case err != nil:
			return head, err
		case head.Status >= 200, head.Status == 101 && switches(head, req.Upgrade):
			return head, nil
		case head.Status == 101:
			return head, fmt.Errorf("%w: switched protocols unasked", wire.ErrHead)
		case head.Status != 100 && req.Interim != nil:
			req.Interim(head.Status, head.Fields)
		}
	}
	return wire.ResponseHead{}, fmt.Errorf("%w: more than %d interim responses", wire.ErrHead, maxInterim)
}

// persists reports whether the connection may serve another request after this
// response (RFC 9112, section 9.3). A 204 that announces a body may be followed
// by one, which would be read as the next response.
func persists(head wire.ResponseHead, length int64) bool {
	if head.Minor == 0 || length == wire.UntilClose || head.Fields.HasToken("Connection", "close") {
		return false
	}
	if head.Status != 204 {
		return true
	}
	announced := head.Fields.Get("Content-Length")
	return !head.Fields.Has("Transfer-Encoding") && (announced == "" || announced == "0")
}

// blame counts a failure and gives it its name: kind, unless the context or the
// upload is behind it.
func (x *exchange) blame(kind Kind, unsent bool, err error) error {
	if x.ctx.Err() != nil {
		kind, err = Canceled, context.Cause(x.ctx)
	} else if x.upload != nil && !x.abandoned {
		if k, why := x.upload.failure(); why != nil {
			kind, err = k, why
		}
	}
	return x.server.failed(kind, unsent, err)
}

// finish ends the exchange. The connection is kept only where the response is
// complete and nothing is left on it or under way.
func (x *exchange) finish(complete bool) {
	keep := complete && x.persist
	if x.upload != nil && !x.upload.end(complete) {
		keep = false
	}
	if x.unhook != nil && !x.unhook() {
		keep = false
	}
	keep = keep && x.conn.in.Buffered() == 0
	x.conn.in.Drop()
	if keep {
		x.server.give(x.conn)
	} else {
		x.server.discard(x.conn)
	}
	if x.release != nil {
		x.release()
	}
}
