package main_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/loadtest/load"
	"ringfence/loadtest/origin"
)

// sceneCases are the behaviours of many requests at once, and of an origin
// that goes away.
func sceneCases() []conformanceCase {
	return []conformanceCase{
		{section: "RFC 5861 §3", name: "a storm within the window brings one refresh about", run: refreshStorm},
		{section: "RFC 9111 §4.2.4", name: "an origin that is gone", run: goneOrigin},
		{section: "route", name: "early_refresh: popular answers never expire", run: earlyRefresh},
		{section: "route", name: "early_refresh: off lets them expire", run: lateRefresh},
		{section: "RFC 9110 §5.1", name: "fields are the same, byte for byte", run: sameBytes},
	}
}

func refreshStorm(t *testing.T) {
	hold := make(chan struct{})
	p, o := behind(t, numbered(func(n int) origin.Answer {
		if n == 1 {
			return ok200("Cache-Control: max-age=100, stale-while-revalidate=60", "Age: 110")
		}
		a := ok200("Cache-Control: max-age=100")
		a.Hold = hold
		return a
	}))
	p.get("/").must(t, 200)
	p.settle()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r := p.get("/"); r.err != nil || r.body != "1" {
				t.Errorf("within the window: %s", r)
			}
		})
	}
	wg.Wait()
	reaches(t, o, func(r origin.Record) bool { return r.Total == 2 })
	close(hold)
	p.settle()
	if r := p.get("/").must(t, 200); r.body != "2" || o.Record().Total != 2 {
		t.Errorf("after the refresh: %s; origin was asked %d times", r, o.Record().Total)
	}
}

func goneOrigin(t *testing.T) {
	answers := map[string][]string{
		"/fresh":           {"Cache-Control: max-age=100"},
		"/plain":           {"Cache-Control: max-age=100", "Age: 99"}, // stale in a second
		"/validator":       {"Cache-Control: max-age=100", "Age: 110", `ETag: "v"`},
		"/window":          {"Cache-Control: max-age=100, stale-while-revalidate=60", "Age: 110"},
		"/long-window":     {"Cache-Control: max-age=100, stale-if-error=9000", "Age: 8000", `ETag: "v"`},
		"/must-revalidate": {"Cache-Control: max-age=100, must-revalidate", "Age: 110", `ETag: "v"`},
		"/s-maxage":        {"Cache-Control: s-maxage=100", "Age: 110", `ETag: "v"`},
		"/no-cache":        {"Cache-Control: no-cache", `ETag: "v"`},
		"/no-window":       {"Cache-Control: max-age=100, stale-if-error=0", "Age: 110", `ETag: "v"`},
		"/too-old":         {"Cache-Control: max-age=100", "Age: 8000", `ETag: "v"`},
	}
	p, o := behind(t, func(r origin.Request) origin.Answer { return filled(ok200(answers[r.Path()]...), r.Path()) })
	for path := range answers {
		p.get(path).must(t, 200)
	}
	p.settle()
	o.Stop()
	eventually(t, "/plain is stale", func() bool { return p.get("/plain", "Cache-Control: only-if-cached").status == 504 })
	for path := range answers {
		switch r := p.get(path); path {
		case "/fresh", "/plain", "/validator", "/window", "/long-window":
			if r.err != nil || r.status != 200 || r.body != path {
				t.Errorf("%s: %s", path, r)
			}
		default:
			if r.err != nil || r.status != 502 && r.status != 504 {
				t.Errorf("%s: %s", path, r)
			}
		}
	}
	if r := p.get("/cold"); r.err != nil || r.status != 502 {
		t.Errorf("/cold: %s", r)
	}
	if r := p.get("/validator", "Cache-Control: only-if-cached"); r.err != nil || r.status != 504 {
		t.Errorf("only-if-cached: %s", r)
	}
	if err := o.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the origin is back", func() bool { r := p.get("/too-old"); return r.status == 200 && r.body == "/too-old" })
}

// popular has clients ask at a constant rate until the origin has answered n
// times, each time with some seconds to live, and returns how many of their
// requests were no hits, beyond those forgiven. A fill takes so long that even
// a machine which stands still for a second has requests that begin the next
// one early.
func popular(t *testing.T, route string, n int) (misses int, o *origin.Origin) {
	o = newOrigin(t, "one", numbered(func(int) origin.Answer {
		a := living(4, "")
		a.Delay = 400 * time.Millisecond
		return a
	}))
	p := startProxy(t, setup{route: route, origins: []*origin.Origin{o}})
	p.get("/").must(t, 200)
	p.settle()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	plan := p.storm("/", soon)
	plan.Rate = 100
	done := underLoad(ctx, plan)
	reaches(t, o, func(r origin.Record) bool { return r.Total == n })
	p.settle()
	cancel()
	r := <-done
	if r.err != nil || r.Lost() > r.Outcomes[load.Canceled] {
		t.Errorf("%v, %v, %v", r.Outcomes, r.Example, r.err)
	}
	return p.status().forwarded() - 1 - forgiven(r.Phase), o
}

func earlyRefresh(t *testing.T) {
	misses, o := popular(t, "", 4)
	if c := o.Count("/"); misses > 0 || c.Total != 4 || c.Peak != 1 {
		t.Errorf("%d requests waited; origin was asked %d times, %d at once", misses, c.Total, c.Peak)
	}
}

func lateRefresh(t *testing.T) {
	misses, o := popular(t, "early_refresh: off", 2)
	if c := o.Count("/"); misses == 0 || c.Total != 2 {
		t.Errorf("%d requests waited; origin was asked %d times", misses, c.Total)
	}
}

func sameBytes(t *testing.T) {
	head := []string{"x-oDd-CASE: 1", "ETAG: \"v\"", "x-b: 1", "X-B: 2", "cache-CONTROL: max-age=60", "x-b: 3"}
	p, o := behind(t, always(raw(append([]string{"HTTP/1.1 200 OK"}, head...)...)))
	for range 2 {
		c := p.dial()
		c.send("GET / HTTP/1.1", "Host: x", "Connection: close")
		var got []string
		for _, line := range c.head() {
			for _, name := range []string{"x-odd", "etag", "x-b", "cache-control"} {
				if strings.HasPrefix(strings.ToLower(line), name) {
					got = append(got, line)
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(head) {
			t.Errorf("got %q, want %q", got, head)
		}
		p.settle()
	}
	if n := o.Record().Total; n != 1 {
		t.Errorf("origin was asked %d times", n)
	}
}

// numbered answers the nth request, from 1, with n as the body.
func numbered(answer func(n int) origin.Answer) origin.Script {
	var l requestLog
	return func(r origin.Request) origin.Answer {
		n, _ := l.enter(r)
		return filled(answer(n), fmt.Sprint(n))
	}
}
