package singleflight

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// engine links the groups of several instances: a lease and a log per key.
type engine struct {
	mu     sync.Mutex
	leases map[string]*remote
	away   bool
}

// remote is the log of a key's holder as the others see it.
type remote struct {
	more    chan struct{} // closed and replaced when something was added
	outcome Outcome
	head    string
	body    []byte
	decided bool
	over    bool
	err     error
}

func (e *engine) update(l *remote, change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
	close(l.more)
	l.more = make(chan struct{})
}

// Lead takes the lease and publishes, or copies what the holder publishes.
func (e *engine) Lead(ctx context.Context, key string, w *Writer[string], fill Fill[string]) error {
	e.mu.Lock()
	if e.away {
		e.mu.Unlock()
		return fill(ctx, w)
	}
	l := e.leases[key]
	if l != nil {
		e.mu.Unlock()
		return e.copy(ctx, l, w)
	}
	l = &remote{more: make(chan struct{})}
	e.leases[key] = l
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.leases, key)
		e.mu.Unlock()
	}()

	r, err := w.Follow()
	if err != nil {
		return err
	}
	waiting, stop := context.WithCancelCause(ctx)
	var publisher sync.WaitGroup
	publisher.Go(func() {
		defer r.Close()
		e.publish(waiting, l, r)
	})
	err = fill(ctx, w)
	stop(err)
	publisher.Wait()
	return err
}

func (e *engine) publish(ctx context.Context, l *remote, r *Reader[string]) {
	head, outcome, err := r.Wait(ctx)
	e.update(l, func() { l.head, l.outcome, l.decided, l.err = head, outcome, true, err })
	if outcome == Ready {
		_, err = r.WriteTo(writerFunc(func(p []byte) (int, error) {
			e.update(l, func() { l.body = append(l.body, p...) })
			return len(p), nil
		}))
	}
	e.update(l, func() { l.over, l.err = true, err })
}

func (e *engine) copy(ctx context.Context, l *remote, w *Writer[string]) error {
	decided, at := false, 0
	for {
		e.mu.Lock()
		now := *l
		e.mu.Unlock()
		if now.decided && !decided {
			switch now.outcome {
			case Failed:
				return now.err
			case Released:
				return ErrRelease
			}
			if err := w.Head(now.head, Store); err != nil {
				return err
			}
			decided = true
		}
		n, err := w.Write(now.body[at:])
		at += n
		if err != nil || now.over {
			return errors.Join(err, now.err)
		}
		select {
		case <-now.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fleet sends n readers of one key to each of two instances, half a second
// apart, and gives what they saw.
func fleet(t *testing.T, e *engine, n int, fill Fill[string]) [2][]result {
	var rs [2][]result
	var both sync.WaitGroup
	for i := range rs {
		g := newGroup(t, Options[string]{Locker: e, Elections: -1})
		both.Go(func() { rs[i] = crowd(t, g, "k", n, same(fill)) })
		time.Sleep(500 * time.Millisecond)
	}
	both.Wait()
	return rs
}

func TestLocker(t *testing.T) {
	body := strings.Repeat("fleet", 40_000)
	slowly := func(v Verdict) Fill[string] {
		return func(ctx context.Context, w *Writer[string]) error {
			pause(ctx, time.Second)
			w.Head("head", v)
			for i := 0; i < len(body); i += 20_000 {
				pause(ctx, 100*time.Millisecond)
				if _, err := io.WriteString(w, body[i:i+20_000]); err != nil {
					return err
				}
			}
			return nil
		}
	}
	whole := func(r result) bool { return r.outcome == Ready && r.body == body && r.err == nil }
	tests := []struct {
		name    string
		away    bool
		fill    Fill[string]
		fills   int64
		holder  func(result) bool // what every reader of the first instance sees
		other   func(result) bool // and of the second
		leaders int               // of the first instance's readers, exempt from holder
	}{
		{"shared", false, slowly(Store), 1, whole, whole, 0},
		{"engine away", true, slowly(Store), 2, whole, whole, 0},
		{"failed", false, breakDown(time.Second), 1,
			func(r result) bool { return r.outcome == Failed && errors.Is(r.err, errBroken) },
			func(r result) bool { return r.outcome == Failed && errors.Is(r.err, errBroken) }, 0},
		{"panicked", false, func(ctx context.Context, _ *Writer[string]) error { pause(ctx, time.Second); panic("boom") }, 1,
			func(r result) bool { return errors.As(r.err, new(*PanicError)) },
			func(r result) bool { return errors.As(r.err, new(*PanicError)) }, 0},
		{"cut short", false, func(ctx context.Context, w *Writer[string]) error {
			pause(ctx, time.Second)
			w.Head("head", Store)
			io.WriteString(w, "some")
			pause(ctx, time.Second)
			return errBroken
		}, 1,
			func(r result) bool { return r.body == "some" && errors.Is(r.err, errBroken) },
			func(r result) bool { return r.body == "some" && errors.Is(r.err, errBroken) }, 0},
		{"private", false, slowly(Private), 1,
			func(r result) bool { return r.outcome == Released },
			func(r result) bool { return r.outcome == Released && r.at == 500*time.Millisecond }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fills atomic.Int64
				rs := fleet(t, &engine{leases: make(map[string]*remote), away: tt.away}, 10,
					func(ctx context.Context, w *Writer[string]) error {
						fills.Add(1)
						return tt.fill(ctx, w)
					})
				if n := count(rs[0], tt.holder); n != 10-tt.leaders {
					t.Errorf("the holder's readers: %+v", rs[0])
				}
				if n := count(rs[0], whole); tt.leaders > 0 && n != tt.leaders {
					t.Errorf("%d of the holder's readers have a private body", n)
				}
				if n := count(rs[1], tt.other); n != 10 {
					t.Errorf("the other's readers: %+v", rs[1])
				}
				if fills.Load() != tt.fills {
					t.Errorf("%d fills", fills.Load())
				}
			})
		})
	}
}

// lockerFunc is a Locker.
type lockerFunc func(ctx context.Context, key string, w *Writer[string], fill Fill[string]) error

func (f lockerFunc) Lead(ctx context.Context, key string, w *Writer[string], fill Fill[string]) error {
	return f(ctx, key, w, fill)
}

// TestLockerApart: a fill that a Locker runs in a flight of a second group ends
// that flight, not the one that it copies to.
func TestLockerApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apart := newGroup(t, Options[string]{})
		g := newGroup(t, Options[string]{Locker: lockerFunc(func(ctx context.Context, key string, w *Writer[string], fill Fill[string]) error {
			w.Head("head", Store)
			r, err := apart.Join(key, fill)
			if err != nil {
				return err
			}
			defer r.Close()
			if _, _, err := r.Wait(ctx); err != nil {
				return err
			}
			time.Sleep(time.Second) // the fill has long returned
			_, err = r.WriteTo(w)
			return err
		})})
		rs := crowd(t, g, "k", 3, same(func(_ context.Context, w *Writer[string]) error {
			w.Head("head", Store)
			_, err := io.WriteString(w, "whole")
			return err
		}))
		if n := count(rs, func(r result) bool { return r.body == "whole" && r.err == nil }); n != 3 {
			t.Errorf("%+v", rs)
		}
	})
}

// TestReadWithin: a reader that has something else to do is told when nothing
// has come; Abort ends a body for it before the fill returns.
func TestReadWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		r, err := g.Join("k", func(ctx context.Context, w *Writer[string]) error {
			w.Abort(errBroken) // nothing to abort yet
			w.Head("head", Store)
			time.Sleep(time.Second)
			io.WriteString(w, "some")
			time.Sleep(time.Second)
			w.Abort(errBroken)
			return pause(ctx, time.Hour)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, outcome, err := r.Wait(t.Context()); outcome != Ready {
			t.Fatal(outcome, err)
		}
		began, b := time.Now(), make([]byte, 10)
		for i, want := range []struct {
			within, at time.Duration
			n          int
			err        error
		}{
			{0, 0, 0, nil}, {300 * time.Millisecond, 300 * time.Millisecond, 0, nil},
			{time.Minute, time.Second, 4, nil}, {0, time.Second, 0, nil}, {time.Minute, 2 * time.Second, 0, errBroken},
		} {
			n, err := r.ReadWithin(b, want.within)
			if n != want.n || !errors.Is(err, want.err) || time.Since(began) != want.at {
				t.Errorf("read %d: %d, %v after %v", i, n, err, time.Since(began))
			}
		}
		if s := g.Stats(); s.Silent != 0 {
			t.Errorf("%+v", s)
		}
	})
}
