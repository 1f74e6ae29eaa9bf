package main_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// in is a server in a configuration, with further entries such as "weight: 2".
func in(o *origin.Origin, entries string) string {
	return fmt.Sprintf("{address: '%s', id: %s%s}", o.Addr(), o.Name(), prefixed(entries))
}

// by is the server that answered.
func (r reply) by() string { return r.header.Get("X-Served-By") }

// failedBy fails the test where the answer is not that failure, by its status and its
// error type of RFC 9209, section 2.3; a 503 says when to come again.
func (r reply) failedBy(t *testing.T, status int, kind string) {
	t.Helper()
	r.must(t, status)
	if ps := r.header.Get("Proxy-Status"); !strings.HasPrefix(ps, "ringfence; error="+kind) {
		t.Errorf("Proxy-Status %q, want error=%s", ps, kind)
	}
	if again := r.header.Get("Retry-After"); (status == 503) != (again != "") {
		t.Errorf("%d with Retry-After %q", status, again)
	}
}

// order posts to the admin API and returns the status.
func (p *process) order(what, server string) int {
	p.t.Helper()
	resp, err := http.Post("http://"+p.admin+"/api/"+what+"?upstream=app&server="+url.QueryEscape(server), "", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return whole(resp).status
}

// later asks in the background.
func (p *process) later(target string) <-chan reply {
	answer := make(chan reply, 1)
	go func() { answer <- p.get(target) }()
	return answer
}

// What has the same of what an upstream hashes by goes to one server, whatever
// else it has; what has something else may go elsewhere.
func TestHashBy(t *testing.T) {
	t.Parallel()
	os := three(t, nil)
	const values, others = 12, 3
	for name, tt := range map[string]struct {
		by     string
		target string // # is the value, ~ something else
		field  string
		route  string
		from   string // the client's address
	}{
		"key":    {by: "key", target: "/#?~", route: "cache_key: [path]"},
		"uri":    {by: "uri", target: "/a?#", field: "X-Other: ~", route: "cache_key: [path, 'header:X-Other']"},
		"path":   {by: "path", target: "/#?~"},
		"client": {by: "client", target: "/~", from: "127.0.1.#"},
		"header": {by: "header:X-Tenant", target: "/~", field: "X-Tenant: #"},
		"cookie": {by: "cookie:session", target: "/~", field: "Cookie: a=~; session=#"},
		"query":  {by: "query:shard", target: "/?a=~&shard=#"},
		"ketama": {by: "header:X-Tenant\nbalance: ketama", target: "/~", field: "X-Tenant: #"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			route := "cache: off"
			if tt.route != "" {
				route += ", " + tt.route
			}
			p := startProxy(t, setup{origins: os, route: route, upstream: "hash_by: " + tt.by})
			used := map[string]bool{}
			for value := range values {
				at := map[string]bool{}
				for other := range others {
					text := strings.NewReplacer("#", fmt.Sprint(value+1), "~", fmt.Sprint("o", other))
					q := *p
					if tt.from != "" {
						q.client = from(text.Replace(tt.from))
					}
					var fields []string
					if tt.field != "" {
						fields = append(fields, text.Replace(tt.field))
					}
					at[q.get(text.Replace(tt.target), fields...).must(t, 200).by()] = true
				}
				if len(at) != 1 {
					t.Errorf("value %d was answered by %v", value, at)
				}
				maps.Copy(used, at)
			}
			if len(used) == 1 {
				t.Errorf("all values were answered by %v", used)
			}
		})
	}
}

// from is a client with a loopback address of its own.
func from(ip string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return &http.Client{Timeout: soon, Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
}

// Requests for one target, of a server of weight 2 and one of weight 1: one after
// the other, or each while all before it are held.
func TestBalancePolicies(t *testing.T) {
	t.Parallel()
	const n = 45
	for _, tt := range []struct {
		policy string
		held   bool
		by     string // what the policy comes to
	}{
		{"balance: hash\nbalance_factor: off", true, "one"},
		{"balance: hash\nbalance_factor: 0.2", true, "some"},
		{"balance: hash\nbalance_factor: 0.2", false, "one"},
		{"balance: ketama\nbalance_factor: off", true, "one"},
		{"balance: round_robin", false, "turns"},
		{"balance: least_requests", true, "thirds"},
		{"balance: least_requests", false, "one"}, // the greater weight, while there is nothing to do
		{"balance: random", false, "some"},
		{"balance: random", true, "some"},
	} {
		t.Run(fmt.Sprint(tt.policy, ", held: ", tt.held), func(t *testing.T) {
			t.Parallel()
			var order []string
			arrived, release := make(chan string), make(chan struct{})
			script := func(name string) origin.Script {
				return func(origin.Request) origin.Answer {
					arrived <- name
					return origin.Answer{Hold: release}
				}
			}
			if !tt.held {
				close(release)
			}
			a, b := newOrigin(t, "a", script("a")), newOrigin(t, "b", script("b"))
			p := startProxy(t, setup{servers: []string{in(a, "weight: 2"), in(b, "")}, route: "cache: off", upstream: tt.policy})
			answers := make([]<-chan reply, n)
			for i := range answers {
				answers[i] = p.later("/")
				select {
				case name := <-arrived:
					order = append(order, name)
				case r := <-answers[i]:
					t.Fatalf("answered by nobody: %s", r)
				}
				if !tt.held {
					(<-answers[i]).must(t, 200)
				}
			}
			if tt.held {
				close(release)
				for _, answer := range answers {
					(<-answer).must(t, 200)
				}
			}
			if got := pattern(order); got != tt.by {
				t.Errorf("%s, want %s: %v", got, tt.by, order)
			}
		})
	}
}

// pattern is what an order of a and b comes to: one server; turns, twice a to
// once b and always in the same way; thirds, the same in any way; or some.
func pattern(order []string) string {
	different, thirds := map[string]bool{}, true
	for turn := range slices.Chunk(order, 3) {
		s := strings.Join(turn, "")
		different[s] = true
		thirds = thirds && strings.Count(s, "a") == 2 && strings.Count(s, "b") == 1
	}
	switch {
	case len(slices.Compact(slices.Sorted(slices.Values(order)))) == 1:
		return "one"
	case thirds && len(different) == 1:
		return "turns"
	case thirds:
		return "thirds"
	}
	return "some"
}

// With the same hash_by the two ways to hash place the same keys differently.
func TestKetamaPlacesInItsOwnWay(t *testing.T) {
	t.Parallel()
	var at []map[string]string
	os := three(t, nil)
	for _, balance := range []string{"hash", "ketama", "ketama"} {
		at = append(at, startProxy(t, setup{origins: os, route: "cache: off", upstream: "hash_by: path\nbalance: " + balance}).placement(60))
	}
	if maps.Equal(at[0], at[1]) || !maps.Equal(at[1], at[2]) {
		t.Errorf("hash %v\nketama %v\nand again %v", at[0], at[1], at[2])
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	a, b := newOrigin(t, "a", nil), newOrigin(t, "b", nil)
	p := startProxy(t, setup{servers: []string{in(a, ""), in(b, "backup: on")}, route: "cache: off", upstream: "health_check: " + byHTTP})
	for _, fit := range []bool{true, false, true} {
		a.SetHealthy(fit)
		p.isUp("a", fit)
		want := map[bool]string{true: "a", false: "b"}[fit]
		for target, by := range p.placement(20) {
			if by != want {
				t.Fatalf("%s was answered by %s while a is up: %t", target, by, fit)
			}
		}
	}
}

// A drained server gets nothing new, whether the file or the operator says so.
func TestDraining(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	script := func(r origin.Request) origin.Answer {
		if strings.HasPrefix(r.Target, "/held") {
			return origin.Answer{Hold: hold}
		}
		return origin.Answer{}
	}
	a, b, c := newOrigin(t, "a", script), newOrigin(t, "b", script), newOrigin(t, "c", script)
	p := startProxy(t, setup{servers: []string{in(a, ""), in(b, ""), in(c, "weight: 0")}, route: "cache: off"})
	home := p.placement(60)
	if n := c.Record().Total; n > 0 || p.status().server("c").Standing != "drained" {
		t.Errorf("%d requests reached the server of weight 0, which is %s", n, p.status().server("c").Standing)
	}
	var held []<-chan reply
	for i := 0; p.status().server("a").InFlight == 0; i++ {
		held = append(held, p.later(fmt.Sprint("/held", i)))
		eventually(t, "the request is held", func() bool { return a.Record().Total+b.Record().Total == 60+len(held) })
	}
	if got := p.order("drain", "a"); got != 200 {
		t.Fatalf("drain: %d", got)
	}
	eventually(t, "a is drained", func() bool { return p.status().server("a").Standing == "drained" })
	for target, by := range p.placement(60) {
		if by != "b" {
			t.Errorf("%s was answered by %s", target, by)
		}
	}
	close(hold)
	for _, answer := range held {
		(<-answer).must(t, 200)
	}
	if got := p.order("restore", "a"); got != 200 {
		t.Fatalf("restore: %d", got)
	}
	p.isUp("a", true)
	if !maps.Equal(p.placement(60), home) {
		t.Error("the keys are not where they were")
	}
	if got := p.order("drain", "nobody"); got != 404 {
		t.Errorf("draining a server that is not there: %d", got)
	}
}

// Past what may be in flight a request is refused; who may have a stale answer
// gets that instead. Where there is a queue, it waits there.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		server, upstream string
		file             bool // the server is that of a file
		queued           bool // there is room for one that waits
	}{
		"max_requests":         {upstream: "max_requests: 1\nqueue: {size: 0}"},
		"max_requests, file":   {upstream: "max_requests: 1\nqueue: {size: 0}", file: true},
		"of the server":        {server: "max_requests: 1", upstream: "queue: {size: 0}"},
		"max_connections":      {upstream: "max_connections: 1\nqueue: {size: 0}"},
		"queue":                {upstream: "max_requests: 1\nqueue: {size: 1, timeout: 14s}", queued: true},
		"queue, timeout":       {upstream: "max_requests: 1\nqueue: {timeout: 50ms}"},
		"adaptive concurrency": {upstream: "adaptive_concurrency: {min: 1, max: 1}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold := make(chan struct{})
			o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
				if r.Target == "/stale" {
					return origin.Text("max-age=60, stale-if-error=600", "old").With("Age", "100")
				}
				return origin.Answer{Hold: hold}
			})
			s := setup{upstream: tt.upstream}
			if tt.file {
				s.upstream += "\nservers_file: '" + newList(t, in(o, tt.server)).path + "'"
			} else {
				s.servers = []string{in(o, tt.server)}
			}
			p := startProxy(t, s)
			p.get("/stale").must(t, 200)
			p.settle()
			inside := p.later("/inside")
			eventually(t, "one is inside", func() bool { return p.status().server("one").InFlight == 1 })
			var waits <-chan reply
			if tt.queued {
				waits = p.later("/waits")
				eventually(t, "one waits", func() bool { return p.status().server("one").Queued == 1 })
			}
			p.get("/refused").failedBy(t, 503, "connection_limit_reached")
			if r := p.get("/stale").must(t, 200); r.body != "old" {
				t.Errorf("in place of what is stale: %s", r)
			}
			if o.Count("/refused").Total > 0 {
				t.Error("what was refused reached the server")
			}
			close(hold)
			(<-inside).must(t, 200)
			if tt.queued {
				(<-waits).must(t, 200)
			}
			p.get("/again").must(t, 200)
		})
	}
	t.Run("adaptive concurrency, minimum", func(t *testing.T) {
		t.Parallel()
		p := startProxy(t, setup{origins: three(t, nil), upstream: "adaptive_concurrency: {min: 30, max: 40}"})
		if got := p.status().Upstreams[0].Limit; got != 30 {
			t.Errorf("the limit begins with %d", got)
		}
	})
}

func TestUpstreamConnectionsKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		upstream   string
		idle, open int // of three, afterwards
	}{
		"default":              {"", 3, 3},
		"max_idle_connections": {"max_idle_connections: 1", 1, 1},
		"none":                 {"max_idle_connections: 0", 0, 0},
		"idle_timeout":         {"idle_timeout: 50ms", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold := make(chan struct{})
			o := newOrigin(t, "one", always(origin.Answer{Hold: hold}))
			p := startProxy(t, setup{origins: []*origin.Origin{o}, upstream: tt.upstream})
			var held []<-chan reply
			for i := range 3 {
				held = append(held, p.later(fmt.Sprint("/", i)))
			}
			reaches(t, o, func(r origin.Record) bool { return r.Total == 3 })
			close(hold)
			for _, answer := range held {
				(<-answer).must(t, 200)
			}
			eventually(t, fmt.Sprintf("%d idle, %d open", tt.idle, tt.open), func() bool {
				return p.status().server("one").Idle == tt.idle && o.Record().Open == tt.open
			})
		})
	}
}
