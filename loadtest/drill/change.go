package drill

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"ringfence/loadtest/origin"
)

var revalidation = Drill{
	Name:  "revalidation",
	About: "300 clients ask three instances for a stale key that has a validator",
	setup: setup{route: ", early_refresh: off"},
	scene: func(ctx context.Context, s *stage) error {
		const path, size, fresh = "/stale", 1 << 10, 2 * time.Second
		var conditional atomic.Int64
		s.serve(path, func(nth int, r origin.Request) origin.Answer {
			a := origin.Answer{Size: size}.With("Cache-Control", "max-age="+strconv.Itoa(int(fresh/time.Second))).With("ETag", `"1"`)
			if r.Get("If-None-Match") == `"1"` {
				conditional.Add(1)
				a.Status = 304
			}
			if nth > 1 {
				a.Delay = 300 * time.Millisecond
			}
			return a
		})
		for _, i := range s.fleet {
			s.answers("instance "+i.name+" has it", s.send(ctx, asks(1, path, i)...).wait(), content(path, size))
		}
		filled := s.count(path)
		s.exactly("requests to the origin until it is stale", filled, 1)
		if err := pause(ctx, fresh+200*time.Millisecond); err != nil {
			return err
		}
		c := s.send(ctx, asks(wave, path, s.fleet...)...)
		s.answers("clients with the whole answer", c.wait(), content(path, size))
		s.exactly("conditional requests to the origin", int(conditional.Load()), 1)
		s.exactly("others", s.count(path)-filled-int(conditional.Load()), 0)
		s.note("the last client's answer after", short(c.took()))
		return nil
	},
}

var purge = Drill{
	Name:  "purge",
	About: "a key is invalidated by one instance (POST) while another one fills it",
	scene: func(ctx context.Context, s *stage) error {
		const path, old, clients = "/purged", "version 0, ", 30
		gate := make(chan struct{})
		var version atomic.Int64
		s.serve(path, func(nth int, r origin.Request) origin.Answer {
			if r.Method == "POST" {
				version.Add(1)
				return origin.Answer{Status: 204}
			}
			if nth > 1 {
				return origin.Text("max-age=60", fmt.Sprintf("version %d", version.Load()))
			}
			a := origin.Text("max-age=60", old+"begun before the purge")
			a.Chunk, a.Gate = len(old), gate
			return a
		})
		// What a new engine was told before is not known: for three seconds the
		// fleet waits for instances that may have come and gone.
		if err := pause(ctx, 3500*time.Millisecond); err != nil {
			return err
		}
		before := s.send(ctx, asks(1, path, s.fleet[0])...)
		if err := s.awaitRequests(ctx, path, 1); err != nil {
			return err
		}
		with := s.send(ctx, asks(clients, path, s.fleet...)...)
		if _, err := until(ctx, joining*4, func() bool { return before.begun.Load()+with.begun.Load() == clients+1 }); err != nil {
			return err
		}
		s.note("clients who have the beginning of the old body", strconv.FormatInt(before.begun.Load()+with.begun.Load(), 10))
		if err := s.purged(ctx, "during a fill", path, s.fleet[1], "version 1"); err != nil {
			return err
		}
		close(gate)
		s.answers("the client whose request began the old fill, with all of it", before.wait(), text(old+"begun before the purge"))
		good := 0
		for _, a := range with.wait() {
			if text(old+"begun before the purge").fault(a) == nil {
				good++
			}
		}
		s.note("clients who asked before the purge, with all of the old body", fmt.Sprintf("%d of %d", good, clients))
		if err := s.settle(ctx); err != nil {
			return err
		}
		s.answers("the old fill over: clients with the new answer",
			s.send(ctx, asks(clients, path, s.fleet...)...).wait(), text("version 1"))
		if err := s.purged(ctx, "when it is stored", path, s.fleet[2], "version 2"); err != nil {
			return err
		}
		if _, err := s.join(ctx); err != nil {
			return err
		}
		if err := s.sharing(ctx, "with a new instance the fleet shares its fills after"); err != nil {
			return err
		}
		s.answers("clients of all instances, and of a new one, with the new answer",
			s.send(ctx, asks(clients, path, s.fleet...)...).wait(), text("version 2"))
		return nil
	},
}

// purged invalidates a path by one instance, and requires that as soon as that
// is acknowledged clients of all instances have the new answer.
func (s *stage) purged(ctx context.Context, when, path string, by *instance, body string) error {
	post := ask{to: by, method: "POST", target: path, fields: []string{"Content-Length: 0"}}
	c := s.send(ctx, post)
	s.answers(when+": the purge is acknowledged", c.wait(), want{status: 204})
	s.note(when+": acknowledged after", short(c.took()))
	s.answers(when+": clients of all instances with the new answer", s.send(ctx, asks(30, path, s.fleet...)...).wait(), text(body))
	return ctx.Err()
}

var variants = Drill{
	Name:  "variants",
	About: "300 clients ask three instances for two Vary variants of one key",
	scene: func(ctx context.Context, s *stage) error {
		const delay = 500 * time.Millisecond
		vary := func(_ int, r origin.Request) origin.Answer {
			return after(delay, origin.Text("max-age=60", "for "+r.Get("X-Kind")).With("Vary", "X-Kind"))
		}
		for _, known := range []struct {
			path string
			yes  bool
		}{{"/vary-unknown", false}, {"/vary-known", true}} {
			path := known.path
			s.serve(path, vary)
			filled := 0
			if known.yes {
				for _, i := range s.fleet {
					s.send(ctx, ask{to: i, target: path, fields: []string{"X-Kind: first"}}).wait()
				}
				filled = s.count(path)
			}
			all := asks(wave, path, s.fleet...)
			for i := range all {
				all[i].fields = []string{"X-Kind: " + kind(i)}
			}
			c := s.send(ctx, all...)
			as := c.wait()
			for k := range 2 {
				var of []answer
				for i, a := range as {
					if kind(i) == kind(k*len(s.fleet)) {
						of = append(of, a)
					}
				}
				s.answers(path+": clients of variant "+kind(k*len(s.fleet))+" with its answer", of, text("for "+kind(k*len(s.fleet))))
			}
			s.exactly(path+": requests to the origin", s.count(path)-filled, 2)
			if known.yes {
				s.times(path+": the last client's answer, side by side", c.took(), delay, 1, 1.2, s.env.Margin)
			} else {
				s.times(path+": the last client's answer", c.took(), delay, 2, 2.3, s.env.Margin)
			}
		}
		return nil
	},
}

// kind is the variant of the ith client; every instance is asked for both.
func kind(i int) string {
	if i/3%2 == 0 {
		return "a"
	}
	return "b"
}
