package proxy

import "ringfence/proxy/cache"

// Outcome is what became of a request in the cache, in as few words as the labels
// of metrics allow; the reason says more. The set is closed.
type Outcome uint8

// The outcomes.
const (
	// NoOutcome: the proxy has answered for itself: a request that is refused, has
	// no route, is redirected or purges.
	NoOutcome Outcome = iota
	// Hit: the store has answered, with what is fresh.
	Hit
	// Stale: the store has answered at once, with what has outlived its freshness.
	Stale
	// SharedHit: another instance of the fleet had the answer.
	SharedHit
	// Revalidated: the upstream has confirmed the stored answer by a 304.
	Revalidated
	// Collapsed: another request's fill has answered.
	Collapsed
	// Missed: a fill for this request has answered, or nothing was stored and the
	// client wanted nothing else.
	Missed
	// Passed: the request went past the cache.
	Passed
	// StoodIn: the upstream was asked and failed, and the store has answered.
	StoodIn
	// Failed: there is no answer but the proxy's word on why.
	Failed
	// Gone: the client has taken the request back.
	Gone

	outcomeCount
)

// OutcomeCount is the number of outcomes: each is below it.
const OutcomeCount = int(outcomeCount)

var outcomes = [outcomeCount]string{
	NoOutcome: "none", Hit: "hit", Stale: "stale", SharedHit: "shared", Revalidated: "revalidated",
	Collapsed: "collapsed", Missed: "miss", Passed: "pass", StoodIn: "stale_if_error", Failed: "failed", Gone: "gone",
}

// String returns the outcome as the label of a metric has it.
func (o Outcome) String() string { return outcomes[o] }

// outcomeOf is the outcome of an answer that says this of itself. What it cannot
// say the call knows: that it has passed, failed, or is gone.
func outcomeOf(st cache.Status) Outcome {
	switch {
	case st.Hit && st.Detail == cache.Shared:
		return SharedHit
	case st.Hit && st.HasTTL && st.TTL <= 0:
		return Stale
	case st.Hit:
		return Hit
	case st.Detail == cache.StaleOnError:
		return StoodIn
	case st.Collapsed:
		return Collapsed
	case st.ForwardStatus == 304:
		return Revalidated
	}
	return Missed
}
