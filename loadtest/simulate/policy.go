package simulate

import (
	"container/list"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
)

// Policy is how a cache chooses what it keeps.
type Policy struct {
	Name  string
	About string
	open  func(memory int64) (store, error)
}

// store keeps until when answers are fresh, by the numbers of their keys.
type store interface {
	get(key int) (until time.Duration, ok bool)
	put(key int, until time.Duration, size int64)
	close()
}

// Policies are those that there are.
func Policies() []Policy {
	return []Policy{
		{"ristretto", "TinyLFU before a sampled LFU: what Ringfence's memory is", openRistretto},
		{"w-tinylfu", "a window before a segmented LRU with TinyLFU between them, its size found by hill climbing", openWTinyLFU},
		{"lru", "what was used last stays", func(memory int64) (store, error) { return openLRU(memory), nil }},
	}
}

// lru is a list with what was used last in front.
type lru struct {
	memory, used int64
	order        *list.List // of entry
	places       map[int]*list.Element
}

type entry struct {
	key   int
	until time.Duration
	size  int64
}

func openLRU(memory int64) *lru {
	return &lru{memory: memory, order: list.New(), places: map[int]*list.Element{}}
}

func (l *lru) get(key int) (time.Duration, bool) {
	at, ok := l.places[key]
	if !ok {
		return 0, false
	}
	l.order.MoveToFront(at)
	return at.Value.(entry).until, true //nolint:forcetypeassert // it holds nothing else
}

func (l *lru) put(key int, until time.Duration, size int64) {
	if at, ok := l.places[key]; ok {
		l.remove(at)
	}
	if size > l.memory {
		return
	}
	for l.used+size > l.memory {
		l.remove(l.order.Back())
	}
	l.used += size
	l.places[key] = l.order.PushFront(entry{key, until, size})
}

func (l *lru) remove(at *list.Element) {
	e := l.order.Remove(at).(entry) //nolint:forcetypeassert // as above
	l.used -= e.size
	delete(l.places, e.key)
}

func (*lru) close() {}

// The settings of Ringfence's memory.
const (
	countersFor               = 1 << 10 // bytes of memory for which ten keys are counted; the sum is a power of two
	leastCounted, mostCounted = 1 << 16, 1 << 25
	lookBatch                 = 512
)

// wTinyLFU is otter, which follows Caffeine (Einziger, Eytan, Friedman and Manes,
// Adaptive Software Cache Management, Middleware 2018).
type wTinyLFU struct {
	cache *otter.Cache[int, sized]
}

type sized struct {
	until time.Duration
	size  uint32
}

func openWTinyLFU(memory int64) (store, error) {
	c, err := otter.New(&otter.Options[int, sized]{
		MaximumWeight: uint64(max(memory, 0)),
		Weigher:       func(_ int, v sized) uint32 { return v.size },
		Executor:      func(does func()) { does() }, // the same in every run
	})
	if err != nil {
		return nil, err
	}
	return wTinyLFU{c}, nil
}

func (s wTinyLFU) get(key int) (time.Duration, bool) {
	v, ok := s.cache.GetIfPresent(key)
	return v.until, ok
}

func (s wTinyLFU) put(key int, until time.Duration, size int64) {
	s.cache.Set(key, sized{until, uint32(min(size, math.MaxUint32))})
	s.cache.CleanUp()
}

func (s wTinyLFU) close() { s.cache.StopAllGoroutines() }

// ristrettoStore waits for each write, as the memory tier does.
type ristrettoStore struct {
	cache *ristretto.Cache[uint64, time.Duration]
}

func openRistretto(memory int64) (store, error) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, time.Duration]{
		NumCounters: 1 << bits.Len64(uint64(min(max(10*memory/countersFor, leastCounted), mostCounted)-1)), MaxCost: memory,
		BufferItems: lookBatch, IgnoreInternalCost: true,
		KeyToHash: func(key uint64) (uint64, uint64) { return mix(key), 0 }, // as hashes of names are
	})
	if err != nil {
		return nil, fmt.Errorf("ristretto: %w", err)
	}
	return ristrettoStore{c}, nil
}

func (s ristrettoStore) get(key int) (time.Duration, bool) { return s.cache.Get(uint64(key)) }

func (s ristrettoStore) put(key int, until time.Duration, size int64) {
	s.cache.Set(uint64(key), until, size)
	s.cache.Wait()
}

func (s ristrettoStore) close() { s.cache.Close() }

// mix is the finalizer of SplitMix64: neighbours have nothing in common after it.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
