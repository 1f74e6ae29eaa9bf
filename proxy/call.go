package proxy

import (
	"io"
	"math/rand/v2"
	"net/netip"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// call is the work space of one request. What it points to lives no longer
// than the handler's call: all strings are views of the connection's buffers.
type call struct {
	h     *Handler
	snap  *snapshot
	ctx   *fasthttp.RequestCtx // for the answer; nil for what Hit answers
	conn  edge.Client
	req   *edge.Request
	count *stripe
	lane  uint64 // that of count
	// outcome is what became of the request in the cache.
	outcome Outcome
	// record is nil without an access log.
	record *record
	now    time.Time

	fields wire.Fields // as received, without what a Connection line nominates
	method string
	target target
	route  *Route
	// offers are the protocols that the client would switch to, as a list, and
	// switchTo is the one of them that the upstream is asked for, "" for none.
	offers, switchTo string

	rq    cache.Request
	key   keys
	found *entry // what the store has for the request, fresh or not
	// tables are those that the request is looked up in, and watch what becomes of a
	// request of a route that observes; nil for others.
	tables *tables
	watch  *watch

	peerTrusted bool
	hops        []netip.Addr // from the peer to the client, as soon as they matter
	id          string       // of a request that is forwarded; "" where there are no ids

	src     io.ReadCloser // where the answer's body comes from, until a stream takes it over
	out     *stream       // has taken over the accounting, where it is not nil
	waiting bool          // it counts among the requests that memory cannot answer
	body    *edge.Body    // nil until something may read it
	text    []byte
	query   []byte // the canonical query, where the route has rules for it
	forward wire.Fields
	kept    wire.Fields // room for fields where they are not all
}

// begin begins with the request that is to be answered on a connection, which has
// this number.
func (c *call) begin(h *Handler, conn edge.Client, number uint64) {
	c.h, c.snap, c.tables = h, h.snap.Load(), &h.tables
	c.conn, c.req = conn, conn.Request()
	c.now = c.req.Time
	c.lane = number % stripes
	c.count = &h.counts[c.lane]
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
	clear(c.kept)
	clear(c.forward)
	*c = call{
		kept: c.kept[:0], forward: c.forward[:0], text: c.text[:0], query: c.query[:0], hops: c.hops[:0],
		key: keys{bytes: c.key.bytes[:0], name: c.key.name[:0]},
	}
}

// serve takes the request through its life.
func (c *call) serve() {
	switch to, status, why := c.chart(); to {
	case refused:
		c.refuse(status, why)
	case redirected:
		c.redirect(c.conn.Site().RedirectToHTTPS)
	case ours:
		c.options()
	case purges:
		c.purge()
	case upgrades:
		c.upgrade()
	case uncached:
		c.pass(cache.RouteOff)
	case observed:
		c.h.hot.see(c)
		c.observe()
	default:
		c.h.hot.see(c)
		c.answer(firstLook)
	}
}

// enter counts the request among those that memory cannot answer. Where there are
// too many it answers, and reports false.
func (c *call) enter(why cache.Reason) bool {
	if c.waiting {
		return true
	}
	if c.h.waiting.Add(1) > int64(c.snap.MaxRequests) {
		c.h.waiting.Add(-1)
		c.count.overload.Add(1)
		c.h.failed.note(c.route, c.method, c.target, errBusy)
		c.sayFailureOrStale(errBusy, why)
		return false
	}
	c.waiting = true
	return true
}

// leave ends the accounting of a request.
func (h *Handler) leave(count *stripe, waiting bool) {
	count.inFlight.Add(-1)
	if waiting {
		h.waiting.Add(-1)
	}
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
	switch p, d := c.decide(); p {
	case fromStore:
		e := c.found
		if d.Action == cache.ServeAndRefresh || d.TTL < e.early && cache.RefreshesEarly(e.Object, d.TTL, 1-rand.Float64()) {
			c.renew(e)
		}
		c.deliverEntry(e, cache.Status{Hit: true, HasTTL: true, TTL: d.TTL, Detail: d.Reason}, d.Age)
	case standingIn:
		c.standIn()
	case notCached:
		c.say(504, "", "not in the cache")
		c.putStatus(cache.Status{Forward: d.Reason})
	case byFill:
		c.collapse(d.Reason, l)
	default:
		c.pass(d.Reason)
	}
}

// parse reads what the request is for. It answers a status and a reason where
// that is not clear, or where the request was not read at all.
func (c *call) parse() (status int, why string) {
	if r := c.req.Refusal; r != nil {
		return r.Status, r.Why
	}
	c.method, c.fields = c.req.Method, c.req.Fields
	if c.method == "CONNECT" || c.method == "TRACE" {
		return 501, c.method + " is not supported"
	}
	if c.fields.Has("Upgrade") {
		c.offers = offers(c.req.RequestHead)
	}
	if wire.Nominates(c.fields) {
		// What is not forwarded must not select a key or a variant either.
		c.kept = wire.EndToEnd(c.kept[:0], c.fields)
		if c.req.Length == wire.Chunked { // there is a body, whatever is nominated
			c.kept = append(c.kept, wire.Field{Name: "Transfer-Encoding", Value: "chunked"})
		}
		c.fields = c.kept
	}
	var err error
	if c.target, err = parseTarget(c.readPeer(), c.method, c.req.Target, c.fields); err != nil {
		return 400, err.Error()
	}
	return 0, ""
}

// isGone reports whether the client has taken the request back: then nobody
// reads the answer.
func (c *call) isGone() bool { return c.conn.Context().Err() != nil }

// leavesBody reports whether more of the request's body is unread than is worth
// waiting for.
func (c *call) leavesBody() bool {
	body := c.req.Body
	return body != nil && !body.Whole() && (c.body != nil || !body.Spare())
}

// view returns b as a string without copying it. It is valid as long as b is
// not changed.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
