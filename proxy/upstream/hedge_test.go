package upstream

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hedged turns hedging on.
func hedged(change func(*Options)) func(*Options) {
	return func(o *Options) {
		o.HedgePercentile = 90
		if change != nil {
			change(o)
		}
	}
}

// after makes a pool hedge after so long, as if its latencies said so.
func after(p *Pool, wait time.Duration) *Pool {
	p.plan.latencies.cut.Store(int64(wait))
	return p
}

// TestHedge: who is silent for longer than most is not waited for alone. The
// scripts follow the places of the walk. What their names say happens "then"
// happens once the second one is asked, and what is "late" a while after that.
func TestHedge(t *testing.T) {
	const late = 100 * time.Millisecond
	scripts := func(second <-chan struct{}) map[string]func(*peer) {
		then := func(wait time.Duration, answer string) func(*peer) {
			return func(p *peer) {
				p.request()
				<-second
				<-time.After(wait)
				if p.send(answer); answer != "" {
					p.hold()
				}
			}
		}
		return map[string]func(*peer){
			"silent": silent, "resets": resets, "echo": echo, "absent": nil,
			"then": then(0, text("then")), "late": then(late, text("late")), "fails": then(0, ""),
			"garbage": then(0, "?\r\n\r\n"), "503": then(0, "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"),
			"204": always("HTTP/1.1 204 No\r\n\r\n"), "large": always(text(long(1 << 20))),
			"slow": func(p *peer) { p.request(); <-time.After(late); p.send(text("slow")); p.hold() },
		}
	}
	for _, tt := range []struct {
		servers string
		wait    time.Duration
		change  func(*Options)
		want    string // body, or kind of failure
		by      int    // place in the walk
		asked   int
		hedges  uint64
		retries uint64
	}{
		{"silent echo", 0, nil, "GET ", 1, 2, 1, 0},
		{"then silent", 0, nil, "then", 0, 2, 1, 0},
		{"late resets echo", 0, nil, "late", 0, 2, 1, 0},
		{"fails late", 0, nil, "late", 1, 2, 1, 0},
		{"garbage late", 0, nil, "late", 1, 2, 1, 0},
		{"503 late", 0, func(o *Options) { o.Retry.Statuses = []int{503} }, "late", 1, 2, 1, 0},
		{"503 late", 0, nil, "", 0, 2, 1, 0},
		{"fails resets echo", 0, nil, "GET ", 2, 3, 1, 1},
		{"fails resets echo", 0, func(o *Options) { o.Retry.Attempts = 2 }, "connection_terminated", 0, 2, 1, 0},
		{"resets echo", time.Minute, nil, "GET ", 1, 2, 0, 1},
		{"absent echo", time.Minute, nil, "GET ", 1, 2, 0, 1},
		{"silent echo", 0, func(o *Options) { o.Retry.Attempts = 1 }, "GET ", 1, 2, 1, 0},
		{"silent 204", 0, nil, "", 1, 2, 1, 0},
		{"silent large", 0, nil, long(1 << 20), 1, 2, 1, 0},
		{"slow echo", 0, func(o *Options) { o.Retry.BudgetMin = 0 }, "slow", 0, 1, 0, 0},
		{"slow full", 0, nil, "slow", 0, 1, 0, 0},
		{"slow", 0, func(o *Options) { o.Retry.BudgetMin = 0 }, "slow", 0, 1, 0, 0},
		// Each has PerTry while there is another attempt or another member.
		{"silent late", 0, func(o *Options) { o.Retry.Timeout, o.Retry.PerTry = true, late/2 }, "late", 1, 2, 1, 0},
		{"late silent", 0, func(o *Options) { o.Retry.Timeout, o.Retry.PerTry, o.Retry.Attempts = true, late/2, 1 }, "late", 0, 2, 1, 0},
	} {
		t.Run(tt.servers, func(t *testing.T) {
			second := make(chan struct{})
			var line []func(*peer)
			for i, name := range strings.Fields(tt.servers) {
				script, once := scripts(second)[name], sync.Once{}
				if i == 1 && script != nil {
					line = append(line, func(p *peer) { once.Do(func() { close(second) }); script(p) })
					continue
				}
				line = append(line, script)
			}
			p, walk := inWalk(t, hedged(tt.change), line...)
			after(p, max(tt.wait, time.Millisecond))
			if strings.HasSuffix(tt.servers, "full") {
				s := p.set.Load().members[walk[1]-'a'].server
				for s.tryEnter() {
					defer s.leave()
				}
			}
			soon(t, func() {
				resp, got, err := roundTrip(t.Context(), p, get("GET"))
				if err != nil {
					got, _ = kindOf(err)
				} else if resp.Server != walk[tt.by:tt.by+1] || resp.Attempts != tt.asked {
					t.Errorf("answered by %s of %s, %d asked", resp.Server, walk, resp.Attempts)
				}
				if got != tt.want {
					t.Errorf("got %.50q, %v; want %.50q", got, err, tt.want)
				}
			})
			st := p.Stats()
			if st.Hedges != tt.hedges || st.Retries != tt.retries || (st.OutOfBudget > 0) != (tt.servers == "slow echo") {
				t.Errorf("%d hedges, %d retries, %d out of budget", st.Hedges, st.Retries, st.OutOfBudget)
			}
			for _, s := range st.Servers {
				if s.Requests > 1 {
					t.Errorf("%s was asked %d times", s.ID, s.Requests)
				}
			}
			if p.plan.budget.retries.Load() != 0 || p.plan.budget.active.Load() != 0 {
				t.Errorf("%d retries, %d active at the end", p.plan.budget.retries.Load(), p.plan.budget.active.Load())
			}
		})
	}
}

// TestNotHedged: what must not be sent twice, or could not be, waits.
func TestNotHedged(t *testing.T) {
	late := func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			<-time.After(30 * time.Millisecond)
			p.send("HTTP/1.1 204 No\r\n\r\n")
		}
	}
	alone := get("GET")
	alone.Alone = true
	for name, req := range map[string]*Request{
		"alone": alone, "HEAD": get("HEAD"), "POST": get("POST"), "PUT": get("PUT"),
		"with a body": {Method: "GET", Target: "/", Body: io.NopCloser(zeros{}), Length: 1},
	} {
		p, walk := inWalk(t, hedged(nil), late, echo)
		after(p, time.Millisecond)
		resp, _, err := roundTrip(t.Context(), p, req)
		if err != nil || resp.Server != walk[:1] || p.Stats().Hedges != 0 {
			t.Errorf("%s: %v, %d hedges", name, err, p.Stats().Hedges)
		}
	}
}

// TestHedgeLearns: the wait is the percentile of what the first members take,
// whoever answers in the end.
func TestHedgeLearns(t *testing.T) {
	var slow atomic.Bool
	p, walk := inWalk(t, hedged(nil), func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			if slow.Load() {
				p.hold()
				return
			}
			p.send(text("first"))
		}
	}, echo)
	for range latencyLeast {
		mustGet(t, p, "first")
	}
	wait := p.plan.latencies.percentile()
	if wait <= 0 || wait > 10*time.Second || p.Stats().Hedges != 0 {
		t.Fatalf("after %d answers the wait is %v, %d hedges", latencyLeast, wait, p.Stats().Hedges)
	}
	if _, _, err := roundTrip(t.Context(), p, get("HEAD")); err != nil || p.plan.latencies.seen.Load() != latencyLeast {
		t.Errorf("%v; %d latencies, those of other requests count", err, p.plan.latencies.seen.Load())
	}
	after(p, 20*time.Millisecond)
	slow.Store(true)
	began := time.Now()
	if resp := mustGet(t, p, "GET "); resp.Server != walk[1:] || time.Since(began) < 20*time.Millisecond {
		t.Errorf("%s answered after %v", resp.Server, time.Since(began))
	}
	// The one that was broken off counts, for as long as it was given, and the
	// one that took its place does not.
	above := uint32(0)
	for i := latencyBucket(20 * time.Millisecond); i < latencyBuckets; i++ {
		above += p.plan.latencies.counts[i].Load()
	}
	if n := p.plan.latencies.seen.Load(); n != latencyLeast+1 || above == 0 {
		t.Errorf("%d latencies, %d of them long", n, above)
	}
	after(p, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _, err := roundTrip(ctx, p, get("GET"))
	wantKind(t, err, Canceled)
	if n := p.plan.latencies.seen.Load(); n != latencyLeast+1 {
		t.Errorf("%d latencies, that of a client which left counts", n)
	}
}

// TestHedgeCanceled: the end of the context ends both exchanges.
func TestHedgeCanceled(t *testing.T) {
	p, _ := inWalk(t, hedged(nil), silent, silent)
	after(p, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for p.Stats().Hedges == 0 {
			<-time.After(time.Millisecond)
		}
		cancel()
	}()
	soon(t, func() {
		_, _, err := roundTrip(ctx, p, get("GET"))
		wantKind(t, err, Canceled)
	})
	if st := p.Stats(); st.Retries != 0 {
		t.Errorf("%d retries", st.Retries)
	}
}

// TestHedgesUnderLoad: answers, failures and hedges as they come; no request is
// lost, and nothing is left.
func TestHedgesUnderLoad(t *testing.T) {
	script := func(p *peer) {
		for i := p.n; ; i++ {
			if _, ok := p.request(); !ok {
				return
			}
			switch i % 7 {
			case 0:
				<-time.After(3 * time.Millisecond)
			case 1:
				return
			case 2:
				p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
				continue
			}
			p.send(text("hello"))
		}
	}
	p, _ := inWalk(t, hedged(func(o *Options) { o.Retry.Attempts = 4 }), script, script, script, always(text("hello")))
	after(p, 100*time.Microsecond)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				req := get("GET")
				req.Hash = uint64(i*100+j) << 40
				if j%9 == 0 {
					go cancel()
				}
				_, body, err := roundTrip(ctx, p, req)
				if kind, _ := kindOf(err); err == nil && body != "hello" || err != nil && kind != Canceled.String() {
					t.Errorf("got %q, %v", body, err)
				}
				cancel()
			}
		})
	}
	soon(t, clients.Wait)
	if p.Stats().Hedges == 0 {
		t.Error("nothing was hedged")
	}
}
