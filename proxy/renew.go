package proxy

import (
	"context"
	"errors"
	"time"

	"ringfence/proxy/cache"
	"ringfence/singleflight"
)

// renew has an entry fetched or confirmed in the background, unless that is
// under way or was tried a moment ago. It must come before the answer: the fill
// takes the blank head from there.
func (c *call) renew(e *entry) {
	if c.method != "GET" || !e.takeTurn(c.now) {
		return
	}
	j := c.newJob(e)
	j.renewal, j.ranged = true, false
	r, err := j.h.flights.Join(j.flight, func(ctx context.Context, w *singleflight.Writer[*head]) error {
		defer e.endTurn()
		err := j.fill(ctx, w)
		// One that turns out to be for its client only is given up.
		if err != nil && !errors.Is(err, singleflight.ErrAbandoned) {
			j.h.logFailure(j.route, "renewal failed", j.req.Method, j.target, j.id, err)
		}
		return err
	})
	if err != nil {
		// There is too much to do, or it has failed a moment ago.
		e.endTurn()
		return
	}
	if r.Leader() {
		c.count.renewals.Add(1)
	} else {
		e.endTurn()
	}
	r.Close()
}

func (c *call) servesOnError(e *entry) bool { return cache.ServesOnError(e.object(), c.rq, c.now) }

// mayStandIn reports whether what is stored may answer, and the upstream was
// failing a moment ago: nobody waits for it to do so again.
func (c *call) mayStandIn() bool {
	return c.found != nil && c.found.failing.Load() && c.servesOnError(c.found)
}

// standIn answers from what is stored, where it may stand in.
func (c *call) standIn() {
	c.renew(c.found)
	c.deliverStale(c.found, cache.Status{Hit: true})
}

// deliverStale answers from an entry in place of a failing upstream. st says
// how that became known.
func (c *call) deliverStale(e *entry, st cache.Status) {
	c.count.stale.Add(1)
	age := e.Age(c.now)
	st.HasTTL, st.TTL, st.Detail = true, e.object().Lifetime-age, cache.StaleOnError
	c.deliverEntry(e, st, age)
}

// failOrStale answers in place of an upstream that has failed: by what is
// stored where that may be, else by saying so. It logs the failure.
func (c *call) failOrStale(err error, why cache.Reason) {
	c.h.logFailure(c.route, "request failed", c.method, c.target, c.id, err)
	c.sayFailureOrStale(err, why)
}

// sayFailureOrStale is failOrStale for a failure that many share, of which one
// has been logged.
func (c *call) sayFailureOrStale(err error, why cache.Reason) {
	c.release()
	c.now = time.Now()
	if c.servesOnError(c.found) {
		c.record.failed(failureOf(err).kind)
		c.deliverStale(c.found, cache.Status{Forward: why})
		return
	}
	c.sayFailure(err, why)
}
