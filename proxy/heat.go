package proxy

import (
	"math"
	"time"
)

// heat says how much an entry is used: in how many stretches of time it was used at
// all, those of an hour ago counting half. It is what a snapshot is ordered by, and
// needs no more: so that a hot entry is written to once in a stretch, whatever it
// is asked for (after LRFU: Lee et al., "LRFU: A Spectrum of Policies that Subsumes
// the Least Recently Used and Least Frequently Used Policies", 2001).
//
// It is the number of the last stretch in which it was used, then the score at that
// time as a float32.
type heat uint64

const (
	heatStretch  = 8          // seconds
	heatHalfLife = 3600.0 / 8 // stretches
)

func heatAt(now time.Time) uint32 { return uint32(now.Unix() / heatStretch) }

// used returns what h is after a use at a time.
func (h heat) used(at uint32) heat {
	return heat(at)<<32 | heat(math.Float32bits(h.score(at)+1))
}

// score returns what h comes to at a time. A clock that was set back ages nothing.
func (h heat) score(at uint32) float32 {
	age := max(int64(at)-int64(h>>32), 0)
	return math.Float32frombits(uint32(h)) * float32(math.Exp2(-float64(age)/heatHalfLife))
}

// rank is a number that grows with the score.
func (h heat) rank(at uint32) uint64 { return uint64(math.Float32bits(h.score(at))) }

// valid reports whether h is one that used has made, or zero.
func (h heat) valid() bool {
	score := math.Float32frombits(uint32(h))
	return score >= 0 && score < math.MaxFloat32
}

// touch notes that e is used.
func (e *entry) touch(now time.Time) {
	at := heatAt(now)
	if h := heat(e.heat.Load()); uint32(h>>32) != at {
		e.heat.Store(uint64(h.used(at)))
	}
}
