package health

import (
	"errors"
	"math"
	"time"
)

// Limits say how a [Limiter] looks for the concurrency that a server can take. A
// zero field takes its default.
type Limits struct {
	Min     int // never fewer at once; 4, or Max if that is less
	Initial int // at first; 20, within Min and Max
	Max     int // never more at once; 1000
	// Tolerance is how many times the unloaded latency is still fine, 1 or
	// more; 1.5. A server whose latency varies by itself wants more.
	Tolerance float64
	// Smoothing is the weight of the newest window in the limit, above 0 to 1;
	// 0.2.
	Smoothing float64
}

func (l Limits) withDefaults() Limits {
	l.Max = orDefault(l.Max, 1000)
	l.Min = orDefault(l.Min, min(4, l.Max))
	l.Initial = orDefault(l.Initial, max(l.Min, min(20, l.Max)))
	l.Tolerance = orDefault(l.Tolerance, 1.5)
	l.Smoothing = orDefault(l.Smoothing, 0.2)
	return l
}

// validate names every fault of Limits that have their defaults.
func (l Limits) validate() error {
	var f faults
	f.when(l.Min < 1, "minimum %d is not positive", l.Min)
	f.when(l.Max < l.Min, "maximum %d is less than the minimum %d", l.Max, l.Min)
	f.when(l.Initial < l.Min || l.Initial > l.Max, "initial limit %d is not within %d-%d", l.Initial, l.Min, l.Max)
	f.when(!(l.Tolerance >= 1 && l.Tolerance <= 100), "tolerance %v is not within 1-100", l.Tolerance)
	f.when(!(l.Smoothing > 0 && l.Smoothing <= 1), "smoothing %v is not within 0-1", l.Smoothing)
	return errors.Join(f...)
}

// Sample is what a server did in one window of time.
type Sample struct {
	Latency  time.Duration // mean of the requests that were served; 0: none were
	InFlight int           // the most at once
	Dropped  bool          // at least one failed in a way that tells of overload
}

// Gradient is a concurrency limit that follows latency, after the Gradient2 of
// Netflix's concurrency-limits: the limit is multiplied by how far latency lies
// above what is usual, and leaves room for a queue of its square root. It is a
// plain value.
//
// There the long-term latency is an average over all windows. Under a load that
// stays too high that average takes up the queue's own delay, and the limit
// creeps up for ever. Here it is measured: in windows that used at most half the
// limit, since they have no queue worth the name, and where load leaves none, in
// a dip, for which the limit is a quarter of itself for a window or two. A dip
// comes after a hundred windows in use, or once the limit has halved since the
// last measurement, for it may be the server that has become slower.
//
// So for a server of c slots the limit comes to rest where the tolerated latency
// and the queue balance, L - sqrt(L) = tolerance * c: with a tolerance of 1.5
// that is 1.6 to 2 times c for c above 9. A server of fewer slots than Limits.Min
// is never seen without a queue: its limit is a few times Min.
type Gradient struct {
	Limit    float64       // how many at once, but for dips
	Long     time.Duration // latency without a queue; 0: not known yet
	Measured float64       // the limit when Long was last measured
	Windows  int           // in use since then; from 100 on there is a dip
}

const (
	dipAfter  = 100  // windows in use without a measurement until there is a dip
	dipFor    = 10   // windows that it lasts at most, where long requests keep the limit in use
	dipTo     = 0.25 // of the limit
	backOff   = 0.9  // what a window with drops multiplies the limit by
	steepest  = 0.5  // the least that latency multiplies it by in one window
	riseShare = 0.5  // weight in Long of a measurement that is higher; a lower one is believed
)

// NewGradient returns the initial state for some limits.
func NewGradient(l Limits) Gradient {
	return Gradient{Limit: float64(l.withDefaults().Initial)}
}

// Admits is how many requests may be in flight.
func (g Gradient) Admits(l Limits) int {
	if g.Windows >= dipAfter {
		return max(l.withDefaults().Min, int(g.Limit*dipTo))
	}
	return int(g.Limit)
}

// Step returns the state after one more window.
func (g Gradient) Step(s Sample, l Limits) Gradient {
	l = l.withDefaults()
	used := 2*s.InFlight > int(g.Limit)
	g = g.measure(s, l, used)
	next := g.Limit
	switch {
	case s.Dropped:
		next *= backOff
	case !used || s.Latency <= 0:
		return g // who does not use the limit does not raise it
	default:
		gradient := min(1, max(steepest, l.Tolerance*float64(g.Long)/float64(s.Latency)))
		next = next*gradient + math.Sqrt(next)
		next = g.Limit + l.Smoothing*(next-g.Limit)
	}
	g.Limit = min(float64(l.Max), max(float64(l.Min), next))
	return g
}

// measure returns the state with what a window says of the latency without a
// queue.
func (g Gradient) measure(s Sample, l Limits, used bool) Gradient {
	dip := g.Windows >= dipAfter
	switch {
	case s.Latency <= 0:
	case dip && s.InFlight <= g.Admits(l), !dip && !used:
		if g.Long == 0 || s.Latency < g.Long {
			g.Long = s.Latency
		}
		g.Long += time.Duration(riseShare * float64(s.Latency-g.Long))
		g.Measured, g.Windows = g.Limit, 0
		return g
	case g.Long == 0: // something to go by, until the dip that begins now
		g.Long, g.Windows = s.Latency, dipAfter
		return g
	case s.Latency < g.Long: // with a queue and all
		g.Long += time.Duration(l.Smoothing * float64(s.Latency-g.Long))
	}
	if used || dip {
		g.Windows++
	}
	if g.Windows >= dipAfter+dipFor {
		g.Measured, g.Windows = g.Limit, 0
	} else if !dip && 2*g.Limit < g.Measured {
		g.Windows = dipAfter
	}
	return g
}
