package drill

import (
	"context"
	"fmt"
	"time"
)

var serverSlow = Drill{
	Name:     "server-slow",
	About:    "1 of 5 servers takes ten times as long; its share of the load bounds what it gets",
	upstream: byReadiness,
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		all, before, from, err := f.worsened(ctx, "delay="+(10*serverDelay).String(), 5*time.Second)
		if err != nil {
			return err
		}
		slow := f.servers[0].name
		during := all.during(since(from + 500*time.Millisecond))
		f.kept(all)
		f.lostAtMost("clients without an answer", all, 0)
		part := float64(len(during.by(slow))) / float64(max(len(during), 1))
		f.note("before: requests that it answers", fmt.Sprintf("%.1f %%", 100*float64(len(before.by(slow)))/float64(max(len(before), 1))))
		f.require("requests that it answers", "less than half of a fifth", fmt.Sprintf("%.1f %%", 100*part), part < 0.1*f.env.Margin)
		others := during.where(func(s *shot) bool { return s.by != slow })
		f.calmAgain("those of the others", before, others)
		f.exactly("it was sent away", len(f.changes(slow)), 0)
		return nil
	},
}

var serverSlowOut = Drill{
	Name:     "server-slow-ejected",
	About:    "1 of 5 servers takes ten times as long, and is ejected for it",
	upstream: byReadiness + "ejection: {latency_factor: 3, min_requests: 20, window: 2s}\n",
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		return f.ejectedFor(ctx, "delay="+(10*serverDelay).String(), 4*time.Second, 0)
	},
}

var serverFailing = Drill{
	Name:     "server-failing",
	About:    "1 of 5 servers answers 30 % of its requests with 503",
	upstream: byReadiness + "ejection: {failure_percentage: 25, min_requests: 20, window: 2s}\n",
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		return f.ejectedFor(ctx, "status=503&part=30", 4*time.Second, 0)
	},
}

var serverResetting = Drill{
	Name:     "server-resetting",
	About:    "1 of 5 servers resets its connections in the middle of each body",
	upstream: byReadiness,
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		return f.ejectedFor(ctx, "cut=500&end=reset", 2*time.Second, 50, "?framing=length", "?framing=chunked")
	},
}

// worsened tells the first server to answer otherwise in the middle of a
// barrage. It returns all requests, those from before, and the moment.
func (f *farm) worsened(ctx context.Context, how string, after time.Duration, queries ...string) (all, before shots, at time.Duration, err error) {
	b := f.fire(ctx, queries...)
	calm, err := b.phase(ctx, 3*time.Second)
	if err != nil {
		return nil, nil, 0, err
	}
	if err := f.servers[0].tell(ctx, how); err != nil {
		return nil, nil, 0, err
	}
	at = b.now()
	if err := pause(ctx, after); err != nil {
		return nil, nil, 0, err
	}
	all = b.end()
	return all, all.during(calm), at, nil
}

// ejectedFor requires that the first server is ejected within a time from when
// it answers otherwise, that until then no more clients than some have no whole
// answer, all of them visibly, and that nobody notices anything from then on.
func (f *farm) ejectedFor(ctx context.Context, how string, within time.Duration, most int, queries ...string) error {
	began := time.Now()
	all, before, at, err := f.worsened(ctx, how, within+3*time.Second, queries...)
	if err != nil {
		return err
	}
	bad := f.servers[0].name
	f.kept(all)
	out, ok := f.ejection(bad, began)
	f.require("server "+bad+" is ejected ("+out.reason+")", "yes", map[bool]string{true: "yes", false: "no"}[ok], ok)
	if !ok {
		return nil
	}
	ejected := out.at.Sub(f.fired[len(f.fired)-1].start)
	f.within("after", ejected-at, f.env.widened(within))
	f.lostAtMost("clients without an answer until then", all.where(func(s *shot) bool { return s.sent < ejected }), most)
	f.lostAtMost("and from then on", all.where(func(s *shot) bool { return s.sent >= ejected }), 0)
	f.exactly("answers that look complete and are not", len(all.where(func(s *shot) bool { return s.fate == wrong })), 0)
	f.exactly("requests that it gets from then on", len(all.where(func(s *shot) bool { return s.sent > ejected+lateBy && s.by == bad })), 0)
	f.calmAgain("from then on", before, all.during(since(ejected)))
	return nil
}

// ejection is the first of a server since a moment.
func (f *farm) ejection(server string, since time.Time) (change, bool) {
	for _, c := range f.changes(server) {
		if c.is == "ejected" && !c.at.Before(since) {
			return c, true
		}
	}
	return change{}, false
}
