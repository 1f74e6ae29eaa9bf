package memory

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestEpochs(t *testing.T) {
	e := NewEpochs(1000) // rounded up to 1024
	key, group := uint64(7), uint64(9)
	first := e.Now()
	if !e.Valid(key, first) || e.Epoch(key) != 0 {
		t.Error("a new table is not at its beginning")
	}
	e.Bump(key)
	second := e.Now()
	e.Bump(group)
	third := e.Now()
	for _, c := range []struct {
		born       uint64
		key, group bool
	}{{first, false, false}, {second, true, false}, {third, true, true}} {
		if e.Valid(key, c.born) != c.key || e.Valid(group, c.born) != c.group {
			t.Errorf("born at %d: key %v, group %v", c.born, e.Valid(key, c.born), e.Valid(group, c.born))
		}
	}
	if e.Epoch(key) == 0 || e.Epoch(group) == e.Epoch(key) {
		t.Errorf("key at %d, group at %d", e.Epoch(key), e.Epoch(group))
	}
	if e.Epoch(key+1024) != e.Epoch(key) {
		t.Error("the table is larger than it was made")
	}
	for hash := range uint64(1024) {
		if hash != key && hash != group && !e.Valid(hash, first) {
			t.Errorf("%d was invalidated", hash)
		}
	}
	if !NewEpochs(0).Valid(1<<63, 0) {
		t.Error("a table of the default size is not at its beginning")
	}
}

// TestRaise: a bump that gets to its slot late does not undo a later one.
func TestRaise(t *testing.T) {
	var slot atomic.Uint64
	for _, c := range []struct{ t, want uint64 }{{5, 5}, {3, 5}, {5, 5}, {6, 6}, {0, 6}} {
		if raise(&slot, c.t); slot.Load() != c.want {
			t.Fatalf("at %d after %d, want %d", slot.Load(), c.t, c.want)
		}
	}
}

// TestEpochsConcurrently: with bumps of the same slots at once, what began
// before a bump is invalid when it returns, and stays so; what begins after the
// last one is valid.
func TestEpochsConcurrently(t *testing.T) {
	for _, hashes := range []uint64{1, 3} {
		e := NewEpochs(4)
		var workers sync.WaitGroup
		for w := range uint64(4) {
			workers.Go(func() {
				var dead [3]uint64 // the latest tick that is known to be invalid, and one
				for i := range uint64(50000) {
					hash := (w + i) % hashes
					born, was := e.Now(), e.Epoch(hash)
					e.Bump(hash)
					dead[hash] = born + 1
					if e.Valid(hash, born) || e.Epoch(hash) <= was {
						t.Errorf("a bump left %d valid, and the slot at %d after %d", born, e.Epoch(hash), was)
						return
					}
					if other := (hash + 1) % hashes; dead[other] > 0 && e.Valid(other, dead[other]-1) {
						t.Errorf("what was born at %d came back", dead[other]-1)
						return
					}
				}
			})
		}
		workers.Wait()
		for hash := range hashes {
			if !e.Valid(hash, e.Now()) {
				t.Errorf("%d is invalid with no bump under way", hash)
			}
		}
	}
}
