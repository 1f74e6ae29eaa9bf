package singleflight

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// plan is what one reader's fill will do if it comes to run.
type plan struct {
	owner    int
	key      string
	toHead   time.Duration
	early    func() error // ends the fill before its verdict
	verdict  Verdict
	length   int64
	promise  int64
	cut      int64 // bytes after which it breaks, -1: never
	panics   bool
	perWrite time.Duration
	storing  time.Duration
}

func randomPlan(rng *rand.Rand, owner int, key string) plan {
	ms := func(n int) time.Duration { return time.Duration(rng.IntN(n)) * time.Millisecond }
	p := plan{owner: owner, key: key, toHead: ms(500), verdict: Verdict(rng.IntN(3)),
		length: rng.Int64N(64 << rng.IntN(14)), promise: -1, cut: -1, perWrite: ms(20), storing: ms(100)}
	switch rng.IntN(12) {
	case 0, 1:
		p.early = func() error { return errBroken }
	case 2:
		p.early = func() error { panic("early") }
	case 3:
		p.early = func() error { return ErrRelease }
	case 4:
		p.early = func() error { return nil }
	case 5, 6:
		p.cut, p.panics = rng.Int64N(p.length+1), rng.IntN(2) == 0
	}
	switch rng.IntN(8) {
	case 0, 1, 2:
		p.promise = p.length
	case 3:
		p.promise = p.length + 1 + rng.Int64N(10) // breaks its promise
	}
	return p
}

// whole says that a reader may see the end of the body.
func (p plan) whole() bool { return p.cut < 0 && (p.promise < 0 || p.promise == p.length) }

// world is one schedule's group with the invariants its fills check.
type world struct {
	t     *testing.T
	g     *Group[plan]
	keep  int64
	tight bool // any flight may turn to passing

	mu    sync.Mutex
	table map[string]int // fills whose flight can be joined, by key
}

func (w *world) enter(key string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.table[key] += n
	if w.table[key] > 1 {
		w.t.Errorf("%d fills of one key at once", w.table[key])
	}
}

func (w *world) fill(p plan) Fill[plan] {
	return func(ctx context.Context, out *Writer[plan]) (err error) {
		inTable := true
		leave := func() {
			if inTable {
				w.enter(p.key, -1)
			}
			inTable = false
		}
		w.enter(p.key, 1)
		defer leave()
		if err := pause(ctx, p.toHead); err != nil {
			return err
		}
		if p.early != nil {
			return p.early()
		}
		if w.tight || p.verdict != Store || p.length > w.keep || p.promise > w.keep {
			leave() // it may leave the table at any moment now
		}
		if err := out.Head(p, p.verdict); err != nil {
			leave()
			return err
		}
		if err := out.Grow(p.promise); err != nil {
			return err
		}
		for at := int64(0); at < p.length; {
			if at == p.cut {
				break
			}
			n := min(p.length-at, 50_000)
			if p.cut > at {
				n = min(n, p.cut-at)
			}
			if _, err := out.ReadFrom(&source{at: at, n: at + n}); err != nil {
				return err
			}
			at += n
			if err := pause(ctx, p.perWrite); err != nil {
				return err
			}
		}
		switch {
		case p.cut >= 0 && p.panics:
			leave()
			panic("late")
		case p.cut >= 0:
			leave()
			return errBroken
		case !p.whole():
			leave()
		}
		if err := out.End(); err != nil {
			return err
		}
		if b := out.Body(); b != nil && int64(len(b)) != p.length {
			w.t.Errorf("a body of %d bytes to store, want %d", len(b), p.length)
		}
		return pause(ctx, p.storing)
	}
}

// client joins at a random moment and reads, or leaves, as it likes.
func (w *world) client(rng *rand.Rand, i int) {
	time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
	mine := randomPlan(rng, i, fmt.Sprint(rng.IntN(3)))
	r, err := w.g.Join(mine.key, w.fill(mine))
	if err != nil {
		return
	}
	defer r.Close()
	ctx, cancel := context.Background(), func() {}
	if rng.IntN(4) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(500))*time.Millisecond)
	}
	defer cancel()
	head, outcome, err := r.Wait(ctx)
	if outcome != Ready {
		if (err == nil) != (outcome == Released) {
			w.t.Errorf("%v with %v", outcome, err)
		}
		return
	}
	if head.key != mine.key || head.verdict == Private && (head.owner != i || !r.Leader()) {
		w.t.Errorf("reader %d of %s was given %+v", i, mine.key, head)
	}
	rest := []time.Duration{0, 0, 0, time.Millisecond, 50 * time.Millisecond, time.Second, time.Minute}[rng.IntN(7)]
	leaveAt := int64(-1)
	if rng.IntN(4) == 0 {
		leaveAt = rng.Int64N(head.length + 1)
	}
	s := sink{rest: rest}
	_, err = r.WriteTo(writerFunc(func(p []byte) (int, error) {
		if st := w.g.Stats(); w.tight && st.Buffered > w.g.o.Load().MaxBuffered+(st.Flights+st.Readers+1)*(minWindow+chunkSize) {
			w.t.Errorf("too much memory: %+v", st)
		}
		if leaveAt >= 0 && s.at >= leaveAt {
			return 0, errBroken
		}
		return s.Write(p)
	}))
	if s.bad || s.at > head.length || err == nil && (s.at != head.length || !head.whole()) {
		w.t.Errorf("%d bytes of %+v, bad %v: %v", s.at, head, s.bad, err)
	}
}

// TestSchedules: whatever readers and fills do, each reader ends, sees a prefix
// of one fill's bytes and its end only where it was complete; one fill of a key
// can be joined at a time; memory is bounded; nothing is left behind.
func TestSchedules(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				o := Options[plan]{Keep: 128 << 10, Window: 96 << 10, Stall: time.Second, ReadWait: 5 * time.Second,
					Elections: rng.IntN(4) - 1, MaxReaders: 8}
				w := &world{t: t, keep: o.Keep, tight: seed%2 == 1, table: make(map[string]int)}
				if w.tight {
					o.MaxBuffered = 200 << 10
				}
				w.g = New(o)
				var clients sync.WaitGroup
				for i := range 30 {
					mine := rand.New(rand.NewPCG(seed, uint64(i)+2))
					clients.Go(func() { w.client(mine, i) })
				}
				clients.Wait()
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(200))*time.Millisecond)
				defer cancel()
				_ = w.g.Close(ctx) // at times it has to cancel some
				synctest.Wait()
				if s := w.g.Stats(); s.Flights != 0 || s.Readers != 0 || s.Waiting != 0 || s.Buffered != 0 {
					t.Errorf("left behind: %+v", s)
				}
			})
		})
		if !ok {
			break
		}
	}
}
