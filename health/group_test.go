package health

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A member's whole way: out after failures in a row, on trial, out for longer,
// on trial, back for good, forgiven.
func TestEjectionAndTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []Event
		g := start(t, Options{Ejection: usual(), OnEvent: func(e Event) { events = append(events, e) }}, 3)
		m := of(t, g, "s0")
		report(m, "----+----")
		expect(t, g, "four in a row", "live/1 live/1 live/1")
		report(m, "-")
		expect(t, g, "five in a row", "ejected/0x1 live/1 live/1")
		report(m, "+++-----+")
		expect(t, g, "whatever comes then", "ejected/0x1 live/1 live/1")
		time.Sleep(27*time.Second - 1)
		expect(t, g, "too early", "ejected/0x1 live/1 live/1")
		time.Sleep(3*time.Second + 2)
		expect(t, g, "on trial", "live/1x1? live/1 live/1")
		report(m, "-")
		expect(t, g, "failed on trial", "ejected/0x2 live/1 live/1")
		time.Sleep(time.Minute)
		expect(t, g, "on trial again", "live/1x2? live/1 live/1")
		report(m, "+----")
		expect(t, g, "trial ended", "live/1x2 live/1 live/1")
		time.Sleep(30 * time.Second)
		expect(t, g, "calm", "live/1x1 live/1 live/1")
		time.Sleep(30 * time.Second)
		expect(t, g, "forgiven", "live/1 live/1 live/1")
		g.Close()
		var got told
		for _, e := range events {
			got.add(e)
			if length := e.Until.Sub(e.At); e.Is == Ejected &&
				(length > time.Duration(e.Ejections)*30*time.Second || length < time.Duration(e.Ejections)*27*time.Second) {
				t.Errorf("%+v: for %v", e, length)
			}
		}
		if want := []string{
			"s0 live>ejected: 5 failures in a row",
			"s0 ejected>live: ejection over, on trial",
			"s0 live>ejected: failed on trial",
			"s0 ejected>live: ejection over, on trial",
		}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

// Results of attempts from before an ejection neither fail a trial nor pass it.
func TestLateResultsDecideNoTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, Options{Ejection: Ejection{Consecutive: 5}}, 2)
		m := of(t, g, "s0")
		report(m, "-----")
		time.Sleep(31 * time.Second)
		const old = 32 * time.Second
		for range 10 {
			m.Report(false, old)
			m.Report(true, old)
		}
		expect(t, g, "late results", "live/1x1? live/1")
		time.Sleep(time.Second)
		m.Report(false, time.Second/2)
		expect(t, g, "a result in time", "ejected/0x2 live/1")
	})
}

func TestWindowsEject(t *testing.T) {
	for _, tt := range []struct {
		name   string
		e      Ejection
		sick   func(i int) (ok bool, latency time.Duration)
		want   string
		reason string
	}{
		{"30 % failures", Ejection{FailurePercent: 25}, func(i int) (bool, time.Duration) { return i%10 >= 3, time.Millisecond }, "ejected", "requests failed"},
		{"10 % failures", Ejection{FailurePercent: 25}, func(i int) (bool, time.Duration) { return i%10 >= 1, time.Millisecond }, "live", "new"},
		{"ten times as slow", Ejection{LatencyFactor: 5}, func(int) (bool, time.Duration) { return true, 10 * time.Millisecond }, "ejected", "the others' is 1"},
		{"slow, not asked", Ejection{FailurePercent: 25}, func(int) (bool, time.Duration) { return true, 10 * time.Millisecond }, "live", "new"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tt.e.Base = 3 * time.Second // so that it is back before its window is over
			g := start(t, Options{Ejection: tt.e}, 4)
			shares := g.Shares()
			began := time.Now()
			for i := range 600 { // 200 a second for each member
				for _, s := range shares[1:] {
					s.Member.Report(true, time.Millisecond)
				}
				shares[0].Member.Report(tt.sick(i))
				time.Sleep(5 * time.Millisecond)
			}
			s := g.Snapshot()
			if got := s[0]; got.Standing.String() != tt.want || !strings.Contains(got.Reason, tt.reason) || got.Standing == Ejected && got.Since.Sub(began) > 1500*time.Millisecond {
				t.Errorf("%s: %+v", tt.name, got)
			}
			if w := s[1].Window; w.Requests != 600 || w.Failures != 0 || w.Median < 900*time.Microsecond || w.Median > 1100*time.Microsecond {
				t.Errorf("%s: window %+v", tt.name, w)
			}
			if s[0].Standing != Ejected {
				return
			}
			time.Sleep(2 * time.Second)
			report(shares[0].Member, "+")
			time.Sleep(2 * time.Second)
			if got := g.Snapshot()[0]; got.Standing != Live || got.Window.Requests != 1 {
				t.Errorf("%s: what it was ejected for is held against it again: %+v", tt.name, got)
			}
		})
	}
}

func TestRoomForEjections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, Options{Ejection: Ejection{Consecutive: 1}}, 7)
		for _, s := range g.Shares() {
			report(s.Member, "-")
		}
		expect(t, g, "30 % of seven are two", "ejected/0x1 ejected/0x1"+strings.Repeat(" live/1", 5))
		time.Sleep(31 * time.Second)
		// Two others get their turn, and keep it, as they are still failing.
		expect(t, g, "later", "live/1x1? live/1x1? ejected/0x1 ejected/0x1 live/1 live/1 live/1")
		g.Close()

		g = start(t, Options{Ejection: Ejection{Consecutive: 1, MaxEjected: 100}}, 3)
		for _, s := range g.Shares() {
			report(s.Member, "-")
		}
		expect(t, g, "never the last", "ejected/0x1 ejected/0x1 live/1")
		g.Close()

		g = start(t, Options{Ejection: Ejection{Consecutive: 1, MaxEjected: 100}}, 3)
		synctest.Wait()
		for _, s := range g.Shares() {
			s.Member.Report(false, 0)
		}
		expect(t, g, "even where all are due at once", "ejected/0x1 ejected/0x1 live/1")
		g.Close()

		g = start(t, Options{Ejection: Ejection{Consecutive: 1, MaxEjected: 100}}, 3)
		g.Drain("s1", true)
		report(of(t, g, "s0"), "-")
		report(of(t, g, "s2"), "-")
		report(of(t, g, "s1"), "-")
		expect(t, g, "nor the last beside drained ones", "ejected/0x1 drained/0 live/1")
		g.Drain("s1", false)
		expect(t, g, "until there is another", "ejected/0x1 live/1 ejected/0x1")
	})
}

// A good check does not end an ejection, a bad one outlives it, and a member
// that is down already is not ejected as well.
func TestChecksAndEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sick atomic.Bool
		g := start(t, Options{
			Check:    &Check{Interval: time.Second},
			Ejection: Ejection{Consecutive: 5},
			Dial: dialTo(func(address string) string {
				if sick.Load() && address == "s0.example:80" {
					return ill
				}
				return good
			}),
		}, 2)
		m := of(t, g, "s0")
		time.Sleep(5 * time.Second)
		report(m, "-----")
		time.Sleep(15 * time.Second)
		expect(t, g, "good checks all the while", "ejected/0x1 live/1")
		sick.Store(true)
		time.Sleep(5 * time.Second)
		expect(t, g, "bad checks too", "down/0x1 live/1")
		time.Sleep(15 * time.Second)
		expect(t, g, "down beyond the ejection", "down/0x1? live/1")
		report(m, "-----")
		expect(t, g, "failures of one that is down", "down/0x1? live/1")
		sick.Store(false)
		time.Sleep(3 * time.Second)
		expect(t, g, "its trial comes when it is back", "live/1x1? live/1")
		report(m, "-")
		expect(t, g, "and can be failed", "ejected/0x2 live/1")
	})
}

// A server that was started anew is back as soon as its checks say so; one that
// goes and comes is not.
func TestChecksBringBackWhatTheySawGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sick atomic.Bool
		g := start(t, Options{
			Check: &Check{Interval: time.Second}, Ejection: Ejection{Consecutive: 5},
			Dial: dialTo(func(address string) string {
				if sick.Load() && address == "s0.example:80" {
					return ill
				}
				return good
			}),
		}, 2)
		time.Sleep(2 * time.Second)
		for _, want := range []string{"live/1x1? live/1", "ejected/0x2 live/1"} {
			sick.Store(true)
			report(of(t, g, "s0"), "-----")
			time.Sleep(3 * time.Second)
			sick.Store(false)
			time.Sleep(3 * time.Second)
			expect(t, g, "checks are good again", want)
		}
	})
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var factors []float64
		var at []time.Time
		g := start(t, Options{
			Ejection:  Ejection{Consecutive: 1},
			SlowStart: 20 * time.Second,
			OnChange: func(s []Share) {
				factors = append(factors, s[0].Factor)
				at = append(at, time.Now())
			},
		}, 2)
		synctest.Wait()
		report(of(t, g, "s0"), "-")
		time.Sleep(30 * time.Second)
		report(of(t, g, "s0"), "+")
		time.Sleep(time.Minute)
		g.Close()
		want := []float64{1, 0, 0.01}
		for i := range 20 {
			want = append(want, float64(i+1)/20)
		}
		if !slices.Equal(factors, want) {
			t.Fatalf("got %v", factors)
		}
		if took := at[len(at)-1].Sub(at[2]); took != 20*time.Second {
			t.Errorf("the ramp took %v", took)
		}
	})
}

// Where nobody has a full share, nobody is spared.
func TestNoSlowStartAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, Options{SlowStart: time.Minute}, 2)
		synctest.Wait()
		g.Drain("s0", true)
		g.Drain("s1", true)
		synctest.Wait()
		g.Drain("s0", false)
		expect(t, g, "the first to return", "live/1 drained/0")
		g.Drain("s1", false)
		expect(t, g, "the second", "live/1 live/0.01")
		time.Sleep(30 * time.Second)
		expect(t, g, "half way", "live/1 live/0.5")
		g.Drain("s0", true)
		expect(t, g, "alone again", "drained/0 live/1")
	})
}

func TestSetKeepsWhatItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events told
		var shares []Share
		g := start(t, Options{
			Ejection: Ejection{Consecutive: 5}, SlowStart: time.Hour,
			OnChange: func(s []Share) { shares = s }, OnEvent: events.add,
		}, 3)
		m := of(t, g, "s0")
		gone := of(t, g, "s2")
		report(m, "-----")
		g.Drain("s1", true)
		synctest.Wait() // or its event may come after those of Set
		next := targets(5)[:4]
		next[2].Address = "moved.example:80"
		if err := g.Set([]Target{next[3], next[2], next[1], next[0]}); err != nil {
			t.Fatal(err)
		}
		// s2 has another address, so it is another member. Nobody was live
		// beside s2, so that nobody has to be spared.
		expect(t, g, "after Set", "live/1 live/1 drained/0 ejected/0x1")
		if shares[3].Member != m || shares[1].Member == gone || shares[1].Member.Address() != "moved.example:80" {
			t.Errorf("told %+v", shares)
		}
		report(gone, "----------")
		report(m, "-----")
		time.Sleep(31 * time.Second)
		expect(t, g, "later", "live/1 live/1 drained/0 live/0.01x1?")
		if err := g.Set(append(next[:4:4], Target{ID: "s4"})); err == nil || !strings.Contains(err.Error(), `target "s4"`) {
			t.Errorf("a fault: %v", err)
		}
		expect(t, g, "after a fault", "live/1 live/1 drained/0 live/0.01x1?")
		if err := g.Set(targets(0)); err != nil {
			t.Fatal(err)
		}
		expect(t, g, "nobody", "")
		if shares == nil || len(shares) != 0 {
			t.Errorf("told %v", shares)
		}
		if g.Drain("s0", true) {
			t.Error("one that is gone is drained")
		}
		g.Close()
		if want := []string{
			"s0 live>ejected: 5 failures in a row", "s1 live>drained: drained",
			"s3 unchecked>live: new", "s2 unchecked>live: new", "s0 ejected>live: ejection over, on trial",
		}; !slices.Equal(events, want) {
			t.Errorf("got %q", events)
		}
	})
}

// New members wait for their first good check, but not where nobody else is
// live; and a check under way when its member leaves changes nothing.
func TestNewMembersAreCheckedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := map[string]chan string{}
		var mu sync.Mutex
		var dials atomic.Int64
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			mu.Lock()
			ch := release[address]
			mu.Unlock()
			if ch == nil {
				return dialTo(sequence(good))(ctx, network, address)
			}
			return dialTo(sequence(<-ch))(ctx, network, address)
		}
		g := start(t, Options{Check: &Check{}, Dial: dial, SlowStart: 20 * time.Second}, 1)
		time.Sleep(time.Second)
		mu.Lock()
		for _, target := range targets(6)[1:] {
			release[target.Address] = make(chan string)
		}
		mu.Unlock()
		_ = g.Set(targets(4))
		time.Sleep(500 * time.Millisecond)
		expect(t, g, "checks under way", "live/1 unchecked/0 unchecked/0 unchecked/0")
		release["s1.example:80"] <- good
		release["s2.example:80"] <- ill
		expect(t, g, "one good, one ill", "live/1 live/0.01 down/0 unchecked/0")
		_ = g.Set(targets(3))
		release["s3.example:80"] <- ill
		_ = g.Set(targets(4)[3:])
		expect(t, g, "alone", "live/1")
		release["s3.example:80"] <- ill
		expect(t, g, "its own first check", "down/0")
		_ = g.Set(nil)
		before := dials.Load()
		time.Sleep(time.Minute)
		if n := dials.Load() - before; n != 0 {
			t.Errorf("%d checks of nobody", n)
		}
	})
}

// The result of a check can be on its way when its member leaves.
func TestResultOfOneThatHasLeft(t *testing.T) {
	g := create(t, Options{Check: &Check{}}, 1)
	m := of(t, g, "s0")
	_ = g.Set(nil)
	if g.take(result{m: m}); m.checks != (Checks{}) {
		t.Errorf("%+v", m.checks)
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := create(t, Options{}, 2)
		drained := targets(3)
		drained[2].Drained = true
		_ = g.Set(drained)
		if !g.Drain("s0", true) || g.Drain("x", true) {
			t.Error("there is an s0 and no x")
		}
		expect(t, g, "before Start", "drained/0 live/1 drained/0")
		g.Start(t.Context())
		g.Drain("s0", false)
		g.Drain("s2", false)
		expect(t, g, "a target's word stands", "live/1 live/1 drained/0")
		_ = g.Set(targets(3))
		expect(t, g, "until Set", "live/1 live/1 live/1")
	})
}
