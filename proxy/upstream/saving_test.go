package upstream

import (
	"slices"
	"testing"

	"ringfence/health"
)

// wave has n requests begin, takes all the retries that there are, and ends them.
func (b *budget) wave(n int) (retries int) {
	for range n {
		b.begin()
	}
	for b.take() {
		retries++
	}
	for range retries {
		b.give()
	}
	for range n {
		b.end()
	}
	return retries
}

// Requests that do well save retries, up to one for each that waits, so that all
// of them can move on at once. Where all fail, that is spent once, and then
// there is the part again.
func TestBudgetSaves(t *testing.T) {
	for _, tt := range []struct {
		wait  int // requests at once
		calm  int // how often they come and none fails
		waves []int
	}{
		{0, 0, []int{3, 3}},
		{1, 100, []int{3, 3}},
		{10, 0, []int{3, 3}},
		{10, 4, []int{7, 3, 3}},
		{10, 1000, []int{10, 3, 3}},
		{100, 1000, []int{100, 25, 25, 25}},
	} {
		b := budget{part: 0.25, least: 3}
		for range tt.calm {
			for range tt.wait {
				b.begin()
			}
			for range tt.wait {
				b.end()
			}
		}
		var got []int
		for range tt.waves {
			got = append(got, b.wave(tt.wait))
		}
		if !slices.Equal(got, tt.waves) || b.active.Load() != 0 || b.retries.Load() != 0 {
			t.Errorf("%d at once, %d times: retries %v, want %v; %d active, %d retries left", tt.wait, tt.calm, got, tt.waves, b.active.Load(), b.retries.Load())
		}
	}
}

// While health is disregarded, a key stays with its member: those that are down
// have nothing in flight, and nobody's share may be measured by that.
func TestPanicIsNotBoundedByLoad(t *testing.T) {
	p := pool(t, func(o *Options) { o.BalanceFactor, o.PanicPercent = 0.5, 50 }, refused(t), refused(t), refused(t), refused(t), refused(t))
	healthy := p.set.Load()
	states := slices.Clone(healthy.states)
	for i := range 4 {
		states[i].Standing, states[i].Factor = health.Down, 0
	}
	for name, tt := range map[string]struct {
		set   *set
		stays bool
	}{"healthy": {healthy, false}, "panicking": {healthy.with(states), true}} {
		p.set.Store(tt.set)
		walk := tt.set.live.Walk(0)
		home, _ := walk.Next()
		var entered []*server
		for range 5 {
			var o order
			o.begin(p, p.set.Load(), get("GET"))
			s, ok := o.enterIfRoom()
			if !ok {
				t.Fatal("no room")
			}
			entered = append(entered, s)
		}
		stays := !slices.ContainsFunc(entered, func(s *server) bool { return s != tt.set.members[home].server })
		if stays != tt.stays {
			t.Errorf("%s: all five at the key's member: %t, want %t", name, stays, tt.stays)
		}
		for _, s := range entered {
			s.leave()
		}
	}
	p.set.Store(healthy)
}
