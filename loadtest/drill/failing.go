package drill

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"ringfence/loadtest/origin"
)

var failingOrigin = Drill{
	Name:  "failing-origin",
	About: "300 clients ask three instances for what the origin answers with 503 after 300 ms",
	scene: func(ctx context.Context, s *stage) error {
		const delay, size = 300 * time.Millisecond, 1 << 10
		failure := after(delay, origin.Answer{Status: 503, Size: 10})

		path := "/cold"
		s.serve(path, always(failure))
		c := s.send(ctx, asks(wave, path, s.fleet...)...)
		w := content(path, 10)
		w.status = 503
		s.answers("a cold key: clients with the origin's answer", c.wait(), w)
		s.atMost("a cold key: requests to the origin", s.count(path), 2*len(s.fleet))
		s.times("a cold key: the last client's answer", c.took(), delay, 1, 2, s.env.Margin)

		path = "/stale"
		var fails atomic.Bool
		s.serve(path, func(int, origin.Request) origin.Answer {
			if fails.Load() {
				return failure
			}
			return origin.Answer{Size: size}.With("Cache-Control", "max-age=1, stale-if-error=60")
		})
		for _, i := range s.fleet {
			s.answers("a stale key: instance "+i.name+" has it", s.send(ctx, asks(1, path, i)...).wait(), content(path, size))
		}
		fails.Store(true)
		filled := s.count(path)
		if err := pause(ctx, 1200*time.Millisecond); err != nil {
			return err
		}
		c = s.send(ctx, asks(wave, path, s.fleet...)...)
		s.answers("a stale key: clients with the stale answer", c.wait(), content(path, size))
		s.atMost("a stale key: requests to the origin", s.count(path)-filled, 2*len(s.fleet))
		s.times("a stale key: the last client's answer", c.took(), delay, 1, 2, s.env.Margin)
		return nil
	},
}

var tooLarge = Drill{
	Name:  "too-large",
	About: "clients of three instances ask for what is larger than max_object_size, of the engine's tier or of both",
	setup: setup{shared: ", max_object_size: 1MiB", cache: ", max_object_size: 2MiB"},
	scene: func(ctx context.Context, s *stage) error {
		const clients, chunks, delay, stream = 30, 40, 200 * time.Millisecond, time.Second
		for _, size := range []int64{3 << 19, 3 << 20} {
			for _, f := range framings {
				path := fmt.Sprintf("/%d%s", size, f.path)
				a := after(delay, cacheable(size))
				a.Framing, a.Chunk, a.Pause = f.framing, int(size)/chunks, stream/chunks
				s.serve(path, always(a))
				c := s.send(ctx, asks(clients, path, s.fleet...)...)
				s.answers(path+": clients with all bytes", c.wait(), content(path, size))
				s.exactly(path+": requests to the origin", s.count(path), len(s.fleet))
				s.times(path+": the last client's last byte", c.took(), delay+stream, 2, 2.2, s.env.Margin)
				s.note(path+": from the first client's first byte to the last one's", short(spread(c.wait(), firstByte)))
			}
		}
		return nil
	},
}
