// Package memory is the tier of the cache that lives in the process: a [Store]
// of objects bounded in bytes, an [Index] of what is known about a key beside
// its objects, and [Epochs], by which whole keys are invalidated at once.
//
// All of it is safe for concurrent use, and what a hit reads takes no lock that
// all cores share.
package memory

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// overhead is how many bytes an entry takes beside what Options.Cost counts:
// its places in the tables of the store, measured at 170 to 230.
const overhead = 256

// Options say how a [Store] is made.
type Options[V any] struct {
	// MaxBytes bounds the sum of the costs of all entries, with 256 bytes for
	// the place of each. It must be at least 64 KiB.
	MaxBytes int64
	// Key returns the full key of a value. It must always return the same.
	Key func(V) string
	// Cost returns how many bytes a value takes: key, head and body.
	Cost func(V) int64
}

const (
	minBytes = 64 << 10
	// bytesPerEntry is what an entry is expected to take at least on average, from
	// which the number of the admission counters follows. With too few of them keys
	// are taken for each other, and what is popular is forgotten too soon: with an
	// eighth of these the hit ratio of entries of 1 KiB is 3 to 4 points lower. They
	// take some 5 % of the memory, and 256 KiB where it is small.
	bytesPerEntry            = 1 << 10
	minCounters, maxCounters = 1 << 16, 1 << 25
	// getBatch is how many look-ups ristretto collects before it counts them.
	// Each batch wakes its goroutine, which costs a hit more than the look-up.
	getBatch = 512
	stripes  = 64
)

// Store keeps values up to a number of bytes, and prefers those that are asked
// for often (TinyLFU: Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient
// Cache Admission Policy", 2017). It may refuse any value and drop any entry:
// nobody may rely on it to hold something.
//
// Beside the values it takes 300 KiB and about 0.6 % of MaxBytes, at most
// 128 MiB, for its tables and admission counters, and two goroutines, which
// Close ends.
type Store[V any] struct {
	cache *ristretto.Cache[string, *item[V]]
	key   func(V) string
	cost  func(V) int64
	max   int64

	// moving holds, of each stripe, the value that is being put where an older
	// one of its key had to be deleted first: so a Get finds the one or the
	// other. moves counts how many such values have arrived.
	moves  atomic.Uint64
	moving [stripes]atomic.Pointer[item[V]]

	// puts orders the writes of one key. ristretto loses the second of two
	// writes of a key if it comes before the first is applied.
	puts [stripes]sync.Mutex
	seed maphash.Seed

	// closing is held for reading by writers, which must not write into a
	// closed cache.
	closing sync.RWMutex
	closed  bool

	bytes, entries            atomic.Int64
	evicted, expired, refused atomic.Uint64
}

// item is a value with what the store needs to know of it. Items are pointers
// so that ristretto's callbacks can tell a value from none.
type item[V any] struct {
	value V
	key   string
	cost  int64
	gone  atomic.Bool // it was stored, and no longer is
}

// New makes an empty store. The caller must Close it. It fails if the options
// are incomplete or out of range.
func New[V any](o Options[V]) (*Store[V], error) {
	if o.Key == nil || o.Cost == nil {
		return nil, errors.New("memory store: Key and Cost must be set")
	}
	if o.MaxBytes < minBytes {
		return nil, fmt.Errorf("memory store: %d bytes are too few, at least %d are needed", o.MaxBytes, minBytes)
	}
	s := &Store[V]{key: o.Key, cost: o.Cost, max: o.MaxBytes, seed: maphash.MakeSeed()}
	conflictSeed := maphash.MakeSeed()
	cache, err := ristretto.NewCache(&ristretto.Config[string, *item[V]]{
		NumCounters:        counters(o.MaxBytes),
		MaxCost:            o.MaxBytes,
		BufferItems:        getBatch,
		IgnoreInternalCost: true,
		// Seeded, so that no client can choose keys that collide.
		KeyToHash: func(key string) (uint64, uint64) {
			return maphash.String(s.seed, key), maphash.String(conflictSeed, key)
		},
		OnExit:   s.left,
		OnEvict:  s.evict,
		OnReject: func(*ristretto.Item[*item[V]]) { s.refused.Add(1) },
	})
	if err != nil {
		return nil, fmt.Errorf("memory store: %w", err)
	}
	s.cache = cache
	return s, nil
}

// left uncounts a value that the cache let go of for whatever reason. A nil
// item comes from the deletion of a key that held nothing.
func (s *Store[V]) left(it *item[V]) {
	if it != nil {
		it.gone.Store(true)
		s.bytes.Add(-it.cost)
		s.entries.Add(-1)
	}
}

// evict counts why a value was dropped: only those that expired have a time.
func (s *Store[V]) evict(i *ristretto.Item[*item[V]]) {
	switch {
	case i.Value == nil:
	case i.Expiration.IsZero():
		s.evicted.Add(1)
	default:
		s.expired.Add(1)
	}
}

// Get returns the value that was put under key and has not expired. key may
// point into memory that is used again after the call. It does not allocate,
// but for a batch of look-ups that is handed on to the admission counters every
// 512 calls.
func (s *Store[V]) Get(key string) (V, bool) {
	moves := s.moves.Load()
	it, ok := s.cache.Get(key)
	if !ok || it.key != key {
		if it = s.inMotion(key, moves); it == nil {
			var none V
			return none, false
		}
	}
	return it.value, true
}

// inMotion looks for a value that Get did not find because it was being moved.
// moves is their count from before the look. Where it has changed, a move that
// has ended may be why, and its value has arrived: that is looked for again,
// once for each time that this happens. Where it has not, the value that is
// moving now is the one whose older one Get no longer found.
func (s *Store[V]) inMotion(key string, moves uint64) *item[V] {
	for {
		it := s.moving[s.stripe(key)].Load()
		now := s.moves.Load()
		if now == moves {
			if it == nil || it.key != key {
				return nil
			}
			return it
		}
		moves = now
		if it, ok := s.cache.Get(key); ok && it.key == key {
			return it
		}
	}
}

// Put stores v for ttl, which must be positive, in place of what its key held.
// It waits until the value is visible, some microseconds, and reports true if a
// Get right after finds it. Otherwise the store preferred what it has, v is
// larger than the store, ttl is not positive, or the store is closed; then the
// key holds nothing. Where v takes the place of another value, every Get until
// Put returns finds the one or the other.
//
// v and its key stay in memory for as long as the value is stored.
func (s *Store[V]) Put(v V, ttl time.Duration) (visible bool) {
	it := &item[V]{value: v, key: s.key(v), cost: s.cost(v) + overhead}
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return false
	}
	stripe := s.stripe(it.key)
	s.puts[stripe].Lock()
	defer s.puts[stripe].Unlock()
	if ttl <= 0 || it.cost > s.max {
		s.cache.Del(it.key)
		s.refused.Add(1)
		return false
	}
	// A value that replaces another is not subject to admission, and makes no
	// room for itself. That is right only if it needs no more room.
	if old, ok := s.cache.Get(it.key); !ok || old.key != it.key {
		s.cache.Del(it.key)
	} else if old.cost < it.cost {
		s.moving[stripe].Store(it)
		defer s.arrived(stripe)
		s.cache.Del(it.key)
	}
	if !s.set(it, ttl) {
		return false
	}
	s.cache.Wait()
	return s.shows(it)
}

// set asks for it to be stored, which it is, if it is let in, after Wait. The caller
// holds the lock of its key's writes until then.
func (s *Store[V]) set(it *item[V], ttl time.Duration) bool {
	s.bytes.Add(it.cost)
	s.entries.Add(1)
	if !s.cache.SetWithTTL(it.key, it, it.cost, ttl) {
		s.left(it)
		s.refused.Add(1)
		return false
	}
	return true
}

func (s *Store[V]) shows(it *item[V]) bool {
	now, ok := s.cache.Get(it.key)
	return ok && now == it
}

// arrived ends a move. It is counted first: whoever no longer finds the value
// in moving finds that the count has changed.
func (s *Store[V]) arrived(stripe uint64) {
	s.moves.Add(1)
	s.moving[stripe].Store(nil)
}

// Delete drops the value under key, if there is one.
func (s *Store[V]) Delete(key string) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return
	}
	lock := &s.puts[s.stripe(key)]
	lock.Lock()
	defer lock.Unlock()
	s.cache.Del(key)
}

func (s *Store[V]) stripe(key string) uint64 { return maphash.String(s.seed, key) % stripes }

// Close drops all values and waits for the store's goroutines to end. It waits
// for running calls of Put and Delete, and later ones do nothing; a Get must
// not run at the same time as Close, and finds nothing later. A second Close
// does nothing.
func (s *Store[V]) Close() {
	s.closing.Lock()
	defer s.closing.Unlock()
	if !s.closed {
		s.closed = true
		s.cache.Close()
	}
}

// Stats are the figures of a [Store].
type Stats struct {
	// Bytes is the sum of the costs of the entries; MaxBytes is its bound.
	Bytes, MaxBytes int64
	// Entries is how many values are stored.
	Entries int64
	// Evicted values made room for others, Expired ones outlived their ttl, and
	// Refused ones were not let in. These only grow.
	Evicted, Expired, Refused uint64
}

// Stats returns the present figures, each read by itself. It takes no lock.
func (s *Store[V]) Stats() Stats {
	return Stats{
		Bytes:    max(s.bytes.Load(), 0),
		MaxBytes: s.max,
		Entries:  max(s.entries.Load(), 0),
		Evicted:  s.evicted.Load(),
		Expired:  s.expired.Load(),
		Refused:  s.refused.Load(),
	}
}

// counters is how many keys are counted: ten times those that fit, and up to the next
// power of two, which ristretto's sketch has in any case.
func counters(maxBytes int64) int64 {
	n := min(max(10*maxBytes/bytesPerEntry, minCounters), maxCounters)
	return 1 << bits.Len64(uint64(n-1))
}
