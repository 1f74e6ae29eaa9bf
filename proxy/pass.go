package proxy

import (
	"strconv"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
)

// pass sends the request on as it is and streams the answer to this client
// alone.
func (c *call) pass(why cache.Reason) {
	if !c.enter(why) {
		return
	}
	c.identify()
	c.forward = appendForwarded(c.forward[:0], c.sender(), c.target, c.fields)
	req := &upstream.Request{
		Method: c.method, Target: c.target.raw, Fields: c.forward,
		Hash: c.key.hash, Key: c.route.PlaceBy.of(c.target, c.fields, c.client()), Upgrade: c.switchTo,
		Client: wire.ProxyHeader{Source: c.conn.Peer(), Destination: c.conn.Local()},
	}
	early := c.openInterim()
	req.Interim = early.forward
	if c.body = c.req.Body; c.body != nil {
		c.body.Start = func() { early.forward(100, nil) }
		req.Body, req.Length = c.body, c.body.Length
	}
	requested := time.Now()
	resp, err := c.h.do(c.conn.Context(), c.route.Upstream, req, c.snap.RequestID)
	early.end()
	c.record.asked(requested, resp, err)
	c.watch.answered(c, resp, requested, err)
	switch {
	case err != nil && c.isGone():
		c.sayNothing(why)
		return
	case err != nil:
		c.failOrStale(err, why)
		return
	}
	c.src, c.now = resp.Body, time.Now()
	if server, ok := resp.Body.(*upstream.Tunnel); ok {
		c.handOver(server, resp.Fields)
		return
	}
	c.src = c.watch.body(c.src, resp.Length)
	if c.servesOnError(c.found) && c.fails(resp, requested) {
		c.release()
		c.deliverStale(c.found, cache.Status{Forward: why, ForwardStatus: resp.Status})
		return
	}
	if cache.Invalidates(c.method, resp.Status) {
		c.invalidate(resp)
	}
	if found := c.known(); found != nil && c.ctx.IsHead() {
		c.updateByHead(found, resp, requested)
	}
	err = c.passHead(resp)
	if err == nil && resp.Length != 0 {
		err = c.putStream(c.src, frame(resp.Length), resp.Arrived())
	}
	if err != nil {
		c.fail(err, why)
		return
	}
	c.putStatus(cache.Status{Forward: why})
	c.outcome = Passed
	c.putID()
	if c.body != nil && !c.body.Whole() {
		// The answer is there before the request: the client had better stop
		// sending, and what it sends is no request.
		c.ctx.Response.Header.SetConnectionClose()
	}
}

// fails reports whether a response that is passed on counts as a failure of the
// upstream, as it would in answer to a fill.
func (c *call) fails(resp *upstream.Response, requested time.Time) bool {
	if resp.Status < 500 {
		return false
	}
	rq := cache.NewRequest(&c.route.Policy, "GET", c.fields)
	m, _ := cache.Assess(&c.route.Policy, rq, resp.Status, resp.Fields, requested, c.now)
	return cache.FailsUpstream(m)
}

// passHead makes the head of the answer from that of the upstream.
func (c *call) passHead(resp *upstream.Response) error {
	fields := wire.EndToEnd(make(wire.Fields, 0, len(resp.Fields)+1), c.route.Policy.TagFields.Strip(resp.Fields))
	if !fields.Has("Date") { // RFC 9110, section 6.6.1
		fields = append(fields, wire.Field{Name: "Date", Value: string(cache.AppendDate(nil, time.Now()))})
	}
	length := frame(resp.Length)
	if c.ctx.IsHead() && !fields.Has("Content-Length") {
		length = wire.UntilClose
	}
	return c.readHead(resp.Status, fields, length)
}

// updateByHead lets the answer to a HEAD freshen the stored response to a GET,
// or show that it no longer stands (RFC 9111, section 4.3.5), unless it is about
// who asked, or in a coding that no fill asks for.
func (c *call) updateByHead(found *entry, resp *upstream.Response, requested time.Time) {
	if c.route.Compression != nil && resp.Fields.Has("Content-Encoding") {
		return
	}
	fields := resp.Fields
	if c.watch != nil && fields.Get("Content-Length") == strconv.FormatInt(found.unkept, 10) {
		fields = without(fields, "Content-Length") // there is no body to compare it with
	}
	o, verdict := cache.UpdateByHead(&c.route.Policy, found.Object, c.rq, resp.Status, fields, requested, c.now)
	switch verdict {
	case cache.HeadInvalidates:
		if !hasCredentials(c.fields) {
			c.tables.store.Delete(found.Key)
		}
	case cache.HeadFreshens:
		j := c.newJob(found)
		e, err := j.entry(o, found)
		switch {
		case err != nil: // fasthttp took its head before
		case c.watch != nil:
			c.watch.counts.countStored(j.shelve(e, found))
		default:
			j.put(e, found)
		}
	}
}
