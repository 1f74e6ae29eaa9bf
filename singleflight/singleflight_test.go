package singleflight

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("upstream broke")

// newGroup makes a group that must be empty when the test ends.
func newGroup(t testing.TB, o Options[string]) *Group[string] {
	t.Helper()
	g := New(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if s := g.Stats(); s.Flights != 0 || s.Readers != 0 || s.Waiting != 0 || s.Buffered != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
	return g
}

func join(t testing.TB, g *Group[string], key string, fill Fill[string]) *Reader[string] {
	t.Helper()
	r, err := g.Join(key, fill)
	if err != nil {
		t.Fatalf("Join(%q): %v", key, err)
	}
	return r
}

// result is all a reader came to see.
type result struct {
	outcome Outcome
	head    string
	body    string
	err     error
	leader  bool
	at      time.Duration // when it had all, since the test began
}

// consume waits for r's verdict, reads all and closes it.
func consume(r *Reader[string], began time.Time) (res result) {
	defer r.Close()
	res.head, res.outcome, res.err = r.Wait(context.Background())
	res.leader = r.Leader()
	if res.outcome == Ready {
		var b []byte
		b, res.err = io.ReadAll(r)
		res.body = string(b)
	}
	res.at = time.Since(began)
	return res
}

// crowd joins n readers of key at once, in order, and gives what they saw.
func crowd(t testing.TB, g *Group[string], key string, n int, fill func(i int) Fill[string]) []result {
	t.Helper()
	results := make([]result, n)
	done := make(chan struct{})
	began := time.Now()
	for i := range n {
		r := join(t, g, key, fill(i))
		go func() { results[i] = consume(r, began); done <- struct{}{} }()
	}
	for range n {
		<-done
	}
	return results
}

// respond is a fill that takes some time to its head and gives body.
func respond(after time.Duration, v Verdict, body string) Fill[string] {
	return func(ctx context.Context, w *Writer[string]) error {
		if err := pause(ctx, after); err != nil {
			return err
		}
		if err := w.Head("head", v); err != nil {
			return err
		}
		_, err := w.Write([]byte(body))
		return err
	}
}

func breakDown(after time.Duration) Fill[string] {
	return func(ctx context.Context, _ *Writer[string]) error {
		if err := pause(ctx, after); err != nil {
			return err
		}
		return errBroken
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func count(rs []result, ok func(result) bool) (n int) {
	for _, r := range rs {
		if ok(r) {
			n++
		}
	}
	return n
}

func same(f Fill[string]) func(int) Fill[string] { return func(int) Fill[string] { return f } }

func TestOneFillForACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		var fills atomic.Int64
		truth := strings.Repeat("0123456789", 5000)
		rs := crowd(t, g, "k", 500, same(func(ctx context.Context, w *Writer[string]) error {
			fills.Add(1)
			return respond(time.Second, Store, truth)(ctx, w)
		}))
		if n := fills.Load(); n != 1 {
			t.Errorf("%d fills", n)
		}
		good := func(r result) bool {
			return r.outcome == Ready && r.head == "head" && r.body == truth && r.err == nil && r.at == time.Second
		}
		if n := count(rs, good); n != 500 {
			t.Errorf("%d of 500 readers have the body", n)
		}
		if n := count(rs, func(r result) bool { return r.leader }); n != 1 {
			t.Errorf("%d leaders", n)
		}
		if s := g.Stats(); s.Leads != 1 || s.Follows != 499 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestBytesArriveWhileTheFillIsUnderWay(t *testing.T) {
	for _, length := range []int64{-1, 8} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, Options[string]{})
			began := time.Now()
			fill := func(ctx context.Context, w *Writer[string]) error {
				w.Head("head", Store)
				w.Grow(length)
				io.WriteString(w, "soon")
				time.Sleep(time.Minute - time.Second)
				_, err := io.WriteString(w, "late")
				return err
			}
			for range 3 {
				r := join(t, g, "k", fill)
				defer r.Close()
				var b [64]byte
				n, err := r.Read(b[:])
				if string(b[:n]) != "soon" || err != nil || time.Since(began) != 0 {
					t.Fatalf("%q, %v after %v", b[:n], err, time.Since(began))
				}
				defer func() {
					rest, err := io.ReadAll(r)
					if string(rest) != "late" || err != nil || time.Since(began) != time.Minute-time.Second {
						t.Errorf("%q, %v after %v", rest, err, time.Since(began))
					}
				}()
			}
		})
	}
}

func TestArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options[string]{})
		more := make(chan struct{})
		r := join(t, g, "k", func(_ context.Context, w *Writer[string]) error {
			_ = w.Head("head", Store)
			_, _ = w.Write([]byte("hello"))
			<-more
			_, _ = w.Write([]byte(" you"))
			return nil
		})
		synctest.Wait()
		if n := r.Arrived(); n != 5 {
			t.Errorf("%d bytes, want 5", n)
		}
		close(more)
		synctest.Wait()
		if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		if n := r.Arrived(); n != 6 {
			t.Errorf("%d bytes, want 6", n)
		}
		r.Close()
		if n := r.Arrived(); n != 0 {
			t.Errorf("%d bytes after Close", n)
		}
	})
}

func TestReadersLeaving(t *testing.T) {
	tests := []struct {
		name      string
		verdict   Verdict
		keep      int64
		leave     time.Duration // the verdict falls after 1 s, bytes come each second until 4 s
		completes bool
	}{
		{"store, before the verdict", Store, 0, 0, true},
		{"store, after it", Store, 0, 1500 * time.Millisecond, true},
		{"share, before the verdict", Share, 0, 0, false},
		{"share, after it", Share, 0, 1500 * time.Millisecond, false},
		{"private, before the verdict", Private, 0, 0, false},
		{"private, after it", Private, 0, 1500 * time.Millisecond, false},
		{"store, too long to keep", Store, 1, 1500 * time.Millisecond, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{Keep: tt.keep})
				result := make(chan error, 1)
				r := join(t, g, "k", func(ctx context.Context, w *Writer[string]) (err error) {
					defer func() { result <- err }()
					if err := pause(ctx, time.Second); err != nil {
						return err
					}
					if err := w.Head("", tt.verdict); err != nil {
						return err
					}
					for range 3 {
						if err := pause(ctx, time.Second); err != nil {
							return context.Cause(ctx)
						}
						if _, err := io.WriteString(w, "bytes"); err != nil {
							return err
						}
					}
					return nil
				})
				began := time.Now()
				time.Sleep(tt.leave)
				r.Close()
				r.Close()
				switch err := <-result; {
				case tt.completes && (err != nil || time.Since(began) != 4*time.Second):
					t.Errorf("fill ended with %v after %v", err, time.Since(began))
				case !tt.completes && (!errors.Is(err, ErrAbandoned) || time.Since(began) > 2*time.Second):
					t.Errorf("fill ended with %v after %v", err, time.Since(began))
				}
			})
		})
	}
}

func TestLeaderLeavesFollowersStream(t *testing.T) {
	for _, v := range []Verdict{Store, Share} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, Options[string]{})
			leader := join(t, g, "k", respond(time.Second, v, "body"))
			r := join(t, g, "k", breakDown(0))
			leader.Close()
			if res := consume(r, time.Now()); res.body != "body" || res.err != nil || res.leader {
				t.Errorf("%v: %+v", v, res)
			}
		})
	}
}

func TestJoinableUntilTheFillReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		var stored []byte
		fill := func(_ context.Context, w *Writer[string]) error {
			w.Head("", Store)
			w.Grow(4)
			io.WriteString(w, "body")
			if w.Body() != nil {
				t.Error("a body before End")
			}
			if err := errors.Join(w.End(), w.End()); err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(w, "x"); err != ErrOrder {
				t.Errorf("Write after End: %v", err)
			}
			time.Sleep(time.Second) // storing it takes a while
			stored = w.Body()
			return nil
		}
		first := consume(join(t, g, "k", fill), time.Now())
		if first.body != "body" || first.at != 0 {
			t.Errorf("first %+v", first)
		}
		late := join(t, g, "k", breakDown(0))
		if res := consume(late, time.Now()); res.body != "body" || res.err != nil || res.at != 0 {
			t.Errorf("late %+v", res)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if string(stored) != "body" {
			t.Errorf("stored %q", stored)
		}
		if r := join(t, g, "k", fill); !r.Leader() {
			t.Error("joined a flight that is over")
		} else {
			r.Close()
		}
	})
}

func TestPrivateReleasesAllOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		body := strings.Repeat("x", 3*chunkSize)
		rs := crowd(t, g, "k", 500, func(i int) Fill[string] {
			if i == 0 {
				return func(ctx context.Context, w *Writer[string]) error {
					pause(ctx, time.Second)
					w.Head("mine", Private)
					if r, err := w.Follow(); err != ErrOrder {
						t.Errorf("Follow after Private: %v, %v", r, err)
					}
					pause(ctx, time.Second)
					_, err := io.WriteString(w, body)
					return err
				}
			}
			return breakDown(0)
		})
		if r := rs[0]; !r.leader || r.outcome != Ready || r.body != body || r.err != nil {
			t.Errorf("leader: %v, %d bytes, %v", r.outcome, len(r.body), r.err)
		}
		n := count(rs[1:], func(r result) bool {
			return r.outcome == Released && r.head == "" && r.body == "" && r.err == nil && r.at == time.Second
		})
		if n != 499 || g.Stats().Released != 499 {
			t.Errorf("%d released at the verdict, stats %+v", n, g.Stats())
		}
	})
}

func TestWhoMayJoinAfterTheVerdict(t *testing.T) {
	for v, want := range map[Verdict]bool{Private: true, Share: true, Store: false, Verdict(9): true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, Options[string]{})
			fill := func(ctx context.Context, w *Writer[string]) error {
				w.Head("", v)
				return pause(ctx, time.Second)
			}
			first := join(t, g, "k", fill)
			first.Wait(t.Context())
			second := join(t, g, "k", fill)
			if second.Leader() != want {
				t.Errorf("%v: later join leads: %v", v, second.Leader())
			}
			first.Close()
			second.Close()
		})
	}
}

func TestWaitsAreBounded(t *testing.T) {
	o := Options[string]{MaxLead: 10 * time.Second, ReadWait: 3 * time.Second}
	t.Run("lead time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, o)
			rs := crowd(t, g, "k", 3, same(func(_ context.Context, w *Writer[string]) error {
				time.Sleep(time.Minute) // deaf to its ctx
				if err := w.Head("", Store); !errors.Is(err, ErrLeadTime) {
					t.Errorf("Head: %v", err)
				}
				return nil
			}))
			n := count(rs, func(r result) bool { return errors.Is(r.err, ErrLeadTime) && r.at == 10*time.Second })
			if s := g.Stats(); n != 3 || s.LeadTimeouts != 1 || s.Flights != 1 {
				t.Errorf("%+v, %+v", rs, s)
			}
		})
	})
	t.Run("elections do not lengthen it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, o)
			rs := crowd(t, g, "k", 3, same(breakDown(6*time.Second)))
			if n := count(rs, func(r result) bool { return r.at == 10*time.Second }); n != 3 {
				t.Errorf("%+v", rs)
			}
		})
	})
	t.Run("own deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, o)
			r := join(t, g, "k", respond(5*time.Second, Store, "body"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, out, err := r.Wait(ctx); out != Failed || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, %v", out, err)
			}
			if res := consume(r, time.Now()); res.body != "body" {
				t.Errorf("waiting again: %+v", res)
			}
		})
	})
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, o)
			r := join(t, g, "k", func(ctx context.Context, w *Writer[string]) error {
				w.Head("", Store)
				for range 5 {
					pause(ctx, 2*time.Second)
					io.WriteString(w, "x")
				}
				pause(ctx, 4*time.Second)
				return nil
			})
			defer r.Close()
			began := time.Now()
			b, err := io.ReadAll(r)
			if string(b) != "xxxxx" || err != ErrSilent || time.Since(began) != 13*time.Second {
				t.Errorf("%q, %v after %v", b, err, time.Since(began))
			}
			if n, err := r.WriteTo(io.Discard); n != 0 || err != nil {
				t.Errorf("the end after the silence: %v", err)
			}
		})
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{MaxFlights: 2, MaxReaders: 3})
		fill := respond(time.Second, Store, "")
		var rs []*Reader[string]
		for _, tt := range []struct {
			key string
			err error
		}{{"a", nil}, {"b", nil}, {"c", ErrTooManyFlights}, {"a", nil}, {"a", nil}, {"a", ErrTooManyReaders}} {
			r, err := g.Join(tt.key, fill)
			if err != tt.err {
				t.Errorf("Join(%s): %v", tt.key, err)
			}
			if r != nil {
				rs = append(rs, r)
			}
		}
		if s := g.Stats(); s.RefusedFlights != 1 || s.RefusedReaders != 1 || s.Flights != 2 || s.Readers != 4 || s.Waiting != 4 {
			t.Errorf("%+v", s)
		}
		for _, r := range rs {
			r.Close()
		}
		time.Sleep(2 * time.Second)
		join(t, g, "c", fill).Close()
	})
}

func TestCallsOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		var kept *Writer[string]
		r := join(t, g, "k", func(_ context.Context, w *Writer[string]) error {
			kept = w
			_, early := io.WriteString(w, "x")
			grow, end := w.Grow(1), w.End()
			w.Head("", Store)
			for i, err := range []error{early, grow, end, w.Head("", Store), errors.Join(w.Grow(-1), w.Grow(1)), w.Grow(1)} {
				if want := map[bool]error{true: ErrOrder}[i != 4]; err != want {
					t.Errorf("call %d: %v", i, err)
				}
			}
			_, err := io.WriteString(w, "x")
			return err
		})
		synctest.Wait()
		if _, err := io.WriteString(kept, "y"); err != ErrOrder || kept.Head("", Store) != ErrOrder {
			t.Errorf("a writer whose fill is over: %v", err)
		}
		if res := consume(r, time.Now()); res.body != "x" {
			t.Errorf("%+v", res)
		}
		if _, _, err := r.Wait(t.Context()); err != ErrOrder {
			t.Errorf("Wait after Close: %v", err)
		}
		if _, err := r.Read(make([]byte, 1)); err != ErrOrder {
			t.Errorf("Read after Close: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g := New(Options[string]{})
		quick := join(t, g, "quick", respond(time.Second, Store, "body"))
		slow := join(t, g, "slow", respond(time.Hour, Store, "body"))
		streaming := join(t, g, "streaming", func(ctx context.Context, w *Writer[string]) error {
			w.Head("", Store)
			io.WriteString(w, "some")
			return pause(ctx, time.Hour)
		})
		closing := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			closing <- g.Close(ctx)
		}()
		synctest.Wait()
		if _, err := g.Join("new", breakDown(0)); err != ErrClosed {
			t.Errorf("Join: %v", err)
		}
		late := join(t, g, "quick", breakDown(0))
		for _, r := range []*Reader[string]{quick, late} {
			if res := consume(r, began); res.body != "body" {
				t.Errorf("%+v", res)
			}
		}
		if res := consume(slow, began); !errors.Is(res.err, ErrClosed) || res.at != 5*time.Second {
			t.Errorf("%+v", res)
		}
		if res := consume(streaming, began); !errors.Is(res.err, ErrClosed) || res.body != "some" || res.at != 5*time.Second {
			t.Errorf("%+v", res)
		}
		if err := <-closing; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if err := g.Close(context.Background()); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := New(Options[string]{})
		r := join(t, g, "deaf", func(context.Context, *Writer[string]) error { time.Sleep(time.Minute); return nil })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		began := time.Now()
		if err := g.Close(ctx); !errors.Is(err, context.Canceled) || time.Since(began) != closeGrace {
			t.Errorf("Close: %v after %v", err, time.Since(began))
		}
		r.Close()
		<-g.idle
	})
}
