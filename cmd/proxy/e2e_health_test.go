package main_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// byHTTP is a health check quick enough for a test.
const byHTTP = "{path: /healthz, interval: 100ms, timeout: 90ms}"

// placement asks for n keys and returns who served each.
func (p *process) placement(n int) map[string]string {
	p.t.Helper()
	at := make(map[string]string, n)
	for i := range n {
		target := fmt.Sprintf("/%d", i)
		at[target] = p.get(target).must(p.t, 200).header.Get("X-Served-By")
	}
	return at
}

// isUp waits until the admin API says so of a server.
func (p *process) isUp(id string, want bool) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s up: %t", id, want), func() bool {
		up, known := p.status().up()[id]
		return known && up == want
	})
}

func three(t *testing.T, s origin.Script) []*origin.Origin {
	t.Helper()
	return []*origin.Origin{newOrigin(t, "a", s), newOrigin(t, "b", s), newOrigin(t, "c", s)}
}

// A server that fails its checks loses its keys to all the others, nobody
// else's keys move, and it gets exactly its own back.
func TestEjectionAndReturn(t *testing.T) {
	t.Parallel()
	const keys = 120
	tests := map[string]struct {
		check, balance string
		fall, rise     func(*origin.Origin) error
	}{
		"http": {byHTTP, "hash",
			func(o *origin.Origin) error { o.SetHealthy(false); return nil },
			func(o *origin.Origin) error { o.SetHealthy(true); return nil }},
		"http, ketama": {byHTTP, "ketama",
			func(o *origin.Origin) error { o.SetHealthy(false); return nil },
			func(o *origin.Origin) error { o.SetHealthy(true); return nil }},
		"tcp": {"{type: tcp, interval: 100ms, timeout: 90ms}", "hash",
			func(o *origin.Origin) error { o.Stop(); return nil },
			(*origin.Origin).Restart},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			os := three(t, nil)
			p := startProxy(t, setup{
				origins: os, route: "cache: off",
				upstream: "balance: " + tt.balance + "\nhealth_check: " + tt.check,
			})
			before := p.placement(keys)
			if err := tt.fall(os[1]); err != nil {
				t.Fatal(err)
			}
			p.isUp("b", false)
			served := os[1].Record().Total
			during := p.placement(keys)
			heirs := map[string]int{}
			for target, was := range before {
				switch now := during[target]; {
				case was == "b":
					heirs[now]++
				case was != now:
					t.Errorf("%s moved from %s to %s", target, was, now)
				}
			}
			if heirs["a"] == 0 || heirs["c"] == 0 || heirs["b"] > 0 {
				t.Errorf("the keys of the ejected server went to %v", heirs)
			}
			if n := os[1].Record().Total; n != served {
				t.Errorf("%d requests reached the ejected server", n-served)
			}
			if err := tt.rise(os[1]); err != nil {
				t.Fatal(err)
			}
			p.isUp("b", true)
			if after := p.placement(keys); !maps.Equal(before, after) {
				t.Error("the keys are not where they were")
			}
		})
	}
}

// With no server up, they are tried all the same, and the log says so.
func TestAllServersDown(t *testing.T) {
	t.Parallel()
	os := three(t, nil)
	for _, o := range os {
		o.SetHealthy(false)
	}
	p := startProxy(t, setup{origins: os, upstream: "health_check: " + byHTTP})
	for _, o := range os {
		p.isUp(o.Name(), false)
	}
	for i := range 10 {
		p.get(fmt.Sprintf("/%d", i)).must(t, 200)
	}
	if !strings.Contains(p.stderr.String(), "health is disregarded") {
		t.Error("the log does not say that all servers are down")
	}
}
