package redis

import (
	"context"
	"errors"

	"ringfence/singleflight"
)

// alone fills without the engine, because it is away or because the log is not
// for us.
func (f *flight[H]) alone(ctx context.Context, fallback bool) error {
	if fallback {
		f.l.e.n.fallbacks.Add(1)
	}
	if f.headed {
		return f.goOn(ctx, f.fill)
	}
	return f.fill(ctx, f.w)
}

// lead fills under a lease.
func (f *flight[H]) lead(ctx context.Context, ls *lease) error {
	if !f.headed {
		return lead(ctx, ls, f.w, f.fill, f.codec)
	}
	return f.goOn(ctx, func(ctx context.Context, w *singleflight.Writer[H]) error {
		return lead(ctx, ls, w, f.fill, f.codec)
	})
}

// goOn completes a body whose fill was lost from another fill, which runs apart
// until it is known to give the same.
func (f *flight[H]) goOn(ctx context.Context, fill singleflight.Fill[H]) error {
	f.l.e.n.takenOver.Add(1)
	f.out.restart()
	// The one reader that is told of a Private head is the leader, so the bytes
	// come through another.
	var follower *singleflight.Reader[H]
	began, over := make(chan error, 1), make(chan struct{})
	leader, err := f.l.apart.Join(f.l.e.token(), func(ctx context.Context, w *singleflight.Writer[H]) (err error) {
		defer close(over)
		follower, err = w.Follow()
		began <- err
		if err != nil {
			return err
		}
		return fill(ctx, w)
	})
	if err != nil {
		return err
	}
	defer leader.Close()
	if err := <-began; err != nil {
		return err
	}
	defer follower.Close()
	head, outcome, err := follower.Wait(ctx)
	switch {
	case outcome == singleflight.Released:
		return ErrChanged
	case err != nil:
		return err
	case f.codec.Encode(head).Identity != f.heading.identity:
		return ErrChanged
	}
	leader.Close() // it reads nothing, and a body that is passed on would wait for it
	if _, err := follower.WriteTo(&f.out); err != nil {
		return err
	}
	if !f.out.caughtUp() {
		return ErrChanged
	}
	if err := f.w.End(); err != nil {
		return err
	}
	select {
	case <-over: // it has stored what it filled
		return nil
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx))
	}
}
