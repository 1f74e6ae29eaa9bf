package keys

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// What is drawn comes as often as the law says, by a chi-squared test at five standard
// deviations.
func TestZipf(t *testing.T) {
	const draws = 200_000
	for _, s := range []float64{0, 0.5, 0.8, 1, 1.2, 2, 5} {
		for _, count := range []int{1, 2, 10, 1000} {
			source, err := New(Keys{Law: Zipf, Count: count, S: s})
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, uint64(count)))
			got := make([]float64, count)
			for i := range draws {
				got[source.Next(i, 0, r)]++
			}
			sum := 0.0
			for k := 1; k <= count; k++ {
				sum += math.Pow(float64(k), -s)
			}
			chi, cells, rest, restWant := 0.0, 0, 0.0, 0.0
			for k := 1; k <= count; k++ {
				want := draws * math.Pow(float64(k), -s) / sum
				if want < 10 { // too rare for the test alone
					rest, restWant = rest+got[k-1], restWant+want
					continue
				}
				chi += (got[k-1] - want) * (got[k-1] - want) / want
				cells++
			}
			if restWant >= 10 {
				chi += (rest - restWant) * (rest - restWant) / restWant
				cells++
			}
			if n := float64(cells - 1); chi > n+5*math.Sqrt(2*n)+1 {
				t.Errorf("s %v, %d keys: chi squared %.0f of %.0f cells", s, count, chi, n)
			}
		}
	}
}

func TestLaws(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, tt := range map[string]struct {
		keys      Keys
		at        time.Duration
		low, high int
	}{
		"uniform":           {Keys{Law: Uniform, Count: 10}, 0, 0, 9},
		"moving":            {Keys{Law: Moving, Count: 100, Part: 5, Every: time.Second}, 10 * time.Second, 10, 14},
		"all hot":           {Keys{Law: Hot, Count: 10, Share: 1}, 0, 0, 0},
		"none hot":          {Keys{Law: Hot, Count: 10}, 0, 1, 9},
		"one key, none hot": {Keys{Law: Hot, Count: 1}, 0, 0, 0},
	} {
		source, err := New(tt.keys)
		if err != nil {
			t.Fatal(err)
		}
		low, high := math.MaxInt, -1
		for i := range 1000 {
			k := source.Next(i, tt.at, r)
			low, high = min(low, k), max(high, k)
		}
		if low != tt.low || high != tt.high {
			t.Errorf("%s: %d to %d, want %d to %d", name, low, high, tt.low, tt.high)
		}
	}
	inTurn, _ := New(Keys{Count: 3})
	if inTurn.Next(2, 0, r) != 2 || inTurn.Next(3, 0, r) != 0 {
		t.Error("not in turn")
	}
	for _, k := range []Keys{
		{}, {Law: Zipf, Count: 1, S: -1}, {Law: Zipf, Count: 1, S: math.NaN()}, {Law: Hot, Count: 1, Share: 2},
		{Law: Moving, Count: 5, Part: 6, Every: 1}, {Law: Moving, Count: 5, Part: 5},
	} {
		if _, err := New(k); err == nil {
			t.Errorf("%+v is taken", k)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		sizes     Sizes
		low, high float64 // bounds of the mean
	}{
		{Sizes{Low: 7, High: 7}, 7, 7},
		{Sizes{Low: 0, High: 100}, 49, 51},
		{Sizes{High: 1 << 40, Median: 1000, Spread: 1}, 1000 * 1.6, 1000 * 1.7}, // e^½
		{Sizes{Low: 900, High: 1100, Median: 1000, Spread: 5}, 990, 1010},
	} {
		if err := tt.sizes.Check(); err != nil {
			t.Error(err)
		}
		sum := 0.0
		for key := range 100_000 {
			n := tt.sizes.Of(key)
			if n < tt.sizes.Low || n > tt.sizes.High || n != tt.sizes.Of(key) {
				t.Fatalf("%+v: %d", tt.sizes, n)
			}
			sum += float64(n)
		}
		if mean := sum / 100_000; mean < tt.low || mean > tt.high {
			t.Errorf("%+v: %f on average", tt.sizes, mean)
		}
	}
	for _, s := range []Sizes{{Low: 2, High: 1}, {Low: -1}, {Median: 1, Spread: -1}, {Spread: math.NaN()}} {
		if s.Check() == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}

func BenchmarkZipf(b *testing.B) {
	source, _ := New(Keys{Law: Zipf, Count: 1_000_000, S: 1})
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; b.Loop(); i++ {
		source.Next(i, 0, r)
	}
}
