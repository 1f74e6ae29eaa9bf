package ring

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

func TestCapacity(t *testing.T) {
	even := []Member{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}}
	uneven := []Member{{"a", 1}, {"b", 3}, {"c", 0}, {"d", 4}}
	odd := []Member{{"a", 1}, {"b", 2}, {"c", 4}}
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		members []Member
		factors []float64
		member  int
		total   int64
		factor  float64
		want    int64
	}{
		{even, nil, 0, 1, 0.5, 1},
		{even, nil, 0, 2, 0.5, 1},
		{even, nil, 0, 3, 0.5, 2}, // 1.125
		{even, nil, 0, 100, 0.5, 38},
		{even, nil, 3, 100, 0.25, 32}, // 31.25
		{even, nil, 0, 100, 1, 50},    // whole: not 51
		{even, nil, 0, 100, 0, 25},
		{uneven, nil, 0, 80, 0.5, 15},
		{uneven, nil, 1, 80, 0.5, 45},
		{uneven, nil, 3, 80, 0.5, 60},
		{odd, nil, 1, 21, 0.5, 9}, // 2/7 is no binary fraction, 9 is whole
		{odd, nil, 2, 7, 1, 8},
		// Ramping: half a share of three and a half.
		{even, []float64{0.5, 1, 1, 1}, 0, 70, 1, 20},
		{even, []float64{0.5, 1, 1, 1}, 1, 70, 1, 40},
		// Ejected: the others' shares grow, and it never has none.
		{even, []float64{0, 1, 1, 1}, 1, 90, 0.5, 45},
		{even, []float64{0, 1, 1, 1}, 0, 90, 0.5, 1},
		{even, []float64{0, 0, 0, 0}, 0, 90, 0.5, 1},
		{uneven, nil, 2, 80, 0.5, 1},
		// What a caller should not pass.
		{even, nil, 0, 0, 0.5, 1},
		{even, nil, 0, -8, 0.5, 1},
		{even, nil, 0, 100, -0.5, 25},
		{even, nil, 0, 100, nan, 25},
		{even, nil, 0, 100, inf, math.MaxInt64},
		{even, nil, 0, 0, inf, 1},
		{even, nil, 0, math.MaxInt64, 8, math.MaxInt64},
	} {
		for _, build := range constructors {
			r := must(t, build.make, c.members).WithFactors(c.factors)
			if got := r.Capacity(c.member, c.total, c.factor); got != c.want {
				t.Errorf("%s %v of %v, %d in flight, factor %v: capacity of %d is %d, want %d",
					build.name, c.members, c.factors, c.total, c.factor, c.member, got, c.want)
			}
		}
	}
	// In whole numbers, by themselves: shares of 7/n are seldom binary fractions.
	for n := 8; n < 24; n++ {
		r := must(t, New, []Member{{"a", 7}, {"b", n - 7}})
		for total := range int64(300) {
			for quarters := range int64(5) {
				want := max(((4+quarters)*total*7+int64(4*n)-1)/int64(4*n), 1)
				if got := r.Capacity(0, total, float64(quarters)/4); got != want {
					t.Fatalf("share 7/%d of %d, factor %d/4: capacity %d, want %d", n, total, quarters, got, want)
				}
			}
		}
	}
	r := must(t, New, even)
	if allocs := testing.AllocsPerRun(100, func() { r.Capacity(2, 1000, 0.5) }); allocs != 0 {
		t.Errorf("Capacity allocates %v times", allocs)
	}
}

// However total-1 requests are spread, one more has a member to go to.
func TestCapacitiesHoldTheTotal(t *testing.T) {
	eachSet(t, func(t *testing.T, build func([]Member) (*Ring, error), members []Member, rng *rand.Rand) {
		r := must(t, build, members)
		for range 2000 {
			factors := make([]float64, len(members))
			for i := range factors {
				factors[i] = []float64{0, 1e-9, rng.Float64(), 1, 1}[rng.IntN(5)]
			}
			factors[rng.IntN(len(members))] = 1
			ramped, total := r.WithFactors(factors), 1+rng.Int64N(1<<rng.IntN(40))
			sum := int64(0)
			for _, m := range ramped.live {
				sum += ramped.Capacity(int(m), total, 0)
			}
			if sum < total {
				t.Fatalf("factors %v: capacities add up to %d of %d", factors, sum, total)
			}
		}
	})
}

func BenchmarkCapacity(b *testing.B) {
	r := must(b, New, mixed(100))
	b.ReportAllocs()
	sum, total := int64(0), int64(0)
	for b.Loop() {
		total++
		sum += r.Capacity(int(total%100), total, 0.5)
	}
	_ = sum
}

// scene is one simulated load: Poisson arrivals of keys at servers that take a
// mean time of 1 for each request, whatever else they do.
type scene struct {
	servers  int
	mean     float64 // requests in flight per server on average
	fixed    bool    // all requests take the same time, else exponential ones
	zipf     float64
	hot      float64 // share of requests for one key, apart from the others
	factor   float64 // +Inf: no bound
	requests int
}

func (s scene) keys() string {
	if s.hot > 0 {
		return fmt.Sprintf("hot %.0f %%", 100*s.hot)
	}
	return fmt.Sprintf("zipf %.1f", s.zipf)
}

func (s scene) service() string {
	if s.fixed {
		return "fixed"
	}
	return "exp"
}

// overMean returns n requests in flight as a multiple of the mean.
func (s scene) overMean(n, total int64) float64 {
	return float64(n) * float64(s.servers) / float64(total)
}

// sums are what a simulation adds up, after the load has built up.
type sums struct {
	placed  float64 // peak in flight over the mean, at placements
	ever    float64 // the same at any time: the mean falls where requests end elsewhere
	first   int     // requests that the first member of the walk served
	over    int     // placements past (1 + factor) times the mean, rounded up
	none    int     // placements that found every member at its capacity
	counted int
	served  [][2]uint64 // set of servers by key
	times   []int       // requests by key
}

// copies returns the number of servers that served a key: the mean over the
// requests, over the keys that were asked for, and that of the hottest key.
func (s sums) copies() (byRequest, byKey float64, hottest int) {
	keys := 0
	for k, times := range s.times {
		n := bits.OnesCount64(s.served[k][0]) + bits.OnesCount64(s.served[k][1])
		byRequest += float64(n * times)
		byKey += float64(n)
		if times > 0 {
			keys++
		}
	}
	at := slices.Index(s.times, slices.Max(s.times))
	hottest = bits.OnesCount64(s.served[at][0]) + bits.OnesCount64(s.served[at][1])
	return byRequest / float64(s.counted), byKey / float64(keys), hottest
}

const simulatedKeys = 100_000

// simulate plays a scene.
func simulate(t *testing.T, s scene) sums {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(s.servers), uint64(100*s.zipf)))
	members := make([]Member, s.servers)
	for i := range members {
		members[i] = Member{fmt.Sprint("server-", i), 1}
	}
	r := must(t, New, members)
	key, hashes := keySampler(rng, s), randomHashes(simulatedKeys+1, 15)
	var ends departures
	inFlight := make([]int64, s.servers)
	total, most, now := int64(0), int64(0), 0.0 // most is at least the greatest of inFlight
	out := sums{served: make([][2]uint64, simulatedKeys+1), times: make([]int, simulatedKeys+1)}
	warm := int(4 * s.mean * float64(s.servers))
	for i := range warm + s.requests {
		now += rng.ExpFloat64() / (s.mean * float64(s.servers))
		for len(ends) > 0 && ends[0].at <= now {
			inFlight[ends.pop().server]--
			if total--; total > 0 && i >= warm && s.overMean(most, total) > out.ever {
				most = slices.Max(inFlight)
				out.ever = max(out.ever, s.overMean(most, total))
			}
		}
		k := key()
		total++
		m, first, ok := choose(r, hashes[k], inFlight, total, s.factor)
		inFlight[m]++
		most = max(most, inFlight[m])
		length := 1.0
		if !s.fixed {
			length = rng.ExpFloat64()
		}
		ends.push(departure{now + length, m})
		if !ok {
			out.none++
		}
		if !within(inFlight[m], total, s) {
			out.over++
		}
		if i >= warm {
			out.counted++
			out.placed = max(out.placed, s.overMean(inFlight[m], total))
			out.ever = max(out.ever, out.placed)
			out.times[k]++
			out.served[k][m/64] |= 1 << (m % 64)
			if first {
				out.first++
			}
		}
	}
	return out
}

// choose returns the first member of the walk that is below its capacity, and
// whether that was the first of all; where none is, the first, and false.
func choose(r *Ring, hash uint64, inFlight []int64, total int64, factor float64) (m int, first, ok bool) {
	head := -1
	for w := r.Walk(hash); ; {
		m, more := w.Next()
		if !more {
			return head, true, false
		}
		if head < 0 {
			head = m
		}
		if inFlight[m] < r.Capacity(m, total, factor) {
			return m, m == head, true
		}
	}
}

// within reports, in whole numbers and by itself, whether n requests are at
// most (1 + factor) times the mean, rounded up.
func within(n, total int64, s scene) bool {
	if math.IsInf(s.factor, 1) {
		return true
	}
	quarters, servers := int64(4+4*s.factor), int64(4*s.servers)
	return n <= (quarters*total+servers-1)/servers
}

// keySampler returns keys by Zipf's law, and the hot key, where there is one,
// behind the others.
func keySampler(rng *rand.Rand, s scene) func() int {
	upTo, sum := make([]float64, simulatedKeys), 0.0
	for i := range upTo {
		sum += math.Pow(float64(i+1), -s.zipf)
		upTo[i] = sum
	}
	return func() int {
		if rng.Float64() < s.hot {
			return simulatedKeys
		}
		k, _ := slices.BinarySearch(upTo, rng.Float64()*sum)
		return k
	}
}

// departure is the end of a request, and departures a heap of them by time.
type (
	departure struct {
		at     float64
		server int
	}
	departures []departure
)

func (h *departures) push(d departure) {
	*h = append(*h, d)
	s := *h
	for i := len(s) - 1; i > 0 && s[i].at < s[(i-1)/2].at; i = (i - 1) / 2 {
		s[i], s[(i-1)/2] = s[(i-1)/2], s[i]
	}
}

func (h *departures) pop() departure {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s); child++ {
			if s[child].at < s[least].at {
				least = child
			}
		}
		if least == i {
			break
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
	*h = s
	return top
}

// What bounded load costs and what it gives. With -v it plays longer and prints
// the table. Asserted of each placement, from the first on: the requests in
// flight on the chosen member, the new one included, are at most (1 + factor)
// times those in flight on all, over the number of members, rounded up; and some
// member of the walk was below that. Peaks over the mean exceed 1 + factor by
// that rounding, and where requests ended elsewhere since the last placement.
func TestBoundedLoadTable(t *testing.T) {
	requests, mean, factors := 5_000, 10.0, []float64{math.Inf(1), 0.5}
	if testing.Verbose() {
		requests, mean, factors = 200_000, 25, []float64{math.Inf(1), 1, 0.5, 0.25}
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "N\tkeys\ttime\tfactor\tpeak/mean\tany time\tfirst member\tcopies/request\tcopies/key\thottest\t")
	for _, n := range []int{10, 100} {
		for _, keys := range []scene{{zipf: 0.8}, {zipf: 1}, {zipf: 1, fixed: true}, {zipf: 1.2}, {zipf: 1, hot: 0.5}} {
			for _, factor := range factors {
				s := keys
				s.servers, s.mean, s.factor, s.requests = n, mean, factor, requests
				out := simulate(t, s)
				checkBounded(t, s, out)
				byRequest, byKey, hottest := out.copies()
				_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%v\t%.2f\t%.2f\t%.1f %%\t%.2f\t%.2f\t%d\t\n", n, s.keys(), s.service(), factor,
					out.placed, out.ever, 100*float64(out.first)/float64(out.counted), byRequest, byKey, hottest)
			}
		}
	}
	_ = w.Flush()
	t.Logf("%d requests for %d keys, %v in flight per member on average:\n%s", requests, simulatedKeys, mean, table.String())
}

// checkBounded fails where a simulation did not keep the bound, or had keys on
// many more members than that takes.
func checkBounded(t *testing.T, s scene, out sums) {
	t.Helper()
	name := fmt.Sprintf("%d servers, %s, %s, factor %v", s.servers, s.keys(), s.service(), s.factor)
	if math.IsInf(s.factor, 1) {
		if out.placed < 2 || out.first != out.counted {
			t.Errorf("%s: peak %.2f, and %d of %d from the first member: nothing to bound", name, out.placed, out.first, out.counted)
		}
		return
	}
	if out.over > 0 || out.none > 0 {
		t.Errorf("%s: %d placements past the bound, %d without a member below it", name, out.over, out.none)
	}
	_, byKey, hottest := out.copies()
	share := float64(slices.Max(out.times)) / float64(out.counted)
	if needed := share * float64(s.servers) / (1 + s.factor); float64(hottest) > 2*needed+6 || byKey > 1.5 {
		t.Errorf("%s: the hottest key has %d copies and needs %.1f, all have %.2f on average", name, hottest, needed, byKey)
	}
}
