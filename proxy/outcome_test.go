package proxy

import (
	"fmt"
	"sync/atomic"
	"testing"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
)

func TestOutcomeOf(t *testing.T) {
	for want, list := range map[Outcome][]cache.Status{
		Hit:         {{Hit: true}, {Hit: true, HasTTL: true, TTL: 1}},
		Stale:       {{Hit: true, HasTTL: true, TTL: -1}, {Hit: true, HasTTL: true, TTL: -1, Detail: cache.StaleOnError}},
		SharedHit:   {{Hit: true, HasTTL: true, TTL: -1, Detail: cache.Shared}},
		StoodIn:     {{Forward: cache.Stale, HasTTL: true, TTL: -1, Detail: cache.StaleOnError, ForwardStatus: 503}},
		Collapsed:   {{Forward: cache.Miss, Collapsed: true}, {Forward: cache.Stale, Collapsed: true, ForwardStatus: 304}},
		Revalidated: {{Forward: cache.Stale, ForwardStatus: 304}},
		Missed:      {{Forward: cache.Miss}, {Forward: cache.Miss, Detail: cache.Private}},
	} {
		for _, st := range list {
			if got := outcomeOf(st); got != want {
				t.Errorf("%+v: %v, want %v", st, got, want)
			}
		}
	}
}

// What became of a request is counted once, under its route, with its bytes and
// with what it took, whatever it was.
func TestOutcomesAreCounted(t *testing.T) {
	const size = largeBody + 1
	var failing atomic.Bool
	s := newSite(t, func(r origin.Request) origin.Answer {
		control, body := "max-age=600", make([]byte, 3)
		switch r.Target {
		case "/large":
			body = make([]byte, size)
		case "/confirmed":
			control = "max-age=0"
		case "/stale":
			control = "max-age=0, stale-if-error=600"
		case "/down":
			return origin.Answer{Raw: []byte{}, Ending: origin.Drop}
		}
		switch {
		case failing.Load():
			return origin.Answer{Status: 503, Body: []byte("?")}
		case r.Get("If-None-Match") != "":
			return origin.Answer{Status: 304}
		}
		return origin.Answer{Fields: []origin.Field{{Name: "Cache-Control", Value: control}, {Name: "ETag", Value: `"1"`}}, Body: body}
	})
	for i, step := range []struct {
		method, path string
		want         Outcome
		bytes        int
	}{
		{"GET", "/", Missed, 3}, {"GET", "/", Hit, 3}, {"HEAD", "/", Hit, 0}, {"POST", "/other", Passed, 3},
		{"GET", "/large", Missed, size}, {"GET", "/large", Hit, size},
		{"GET", "/confirmed", Missed, 3}, {"GET", "/confirmed", Revalidated, 3},
		{"GET", "/down", Failed, -1},
		{"GET", "/stale", Missed, 3}, {"GET", "/stale", StoodIn, 3}, {"GET", "/stale", Stale, 3},
		{"GET", "nowhere", NoOutcome, -1},
	} {
		failing.Store(step.path == "/stale" && step.want != Missed)
		before := s.h.View().Requests
		r := s.do(step.method, step.path)
		waitFor(t, "the request to end", func() bool {
			v := s.h.View()
			return v.Requests.InFlight == 0 && v.Flights.Flights == 0
		})
		after := s.h.View().Requests
		name := fmt.Sprintf("%d: %s %s", i, step.method, step.path)
		if n := after.Bytes[step.want] - before.Bytes[step.want]; n != uint64(len(r.body)) || step.bytes >= 0 && len(r.body) != step.bytes {
			t.Errorf("%s: %d bytes of %d, want %d", name, n, len(r.body), step.bytes)
		}
		for o := range outcomeCount {
			is := uint64(0)
			if o == step.want {
				is = 1
			}
			first, whole := after.FirstByte[o].Count()-before.FirstByte[o].Count(), after.Whole[o].Count()-before.Whole[o].Count()
			if first != is || whole != is || after.FirstByte[o].Sum > after.Whole[o].Sum {
				t.Errorf("%s: %d first bytes and %d ends are %v, want %d", name, first, whole, o, is)
			}
			if n := after.Routes["*/"][o] - before.Routes["*/"][o]; o != NoOutcome && n != is {
				t.Errorf("%s: %d of the route's are %v, want %d", name, n, o, is)
			}
		}
	}
}

func TestTallyIsBounded(t *testing.T) {
	var tl tally
	first := tl.of("a")
	for i := range 3 * maxRoutes {
		tl.of(fmt.Sprint(i)).count(0, Hit)
	}
	sums := tl.sum()
	if len(sums) != maxRoutes+1 || sums[otherRoutes][Hit] != 2*maxRoutes+1 || tl.of("a") != first {
		t.Errorf("%d routes, %d others", len(sums), sums[otherRoutes][Hit])
	}
}

// Who waits for another request's fill is counted with the time of it; who leads
// is not.
func TestWaitsAreCounted(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, always(origin.Answer{Fields: []origin.Field{{Name: "Cache-Control", Value: "max-age=9"}}, Body: []byte("x"), Hold: hold}))
	leader := s.begin("/")
	s.reached(1)
	follower := s.begin("/")
	s.waiting(2)
	close(hold)
	<-leader
	<-follower
	waitFor(t, "both to end", func() bool { return s.h.View().Requests.InFlight == 0 })
	v := s.h.View().Requests
	if by := v.Routes["*/"]; by[Missed] != 1 || by[Collapsed] != 1 || v.Waits.Count() != 1 || v.Waits.Sum <= 0 {
		t.Errorf("%v, %d waits of %v", by, v.Waits.Count(), v.Waits.Sum)
	}
}
