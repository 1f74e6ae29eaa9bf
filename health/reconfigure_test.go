package health

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// standings are those of all members, by their first letters.
func standings(g *Group) string {
	var b strings.Builder
	for _, s := range g.Snapshot() {
		b.WriteString(s.Standing.String()[:2])
	}
	return b.String()
}

// A member that is out stays out whatever else is reconfigured, and comes back by
// the rules that hold by then.
func TestReconfigureKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		check := Check{Path: "/a", Interval: time.Second, Timeout: 500 * time.Millisecond}
		o := Options{Check: &check, Ejection: Ejection{Consecutive: 2, Base: time.Minute, Max: time.Minute, MaxEjected: 100}}
		var isWell atomic.Bool
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "s0.example:80" && !isWell.Load() {
				return refuse(ctx, network, address)
			}
			return dialTo(sequence(good))(ctx, network, address)
		}
		g := start(t, o, 3)
		for range 2 {
			g.Shares()[1].Member.Report(false, time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if got := standings(g); got != "doejli" {
			t.Fatalf("before: %s", got)
		}
		since := g.Snapshot()[0].Since
		other := check
		other.Path, other.Rise = "/b", 3
		o.Check, o.SlowStart, o.Ejection.Consecutive = &other, time.Second, 4
		if err := g.Reconfigure(o); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			if got := standings(g); got != "doejli" {
				t.Fatalf("reconfigured: %s", got)
			}
		}
		time.Sleep(5 * time.Second)
		if s := g.Snapshot()[0]; !s.Since.Equal(since) || !strings.Contains(s.Checks.Result, "/b") && !strings.Contains(s.Checks.Result, "gone") {
			t.Errorf("%+v", s)
		}
		for range 3 {
			g.Shares()[2].Member.Report(false, time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if got := standings(g); got != "doejli" {
			t.Errorf("after three of four failures: %s", got)
		}
		g.Shares()[2].Member.Report(false, time.Millisecond)
		isWell.Store(true)
		time.Sleep(10 * time.Second)
		if got := standings(g); got != "liejej" {
			t.Errorf("after four: %s", got)
		}
	})
}

// A check of another kind decides alone: what the old one comes to late changes
// nothing, and without any check nobody is down.
func TestReconfigureChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		old := Options{Check: &Check{Interval: time.Hour, Timeout: 10 * time.Minute}, Dial: func(ctx context.Context, n, a string) (net.Conn, error) {
			<-release // heeds no context, as a system call may not
			return refuse(ctx, n, a)
		}}
		g := start(t, old, 1)
		time.Sleep(time.Second) // its check hangs
		before := g.rules.check
		next := old
		next.Check = &Check{Kind: TCP, Interval: time.Hour}
		if err := g.Reconfigure(next); err != nil {
			t.Fatal(err)
		}
		close(release) // the old one fails, and so does the new one
		time.Sleep(time.Second)
		g.take(result{m: g.members[0], check: before, out: outcome{ok: true}}) // as if it had come that moment
		if s := g.Snapshot()[0]; s.Standing != Down || s.Checks.Done != 1 {
			t.Errorf("%+v", s)
		}
		if err := g.Reconfigure(next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := g.Snapshot()[0]; s.Checks.Done != 1 {
			t.Errorf("the same check began anew: %+v", s)
		}
		next.Check = nil
		if err := g.Reconfigure(next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s := g.Snapshot()[0]; s.Standing != Live || s.Checks.Result != "" {
			t.Errorf("without checks: %+v", s)
		}
		if err := g.Reconfigure(old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := g.First(t.Context()); err != nil || g.Snapshot()[0].Checks.Done != 1 {
			t.Errorf("checked again: %v, %+v", err, g.Snapshot()[0])
		}
	})
}

// So many failures in a row as the new rules say, and no fewer, eject a member.
func TestReconfigureEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Ejection: Ejection{Consecutive: 2, MaxEjected: 100}}
		g := start(t, o, 2)
		o.Ejection.Consecutive = 4
		if err := g.Reconfigure(o); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 4; n++ {
			g.Shares()[0].Member.Report(false, time.Millisecond)
			time.Sleep(time.Second)
			if got, want := standings(g), map[bool]string{false: "lili", true: "ejli"}[n == 4]; got != want {
				t.Errorf("after %d failures: %s", n, got)
			}
		}
	})
}

func TestReconfigureRefusesFaults(t *testing.T) {
	g := create(t, Options{SlowStart: time.Second}, 1)
	for what, o := range map[string]Options{
		"check":      {Check: &Check{Path: "no slash"}},
		"slow start": {SlowStart: -1},
		"ejection":   {Ejection: Ejection{FailurePercent: 101}},
	} {
		if err := g.Reconfigure(o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if g.rules.slowStart != time.Second || g.rules.check != nil {
		t.Error("something changed")
	}
}

// Windows are there while a rule looks at them.
func TestReconfigureWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, Options{}, 2)
		report := func() {
			for range 200 {
				g.Shares()[0].Member.Report(false, time.Millisecond)
				g.Shares()[1].Member.Report(true, time.Millisecond)
			}
			time.Sleep(3 * time.Second)
		}
		report()
		if err := g.Reconfigure(Options{Ejection: Ejection{FailurePercent: 20, Window: time.Second, MaxEjected: 100}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if got := standings(g); got != "lili" {
			t.Errorf("for what was before: %s", got)
		}
		report()
		if got := standings(g); got != "ejli" {
			t.Errorf("for what came after: %s", got)
		}
		if err := g.Reconfigure(Options{}); err != nil {
			t.Fatal(err)
		}
		report()
		if s := g.Snapshot()[1]; s.Window != (Tally{}) {
			t.Errorf("%+v", s.Window)
		}
	})
}
