package drill

import (
	"context"
	"errors"
	"time"

	"ringfence/loadtest/origin"
)

const (
	// followers is how many clients the two other instances have while the
	// first one leads.
	followers = 150
	// joining is how long their requests may take to reach a fill that has no
	// head yet, which nobody can see from outside.
	joining = 250 * time.Millisecond
)

var leaderKilled = Drill{
	Name:  "leader-killed",
	About: "the instance that fetches is killed (kill -9), before the head and within the body",
	scene: func(ctx context.Context, s *stage) error {
		const size, chunk = 1 << 20, 64 << 10
		late := after(1500*time.Millisecond, cacheable(size))
		long := cacheable(size)
		long.Chunk, long.Pause = chunk, 100*time.Millisecond
		for _, moment := range []struct {
			path   string
			answer origin.Answer
			begun  bool // kill it when all clients have a part of the body
		}{{"/before-head", late, false}, {"/within-body", long, true}} {
			path := moment.path
			s.serve(path, always(moment.answer))
			leader, others := s.fleet[0], s.fleet[1:]
			lost, c, err := s.lead(ctx, leader, others, path)
			if err != nil {
				return err
			}
			if moment.begun {
				if _, err := until(ctx, patience, func() bool { return c.begun.Load() == followers }); err != nil {
					return err
				}
			}
			s.leave(leader)
			killed := time.Now()
			s.answers(path+": clients of the other instances with the whole answer", c.wait(), content(path, size))
			lost.wait()
			asked := s.requests(path)
			s.exactly(path+": requests to the origin", len(asked), 2)
			s.within(path+": another instance has taken over", asked[len(asked)-1].Sub(killed), leaseTTL+s.env.widened(200*time.Millisecond))
			if _, err := s.join(ctx); err != nil {
				return err
			}
			// The newest instance must not lead next: it is the last of the fleet.
			if err := s.sharing(ctx, path+": with a new instance the fleet shares its fills after"); err != nil {
				return err
			}
		}
		return nil
	},
}

// lead has a client of one instance ask for a path, and when that has reached
// the origin the clients of the others.
func (s *stage) lead(ctx context.Context, leader *instance, others []*instance, path string) (first, rest *crowd, err error) {
	first = s.send(ctx, asks(1, path, leader)...)
	if err := s.awaitRequests(ctx, path, 1); err != nil {
		return nil, nil, err
	}
	rest = s.send(ctx, asks(followers, path, others...)...)
	return first, rest, pause(ctx, joining)
}

var leaderPaused = Drill{
	Name:  "leader-paused",
	About: "the instance that fetches stands still past its lease (SIGSTOP), and goes on (SIGCONT)",
	scene: func(ctx context.Context, s *stage) error {
		const path, before, since = "/paused", "what the first fill gives", "what the second fill gives"
		gate := make(chan struct{})
		s.serve(path, func(nth int, _ origin.Request) origin.Answer {
			if nth > 1 {
				return origin.Text("max-age=60", since)
			}
			a := origin.Text("max-age=60", before)
			a.Hold = gate
			return a
		})
		leader, others := s.fleet[0], s.fleet[1:]
		first, rest, err := s.lead(ctx, leader, others, path)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		if err := leader.freeze(); err != nil {
			return err
		}
		frozen := time.Now()
		s.answers("clients of the other instances with the second fill's answer", rest.wait(), text(since))
		asked := s.requests(path)
		s.within("another instance has taken over", asked[len(asked)-1].Sub(frozen), leaseTTL+s.env.widened(200*time.Millisecond))
		close(gate)
		if err := errors.Join(pause(ctx, leaseTTL), leader.thaw()); err != nil {
			return err
		}
		s.answers("the first instance's own client with the first fill's answer", first.wait(), text(before))
		if err := s.settle(ctx); err != nil {
			return err
		}
		if _, err := s.join(ctx); err != nil {
			return err
		}
		if err := s.sharing(ctx, "with a new instance the fleet shares its fills after"); err != nil {
			return err
		}
		s.answers("later clients of all instances, and of a new one, with the second fill's answer",
			s.send(ctx, asks(len(s.fleet), path, s.fleet...)...).wait(), text(since))
		s.exactly("requests to the origin", s.count(path), 2)
		return nil
	},
}
