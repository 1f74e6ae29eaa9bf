package drill

import (
	"context"
	"time"
)

// engineDrills are one drill for each fault of an engine.
func engineDrills() []Drill {
	fs := faults()
	all := make([]Drill, 0, len(fs))
	for _, f := range fs {
		all = append(all, Drill{
			Name: "engine-" + f.name, About: f.about,
			scene: func(ctx context.Context, s *stage) error { return outage(ctx, s, f) },
		})
	}
	return all
}

// outage plays a fault before a fill and one during a fill.
func outage(ctx context.Context, s *stage, f fault) error {
	const size, delay, moment = 1 << 10, 800 * time.Millisecond, 150 * time.Millisecond
	e := s.engines[0]

	path := "/before"
	s.serve(path, always(after(delay, cacheable(size))))
	if err := f.hurt(ctx, e); err != nil {
		return err
	}
	c := s.send(ctx, asks(wave, path, s.fleet...)...)
	s.survived("engine "+f.name+" before a fill: ", path, c, size)
	s.alone("engine "+f.name+" before a fill: ", path, c.sent, s.env.timeout())
	if err := f.heal(ctx, e); err != nil {
		return err
	}
	if err := s.sharing(ctx, "engine "+f.name+" before a fill: used again"); err != nil {
		return err
	}

	path = "/during"
	s.serve(path, always(after(delay, cacheable(size))))
	c = s.send(ctx, asks(wave, path, s.fleet...)...)
	if err := pause(ctx, moment); err != nil {
		return err
	}
	if err := f.hurt(ctx, e); err != nil {
		return err
	}
	hurt := time.Now()
	s.survived("engine "+f.name+" during a fill: ", path, c, size)
	// Who has seen the lease held may take the holder's word until it runs out.
	s.alone("engine "+f.name+" during a fill: ", path, hurt, leaseTTL+s.env.timeout())
	if err := f.heal(ctx, e); err != nil {
		return err
	}
	return s.sharing(ctx, "engine "+f.name+" during a fill: used again")
}

// alone requires that no instance waits for another for longer than a bound.
func (s *stage) alone(what, path string, since time.Time, bound time.Duration) {
	var last time.Duration
	for _, at := range s.requests(path) {
		last = max(last, at.Sub(since))
	}
	s.within(what+"the last instance to fetch by itself does so after", last, bound+s.env.widened(50*time.Millisecond))
}

// survived requires that all clients are answered with one request to the
// origin for each instance at most.
func (s *stage) survived(what, path string, c *crowd, size int64) {
	s.answers(what+"clients with the whole answer", c.wait(), content(path, size))
	s.atMost(what+"requests to the origin", s.count(path), len(s.fleet))
	s.note(what+"the last client's answer after", short(c.took()))
}

var engineAbsent = Drill{
	Name:  "engine-absent",
	About: "an instance starts while the engine is down, and shares once it is there",
	scene: func(ctx context.Context, s *stage) error {
		const path, size = "/absent", 1 << 10
		e := s.engines[0]
		if err := kill(ctx, e); err != nil {
			return err
		}
		began := time.Now()
		alone, err := s.join(ctx)
		if err != nil {
			return err
		}
		s.note("it listens after", short(time.Since(began)))
		s.serve(path, always(after(200*time.Millisecond, cacheable(size))))
		c := s.send(ctx, asks(wave/3, path, alone)...)
		s.answers("its clients with the whole answer", c.wait(), content(path, size))
		s.exactly("requests to the origin", s.count(path), 1)
		if err := restart(ctx, e); err != nil {
			return err
		}
		return s.sharing(ctx, "the fleet of four shares its fills after")
	},
}
