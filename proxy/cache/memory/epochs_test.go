package memory

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// gone reports whether nothing is left of what belongs to hash and was born at a
// tick.
func gone(e *Epochs, hash, born uint64) bool { return born < e.Last(hash).Nothing }

// atTick is the time by which a bump of a new table has that tick.
func atTick(n int64) time.Time { return time.Unix(0, n) }

func bump(e *Epochs, hash uint64) { e.Bump(hash, Nothing, atTick(0)) }

func TestEpochs(t *testing.T) {
	e := NewEpochs(1000)
	key, group := uint64(7), uint64(9)
	first := e.Now()
	if gone(e, key, first) || e.Last(key).Nothing != 0 {
		t.Error("a new table is not at its beginning")
	}
	bump(e, key)
	second := e.Now()
	bump(e, group)
	third := e.Now()
	for _, c := range []struct {
		born       uint64
		key, group bool
	}{{first, false, false}, {second, true, false}, {third, true, true}} {
		if !gone(e, key, c.born) != c.key || !gone(e, group, c.born) != c.group {
			t.Errorf("born at %d: key %v, group %v", c.born, !gone(e, key, c.born), !gone(e, group, c.born))
		}
	}
	if e.Last(key).Nothing == 0 || e.Last(group).Nothing == e.Last(key).Nothing {
		t.Errorf("key at %d, group at %d", e.Last(key).Nothing, e.Last(group).Nothing)
	}
	for hash := range uint64(1024) {
		if hash != key && hash != group && gone(e, hash, first) {
			t.Errorf("%d was invalidated", hash)
		}
	}
	if NewEpochs(0).Last(1<<63) != (Ticks{}) {
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
		bump(e, hash)
		bumped = append(bumped, before)
		for i, born := range bumped {
			if !gone(e, uint64(i)+1, born) {
				t.Errorf("after %d bumps what was born before that of %d counts again", hash, i+1)
			}
		}
		if gone(e, untouched, before) {
			t.Errorf("bump %d invalidates what was born right before it", hash)
		}
		if got := !gone(e, untouched, 0); got != (hash <= 3) {
			t.Errorf("after %d bumps the oldest is valid: %v", hash, got)
		}
	}
	// Those in the bucket are told apart.
	if e.Last(20).Nothing == e.Last(19).Nothing || gone(e, 19, e.Last(20).Nothing-1) {
		t.Error("two bumps in one bucket are one")
	}
	bump(e, 20)
	if e.Last(18).Nothing != 18 {
		t.Errorf("a second bump of one hash moved another one out: %d", e.Last(18).Nothing)
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
					born, was := e.Now(), e.Last(hash).Nothing
					bump(e, hash)
					dead[hash] = born + 1
					if !gone(e, hash, born) || e.Last(hash).Nothing <= was {
						t.Errorf("a bump left %d valid, and the slot at %d after %d", born, e.Last(hash).Nothing, was)
						return
					}
					if other := (hash + 1) % hashes; dead[other] > 0 && !gone(e, other, dead[other]-1) {
						t.Errorf("what was born at %d came back", dead[other]-1)
						return
					}
				}
			})
		}
		workers.Wait()
		for hash := range hashes {
			if gone(e, hash, e.Now()) {
				t.Errorf("%d is invalid with no bump under way", hash)
			}
		}
	}
}

// TestEpochsBumpAll: all that was born before is invalid, of hashes that were
// bumped and of others; what begins later counts.
func TestEpochsBumpAll(t *testing.T) {
	e := NewEpochs(100)
	bump(e, 7)
	before := e.Now()
	e.BumpAll(Nothing, atTick(0))
	for _, hash := range []uint64{7, 8, 1 << 40} {
		if !gone(e, hash, before) || gone(e, hash, e.Now()) {
			t.Errorf("%d: valid before %v, after %v", hash, !gone(e, hash, before), !gone(e, hash, e.Now()))
		}
	}
}

// TestEpochsKinds: a soft bump makes stale and takes nothing away, and the other
// way round; each is forgotten as what it is.
func TestEpochsKinds(t *testing.T) {
	e := NewEpochs(3) // one bucket
	e.Bump(1, Stale, atTick(100))
	e.Bump(1, Nothing, atTick(50)) // the clock was set back
	if got := e.Last(1); got != (Ticks{Nothing: 101, Stale: 100}) || got.Latest() != 101 {
		t.Errorf("both: %+v", got)
	}
	if got := e.Last(2); got != (Ticks{}) {
		t.Errorf("another hash: %+v", got)
	}
	e.Bump(2, Nothing, atTick(200))
	e.Bump(3, Nothing, atTick(300)) // the soft one gives way
	if got := e.Last(9); got != (Ticks{Stale: 100}) {
		t.Errorf("one forgotten: %+v", got)
	}
	if got := e.Last(1); got != (Ticks{Nothing: 101, Stale: 100}) {
		t.Errorf("its own hash: %+v", got)
	}
	e.BumpAll(Stale, atTick(400))
	if got := e.Last(3); got != (Ticks{Nothing: 300, Stale: 400}) || e.Now() != 400 {
		t.Errorf("everything, softly: %+v at %d", got, e.Now())
	}
	e.Bump(3, Stale, atTick(500))
	e.BumpAll(Stale, atTick(600))
	if got := e.Last(3); got.Stale != 600 {
		t.Errorf("everything, softly, once more: %+v", got)
	}
	if got := e.Last(3).Later(Ticks{Nothing: 700, Stale: 1}); got != (Ticks{Nothing: 700, Stale: 600}) {
		t.Errorf("the later ones: %+v", got)
	}
}

// TestEpochsModel: beside a table that forgets nothing, whatever the bumps, each
// tick is at least that of the last bump of its hash, and never falls.
func TestEpochsModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		e, want, seen := NewEpochs(6), map[uint64]Ticks{}, map[uint64]Ticks{}
		for range 500 {
			left, hash := Left(rng.IntN(2)), rng.Uint64N(12)+1
			if rng.IntN(20) == 0 {
				e.BumpAll(left, atTick(0))
				hash = 0
			} else {
				e.Bump(hash, left, atTick(0))
			}
			for h := range uint64(13) {
				if w := want[h]; h > 0 && (h == hash || hash == 0) {
					if left == Nothing {
						w.Nothing = e.Now()
					} else {
						w.Stale = e.Now()
					}
					want[h] = w
				}
				got := e.Last(h)
				if got.Later(want[h]) != got || got.Later(seen[h]) != got || got.Latest() > e.Now() {
					t.Fatalf("seed %d: hash %d is at %+v, was at %+v, and its own bumps at %+v", seed, h, got, seen[h], want[h])
				}
				seen[h] = got
			}
		}
	}
}
