package keys

import (
	"fmt"
	"math"
)

// Sizes describe how large the answers for keys are, in bytes: between Low and High,
// evenly, or around Median by a log-normal law whose logarithm has Spread as standard
// deviation, and Low and High as bounds.
type Sizes struct {
	Low, High int64
	Median    int64 // 0: evenly
	Spread    float64
}

// Check says what is wrong about the description.
func (s Sizes) Check() error {
	switch {
	case s.Low < 0 || s.High < s.Low:
		return fmt.Errorf("want sizes from a number to a larger one, got %d to %d", s.Low, s.High)
	case s.Median < 0 || !(s.Spread >= 0 && s.Spread <= 10):
		return fmt.Errorf("want a median above 0 and a spread from 0 to 10, got %d and %v", s.Median, s.Spread)
	}
	return nil
}

// Of is the size of a key, which is the same each time.
func (s Sizes) Of(key int) int64 {
	u := unit(uint64(key))
	if s.Median == 0 {
		return s.Low + int64(u*float64(s.High-s.Low+1))
	}
	x := float64(s.Median) * math.Exp(s.Spread*math.Sqrt2*math.Erfinv(2*u-1))
	return int64(min(max(x, float64(s.Low)), float64(s.High)))
}

// unit is a number from 0 to 1, neither of them, for each number: the finalizer of
// SplitMix64, so that neighbours have nothing in common.
func unit(x uint64) float64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return (float64(x>>11) + 0.5) / (1 << 53)
}
