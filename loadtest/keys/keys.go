// Package keys draws the keys that requests are for: which of a number of keys is
// wanted next, by laws of which caches see some every day.
package keys

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Law is how often which key is wanted.
type Law uint8

// The laws.
const (
	InTurn  Law = iota // 0, 1, 2 and so on, and from the start again
	Uniform            // each as often as any other
	Zipf               // the k-th most popular in proportion to 1/k^S
	Hot                // key 0 takes a share, the others are uniform
	Moving             // a part of all, uniform within, which moves on with time
)

// Keys describe what is drawn. Count is required.
type Keys struct {
	Law   Law
	Count int           // how many keys there are, from 0 on
	S     float64       // of Zipf, from 0, which is uniform, on
	Share float64       // of Hot, from 0 to 1
	Part  int           // of Moving: how many keys are wanted at a moment
	Every time.Duration // of Moving: after which the first of these is over, and another one comes
}

// Source draws. It holds no state that changes, and may be used concurrently.
type Source struct {
	keys Keys
	zipf zipf
}

// New checks the description.
func New(k Keys) (Source, error) {
	switch {
	case k.Count < 1:
		return Source{}, fmt.Errorf("count: want at least 1 key, got %d", k.Count)
	case k.Law == Zipf && !(k.S >= 0 && k.S <= 10):
		return Source{}, fmt.Errorf("zipf: want an exponent from 0 to 10, got %v", k.S)
	case k.Law == Hot && !(k.Share >= 0 && k.Share <= 1):
		return Source{}, fmt.Errorf("hot: want a share from 0 to 1, got %v", k.Share)
	case k.Law == Moving && (k.Part < 1 || k.Part > k.Count):
		return Source{}, fmt.Errorf("moving: want a part from 1 to count, got %d", k.Part)
	case k.Law == Moving && k.Every <= 0:
		return Source{}, fmt.Errorf("moving: want a time above 0 (every), got %s", k.Every)
	}
	s := Source{keys: k}
	if k.Law == Zipf {
		s.zipf = newZipf(k.Count, k.S)
	}
	return s, nil
}

// Next is the key of the i-th request, which is due that long after the start.
func (s Source) Next(i int, at time.Duration, r *rand.Rand) int {
	k := s.keys
	switch k.Law {
	case Uniform:
		return r.IntN(k.Count)
	case Zipf:
		return s.zipf.next(r)
	case Hot:
		if k.Count == 1 || r.Float64() < k.Share {
			return 0
		}
		return 1 + r.IntN(k.Count-1)
	case Moving:
		return (int(at/k.Every) + r.IntN(k.Part)) % k.Count
	}
	return i % k.Count
}

// zipf draws by rejection from an inverted integral, in constant time for any exponent:
// W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone
// discrete distributions", ACM Transactions on Modeling and Computer Simulation 6(3), 1996.
type zipf struct {
	n, s      float64
	low, high float64 // of the integral: for the first key with its whole mass, and for the last
	squeeze   float64 // a key no farther from the point than this is taken without more ado
}

func newZipf(count int, s float64) zipf {
	z := zipf{n: float64(count), s: s}
	z.low = z.integral(1.5) - 1
	z.high = z.integral(z.n + 0.5)
	z.squeeze = 2 - z.inverse(z.integral(2.5)-z.mass(2))
	return z
}

func (z zipf) next(r *rand.Rand) int {
	for {
		u := z.low + r.Float64()*(z.high-z.low)
		x := z.inverse(u)
		k := min(max(math.Round(x), 1), z.n)
		if k-x <= z.squeeze || u >= z.integral(k+0.5)-z.mass(k) {
			return int(k) - 1
		}
	}
}

// mass is what a key has, times a constant.
func (z zipf) mass(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// integral is that of mass from 1 to x.
func (z zipf) integral(x float64) float64 {
	log := math.Log(x)
	return log * expOver((1-z.s)*log)
}

// inverse is that of integral.
func (z zipf) inverse(y float64) float64 {
	return math.Exp(y * logOver(max((1-z.s)*y, -1)))
}

// expOver is (e^x - 1) / x, also where x is 0 or near it.
func expOver(x float64) float64 {
	if math.Abs(x) < 1e-8 {
		return 1 + x/2
	}
	return math.Expm1(x) / x
}

// logOver is log(1 + x) / x likewise.
func logOver(x float64) float64 {
	if math.Abs(x) < 1e-8 {
		return 1 - x/2
	}
	return math.Log1p(x) / x
}
