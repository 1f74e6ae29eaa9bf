package upstream

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// latencyBuckets are eight for each power of two, from 2^14 ns (16 us) on.
	latencyBuckets = 8 * 24
	latencyShift   = 14
	// latencyLeast is how many latencies a percentile needs, and latencyMost
	// how many count: past it each counts half.
	latencyLeast = 64
	latencyMost  = 4096
	// latencyWeight is what one latency counts at first: by halves it becomes
	// less, and where many buckets hold one each, whole numbers would lose them.
	latencyWeight = 16
	// latencyEvery is after how many latencies the percentile is taken anew.
	latencyEvery = 32
)

// latencies estimates a percentile of the latest latencies from above, to within
// an eighth or 16 us. Its methods may be called concurrently, and none takes a lock.
type latencies struct {
	share  float64 // of the latencies that lie below the percentile, in (0, 1)
	seen   atomic.Uint32
	counts [latencyBuckets]atomic.Uint32
	cut    atomic.Int64 // the percentile in nanoseconds, 0 while there is none
}

// percentile returns the estimate, or 0 where too little is known.
func (l *latencies) percentile() time.Duration { return time.Duration(l.cut.Load()) }

func (l *latencies) add(d time.Duration) {
	l.counts[latencyBucket(d)].Add(latencyWeight)
	if n := l.seen.Add(1); n%latencyEvery == 0 {
		l.take()
	}
}

// take takes the percentile anew. Two that do so at once may lose a few counts.
func (l *latencies) take() {
	var total uint32
	for i := range l.counts {
		total += l.counts[i].Load()
	}
	if total < latencyLeast*latencyWeight {
		return
	}
	below := uint32(l.share * float64(total))
	for i := range l.counts {
		n := l.counts[i].Load()
		if below < n {
			l.cut.Store(int64(latencyCeiling(i)))
			break
		}
		below -= n
	}
	if total >= latencyMost*latencyWeight {
		for i := range l.counts {
			l.counts[i].Store(l.counts[i].Load() / 2)
		}
	}
}

func latencyBucket(d time.Duration) int {
	n := uint64(max(d, 0)) >> latencyShift
	power := max(bits.Len64(n)-4, 0) // the numbers below 16 have a bucket each
	return min(8*power+int(n>>power), latencyBuckets-1)
}

// latencyCeiling is the least latency past a bucket.
func latencyCeiling(bucket int) time.Duration {
	power := max(bucket/8-1, 0)
	return time.Duration(uint64(bucket-8*power+1)<<power) << latencyShift
}
