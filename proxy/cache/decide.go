// Package cache decides what a shared HTTP cache may store and reuse
// (RFC 9111), as pure functions of the request, the response, the stored
// object and the time: nothing in it reads a clock, keeps state or does I/O.
//
// A request becomes a [Request], the head of a response a [Meta] by [Assess],
// and a complete response an [Object]. [Decide] says what to do with a
// request, [Evaluate] how to answer it from a stored response, and [Freshen]
// what a 304 makes of one.
//
// All values are immutable once made, and so safe for concurrent use.
package cache

import "time"

// Action is what to do with a request. The set is closed.
type Action uint8

const (
	// Serve: answer from the object; [Evaluate] says how.
	Serve Action = iota
	// ServeAndRefresh: answer from the stale object at once, and revalidate or
	// fetch it in the background (RFC 5861, section 3). Only a GET does.
	ServeAndRefresh
	// Revalidate: ask the upstream with [Conditions] whether the object still
	// stands. Only a GET does.
	Revalidate
	// Fetch: ask the upstream for the whole representation, without the
	// client's conditions and ranges. Only a GET does.
	Fetch
	// Pass: send the request on as it is; neither store its answer nor let
	// another request wait for it.
	Pass
	// OnlyIfCached: answer 504 (RFC 9111, section 5.2.1.7).
	OnlyIfCached
)

// Decision is what [Decide] concluded.
type Decision struct {
	Action Action
	// Reason is why the object does not answer. Where it does, it is [None], or
	// [StaleWhileRevalidate].
	Reason Reason
	// Age is the object's current age (RFC 9111, section 4.2.3), 0 without an
	// object.
	Age time.Duration
	// TTL is how long the object stays fresh, and negative once it is stale.
	TTL time.Duration
}

// Decide says how to answer rq at the time now, given the stored object that
// its URI and variant selected, or nil (RFC 9111, section 4). It does not
// allocate.
//
// A request that would be forwarded for want of an object has the reason
// [Miss], or [RangeMiss]; the caller, who did the look-up, may know a better
// one.
func Decide(o *Object, rq Request, now time.Time) Decision {
	if o == nil {
		return forward(o, &rq, Decision{Reason: Miss})
	}
	d := Decision{Age: o.Age(now)}
	d.TTL = o.Lifetime - d.Age
	if rq.traits&notPlain == 0 && rq.traits&(isGet|isHead) != 0 && !o.NoCache && d.TTL > 0 {
		return d
	}
	return judge(o, &rq, d)
}

// judge is [Decide] for a request or an object that is not plain.
func judge(o *Object, rq *Request, d Decision) Decision {
	if d.Reason = refusal(&o.Meta, rq, d); rq.pass() == None {
		switch d.Reason {
		case None:
			return d
		case StaleWhileRevalidate:
			if rq.traits&(isGet|onlyIfCached) == isGet {
				d.Action = ServeAndRefresh
			}
			return d
		}
	}
	return forward(o, rq, d)
}

// refusal returns why a stored response does not satisfy the request's and its
// own directives (RFC 9111, sections 4.2.4, 5.2.1 and 5.2.2), or why it does
// though it is stale.
func refusal(m *Meta, rq *Request, d Decision) Reason {
	switch {
	case m.NoCache:
		return MustRevalidate
	case rq.traits&noCache != 0:
		return RequestNoCache
	case rq.MaxAge >= 0 && d.Age > rq.MaxAge:
		return RequestMaxAge
	case rq.MinFresh >= 0 && d.TTL < rq.MinFresh:
		return RequestMinFresh
	case d.TTL > 0:
		return None
	}
	// A client that limits the age, or the staleness, accepts no more of it for
	// what the origin allows.
	accepts := rq.MaxAge < 0 && rq.MaxStale < 0 || -d.TTL <= rq.MaxStale
	switch {
	case accepts && within(-d.TTL, m.StaleWhileRevalidate):
		return StaleWhileRevalidate
	case rq.MaxStale >= 0 && accepts && !m.MustRevalidate:
		return None
	}
	return Stale
}

// forward chooses how a request that o does not answer reaches its origin.
func forward(o *Object, rq *Request, d Decision) Decision {
	passed := rq.pass()
	switch {
	case passed != None:
		d.Action, d.Reason = Pass, passed
	case rq.traits&isHead != 0:
		// The answer to a HEAD has no body to store.
		d.Action = Pass
	case o != nil && o.hasValidator():
		d.Action = Revalidate
	default:
		d.Action = Fetch
		if o == nil && rq.traits&hasRange != 0 {
			d.Reason = RangeMiss
		}
	}
	if rq.traits&onlyIfCached != 0 && passed != Method {
		d.Action, d.Reason = OnlyIfCached, RequestOnlyIfCached
	}
	return d
}
