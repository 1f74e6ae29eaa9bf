package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
)

// largeBody is the size from which a stored body is streamed, so that a slow
// client's deadline moves on as it reads.
const largeBody = 256 << 10

// deliverEntry answers from a stored object (RFC 9110, section 13.2.2 and 14).
func (c *call) deliverEntry(e *entry, st cache.Status, age time.Duration) {
	resp := &c.ctx.Response
	e.head.CopyTo(&resp.Header)
	body := e.Body
	switch a := cache.Evaluate(e.Meta, int64(len(e.Body)), c.rq); a.Kind {
	case cache.NotModified:
		c.notModified()
		body = nil
	case cache.Part:
		body = body[a.Offset : a.Offset+a.Length]
		c.text = appendContentRange(c.text[:0], a.Offset, a.Length, int64(len(e.Body)))
		resp.Header.SetBytesV("Content-Range", c.text)
		resp.Header.SetStatusCode(206)
	case cache.NotSatisfiable:
		c.say(416, "", "the range lies outside the representation")
		resp.Header.Set("Content-Range", "bytes */"+strconv.Itoa(len(e.Body)))
		body = nil
	}
	c.text = strconv.AppendInt(c.text[:0], int64(age/time.Second), 10)
	resp.Header.AddBytesV("Age", c.text)
	c.putStatus(st)
	if body != nil {
		c.putBody(body)
	}
}

func (c *call) putBody(body []byte) {
	switch head := c.ctx.IsHead(); {
	case !head && len(body) > largeBody:
		c.stream(io.NopCloser(bytes.NewReader(body)), int64(len(body)))
		return
	case !head:
		c.count.bytes.Add(uint64(len(body)))
	}
	c.ctx.Response.SetBodyRaw(body)
}

// notModified makes the header that was copied a 304 (RFC 9110, section
// 15.4.5).
func (c *call) notModified() {
	h := &c.ctx.Response.Header
	h.SetStatusCode(304)
	h.SetStatusMessage(nil)
	h.Del("Content-Length")
	h.Del("Transfer-Encoding")
	c.ctx.Response.SkipBody = true
}

func appendContentRange(dst []byte, offset, length, size int64) []byte {
	dst = append(dst, "bytes "...)
	dst = strconv.AppendInt(dst, offset, 10)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, offset+length-1, 10)
	dst = append(dst, '/')
	return strconv.AppendInt(dst, size, 10)
}

// collapse answers with the fill of the request's key: another request's, or
// one of its own.
func (c *call) collapse(stale *entry, why cache.Reason, l look) {
	j := c.newJob(stale)
	r, err := c.h.flights.Join(j.flight, j.fill)
	switch {
	case errors.Is(err, singleflight.ErrTooManyReaders), errors.Is(err, singleflight.ErrTooManyFlights):
		c.pass(why)
		return
	case err != nil:
		c.sayFailure(err, why)
		return
	}
	c.src = flightBody{r}
	hd, outcome, err := c.wait(r)
	switch {
	case outcome == singleflight.Ready && !hd.found && (r.Leader() || c.selects(hd)):
		c.deliverFlight(r, hd, why)
	case outcome == singleflight.Ready && l == firstLook:
		// There is an object now, or the key is known to vary.
		c.release()
		c.now = time.Now()
		c.answer(lastLook)
	case outcome == singleflight.Failed && r.Leader():
		c.fail(err, why)
	case outcome == singleflight.Failed:
		c.sayFailure(err, why)
	default:
		c.release()
		c.pass(why)
	}
}

// wait blocks until the flight's verdict. A follower whose patience ends before
// it counts as released; a leader's wait is bounded by the flight itself.
func (c *call) wait(r *singleflight.Reader[*head]) (*head, singleflight.Outcome, error) {
	ctx := context.Background()
	if !r.Leader() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.h.opts.WaitTimeout)
		defer cancel()
	}
	hd, outcome, err := r.Wait(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil, singleflight.Released, nil
	}
	return hd, outcome, err
}

// selects reports whether a flight's response is the variant that this request
// selects.
func (c *call) selects(hd *head) bool {
	if hd.entry != nil || len(hd.meta.Vary) == 0 {
		return true
	}
	c.text = cache.AppendVariant(c.text[:0], hd.meta.Vary, c.fields)
	return string(c.text) == hd.variant
}

// deliverFlight streams from a fill.
func (c *call) deliverFlight(r *singleflight.Reader[*head], hd *head, why cache.Reason) {
	st := cache.Status{Forward: why, Collapsed: !r.Leader()}
	if st.Collapsed {
		c.count.collapsed.Add(1)
	}
	c.countForward(why)
	st.Detail, st.Stored = hd.reason, hd.reason == cache.None
	if hd.entry != nil {
		c.release()
		age := hd.entry.Age(time.Now())
		st.ForwardStatus = 304
		st.HasTTL, st.TTL = true, hd.entry.Lifetime-age
		c.deliverEntry(hd.entry, st, age)
		return
	}
	st.HasTTL, st.TTL = st.Stored, hd.meta.Lifetime-hd.meta.InitialAge
	hd.shared.CopyTo(&c.ctx.Response.Header)
	if hd.meta.InitialAge >= time.Second {
		c.text = strconv.AppendInt(c.text[:0], int64(hd.meta.InitialAge/time.Second), 10)
		c.ctx.Response.Header.AddBytesV("Age", c.text)
	}
	c.putStatus(st)
	if cache.Evaluate(hd.meta, hd.length, c.rq).Kind == cache.NotModified {
		c.release()
		c.notModified()
		return
	}
	c.putStream(c.src, frame(hd.length), r.Arrived())
}

// flightBody is a flight's reader as a body.
type flightBody struct{ *singleflight.Reader[*head] }

// Close implements io.Closer.
func (b flightBody) Close() error {
	b.Reader.Close()
	return nil
}

// pass sends the request on as it is and streams the answer to this client
// alone.
func (c *call) pass(why cache.Reason) {
	c.countForward(why)
	c.forward = appendForwarded(c.forward[:0], c.ctx, c.target, c.fields)
	req := &upstream.Request{
		Method: c.method, Target: c.target.raw, Fields: c.forward, Hash: c.key.hash,
	}
	if body := c.ctx.RequestBodyStream(); body != nil {
		c.body = newRequestBody(c.ctx, body, c.h.opts.ReadTimeout)
		req.Body, req.Length = c.body, c.body.length
	}
	resp, err := c.h.do(context.Background(), c.route.Upstream, req)
	if err != nil {
		c.fail(err, why)
		return
	}
	c.src = resp.Body
	if cache.Invalidates(c.method, resp.Status) {
		c.h.epochs.Bump(c.key.hash)
	}
	fields := wire.EndToEnd(make(wire.Fields, 0, len(resp.Fields)+1), resp.Fields)
	if !fields.Has("Date") { // RFC 9110, section 6.6.1
		fields = append(fields, wire.Field{Name: "Date", Value: string(cache.AppendDate(nil, time.Now()))})
	}
	length := frame(resp.Length)
	if c.ctx.IsHead() && !fields.Has("Content-Length") {
		length = wire.UntilClose
	}
	if err := c.heads.read(&c.ctx.Response.Header, resp.Status, fields, length); err != nil {
		c.fail(err, why)
		return
	}
	c.putStatus(cache.Status{Forward: why})
	if c.body != nil && !c.body.finished() {
		// The answer is there before the request: the client had better stop
		// sending, and what it sends is no request.
		c.ctx.Response.Header.SetConnectionClose()
	}
	if resp.Length != 0 {
		c.putStream(resp.Body, length, resp.Arrived())
	}
}

// fail logs why there is no answer, and tells the client.
func (c *call) fail(err error, why cache.Reason) {
	c.h.log.Warn("request failed", "method", c.method, "host", c.target.authority, "target", c.target.raw,
		"status", failureOf(err).status, "error", err)
	c.sayFailure(err, why)
}

// sayFailure tells the client why there is no answer. Of a failure that many
// share one has been logged.
func (c *call) sayFailure(err error, why cache.Reason) {
	f := failureOf(err)
	c.say(f.status, f.kind, f.text)
	if f.isBusy() {
		c.ctx.Response.Header.Set("Retry-After", "1")
	}
	c.putStatus(cache.Status{Forward: why})
}

// refuse answers a request that cannot be taken further.
func (c *call) refuse(status int, why string) {
	c.count.refused.Add(1)
	c.say(status, "", why)
	if status != 404 {
		c.ctx.Response.Header.SetConnectionClose()
	}
	c.text = append(c.text[:0], pseudonym+"; detail=refused"...)
	c.ctx.Response.Header.AddBytesV("Cache-Status", c.text)
}

// say answers with a short text of the proxy's own. kind is the error type for
// Proxy-Status (RFC 9209), "" for none.
func (c *call) say(status int, kind, text string) {
	resp := &c.ctx.Response
	resp.ResetBody()
	if err := c.heads.read(&resp.Header, status, ownFields(time.Now(), kind), int64(len(text)+1)); err != nil {
		resp.Header.SetStatusCode(status)
	}
	resp.SetBodyString(text + "\n")
}

// ownFields are the fields of an answer that the proxy makes itself.
func ownFields(now time.Time, kind string) wire.Fields {
	f := wire.Fields{
		{Name: "Date", Value: string(cache.AppendDate(nil, now))},
		{Name: "Content-Type", Value: "text/plain; charset=utf-8"},
		{Name: "Cache-Control", Value: "no-store"},
	}
	if kind != "" {
		f = append(f, wire.Field{Name: "Proxy-Status", Value: pseudonym + "; error=" + kind})
	}
	return f
}

// putStatus adds this cache's member to Cache-Status (RFC 9211).
func (c *call) putStatus(st cache.Status) {
	c.text = st.Append(c.text[:0], pseudonym)
	c.ctx.Response.Header.AddBytesV("Cache-Status", c.text)
}
