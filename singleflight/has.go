package singleflight

import "hash/maphash"

// Has reports whether key has a flight at this moment, which Join would join. It
// changes nothing.
func (g *Group[H]) Has(key string) bool {
	s := &g.shards[maphash.String(g.seed, key)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flights[key] != nil
}
