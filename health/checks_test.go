package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The tests with a clock run in bubbles of testing/synctest. A Sleep there passes
// virtual time, at once and exactly, and waits for nothing that could come late.

func TestMembersAreLiveBeforeTheFirstCheck(t *testing.T) {
	g := create(t, Options{Check: &Check{}}, 2)
	for i, s := range g.Snapshot() {
		if s.Target != targets(2)[i] || s.Standing != Live || s.Factor != 1 || s.Checks.Proven || s.Since.IsZero() {
			t.Errorf("got %+v", s)
		}
	}
	for i, s := range g.Shares() {
		if s.Member.ID() != targets(2)[i].ID || s.Member.Address() != targets(2)[i].Address || s.Factor != 1 || s.Standing != Live {
			t.Errorf("got %+v", s)
		}
	}
}

func TestEachChangeIsToldOnceInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got told
		var factors []float64
		var g *Group
		g = create(t, Options{
			Check:    &Check{Path: "/healthz", Interval: time.Second, Timeout: 500 * time.Millisecond},
			Dial:     dialTo(sequence(good, ill, ill, good, ill, stuck, ill, ill, good, stuck, good, good, good)),
			OnChange: func(s []Share) { factors = append(factors, s[0].Factor) },
			OnEvent: func(e Event) {
				s := g.Snapshot()[0]
				if s.Standing != e.Is || s.Target != e.Target || !s.Since.Equal(e.At) || s.Reason != e.Reason || factors[len(factors)-1] != s.Factor {
					t.Errorf("told %+v while the snapshot says %+v", e, s)
				}
				got.add(e)
			},
		}, 1)
		g.Start(t.Context())
		time.Sleep(time.Minute)
		g.Close()
		want := []string{"s0 live>down: GET /healthz: 503 Service Unavailable", "s0 down>live: GET /healthz: 200 OK"}
		if !slices.Equal(got, want) || !slices.Equal(factors, []float64{1, 0, 1}) {
			t.Errorf("got  %q and %v\nwant %q", got, factors, want)
		}
	})
}

func TestFirstFailureTakesDownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var events []Event
		g := start(t, Options{
			Check:   &Check{Interval: time.Second, Timeout: 300 * time.Millisecond},
			Dial:    dialTo(sequence(stuck)),
			OnEvent: func(e Event) { events = append(events, e) },
		}, 1)
		time.Sleep(10 * time.Second)
		g.Close()
		if len(events) != 1 || events[0].Is != Down || events[0].Reason != "GET /: timeout after 300ms" {
			t.Fatalf("got %+v", events)
		}
		if took := events[0].At.Sub(began); took < 300*time.Millisecond || took > 300*time.Millisecond+maxFirstDelay {
			t.Errorf("known after %v", took)
		}
	})
}

func TestSnapshotTellsWhatTheOperatorAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sick atomic.Bool
		g := start(t, Options{
			Check: &Check{Path: "/healthz", Interval: time.Second, Timeout: 500 * time.Millisecond, Fall: 2},
			Dial: dialTo(func(address string) string {
				time.Sleep(20 * time.Millisecond)
				if sick.Load() && strings.HasPrefix(address, "s1.") {
					return ill
				}
				return good
			}),
		}, 2)
		created := time.Now()
		time.Sleep(30 * time.Second)
		sick.Store(true)
		turned := time.Now()
		time.Sleep(30 * time.Second)

		s := g.Snapshot()
		for _, s := range s {
			c := s.Checks
			if c.Duration != 20*time.Millisecond || time.Since(c.Last) > 1300*time.Millisecond || c.Done < 48 || c.Done > 76 {
				t.Errorf("got %+v", s)
			}
		}
		well, failing := s[0], s[1]
		if c := well.Checks; well.Standing != Live || !well.Since.Equal(created) || c.Result != "GET /healthz: 200 OK" ||
			c.Failed != 0 || uint64(c.Successes) != c.Done || c.Failures != 0 {
			t.Errorf("the healthy member: %+v", well)
		}
		if c := failing.Checks; failing.Standing != Down || failing.Factor != 0 || failing.Reason != "GET /healthz: 503 Service Unavailable" ||
			uint64(c.Failures) != c.Failed || c.Failed < 24 || c.Successes != 0 {
			t.Errorf("the failing member: %+v", failing)
		}
		if took := failing.Since.Sub(turned); took < 0 || took > 1520*time.Millisecond {
			t.Errorf("a failure after 1 s and one 0.25 s later took %v", took)
		}
		g.Close()
		time.Sleep(time.Second) // the server of a check that was broken off answers yet
	})
}

// A member in transition is checked four times as often, all others at the
// interval, to a fifth.
func TestChecksHastenInTransition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		responses := []string{good, good, ill, ill, ill, ill, good, good, good, ill, good, good}
		respond := dialTo(sequence(responses...))
		g := start(t, Options{
			Check: &Check{Interval: 4 * time.Second},
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				at = append(at, time.Now())
				return respond(ctx, network, address)
			},
		}, 1)
		time.Sleep(time.Minute)
		g.Close()
		const slow, fast = 4 * time.Second, time.Second
		for i, want := range []time.Duration{slow, slow, fast, fast, slow, slow, fast, slow, slow, fast, slow} {
			if gap := at[i+1].Sub(at[i]); gap < want*4/5 || gap > want*6/5 {
				t.Errorf("%v after result %d, want about %v", gap, i, want)
			}
		}
	})
}

func TestChecksAreSpacedAndNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		began := time.Now()
		var mu sync.Mutex
		starts := map[string][]time.Time{}
		inFlight := map[string]int{}
		respond := dialTo(sequence(good))
		g := start(t, Options{
			Check: &Check{Interval: time.Second, Timeout: time.Second},
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				mu.Lock()
				starts[address] = append(starts[address], time.Now())
				inFlight[address]++
				if inFlight[address] > 1 {
					t.Errorf("%s is checked twice at a time", address)
				}
				slow := len(starts[address])%3 == 0
				mu.Unlock()
				if slow {
					time.Sleep(990 * time.Millisecond) // most of the timeout, over the shortest interval
				}
				mu.Lock()
				inFlight[address]--
				mu.Unlock()
				return respond(ctx, network, address)
			},
		}, n)
		time.Sleep(20 * time.Second)
		g.Close()
		firsts := map[time.Duration]bool{}
		for address, at := range starts {
			first := at[0].Sub(began)
			firsts[first] = true
			if first > 200*time.Millisecond {
				t.Errorf("%s was first checked after %v", address, first)
			}
			for i := 1; i < len(at); i++ {
				if gap := at[i].Sub(at[i-1]); gap < 800*time.Millisecond || gap > 1200*time.Millisecond {
					t.Errorf("%s: %v between two checks", address, gap)
				}
			}
		}
		if len(starts) != n || len(firsts) < n/2 {
			t.Errorf("%d members began at %d different moments", len(starts), len(firsts))
		}
	})
}

func TestCallbacksAreSerialAndCloseWaitsForOneAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, calls int
		call := func() { // unguarded: the race detector watches too
			inside++
			calls++
			if inside != 1 {
				t.Errorf("%d calls at a time", inside)
			}
			time.Sleep(time.Minute)
			inside--
		}
		g := start(t, Options{
			Check:    &Check{},
			Dial:     refuse,
			OnChange: func([]Share) { call() },
			OnEvent:  func(Event) { call() },
		}, 20)
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if calls != 6 { // the first shares, then shares and an event of one member after the other
			t.Errorf("%d calls in 5 minutes", calls)
		}
		if len(g.Snapshot()) != 20 || !g.Drain("s0", true) || g.Set(targets(20)) != nil { // none of which waits for it
			t.Error("no answer during a call")
		}
		began := time.Now()
		g.Close()
		if took := time.Since(began); calls != 6 || inside != 0 || took > time.Minute {
			t.Errorf("%d calls, %d not over, after %v", calls, inside, took)
		}
	})
}

func TestPanickingCheckIsAFailureAndCheckingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		respond := dialTo(sequence(good))
		var got told
		g := start(t, Options{
			Check: &Check{},
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					panic("boom")
				}
				return respond(ctx, network, address)
			},
			OnEvent: got.add,
		}, 1)
		time.Sleep(time.Minute)
		g.Close()
		want := []string{"s0 live>down: probe panicked: boom", "s0 down>live: GET /: 200 OK"}
		if !slices.Equal(got, want) || g.Snapshot()[0].Checks.Failed != 1 {
			t.Errorf("events %q, then %+v", got, g.Snapshot()[0])
		}
	})
}

func TestCloseBreaksOffChecks(t *testing.T) {
	stuckDial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, tt := range []struct {
		name string
		dial dialFunc
	}{{"connecting", stuckDial}, {"waiting for an answer", dialTo(sequence(stuck))}} {
		for _, by := range []string{"Close", "context"} {
			t.Run(tt.name+" by "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := create(t, Options{
						Check:   &Check{Interval: time.Hour, Timeout: time.Hour},
						Dial:    tt.dial,
						OnEvent: func(e Event) { t.Errorf("told %+v", e) },
					}, 3)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					g.Start(ctx)
					time.Sleep(time.Minute) // all are hanging

					began := time.Now()
					if by == "context" {
						cancel()
					}
					g.Close()
					g.Close()
					if took := time.Since(began); took != 0 {
						t.Errorf("took %v", took)
					}
					for _, s := range g.Snapshot() {
						if s.Standing != Live || s.Checks != (Checks{}) {
							t.Errorf("a check that was broken off counted: %+v", s)
						}
					}
				})
			})
		}
	}
}

func TestStartCountsOnceAndNotAfterClose(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*Group, context.Context)
		want int64 // checks of one member in half an interval
	}{
		{"twice", func(g *Group, ctx context.Context) { g.Start(ctx); g.Start(ctx) }, 1},
		{"after Close", func(g *Group, ctx context.Context) { g.Close(); g.Start(ctx) }, 0},
		{"Set after Close", func(g *Group, ctx context.Context) { g.Start(ctx); g.Close(); _ = g.Set(targets(3)) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int64
				g := create(t, Options{Check: &Check{}, Dial: func(ctx context.Context, n, a string) (net.Conn, error) {
					dials.Add(1)
					return refuse(ctx, n, a)
				}}, 1)
				tt.run(g, t.Context())
				time.Sleep(400 * time.Millisecond)
				g.Close()
				if dials.Load() != tt.want {
					t.Errorf("%d checks, want %d", dials.Load(), tt.want)
				}
			})
		})
	}
}

func TestFirstWaitsForEveryMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		respond := dialTo(sequence(good))
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "s1.example:80" {
				<-hung
				return nil, errors.New("gone")
			}
			return respond(ctx, network, address)
		}
		g := start(t, Options{Check: &Check{}, Dial: dial}, 3)
		ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		if err := g.First(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with one check under way: %v", err)
		}
		close(hung)
		if err := g.First(t.Context()); err != nil {
			t.Error(err)
		}
		if s := g.Snapshot(); s[0].Standing != Live || s[1].Standing != Down || !s[2].Checks.Proven {
			t.Errorf("%+v", s)
		}
		g.Close()
		if err := create(t, Options{}, 3).First(t.Context()); err != nil {
			t.Errorf("without checks: %v", err)
		}
		idle := create(t, Options{Check: &Check{}}, 1)
		time.AfterFunc(time.Second, idle.Close)
		if err := idle.First(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		stuck := start(t, Options{Check: &Check{}, Dial: dialTo(sequence(stuck))}, 1)
		time.AfterFunc(100*time.Millisecond, func() { _ = stuck.Set(nil) })
		if err := stuck.First(t.Context()); err != nil {
			t.Errorf("of a member that has left: %v", err)
		}
	})
}

// The whole of it over real sockets and with the default dialer: a server that
// is ill from the start, recovers and falls ill again.
func TestGroupOverLoopback(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()

	events := make(chan Event, 10)
	g, err := NewGroup(Options{
		Check:   &Check{Interval: 50 * time.Millisecond, Timeout: 50 * time.Millisecond},
		OnEvent: func(e Event) { events <- e },
	}, []Target{{ID: "a", Address: server.Listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.Start(t.Context())
	for _, want := range []Standing{Down, Live, Down} {
		select {
		case e := <-events:
			if e.Is != want {
				t.Fatalf("got %+v, want %v", e, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event, want %v", want)
		}
		if want == Live {
			status.Store(http.StatusServiceUnavailable)
		} else {
			status.Store(http.StatusOK)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	g, err := NewGroup(Options{Ejection: usual()}, targets(100))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(g.Snapshot()) != 100 {
			b.Fatal("members missing")
		}
	}
}

func BenchmarkProbe(b *testing.B) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return &script{sends: strings.NewReader(good)}, nil
	}
	c := Check{}.withDefaults()
	b.ReportAllocs()
	for b.Loop() {
		if out := probe(b.Context(), dial, c, Target{Address: "app.example:80"}); !out.ok {
			b.Fatal(out.reason)
		}
	}
}
