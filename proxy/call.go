package proxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

// call is the work space of one request. What it points to lives no longer
// than the handler's call: all strings are views of the connection's buffers.
type call struct {
	h     *Handler
	ctx   *fasthttp.RequestCtx
	count *stripe
	now   time.Time

	fields wire.Fields // as received
	method string
	target target
	route  *Route
	rq     cache.Request
	key    keys
	found  *entry // what the store has for the request, fresh or not

	src       io.ReadCloser // where the answer's body comes from, until a stream takes it over
	streaming bool          // a stream has taken over the accounting
	body      *requestBody  // nil until something may read it
	text      []byte
	query     []byte // the canonical query, where the route has rules for it
	heads     headReader
	forward   wire.Fields
}

func (c *call) begin(h *Handler, ctx *fasthttp.RequestCtx, now time.Time) {
	c.h, c.ctx, c.now = h, ctx, now
	c.count = &h.counts[ctx.ConnID()%stripes]
	c.count.inFlight.Add(1)
}

// release closes where the answer's body was to come from.
func (c *call) release() {
	if c.src != nil {
		// What it fails of is counted where it belongs.
		_ = c.src.Close()
		c.src = nil
	}
}

// reset drops what the call points to and keeps its buffers.
func (c *call) reset() {
	clear(c.fields)
	clear(c.forward)
	*c = call{
		fields: c.fields[:0], forward: c.forward[:0], text: c.text[:0], query: c.query[:0], heads: c.heads,
		key: keys{bytes: c.key.bytes[:0], name: c.key.name[:0]},
	}
}

// serve takes the request through its life.
func (c *call) serve() {
	if status, why := c.parse(); status != 0 {
		c.refuse(status, why)
		return
	}
	if c.route = c.h.routes.match(c.target.host, c.target.path); c.route == nil {
		c.refuse(404, "no route for this host and path")
		return
	}
	if c.route.Query != nil {
		c.target, c.query = c.target.withQuery(c.route.Query, c.query[:0])
	}
	c.rq = cache.NewRequest(&c.route.Policy, c.method, c.fields)
	c.key.build(c.route, c.target, c.fields)
	if !c.route.Cache {
		c.pass(cache.RouteOff)
		return
	}
	c.answer(firstLook)
}

// look says how often a request has looked for its variant. A fill may tell it
// that there are several, and then it looks once more.
type look bool

const (
	firstLook look = true
	lastLook  look = false
)

// answer answers from the store or by a fill.
func (c *call) answer(l look) {
	e, missing := c.h.find(&c.key, c.fields, c.now)
	c.found = e
	d := cache.Decide(e.object(), c.rq, c.now)
	if d.Reason == cache.Miss {
		d.Reason = missing
	}
	switch d.Action {
	case cache.Serve, cache.ServeAndRefresh:
		if d.Action == cache.ServeAndRefresh || d.TTL < e.early && cache.RefreshesEarly(e.Object, d.TTL, 1-rand.Float64()) {
			c.renew(e)
		}
		c.deliverEntry(e, cache.Status{Hit: true, HasTTL: true, TTL: d.TTL, Detail: d.Reason}, d.Age)
	case cache.OnlyIfCached:
		c.say(504, "", "not in the cache")
		c.putStatus(cache.Status{Forward: d.Reason})
	case cache.Revalidate, cache.Fetch:
		c.fetch(d.Reason, l)
	default:
		c.pass(d.Reason)
	}
}

// fetch answers by a fill, or past the cache where a fill would be in vain.
func (c *call) fetch(why cache.Reason, l look) {
	switch {
	case c.standsIn():
	case c.isUncacheable():
		c.pass(cache.Uncacheable)
	case c.rq.HasRange() && (c.route.RangeFill == 0 || c.isMarked(large)):
		c.pass(why)
	default:
		c.collapse(why, l)
	}
}

// parse reads the request's fields and target. It answers a status and a
// reason where they are malformed.
func (c *call) parse() (status int, why string) {
	hdr := &c.ctx.Request.Header
	c.method = view(hdr.Method())
	raw := hdr.RawHeaders()
	var err error
	if c.fields, err = wire.ParseFields(c.fields, view(raw)); err != nil {
		return 400, err.Error()
	}
	coding, coded := c.fields.Joined("Transfer-Encoding")
	switch {
	case !bytes.HasPrefix(hdr.Protocol(), []byte("HTTP/1.")):
		return 505, "the version is not HTTP/1.x"
	case bytes.Count(raw, []byte{'\n'}) != bytes.Count(raw, []byte{'\r'}):
		// No field line holds a CR of its own. Who is in front of us may have
		// taken a bare LF for a part of a value.
		return 400, "a line of the head ends without CR"
	case !wire.IsToken(c.method):
		return 400, "the method is not a token"
	case c.method == "CONNECT" || c.method == "TRACE":
		return 501, c.method + " is not supported"
	case coded && !wire.EqualFold(coding, "chunked"):
		return 400, "a Transfer-Encoding that is not chunked"
	case coded && c.fields.Has("Content-Length"):
		return 400, "Content-Length beside Transfer-Encoding"
	}
	if expect, ok := c.fields.Joined("Expect"); ok && !wire.EqualFold(expect, "100-continue") {
		return 417, "unknown expectation"
	}
	if wire.Nominates(c.fields) {
		// What is not forwarded must not select a key or a variant either.
		c.forward = wire.EndToEnd(c.forward[:0], c.fields)
		c.fields = append(c.fields[:0], c.forward...)
		if coded { // which says that there is a body
			c.fields = append(c.fields, wire.Field{Name: "Transfer-Encoding", Value: coding})
		}
	}
	scheme := "http"
	if c.ctx.IsTLS() {
		scheme = "https"
	}
	c.target, err = parseTarget(scheme, c.method, view(hdr.RequestURI()), hdr.IsHTTP11(), c.fields)
	if err != nil {
		return 400, err.Error()
	}
	return 0, ""
}

// leavesBody reports whether more of the request's body is unread than is worth
// waiting for.
func (c *call) leavesBody() bool {
	length := c.ctx.Request.Header.ContentLength()
	large := length < 0 || length > smallRest
	if c.body != nil {
		return !c.body.finished() && (large || c.body.closed.Load())
	}
	return large && c.ctx.RequestBodyStream() != nil
}

// view returns b as a string without copying it. It is valid as long as b is
// not changed.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// clientAddr returns the address of the peer, for X-Forwarded-For.
func clientAddr(ctx *fasthttp.RequestCtx) string {
	if tcp, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return "unknown"
}
