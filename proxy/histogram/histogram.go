// Package histogram counts durations in buckets that grow exponentially: those
// of a Prometheus native histogram of schema 3, so that nothing is lost when
// they are scraped.
package histogram

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Schema is the resolution, in the sense of Prometheus native histograms: the
	// native bucket i holds what is longer than 2^((i-1)/8) seconds and no longer
	// than 2^(i/8).
	Schema = 3
	// perOctave is how many buckets each power of two has.
	perOctave = 1 << Schema
	// lowest and highest are the powers of two, in seconds, between which buckets
	// are told apart: 0.95 us and 68 minutes.
	lowest, highest = -20, 12
	// Buckets is how many there are: one for what is no longer than [Zero], one
	// for what is longer than 2^12 seconds, and the exponential ones.
	Buckets = perOctave*(highest-lowest) + 2
	// offset is what a bucket's number is more than its native index.
	offset = -perOctave * lowest
)

// Zero is the longest duration that bucket 0 holds, in seconds: the zero
// threshold of the native histogram.
const Zero = 1.0 / (1 << -lowest)

// Histogram counts durations; the zero value is empty and 2 KiB large. Its
// methods may be called concurrently, take no lock and allocate nothing.
type Histogram struct {
	sum    atomic.Int64 // nanoseconds
	counts [Buckets]atomic.Uint64
}

// Observe counts one duration; a negative one counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.sum.Add(int64(d))
	h.counts[Bucket(d)].Add(1)
}

// Snapshot is what histograms have counted. The zero value is empty. It is a
// value: nobody else writes to it.
type Snapshot struct {
	// Sum is that of all durations.
	Sum time.Duration
	// Counts are the durations in each bucket; see [Bucket] and [Native].
	Counts [Buckets]uint64
}

// Add adds what a histogram has counted. While it goes on counting, a duration
// may be in the sum and not yet in its bucket.
func (s *Snapshot) Add(h *Histogram) {
	s.Sum += time.Duration(h.sum.Load())
	for i := range h.counts {
		s.Counts[i] += h.counts[i].Load()
	}
}

// Merge adds what another snapshot has.
func (s *Snapshot) Merge(other *Snapshot) {
	s.Sum += other.Sum
	for i, n := range other.Counts {
		s.Counts[i] += n
	}
}

// Count is how many durations there are.
func (s *Snapshot) Count() (n uint64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// AtMost is how many durations are no longer than 2^power seconds. The power is
// -20 to 12.
func (s *Snapshot) AtMost(power int) (n uint64) {
	for _, c := range s.Counts[:perOctave*power+offset+1] {
		n += c
	}
	return n
}

// Bucket returns the number of a duration's bucket, which grows with it, from 0
// to Buckets - 1.
func Bucket(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	shift := bits.LeadingZeros64(uint64(d))
	mantissa := uint64(d) << shift
	c := &cells[mantissa>>(63-cellBits)%uint64(len(cells))]
	i := c.below - perOctave*shift
	if mantissa > c.bound {
		i++
	}
	return min(max(i, 0), Buckets-1)
}

// Native returns the index that a bucket has in a native histogram. Bucket 0 is
// the zero bucket, which has none. The last one holds all that is longer than
// 2^12 seconds, and goes as the next in the row.
func Native(bucket int) int { return bucket - offset }

// Bound returns the longest duration of a bucket in seconds; that of the last is
// infinite.
func Bound(bucket int) float64 {
	if bucket == Buckets-1 {
		return math.Inf(1)
	}
	return math.Exp2(float64(Native(bucket)) / perOctave)
}

// cellBits divide the numbers between two powers of two into cells that are so
// narrow, a 16th, that each has the bound of one bucket at most: bounds are a
// factor of 2^(1/8) apart, or 1.09.
const cellBits = 4

// cell is what is known of the durations that begin with the same bits, as
// mantissas: numbers from 2^63 on.
type cell struct {
	bound uint64 // the longest that belongs to bucket below
	below int    // for an exponent of 63: one less shifted by one bit is an octave
}

// cells are the same for all powers of two: so are bounds, but for the octave.
var cells = makeCells()

func makeCells() (cells [1 << cellBits]cell) {
	for i := range cells {
		const half = 1 << 63
		from := float64(half) * (1 + float64(i)/float64(len(cells)))
		// The first bound that is not below the cell.
		native := math.Ceil(perOctave * (math.Log2(from) - math.Log2(1e9)))
		cells[i] = cell{bound: math.MaxUint64, below: int(native) + offset}
		if bound := 1e9 * math.Exp2(native/perOctave); bound < 2*half {
			cells[i].bound = uint64(bound)
		}
	}
	return cells
}
