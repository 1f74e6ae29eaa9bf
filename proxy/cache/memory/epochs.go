package memory

import (
	"math/bits"
	"sync/atomic"
)

// Epochs gives every key a generation. A fill notes it when it starts, the
// object carries it, and only an object of the present generation is served:
// to bump it invalidates all variants of a key at once, and what a fill that
// began earlier may yet store.
//
// Keys that share a slot share its generation: a bump of one costs the other a
// fetch it did not need, and never more. The generation wraps after 2^32 bumps
// of a slot.
type Epochs struct {
	slots []atomic.Uint32
}

// NewEpochs makes a table of slots generations, rounded up to a power of two,
// of 4 bytes each; 0 is the default of 65536.
func NewEpochs(slots int) *Epochs {
	if slots <= 0 {
		slots = 1 << 16
	}
	return &Epochs{slots: make([]atomic.Uint32, ceilPowerOfTwo(slots))}
}

// Epoch returns the present generation of the key with this hash.
func (e *Epochs) Epoch(hash uint64) uint32 { return e.slot(hash).Load() }

// Bump begins a new generation of the key with this hash. Whoever reads it
// after Bump has returned sees the new one.
func (e *Epochs) Bump(hash uint64) { e.slot(hash).Add(1) }

func (e *Epochs) slot(hash uint64) *atomic.Uint32 {
	return &e.slots[hash&uint64(len(e.slots)-1)]
}

func ceilPowerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }
