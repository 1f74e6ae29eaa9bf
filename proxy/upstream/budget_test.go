package upstream

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/health"
	"ringfence/proxy/wire"
)

// TestBudget: of the requests that fail at once, only so many are sent again at
// once, and the others fail.
func TestBudget(t *testing.T) {
	for _, tt := range []struct {
		n           int
		budget      float64
		least, want int
	}{{50, 0.2, 3, 10}, {10, 0.2, 3, 3}, {10, 0, 0, 0}, {10, 0.5, 0, 5}, {10, 1, 0, 10}, {9, 0.5, 1, 4}} {
		var failing, moved atomic.Int64
		fail, answer := make(chan struct{}), make(chan struct{})
		p, _ := inWalk(t, func(o *Options) { o.Retry.Budget, o.Retry.BudgetMin = tt.budget, tt.least },
			func(p *peer) { p.request(); failing.Add(1); <-fail; p.reset() },
			func(p *peer) { p.request(); moved.Add(1); <-answer; p.send(text("hello")); p.hold() })
		var clients sync.WaitGroup
		var failed atomic.Int64
		for range tt.n {
			clients.Go(func() {
				if _, _, err := roundTrip(t.Context(), p, get("GET")); err != nil {
					wantKind(t, err, Terminated)
					failed.Add(1)
				}
			})
		}
		until(t, func() bool { return failing.Load() == int64(tt.n) })
		close(fail)
		until(t, func() bool { return failed.Load()+moved.Load() == int64(tt.n) })
		if got := int(moved.Load()); got != tt.want {
			t.Errorf("%d of %d were sent again, want %d", got, tt.n, tt.want)
		}
		if st := p.Stats(); st.Retries != uint64(moved.Load()) || st.OutOfBudget != uint64(failed.Load()) {
			t.Errorf("%d retries, %d out of budget; want %d and %d", st.Retries, st.OutOfBudget, moved.Load(), failed.Load())
		}
		close(answer)
		soon(t, clients.Wait)
		if a, r := p.plan.budget.active.Load(), p.plan.budget.retries.Load(); a != 0 || r != 0 {
			t.Errorf("%d active, %d retries at the end", a, r)
		}
	}
}

// TestBudgetTakes is the budget's arithmetic.
func TestBudgetTakes(t *testing.T) {
	for _, tt := range []struct {
		part          float64
		least, active int
		want          int
	}{{0.2, 3, 1, 3}, {0.2, 3, 15, 3}, {0.2, 3, 20, 4}, {0.2, 3, 24, 4}, {0.2, 0, 4, 0}, {0, 0, 100, 0}, {1, 0, 7, 7}, {0, 5, 0, 5}} {
		b := budget{part: tt.part, least: tt.least}
		b.active.Store(int64(tt.active))
		for round := range 2 {
			for i := range tt.want {
				if !b.take() {
					t.Errorf("%+v: no more than %d", tt, i)
				}
			}
			if b.take() {
				t.Errorf("%+v: more than %d", tt, tt.want)
			}
			if b.refused.Load() != uint64(round+1) || b.retries.Load() != int64(tt.want) {
				t.Errorf("%+v: %d refused, %d taken", tt, b.refused.Load(), b.retries.Load())
			}
			for range tt.want {
				b.give()
			}
		}
	}
}

// TestFailingUpstream: clients that go on asking servers that all fail are not
// multiplied by more than the budget.
func TestFailingUpstream(t *testing.T) {
	fails := func(p *peer) { p.request(); <-time.After(time.Millisecond); p.reset() }
	p, _ := inWalk(t, func(o *Options) { o.Retry.Attempts, o.Retry.Budget, o.Retry.BudgetMin = 5, 0.2, 1 }, fails, fails, fails, fails, fails)
	const clients, each = 20, 20
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for range each {
				_, _, err := roundTrip(t.Context(), p, get("GET"))
				wantKind(t, err, Terminated)
			}
		})
	}
	soon(t, running.Wait)
	sent := uint64(0)
	for _, s := range p.Stats().Servers {
		sent += s.Requests
	}
	// A fifth of the requests at each moment, where all take the same time; some
	// leeway for those that do not.
	if sent <= clients*each || sent > clients*each*3/2 {
		t.Errorf("%d requests came to %d", clients*each, sent)
	}
}

// TestConcurrency: beyond the learnt limit requests are shed, and each that was
// let in is counted until its head is there, whatever becomes of it.
func TestConcurrency(t *testing.T) {
	answer := make(chan struct{})
	p, walk := inWalk(t, func(o *Options) {
		o.Concurrency, o.HedgePercentile = &health.Limits{Min: 2, Max: 2}, 50
		o.Retry.Timeout, o.Retry.PerTry, o.Retry.Statuses = true, 20*time.Millisecond, []int{503}
	}, func(p *peer) { p.request(); <-answer; p.send(text("hello")); always(text("hello"))(p) }, status(503), echo, resets, nil)
	var waiting sync.WaitGroup
	var open [2]*Response
	for i := range open {
		waiting.Go(func() {
			var err error
			if open[i], err = p.Do(t.Context(), get("POST")); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, func() bool { return p.set.Load().inFlight() == 2 })
	_, err := p.Do(t.Context(), get("GET"))
	wantKind(t, err, ConnectionLimit)
	if _, unsent := kindOf(err); !unsent || p.Stats().Shed != 1 || p.Stats().Limit != 2 {
		t.Errorf("%v; %d shed beyond %d", err, p.Stats().Shed, p.Stats().Limit)
	}
	close(answer)
	waiting.Wait()
	if n := p.plan.limiter.Snapshot().InFlight; n != 0 {
		t.Errorf("%d in flight behind the heads", n)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 60 {
		ctx, req := t.Context(), hashed(uint64(i)<<48)
		req.Target, req.Fields = "/", wire.Fields{{Name: "Host", Value: "h"}}
		if i%3 == 0 {
			req.Method = "POST"
		}
		if i%10 == 0 {
			ctx = gone
		}
		_, _, _ = roundTrip(ctx, p, req)
		if n := p.plan.limiter.Snapshot().InFlight; n != 0 {
			t.Fatalf("%d in flight", n)
		}
	}
	for _, resp := range open {
		if resp != nil && resp.Server == walk[:1] {
			_ = resp.Body.Close()
		}
	}
}

// TestOutcomes is what a limiter is told.
func TestOutcomes(t *testing.T) {
	answer := func(code int) result { return result{resp: &Response{Status: code}} }
	fail := func(k Kind) result { return result{err: &Error{Kind: k, Err: net.ErrClosed}} }
	streamed := post(io.NopCloser(strings.NewReader("x")), 1)
	kept := *streamed
	kept.kept = []byte("x")
	for _, tt := range []struct {
		of   result
		req  *Request
		want health.Outcome
	}{
		{answer(200), get("GET"), health.Served},
		{answer(500), get("GET"), health.Served},
		{answer(503), get("GET"), health.DroppedByServer},
		{answer(200), streamed, health.Ignored},
		{answer(503), streamed, health.DroppedByServer},
		{answer(200), &kept, health.Served},
		{fail(ReadTimeout), get("GET"), health.DroppedByServer},
		{fail(ConnectTimeout), get("GET"), health.DroppedByServer},
		{fail(ConnectionLimit), get("GET"), health.DroppedByServer},
		{fail(Terminated), get("GET"), health.DroppedByServer},
		{fail(Canceled), get("GET"), health.Ignored},
		{fail(RequestIncomplete), get("GET"), health.Ignored},
		{fail(Protocol), get("GET"), health.Ignored},
		{fail(Unavailable), get("GET"), health.Ignored},
	} {
		if got := tt.of.outcome(tt.req); got != tt.want {
			t.Errorf("%+v %v: %v, want %v", tt.of.resp, tt.of.err, got, tt.want)
		}
	}
}
