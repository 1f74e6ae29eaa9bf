package upstream

import (
	"fmt"
	"slices"
	"testing"
)

// What Explain says of a request's walk is where it goes, and asking takes no
// place and no turn.
func TestExplain(t *testing.T) {
	p := weighted(t, func(o *Options) { o.BalanceFactor, o.MaxRequests = 0.5, 4 }, 1, 2, 3, 1, 0)
	drain(t, p, "d", true)
	for hash := range uint64(50) {
		req := &Request{Hash: hash * 0x9e3779b97f4a7c15}
		x := p.Explain(req, 3)
		if got := turn(t, p, req); got != x.Steps[0].ID || x.Hash != req.Hash || len(x.Steps) != 3 || x.More != 2 || !x.Keyed {
			t.Fatalf("%x: %s, explained as %+v", hash, got, x)
		}
	}
	req := &Request{Hash: 12345}
	all := p.Explain(req, 9)
	if s := all.Steps; len(s) != 5 || all.More != 0 || s[3].ID != "d" || s[3].Standing != "drained" || s[3].Room != IsOut || s[4].Room != IsOut {
		t.Errorf("those without requests: %+v", all)
	}
	// A hot key goes on along its walk: past those over their share, then past
	// those that are full.
	rooms := func() (list []Room) {
		for _, s := range p.Explain(req, 3).Steps {
			list = append(list, s.Room)
		}
		return list
	}
	var inside []*server
	for range 10 {
		want := all.Steps[0].ID
		for _, s := range p.Explain(req, 3).Steps {
			if want = s.ID; s.Room == HasRoom {
				break
			}
		}
		s := enter(t, p, req)
		if inside = append(inside, s); s.id != want {
			t.Fatalf("request %d went to %s, explained as %s", len(inside), s.id, want)
		}
		if again := fmt.Sprint(rooms()); again != fmt.Sprint(rooms()) {
			t.Fatal("asking has changed something")
		}
	}
	if got := fmt.Sprint(rooms()); got == fmt.Sprint([]Room{HasRoom, HasRoom, HasRoom}) {
		t.Errorf("under load: %s", got)
	}
	spread := p.Stats().Spread
	rooms()
	if got := p.Stats().Spread; got != spread || spread == 0 {
		t.Errorf("asking was counted: %d, then %d", spread, got)
	}
	for _, s := range inside {
		s.leave()
	}
}

// A policy that places by no key lists all members, and nobody's turn passes.
func TestExplainWithoutKey(t *testing.T) {
	p := weighted(t, func(o *Options) { o.Balance = RoundRobin }, 1, 1, 1)
	for range 3 {
		x := p.Explain(&Request{Hash: 1}, 9)
		if x.Keyed || x.Balance != "round_robin" || len(x.Steps) != 3 || x.Steps[0].ID != "a" {
			t.Errorf("%+v", x)
		}
	}
	seen := map[string]bool{}
	for range 3 {
		p.Explain(&Request{Hash: 1}, 9)
		seen[turn(t, p, &Request{})] = true
	}
	if len(seen) != 3 {
		t.Errorf("asking takes turns: %v", seen)
	}
}

// Those that get no requests stand in the order in which they would be asked.
func TestExplainThoseThatAreOut(t *testing.T) {
	p := weighted(t, nil, 1, 1, 1, 1)
	for hash := range uint64(20) {
		req := &Request{Hash: hash * 0x9e3779b97f4a7c15}
		was := p.Explain(req, 9).Steps
		for _, id := range []string{"a", "b", "c"} {
			drain(t, p, id, true)
		}
		is := p.Explain(req, 9).Steps
		was = slices.DeleteFunc(was, func(s Step) bool { return s.ID == "d" })
		for i, s := range is[1:] {
			if is[0].ID != "d" || s.ID != was[i].ID || s.Room != IsOut {
				t.Fatalf("%x: %+v\nbefore: %+v", req.Hash, is, was)
			}
		}
		for _, id := range []string{"a", "b", "c"} {
			drain(t, p, id, false)
		}
	}
}
