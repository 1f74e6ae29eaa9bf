package drill

import (
	"fmt"
	"slices"
	"time"
)

// shots are requests in the order in which they were meant to be sent.
type shots []*shot

// span is a part of a barrage's time.
type span struct{ from, to time.Duration }

// during returns those that were meant to be sent within a span.
func (all shots) during(s span) shots {
	return all.where(func(s2 *shot) bool { return s.from <= s2.at && s2.at < s.to })
}

func (all shots) where(ok func(*shot) bool) shots {
	var some shots
	for _, s := range all {
		if ok(s) {
			some = append(some, s)
		}
	}
	return some
}

// by returns those that a server answered.
func (all shots) by(server string) shots {
	return all.where(func(s *shot) bool { return s.by == server })
}

// percentile is the latency that so many percent did not pass.
func (all shots) percentile(p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	took := make([]time.Duration, len(all))
	for i, s := range all {
		took[i] = s.took()
	}
	slices.Sort(took)
	return took[min(int(p/100*float64(len(took))), len(took)-1)]
}

// slow returns those that took longer.
func (all shots) slow(d time.Duration) shots {
	return all.where(func(s *shot) bool { return s.took() > d })
}

// lost are those without the answer that is right.
func (all shots) lost() shots { return all.where(func(s *shot) bool { return s.fate != whole }) }

// atOnce is how many were under way at the same moment, at the most.
func (all shots) atOnce() int {
	type edge struct {
		at time.Duration
		by int
	}
	edges := make([]edge, 0, 2*len(all))
	for _, s := range all {
		edges = append(edges, edge{s.sent, 1}, edge{s.ended, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return int(a.at - b.at) })
	now, most := 0, 0
	for _, e := range edges {
		now += e.by
		most = max(most, now)
	}
	return most
}

// example is what the first of them says of what happened to it.
func (all shots) example() string {
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s: %v", all[0].fate, all[0].err)
}

// mostLate is how many percent of the requests may be sent late.
const mostLate = 5

// kept requires what every barrage needs: that its requests left when they were
// meant to. Where they did not, the drill has measured its own machine.
func (f *farm) kept(all shots) {
	late := all.where(func(s *shot) bool { return s.sent-s.at > lateBy })
	part := 100 * float64(len(late)) / float64(max(len(all), 1))
	f.Void = f.Void || part > mostLate
	f.require(fmt.Sprintf("the load: %d requests, %.0f/s; of them sent late", len(all), f.rate),
		fmt.Sprintf("at most %d %%, or the drill is void", mostLate), fmt.Sprintf("%.2f %%", part), part <= mostLate)
}

// lostAtMost requires that clients have whole answers, but for a number.
func (f *farm) lostAtMost(what string, all shots, most int) {
	lost := all.lost()
	f.require(what, fmt.Sprintf("at most %d of %d", most, len(all)), fmt.Sprintf("%d%s", len(lost), lost.example()), len(lost) <= most)
}
