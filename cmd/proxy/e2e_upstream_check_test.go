package main_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// checkup is a script that finds nothing amiss with one form of check alone.
func checkup(r origin.Request) origin.Answer {
	if r.Method == "POST" && r.Target == "/check?deep=1" && r.Get("Host") == "app.internal" && r.Get("X-Probe") == "yes" {
		return filled(coded(418), "all is well")
	}
	return filled(coded(500), "something is amiss")
}

// The first check decides on its own.
func TestChecks(t *testing.T) {
	t.Parallel()
	const full = "method: POST, path: '/check?deep=1', host: app.internal, headers: {X-Probe: 'yes'}, "
	fit, other := newOrigin(t, "one", checkup), newOrigin(t, "other", nil)
	gone := newOrigin(t, "gone", nil)
	gone.Stop()
	silent := newOrigin(t, "silent", always(origin.Answer{Hold: make(chan struct{})}))
	for name, tt := range map[string]struct {
		at       *origin.Origin
		check    string
		standing string
	}{
		"as it wants":         {fit, full + "statuses: [418], body: is well", "live"},
		"a class of statuses": {fit, full + "statuses: [204, 4xx]", "live"},
		"status":              {fit, full + "statuses: [2xx, 404]", "down"},
		"body":                {fit, full + "statuses: [418], body: is amiss", "down"},
		"method":              {fit, strings.Replace(full, "POST", "GET", 1) + "statuses: [418]", "down"},
		"default":             {fit, "", "down"},
		"default, of another": {other, "", "live"},
		"port":                {fit, "port: " + other.Addr()[strings.LastIndex(other.Addr(), ":")+1:], "live"},
		"tcp":                 {fit, "type: tcp", "live"},
		"tcp, refused":        {gone, "type: tcp", "down"},
		"timeout":             {silent, "interval: 100ms, timeout: 50ms", "down"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, setup{
				servers: []string{in(tt.at, "")}, upstream: "health_check: {wait_for_first_check: on, " + tt.check + "}",
			})
			if s := p.status().server(tt.at.Name()); s.Standing != tt.standing {
				t.Errorf("%s after %q, want %s", s.Standing, s.LastCheck, tt.standing)
			}
		})
	}
}

// What is down at the start gets no request at all.
func TestWaitForFirstCheck(t *testing.T) {
	t.Parallel()
	os := three(t, nil)
	os[0].SetHealthy(false)
	p := startProxy(t, setup{origins: os, route: "cache: off", upstream: "health_check: {path: /healthz, wait_for_first_check: on}"})
	p.placement(40)
	if n := os[0].Record().Total; n > 0 {
		t.Errorf("%d requests reached the server that is down", n)
	}
}

// rise and fall count checks, which come faster while they speak against the
// state.
func TestRiseAndFall(t *testing.T) {
	t.Parallel()
	const rise, fall = 5, 100
	o := newOrigin(t, "one", nil)
	o.SetHealthy(false)
	p := startProxy(t, setup{origins: []*origin.Origin{o}, upstream: fmt.Sprintf(
		"health_check: {path: /healthz, interval: 1s, fast_interval: 5ms, rise: %d, fall: %d, wait_for_first_check: on}", rise, fall)})
	for _, is := range []struct {
		fit   bool
		after int
	}{{true, rise}, {false, fall}} {
		before := o.Record().Checks
		o.SetHealthy(is.fit)
		p.isUp("one", is.fit)
		if n := o.Record().Checks - before; n < is.after {
			t.Errorf("up: %t after %d checks, want %d", is.fit, n, is.after)
		}
	}
	quick := newOrigin(t, "quick", nil)
	startProxy(t, setup{origins: []*origin.Origin{quick}, upstream: "health_check: {path: /healthz, interval: 20ms}"})
	reaches(t, quick, func(r origin.Record) bool { return r.Checks >= 20 })
}

// One of three servers is fit: too few by default, for it alone would have to do
// the work of all.
func TestPanicThreshold(t *testing.T) {
	t.Parallel()
	for threshold, want := range map[string][]string{
		"50": {"a", "b", "c"}, "30": {"a"}, "off": {"a"}, "": {"a", "b", "c"},
	} {
		t.Run(threshold, func(t *testing.T) {
			t.Parallel()
			os := three(t, nil)
			os[1].SetHealthy(false)
			os[2].SetHealthy(false)
			upstream := "health_check: {path: /healthz, wait_for_first_check: on}"
			if threshold != "" {
				upstream += "\npanic_threshold: " + threshold
			}
			p := startProxy(t, setup{origins: os, route: "cache: off", upstream: upstream})
			used := map[string]bool{}
			for _, by := range p.placement(60) {
				used[by] = true
			}
			if got := slices.Sorted(maps.Keys(used)); !slices.Equal(got, want) {
				t.Errorf("requests went to %v, want %v", got, want)
			}
		})
	}
}

// Who comes back begins with a hundredth of its share, and keeps it for a while.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	os := three(t, nil)
	p := startProxy(t, setup{origins: os, route: "cache: off", upstream: "slow_start: 1h\nhealth_check: " + byHTTP})
	before := p.placement(100)
	for _, fit := range []bool{false, true} {
		os[0].SetHealthy(fit)
		p.isUp("a", fit)
	}
	if share := p.status().server("a").Share; share != 0.01 {
		t.Errorf("its share is %v", share)
	}
	for target, by := range p.placement(100) {
		if was := before[target]; was != "a" && by != was {
			t.Errorf("%s moved from %s to %s", target, was, by)
		}
	}
	if b, c := p.status().server("b").Share, p.status().server("c").Share; b != 1 || c != 1 {
		t.Errorf("the others' shares are %v and %v", b, c)
	}
}
