package health

import (
	"context"
	"errors"
	"fmt"
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

const (
	good  = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	ill   = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
	stuck = "" // takes the connection and never answers
)

// dialTo gives a dial function that reaches, inside a bubble, a server for each
// call, which answers with what respond returns.
func dialTo(respond func(address string) string) dialFunc {
	return func(_ context.Context, _, address string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			response := respond(address)
			if response == stuck {
				_, _ = server.Read(make([]byte, 4096)) // the request
				_, _ = server.Read(make([]byte, 1))    // until the probe hangs up
				return
			}
			answer(response)(server)
		}()
		return client, nil
	}
}

// sequence responds with each of these once and then always with the last.
func sequence(responses ...string) func(string) string {
	var n atomic.Int64
	return func(string) string {
		return responses[min(int(n.Add(1)), len(responses))-1]
	}
}

// targets are n targets with the IDs s0, s1 and so on.
func targets(n int) []Target {
	all := make([]Target, n)
	for i := range all {
		all[i] = Target{ID: fmt.Sprintf("s%d", i), Address: fmt.Sprintf("s%d.example:80", i)}
	}
	return all
}

// create makes a monitor that is closed when the test ends.
func create(t *testing.T, cfg Config) *Monitor {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func start(t *testing.T, cfg Config) *Monitor {
	t.Helper()
	m := create(t, cfg)
	m.Start(t.Context())
	return m
}

func TestTargetsAreUpBeforeTheFirstProbe(t *testing.T) {
	m := create(t, Config{Targets: targets(2)})
	for i, s := range m.Snapshot() {
		if s.Target != targets(2)[i] || !s.Up() || s.Proven || s.Since.IsZero() || !s.LastProbe.IsZero() {
			t.Errorf("got %+v", s)
		}
	}
}

func TestEachTransitionIsToldOnceInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		var m *Monitor
		m = create(t, Config{
			Check:   Check{Path: "/healthz", Interval: time.Second, Timeout: 500 * time.Millisecond},
			Targets: targets(1),
			Dial:    dialTo(sequence(good, ill, ill, good, ill, stuck, ill, ill, good, stuck, good, good, good)),
			OnChange: func(e Event) {
				s := m.Snapshot()[0]
				if s.Up() != e.Up || s.Target != e.Target || !s.Since.Equal(e.At) || s.Result != e.Reason {
					t.Errorf("told %+v while the snapshot says %+v", e, s)
				}
				got = append(got, fmt.Sprintf("%s up=%v after %d: %s", e.Target.ID, e.Up, e.Count, e.Reason))
			},
		})
		m.Start(t.Context())
		time.Sleep(time.Minute)
		m.Close()
		want := []string{
			"s0 up=false after 3: GET /healthz: 503 Service Unavailable",
			"s0 up=true after 2: GET /healthz: 200 OK",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestFirstFailureTakesDownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var events []Event
		m := start(t, Config{
			Check:    Check{Interval: time.Second, Timeout: 300 * time.Millisecond},
			Targets:  targets(1),
			Dial:     dialTo(sequence(stuck)),
			OnChange: func(e Event) { events = append(events, e) },
		})
		time.Sleep(10 * time.Second)
		m.Close()
		if len(events) != 1 || events[0].Up || events[0].Count != 1 || events[0].Reason != "GET /: timeout after 300ms" {
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
		m := start(t, Config{
			Check:   Check{Path: "/healthz", Interval: time.Second, Timeout: 500 * time.Millisecond, Fall: 2},
			Targets: targets(2),
			Dial: dialTo(func(address string) string {
				time.Sleep(20 * time.Millisecond)
				if sick.Load() && strings.HasPrefix(address, "s1.") {
					return ill
				}
				return good
			}),
		})
		created := time.Now()
		time.Sleep(30 * time.Second)
		sick.Store(true)
		turned := time.Now()
		time.Sleep(30 * time.Second)

		s := m.Snapshot()
		for i := range s {
			if s[i].Duration != 20*time.Millisecond || time.Since(s[i].LastProbe) > 1300*time.Millisecond ||
				s[i].Probes < 48 || s[i].Probes > 76 {
				t.Errorf("got %+v", s[i])
			}
		}
		well, failing := s[0], s[1]
		if !well.Up() || !well.Since.Equal(created) || well.Result != "GET /healthz: 200 OK" ||
			well.Failed != 0 || uint64(well.Successes) != well.Probes || well.Failures != 0 {
			t.Errorf("the healthy target: %+v", well)
		}
		if failing.Up() || failing.Result != "GET /healthz: 503 Service Unavailable" ||
			uint64(failing.Failures) != failing.Failed || failing.Failed < 24 || failing.Successes != 0 {
			t.Errorf("the failing target: %+v", failing)
		}
		if took := failing.Since.Sub(turned); took < 0 || took > 2500*time.Millisecond {
			t.Errorf("two failures at 1 s took %v", took)
		}
	})
}

func TestProbesAreSpacedAndNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		began := time.Now()
		var mu sync.Mutex
		starts := map[string][]time.Time{}
		inFlight := map[string]int{}
		respond := dialTo(sequence(good))
		m := start(t, Config{
			Check:   Check{Interval: time.Second, Timeout: time.Second},
			Targets: targets(n),
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				mu.Lock()
				starts[address] = append(starts[address], time.Now())
				inFlight[address]++
				if inFlight[address] > 1 {
					t.Errorf("%s is probed twice at a time", address)
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
		})
		time.Sleep(20 * time.Second)
		m.Close()
		firsts := map[time.Duration]bool{}
		for address, at := range starts {
			first := at[0].Sub(began)
			firsts[first] = true
			if first > 200*time.Millisecond {
				t.Errorf("%s was first probed after %v", address, first)
			}
			for i := 1; i < len(at); i++ {
				if gap := at[i].Sub(at[i-1]); gap < 800*time.Millisecond || gap > 1200*time.Millisecond {
					t.Errorf("%s: %v between two probes", address, gap)
				}
			}
		}
		if len(starts) != n || len(firsts) < n/2 {
			t.Errorf("%d targets began at %d different moments", len(starts), len(firsts))
		}
	})
}

func TestOnChangeIsCalledSerially(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20
		var inside, calls int
		m := start(t, Config{
			Check:   Check{Interval: time.Second, Timeout: 100 * time.Millisecond, Rise: 1, Fall: 1},
			Targets: targets(n),
			Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("gone") },
			OnChange: func(Event) { // unguarded: the race detector watches too
				inside++
				calls++
				if inside != 1 {
					t.Errorf("%d calls at a time", inside)
				}
				time.Sleep(time.Second)
				inside--
			},
		})
		time.Sleep(500 * time.Millisecond) // the first call is under way, the others wait
		synctest.Wait()
		for _, s := range m.Snapshot() { // which holds up no reader
			if s.Up() {
				t.Errorf("%s is still up", s.Target.ID)
			}
		}
		time.Sleep(time.Minute)
		m.Close()
		if calls != n {
			t.Errorf("%d calls for %d transitions", calls, n)
		}
	})
}

func TestCloseWaitsForOneCallOfOnChangeAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, over int
		m := start(t, Config{
			Targets: targets(20),
			Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("gone") },
			OnChange: func(Event) {
				calls++
				time.Sleep(time.Minute)
				over++
			},
		})
		time.Sleep(time.Second) // the first call is under way, the others wait
		began := time.Now()
		m.Close()
		if took := time.Since(began); calls != 1 || over != 1 || took > time.Minute {
			t.Errorf("%d calls, %d of them over, after %v", calls, over, took)
		}
	})
}

func TestPanickingProbeIsAFailureAndProbingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		respond := dialTo(sequence(good))
		var got []bool
		m := start(t, Config{
			Targets: targets(1),
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					panic("boom")
				}
				return respond(ctx, network, address)
			},
			OnChange: func(e Event) { got = append(got, e.Up) },
		})
		time.Sleep(time.Minute)
		m.Close()
		if !slices.Equal(got, []bool{false, true}) || m.Snapshot()[0].Failed != 1 {
			t.Errorf("transitions %v, then %+v", got, m.Snapshot()[0])
		}
	})
}

func TestCloseBreaksOffProbes(t *testing.T) {
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
					m := create(t, Config{
						Check:    Check{Interval: time.Hour, Timeout: time.Hour},
						Targets:  targets(3),
						Dial:     tt.dial,
						OnChange: func(e Event) { t.Errorf("told %+v", e) },
					})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					m.Start(ctx)
					time.Sleep(time.Minute) // all are hanging

					began := time.Now()
					if by == "context" {
						cancel()
					}
					m.Close()
					m.Close()
					if took := time.Since(began); took != 0 {
						t.Errorf("took %v", took)
					}
					for _, s := range m.Snapshot() {
						if !s.Up() || s.Probes != 0 {
							t.Errorf("a probe that was broken off counted: %+v", s)
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
		run  func(*Monitor, context.Context)
		want int64 // probes of one target in half an interval
	}{
		{"twice", func(m *Monitor, ctx context.Context) { m.Start(ctx); m.Start(ctx) }, 1},
		{"after Close", func(m *Monitor, ctx context.Context) { m.Close(); m.Start(ctx) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int64
				m := create(t, Config{Targets: targets(1), Dial: func(context.Context, string, string) (net.Conn, error) {
					dials.Add(1)
					return nil, errors.New("gone")
				}})
				tt.run(m, t.Context())
				time.Sleep(time.Second)
				m.Close()
				if dials.Load() != tt.want {
					t.Errorf("%d probes, want %d", dials.Load(), tt.want)
				}
			})
		})
	}
}

// The whole of it over real sockets and with the default dialer: a server that
// is ill from the start, recovers and falls ill again.
func TestMonitorOverLoopback(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()

	events := make(chan Event, 10)
	start(t, Config{
		Check:    Check{Interval: 50 * time.Millisecond, Timeout: 50 * time.Millisecond},
		Targets:  []Target{{ID: "a", Address: server.Listener.Addr().String()}},
		OnChange: func(e Event) { events <- e },
	})
	for _, up := range []bool{false, true, false} {
		select {
		case e := <-events:
			if e.Up != up {
				t.Fatalf("got %+v, want up=%v", e, up)
			}
		case <-time.After(patience):
			t.Fatalf("no event, want up=%v", up)
		}
		if up {
			status.Store(http.StatusServiceUnavailable)
		} else {
			status.Store(http.StatusOK)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m, err := New(Config{Targets: targets(100)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(m.Snapshot()) != 100 {
			b.Fatal("targets missing")
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
