package drill

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

var allButOneDown = Drill{
	Name:     "all-but-one-down",
	About:    "4 of 5 servers are killed under load: the one that is left keeps its keys, and is not run over",
	upstream: byReadiness,
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		homes, err := f.survey(ctx)
		if err != nil {
			return err
		}
		left := f.servers[4]
		b := f.fire(ctx)
		if _, err := b.phase(ctx, 2*time.Second); err != nil {
			return err
		}
		for _, s := range f.servers[:4] {
			s.kill()
		}
		killed := time.Now()
		for _, s := range f.servers[:4] {
			if err := f.standing(ctx, s.name, killed, 8*time.Second, "down"); err != nil {
				return err
			}
		}
		panicking := b.now()
		was, err := left.requests(ctx)
		if err != nil {
			return err
		}
		if _, err := b.phase(ctx, 3*time.Second); err != nil {
			return err
		}
		got, err := left.requests(ctx)
		if err != nil {
			return err
		}
		all := shots(b.end())
		f.kept(all)
		during := all.during(since(panicking))
		own := during.where(func(s *shot) bool { return homes[s.key] == left.name })
		f.lostAtMost("clients of its own keys without an answer", own, 0)
		f.exactly("of them, answered by it", len(own.by(left.name)), len(own))
		f.note("clients of the other keys with an answer", fmt.Sprintf("%d of %d", len(during)-len(own)-len(during.lost()), len(during)-len(own)))
		retries := max(int(3*(during[len(during)-1].at-panicking)/serverDelay), len(during)/4)
		f.bounded("requests that it gets", got-was, len(own)+retries+during.atOnce(), "its share, and of those of others three at once or a fifth")
		return nil
	},
}

var allFailing = Drill{
	Name:     "all-failing",
	About:    "all servers answer with 503, and fail their checks: keys stay, and retries are few",
	upstream: byReadiness,
	route:    ", cache: off",
	days: func(ctx context.Context, f *farm) error {
		homes, err := f.survey(ctx)
		if err != nil {
			return err
		}
		// Enough at once for a part of them to be more than the least that may be
		// sent again.
		delay := time.Duration(100 / f.rate * float64(time.Second))
		began := time.Now()
		for _, s := range f.servers {
			if err := s.tell(ctx, "status=503&ready=no&delay="+delay.String()); err != nil {
				return err
			}
		}
		for _, s := range f.servers {
			if err := f.standing(ctx, s.name, began, 8*time.Second, "down"); err != nil {
				return err
			}
		}
		was, err := f.requests(ctx)
		if err != nil {
			return err
		}
		b := f.fire(ctx)
		if _, err := b.phase(ctx, 5*time.Second); err != nil {
			return err
		}
		all := shots(b.end())
		got, err := f.requests(ctx)
		if err != nil {
			return err
		}
		f.kept(all)
		f.exactly("clients with the servers' answer", len(all.where(func(s *shot) bool { return s.fate == refused && s.by != "" })), len(all))
		f.strays("answered by another server than the key's", all, homes)
		f.bounded("requests that the servers get", got-was, len(all)+len(all)/4+all.atOnce(), "of five that wait one may be a retry, and what was saved")
		for _, s := range f.servers {
			if err := s.tell(ctx, ""); err != nil {
				return err
			}
		}
		began = time.Now()
		for _, s := range f.servers {
			if err := f.standing(ctx, s.name, began, 8*time.Second, "live"); err != nil {
				return err
			}
		}
		return f.allAreBack(ctx, homes)
	},
}

// bounded is atMost with a reason for the bound.
func (f *farm) bounded(what string, got, most int, why string) {
	f.require(what, fmt.Sprintf("at most %d: %s", most, why), strconv.Itoa(got), got <= most)
}

// requests is how many all servers have got.
func (f *farm) requests(ctx context.Context) (all int, err error) {
	for _, s := range f.servers {
		n, err := s.requests(ctx)
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}
