package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ringfence/loadtest/origin"
)

var coldStampede = Drill{
	Name:  "stampede",
	About: "300 clients ask three instances for one cold key that takes the origin 500 ms",
	scene: func(ctx context.Context, s *stage) error {
		const path, size = "/stampede", 1 << 10
		s.serve(path, always(after(500*time.Millisecond, cacheable(size))))
		c := s.send(ctx, asks(wave, path, s.fleet...)...)
		as := c.wait()
		s.answers("clients with the whole answer", as, content(path, size))
		s.exactly("requests to the origin", s.count(path), 1)
		s.within("from the first client's answer to the last one's", spread(as, lastByte), s.env.widened(20*time.Millisecond))
		s.note("the last client's answer after", short(c.took()))
		for n, i := range s.fleet {
			first, last := c.between(func(k int) bool { return k%len(s.fleet) == n })
			s.note("clients of instance "+i.name, short(first)+" to "+short(last))
		}
		return nil
	},
}

var streaming = Drill{
	Name:  "streaming",
	About: "the origin sends 1 MiB over 5 s, its length known or not, to the clients of three instances",
	scene: func(ctx context.Context, s *stage) error {
		const size, chunk, clients = 1 << 20, 16 << 10, 30
		slow := cacheable(size)
		slow.Chunk, slow.Pause = chunk, 5*time.Second/(size/chunk)
		crowds := make([]*crowd, 0, len(framings))
		for _, f := range framings {
			a := slow
			a.Framing = f.framing
			s.serve(f.path, always(a))
			crowds = append(crowds, s.send(ctx, asks(clients, f.path, s.fleet...)...))
		}
		for i, f := range framings {
			path, as := f.path, crowds[i].wait()
			s.answers(path+": clients with all bytes", as, content(path, size))
			s.exactly(path+": requests to the origin", s.count(path), 1)
			s.within(path+": from the first client's first byte to the last one's", spread(as, firstByte), s.env.widened(100*time.Millisecond))
			s.note(path+": from the first client's last byte to the last one's", short(spread(as, lastByte)))
		}
		return nil
	},
}

// framings are what a body's length may be to a proxy.
var framings = [...]struct {
	path    string
	framing origin.Framing
}{{"/length-known", origin.Length}, {"/length-unknown", origin.Chunked}}

var laterMisses = Drill{
	Name:  "later",
	About: "what one instance has filled the others serve without the origin, also when that instance is gone",
	scene: func(ctx context.Context, s *stage) error {
		chunked := cacheable(300_000)
		chunked.Framing = origin.Chunked
		pages := []struct {
			path   string
			answer origin.Answer
		}{{"/empty", cacheable(0)}, {"/small", cacheable(1 << 10)}, {"/large", cacheable(3 << 20)}, {"/chunked", chunked}}
		first := s.fleet[0]
		for _, p := range pages {
			s.serve(p.path, always(p.answer))
			s.answers(p.path+": filled", s.send(ctx, asks(1, p.path, first)...).wait(), content(p.path, p.answer.Size))
		}
		if err := first.settle(ctx); err != nil {
			return err
		}
		s.leave(first)
		if _, err := s.join(ctx); err != nil {
			return err
		}
		if err := s.sharing(ctx, "with a new instance the fleet shares its fills after"); err != nil {
			return err
		}
		for _, p := range pages {
			s.answers(p.path+": served by the other two, and a new one",
				s.send(ctx, asks(len(s.fleet), p.path, s.fleet...)...).wait(), content(p.path, p.answer.Size))
			s.exactly(p.path+": requests to the origin", s.count(p.path), 1)
		}
		return nil
	},
}

var uncacheable = Drill{
	Name:  "uncacheable",
	About: "300 clients ask three instances for what may not be shared, and then 300 more",
	scene: func(ctx context.Context, s *stage) error {
		const delay = 500 * time.Millisecond
		for _, field := range []origin.Field{
			{Name: "Cache-Control", Value: "no-store"},
			{Name: "Cache-Control", Value: "private"},
			{Name: "Set-Cookie", Value: "id=1"},
		} {
			path := "/" + field.Value
			s.serve(path, func(nth int, _ origin.Request) origin.Answer {
				a := origin.Text("", fmt.Sprintf("answer %d", nth)).With(field.Name, field.Value)
				return after(delay, a)
			})
			seen := map[string]bool{}
			own := func(a answer) error {
				switch {
				case a.err != nil:
					return a.err
				case a.status != 200:
					return fmt.Errorf("status %d", a.status)
				case seen[a.text]:
					return errors.New("another client's " + a.text)
				}
				seen[a.text] = true
				return nil
			}
			for n, bound := range []struct{ best, most float64 }{{2, 2.3}, {1, 1.2}} {
				wavePath := fmt.Sprintf("%s: wave %d: ", path, n+1)
				c := s.send(ctx, asks(wave, path, s.fleet...)...)
				s.each(wavePath+"clients with an answer of their own", c.wait(), own)
				s.times(wavePath+"the last client's answer", c.took(), delay, bound.best, bound.most, s.env.Margin)
			}
			s.exactly(path+": requests to the origin", s.count(path), 2*wave)
		}
		return nil
	},
}
