package upstream

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newGate(limit, size int, timeout time.Duration) *gate {
	return &gate{limit: uint32(limit), size: uint32(size), timeout: timeout}
}

// visit is one request to a gate, on a clock that begins at 0.
type visit struct {
	comes, gone time.Duration // when it asks, and when its context ends
	stays       time.Duration // how long it is inside
	tries       bool          // it does not wait

	err error         // why it did not get in
	in  time.Duration // when it got in
}

var errNoTry = errors.New("no room")

// model says what becomes of the visits, event by event: a place goes to who
// has waited longest.
func model(vs []visit, limit, size int, timeout time.Duration) (waited, full, late uint64) {
	type event struct {
		at   time.Duration
		what string
		v    *visit
	}
	var events []event
	var queue []*visit
	inside := 0
	add := func(at time.Duration, what string, v *visit) { events = append(events, event{at, what, v}) }
	enter := func(v *visit, now time.Duration) {
		inside++
		v.in = now
		add(now+v.stays, "leaves", v)
	}
	drop := func(v *visit, err error) bool {
		i := slices.Index(queue, v)
		if i >= 0 {
			queue, v.err = slices.Delete(queue, i, i+1), err
		}
		return i >= 0
	}
	for i := range vs {
		add(vs[i].comes, "comes", &vs[i])
	}
	for len(events) > 0 {
		slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
		e := events[0]
		events = events[1:]
		switch {
		case e.what == "comes" && inside < limit:
			enter(e.v, e.at)
		case e.what == "comes" && e.v.tries:
			e.v.err = errNoTry
		case e.what == "comes" && len(queue) == size:
			e.v.err = errQueueFull
			full++
		case e.what == "comes":
			queue = append(queue, e.v)
			waited++
			add(e.at+timeout, "late", e.v)
			add(e.v.gone, "gone", e.v)
		case e.what == "leaves":
			inside--
			if len(queue) > 0 {
				first := queue[0]
				queue = queue[1:]
				enter(first, e.at)
			}
		case e.what == "late" && drop(e.v, errQueueLate):
			late++
		case e.what == "gone":
			drop(e.v, context.DeadlineExceeded)
		}
	}
	return waited, full, late
}

// TestGateDoesAsTheModel: seeded schedules of requests that wait, do not, are
// late, lose their clients; each gets in at the moment at which the model lets
// it in, or fails with the same error.
func TestGateDoesAsTheModel(t *testing.T) {
	outcomes := make(map[error]int)
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			upTo := func(d time.Duration) time.Duration { return 1 + time.Duration(rnd.Int64N(int64(d))) }
			limit, size, timeout := 1+rnd.IntN(4), rnd.IntN(6), upTo(300*time.Millisecond)
			vs := make([]visit, 80)
			for i := range vs {
				comes := upTo(time.Second)
				vs[i] = visit{comes: comes, gone: comes + upTo(400*time.Millisecond), stays: upTo(100 * time.Millisecond), tries: rnd.IntN(10) == 0}
			}
			want := slices.Clone(vs)
			waited, full, late := model(want, limit, size, timeout)

			g, start := newGate(limit, size, timeout), time.Now()
			var all sync.WaitGroup
			for i := range vs {
				v := &vs[i]
				all.Go(func() {
					time.Sleep(v.comes)
					ctx, cancel := context.WithDeadline(t.Context(), start.Add(v.gone))
					defer cancel()
					if v.tries {
						if !g.tryEnter() {
							v.err = errNoTry
						}
					} else {
						v.err = g.enter(ctx)
					}
					if v.err != nil {
						return
					}
					v.in = time.Since(start)
					if n := g.inFlight(); n > limit {
						t.Errorf("%d inside, limit %d", n, limit)
					}
					time.Sleep(v.stays)
					g.leave()
				})
			}
			all.Wait()
			for i, v := range vs {
				if !errors.Is(v.err, want[i].err) || v.in != want[i].in {
					t.Errorf("seed %d, visit %d: got in at %v, %v; want %v, %v", seed, i, v.in, v.err, want[i].in, want[i].err)
				}
				outcomes[want[i].err]++
			}
			if g.inFlight() != 0 || g.queued() != 0 || g.queue.Len() != 0 {
				t.Errorf("seed %d: %d inside, %d queued at the end", seed, g.inFlight(), g.queued())
			}
			if g.waited.Load() != waited || g.full.Load() != full || g.late.Load() != late {
				t.Errorf("seed %d: counted %d waited, %d full, %d late; want %d, %d, %d",
					seed, g.waited.Load(), g.full.Load(), g.late.Load(), waited, full, late)
			}
		})
	}
	for _, err := range []error{nil, errNoTry, errQueueFull, errQueueLate, context.DeadlineExceeded} {
		if outcomes[err] < 20 {
			t.Errorf("the schedules make too little of %v: %v", err, outcomes)
		}
	}
}

// TestGateHandsOverOnce: where a place comes and the wait ends at one moment,
// the place is taken or is given on, never both and never neither.
func TestGateHandsOverOnce(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(1, 2, time.Hour)
			g.tryEnter()
			ctx, cancel := context.WithCancel(t.Context())
			var first, second error
			go func() { first = g.enter(ctx) }()
			synctest.Wait()
			go func() { second = g.enter(t.Context()) }()
			synctest.Wait()
			go cancel()
			go g.leave()
			synctest.Wait()
			if g.inFlight() != 1 || g.queued() != bit(first == nil) {
				t.Fatalf("first %v, %d inside, %d queued", first, g.inFlight(), g.queued())
			}
			if first == nil {
				g.leave()
				synctest.Wait()
			}
			if second != nil || g.inFlight() != 1 || g.queued() != 0 {
				t.Fatalf("first %v, second %v, %d inside, %d queued", first, second, g.inFlight(), g.queued())
			}
		})
	}
}

// TestGateLooksAgain: room that came between the first look and the queue is
// taken, also with a queue of none.
func TestGateLooksAgain(t *testing.T) {
	g := newGate(2, 0, time.Hour)
	g.tryEnter()
	if turn, err := g.enqueue(); turn != nil || err != nil || g.inFlight() != 2 || g.queued() != 0 {
		t.Errorf("%v, %v, %d inside, %d queued", turn, err, g.inFlight(), g.queued())
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestGateUnderFire has real goroutines of all sorts collide.
func TestGateUnderFire(t *testing.T) {
	const limit = 3
	g := newGate(limit, 4, 50*time.Microsecond)
	var inside, entered atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 3000 {
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(4) == 0 {
					go cancel()
				}
				ok := false
				if rnd.IntN(4) == 0 {
					ok = g.tryEnter()
				} else {
					ok = g.enter(ctx) == nil
				}
				if ok {
					entered.Add(1)
					if n := inside.Add(1); n > limit {
						t.Errorf("%d inside", n)
					}
					runtime.Gosched() // others find it full
					inside.Add(-1)
					g.leave()
				}
				cancel()
			}
		})
	}
	soon(t, all.Wait)
	if g.inFlight() != 0 || g.queued() != 0 || g.queue.Len() != 0 {
		t.Errorf("%d inside, %d queued at the end", g.inFlight(), g.queued())
	}
	if entered.Load() == 0 || g.waited.Load() == 0 || g.full.Load() == 0 {
		t.Errorf("%d got in, %d waited, %d found it full, %d were late", entered.Load(), g.waited.Load(), g.full.Load(), g.late.Load())
	}
}

// BenchmarkGate is what every request pays for admission.
func BenchmarkGate(b *testing.B) {
	g := newGate(1<<20, 0, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if g.enter(b.Context()) != nil {
				b.Fail()
			}
			g.leave()
		}
	})
}
