package discover

import (
	"math/rand/v2"
	"time"
)

// firstRetry is the wait after a first attempt that failed.
const firstRetry = 250 * time.Millisecond

// pace says when to try again: every resolve, once there was a success, and
// before that soon, and twice as late each time.
type pace struct {
	resolve time.Duration
	good    bool
	retry   time.Duration
}

// next returns the time to the next attempt, after one that was good or not. It
// varies by a fifth either way, so that the instances of a fleet, and the names
// of one instance, do not ask in step.
func (p *pace) next(good bool) time.Duration {
	p.good = p.good || good
	wait := p.resolve
	if !p.good {
		p.retry = max(firstRetry, 2*p.retry)
		wait = min(p.retry, p.resolve)
	}
	return time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
}
