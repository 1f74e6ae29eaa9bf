package drill

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"ringfence/loadtest/origin"
)

// The keys of nodeKilled can be asked for again and again: they are fresh for a
// moment only, and then have to be fetched anew. That is two seconds, of which
// Date, which knows no fractions, may take one.
const (
	nodeKeys  = 36
	freshFor  = 2 * time.Second
	roundTime = freshFor + 200*time.Millisecond
	// awayFor is how long the node is away at least: long enough for what the
	// others know of it to be forgotten.
	awayFor = 4 * time.Second
)

var nodeKilled = Drill{
	Name:  "node-killed",
	About: "one of three independent engines is killed, and started again",
	setup: setup{engines: 3, route: ", early_refresh: off"},
	scene: func(ctx context.Context, s *stage) error {
		n := &nodes{stage: s, was: map[string]int{}}
		if err := n.place(ctx); err != nil {
			return err
		}
		if err := n.round(ctx); err != nil {
			return err
		}
		s.exactly("all nodes there: keys that were fetched more than once", n.unshared[0]+n.unshared[1]+n.unshared[2], 0)

		const victim = 1
		if err := pause(ctx, roundTime); err != nil {
			return err
		}
		s.engines[victim].kill()
		killed := time.Now()
		if err := n.await(ctx, "a node killed", "its keys are shared on other nodes", victim, func() (bool, error) {
			return n.unshared[victim] == 0, nil
		}); err != nil {
			return err
		}
		if err := pause(ctx, time.Until(killed.Add(awayFor))); err != nil {
			return err
		}
		if err := s.engines[victim].start(ctx); err != nil {
			return err
		}
		return n.await(ctx, "the node back", "its keys are on it again, and shared", victim, func() (bool, error) {
			there, err := s.engines[victim].keys(ctx)
			back := 0
			for i := range nodeKeys {
				if n.was[keyPath(i)] == victim && there[n.names[i]] {
					back++
				}
			}
			return back == n.has[victim] && n.unshared[victim] == 0, err
		})
	},
}

// nodes knows which keys belong to which engine.
type nodes struct {
	*stage
	was      map[string]int   // the engine, by path
	names    [nodeKeys]string // what the engine calls it
	has      [3]int           // how many keys each engine has
	unshared [3]int           // how many of them were fetched more than once in the last round
	last     time.Time        // the end of the last round
}

func keyPath(i int) string { return "/key/" + strconv.Itoa(i) }

// place asks for each key and sees where it turns up.
func (n *nodes) place(ctx context.Context) error {
	var before [3]map[string]bool
	look := func(i int) (err error) {
		before[i], err = n.engines[i].keys(ctx)
		return err
	}
	for i := range n.engines {
		if err := look(i); err != nil {
			return err
		}
	}
	for k := range nodeKeys {
		path := keyPath(k)
		a := origin.Answer{Size: 100}.With("Cache-Control", fmt.Sprintf("max-age=%d", freshFor/time.Second))
		n.serve(path, func(nth int, _ origin.Request) origin.Answer {
			if nth == 1 {
				return a
			}
			return after(n.env.widened(100*time.Millisecond), a)
		})
		n.send(ctx, asks(1, path, n.fleet[0])...).wait()
		if err := n.fleet[0].settle(ctx); err != nil {
			return err
		}
		for i := range n.engines {
			old := before[i]
			if err := look(i); err != nil {
				return err
			}
			for name := range before[i] {
				if !old[name] {
					n.was[path], n.names[k] = i, name
				}
			}
		}
		if n.names[k] == "" {
			n.require("each key is in an engine", "yes", path+" is in none", false)
			return nil
		}
		n.has[n.was[path]]++
	}
	n.last = time.Now()
	n.note("keys of the nodes", fmt.Sprint(n.has))
	return nil
}

// round waits until all keys are stale, asks for them, each of all instances at
// once, and counts those that were fetched more than once.
func (n *nodes) round(ctx context.Context) error {
	if err := pause(ctx, time.Until(n.last.Add(roundTime))); err != nil {
		return err
	}
	defer func() { n.last = time.Now() }()
	var before [nodeKeys]int
	all := make([]ask, 0, nodeKeys*len(n.fleet))
	for k := range nodeKeys {
		before[k] = n.count(keyPath(k))
		all = append(all, asks(len(n.fleet), keyPath(k), n.fleet...)...)
	}
	n.unshared = [3]int{}
	for i, a := range n.send(ctx, all...).wait() {
		if err := content(all[i].target, 100).fault(a); err != nil {
			n.require("clients are answered", "all", all[i].target+": "+err.Error(), false)
		}
	}
	for k := range nodeKeys {
		if n.count(keyPath(k))-before[k] > 1 {
			n.unshared[n.was[keyPath(k)]]++
		}
	}
	return nil
}

// await plays rounds until a condition holds; in none of them may the keys of
// the nodes that live lose their sharing.
func (n *nodes) await(ctx context.Context, when, what string, victim int, ok func() (bool, error)) error {
	began, others, own := time.Now(), 0, 0
	for {
		took := max(n.last.Add(roundTime).Sub(began), 0) // until the round begins
		if err := n.round(ctx); err != nil {
			return err
		}
		for i, u := range n.unshared {
			if i == victim {
				own += u
			} else {
				others += u
			}
		}
		met, err := ok()
		if err != nil {
			return err
		}
		if met || took+roundTime > returnTime {
			n.require(when+": "+what, "within "+short(returnTime), short(took), met)
			n.exactly(when+": times that another node's key was fetched more than once", others, 0)
			n.note(when+": times that a key of its own was", strconv.Itoa(own))
			return nil
		}
	}
}
