package main_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// crowd opens n connections and sends the same request on each.
func (p *process) crowd(n int, lines ...string) []conn {
	p.t.Helper()
	cs := make([]conn, n)
	for i := range cs {
		cs[i] = p.dial()
		cs[i].send(append([]string{"GET /cold HTTP/1.1", "Host: x"}, lines...)...)
	}
	return cs
}

// replies reads the answers of a crowd, all at a time.
func replies(cs []conn) []reply {
	rs := make([]reply, len(cs))
	var wg sync.WaitGroup
	for i, c := range cs {
		wg.Go(func() {
			resp, err := http.ReadResponse(c.br, nil)
			if err != nil {
				rs[i] = reply{err: err}
				return
			}
			rs[i] = whole(resp)
		})
	}
	wg.Wait()
	return rs
}

// inFlight waits until n requests are in the proxy.
func (p *process) inFlight(n int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%d requests in flight", n), func() bool {
		return p.status().Requests.InFlight == n
	})
}

// 500 requests for one cold key are one request for the origin, and all of
// them have the first bytes while the origin still holds the rest.
func TestColdKeyIsFilledOnce(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]origin.Framing{"by length": origin.Length, "in chunks": origin.Chunked} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n, size = 500, 100_000
			gate, hold := make(chan struct{}), make(chan struct{})
			p, o := behind(t, always(origin.Answer{
				Size: size, Framing: framing, Hold: hold, Chunk: size / 2, Gate: gate,
			}.With("Cache-Control", "max-age=60")))
			cs := p.crowd(n)
			p.inFlight(n)
			close(hold)
			bodies := make([]io.ReadCloser, n)
			starts := make([]string, n)
			for i, c := range cs {
				bodies[i] = c.response("GET").Body
				starts[i] = c.read(bodies[i], size/2)
			}
			close(gate)
			want, _ := io.ReadAll(origin.Content("/cold", size))
			for i, b := range bodies {
				rest, err := io.ReadAll(b)
				if err != nil || starts[i]+string(rest) != string(want) {
					t.Fatalf("client %d: %d bytes after the first half, %v", i, len(rest), err)
				}
			}
			if n := o.Count("/cold").Total; n != 1 {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
}

// Answers that may not be shared let all go on at once, and each request has
// an answer of its own; the next wave does not wait at all.
func TestUncacheableReleasesAllAtOnce(t *testing.T) {
	t.Parallel()
	for _, field := range []origin.Field{
		{Name: "Cache-Control", Value: "no-store"}, {Name: "Cache-Control", Value: "private, max-age=60"}, {Name: "Set-Cookie", Value: "a=b"},
	} {
		t.Run(field.Name+" "+field.Value, func(t *testing.T) {
			t.Parallel()
			const n, takes = 100, 400 * time.Millisecond
			var serial atomic.Int64
			p, o := behind(t, func(r origin.Request) origin.Answer {
				a := origin.Text("", fmt.Sprint(serial.Add(1))).With(field.Name, field.Value)
				a.Delay = takes
				return a
			})
			// A wave queued one by one would take n times as long.
			for wave, limit := range []time.Duration{2*takes + 2*time.Second, takes + 2*time.Second} {
				start := time.Now()
				seen := map[string]bool{}
				for _, r := range replies(p.crowd(n)) {
					r.must(t, 200)
					seen[r.body] = true
				}
				if len(seen) != n {
					t.Errorf("wave %d: %d different answers for %d clients", wave+1, len(seen), n)
				}
				if took := time.Since(start); took > limit {
					t.Errorf("wave %d took %s, one answer takes %s", wave+1, took, takes)
				}
			}
			if c := o.Count("/cold"); c.Total != 2*n || c.Peak < n/2 {
				t.Errorf("the origin was asked %d times, %d at once at most", c.Total, c.Peak)
			}
		})
	}
}

// The client whose request leads the fill goes away; the others are served.
func TestLeaderLeaves(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"before the head", "within the body"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			hold, gate := make(chan struct{}), make(chan struct{})
			a := origin.Text("max-age=60", "first and the rest")
			a.Hold, a.Gate, a.Chunk = hold, gate, len("first")
			p, o := behind(t, always(a))
			leader := p.crowd(1)[0]
			reaches(t, o, func(r origin.Record) bool { return r.Total == 1 })
			followers := p.crowd(20)
			p.inFlight(21)
			if phase == "within the body" {
				close(hold)
				leader.read(leader.response("GET").Body, 5)
			}
			_ = leader.SetLinger(0)
			_ = leader.Close()
			if phase == "before the head" {
				close(hold)
			}
			close(gate)
			for _, r := range replies(followers) {
				if r.must(t, 200); r.body != "first and the rest" {
					t.Errorf("got %s", r)
				}
			}
			p.settle()
			if r := replies(p.crowd(1))[0]; o.Record().Total != 1 {
				t.Errorf("the origin was asked %d times; last answer %s", o.Record().Total, r)
			}
		})
	}
}

// A fill that fails strands nobody, and does not make each waiting request try
// in its turn.
func TestFillFails(t *testing.T) {
	t.Parallel()
	const n = 100
	for name, a := range map[string]origin.Answer{
		"hangs up":     {Raw: []byte{}, Ending: origin.Drop},
		"not HTTP":     {Raw: []byte("garbage\r\n\r\n"), Ending: origin.Drop},
		"says 503":     {Status: 503},
		"never speaks": {Hold: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold := make(chan struct{})
			if a.Hold == nil {
				a.Hold = hold
			}
			o := newOrigin(t, "one", always(a))
			p := startProxy(t, setup{upstream: "response_timeout: 1s", origins: []*origin.Origin{o}})
			cs := p.crowd(n)
			if a.Hold == hold {
				p.inFlight(n)
				close(hold)
			}
			start := time.Now()
			for _, r := range replies(cs) {
				if r.err != nil || r.status < 502 || r.status > 504 {
					t.Fatalf("got %s", r)
				}
			}
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("all answered after %s", took)
			}
			if c := o.Count("/cold"); c.Total > 6 {
				t.Errorf("the origin in trouble was asked %d times for %d clients", c.Total, n)
			}
		})
	}
}

// A body that breaks off within the fill breaks off for all, visibly.
func TestFillIsCutShort(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	p, _ := behind(t, always(origin.Answer{
		Size: 100, Chunk: 30, Gate: gate, Cut: true, CutAfter: 60,
	}.With("Cache-Control", "max-age=60")))
	cs := p.crowd(20)
	p.inFlight(20)
	close(gate)
	for _, r := range replies(cs) {
		if r.err == nil {
			t.Errorf("looks complete: %s", r)
		}
	}
}

// Two variants asked for at once: each client has its own.
func TestFollowersOfAnotherVariant(t *testing.T) {
	t.Parallel()
	const n = 20
	hold := make(chan struct{})
	p, o := behind(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60", "for "+r.Get("X-V")).With("Vary", "X-V")
		a.Hold = hold
		return a
	})
	a, b := p.crowd(n, "X-V: a"), p.crowd(n, "X-V: b")
	p.inFlight(2 * n)
	close(hold)
	for want, cs := range map[string][]conn{"for a": a, "for b": b} {
		for _, r := range replies(cs) {
			if r.must(t, 200); r.body != want {
				t.Errorf("want %q, got %s", want, r)
			}
		}
	}
	if n := o.Count("/cold").Total; n > 4 {
		t.Errorf("two variants took %d requests", n)
	}
}

// A request with credentials and one without never share an answer.
func TestCredentialsDoNotCollapse(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	p, _ := behind(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60", "for "+r.Get("Authorization"))
		a.Hold = hold
		return a
	})
	var cs []conn
	var want []string
	for i := range 10 {
		token := fmt.Sprintf("Basic %d", i)
		cs = append(cs, p.crowd(1, "Authorization: "+token)...)
		cs = append(cs, p.crowd(1)...)
		want = append(want, "for "+token, "for ")
	}
	p.inFlight(len(cs))
	close(hold)
	var got []string
	for _, r := range replies(cs) {
		got = append(got, r.must(t, 200).body)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// A stale object is asked for once, however many want it.
func TestRevalidationIsCollapsed(t *testing.T) {
	t.Parallel()
	const n = 50
	hold := make(chan struct{})
	p, o := behind(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=0", "content").With("ETag", `"v1"`)
		if r.Get("If-None-Match") == "" {
			return a
		}
		return origin.Answer{Status: 304, Hold: hold}.With("Cache-Control", "max-age=60")
	})
	replies(p.crowd(1))
	p.settle()
	cs := p.crowd(n)
	p.inFlight(n)
	close(hold)
	for _, r := range replies(cs) {
		if r.must(t, 200); r.body != "content" {
			t.Errorf("got %s", r)
		}
	}
	if asked := o.Count("/cold").Total; asked != 2 {
		t.Errorf("the origin was asked %d times, want a fill and a revalidation", asked)
	}
}
