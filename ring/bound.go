package ring

import "math"

// Capacity returns how many requests the member with the given index may have
// in flight where total are in flight on the live members, the one that is to
// be placed among them: (1 + factor) times the member's share of total, rounded
// up, and never below 1. A walk that skips the members whose requests in flight
// have reached their capacity bounds the load of each by 1 + factor times its
// share, and moves no more keys than that takes (Mirrokni, Thorup and
// Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018).
//
// The share is weight times factor of the ring (see WithFactors), so a member
// that ramps has a capacity that ramps. The capacities add up to more than
// total - 1: while total is exact, some member of each walk is below its own.
// Where it counts more, as requests on ejected members, the bound is looser.
//
// A factor that is negative or NaN counts as 0, and one of +Inf bounds nothing.
// A member that is not live has capacity 1. Capacity does not allocate.
func (r *Ring) Capacity(member int, total int64, factor float64) int64 {
	if !(factor > 0) {
		factor = 0
	}
	// The division comes last: with whole weights it is then exact wherever
	// the quotient is whole, and rounding up adds nothing to it.
	limit := math.Ceil((1 + factor) * float64(total) * r.weight[member] / r.total)
	switch {
	case !(limit > 1): // also NaN: no member is live, or 0 times Inf
		return 1
	case limit >= math.MaxInt64:
		return math.MaxInt64
	}
	return int64(limit)
}
