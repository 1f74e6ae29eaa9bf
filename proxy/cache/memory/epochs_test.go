package memory

import (
	"sync"
	"testing"
)

func TestEpochs(t *testing.T) {
	e := NewEpochs(1000)
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
	for hash := range uint64(1024) {
		if hash != key && hash != group && !e.Valid(hash, first) {
			t.Errorf("%d was invalidated", hash)
		}
	}
	if !NewEpochs(0).Valid(1<<63, 0) {
		t.Error("a table of the default size is not at its beginning")
	}
}

// TestEpochsForget: where a bucket is full the oldest bump stands for all that
// are not in it, and nothing that was invalid becomes valid.
func TestEpochsForget(t *testing.T) {
	e := NewEpochs(3) // one bucket
	var bumped []uint64
	for hash := uint64(1); hash <= 20; hash++ { // 0 is another name of 1
		untouched, before := hash+100, e.Now()
		e.Bump(hash)
		bumped = append(bumped, before)
		for i, born := range bumped {
			if e.Valid(uint64(i)+1, born) {
				t.Errorf("after %d bumps what was born before that of %d counts again", hash, i+1)
			}
		}
		if !e.Valid(untouched, before) {
			t.Errorf("bump %d invalidates what was born right before it", hash)
		}
		if got := e.Valid(untouched, 0); got != (hash <= 3) {
			t.Errorf("after %d bumps the oldest is valid: %v", hash, got)
		}
	}
	// Those in the bucket are told apart.
	if e.Epoch(20) == e.Epoch(19) || !e.Valid(19, e.Epoch(20)-1) {
		t.Error("two bumps in one bucket are one")
	}
	e.Bump(20)
	if e.Epoch(18) != 18 {
		t.Errorf("a second bump of one hash moved another one out: %d", e.Epoch(18))
	}
}

// TestEpochsConcurrently: with bumps of the same slots at once, what began
// before a bump is invalid when it returns, and stays so; what begins after the
// last one is valid.
func TestEpochsConcurrently(t *testing.T) {
	for _, hashes := range []uint64{1, 3} {
		e := NewEpochs(3)
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

// TestEpochsBumpAll: all that was born before is invalid, of hashes that were
// bumped and of others; what begins later counts.
func TestEpochsBumpAll(t *testing.T) {
	e := NewEpochs(100)
	e.Bump(7)
	before := e.Now()
	e.BumpAll()
	for _, hash := range []uint64{7, 8, 1 << 40} {
		if e.Valid(hash, before) || !e.Valid(hash, e.Now()) {
			t.Errorf("%d: valid before %v, after %v", hash, e.Valid(hash, before), e.Valid(hash, e.Now()))
		}
	}
}
