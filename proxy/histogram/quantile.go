package histogram

import "math"

// Less takes away what an older snapshot of the same histograms has, so that what
// was counted since then is left.
func (s *Snapshot) Less(older *Snapshot) {
	s.Sum -= older.Sum
	for i, n := range older.Counts {
		s.Counts[i] -= n
	}
}

// Quantile returns the bound, in seconds, that a part of the durations, 0 to 1, is
// no longer than: the right one is up to 9 % shorter. It is 0 where there is none,
// and 2^12 where the right one is longer.
func (s *Snapshot) Quantile(part float64) float64 {
	rank := max(uint64(math.Ceil(part*float64(s.Count()))), 1)
	for i, n := range s.Counts[:Buckets-1] {
		if n >= rank {
			return Bound(i)
		}
		rank -= n
	}
	if s.Counts[Buckets-1] == 0 {
		return 0
	}
	return Bound(Buckets - 2)
}
