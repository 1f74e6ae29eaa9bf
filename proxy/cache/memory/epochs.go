package memory

import (
	"math/bits"
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
// Hashes that share a slot share its bumps: one costs the other a fetch it did
// not need, and never more. All methods may be called concurrently; none takes
// a lock or allocates.
type Epochs struct {
	tick  atomic.Uint64
	slots []atomic.Uint64
}

// NewEpochs makes a table of slots, rounded up to a power of two, of 8 bytes
// each; 0 is the default of 65536.
func NewEpochs(slots int) *Epochs {
	if slots <= 0 {
		slots = 1 << 16
	}
	return &Epochs{slots: make([]atomic.Uint64, ceilPowerOfTwo(slots))}
}

// Now returns the present tick: the number of bumps so far. A fill reads it
// before it asks for what it may store.
func (e *Epochs) Now() uint64 { return e.tick.Load() }

// Epoch returns the tick of the last bump of hash, 0 for none. Whoever reads it
// after a Bump has returned sees another one than before: as a part of a
// flight's name it keeps requests out of a flight that is overtaken.
func (e *Epochs) Epoch(hash uint64) uint64 { return e.slot(hash).Load() }

// Valid reports whether hash was not bumped after the tick born.
func (e *Epochs) Valid(hash, born uint64) bool { return e.slot(hash).Load() <= born }

// Bump invalidates what belongs to hash: after it has returned, Valid is false
// for every born that Now returned before Bump was called, and for good.
//
// The clock advances before the slot. A fill that reads Now before that step
// has a lower tick than the slot gets, and is invalid. One that reads Now after
// it may be valid, and began after Bump was called, which is after the answer
// that makes the difference had come. In the other order a fill could read,
// between the two steps, the tick that the slot has already, and be invalid for
// nothing.
func (e *Epochs) Bump(hash uint64) { raise(e.slot(hash), e.tick.Add(1)) }

// raise stores t unless the slot holds a later tick: of two bumps the one that
// came first may be the last to get here, and would make valid again what began
// between them.
func raise(slot *atomic.Uint64, t uint64) {
	for {
		last := slot.Load()
		if last >= t || slot.CompareAndSwap(last, t) {
			return
		}
	}
}

func (e *Epochs) slot(hash uint64) *atomic.Uint64 {
	return &e.slots[hash&uint64(len(e.slots)-1)]
}

func ceilPowerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }
