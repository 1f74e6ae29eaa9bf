package drill

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// Every fate is seen, counted once, and told from the others.
func TestBarrageSeesFates(t *testing.T) {
	var opened atomic.Int64
	o, err := origin.Start(origin.Options{Name: "me", Script: func(r origin.Request) origin.Answer {
		opened.Store(max(opened.Load(), int64(r.Conn)))
		a := origin.Answer{Size: bodySize}
		switch r.Path() {
		case "/0":
			a.Status = 503
		case "/1":
			a.Cut, a.CutAfter = true, 500
		case "/2":
			a.Cut, a.CutAfter, a.Framing = true, 500, origin.Chunked
		case "/3":
			a.Body = []byte(strings.Repeat("x", bodySize))
		case "/4":
			a.Size = bodySize + 1
		case "/5":
			a.Raw, a.Ending = []byte{}, origin.Drop
		}
		return a
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	b := fire(t.Context(), o.Addr(), 2000)
	ok, err := until(t.Context(), startTime, func() bool { return o.Record().Total >= keyCount })
	if !ok || err != nil {
		t.Fatalf("%d requests, %v", o.Record().Total, err)
	}
	fates := map[fate]int{}
	all := shots(b.end())
	for i, s := range all {
		if s.key != i%keyCount || s.sent < s.at || s.ended < s.sent {
			t.Fatalf("request %d: %+v", i, *s)
		}
		if i < keyCount {
			fates[s.fate]++
			if (s.err == nil) != (s.fate == whole) || (s.by == "me") != (s.fate != unanswered) {
				t.Errorf("key %d: %s, by %q, %v", s.key, s.fate, s.by, s.err)
			}
		}
	}
	for f, want := range map[fate]int{refused: 1, cut: 2, wrong: 2, unanswered: 1, whole: keyCount - 6} {
		if fates[f] != want {
			t.Errorf("%s: %d, want %d", f, fates[f], want)
		}
	}
	if n := o.Record().Total; n != len(all) {
		t.Errorf("%d requests were sent, and %d noted", n, len(all))
	}
}

// A server that says nothing for a while does not keep the others from being
// sent, and its own count from when they were meant to be.
func TestBarrageIsOpen(t *testing.T) {
	gate := make(chan struct{})
	o, err := origin.Start(origin.Options{Script: func(r origin.Request) origin.Answer {
		return origin.Answer{Size: bodySize, Hold: gate}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	b := fire(t.Context(), o.Addr(), 500, "?a=1", "?a=2")
	if ok, err := until(t.Context(), startTime, func() bool { return o.Record().Total >= 50 }); !ok || err != nil {
		t.Fatalf("%d requests while nothing is answered, %v", o.Record().Total, err)
	}
	opened := b.now()
	close(gate)
	all := shots(b.end())
	if all[0].took() < opened || all.percentile(0) > all.percentile(99) || len(all.slow(opened)) == 0 || all.atOnce() < 50 {
		t.Errorf("the first took %s of %s; at once %d", all[0].took(), opened, all.atOnce())
	}
	if r := o.Record(); r.Targets["/0?a=1"].Total == 0 || r.Targets["/1?a=2"].Total == 0 {
		t.Errorf("targets %v", r.Targets)
	}
}

func TestBarrageWithoutServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	b := fire(ctx, "127.0.0.1:1", 100)
	<-ctx.Done()
	all := shots(b.end())
	if len(all) == 0 || len(all.lost()) != len(all) || !strings.Contains(all.example(), "not answered: dial") {
		t.Errorf("%d requests%s", len(all), all.example())
	}
}

func TestShots(t *testing.T) {
	const ms = time.Millisecond
	all := shots{
		{key: 0, at: 0, sent: 0, ended: 10 * ms, fate: whole, by: "a"},
		{key: 1, at: 5 * ms, sent: 5 * ms, ended: 9 * ms, fate: whole, by: "b"},
		{key: 2, at: 10 * ms, sent: 12 * ms, ended: 40 * ms, fate: refused, by: "b"},
	}
	if got := all.during(span{5 * ms, 10 * ms}); len(got) != 1 || got[0].key != 1 {
		t.Errorf("during: %v", got)
	}
	if len(all.by("b")) != 2 || len(all.lost()) != 1 || len(all.slow(10*ms)) != 1 || all.atOnce() != 2 {
		t.Errorf("by %d, lost %d, slow %d, at once %d", len(all.by("b")), len(all.lost()), len(all.slow(10*ms)), all.atOnce())
	}
	if all.percentile(99) != 30*ms || all.percentile(0) != 4*ms || shots(nil).percentile(99) != 0 {
		t.Errorf("percentiles %s, %s", all.percentile(0), all.percentile(99))
	}
}

func TestKeysThatMove(t *testing.T) {
	var before, now [keyCount]string
	for key := range before {
		before[key] = serverNames[key%len(serverNames)]
	}
	now = before
	for key := range now {
		if now[key] == "a" {
			now[key] = "b"
		}
	}
	if own, others := moved(before, now, "a"); own != keyCount/5 || others != 0 || keysOf(before, "a") != keyCount/5 {
		t.Errorf("moved: %d and %d", own, others)
	}
	var f farm
	f.onlyItsOwnMoved(before, now, "a")
	f.onlyItsOwnMoved(before, before, "a") // it still has them
	f.onlyItsOwnMoved(before, now, "b")
	if failed := len(f.Failed()); failed != 2 {
		t.Errorf("%d failed, want 2: %+v", failed, f.Lines)
	}
}

// A server listens, does as it is told, ends, and comes back where it was.
func TestServerIsTold(t *testing.T) {
	if _, err := startServer(t.Context(), "true", "a", 0); err == nil {
		t.Error("a program that is no server is one")
	}
	control, err := origin.NewControl(origin.Answer{Size: bodySize})
	if err != nil {
		t.Fatal(err)
	}
	o, err := origin.Start(origin.Options{Script: control.Script})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := &server{name: "a", addr: o.Addr()}
	if err := s.tell(t.Context(), "status=503"); err != nil {
		t.Error(err)
	}
	if err := s.tell(t.Context(), "status=1"); err == nil {
		t.Error("told nonsense")
	}
	if a := control.Script(origin.Request{Method: "GET", Target: "/"}); a.Status != 503 {
		t.Errorf("answers %+v", a)
	}
	if n, err := s.requests(t.Context()); n != 1 || err != nil {
		t.Errorf("%d requests, %v", n, err)
	}
}
