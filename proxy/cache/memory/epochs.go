package memory

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Left is what a bump leaves of all that was born before it. The set is closed.
type Left uint8

const (
	// Nothing: it must not be used again.
	Nothing Left = iota
	// Stale: it is no longer fresh, and may be used as far as stale things may.
	Stale
	leftCount
)

// Epochs tells objects from before an invalidation from those after it. It has
// a clock of its own, which only bumps advance, and remembers for each hash (of
// a key, a tag, or what else objects belong to) the ticks of its last bumps, of
// either kind. A fill notes Now when it starts, the object carries that tick as
// born, and what [Epochs.Last] says of every hash that it belongs to says what is
// left of it. One bump thus invalidates all variants of a key, all that carries a
// tag, and what a fill that is under way may yet store.
//
// A tick is the time of its bump in nanoseconds since the epoch of Unix, and
// greater than the one before it. Of a hash 63 bits count.
//
// The table has a fixed number of places, in buckets of three. Where a bucket
// is full the oldest bump in it is forgotten, and from then on everything in the
// bucket counts as bumped at that tick: what is older is fetched, or validated,
// without need.
//
// All methods may be called concurrently. Only bumps take locks, one of many;
// none allocates.
type Epochs struct {
	tick    atomic.Uint64
	settled atomic.Uint64
	buckets []epochBucket
	locks   [stripes]sync.Mutex
}

const epochWays = 3

// epochBucket is a cache line. Its marks are 0 where there is none.
type epochBucket struct {
	floors [leftCount]atomic.Uint64 // of the marks that are not in the bucket
	marks  [epochWays]atomic.Uint64 // see mark
	ticks  [epochWays]atomic.Uint64
}

// ofStale is the bit by which the bumps of one hash are told apart. They lie in
// one bucket, since that is chosen by the other end.
const ofStale = 1 << 63

// mark is what the table knows a kind of bump of a hash by.
func mark(hash uint64, left Left) uint64 {
	hash = max(hash&^ofStale, 1)
	if left == Stale {
		return hash | ofStale
	}
	return hash
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

// Now returns the present tick: that of the last bump, 0 where there was none. A
// fill reads it before it asks for what it may store.
func (e *Epochs) Now() uint64 { return e.tick.Load() }

// Settled returns how many bumps have been carried out, and is never 0. As long as
// it stays the same, Last says of every hash what it said before, or what bumps
// have done that have not returned yet. So who asks for it first, and then Last,
// need not ask Last again before it has changed.
func (e *Epochs) Settled() uint64 { return e.settled.Load() + 1 }

// Ticks are those of the last bumps, 0 for none. Of what was born at a tick t
// nothing is left where t < Nothing; else it is stale where t < Stale, from the
// time that Stale is.
type Ticks struct{ Nothing, Stale uint64 }

// Later returns the later ones of either kind.
func (t Ticks) Later(other Ticks) Ticks {
	return Ticks{max(t.Nothing, other.Nothing), max(t.Stale, other.Stale)}
}

// Latest returns the later of the two. It is another one after each bump.
func (t Ticks) Latest() uint64 { return max(t.Nothing, t.Stale) }

// Last returns the ticks of the last bumps of hash, or ticks that stand for them.
// They never fall, and who asks after a bump of hash has returned is told of it.
func (e *Epochs) Last(hash uint64) (t Ticks) {
	b, hash := e.bucket(hash), mark(hash, Nothing)
	for i := range b.marks {
		switch m := b.marks[i].Load(); {
		case m&^ofStale != hash:
		case m == hash:
			t.Nothing = b.ticks[i].Load()
		default:
			t.Stale = b.ticks[i].Load()
		}
	}
	// After the marks: the floor is the first that a bump moves.
	if t.Nothing == 0 {
		t.Nothing = b.floors[Nothing].Load()
	}
	if t.Stale == 0 {
		t.Stale = b.floors[Stale].Load()
	}
	return t
}

// Bump says what is left of what belongs to hash: after it has returned, the
// tick that Last returns is later than each one that Now returned before Bump was
// called, and for good. now is the time.
//
// The clock advances before the table. A fill that reads Now before that step
// has a lower tick than the table gets, and is invalid. One that reads Now after
// it may be valid, and began after Bump was called, which is after the answer
// that makes the difference had come.
//
// A place changes hands in three steps: the floor takes in the tick that is
// forgotten, the place gets the new tick, then the new mark. In between the old
// mark is seen with a tick that is too late, never with one that is too early.
func (e *Epochs) Bump(hash uint64, left Left, now time.Time) {
	b, m := e.bucket(hash), mark(hash, left)
	lock := &e.locks[e.at(hash)%stripes]
	lock.Lock()
	defer lock.Unlock()
	defer e.settled.Add(1)
	t := e.advance(now)
	oldest := 0
	for i := range b.marks {
		if b.marks[i].Load() == m {
			b.ticks[i].Store(t)
			return
		}
		if b.ticks[i].Load() < b.ticks[oldest].Load() {
			oldest = i
		}
	}
	if old := b.marks[oldest].Load(); old != 0 {
		floor := &b.floors[kindOf(old)]
		floor.Store(max(floor.Load(), b.ticks[oldest].Load()))
	}
	b.ticks[oldest].Store(t)
	b.marks[oldest].Store(m)
}

// BumpAll says what is left of everything that was born before.
func (e *Epochs) BumpAll(left Left, now time.Time) {
	for i := range e.locks {
		e.locks[i].Lock()
		defer e.locks[i].Unlock()
	}
	defer e.settled.Add(1)
	t := e.advance(now)
	for i := range e.buckets {
		b := &e.buckets[i]
		b.floors[left].Store(t)
		for way := range b.marks {
			if m := b.marks[way].Load(); m != 0 && kindOf(m) == left {
				b.ticks[way].Store(t)
			}
		}
	}
}

// advance moves the clock on, and returns its tick.
func (e *Epochs) advance(now time.Time) uint64 {
	for {
		was := e.tick.Load()
		if t := max(was+1, uint64(max(now.UnixNano(), 0))); e.tick.CompareAndSwap(was, t) {
			return t
		}
	}
}

func kindOf(mark uint64) Left {
	if mark&ofStale != 0 {
		return Stale
	}
	return Nothing
}

func (e *Epochs) at(hash uint64) uint64 { return hash & uint64(len(e.buckets)-1) }

func (e *Epochs) bucket(hash uint64) *epochBucket { return &e.buckets[e.at(hash)] }

func ceilPowerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }
