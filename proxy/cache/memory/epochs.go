package memory

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Epochs tells objects from before an invalidation from those after it. It has
// a clock of its own, which only bumps advance, and remembers for each hash (of
// a key, or of a group of RFC 9875) the tick of its last bump. A fill notes Now
// when it starts, the object carries that tick as born, and the object counts as
// long as Valid says so of every hash that it belongs to. One bump thus
// invalidates all variants of a key, all members of a group, and what a fill
// that is under way may yet store.
//
// The table has a fixed number of places, in buckets of three. Where a bucket
// is full the oldest bump in it is forgotten, and from then on everything in the
// bucket counts as bumped at that tick: what is older is fetched without need.
//
// All methods may be called concurrently. Only Bump takes a lock, one of many;
// none allocates.
type Epochs struct {
	tick    atomic.Uint64
	buckets []epochBucket
	locks   [stripes]sync.Mutex
}

const epochWays = 3

// epochBucket is a cache line. Its hashes are 0 where there is none.
type epochBucket struct {
	floor  atomic.Uint64 // of the hashes that are not in the bucket
	hashes [epochWays]atomic.Uint64
	ticks  [epochWays]atomic.Uint64
	_      uint64
}

// NewEpochs makes a table with room for at least the given number of bumped
// hashes, rounded up to three times a power of two, of 21 bytes each; 0 is the
// default of 65536.
func NewEpochs(hashes int) *Epochs {
	if hashes <= 0 {
		hashes = 1 << 16
	}
	return &Epochs{buckets: make([]epochBucket, ceilPowerOfTwo((hashes+epochWays-1)/epochWays))}
}

// Now returns the present tick: the number of bumps so far. A fill reads it
// before it asks for what it may store.
func (e *Epochs) Now() uint64 { return e.tick.Load() }

// Epoch returns the tick of the last bump of hash, or one that stands for it,
// and 0 for none. Whoever reads it after a Bump has returned sees another one
// than before: as a part of a flight's name it keeps requests out of a flight
// that is overtaken.
func (e *Epochs) Epoch(hash uint64) uint64 {
	hash = max(hash, 1)
	b := e.bucket(hash)
	for i := range b.hashes {
		if b.hashes[i].Load() == hash {
			return b.ticks[i].Load()
		}
	}
	return b.floor.Load()
}

// Valid reports whether hash was not bumped after the tick born.
func (e *Epochs) Valid(hash, born uint64) bool { return e.Epoch(hash) <= born }

// Bump invalidates what belongs to hash: after it has returned, Valid is false
// for every born that Now returned before Bump was called, and for good.
//
// The clock advances before the table. A fill that reads Now before that step
// has a lower tick than the table gets, and is invalid. One that reads Now after
// it may be valid, and began after Bump was called, which is after the answer
// that makes the difference had come.
//
// A place changes hands in three steps: the floor takes in the tick that is
// forgotten, the place gets the new tick, then the new hash. In between the old
// hash is seen with a tick that is too late, never with one that is too early.
func (e *Epochs) Bump(hash uint64) {
	hash = max(hash, 1)
	lock := &e.locks[hash&uint64(len(e.buckets)-1)%stripes]
	lock.Lock()
	defer lock.Unlock()
	t := e.tick.Add(1)
	b := e.bucket(hash)
	oldest := 0
	for i := range b.hashes {
		if b.hashes[i].Load() == hash {
			b.ticks[i].Store(t)
			return
		}
		if b.ticks[i].Load() < b.ticks[oldest].Load() {
			oldest = i
		}
	}
	b.floor.Store(max(b.floor.Load(), b.ticks[oldest].Load()))
	b.ticks[oldest].Store(t)
	b.hashes[oldest].Store(hash)
}

// BumpAll invalidates everything that was born before.
func (e *Epochs) BumpAll() {
	for i := range e.locks {
		e.locks[i].Lock()
		defer e.locks[i].Unlock()
	}
	t := e.tick.Add(1)
	for i := range e.buckets {
		b := &e.buckets[i]
		b.floor.Store(t)
		for way := range b.hashes {
			if b.hashes[way].Load() != 0 {
				b.ticks[way].Store(t)
			}
		}
	}
}

func (e *Epochs) bucket(hash uint64) *epochBucket {
	return &e.buckets[hash&uint64(len(e.buckets)-1)]
}

func ceilPowerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }
