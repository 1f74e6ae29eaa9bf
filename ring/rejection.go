package ring

import (
	"cmp"
	"math"
	"slices"
)

const (
	minTable   = 1 << 7
	maxTable   = 1 << laneBits
	tableStep  = 2
	sparsity   = 4 // cells of the table per occupied cell, at least
	memberUnit = 8 // cells a member may occupy, at most; also the step of the unit

	// One mixed word gives the places of several probes, and a round takes two
	// words: one of the eight probes is mostly accepted, so that the branch
	// behind the round is mostly predicted.
	laneBits = 16
	lanes    = 64 / laneBits
	words    = 2

	// patience times the probes a key expects to need are made, while all
	// members are live, before it falls back to rendezvous: at full factors
	// that befalls one key in e^16. maxRounds bounds it where very unequal
	// weights leave most of the table closed.
	patience  = 16
	maxRounds = 512

	// whole is the threshold that accepts every probe.
	whole = math.MaxUint32
)

// table is the placement of weighted rejection hashing.
type table struct {
	// unit is the weight that fills one cell.
	unit int
	// rounds bounds the probing, at words times lanes probes each.
	rounds uint32
	// kinds says of each cell whose it is: 0 for nobody's, else 1 plus twice
	// the member, plus 1 if the member's weight does not fill the cell.
	kinds []uint16
}

// newTable hashes the members' cells into a table. Where several want the
// same place the one with the greatest hash has it, and the others go to
// their next one: taking the cells by descending hash does just that, and
// makes the table a function of the set.
func newTable(p *placement) *table {
	type cell struct {
		seed uint64
		kind uint16
	}
	unit := unitOf(p.members)
	var cells []cell
	capacity := 0.0
	for _, m := range p.byID {
		w := p.members[m].Weight
		capacity += float64(w) / float64(unit)
		for k := range (w + unit - 1) / unit {
			c := cell{seed: mix(p.ids[m] + uint64(k+1)*gamma), kind: 1 + 2*m}
			if (k+1)*unit > w {
				c.kind++
			}
			cells = append(cells, c)
		}
	}
	slices.SortStableFunc(cells, func(a, b cell) int { return cmp.Compare(b.seed, a.seed) })

	size := tableSize(len(cells))
	t := &table{
		unit:   unit,
		rounds: maxRounds,
		kinds:  make([]uint16, size),
	}
	if n := patience * float64(size) / capacity / (words * lanes); n < maxRounds {
		t.rounds = uint32(math.Ceil(n))
	}
	mask := uint16(size - 1)
	for _, c := range cells {
		at := uint16(c.seed) & mask
		for i := uint64(1); t.kinds[at] != 0; i++ {
			at = uint16(mix(c.seed+i*gamma)) & mask
		}
		t.kinds[at] = c.kind
	}
	return t
}

// unitOf returns the weight of one cell: 1, or the power of 8 that lets the
// heaviest member do with 8 cells.
func unitOf(members []Member) int {
	heaviest := 0
	for _, m := range members {
		heaviest = max(heaviest, m.Weight)
	}
	unit := 1
	for heaviest > memberUnit*unit {
		unit *= memberUnit
	}
	return unit
}

// tableSize depends on the configured members only, so that no change of
// factors reshuffles keys. At maxTable half the cells may be occupied.
func tableSize(cells int) int {
	size := minTable
	for size < maxTable && size < sparsity*cells {
		size *= tableStep
	}
	return size
}

// thresholds returns the part of 2^32 that each kind of cell accepts; 0 only
// where there is no such cell, or the factor is 0.
func (t *table) thresholds(members []Member, factor []float64) []uint32 {
	accept := make([]uint32, 1+2*len(members))
	for i, m := range members {
		part := float64(m.Weight%t.unit) / float64(t.unit)
		accept[1+2*i] = threshold(factor[i])
		accept[2+2*i] = threshold(factor[i] * part)
	}
	return accept
}

func threshold(f float64) uint32 {
	switch {
	case f <= 0:
		return 0
	case f >= 1:
		return whole
	}
	return max(1, uint32(f*(1<<32)))
}

// open returns the kinds of the cells that accept anything, and 0 for the
// others.
func (t *table) open(accept []uint32) []uint16 {
	open := slices.Clone(t.kinds)
	for i, kind := range open {
		if accept[kind] == 0 {
			open[i] = 0
		}
	}
	return open
}

// probe returns the next member of the walk by rejection, or false when the
// probes are used up. A probe is a part of the hash and a number mixed:
// independent of the others, and of every factor. A walk goes on in the round
// of its last member, which then turns down all that was decided before.
func (w *Walk) probe() (uint16, bool) {
	r := w.ring
	for {
		var kind uint16
		if w.step, kind = scan(r.open, w.hash, w.step, r.limit); kind == 0 {
			return 0, false
		}
		if m, ok := w.round(); ok {
			return m, true
		}
		w.step++
	}
}

// scan returns the first round, from round on, that meets an open cell, and
// the kind of the first it meets; or limit and 0. This is the hot loop. Within
// a round nothing branches: the probes are looked at from the last to the first,
// and each open one takes the place of those behind it.
func scan(open []uint16, hash uint64, round, limit uint32) (uint32, uint16) {
	if len(open) == 0 {
		return limit, 0 // Never: it lets the compiler drop the bounds checks.
	}
	mask := uint64(len(open) - 1)
	for ; round < limit; round++ {
		kind := nearer(open, mask, word(hash, round, 1), 0)
		if kind = nearer(open, mask, word(hash, round, 0), kind); kind != 0 {
			return round, kind
		}
	}
	return limit, 0
}

// nearer returns the kind of the first open cell among the four probes of x,
// or else kind. It is small enough to be inlined.
func nearer(open []uint16, mask, x uint64, kind uint16) uint16 {
	if k := open[x>>(3*laneBits)&mask]; k != 0 {
		kind = k
	}
	if k := open[x>>(2*laneBits)&mask]; k != 0 {
		kind = k
	}
	if k := open[x>>laneBits&mask]; k != 0 {
		kind = k
	}
	if k := open[x&mask]; k != 0 {
		kind = k
	}
	return kind
}

// word returns the bits of four probes: word i of a round.
func word(hash uint64, round, i uint32) uint64 {
	return mix(hash + uint64(words*round+i+1)*gamma)
}

// round returns the member that the probes of the present round lead to, if
// one of them is accepted.
func (w *Walk) round() (uint16, bool) {
	r := w.ring
	mask := uint64(len(r.open) - 1)
	for probe := range uint64(words * lanes) {
		x := word(w.hash, w.step, uint32(probe/lanes))
		lane := probe % lanes
		kind := r.open[x>>(laneBits*lane)&mask]
		if kind == 0 {
			continue
		}
		limit, m := r.accept[kind], (kind-1)/2
		if (limit == whole || uint32(mix(x+lane*gamma)) < limit) && !w.has(m) {
			return m, true
		}
	}
	return 0, false
}
