package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/load"
	"ringfence/loadtest/origin"
	"ringfence/loadtest/result"
)

// stormRate is how often a second one popular key is asked for.
func stormRate() float64 {
	if raceOn {
		return 250
	}
	return 1000
}

// storm is a plan of GETs for one key.
func (p *process) storm(target string, d time.Duration) load.Plan {
	return load.Plan{
		Target:  "http://" + p.addr,
		Request: func(int, time.Duration, *rand.Rand) load.Request { return load.Path(target) },
		Rate:    stormRate(), Duration: d, Timeout: soon,
	}
}

// living is an answer that comes with so many seconds to live, by its Age: the
// Date, which has whole seconds, would take up to one of them. More
// directives begin with a comma.
func living(seconds int, more string) origin.Answer {
	return origin.Text("max-age=100"+more, "").With("Age", fmt.Sprint(100-seconds))
}

// forgiven is how many requests may have waited for a fill on a machine that
// stood still for a while: none where each was sent in time.
func forgiven(r result.Phase) int { return r.Late / 10 }

// calm fails where the answers of a storm were late: a tenth of the wait that
// they must not have had, beyond what as many took that waited for nothing on
// the same machine at the same time.
func calm(t *testing.T, storm, control result.Phase, wait time.Duration) {
	t.Helper()
	const nearly = 99
	if got, usual := storm.Latency.Percentile(nearly), control.Latency.Percentile(nearly); got > 2*usual+wait/10 {
		t.Errorf("%d %% of the answers took up to %s, while those of an answer that stays fresh took %s", nearly, got, usual)
	}
}

// A popular answer is renewed by one request of the proxy's own before its
// time is over, again and again, and nobody waits for that. Within
// stale-while-revalidate the same holds after its time is over.
func TestPopularAnswersAreRenewedBehind(t *testing.T) {
	// A fill takes so long that even a machine which stands still for a second
	// has requests that begin the next one early.
	const takes, lasts = 400 * time.Millisecond, 8 * time.Second
	for name, tt := range map[string]struct {
		route string
		a     origin.Answer
		cycle time.Duration // the time from one fill to the next, at most
		fills int           // the most there may be
	}{
		"early refresh":          {"", living(4, ""), 4 * time.Second, 6},
		"stale-while-revalidate": {"early_refresh: off", living(1, ", stale-while-revalidate=60"), time.Second + takes, 13},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
				if r.Target == "/control" {
					return origin.Text("max-age=100", "")
				}
				a := tt.a
				a.Delay = takes
				return a
			})
			p := startProxy(t, setup{route: tt.route, origins: []*origin.Origin{o}})
			p.get("/popular").must(t, 200)
			p.get("/control").must(t, 200)
			p.settle()
			storm, control := underLoad(t.Context(), p.storm("/popular", lasts)), underLoad(t.Context(), p.storm("/control", lasts))
			r, still := <-storm, <-control
			s := p.status()
			if r.err != nil || r.Outcomes["200"] != r.Sent || s.forwarded()-2 > forgiven(r.Phase) {
				t.Errorf("%d sent, %d late, %v, %v; forwarded %v", r.Sent, r.Late, r.Outcomes, r.err, s.Requests.Forwarded)
			}
			c := o.Count("/popular")
			t.Logf("%d requests in %s: %d fills, %d at once", r.Sent, lasts, c.Total, c.Peak)
			if c.Peak != 1 || c.Total < int(lasts/tt.cycle) || c.Total > tt.fills {
				t.Errorf("the origin was asked %d times, %d at once; %d renewals in %s", c.Total, c.Peak, s.Requests.Renewals, lasts)
			}
			calm(t, r.Phase, still.Phase, takes)
		})
	}
}

// An origin that dies under load is not noticed by those who ask for what it
// answered before, and is hardly bothered until it comes back: then there are
// fresh answers within moments.
func TestStaleAnswersStandIn(t *testing.T) {
	for name, tt := range map[string]struct {
		upstream string
		answer   origin.Answer // in place of what it answers else
		gone     bool          // nobody listens
		silent   bool          // it takes requests, and answers when it is back
	}{
		"refuses":            {gone: true},
		"hangs up":           {answer: hangUp()},
		"says 503":           {answer: coded(503)},
		"is silent":          {silent: true},
		"is silent too long": {upstream: "response_timeout: 500ms", silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ill atomic.Bool
			var serial atomic.Int64
			recovery := make(chan struct{})
			o := newOrigin(t, "one", func(origin.Request) origin.Answer {
				isIll := ill.Load()
				if isIll && !tt.silent {
					return tt.answer
				}
				a := filled(living(1, ""), fmt.Sprint(serial.Add(1)))
				if isIll {
					a.Hold = recovery
				}
				return a
			})
			p := startProxy(t, setup{top: "cache: {wait_timeout: 1s}", upstream: tt.upstream, origins: []*origin.Origin{o}})
			p.get("/").must(t, 200)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := underLoad(ctx, p.storm("/", 4*soon))
			reaches(t, o, func(r origin.Record) bool { return r.Total >= 2 })

			died, before := time.Now(), p.status()
			if ill.Store(true); tt.gone {
				o.Stop()
			}
			enough := before.Requests.Stale + int(2*stormRate())
			eventually(t, "stale answers stand in", func() bool { return p.status().Requests.Stale >= enough })
			attempts, last := p.status().attempts()-before.attempts(), serial.Load()
			if most := int(time.Since(died)/time.Second) + 2; attempts < 1 || attempts > most {
				t.Errorf("%d attempts in %s", attempts, time.Since(died))
			}

			if ill.Store(false); tt.gone {
				if err := o.Restart(); err != nil {
					t.Fatal(err)
				}
			}
			close(recovery)
			back := time.Now()
			eventually(t, "a fresh answer", func() bool { return serial.Load() > last && number(p.get("/")) > last })
			if took := time.Since(back); took > 4*time.Second {
				t.Errorf("fresh answers %s after the origin's return", took)
			}
			cancel()
			r := <-done
			if lost := r.Lost() - r.Outcomes[load.Canceled]; lost > 0 {
				t.Errorf("lost %d of %d: %v, %v", lost, r.Sent, r.Outcomes, r.Example)
			}
			// Only those wait who ask while the first attempt is made, and not
			// for the half minute that it takes to give a silent origin up.
			if most, half := r.Latency.Percentile(100), r.Latency.Percentile(50); most > 3*time.Second || half > time.Second/5 {
				t.Errorf("an answer took %s, and half of them more than %s", most, half)
			}
		})
	}
}
