package drill

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

var drained = Drill{
	Name:     "drained",
	About:    "1 of 5 servers is drained by the operator under load, and restored",
	upstream: byReadiness,
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		homes, err := f.survey(ctx)
		if err != nil {
			return err
		}
		out := f.servers[3]
		b := f.fire(ctx)
		if _, err := b.phase(ctx, 2*time.Second); err != nil {
			return err
		}
		// What is in flight at the moment is to take a while.
		if err := out.tell(ctx, "delay=1s"); err != nil {
			return err
		}
		if _, err := b.phase(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		began := time.Now()
		if err := f.proxy.operate(ctx, "drain", out.name); err != nil {
			return err
		}
		ordered := b.now()
		if err := f.standing(ctx, out.name, began, 2*time.Second, "drained"); err != nil {
			return err
		}
		if _, err := b.phase(ctx, 2*time.Second); err != nil {
			return err
		}
		all := shots(b.end())
		meanwhile, err := f.survey(ctx)
		if err != nil {
			return err
		}
		began = time.Now()
		if err := f.proxy.operate(ctx, "restore", out.name); err != nil {
			return err
		}
		if err := f.standing(ctx, out.name, began, 2*time.Second, "live"); err != nil {
			return err
		}
		if err := out.tell(ctx, ""); err != nil {
			return err
		}
		f.kept(all)
		f.lostAtMost("clients without an answer", all, 0)
		inFlight := all.where(func(s *shot) bool { return s.by == out.name && s.sent < ordered && s.ended > ordered })
		f.require("requests in flight there that came to their end", "at least 1", strconv.Itoa(len(inFlight)), len(inFlight) > 0)
		f.exactly("requests that it gets from then on", len(all.where(func(s *shot) bool { return s.by == out.name && s.sent > ordered+lateBy })), 0)
		f.onlyItsOwnMoved(homes, meanwhile, out.name)
		return f.allAreBack(ctx, homes)
	},
}

var slowStart = Drill{
	Name:     "slow-start",
	About:    "1 of 5 servers is started again, and gets its share back little by little in 10 s",
	upstream: byReadiness + soonBack + "slow_start: 10s\n",
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		const ramp = 10 * time.Second
		homes, err := f.survey(ctx)
		if err != nil {
			return err
		}
		it := f.servers[0]
		it.kill()
		killed := time.Now()
		if err := f.standing(ctx, it.name, killed, 8*time.Second, "down"); err != nil {
			return err
		}
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
		b, back := f.fire(ctx), time.Now()
		if err := it.start(ctx); err != nil {
			return err
		}
		if err := f.standing(ctx, it.name, back, 8*time.Second, "live"); err != nil {
			return err
		}
		changes := f.changes(it.name)
		from := changes[len(changes)-1].at.Sub(b.start)
		if err := pause(ctx, ramp+2*time.Second); err != nil {
			return err
		}
		all := shots(b.end())
		f.kept(all)
		f.lostAtMost("clients without an answer", all, 0)
		share := float64(keysOf(homes, it.name)) / keyCount
		for _, part := range []int{1, 3, 5, 8} {
			at := ramp * time.Duration(part) / 10
			some := all.during(span{from + at - time.Second, from + at})
			got := float64(len(some.by(it.name))) / float64(max(len(some), 1)) / share
			most := 1.2*float64(part)/10 + 0.1
			f.require(fmt.Sprintf("of its share, in second %d", part), fmt.Sprintf("at most %.0f %%", 100*most), fmt.Sprintf("%.0f %%", 100*got), got <= most)
		}
		some := all.during(since(from + ramp + time.Second))
		got := float64(len(some.by(it.name))) / float64(max(len(some), 1)) / share
		f.require("when it is over", "at least 70 %", fmt.Sprintf("%.0f %%", 100*got), got >= 0.7)
		return f.allAreBack(ctx, homes)
	},
}
