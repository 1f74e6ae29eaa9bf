package health

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A server that fails every other second gets nowhere near its share: what it is
// sent while it flaps comes to less than a twentieth.
func TestFlappingServerIsKeptOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		up := func() bool { return time.Since(began)/time.Second%2 == 0 }
		g := start(t, Options{
			Check:    &Check{},
			Ejection: usual(), SlowStart: 10 * time.Second,
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "s0.example:80" && !up() {
					return refuse(ctx, network, address)
				}
				return dialTo(sequence(good))(ctx, network, address)
			},
		}, 5)
		rnd := rand.New(rand.NewPCG(1, 1))
		shares := g.Shares()
		const seconds, rate = 900, 40
		sent := 0
		for range seconds * rate {
			for i, s := range g.Shares() {
				if rnd.Float64() >= s.Factor {
					continue
				}
				if i == 0 {
					sent++
				}
				shares[i].Member.Report(i > 0 || up(), time.Millisecond)
			}
			time.Sleep(time.Second / rate)
		}
		if sent > seconds*rate/20 || sent < 10 {
			t.Errorf("%d of %d requests were sent to it", sent, seconds*rate)
		}
	})
}

// Any schedule of results, checks, drains, sets and time: what must always hold
// holds at every change, and the group's view of ejections is that of a model.
func TestSchedules(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) { schedule(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func schedule(t *testing.T, rnd *rand.Rand) {
	const slow = 20 * time.Second
	e := Ejection{Consecutive: 1 + rnd.IntN(5), FailurePercent: 25, MinRequests: 20, MaxEjected: 1 + rnd.IntN(100)}.withDefaults()
	var sick sync.Map
	o := Options{Ejection: e, SlowStart: slow}
	if rnd.IntN(2) == 0 {
		o.Check = &Check{}
		o.Dial = dialTo(func(address string) string {
			if _, yes := sick.Load(address); yes {
				return ill
			}
			return good
		})
	}
	all := targets(8)
	set := all[:2+rnd.IntN(6)]
	was := map[*Member]Share{}
	changes := map[*Member]int{} // of the factor since the member came back
	before := 0
	var g *Group
	o.OnChange = func(shares []Share) {
		ejected, statuses := 0, g.Snapshot()
		for i, s := range shares {
			old := was[s.Member]
			if (s.Factor > 0) != (s.Standing == Live) || s.Factor < 0 || s.Factor > 1 {
				t.Errorf("%+v", s)
			}
			if old.Standing == Live && old.Factor > 0 && s.Standing == Live && s.Factor < old.Factor {
				t.Errorf("a ramp went from %v to %v", old.Factor, s.Factor)
			}
			if changes[s.Member]++; s.Standing != Live {
				changes[s.Member] = 0
			} else if s.Factor == old.Factor {
				changes[s.Member]--
			}
			if changes[s.Member] > rampSteps+1 {
				t.Errorf("%d changes in one ramp", changes[s.Member])
			}
			if i < len(statuses) && !statuses[i].Until.IsZero() {
				ejected++
			}
			was[s.Member] = s
		}
		if allowed := max(1, len(shares)*e.MaxEjected/100); len(statuses) == len(shares) && ejected > max(before, allowed) {
			t.Errorf("%d of %d are ejected, %d %% may be", ejected, len(shares), e.MaxEjected)
		}
		before = ejected // a set that shrinks may leave more than there is room for
	}
	o.OnEvent = func(event Event) {
		live := 0
		for _, s := range g.Shares() {
			if s.Standing == Live {
				live++
			}
		}
		length := event.Until.Sub(event.At)
		if event.Is == Ejected && event.Was == Live && (live == 0 || event.Ejections < 1 ||
			length < e.Base*9/10 || length > min(e.Max, e.Base*time.Duration(event.Ejections))) {
			t.Errorf("%d live after %+v, for %v", live, event, length)
		}
	}
	g, err := NewGroup(o, set)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.Start(t.Context())
	var handles []*Member
	for _, s := range g.Shares() {
		handles = append(handles, s.Member)
	}
	for range 400 {
		switch rnd.IntN(10) {
		case 0:
			g.Drain(all[rnd.IntN(len(all))].ID, rnd.IntN(4) == 0)
		case 1:
			if rnd.IntN(10) == 0 {
				set = all[rnd.IntN(2) : 2+rnd.IntN(7)]
				_ = g.Set(set)
				for _, s := range g.Shares() {
					handles = append(handles, s.Member)
				}
			}
		case 2:
			address := all[rnd.IntN(len(all))].Address
			if _, yes := sick.LoadAndDelete(address); !yes && rnd.IntN(3) == 0 {
				sick.Store(address, true)
			}
		case 3:
			time.Sleep(time.Duration(rnd.ExpFloat64() * float64(20*time.Second)))
		default:
			m := handles[rnd.IntN(len(handles))]
			ok := rnd.IntN(3) == 0
			for range rnd.IntN(30) {
				m.Report(ok != (rnd.IntN(9) == 0), time.Duration(rnd.Int64N(int64(time.Second))))
			}
			time.Sleep(time.Duration(rnd.Int64N(int64(time.Second))))
		}
		synctest.Wait()
	}
}

func TestReportsFromEverywhere(t *testing.T) {
	g := start(t, Options{Ejection: Ejection{Consecutive: 3, FailurePercent: 50, Window: 10 * time.Millisecond, Base: time.Millisecond}}, 4)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 0))
			for n := range 3000 {
				shares := g.Shares()
				if len(shares) == 0 {
					continue
				}
				shares[rnd.IntN(len(shares))].Member.Report(rnd.IntN(3) == 0, time.Duration(n))
				if n%500 == 0 {
					g.Drain("s1", rnd.IntN(2) == 0)
					_ = g.Set(targets(3 + rnd.IntN(2)))
					g.Snapshot()
				}
			}
		})
	}
	all.Wait()
	g.Close()
}
