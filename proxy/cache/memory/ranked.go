package memory

import (
	"cmp"
	"iter"
	"slices"
	"time"
	"weak"
)

// Ranked yields the values that are stored, those of the highest rank first. rank
// is asked once for each, all at once, under locks of the store: it must be quick,
// and must not call the store. What is put after that is not yielded, and neither
// is what has left the store by its turn: so no value stays in memory for having
// to wait. The order takes 16 bytes a value while it lasts, and its making holds up
// Put for the time that a 256th of the values takes.
func (s *Store[V]) Ranked(rank func(V) uint64) iter.Seq[V] {
	type place struct {
		item weak.Pointer[item[V]]
		rank uint64
	}
	return func(yield func(V) bool) {
		places := make([]place, 0, s.entries.Load())
		s.closing.RLock()
		if !s.closed {
			s.cache.IterValues(func(it *item[V]) (stop bool) {
				places = append(places, place{weak.Make(it), rank(it.value)})
				return false
			})
		}
		s.closing.RUnlock()
		slices.SortFunc(places, func(a, b place) int { return cmp.Compare(b.rank, a.rank) })
		for _, p := range places {
			if it := p.item.Value(); it != nil && !it.gone.Load() && !yield(it.value) {
				return
			}
		}
	}
}

// Add stores values as Put does, ttl says for how long, but only those whose keys
// hold nothing and for which there is room: none takes the place of another value.
// It reports which of them are stored, and counts none as refused but a key that comes
// twice. Many at a time
// cost much less than one by one; a Put of one of 64ths of all keys may have to wait
// for the whole of a call.
func (s *Store[V]) Add(values []V, ttl func(V) time.Duration) (stored []bool) {
	stored = make([]bool, len(values))
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return stored
	}
	var involved [stripes]bool
	items := make([]*item[V], len(values))
	for i, v := range values {
		items[i] = &item[V]{value: v, key: s.key(v), cost: s.cost(v) + overhead}
		involved[s.stripe(items[i].key)] = true
	}
	for i := range s.puts { // in one order, so that two calls do not wait for each other
		if involved[i] {
			s.puts[i].Lock()
			defer s.puts[i].Unlock()
		}
	}
	for i, it := range items {
		keep := ttl(it.value)
		if _, taken := s.cache.Get(it.key); taken || keep <= 0 || s.bytes.Load()+it.cost > s.max || !s.set(it, keep) {
			items[i] = nil
		}
	}
	s.cache.Wait()
	for i, it := range items {
		stored[i] = it != nil && s.shows(it)
	}
	return stored
}
