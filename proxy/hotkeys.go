package proxy

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// hotSlots is how many keys a sketch tells apart: what is asked for more often
	// than once in so many requests is surely among them.
	hotSlots = 64
	// hotText is how much of a key's text is kept, in bytes.
	hotText = 128
	// hotWindow is what one sketch is of: what is shown is of the last one to two.
	hotWindow = time.Minute
	// hotWhole is how many requests of a stripe are noted one by one, within a
	// window; of those beyond it is one in hotThin+1.
	hotWhole = 1 << 10
	hotThin  = 63
)

// HotKey is a key that is asked for often.
type HotKey struct {
	// Hash is that of the key, by which it can be purged.
	Hash uint64
	// Route is the route's host and path prefix, and Text the host and target of one
	// of the requests, cut to 128 bytes.
	Route, Text string
	// Requests estimates how many there were, and rather too few than too many.
	Requests uint64
}

// HotKeys are the keys that are asked for most often, with the time that this is
// of.
type HotKeys struct {
	Keys []HotKey
	Over time.Duration
}

// hotKeys count the requests of keys, in about 360 KiB. What is asked for little is
// counted in full; else a request in 64 is, with that weight, so that a hit costs
// no more than a random number. A request uses the stripe of its connection, and
// waits for nobody: where the stripe is in use it is not counted.
type hotKeys struct {
	began   time.Time
	stripes [stripes]hotStripe
}

type hotStripe struct {
	thin atomic.Uint32 // one in thin+1 requests is noted
	mu   sync.Mutex
	// window is the number of the present one since the epoch of Unix, noted what was
	// noted in it, and present the place of its sketch.
	window  int64
	noted   int
	present int
	of      [2]sketch
	_       [64]byte
}

func newHotKeys(now time.Time) *hotKeys { return &hotKeys{began: now} }

// see counts the call's request.
func (h *hotKeys) see(c *call) {
	s := &h.stripes[c.lane]
	if thin := s.thin.Load(); rand.Uint32()&thin == 0 {
		s.note(c, uint64(thin)+1)
	}
}

func (s *hotStripe) note(c *call, weight uint64) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	s.turn(c.now)
	if s.noted++; s.noted == hotWhole {
		s.thin.Store(hotThin)
	}
	if slot, isNew := s.of[s.present].add(c.key.hash, weight); isNew {
		slot.route = c.route.name
		n := copy(slot.text[:], c.target.authority)
		slot.length = uint8(n + copy(slot.text[n:], c.target.raw))
	}
}

// turn begins a window where another one has come. It is called with mu held.
func (s *hotStripe) turn(now time.Time) {
	window := now.UnixNano() / int64(hotWindow)
	if window <= s.window {
		return
	}
	if window > s.window+1 {
		s.of[s.present].clear()
	}
	s.present = 1 - s.present
	s.of[s.present].clear()
	s.window, s.noted = window, 0
	s.thin.Store(0)
}

// top returns the n keys that were asked for most often of late. It is called
// now and then: it looks at all that was noted.
func (h *hotKeys) top(n int, now time.Time) HotKeys {
	sums := make(map[uint64]*HotKey)
	for i := range h.stripes {
		h.stripes[i].collect(sums, now)
	}
	keys := make([]HotKey, 0, len(sums))
	for _, k := range sums {
		keys = append(keys, *k)
	}
	slices.SortFunc(keys, func(a, b HotKey) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Hash, b.Hash))
	})
	since := now.Truncate(hotWindow).Add(-hotWindow)
	if since.Before(h.began) {
		since = h.began
	}
	return HotKeys{Keys: keys[:min(n, len(keys))], Over: now.Sub(since)}
}

func (s *hotStripe) collect(sums map[uint64]*HotKey, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now)
	for i := range s.of {
		k := &s.of[i]
		for j := range k.used {
			sum := sums[k.hashes[j]]
			if sum == nil {
				slot := &k.slots[j]
				sum = &HotKey{Hash: k.hashes[j], Route: slot.route, Text: string(slot.text[:slot.length])}
				sums[sum.Hash] = sum
			}
			sum.Requests += k.counts[j] - k.errors[j]
		}
	}
}

// sketch finds the keys that come most often, in constant memory: "Space-Saving"
// (Metwally, Agrawal, El Abbadi, 2005). A key that finds no slot takes that of the
// rarest one, and its count, which is what it may be wrong by.
type sketch struct {
	used   int
	hashes [hotSlots]uint64
	counts [hotSlots]uint64
	errors [hotSlots]uint64
	slots  [hotSlots]hotSlot
}

type hotSlot struct {
	route  string
	length uint8
	text   [hotText]byte
}

// add counts a key. Where it has a slot that was free or another key's the slot is
// new, and the caller's to fill.
func (k *sketch) add(hash, weight uint64) (slot *hotSlot, isNew bool) {
	rarest := 0
	for i := range k.used {
		if k.hashes[i] == hash {
			k.counts[i] += weight
			return &k.slots[i], false
		}
		if k.counts[i] < k.counts[rarest] {
			rarest = i
		}
	}
	if k.used < hotSlots {
		rarest = k.used
		k.used++
		k.counts[rarest] = 0
	}
	k.hashes[rarest], k.errors[rarest] = hash, k.counts[rarest]
	k.counts[rarest] += weight
	return &k.slots[rarest], true
}

func (k *sketch) clear() { k.used = 0 }
