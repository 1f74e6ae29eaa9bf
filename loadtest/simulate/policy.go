package simulate

import (
	"container/list"
	"fmt"
	"time"

	"github.com/dgraph-io/ristretto/v2"
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
	countersFor               = 1 << 10 // bytes of memory there is to a key that is counted, ten times
	leastCounted, mostCounted = 1 << 12, 1 << 25
	lookBatch                 = 512
)

// ristrettoStore waits for each write, as the memory tier does.
type ristrettoStore struct {
	cache *ristretto.Cache[uint64, time.Duration]
}

func openRistretto(memory int64) (store, error) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, time.Duration]{
		NumCounters: min(max(10*memory/countersFor, leastCounted), mostCounted), MaxCost: memory,
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
