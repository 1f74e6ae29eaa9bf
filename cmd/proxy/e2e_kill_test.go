package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"ringfence/loadtest/load"
	"ringfence/loadtest/origin"
	"ringfence/loadtest/result"
)

// rate is what this machine carries with ease in the tests' own build.
func rate() float64 {
	if raceOn {
		return 150
	}
	return 500
}

// aim is a plan of GETs for keys that are all different.
func (p *process) aim(d time.Duration) load.Plan {
	return load.Plan{
		Target: "http://" + p.addr,
		Request: func(i int, _ time.Duration, _ *rand.Rand) load.Request {
			return load.Path(fmt.Sprintf("/%d", i))
		},
		Rate: rate(), Duration: d, Timeout: soon,
	}
}

type outcome struct {
	result.Phase
	err error
}

// underLoad starts a plan, and gives its result when it has ended.
func underLoad(ctx context.Context, plan load.Plan) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		r, err := load.Run(ctx, plan)
		done <- outcome{r, err}
	}()
	return done
}

// An origin that dies under load, and one that comes back, lose no request
// that another one can answer.
func TestOriginKilledUnderLoad(t *testing.T) {
	slow := origin.Text("no-store", "x")
	slow.Delay = 5 * time.Millisecond
	os := three(t, always(slow))
	p := startProxy(t, setup{origins: os, upstream: "health_check: " + byHTTP + "\nejection: {base_time: 1s}"})
	done := underLoad(t.Context(), p.aim(3*time.Second))
	reaches(t, os[0], func(r origin.Record) bool { return r.Total > 30 })
	os[0].Stop()
	p.isUp("a", false)
	if err := os[0].Restart(); err != nil {
		t.Fatal(err)
	}
	p.isUp("a", true)
	before := os[0].Record().Total
	r := <-done
	if r.err != nil || r.Lost() > 0 || r.Sent != int(3*rate()) {
		t.Errorf("lost %d of %d: %v, %v, %v", r.Lost(), r.Sent, r.Outcomes, r.Example, r.err)
	}
	if os[0].Record().Total == before {
		t.Error("the origin that came back got no request")
	}
}

// SIGTERM under load: what the proxy took is answered, what it did not take is
// refused, and it exits with 0.
func TestStopUnderLoad(t *testing.T) {
	slow := origin.Text("no-store", "x")
	slow.Delay = 50 * time.Millisecond
	p, o := behind(t, always(slow))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := underLoad(ctx, p.aim(time.Minute))
	reaches(t, o, func(r origin.Record) bool { return r.Total > 100 })
	p.signal(syscall.SIGTERM)
	if code := p.wait(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	cancel()
	r := <-done
	rec := o.Record()
	if lost := r.Lost() - r.Outcomes[load.Refused] - r.Outcomes[load.Canceled]; r.err != nil || lost > 0 || rec.Complete != rec.Total {
		t.Errorf("lost %d of %d: %v, %v; %d requests reached the origin, %d were answered",
			lost, r.Sent, r.Outcomes, r.Example, rec.Total, rec.Complete)
	}
	if _, err := net.Dial("tcp", p.addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connection after the end: %v", err)
	}
}

// Requests in flight are completed after SIGTERM, whichever phase they are in.
func TestStopCompletesRequestsInFlight(t *testing.T) {
	t.Parallel()
	gate, hold := make(chan struct{}), make(chan struct{})
	p, o := behind(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60", "first and the rest")
		a.Framing, a.Chunk = origin.Chunked, 5
		if r.Target == "/held" {
			a.Hold = hold
		} else {
			a.Gate = gate
		}
		return a
	})
	held, streaming, posting := p.dial(), p.dial(), p.dial()
	held.send("GET /held HTTP/1.1", "Host: x")
	streaming.send("GET /streaming HTTP/1.1", "Host: x")
	resp := streaming.response("GET")
	if got := streaming.read(resp.Body, 5); got != "first" {
		t.Errorf("first %q", got)
	}
	posting.send("POST /upload HTTP/1.1", "Host: x", "Content-Length: 10")
	posting.write("hello")
	reaches(t, o, func(r origin.Record) bool { return r.Total == 3 })
	p.signal(syscall.SIGTERM)
	eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	posting.write("world")
	close(gate)
	close(hold)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != " and the rest" {
		t.Errorf("streaming: then %q, %v", rest, err)
	}
	for name, c := range map[string]conn{"held": held, "upload": posting} {
		if r := whole(c.response("GET")); r.err != nil || r.body != "first and the rest" {
			t.Errorf("%s: %s", name, r)
		}
	}
	if code := p.wait(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A connection that only waits for its next request does not hold up the end.
func TestStopDoesNotWaitForIdleConnections(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, nil)
	idle := p.dial()
	idle.send("GET / HTTP/1.1", "Host: x")
	whole(idle.response("GET")).must(t, 200)
	start := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("the end took %s", d)
	}
}

// A request that does not end is broken off after shutdown_timeout.
func TestShutdownTimeout(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "one", always(origin.Answer{Hold: make(chan struct{})}))
			p := startProxy(t, setup{top: "shutdown_timeout: 500ms", origins: []*origin.Origin{o}})
			c := p.dial()
			c.send(method+" / HTTP/1.1", "Host: x", "Content-Length: 0")
			reaches(t, o, func(r origin.Record) bool { return r.Total == 1 })
			start := time.Now()
			p.signal(syscall.SIGTERM)
			if code := p.wait(soon); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if d := time.Since(start); d < 400*time.Millisecond || d > 5*time.Second {
				t.Errorf("it ended after %s, with shutdown_timeout 500ms", d)
			}
		})
	}
}
