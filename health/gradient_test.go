package health

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// plant is a server of so many slots with a queue before them, under an open
// load, behind a Gradient: a simulation in virtual time, without goroutines.
type plant struct {
	slots   int
	service time.Duration // mean of one request
	spread  float64       // how far a request's own time is from it at most, either way
	load    float64       // what arrives, in multiples of what the slots can do

	now      time.Duration
	g        Gradient
	rnd      *rand.Rand
	inFlight int
	free     durations // when each slot is free again
	ends     durations // of the requests under way, with the latencies in took
	took     map[time.Duration]time.Duration
}

type durations []time.Duration

func (d durations) Len() int           { return len(d) }
func (d durations) Less(i, j int) bool { return d[i] < d[j] }
func (d durations) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *durations) Push(x any)        { *d = append(*d, x.(time.Duration)) }
func (d *durations) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// seen is what a run of the plant came to.
type seen struct {
	limit   float64       // mean over the windows
	latency time.Duration // mean over the requests
	use     float64       // of the slots, as a fraction
}

func (p *plant) run(length time.Duration) seen {
	end := p.now + length
	var out seen
	var sum, window, windowSum time.Duration
	var served, windows, n int
	peak, windowEnd := p.inFlight, p.now+minWindow
	arrival := p.now
	for p.now < end {
		if len(p.ends) > 0 && p.ends[0] <= arrival {
			p.now = heap.Pop(&p.ends).(time.Duration)
			latency := p.took[p.now]
			delete(p.took, p.now)
			p.inFlight--
			sum, served = sum+latency, served+1
			windowSum, n = windowSum+latency, n+1
			if p.now >= windowEnd && n >= minSamples {
				window = windowSum / time.Duration(n)
				p.g = p.g.Step(Sample{Latency: window, InFlight: peak}, Limits{})
				out.limit += p.g.Limit
				windows++
				peak, windowSum, n, windowEnd = p.inFlight, 0, 0, p.now+max(minWindow, window)
			}
			continue
		}
		p.now = arrival
		arrival += time.Duration(p.rnd.ExpFloat64() * float64(p.service) / float64(p.slots) / p.load)
		if p.inFlight >= p.g.Admits(Limits{}) {
			continue
		}
		p.inFlight++
		peak = max(peak, p.inFlight)
		begin := max(p.now, p.free[0])
		done := begin + time.Duration(float64(p.service)*(1+p.spread*(2*p.rnd.Float64()-1)))
		for p.took[done] != 0 {
			done++
		}
		p.took[done], p.free[0] = done-p.now, done
		heap.Fix(&p.free, 0)
		heap.Push(&p.ends, done)
	}
	out.limit /= float64(windows)
	out.latency = sum / time.Duration(served)
	out.use = float64(served) * float64(p.service) / float64(p.slots) / float64(length)
	return out
}

func newPlant(slots int, service time.Duration, load float64) *plant {
	return &plant{slots: slots, service: service, spread: 0.5, load: load, g: NewGradient(Limits{}),
		rnd: rand.New(rand.NewPCG(1, uint64(slots))), free: make(durations, slots), took: map[time.Duration]time.Duration{}}
}

// A server that gets twice what it can do settles at a limit at which it is
// fully used and no request waits much longer than it takes; so it does after
// the server has become faster, and slower.
func TestGradientUnderOverload(t *testing.T) {
	for _, slots := range []int{10, 40} {
		for _, service := range []time.Duration{10 * time.Millisecond, 40 * time.Millisecond} {
			p := newPlant(slots, service, 2)
			for _, speed := range []struct {
				service time.Duration
				longest float64
			}{{service, 2.2}, {service / 4, 2.3}, {service * 2, 2.2}} {
				p.service = speed.service
				p.run(15 * time.Second)
				got := p.run(10 * time.Second)
				limit, latency := got.limit/float64(slots), float64(got.latency)/float64(speed.service)
				if limit < 1 || limit > speed.longest+0.2 || latency > speed.longest || got.use < 0.95 {
					t.Errorf("%d slots of %v: limit %.2f times the slots, latency %.2f times the service, use %.2f",
						slots, speed.service, limit, latency, got.use)
				}
			}
		}
	}
}

// Load that the server can take is let in, nearly all of it.
func TestGradientLetsLoadIn(t *testing.T) {
	p := newPlant(50, 20*time.Millisecond, 0.7)
	p.run(10 * time.Second)
	if got := p.run(20 * time.Second); got.use < 0.69 {
		t.Errorf("use %.3f under a load of 0.7, limit %.1f", got.use, got.limit)
	}
}

func TestGradientStep(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		g    Gradient
		s    Sample
		want func(g, next Gradient) bool
	}{
		{"grows when used by more than half", Gradient{Limit: 100, Long: 10 * ms}, Sample{10 * ms, 51, false},
			func(_, n Gradient) bool { return n.Limit == 102 && n.Long == 10*ms && n.Windows == 1 }},
		{"not when used by half, which is measured", Gradient{Limit: 100, Long: 10 * ms, Windows: 7}, Sample{20 * ms, 50, false},
			func(_, n Gradient) bool { return n.Limit == 100 && n.Long == 15*ms && n.Windows == 0 }},
		{"idle changes nothing", Gradient{Limit: 100, Long: 10 * ms, Windows: 7}, Sample{},
			func(g, n Gradient) bool { return n == g }},
		{"tolerated latency grows", Gradient{Limit: 100, Long: 10 * ms}, Sample{15 * ms, 100, false},
			func(_, n Gradient) bool { return n.Limit == 102 }},
		{"latency shrinks", Gradient{Limit: 100, Long: 10 * ms}, Sample{20 * ms, 100, false},
			func(_, n Gradient) bool { return math.Abs(n.Limit-97) < 1e-9 && n.Long == 10*ms }},
		{"at most by half a smoothed step", Gradient{Limit: 100, Long: 10 * ms}, Sample{10000 * ms, 100, false},
			func(_, n Gradient) bool { return math.Abs(n.Limit-92) < 1e-9 }},
		{"drops shrink, however fast the rest", Gradient{Limit: 100, Long: 10 * ms}, Sample{10 * ms, 100, true},
			func(_, n Gradient) bool { return n.Limit == 90 }},
		{"even where nothing was served", Gradient{Limit: 100, Long: 10 * ms}, Sample{0, 10, true},
			func(_, n Gradient) bool { return n.Limit == 90 }},
		{"a first window under load is measured again", Gradient{Limit: 100}, Sample{10 * ms, 100, false},
			func(_, n Gradient) bool { return n.Windows == dipAfter && n.Admits(Limits{}) == 25 }},
		{"long in use begins a dip", Gradient{Limit: 100, Long: 10 * ms, Measured: 100, Windows: dipAfter - 1}, Sample{10 * ms, 100, false},
			func(_, n Gradient) bool { return n.Admits(Limits{}) == 25 }},
		{"a dip lasts while requests do", Gradient{Limit: 100, Long: 10 * ms, Measured: 100, Windows: dipAfter}, Sample{20 * ms, 26, false},
			func(_, n Gradient) bool { return n.Admits(Limits{}) == 25 && n.Long == 10*ms }},
		{"until it has measured", Gradient{Limit: 100, Long: 10 * ms, Measured: 100, Windows: dipAfter}, Sample{20 * ms, 25, false},
			func(_, n Gradient) bool { return n.Admits(Limits{}) == 100 && n.Long == 15*ms }},
		{"or can not", Gradient{Limit: 100, Long: 10 * ms, Measured: 100, Windows: dipAfter + dipFor - 1}, Sample{20 * ms, 100, false},
			func(_, n Gradient) bool { return n.Windows == 0 && n.Long == 10*ms }},
		{"half the limit gone begins a dip", Gradient{Limit: 49, Long: 10 * ms, Measured: 100}, Sample{100 * ms, 49, false},
			func(_, n Gradient) bool { return n.Windows == dipAfter }},
	} {
		if next := tt.g.Step(tt.s, Limits{}); !tt.want(tt.g, next) {
			t.Errorf("%s: %+v after %+v: %+v", tt.name, tt.g, tt.s, next)
		}
	}
}

// Whatever the samples, the limit and what is admitted stay within bounds.
func TestGradientStaysWithinBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		l := Limits{Min: 1 + rnd.IntN(10), Initial: 10 + rnd.IntN(10), Max: 20 + rnd.IntN(200)}
		g := NewGradient(l)
		for range 300 {
			g = g.Step(Sample{time.Duration(rnd.ExpFloat64() * float64(time.Second)), rnd.IntN(300), rnd.IntN(9) == 0}, l)
			n := g.Admits(l)
			if !(g.Limit >= float64(l.Min) && g.Limit <= float64(l.Max)) || n < l.Min || n > l.Max || g.Long < 0 {
				t.Fatalf("%+v admits %d with %+v", g, n, l)
			}
		}
	}
}
