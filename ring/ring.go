// Package ring maps a hash to an ordered walk over weighted members.
//
// A [Ring] is immutable and a pure function of the set of members and of
// their factors (0 = ejected, 1 = full): every process that holds the same
// set computes the same walk, whatever the order of its list. The first
// member of a walk owns the key; the following ones are those that would own
// it were all the earlier ones ejected, which makes the walk the order for
// retries, hedges and bounded load as well.
//
// [New] places by weighted rejection hashing, in the family of SPOCA
// (Chawla et al., USENIX ATC 2011) and DxHash (Dong and Wang, 2021). Members
// occupy cells of a sparse table, one per unit of weight, at places hashed
// from their IDs; a key probes the table at pseudo-random places of its own
// until it meets a cell that accepts it. Three things follow:
//
//   - Lowering a member's factor moves only that member's keys, evenly by
//     weight over the others; raising it again returns exactly those keys.
//   - Adding a member, or weight, moves the share it gains, and at times a
//     little more, where a new cell displaces another: on average up to 1.3
//     times the share at the fullest table, and 1.0 at most sizes.
//   - The table doubles when more than a quarter of it would be occupied, that
//     is past 32, 64, 128 and so on up to 16384 units of weight in total, and
//     the unit of weight grows by 8 when a single weight passes 8, 64, 512,
//     4096 or 32768. Either reshuffles most keys; changes of factors never do.
//
// [NewKetama] places as nginx's "hash ... consistent" does, point for point.
package ring

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	// MaxMembers is the greatest number of members in one ring.
	MaxMembers = 4096
	// MaxWeight is the greatest weight of one member.
	MaxWeight = 65535
)

// Member is one place a key can go. Its identity is its ID, never its place
// in a list.
type Member struct {
	// ID is unique in the ring and not empty. For ketama it is the server as
	// nginx's configuration spells it: host, host:port or unix:path.
	ID string
	// Weight is the member's share relative to the others, up to MaxWeight. A
	// member of weight 0 is drained: it is listed, and never walked to.
	Weight int
}

// Ring is an immutable placement of members together with their factors. It
// is safe for concurrent use; share it by pointer. The zero value is not
// usable: see New and NewKetama.
type Ring struct {
	*placement
	// live holds the members of positive weight and factor, by ID.
	live []uint16
	// weight is each member's weight times its factor, and total their sum.
	weight []float64
	total  float64
	// accept is the threshold by kind of cell or, for ketama, by member.
	accept []uint32
	// open is the table without the cells whose threshold is 0; nil for ketama.
	open []uint16
	// limit bounds the rounds of probes, or the points, of a walk.
	limit uint32
}

// placement is what depends on the members only; all rings derived from one
// another by WithFactors share it.
type placement struct {
	members []Member
	// ids is the hash of each member's ID.
	ids []uint64
	// byID lists the members in the order of their IDs. Whatever must not
	// depend on the order of the list starts from it.
	byID []uint16

	// Exactly one of the two is set.
	table  *table
	circle *circle
}

// New returns a ring over members by weighted rejection hashing, all factors
// being 1. It copies members. It fails where there is none, more than
// MaxMembers, an ID that is empty or occurs twice, or a weight outside
// 0..MaxWeight; the error names the member.
func New(members []Member) (*Ring, error) {
	p, err := newPlacement(members)
	if err != nil {
		return nil, err
	}
	p.table = newTable(p)
	return p.ring(nil), nil
}

// NewKetama returns a ring over members that places keys as nginx's
// "hash ... consistent" does for servers listed in the same order (the order
// decides only between members whose points coincide). A factor between 0
// and 1 keeps that part of a member's points. It fails as New does, and where
// the weights add up to more than MaxKetamaWeight.
func NewKetama(members []Member) (*Ring, error) {
	p, err := newPlacement(members)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, m := range members {
		total += m.Weight
	}
	if total > MaxKetamaWeight {
		return nil, fmt.Errorf("ring: ketama weights add up to %d, more than %d", total, MaxKetamaWeight)
	}
	p.circle = newCircle(p.members, total)
	return p.ring(nil), nil
}

func newPlacement(members []Member) (*placement, error) {
	switch {
	case len(members) == 0:
		return nil, errors.New("ring: no members")
	case len(members) > MaxMembers:
		return nil, fmt.Errorf("ring: %d members, more than %d", len(members), MaxMembers)
	}
	p := &placement{
		members: slices.Clone(members),
		ids:     make([]uint64, len(members)),
		byID:    make([]uint16, len(members)),
	}
	for i, m := range members {
		if m.ID == "" {
			return nil, fmt.Errorf("ring: member %d has no ID", i)
		}
		if m.Weight < 0 || m.Weight > MaxWeight {
			return nil, fmt.Errorf("ring: member %q: weight %d is not in 0..%d", m.ID, m.Weight, MaxWeight)
		}
		p.ids[i] = xxhash.Sum64String(m.ID)
		p.byID[i] = uint16(i)
	}
	slices.SortFunc(p.byID, func(a, b uint16) int {
		return cmp.Compare(members[a].ID, members[b].ID)
	})
	for i := 1; i < len(p.byID); i++ {
		if id := members[p.byID[i]].ID; id == members[p.byID[i-1]].ID {
			return nil, fmt.Errorf("ring: member %q is listed twice", id)
		}
	}
	return p, nil
}

// WithFactors returns a ring of the same placement whose member i takes
// factors[i] of the share its weight gives it: 0 ejects it, 1 is its full
// share, and what lies between ramps it, as a slow start does. Values outside
// [0, 1] count as the nearer bound, positive ones under 2^-32 as 2^-32, and NaN
// as 0. Nil means 1 for all. The factors that r had do not matter. It costs
// microseconds per 100 members and keeps no reference to factors. It panics if
// factors is neither nil nor as long as Members.
func (r *Ring) WithFactors(factors []float64) *Ring {
	if factors != nil && len(factors) != len(r.members) {
		panic(fmt.Sprintf("ring: %d factors for %d members", len(factors), len(r.members)))
	}
	return r.ring(factors)
}

func (p *placement) ring(factors []float64) *Ring {
	factor := make([]float64, len(p.members))
	r := &Ring{
		placement: p,
		live:      make([]uint16, 0, len(p.members)),
		weight:    make([]float64, len(p.members)),
	}
	for i, m := range p.members {
		factor[i] = 1
		if factors != nil {
			factor[i] = clamp(factors[i])
		}
		r.weight[i] = factor[i] * float64(m.Weight)
	}
	for _, m := range p.byID {
		if r.weight[m] > 0 {
			r.live = append(r.live, m)
			r.total += r.weight[m]
		}
	}
	if p.circle != nil {
		r.accept = p.circle.thresholds(factor)
		r.limit = uint32(min(maxPoints, len(p.circle.points)))
		return r
	}
	r.accept = p.table.thresholds(p.members, factor)
	r.open = p.table.open(r.accept)
	r.limit = p.table.rounds
	return r
}

// clamp turns NaN into 0 and keeps whatever is positive large enough to be a
// threshold.
func clamp(f float64) float64 {
	if f > 0 {
		return max(1.0/whole, min(f, 1))
	}
	return 0
}

// Members returns the members in the order they were given. The indices that
// a Walk yields refer to it. The caller must not modify it.
func (r *Ring) Members() []Member { return r.members }

// Hash returns the hash of key for Walk: xxhash64, or CRC-32 (IEEE) for a
// ketama ring, as nginx takes it. For a ring made by New any other uniform
// 64-bit hash does as well, if all who must agree use the same.
func (r *Ring) Hash(key []byte) uint64 {
	if r.circle != nil {
		return uint64(crc32.ChecksumIEEE(key))
	}
	return xxhash.Sum64(key)
}
