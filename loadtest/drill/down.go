package drill

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

// soonBack lets a server that was ejected be tried again before a drill is over;
// by default that takes 30 s.
const soonBack = "ejection: {base_time: 3s}\n"

var serverKilled = Drill{
	Name:     "server-killed",
	About:    "1 of 5 servers is killed under load, and started again",
	upstream: byReadiness + soonBack,
	route:    ", cache: off",
	days:     killAndRestart,
}

var serverKilledCached = Drill{
	Name:     "server-killed-cached",
	About:    "the same with answers that are stored for a second",
	upstream: byReadiness + soonBack,
	days:     killAndRestart,
}

func killAndRestart(ctx context.Context, f *farm) error {
	homes, err := f.survey(ctx)
	if err != nil {
		return err
	}
	b, gone := f.fire(ctx), f.servers[0]
	before, err := b.phase(ctx, 3*time.Second)
	if err != nil {
		return err
	}
	gone.kill()
	killed := b.now()
	if _, err := b.phase(ctx, 6*time.Second); err != nil {
		return err
	}
	all := shots(b.end())
	meanwhile, err := f.survey(ctx)
	if err != nil {
		return err
	}
	b, back := f.fire(ctx), time.Now()
	if err := gone.start(ctx); err != nil {
		return err
	}
	if err := f.standing(ctx, gone.name, back, 8*time.Second, "live"); err != nil {
		return err
	}
	if _, err := b.phase(ctx, time.Second); err != nil {
		return err
	}
	rest := shots(b.end())
	f.kept(append(all, rest...))
	f.lostAtMost("clients without an answer", all, 0)
	f.lostAtMost("clients without an answer while it comes back", rest, 0)
	f.calmAgain("from 2 s after it is killed", all.during(before), all.during(since(killed+2*time.Second)))
	f.strays("before: requests that found their server over its share of the load", all.during(before), homes)
	f.onlyItsOwnMoved(homes, meanwhile, gone.name)
	return f.allAreBack(ctx, homes)
}

var serverPaused = Drill{
	Name:     "server-paused",
	About:    "1 of 5 servers stands still (SIGSTOP) under load, and goes on",
	upstream: byReadiness + soonBack,
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		// Until it is known, a check has failed three times: one begins every 2 s,
		// and each takes a second.
		const known, still = 6 * time.Second, 8 * time.Second
		homes, err := f.survey(ctx)
		if err != nil {
			return err
		}
		b, stopped := f.fire(ctx), f.servers[1]
		before, err := b.phase(ctx, 3*time.Second)
		if err != nil {
			return err
		}
		if err := stopped.freeze(); err != nil {
			return err
		}
		froze, watched := b.now(), f.peak(ctx, stopped.name)
		if err := f.standing(ctx, stopped.name, time.Now(), known, "down"); err != nil {
			return err
		}
		out := b.now()
		inside, err := watched()
		if err != nil {
			return err
		}
		if err := pause(ctx, still-(b.now()-froze)); err != nil {
			return err
		}
		all := shots(b.end())
		if err := stopped.thaw(); err != nil {
			return err
		}
		if err := f.standing(ctx, stopped.name, time.Now(), 8*time.Second, "live"); err != nil {
			return err
		}
		f.kept(all)
		f.lostAtMost("clients without an answer", all, 0)
		waited := all.where(func(s *shot) bool { return s.sent < out && s.ended > froze })
		share := int(math.Ceil(1.5 * float64(waited.atOnce()+1) / float64(len(serverNames))))
		f.bounded("requests in flight there, at most", inside, share, "one and a half times its share of all in flight")
		f.bounded("requests that took over a second", len(waited.slow(f.env.widened(time.Second))), share, "the same")
		f.exactly("of those that waited, answered by it", len(waited.where(func(s *shot) bool { return s.by == stopped.name && s.sent > froze })), 0)
		last := out
		for _, s := range waited {
			last = max(last, s.ended)
		}
		f.within("the last of them has its answer after its checks failed", last-out, f.env.widened(500*time.Millisecond))
		f.calmAgain("after its checks failed", all.during(before), all.during(since(out+200*time.Millisecond)))
		return f.allAreBack(ctx, homes)
	},
}

var serverFlapping = Drill{
	Name:     "server-flapping",
	About:    "1 of 5 servers is killed, and started again, every second for 20 s",
	upstream: "health_check: {path: /ready, interval: 500ms, timeout: 250ms}\nejection: {base_time: 1s}\n",
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		homes, err := f.survey(ctx)
		if err != nil {
			return err
		}
		b, it := f.fire(ctx), f.servers[2]
		if _, err := b.phase(ctx, time.Second); err != nil {
			return err
		}
		began := time.Now()
		from := b.now()
		const kills = 10
		for range kills {
			it.kill()
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			if err := it.start(ctx); err != nil {
				return err
			}
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
		to := b.now()
		all := shots(b.end())
		f.kept(all)
		// Whose head is on its way to the client cannot be asked for again.
		f.lostAtMost("clients without a whole answer: one for each time it is killed", all, kills)
		most := 0.0
		for at := from; at < to; at += time.Second {
			second := all.during(span{at, at + time.Second})
			most = max(most, float64(len(second.by(it.name)))/float64(max(len(second), 1)))
		}
		share := float64(keysOf(homes, it.name)) / keyCount
		f.require("the most that it gets in any second, of all requests", fmt.Sprintf("its share, %.1f %%, and half as much", 100*share),
			fmt.Sprintf("%.1f %%", 100*most), most <= 1.5*share)
		times := 0
		for _, c := range f.changes(it.name) {
			if c.at.After(began) && c.is == "live" {
				times++
			}
		}
		f.note("how often it was taken back", strconv.Itoa(times))
		if err := f.standing(ctx, it.name, began, 45*time.Second, "live"); err != nil {
			return err
		}
		return f.allAreBack(ctx, homes)
	},
}
