package health

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ejection says when the results of real requests take a member out, and for how
// long: outlier detection as in Envoy, and for each member what is elsewhere
// called a circuit breaker. Ejected, the breaker is open. When its time is over
// the member is on trial, which is half open: the first result of a request that
// began since then decides. A success closes the breaker, a failure ejects the
// member again, for longer.
//
// The zero Ejection ejects nobody. Each of the first three fields turns a rule
// on, with 0 it is off; usual are 5 failures in a row and 25 % of the requests: a
// server that fails more of them costs more in retries than the keys that move
// when it goes. In the other fields 0 means the default.
//
// An ejected member stays out for its time even if its active checks are good. A
// check asks for one path and is answered by whatever is left of the server, and
// real requests have just failed while it passed. But where the checks had found
// the member down, too, and bring it back, its first ejection ends with that, as
// for a server that was started anew: what they have seen go they may see come.
// Not so a second one before the first is forgotten: a server that flaps would
// get its share in every good moment.
type Ejection struct {
	// Consecutive is how many failures in a row eject a member.
	Consecutive int

	// FailurePercent is the percentage of failures in the window, 1 to 100,
	// that ejects a member, given MinRequests and at least twice the percentage
	// of the other live members together: where all fail alike, what fails is
	// behind them, or the load is too much, and to take members out makes it
	// worse.
	FailurePercent int

	// LatencyFactor, above 1, is how many times the median of the other live
	// members' median latencies a member's own may be. Both sides need
	// MinRequests served, and there have to be two others at least. Only the
	// operator knows whether the members do the same work, so it is not
	// usual.
	LatencyFactor float64

	// MinRequests is how many requests in the window make a percentage or a
	// median worth looking at. With the default of 100, a server that fails one
	// request in ten by chance reaches a quarter less than once in ten thousand
	// windows.
	MinRequests int

	Window time.Duration // how far back percentage and latency look; 10 s
	Base   time.Duration // the first ejection's length, which the count multiplies, and the calm that takes one off the count; 30 s
	Max    time.Duration // what an ejection's length is capped at; 300 s

	// MaxEjected is the percentage of the group's members, 1 to 100, that may be
	// ejected at once, checked or not; one may be in any case, but never the
	// last live one. A member that is due stays until there is room. 30.
	MaxEjected int
}

func (e Ejection) withDefaults() Ejection {
	e.MinRequests = orDefault(e.MinRequests, 100)
	e.Window = orDefault(e.Window, 10*time.Second)
	e.Base = orDefault(e.Base, 30*time.Second)
	e.Max = orDefault(e.Max, max(e.Base, 300*time.Second))
	e.MaxEjected = orDefault(e.MaxEjected, 30)
	return e
}

// validate names every fault of an Ejection that has its defaults.
func (e Ejection) validate() error {
	var f faults
	f.when(e.Consecutive < 0, "consecutive failures %d are negative", e.Consecutive)
	f.when(e.FailurePercent < 0 || e.FailurePercent > 100, "failure percentage %d is not within 1-100", e.FailurePercent)
	f.when(e.LatencyFactor != 0 && !(e.LatencyFactor > 1), "latency factor %v is not above 1", e.LatencyFactor)
	f.when(e.MinRequests < 0, "minimum of %d requests is negative", e.MinRequests)
	f.when(e.Window < slots*time.Millisecond, "window %v is shorter than %v", e.Window, slots*time.Millisecond)
	f.when(e.Base < 0, "base ejection time %v is negative", e.Base)
	f.when(e.Max < e.Base, "maximum ejection time %v is shorter than the base %v", e.Max, e.Base)
	f.when(e.MaxEjected < 0 || e.MaxEjected > 100, "ejected percentage %d is not within 1-100", e.MaxEjected)
	return errors.Join(f...)
}

// watches says whether any rule looks at the window.
func (e Ejection) watches() bool { return e.FailurePercent > 0 || e.LatencyFactor > 0 }

// hasRoom says whether one more of so many members may be ejected, of which
// some are ejected and some live.
func (e Ejection) hasRoom(members, ejected, live int) bool {
	return live > 1 && ejected < max(1, members*e.MaxEjected/100)
}

// suspect is a member that is due to be ejected, by its place.
type suspect struct {
	place  int
	reason string
	excess float64 // how far it is over what is allowed, to take the worst first
}

// outliers are the members that the window speaks against, the worst first,
// from the tallies of those that are live.
func (e Ejection) outliers(live []Tally) []suspect {
	var found []suspect
	var all Tally
	medians := make([]time.Duration, 0, len(live))
	for _, t := range live {
		all.Requests += t.Requests
		all.Failures += t.Failures
		if t.served() >= e.MinRequests {
			medians = append(medians, t.Median)
		}
	}
	slices.Sort(medians)
	for i, t := range live {
		others := Tally{Requests: all.Requests - t.Requests, Failures: all.Failures - t.Failures}
		if e.FailurePercent > 0 && t.Requests >= max(e.MinRequests, 1) && t.Failures*100 >= e.FailurePercent*t.Requests &&
			t.Failures*others.Requests >= 2*others.Failures*t.Requests {
			found = append(found, suspect{i, fmt.Sprintf("%d of %d requests failed", t.Failures, t.Requests),
				float64(t.Failures*100) / float64(e.FailurePercent*t.Requests)})
			continue
		}
		if e.LatencyFactor == 0 || t.served() < max(e.MinRequests, 1) || len(medians) < 3 {
			continue
		}
		own, _ := slices.BinarySearch(medians, t.Median)
		usual := medianWithout(medians, own)
		if float64(t.Median) > e.LatencyFactor*float64(usual) {
			found = append(found, suspect{i, fmt.Sprintf("median latency %v, the others' is %v", t.Median, usual),
				float64(t.Median) / (e.LatencyFactor * float64(usual))})
		}
	}
	slices.SortStableFunc(found, func(a, b suspect) int { return cmp.Compare(b.excess, a.excess) })
	return found
}

// medianWithout is the upper median of sorted values other than the one at a
// place: with two others, the slower of them is what a member is held against.
func medianWithout(sorted []time.Duration, place int) time.Duration {
	middle := (len(sorted) - 1) / 2
	if middle >= place {
		middle++
	}
	return sorted[middle]
}

// ban is a member's record of ejections. The zero ban was never ejected.
type ban struct {
	count int       // ejections that are not forgotten, the one under way included
	until time.Time // end of the one under way; zero: none
	calm  time.Time // end of the last one: what the count decays from
}

func (b ban) active() bool { return !b.until.IsZero() }

// level is the count at a moment: each base time without an ejection has taken
// one off.
func (b ban) level(now time.Time, e Ejection) int {
	if b.active() || b.count == 0 {
		return b.count
	}
	return max(0, b.count-int(now.Sub(b.calm)/e.Base))
}

// again ejects once more, for a random u in [0, 1): the base time times the
// count, capped, less up to a tenth, so that members that went together do not
// all come back together.
func (b ban) again(now time.Time, e Ejection, u float64) ban {
	count := b.level(now, e) + 1
	length := e.Max
	if int64(count) < int64(e.Max/e.Base)+1 {
		length = min(e.Base*time.Duration(count), e.Max)
	}
	return ban{count: count, until: now.Add(length - time.Duration(u*float64(length)/10))}
}

// recovered is the ban of a member that its checks found down and now bring back.
func (b ban) recovered(now time.Time) ban {
	if b.active() && b.count == 1 {
		b.until = now
	}
	return b
}

// after is the ban at a moment: its end, once that has come.
func (b ban) after(now time.Time) ban {
	if !b.active() || now.Before(b.until) {
		return b
	}
	return ban{count: b.count, calm: b.until}
}
