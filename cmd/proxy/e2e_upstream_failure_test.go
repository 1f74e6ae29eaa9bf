package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// once answers the first request in one way, and those after it with what they say.
func once(first origin.Answer) origin.Script {
	var asked atomic.Int64
	return func(origin.Request) origin.Answer {
		if asked.Add(1) == 1 {
			return first
		}
		return origin.Answer{Echo: true}
	}
}

// The first server that gets the request fails it, the next one would not.
func TestRetries(t *testing.T) {
	t.Parallel()
	const small, large = "a small body", "one that is larger than the other"
	reset := origin.Answer{Raw: []byte{}, Ending: origin.Reset}
	silent := origin.Answer{Hold: make(chan struct{})}
	for name, tt := range map[string]struct {
		retry  string
		first  origin.Answer
		method string // default GET
		body   string
		status int
		kind   string // of the failure
	}{
		"reset":                      {first: reset, status: 200},
		"nothing":                    {retry: "on: []", first: reset, status: 502, kind: "connection_terminated"},
		"not a reset":                {retry: "on: [connect, timeout, 503]", first: reset, status: 502, kind: "connection_terminated"},
		"a reset only":               {retry: "on: [reset]", first: reset, status: 200},
		"no attempt left":            {retry: "attempts: 1", first: reset, status: 502, kind: "connection_terminated"},
		"503":                        {first: coded(503), status: 200},
		"500":                        {first: coded(500), status: 500},
		"500, if asked":              {retry: "on: [500]", first: coded(500), status: 200},
		"POST":                       {first: reset, method: "POST", body: small, status: 502, kind: "connection_terminated"},
		"PUT":                        {first: reset, method: "PUT", body: small, status: 200},
		"PUT, max_body":              {retry: "max_body: 20", first: reset, method: "PUT", body: small, status: 200},
		"PUT, beyond max_body":       {retry: "max_body: 20", first: reset, method: "PUT", body: large, status: 502, kind: "connection_terminated"},
		"PUT, max_body off":          {retry: "max_body: off", first: reset, method: "PUT", body: small, status: 502, kind: "connection_terminated"},
		"silence":                    {first: silent, status: 504, kind: "connection_read_timeout"},
		"per_try_timeout":            {retry: "per_try_timeout: 100ms", first: silent, status: 200},
		"per_try_timeout, not asked": {retry: "on: [reset], per_try_timeout: 100ms", first: silent, status: 504, kind: "connection_read_timeout"},
		"no budget":                  {retry: "budget: 0, budget_min: 0", first: reset, status: 502, kind: "connection_terminated"},
		"a budget":                   {retry: "budget: 100, budget_min: 0", first: reset, status: 200},
		"a budget in any case":       {retry: "budget: 0, budget_min: 1", first: reset, status: 200},
		"99 % of one request":        {retry: "budget: 99, budget_min: 0", first: reset, status: 502, kind: "connection_terminated"},
		"POST, per_try_timeout":      {retry: "on: [timeout], per_try_timeout: 100ms", first: silent, method: "POST", body: small, status: 504, kind: "connection_read_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := once(tt.first)
			os := []*origin.Origin{newOrigin(t, "a", script), newOrigin(t, "b", script)}
			p := startProxy(t, setup{origins: os, upstream: "response_timeout: 400ms\nretry: {" + tt.retry + "}"})
			method := tt.method
			if method == "" {
				method = "GET"
			}
			r := p.do(method, "/", tt.body).must(t, tt.status)
			if tt.kind != "" {
				r.failedBy(t, tt.status, tt.kind)
			}
			if want := map[bool]int{true: 2, false: 1}[tt.status == 200]; os[0].Record().Total+os[1].Record().Total != want {
				t.Errorf("asked %d and %d times, want %d in all", os[0].Record().Total, os[1].Record().Total, want)
			}
			if tt.status == 200 && r.body != tt.body {
				t.Errorf("the body that was sent again is %q", r.body)
			}
		})
	}
}

// A request that could not be sent goes elsewhere, whatever its method.
func TestRetryOfWhatWasNotSent(t *testing.T) {
	t.Parallel()
	for on, want := range map[string]int{"connect": 200, "reset": 502} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			a, b := newOrigin(t, "a", nil), newOrigin(t, "b", nil)
			p := startProxy(t, setup{origins: []*origin.Origin{a, b}, upstream: "retry: {on: [" + on + "]}"})
			target := p.targetOf("a")
			a.Stop()
			if r := p.do("POST", target, "body"); want == 200 {
				r.must(t, 200)
			} else {
				r.failedBy(t, 502, "connection_refused")
			}
		})
	}
}

// targetOf is a target of which a server has the key.
func (p *process) targetOf(id string) string {
	p.t.Helper()
	for i := range 100 {
		target := fmt.Sprint("/of", i)
		if p.do("DELETE", target, "").must(p.t, 200).by() == id {
			return target
		}
	}
	p.t.Fatalf("no target is placed on %s", id)
	return ""
}

func TestHedging(t *testing.T) {
	t.Parallel()
	slow := once(origin.Answer{Hold: make(chan struct{})})
	script := func(r origin.Request) origin.Answer {
		if r.Target == "/slow" {
			return slow(r)
		}
		return origin.Answer{}
	}
	os := []*origin.Origin{newOrigin(t, "a", script), newOrigin(t, "b", script)}
	p := startProxy(t, setup{origins: os, route: "cache: off", upstream: "hedge_percentile: 90\nresponse_timeout: 3s"}).keepingAlive()
	p.placement(96) // what is usual
	p.get("/slow").must(t, 200)
	if a, b := os[0].Count("/slow").Total, os[1].Count("/slow").Total; a != 1 || b != 1 {
		t.Errorf("the servers were asked %d and %d times", a, b)
	}
}

// Each of these bounds ends what would else take half a minute.
func TestUpstreamBounds(t *testing.T) {
	t.Parallel()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // never reads
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = deaf.Close() })
	o := newOrigin(t, "one", always(coded(200, "X-Long: "+strings.Repeat("x", 2000))))
	for name, tt := range map[string]struct {
		address, upstream string
		size              int // of the request's body
		status            int
		kind              string
	}{
		"connect_timeout":     {address: deaf.Addr().String(), upstream: "connect_timeout: 200ms\ntls: on", status: 504, kind: "connection_timeout"},
		"write_timeout":       {address: deaf.Addr().String(), upstream: "write_timeout: 200ms", size: 32 << 20, status: 504, kind: "connection_write_timeout"},
		"max_head_size":       {address: o.Addr(), upstream: "max_head_size: 1KiB", status: 502, kind: "http_response_header_section_size"},
		"max_head_size, more": {address: o.Addr(), upstream: "max_head_size: 4KiB", status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, setup{servers: []string{"{address: '" + tt.address + "'}"}, upstream: tt.upstream})
			if r := p.upload("/", tt.size); tt.status == 200 {
				r.must(t, 200)
			} else {
				r.failedBy(t, tt.status, tt.kind)
			}
		})
	}
}

// upload posts zeros. The answer may come before all of them are taken.
func (p *process) upload(target string, size int) reply {
	p.t.Helper()
	req, err := http.NewRequest("POST", "http://"+p.addr+target, io.LimitReader(zeros{}, int64(size)))
	if err != nil {
		p.t.Fatal(err)
	}
	req.ContentLength = int64(size)
	resp, err := p.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	return whole(resp)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// ill is a script whose answers turn bad for a server, where it may be well again.
type ill struct {
	mu   sync.Mutex
	with func(n int) origin.Answer // the n-th answer since; nil: it is well
	n    int
}

func (i *ill) script(origin.Request) origin.Answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.with == nil {
		return origin.Answer{}
	}
	i.n++
	return i.with(i.n)
}

func (i *ill) becomes(with func(n int) origin.Answer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.with, i.n = with, 0
}

func each500(int) origin.Answer { return coded(500) }

// others500 fails every other request.
func others500(n int) origin.Answer { return coded(200 + 300*(n%2)) }

// Two of three servers turn bad; requests go to these alone, one after the other.
func TestPassiveEjection(t *testing.T) {
	t.Parallel()
	slow := func(int) origin.Answer { return origin.Answer{Delay: 50 * time.Millisecond} }
	const off = "consecutive_failures: off, failure_percentage: off"
	for name, tt := range map[string]struct {
		ejection string
		bad      func(n int) origin.Answer
		ejected  int    // of the two
		reason   string // of the first
		asks     int    // bad answers, where these are enough
		most     int    // bad answers until then; 0: many
		percent  int    // of the requests that are the reason
		until    time.Duration
		again    bool // it is ejected a second time
	}{
		"a 500":                {bad: each500},
		"statuses":             {ejection: "statuses: [500], consecutive_failures: 3", bad: each500, ejected: 1, reason: "3 failures in a row", until: 30 * time.Second, asks: 3},
		"not in a row":         {ejection: "statuses: [500], consecutive_failures: 3, failure_percentage: off", bad: others500},
		"max_ejected":          {ejection: "statuses: [500], max_ejected: 67", bad: each500, ejected: 2, reason: "5 failures in a row", until: 30 * time.Second},
		"base_time":            {ejection: "statuses: [500], base_time: 50s", bad: each500, ejected: 1, reason: "5 failures in a row", until: 50 * time.Second, asks: 5},
		"max_time":             {ejection: "statuses: [500], base_time: 1s, max_time: 1s", bad: each500, ejected: 1, reason: "failed on trial", until: time.Second, again: true},
		"failure_percentage":   {ejection: "statuses: [500], consecutive_failures: off, min_requests: 40", bad: others500, ejected: 1, reason: " requests failed", until: 30 * time.Second, asks: 50},
		"window":               {ejection: "statuses: [500], consecutive_failures: off, failure_percentage: 90, min_requests: 20, window: 1s", bad: each500, ejected: 1, reason: " requests failed", until: 30 * time.Second, most: 300, percent: 90},
		"latency_factor":       {ejection: off + ", latency_factor: 4, min_requests: 10, window: 1s", bad: slow, ejected: 1, reason: "median latency", until: 30 * time.Second},
		"no rule, and no harm": {ejection: off + ", statuses: [500]", bad: each500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var states [2]ill
			os := []*origin.Origin{newOrigin(t, "a", states[0].script), newOrigin(t, "b", states[1].script), newOrigin(t, "c", nil)}
			p := startProxy(t, setup{
				origins: os, route: "cache: off",
				upstream: "panic_threshold: off\nretry: {attempts: 1}\nejection: {" + tt.ejection + "}",
			}).keepingAlive()
			targets := []string{p.targetOf("a"), p.targetOf("b"), p.targetOf("c")}
			ask := func(rounds int) {
				for range rounds {
					for _, target := range targets {
						if r := p.get(target); r.err != nil {
							t.Fatal(r.err)
						}
					}
				}
			}
			ask(map[bool]int{true: 60, false: 15}[tt.most > 0])
			states[0].becomes(tt.bad)
			if tt.ejected != 1 {
				states[1].becomes(tt.bad)
			}
			ejected := func() (n int) {
				for _, id := range []string{"a", "b"} {
					if p.status().server(id).Standing == "ejected" {
						n++
					}
				}
				return n
			}
			if tt.ejected == 0 {
				ask(60)
				if n := ejected(); n > 0 {
					t.Errorf("%d servers were ejected", n)
				}
				return
			}
			times := map[bool]int{true: 2, false: 1}[tt.again]
			ask(tt.asks)
			eventually(t, "ejection", func() bool {
				if tt.asks == 0 {
					ask(1)
				}
				return ejected() == tt.ejected && p.status().server("a").Ejections >= times
			})
			a := p.status().server("a")
			if !strings.Contains(a.Reason, tt.reason) {
				t.Errorf("the reason is %q, want %q", a.Reason, tt.reason)
			}
			var failures, requests int
			_, _ = fmt.Sscanf(a.Reason, "%d of %d", &failures, &requests)
			if failures*100 < tt.percent*requests {
				t.Errorf("it is out since %s, want %d %%", a.Reason, tt.percent)
			}
			if n := states[0].n; tt.most > 0 && n > tt.most {
				t.Errorf("it took %d bad answers, want at most %d", n, tt.most)
			}
			// An ejection is up to a tenth shorter.
			if d := a.Until.Sub(a.Since); d < tt.until*8/10 || d > tt.until*11/10 {
				t.Errorf("it is out for %s, want %s", d, tt.until)
			}
		})
	}
}
