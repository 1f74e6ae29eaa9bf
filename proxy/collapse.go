package proxy

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"ringfence/proxy/cache"
	"ringfence/singleflight"
)

// collapse answers with the fill of the request's key: another request's, or
// one of its own.
func (c *call) collapse(why cache.Reason, l look) {
	if !c.enter(why) {
		return
	}
	j := c.newJob(c.found)
	early := c.openInterim()
	j.req.Interim = early.forward
	joined := time.Now()
	r, err := c.h.flights.Join(j.flight, j.fill)
	switch {
	case errors.Is(err, singleflight.ErrTooManyReaders), errors.Is(err, singleflight.ErrTooManyFlights):
		early.end()
		c.pass(why)
		return
	case err != nil:
		early.end()
		c.sayFailureOrStale(err, why)
		return
	}
	c.src = flightBody{r}
	hd, outcome, err := c.wait(r)
	early.end()
	c.record.flew(joined, r.Leader(), hd, err)
	c.now = time.Now()
	if !r.Leader() {
		c.h.timings.waits.Observe(c.now.Sub(joined))
	}
	switch {
	case err != nil && c.isGone():
		// The fill goes on for others, and to be stored.
		c.release()
		c.sayNothing(why)
	case outcome == singleflight.Ready && !hd.found && (r.Leader() && !hd.copied || c.selects(hd) && !c.h.isOutdated(hd, j.born)):
		c.deliverFlight(r, hd, why)
	case outcome == singleflight.Ready && l == firstLook:
		// There is an object now, the key is known to vary, or what was there is
		// invalid.
		c.release()
		c.answer(lastLook)
	case outcome == singleflight.Failed && r.Leader():
		c.failOrStale(err, why)
	case outcome == singleflight.Failed:
		c.sayFailureOrStale(err, why)
	default:
		if err != nil {
			// An upstream that does not answer in time fails like any other.
			c.found.noteAttempt(true)
		}
		c.release()
		if c.mayStandIn() {
			c.standIn()
		} else {
			c.pass(why)
		}
	}
}

// wait blocks until the flight's verdict. A client whose patience ends before it
// counts as released, with an error: a follower, and a leader for whom there is
// a stale answer. The wait of another leader is bounded by the flight itself.
func (c *call) wait(r *singleflight.Reader[*head]) (*head, singleflight.Outcome, error) {
	ctx := c.conn.Context()
	if !r.Leader() || c.servesOnError(c.found) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.snap.WaitTimeout)
		defer cancel()
	}
	hd, outcome, err := r.Wait(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil, singleflight.Released, err
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

// deliverFlight answers from a fill.
func (c *call) deliverFlight(r *singleflight.Reader[*head], hd *head, why cache.Reason) {
	switch {
	case hd.entry == nil && cache.FailsUpstream(hd.meta) && c.servesOnError(c.found):
		c.release()
		c.deliverStale(c.found, cache.Status{Forward: why, ForwardStatus: hd.meta.Status})
		return
	case c.asksPartOf(hd) && !c.fillsRange(hd):
		c.release()
		c.pass(why)
		return
	}
	st := cache.Status{Forward: why, Collapsed: !r.Leader() || hd.copied, Detail: hd.reason, Stored: hd.reason == cache.None}
	if hd.stored {
		st = cache.Status{Hit: true, Detail: cache.Shared}
	}
	if hd.entry != nil {
		c.release()
		age := hd.entry.Age(c.now)
		st.ForwardStatus = 304
		st.HasTTL, st.TTL = true, hd.entry.Lifetime-age
		c.deliverEntry(hd.entry, st, age)
	} else if !c.deliverFill(r, hd, st) {
		return
	}
	if st.Collapsed {
		c.count.collapsed.Add(1)
		return
	}
	for _, f := range hd.withheld {
		c.ctx.Response.Header.Add(f.Name, f.Value)
	}
	c.putID()
}

// deliverFill streams the body of a fill, or the part of it that was asked for.
// It reports false where it has answered otherwise.
func (c *call) deliverFill(r *singleflight.Reader[*head], hd *head, st cache.Status) bool {
	a := cache.Evaluate(&hd.meta, hd.length, c.rq)
	var body []byte
	if a.Kind == cache.Parts || c.asksPartOf(hd) && hd.length < 0 {
		var ok bool
		if body, ok = c.whole(hd, st.Forward); !ok {
			return false
		}
		a = cache.Evaluate(&hd.meta, int64(len(body)), c.rq)
	}
	err := c.readHeading(hd.meta.Status, hd.heading, frame(hd.length))
	switch {
	case err != nil:
	case body != nil:
		c.putAnswer(a, body)
	case a.Kind == cache.NotModified:
		c.release()
		c.notModified()
	case a.Kind == cache.NotSatisfiable:
		c.release()
		c.notSatisfiable(hd.length)
	case a.Kind == cache.Part:
		if _, err = io.CopyN(io.Discard, c.src, a.Offset); err == nil {
			c.partial(a.Span, hd.length)
			err = c.putStream(flightPart{io.LimitReader(c.src, a.Length), c.src}, a.Length, r.Arrived())
		}
	default:
		err = c.putStream(c.src, frame(hd.length), r.Arrived())
	}
	if err != nil {
		c.fail(err, st.Forward)
		return false
	}
	age := hd.meta.Age(c.now)
	if age >= time.Second {
		c.text = strconv.AppendInt(c.text[:0], int64(age/time.Second), 10)
		c.ctx.Response.Header.AddBytesV("Age", c.text)
	}
	st.HasTTL, st.TTL = hd.reason == cache.None, hd.meta.Lifetime-age
	c.putStatus(st)
	c.record.aged(age)
	return true
}

// whole waits for a fill's body, from which it follows what is to be sent of it;
// all who do so share the one that is about to be stored. It is known to be
// small, or turns out to be; else whole reports false and has answered otherwise.
func (c *call) whole(hd *head, why cache.Reason) ([]byte, bool) {
	n, err := io.Copy(io.Discard, io.LimitReader(c.src, c.route.RangeFill+1))
	c.release()
	switch {
	case err != nil:
		c.fail(err, why)
		return nil, false
	case n > c.route.RangeFill:
		c.tables.mark(c.key.bytes, large, cache.RangeTooLarge, c.snap.UncacheableTTL)
		c.pass(cache.RangeTooLarge)
		return nil, false
	}
	<-hd.whole.ended // at once: its end was read
	if int64(len(hd.whole.body)) != n {
		c.pass(why) // there is not room for all bodies under way
		return nil, false
	}
	return hd.whole.body, true
}

// asksPartOf reports whether the answer may be a part of a fill's body. No other
// status has parts (RFC 9110, section 14.2); a 206 is one itself, and not
// necessarily that which the client wants.
func (c *call) asksPartOf(hd *head) bool {
	return c.rq.HasRange() && (hd.meta.Status == 200 || hd.meta.Status == 206)
}

// fillsRange reports whether a range is answered from a fill: one that is
// stored, and whose whole body is not known to be too large for that.
func (c *call) fillsRange(hd *head) bool {
	return hd.reason == cache.None && hd.length <= c.route.RangeFill
}

// flightBody is a flight's reader as a body.
type flightBody struct{ *singleflight.Reader[*head] }

// Close implements io.Closer.
func (b flightBody) Close() error {
	b.Reader.Close()
	return nil
}

// flightPart is a part of a flight's body.
type flightPart struct {
	io.Reader
	io.Closer
}
