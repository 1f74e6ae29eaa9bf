package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEjectionNamesEveryFault(t *testing.T) {
	for _, tt := range []struct {
		e     Ejection
		wants []string
	}{
		{Ejection{}, nil},
		{usual(), nil},
		{Ejection{Consecutive: 1, Base: time.Hour}, nil},
		{Ejection{Consecutive: -1, FailurePercent: 101, LatencyFactor: 1, MinRequests: -1},
			[]string{"consecutive failures -1", "failure percentage 101", "latency factor 1", "-1 requests"}},
		{Ejection{Window: 1, Base: time.Minute, Max: time.Second, MaxEjected: 101},
			[]string{"window 1ns", "maximum ejection time 1s", "ejected percentage 101"}},
	} {
		_, err := NewGroup(Options{Ejection: tt.e}, nil)
		if (err == nil) != (len(tt.wants) == 0) {
			t.Fatalf("%+v: %v", tt.e, err)
		}
		for _, want := range tt.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v does not name %q", tt.e, err, want)
			}
		}
	}
}

func TestOutliers(t *testing.T) {
	const ms = time.Millisecond
	failures := Ejection{FailurePercent: 25}.withDefaults()
	latency := Ejection{LatencyFactor: 3}.withDefaults()
	for _, tt := range []struct {
		name string
		e    Ejection
		live []Tally
		want string
	}{
		{"a quarter", failures, []Tally{{Requests: 100, Failures: 25}, {Requests: 100}}, "0: 25 of 100 requests failed"},
		{"less", failures, []Tally{{Requests: 100, Failures: 24}, {Requests: 100}}, ""},
		{"of too few", failures, []Tally{{Requests: 99, Failures: 99}, {Requests: 100}}, ""},
		{"twice as bad as the others", failures, []Tally{{Requests: 100, Failures: 40}, {Requests: 100, Failures: 10}, {Requests: 100, Failures: 30}}, "0: 40 of 100 requests failed"},
		{"not quite", failures, []Tally{{Requests: 100, Failures: 40}, {Requests: 100, Failures: 10}, {Requests: 100, Failures: 31}}, ""},
		{"all fail", failures, []Tally{{Requests: 1000, Failures: 900}, {Requests: 1000, Failures: 1000}}, ""},
		{"the others rest", failures, []Tally{{Requests: 100, Failures: 50}, {}}, "0: 50 of 100 requests failed"},
		{"the worst first", failures, []Tally{{Requests: 100, Failures: 30}, {Requests: 100}, {Requests: 100}, {Requests: 100, Failures: 35}},
			"3: 35 of 100 requests failed, 0: 30 of 100 requests failed"},
		{"slow", latency, []Tally{{Requests: 100, Median: 10 * ms}, {Requests: 100, Median: 31 * ms}, {Requests: 100, Median: 9 * ms}},
			"1: median latency 31ms, the others' is 10ms"},
		{"not slow enough", latency, []Tally{{Requests: 100, Median: 10 * ms}, {Requests: 100, Median: 30 * ms}, {Requests: 100, Median: 9 * ms}}, ""},
		{"too few others", latency, []Tally{{Requests: 100, Median: 10 * ms}, {Requests: 100, Median: 310 * ms}, {Requests: 99, Median: 9 * ms}}, ""},
		{"too few served", latency, []Tally{{Requests: 100, Median: 10 * ms}, {Requests: 120, Failures: 21, Median: 310 * ms}, {Requests: 100, Median: 9 * ms}, {Requests: 100, Median: 9 * ms}}, ""},
		{"two slow of five", latency, []Tally{{Requests: 100, Median: 10 * ms}, {Requests: 100, Median: 50 * ms}, {Requests: 100, Median: 90 * ms}, {Requests: 100, Median: 10 * ms}, {Requests: 100, Median: 10 * ms}},
			"2: median latency 90ms, the others' is 10ms, 1: median latency 50ms, the others' is 10ms"},
		{"off", Ejection{}.withDefaults(), []Tally{{Requests: 100, Failures: 100}, {Requests: 100}}, ""},
	} {
		var got []string
		for _, s := range tt.e.outliers(tt.live) {
			got = append(got, fmt.Sprintf("%d: %s", s.place, s.reason))
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
	}
}

func TestHasRoom(t *testing.T) {
	e := Ejection{}.withDefaults()
	for _, tt := range []struct {
		members, ejected, live int
		want                   bool
	}{
		{1, 0, 1, false}, {2, 0, 2, true}, {2, 0, 1, false}, {3, 1, 2, false},
		{6, 1, 5, false}, {7, 1, 6, true}, {10, 2, 8, true}, {10, 3, 7, false}, {10, 2, 1, false},
	} {
		if got := e.hasRoom(tt.members, tt.ejected, tt.live); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestBanGrowsAndIsForgotten(t *testing.T) {
	e := usual()
	now := time.Unix(1e9, 0)
	var b ban
	for _, tt := range []struct {
		calm   time.Duration // since the end of the last ejection
		count  int
		length time.Duration
	}{
		{0, 1, 30 * time.Second},
		{29 * time.Second, 2, 60 * time.Second},
		{30 * time.Second, 2, 60 * time.Second},
		{0, 3, 90 * time.Second},
		{61 * time.Second, 2, 60 * time.Second},
		{time.Hour, 1, 30 * time.Second},
	} {
		now = now.Add(tt.calm)
		b = b.again(now, e, 0)
		if b.count != tt.count || b.until.Sub(now) != tt.length || b.level(now.Add(time.Hour), e) != tt.count {
			t.Errorf("%v after the last: %+v, %v", tt.calm, b, b.until.Sub(now))
		}
		if b.after(b.until.Add(-1)) != b {
			t.Error("over before its end")
		}
		now = b.until
		if b = b.after(now); b.active() || b.level(now, e) != tt.count {
			t.Errorf("not over at its end: %+v", b)
		}
	}
}

// Whatever the schedule, an ejection takes at least nine tenths of the base, at
// most the maximum, and more than the one before unless there was calm.
func TestBanStaysWithinBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		e := Ejection{Base: 1 + time.Duration(rnd.Int64N(int64(time.Minute)))}.withDefaults()
		e.Max = e.Base + time.Duration(rnd.Int64N(int64(time.Hour)))
		now := time.Unix(1e9, 0)
		var b ban
		for range 50 {
			b = b.again(now, e, rnd.Float64())
			length, nominal := b.until.Sub(now), min(e.Base*time.Duration(b.count), e.Max)
			if length > nominal || length < nominal*9/10 || b.count < 1 {
				t.Fatalf("%+v: %v with count %d", e, length, b.count)
			}
			now = b.until.Add(time.Duration(rnd.ExpFloat64() * float64(e.Base)))
			b = b.after(now)
		}
	}
}

func TestRampIsMonotonic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for _, length := range []time.Duration{0, 1, 19, time.Millisecond, 30*time.Second + 7, 24 * time.Hour} {
		var factors []float64
		for at := time.Duration(0); ; {
			f, next := rampFactor(at, length), rampNext(at, length)
			if len(factors) > 0 && f <= factors[len(factors)-1] {
				t.Fatalf("%v: %v at %v after %v", length, f, at, factors)
			}
			factors = append(factors, f)
			if next == 0 {
				break
			}
			if between := at + time.Duration(rnd.Int64N(int64(next))); rampFactor(between, length) != f {
				t.Errorf("%v: the factor changes before %v", length, at+next)
			}
			at += next
		}
		if n := len(factors); factors[n-1] != 1 || n > 21 || length > 20 && (n != 21 || factors[0] != 0.01) {
			t.Errorf("%v: %v", length, factors)
		}
	}
}

func TestLatencyBuckets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	last := -1
	for d := time.Duration(1); d < 50*time.Second; d += d/20 + 1 {
		b := bucketOf(d)
		off := (latencyOf(b) - d).Abs()
		if b < last || b >= buckets || off > max(d*7/100, 1024) {
			t.Fatalf("%v is in bucket %d, of %v", d, b, latencyOf(b))
		}
		last = b
	}
	if bucketOf(-1) != 0 || bucketOf(0) != 0 || bucketOf(1<<62) != buckets-1 {
		t.Error("latencies out of range")
	}
	var c counters
	c.served[5].Store(1<<32 - 2) // about to wrap
	from := c.read()
	all := make([]time.Duration, 1001)
	for i := range all {
		all[i] = time.Duration(rnd.ExpFloat64() * float64(10*time.Millisecond))
		c.served[bucketOf(all[i])].Add(1)
	}
	c.served[5].Add(10)
	c.failures.Add(3)
	slices.Sort(all)
	got := between(from, c.read())
	if want := all[495]; got.Requests != 1014 || got.Failures != 3 || (got.Median-want).Abs() > want*15/100 {
		t.Errorf("%+v, want a median near %v", got, want)
	}
}

func TestWindowRolls(t *testing.T) {
	var c counters
	w := window{c.read()}
	for i := range 30 {
		c.failures.Add(uint32(i))
		got := w.tally(c.read()).Requests
		want := 0
		for j := max(0, i-slots+1); j <= i; j++ {
			want += j
		}
		if got != want {
			t.Errorf("after tick %d: %d, want %d", i, got, want)
		}
		w = w.tick(c.read())
	}
}

func TestPanicking(t *testing.T) {
	for _, tt := range []struct {
		standings string // l live, e ejected, d down, x drained, u unchecked
		percent   int
		want      bool
	}{
		{"", 50, false}, {"ll", 50, false}, {"ld", 50, false}, {"lde", 50, true}, {"d", 50, true},
		{"ldxx", 50, false}, {"xx", 50, false}, {"luuu", 50, false}, {"lddd", 25, false}, {"ldddd", 25, true}, {"dd", 0, false},
		{"ld", 100, true}, {"ll", 100, false},
	} {
		var shares []Share
		for _, r := range tt.standings {
			shares = append(shares, Share{Standing: Standing(strings.IndexRune("luedx", r))})
		}
		if got := Panicking(shares, tt.percent); got != tt.want {
			t.Errorf("%s at %d %%: %v", tt.standings, tt.percent, got)
		}
	}
}
