package proxy

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/accesslog"
)

// reload has the site's handler go by its options, as change has changed them.
func (s *site) reload(change func(*Options)) {
	o := s.h.snap.Load().Options
	o.Routes = append([]Route(nil), o.Routes...)
	change(&o)
	s.h.Reload(o)
}

// What is stored stays, options count from the next request on, and one that
// waits for its answer, with all who share it, ends by those it began with.
func TestReload(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60", "answer")
		if r.Target == "/slow" {
			a.Hold = hold
		}
		return a.With("X-Request-Id", "echo").With("X-Other-Id", "echo")
	}, withIDs)
	s.get("/hit")
	s.stored(1)
	slow := s.begin("/slow")
	s.reached(2)
	s.reload(func(o *Options) {
		o.RequestID, o.MaxObject = "X-Other-Id", 1
		o.Routes[0].Cache = CacheOff
		second := o.Routes[0]
		second.PathPrefix, second.Cache = "/hit", CacheOn
		o.Routes = append(o.Routes, second)
	})
	if r := s.get("/hit"); !r.says("hit") {
		t.Errorf("after a reload: %s", r)
	}
	if r := s.get("/other"); r.status != 200 || r.says("stored") || r.header.Get("X-Other-Id") == "" || r.header.Get("X-Request-Id") != "echo" {
		t.Errorf("by the new options: %s", r)
	}
	hold <- struct{}{}
	if r := <-slow; r.status != 200 || r.header.Get("X-Request-Id") == "echo" || r.header.Get("X-Other-Id") != "echo" {
		t.Errorf("by the old ones: %s", r)
	}
	s.stored(2)
	s.reload(func(o *Options) { o.Routes[0].Cache, o.RequestID = CacheOn, "" })
	if r := s.get("/slow"); !r.says("hit") {
		t.Errorf("stored by a fill that a reload has overtaken: %s", r)
	}
	if r := s.get("/large"); r.body != "answer" || r.says("stored") {
		t.Errorf("%s", r)
	}
	waitFor(t, "the fill to end", func() bool { return s.h.View().Flights.Flights == 0 })
	if r := s.get("/large"); r.says("hit") {
		t.Errorf("larger than may be stored by now: %s", r)
	}
	s.reload(func(o *Options) { o.MaxFills = 1 })
	again := s.begin("/slow", "Cache-Control: no-cache")
	s.waiting(1)
	s.get("/beyond")
	if n := s.h.View().Flights.RefusedFlights; n != 1 {
		t.Errorf("%d fills beyond the one that is allowed by now", n)
	}
	hold <- struct{}{}
	<-again
	s.reload(func(o *Options) { o.Routes = nil })
	if r := s.get("/hit"); r.status != 404 {
		t.Errorf("without routes: %s", r)
	}
}

// A request's line is in the log that there is when it ends.
func TestReloadAccessLog(t *testing.T) {
	open := func(name string) (*accesslog.Log, string) {
		path := filepath.Join(t.TempDir(), name)
		format, err := accesslog.ParseFormat("{target}")
		if err != nil {
			t.Fatal(err)
		}
		l, err := accesslog.New(accesslog.Options{Path: path, Format: format, Sample: 1, Flush: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		l.Start()
		return l, path
	}
	first, firstPath := open("first")
	second, secondPath := open("second")
	hold := make(chan struct{})
	s := newSite(t, always(origin.Answer{Hold: hold, Body: []byte("x")}), func(o *Options) { o.AccessLog = first })
	slow := s.begin("/slow")
	s.reached(1)
	s.reload(func(o *Options) { o.AccessLog = second })
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(hold)
	<-slow
	waitFor(t, "its line", func() bool { return second.Stats().Lines == 1 }) // which comes after the answer
	s.get("/next")
	waitFor(t, "two lines", func() bool { return second.Stats().Lines == 2 })
	s.reload(func(o *Options) { o.AccessLog = nil })
	s.get("/last")
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{firstPath: "", secondPath: "/slow\n/next\n"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

// Fewer tunnels, and shorter ones, from the next one on.
func TestReloadTunnels(t *testing.T) {
	ts := newTunnels(2, time.Hour, time.Hour)
	for i := range 3 {
		if got := ts.reserve(); got != (i < 2) {
			t.Fatalf("place %d: %v", i+1, got)
		}
	}
	ts.release()
	ts.reconfigure(1, time.Minute, time.Second)
	if ts.reserve() {
		t.Error("a second place")
	}
	if tunnel := ts.begin(func() {}); tunnel.timeout != time.Minute {
		t.Errorf("timeout %v", tunnel.timeout)
	}
	ts.release()
}

// A route that is the same by name goes on with what it has logged.
func TestReloadKeepsFailureLogs(t *testing.T) {
	s := newSite(t, always(origin.Text("", "")))
	s.get("/")
	before := s.h.snap.Load().routes[0].failures
	s.reload(func(o *Options) { o.Routes[0].RangeFill = 7 })
	if now := s.h.snap.Load().routes[0]; now.failures != before || now.RangeFill != 7 {
		t.Error("not the same")
	}
	s.reload(func(o *Options) { o.Routes[0].PathPrefix = "/a" })
	if s.h.snap.Load().routes[0].failures == before {
		t.Error("the same")
	}
}
