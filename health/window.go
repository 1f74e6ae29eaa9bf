package health

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Tally is what a member's requests came to within the window of its group's
// [Ejection], to a tenth of the window. It begins anew when a member comes back.
type Tally struct {
	Requests int           // with a result
	Failures int           // those among them that failed
	Median   time.Duration // latency of those that did not fail, to 7 %; 0: none
}

func (t Tally) served() int { return t.Requests - t.Failures }

// Latencies are counted in buckets of about a microsecond at first, and then
// eight to each power of two, up to about a minute.
const (
	unitBits   = 10 // a unit is 1024 ns
	octaveBits = 3
	buckets    = 24 << octaveBits
)

// bucketOf is the bucket that counts a latency.
func bucketOf(latency time.Duration) int {
	units := uint64(max(latency, 0)) >> unitBits
	octave := max(bits.Len64(units)-octaveBits-1, 0)
	return min(octave<<octaveBits+int(units>>octave), buckets-1)
}

// latencyOf is the middle of a bucket.
func latencyOf(bucket int) time.Duration {
	octave := max(bucket>>octaveBits-1, 0)
	units := bucket - octave<<octaveBits
	return time.Duration((2*units+1)<<octave) << unitBits / 2
}

// counters count results for ever; what they have passed through at two moments
// says what happened in between. They wrap round, which subtraction undoes.
type counters struct {
	failures atomic.Uint32
	served   [buckets]atomic.Uint32
}

// reading is what counters stood at.
type reading struct {
	failures uint32
	served   [buckets]uint32
}

func (c *counters) read() *reading {
	r := &reading{failures: c.failures.Load()}
	for i := range c.served {
		r.served[i] = c.served[i].Load()
	}
	return r
}

// between is what was counted from one reading to a later one.
func between(from, to *reading) Tally {
	var delta [buckets]uint32
	served := 0
	for i := range delta {
		delta[i] = to.served[i] - from.served[i]
		served += int(delta[i])
	}
	failures := int(to.failures - from.failures)
	t := Tally{Requests: served + failures, Failures: failures}
	for i, seen := 0, 0; served > 0; i++ {
		if seen += int(delta[i]); 2*seen >= served {
			t.Median = latencyOf(i)
			break
		}
	}
	return t
}

// slots is how many readings a window keeps: its resolution.
const slots = 10

// window is a rolling window: the readings at its last ticks, oldest first.
type window []*reading

// tick returns the window after one more tick.
func (w window) tick(r *reading) window {
	if len(w) < slots {
		return append(w, r)
	}
	copy(w, w[1:])
	w[slots-1] = r
	return w
}

// tally is what was counted in the window until now.
func (w window) tally(now *reading) Tally {
	if len(w) == 0 {
		return Tally{}
	}
	return between(w[0], now)
}
