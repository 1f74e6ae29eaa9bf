package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFixedServersNeedNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	d, err := New(Options{
		Entries:  []Entry{{Address: "10.0.0.1:80", Weight: 1}, {Address: "unix:/run/app", Weight: 1}},
		OnChange: func([]Server) { t.Error("told of a change") },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Start(t.Context())
	d.First(t.Context())
	if after := runtime.NumGoroutine(); after != before {
		t.Errorf("%d goroutines, before it %d", after, before)
	}
	d.Close()
	d.Close()
	if got := show(d.Servers()); got != "10.0.0.1:80*1 unix:/run/app*1" {
		t.Errorf("got %s", got)
	}
}

func TestAllAddressesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newScript()
		dns.set("app", "", "10.0.0.2", "fd00::1", "::ffff:10.0.0.1", "10.0.0.2")
		d, r := started(t, dns, 10*time.Second, append([]Entry{{Address: "10.9.9.9:80", Weight: 1}}, host("app")...)...)
		const first = "10.9.9.9:80*1 10.0.0.1:80*1 10.0.0.2:80*1 [fd00::1]:80*1"
		if got := show(d.Servers()); got != "10.9.9.9:80*1" && got != first { // it may have been that fast
			t.Errorf("at the start: %s", got)
		}
		d.First(t.Context())
		if got := show(d.Servers()); got != first {
			t.Errorf("after the first look-up: %s", got)
		}
		time.Sleep(time.Minute)
		dns.set("app", "", "10.0.0.1", "fd00::1", "10.0.0.2") // the same, shuffled
		time.Sleep(time.Minute)
		dns.set("app", "", "10.0.0.3")
		time.Sleep(12 * time.Second)
		changes, errs := r.all()
		expect(t, "changes", changes, []string{first, "10.9.9.9:80*1 10.0.0.3:80*1"})
		expect(t, "errors", errs, nil)
		times := dns.times("app")
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap < 8*time.Second || gap > 12*time.Second {
				t.Errorf("looked up again after %v", gap)
			}
		}
		if s := d.Stats(); s != (Stats{Lookups: uint64(len(times)), Changes: 2}) || len(times) < 11 {
			t.Errorf("%d look-ups, stats %+v", len(times), s)
		}
		if times[1].Sub(times[0]) == times[2].Sub(times[1]) {
			t.Error("the time between look-ups does not vary")
		}
	})
}

func TestFailedLookupsKeepWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newScript()
		dns.set("app", "", "10.0.0.1", "10.0.0.2")
		dns.set("other", "", "10.0.0.9")
		d, r := started(t, dns, time.Second, host("app", "other")...)
		time.Sleep(10 * time.Second)
		before, good := d.Servers(), d.Stats()
		for _, err := range []string{"server misbehaving", "refused", "", "refused"} {
			dns.set("app", err)
			time.Sleep(10 * time.Second)
			if s := d.Stats(); s.Failing != 1 {
				t.Errorf("%q: %d are failing", err, s.Failing)
			}
		}
		dns.set("app", "", "10.0.0.2", "10.0.0.1")
		time.Sleep(10 * time.Second)
		if s := d.Stats(); s.Failing != 0 || s.LookupErrors < 30 || s.LookupErrors > 52 || s.Changes != good.Changes {
			t.Errorf("stats %+v, before the failures %+v", s, good)
		}
		dns.set("app", "refused")
		time.Sleep(10 * time.Second)
		if !slices.Equal(before, d.Servers()) {
			t.Errorf("servers became %s", show(d.Servers()))
		}
		times := dns.times("app")
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap < 800*time.Millisecond {
				t.Errorf("looked up again after %v", gap) // nothing hurries: it is known
			}
		}
		_, errs := r.all()
		expect(t, "errors", errs, []string{
			"look up app: server misbehaving", "look up app: refused", "look up app: no addresses",
			"look up app: refused", "look up app: refused",
		})
	})
}

// The text of a resolver's error may hold the port it asked from.
func TestErrorsThatSayTheSame(t *testing.T) {
	dns := func(text, name string, notFound, timeout bool) error {
		return fmt.Errorf("look up %s: %w", name, &net.DNSError{Err: text, Name: name, IsNotFound: notFound, IsTimeout: timeout})
	}
	for _, c := range []struct {
		a, b error
		want bool
	}{
		{nil, nil, true},
		{nil, errors.New("x"), false},
		{errors.New("x"), nil, false},
		{errors.New("x"), errors.New("x"), true},
		{errors.New("x"), errors.New("y"), false},
		{dns("read udp 127.0.0.1:4001: i/o timeout", "a", false, true), dns("read udp 127.0.0.1:4002: i/o timeout", "a", false, true), true},
		{dns("i/o timeout", "a", false, true), dns("no such host", "a", true, false), false},
		{dns("no such host", "a", true, false), dns("no such host", "b", true, false), false},
		{dns("refused", "a", false, false), errors.New("refused"), false},
	} {
		if got := same(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
}

func TestFirstLookupIsRepeatedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newScript()
		d, r := started(t, dns, 4*time.Second, host("app", "other")...)
		dns.set("other", "", "10.0.0.9")
		d.First(t.Context()) // a failure is an answer too
		time.Sleep(20 * time.Second)
		times := dns.times("app")
		for i, want := range []time.Duration{250, 500, 1000, 2000, 4000, 4000} {
			want *= time.Millisecond
			if gap := times[i+1].Sub(times[i]); gap < want*4/5 || gap > want*6/5 {
				t.Errorf("attempt %d after %v, want %v give or take a fifth", i+2, gap, want)
			}
		}
		dns.set("app", "", "10.0.0.1")
		time.Sleep(5 * time.Second)
		if got := show(d.Servers()); got != "10.0.0.1:80*1 10.0.0.9:80*1" {
			t.Errorf("got %s", got)
		}
		_, errs := r.all()
		expect(t, "errors", errs[:1], []string{"look up app: lookup app: no such host"})
	})
}

func TestLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newScript()
		names := make([]string, 3*maxLookups)
		for i := range names {
			names[i] = fmt.Sprint("silent", i)
			dns.takes[names[i]] = time.Hour
		}
		dns.set("app", "", "10.0.0.1")
		began := time.Now()
		d, r := started(t, dns, time.Minute, append(host(names...), host("app")...)...)
		d.First(t.Context())
		if took := time.Since(began); took < 3*maxTimeout || took > 4*maxTimeout {
			t.Errorf("all names were looked up after %v", took)
		}
		if got := show(d.Servers()); got != "10.0.0.1:80*1" {
			t.Errorf("got %q", got)
		}
		d.Close()
		if dns.top != maxLookups {
			t.Errorf("%d look-ups at a time", dns.top)
		}
		_, errs := r.all()
		if len(errs) != len(names) || !strings.HasSuffix(errs[0], ": context deadline exceeded") {
			t.Errorf("errors %q", errs)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		dns := newScript()
		dns.takes["app"] = time.Hour
		began := time.Now()
		d, _ := started(t, dns, 2*time.Second, host("app")...)
		d.First(t.Context())
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("a look-up took %v", took)
		}
	})
}

func TestServiceIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "_http._tcp.app"
		srv := func(target string, priority, weight uint16) *net.SRV {
			return &net.SRV{Target: target, Port: 8080, Priority: priority, Weight: weight}
		}
		dns := newScript()
		dns.setService(name, srv("b.", 1, 2), srv("a.", 1, 0), srv("c.", 2, 0), srv("d.", 3, 0))
		dns.set("a.", "", "10.0.0.1")
		dns.set("b.", "", "10.0.0.2", "fd00::2")
		dns.set("c.", "", "10.0.0.3")
		d, r := started(t, dns, time.Second, Entry{SRV: name, Weight: 1})
		time.Sleep(10 * time.Second)
		const first = "10.0.0.1:8080*1 10.0.0.2:8080*2 10.0.0.3:8080*1+ [fd00::2]:8080*2"
		if n := len(dns.times("d.")); n > 0 {
			t.Errorf("a target that is not used was looked up %d times", n)
		}
		dns.set("b.", "refused") // keeps its addresses, while a. goes on
		dns.set("a.", "", "10.0.0.5")
		time.Sleep(2 * time.Second)
		const second = "10.0.0.2:8080*2 10.0.0.3:8080*1+ 10.0.0.5:8080*1 [fd00::2]:8080*2"
		dns.setService(name) // no records
		time.Sleep(2 * time.Second)
		dns.setService(name, srv(".", 0, 0)) // decidedly not there
		time.Sleep(2 * time.Second)
		// Records beside an error; b. is gone, and all targets are new.
		dns.setService(name, srv("n.", 0, 7))
		dns.mu.Lock()
		dns.fails[name] = errors.New("one record is malformed")
		dns.takes["n."] = 500 * time.Millisecond
		dns.mu.Unlock()
		dns.set("n.", "", "10.0.0.7")
		time.Sleep(3 * time.Second)
		changes, errs := r.all()
		expect(t, "changes", changes, []string{first, second, "10.0.0.7:8080*1"})
		expect(t, "errors", errs, []string{
			"look up b.: refused", "look up the service _http._tcp.app: no targets",
			"look up the service _http._tcp.app: one record is malformed",
		})
		if got := show(d.Servers()); got != "10.0.0.7:8080*1" {
			t.Errorf("got %s", got)
		}
	})
}

func TestServiceWithoutAnyAddressHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "_http._tcp.app"
		dns := newScript()
		dns.setService(name, &net.SRV{Target: "a.", Port: 1}, &net.SRV{Target: "b.", Port: 1})
		d, r := started(t, dns, time.Minute, Entry{SRV: name, Weight: 1})
		d.First(t.Context())
		_, errs := r.all()
		expect(t, "errors", errs, []string{"look up a.: lookup a.: no such host"})
		dns.set("b.", "", "10.0.0.2")
		time.Sleep(time.Second) // soon, since nothing was known
		if got := show(d.Servers()); got != "10.0.0.2:1*1" {
			t.Errorf("got %q", got)
		}
	})
}

func TestTooManyServersAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many := make([]string, MaxServers+5)
		for i := range many {
			many[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()
		}
		dns := newScript()
		dns.set("app", "", many...)
		d, r := started(t, dns, time.Second, host("app")...)
		time.Sleep(time.Minute)
		if got := d.Servers(); len(got) != MaxServers || got[0].ID != many[0]+":80" {
			t.Errorf("%d servers, the first %v", len(got), got[0])
		}
		_, errs := r.all()
		expect(t, "errors", errs, []string{"4101 servers, more than 4096: the last 5 are left out"})
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(*Discovery, context.CancelFunc){
			"Close":  func(d *Discovery, _ context.CancelFunc) { d.Close(); d.Close() },
			"cancel": func(d *Discovery, cancel context.CancelFunc) { cancel(); d.running.Wait() },
		} {
			dns := newScript()
			dns.set("app", "", "10.0.0.1")
			dns.takes["silent"], dns.lingers = time.Hour, 100*time.Millisecond
			var calls int
			d, err := New(Options{
				Entries: host("app", "silent"), Resolve: time.Second, Resolver: dns,
				OnChange: func([]Server) { calls++ }, OnError: func(error) { calls++ },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			d.Start(ctx)
			d.Start(ctx) // no second time
			time.Sleep(500 * time.Millisecond)
			waited := make(chan struct{})
			go func() { d.First(context.Background()); close(waited) }()
			began := time.Now()
			end(d, cancel)
			took := time.Since(began)
			<-waited
			before := calls
			dns.set("app", "", "10.0.0.2")
			time.Sleep(time.Minute)
			if took != dns.lingers || calls != before || calls != 1 || show(d.Servers()) != "10.0.0.1:80*1" {
				t.Errorf("%s took %v, then %d calls and %s", name, took, calls, show(d.Servers()))
			}
			if n := len(dns.times("app")); n != 1 {
				t.Errorf("%s: looked up %d times", name, n)
			}
		}
		d, err := New(Options{Entries: host("app"), Resolver: newScript(), OnError: func(error) { t.Error("started after Close") }})
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		d.Start(context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d.First(ctx)
	})
}
