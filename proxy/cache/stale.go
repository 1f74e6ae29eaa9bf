package cache

import (
	"math"
	"time"
)

// staleKeep is how long a stored response that can be revalidated is kept
// after it has become stale, or has arrived so.
const staleKeep = time.Hour

// KeepFor returns how long, from now on, a stored response can be of use: while
// it is fresh, within its stale windows, and for an hour more where the
// upstream can be asked whether it still stands. It is not negative.
func (m *Meta) KeepFor(now time.Time) time.Duration {
	ttl := m.Lifetime - m.Age(now)
	keep := max(ttl+max(m.StaleWhileRevalidate, m.StaleOnError), 0)
	if m.hasValidator() {
		keep = max(keep, max(ttl, 0)+staleKeep)
	}
	return keep
}

// within reports whether a response that is stale for so long is inside of a
// window, which is none at all if it is 0.
func within(staleness, window time.Duration) bool {
	return window > 0 && staleness <= window
}

// ServesOnError reports whether o, which [Decide] would not have answer rq
// unasked, answers it at now because the upstream failed to: there was no
// response, or one that [FailsUpstream] (RFC 9111, section 4.2.4; RFC 5861,
// section 4). o may be nil. It does not allocate.
//
// A fresh o does, whatever max-age and min-fresh say. A stale one does within
// rq's stale-if-error, where there is one, else within its own StaleOnError,
// but never under must-revalidate, proxy-revalidate and s-maxage. No o does
// that must be validated on each use, nor for a request with no-cache or
// no-store, or one that is no plain GET or HEAD.
func ServesOnError(o *Object, rq Request, now time.Time) bool {
	if o == nil || o.NoCache || rq.traits&noCache != 0 || rq.pass() != None {
		return false
	}
	ttl := o.Lifetime - o.Age(now)
	window := o.StaleOnError
	if rq.StaleIfError >= 0 {
		window = rq.StaleIfError
	}
	return ttl > 0 || !o.MustRevalidate && within(-ttl, window)
}

// FailsUpstream reports whether a response counts as a failure of the upstream,
// in place of which a stale one may be served (RFC 5861, section 4; RFC 9111,
// section 4.3.3): 500, 502, 503 or 504, unless its origin says for how long it
// is fresh. Then it is an answer like any other.
func FailsUpstream(m Meta) bool {
	switch m.Status {
	case 500, 502, 503, 504:
		return !m.Source.IsExplicit() || m.Lifetime <= m.InitialAge
	}
	return false
}

// earlyReach is how many fill times before its end freshness may be renewed
// early: time for a fill, and as much again for one that takes longer. XFetch
// alone knows no such bound, and gives away the more of a response's freshness
// the more it is asked for; but it is made for callers who do not know of each
// other, and here only one of them begins a fill.
const earlyReach = 2

// EarlyWindow returns below what remaining freshness [RefreshesEarly] is worth
// asking: two fill times, but never more than half the lifetime, so that a
// response which takes long to fetch is not fetched all the time. It is 0 where
// the fill time is unknown.
func (o *Object) EarlyWindow() time.Duration {
	return min(o.FillTime*earlyReach, o.Lifetime/2)
}

// RefreshesEarly reports whether a request that o answers, with ttl of its
// freshness left, should refresh it in the background. u is uniformly random in
// (0,1], and drawn for each request. It follows XFetch with beta 1 (Vattani,
// Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention,
// VLDB 2015): the more requests there are, and the longer a fill takes, the
// earlier one of them is chosen.
func RefreshesEarly(o *Object, ttl time.Duration, u float64) bool {
	return ttl > 0 && ttl < o.EarlyWindow() && float64(ttl) <= -math.Log(u)*float64(o.FillTime)
}
