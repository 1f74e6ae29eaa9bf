package ring

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// Walk is the order in which one key visits the live members. It is a plain
// value, for one goroutine:
//
//	for w := r.Walk(hash); ; {
//		m, ok := w.Next()
//		if !ok {
//			break
//		}
//		// try r.Members()[m]
//	}
//
// A copy goes on from where the original was, up to the eighth member; past
// it the two share state and only one may be used.
type Walk struct {
	ring *Ring
	hash uint64
	// step counts the rounds of probes made, or the points passed.
	step uint32
	// n counts the members yielded; first holds the first of them.
	n     uint32
	first [8]uint16
	// far is set once first is full.
	far *far
}

// far is the state of a walk that goes far.
type far struct {
	// seen is the set of all members yielded.
	seen []uint64
	// rest is the remaining order, nearest last, once it had to be sorted.
	rest []uint16
}

// Walk returns the walk of the key with the given hash; see Hash. It does not
// allocate.
func (r *Ring) Walk(hash uint64) Walk { return Walk{ring: r, hash: hash} }

// Next returns the index in Members of the next member, or false once every
// live member was yielded; with no live member that is at once. No member is
// yielded twice. The first eight calls do not allocate.
func (w *Walk) Next() (int, bool) {
	r := w.ring
	if w.n == 0 && len(r.live) > 1 {
		// Most walks end after this. What does not end here is decided by
		// probe or point below, from the same place on.
		if r.circle != nil {
			if p := r.circle.points[r.circle.find(uint32(w.hash))]; p.rank() < r.accept[p.member()] {
				w.first[0], w.n, w.step = p.member(), 1, 1
				return int(w.first[0]), true
			}
		} else if r.open != nil {
			var kind uint16
			w.step, kind = scan(r.open, w.hash, 0, r.limit)
			if kind != 0 && r.accept[kind] == whole {
				w.first[0], w.n = (kind-1)/2, 1
				return int(w.first[0]), true
			}
		}
	}
	return w.next()
}

func (w *Walk) next() (int, bool) {
	r := w.ring
	var m uint16
	var ok bool
	switch left := len(r.live) - int(w.n); {
	case left == 0:
		return 0, false
	case left == 1:
		// Whatever the placement says, it is this one. Probing for it could
		// take long, above all where all others are ejected.
	case w.far != nil && w.far.rest != nil:
	case r.circle != nil:
		m, ok = w.point()
	default:
		m, ok = w.probe()
	}
	if !ok {
		m = w.nearest()
	}
	w.yield(m)
	return int(m), true
}

// yield records m as yielded.
func (w *Walk) yield(m uint16) {
	if w.n < uint32(len(w.first)) {
		w.first[w.n] = m
		w.n++
		return
	}
	if w.far == nil {
		w.far = &far{seen: make([]uint64, (len(w.ring.members)+63)/64)}
		for _, f := range w.first {
			set(w.far.seen, f)
		}
	}
	set(w.far.seen, m)
	w.n++
}

// has reports whether m was yielded.
func (w *Walk) has(m uint16) bool {
	if w.far != nil {
		return isSet(w.far.seen, m)
	}
	for _, f := range w.first[:w.n] {
		if f == m {
			return true
		}
	}
	return false
}

// nearest returns the next member by weighted rendezvous. A walk that goes
// far sorts what is left once, so that a whole walk stays O(n log n).
func (w *Walk) nearest() uint16 {
	live := w.ring.live
	if w.far == nil {
		best, least := uint16(0), math.Inf(1)
		for _, m := range live {
			if w.has(m) {
				continue
			}
			if d := w.distance(m); d < least {
				best, least = m, d
			}
		}
		return best
	}
	f := w.far
	if f.rest == nil {
		for _, m := range live {
			if !w.has(m) {
				f.rest = append(f.rest, m)
			}
		}
		slices.SortStableFunc(f.rest, func(a, b uint16) int {
			return cmp.Compare(w.distance(b), w.distance(a))
		})
	}
	m := f.rest[len(f.rest)-1]
	f.rest = f.rest[:len(f.rest)-1]
	return m
}

// distance is exponentially distributed with the member's weight as its rate:
// the least one falls on each member in proportion to its weight, and a
// change of one weight changes no other distance.
func (w *Walk) distance(m uint16) float64 {
	u := (float64(mix(w.hash^w.ring.ids[m])>>11) + 0.5) / (1 << 53)
	return -math.Log(u) / w.ring.weight[m]
}

// gamma is the odd number nearest 2^64 divided by the golden ratio: its
// multiples are far apart.
const gamma = 0x9e3779b97f4a7c15

// mix spreads x over 64 bits, by folding the 128-bit product of x and a
// masked copy of itself.
func mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x, x^0xd1b54a32d192ed03)
	return hi ^ lo
}

func isSet(s []uint64, i uint16) bool { return s[i/64]>>(i%64)&1 != 0 }
func set(s []uint64, i uint16)        { s[i/64] |= 1 << (i % 64) }
