package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"ringfence/health"
	"ringfence/proxy/wire"
)

// inWalk makes a pool whose servers follow these scripts in the order of the
// walk of hash 0, which it returns; nil is a server that is not there.
func inWalk(t testing.TB, change func(*Options), scripts ...func(*peer)) (*Pool, string) {
	t.Helper()
	weights := make([]int, len(scripts))
	for i := range weights {
		weights[i] = 1
	}
	walk := walkOf(weighted(t, nil, weights...))
	addrs := make([]string, len(scripts))
	for i, script := range scripts {
		at := &addrs[walk[i]-'a']
		if *at = refused(t); script != nil {
			*at = newOrigin(t, script).addr()
		}
	}
	return pool(t, change, addrs...), walk
}

// status answers every request with a status, and a body that says so.
func status(code int) func(*peer) {
	return always(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 3\r\n\r\n%d", code, code))
}

func silent(p *peer) { p.request(); p.hold() }
func resets(p *peer) { p.request(); p.reset() }

// echo answers with the request's method and body.
func echo(p *peer) {
	for {
		r, ok := p.request()
		if !ok || r.err != nil {
			return
		}
		p.send(text(r.method + " " + r.body))
	}
}

// TestRetry is which failures are followed by another server's attempt.
func TestRetry(t *testing.T) {
	with := func(method, body string, length int64) func() *Request {
		return func() *Request {
			return &Request{Method: method, Target: "/", Body: io.NopCloser(strings.NewReader(body)), Length: length}
		}
	}
	none := func(method string) func() *Request { return func() *Request { return get(method) } }
	all := Retry{
		Attempts: 3, Connect: true, Reset: true, Timeout: true, PerTry: 100 * time.Millisecond,
		Statuses: []int{502, 503}, BudgetMin: 10, MaxBody: 4,
	}
	but := func(change func(*Retry)) Retry { r := all; change(&r); return r }
	noConnect := but(func(r *Retry) { r.Connect = false })
	noReset := but(func(r *Retry) { r.Reset = false })
	noStatus := but(func(r *Retry) { r.Statuses = nil })
	noBody := but(func(r *Retry) { r.MaxBody = 0 })
	two := but(func(r *Retry) { r.Attempts = 2 })
	one := but(func(r *Retry) { r.Attempts = 1 })
	const chunks = wire.Chunked
	for _, tt := range []struct {
		name    string
		retry   Retry
		req     func() *Request
		scripts []func(*peer) // the last one echoes
		want    string        // body, or kind of failure
		asked   int
	}{
		{"no connection", all, none("GET"), []func(*peer){nil}, "GET ", 2},
		{"no connection, POST", all, with("POST", "body", 4), []func(*peer){nil, nil}, "POST body", 3},
		{"no connection, streamed", all, with("PATCH", "longer", chunks), []func(*peer){nil, nil}, "PATCH longer", 3},
		{"no connection, not asked for", noConnect, none("GET"), []func(*peer){nil}, "connection_refused", 1},
		{"no connection, two attempts", two, none("GET"), []func(*peer){nil, nil}, "connection_refused", 2},
		{"no connection, one attempt", one, none("GET"), []func(*peer){nil}, "connection_refused", 1},
		{"reset", all, none("GET"), []func(*peer){resets}, "GET ", 2},
		{"reset, not asked for", noReset, none("GET"), []func(*peer){resets}, "connection_terminated", 1},
		{"reset, DELETE", all, none("DELETE"), []func(*peer){resets, nil}, "DELETE ", 3},
		{"reset, POST", all, none("POST"), []func(*peer){resets}, "connection_terminated", 1},
		{"reset, kept", all, with("PUT", "body", 4), []func(*peer){resets, resets}, "PUT body", 3},
		{"reset, kept POST", all, with("POST", "body", 4), []func(*peer){resets}, "connection_terminated", 1},
		{"reset, too large", all, with("PUT", "large", 5), []func(*peer){resets}, "connection_terminated", 1},
		{"reset, chunked", all, with("PUT", "body", chunks), []func(*peer){resets}, "connection_terminated", 1},
		{"reset, nothing kept", noBody, with("PUT", "b", 1), []func(*peer){resets}, "connection_terminated", 1},
		{"reset, one attempt", one, with("PUT", "body", 4), []func(*peer){resets}, "connection_terminated", 1},
		{"timeout", all, none("GET"), []func(*peer){silent}, "GET ", 2},
		{"timeout, kept", all, with("PUT", "body", 4), []func(*peer){silent, resets}, "PUT body", 3},
		{"timeout, two attempts", two, none("GET"), []func(*peer){silent, resets}, "connection_terminated", 2},
		{"status", all, none("GET"), []func(*peer){status(503)}, "GET ", 2},
		{"statuses", all, none("HEAD"), []func(*peer){status(502), status(503)}, "", 3},
		{"status, kept", all, with("PUT", "body", 4), []func(*peer){status(503)}, "PUT body", 2},
		{"status, POST", all, none("POST"), []func(*peer){status(503)}, "503", 1},
		{"status, large", all, with("PUT", "large", 5), []func(*peer){status(503)}, "503", 1},
		{"another status", all, none("GET"), []func(*peer){status(500)}, "500", 1},
		{"status, not asked for", noStatus, none("GET"), []func(*peer){status(503)}, "503", 1},
		{"the last answer stands", all, none("GET"), []func(*peer){status(502), status(503), status(502)}, "502", 3},
		{"the last failure stands", two, none("GET"), []func(*peer){status(503), resets}, "connection_terminated", 2},
		{"one of each", but(func(r *Retry) { r.Attempts = 10 }), with("PUT", "body", 4),
			[]func(*peer){nil, resets, silent, status(502), nil, resets, silent, status(503)}, "PUT body", 9},
		{"ten", but(func(r *Retry) { r.Attempts = 10 }), none("GET"),
			[]func(*peer){nil, nil, nil, nil, nil, nil, nil, nil, nil}, "GET ", 10},
		{"no more than ten", but(func(r *Retry) { r.Attempts = 10 }), none("GET"),
			[]func(*peer){nil, nil, nil, nil, nil, nil, nil, nil, nil, resets}, "connection_terminated", 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, walk := inWalk(t, func(o *Options) { o.Retry = tt.retry }, append(tt.scripts, echo)...)
			soon(t, func() {
				resp, got, err := roundTrip(t.Context(), p, tt.req())
				if err != nil {
					got, _ = kindOf(err)
				} else if resp.Attempts != tt.asked || resp.Server != walk[tt.asked-1:tt.asked] {
					t.Errorf("answered by %s at attempt %d, want %d of %s", resp.Server, resp.Attempts, tt.asked, walk)
				}
				if got != tt.want {
					t.Errorf("got %q, %v; want %q", got, err, tt.want)
				}
			})
			st := p.Stats()
			for i := range walk {
				if n := st.Servers[walk[i]-'a'].Requests; n > 1 || n == 1 != (i < tt.asked) {
					t.Errorf("place %d was asked %d times", i, n)
				}
			}
			if st.Retries != uint64(tt.asked-1) || st.OutOfBudget != 0 {
				t.Errorf("%d retries, %d out of budget", st.Retries, st.OutOfBudget)
			}
		})
	}
}

// TestPerTry: it bounds the wait where somebody else may be asked, and only
// there.
func TestPerTry(t *testing.T) {
	const wait = 60 * time.Millisecond
	late := func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			<-time.After(wait)
			p.send(text("late"))
		}
	}
	for name, tt := range map[string]struct {
		scripts []func(*peer)
		method  string
		change  func(*Retry)
		asked   int
	}{
		"the last of the attempts":  {[]func(*peer){late, late, echo}, "GET", func(r *Retry) { r.Attempts = 2 }, 2},
		"the last of the members":   {[]func(*peer){late, late}, "GET", func(r *Retry) { r.Attempts = 9 }, 2},
		"a member alone":            {[]func(*peer){late}, "GET", func(*Retry) {}, 1},
		"the other one is drained":  {[]func(*peer){late, echo}, "GET", func(*Retry) {}, 1},
		"not to be repeated":        {[]func(*peer){late, echo}, "POST", func(*Retry) {}, 1},
		"timeouts are not repeated": {[]func(*peer){late, echo}, "GET", func(r *Retry) { r.Timeout = false }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, walk := inWalk(t, func(o *Options) {
				o.Retry.Timeout, o.Retry.PerTry = true, wait/3
				tt.change(&o.Retry)
			}, tt.scripts...)
			if strings.Contains(name, "drained") {
				drain(t, p, walk[1:2], true)
			}
			resp, body, err := roundTrip(t.Context(), p, get(tt.method))
			if err != nil || body != "late" || resp.Attempts != tt.asked {
				t.Errorf("got %q, %v by %+v", body, err, resp)
			}
		})
	}
}

// TestTimeoutWithoutPerTry: the response timeout is for the whole request.
func TestTimeoutWithoutPerTry(t *testing.T) {
	p, _ := inWalk(t, func(o *Options) { o.Retry.Timeout, o.ResponseTimeout = true, 30*time.Millisecond }, silent, echo)
	_, _, err := roundTrip(t.Context(), p, get("GET"))
	wantKind(t, err, ReadTimeout)
}

// TestDiscardedAnswer: a small answer that is not passed on does not cost its
// connection, and a large one does.
func TestDiscardedAnswer(t *testing.T) {
	for size, kept := range map[int]int{0: 1, 1000: 1, 100 << 10: 0} {
		p, walk := inWalk(t, func(o *Options) { o.Retry.Statuses = []int{503} },
			always(strings.Replace(text(long(size)), "200", "503", 1)), echo)
		for range 5 {
			if resp := mustGet(t, p, "GET "); resp.Attempts != 2 {
				t.Fatalf("%d attempts", resp.Attempts)
			}
		}
		st := p.Stats().Servers[walk[0]-'a']
		if st.Requests != 5 || st.Idle != kept || (st.Reused > 0) != (kept > 0) {
			t.Errorf("%d bytes: %d requests, %d reused, %d idle", size, st.Requests, st.Reused, st.Idle)
		}
	}
}

// TestAnswerDoesNotWait: who has an answer passes it on rather than wait for a
// place at a server that might have a better one.
func TestAnswerDoesNotWait(t *testing.T) {
	p, walk := inWalk(t, func(o *Options) { o.Retry.Statuses = []int{503} }, status(503), echo)
	other := p.set.Load().members[walk[1]-'a'].server
	for other.tryEnter() {
		defer other.leave()
	}
	soon(t, func() {
		if resp := mustGet(t, p, "503"); resp.Attempts != 1 {
			t.Errorf("%d attempts", resp.Attempts)
		}
	})
	if n := p.plan.budget.retries.Load(); n != 0 {
		t.Errorf("%d of the budget are still taken", n)
	}
}

// TestRetryWaits: who has none does.
func TestRetryWaits(t *testing.T) {
	p, walk := inWalk(t, nil, resets, echo)
	other := p.set.Load().members[walk[1]-'a'].server
	for other.gate.inFlight() < 100 {
		other.tryEnter()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp := mustGet(t, p, "GET "); resp.Attempts != 2 {
			t.Errorf("%d attempts", resp.Attempts)
		}
	}()
	until(t, func() bool { return other.gate.queued() == 1 })
	for range 100 {
		other.leave()
	}
	soon(t, func() { <-done })
}

// TestNoRetryAfterTheEnd: nobody else is asked for who has gone.
func TestNoRetryAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, walk := inWalk(t, func(o *Options) { o.Retry.Statuses = []int{503} },
		func(p *peer) { p.request(); cancel(); p.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n") }, echo)
	_, _, _ = roundTrip(ctx, p, get("GET"))
	if st := p.Stats(); st.Retries != 0 || st.Servers[walk[1]-'a'].Requests != 0 {
		t.Errorf("%d retries", st.Retries)
	}
}

// TestKeepsOnlyWhatItMaySend: the body of a request that could not be sent again
// goes out as it comes.
func TestKeepsOnlyWhatItMaySend(t *testing.T) {
	arrived := make(chan struct{})
	p, _ := inWalk(t, func(o *Options) { o.Retry.MaxBody = 100 }, func(p *peer) {
		r, _ := p.head()
		close(arrived)
		body, _ := io.ReadAll(r.Body)
		p.send(text(string(body)))
		p.hold()
	})
	body, client := io.Pipe()
	go func() {
		<-arrived
		_, _ = io.WriteString(client, "late")
	}()
	soon(t, func() {
		if _, got, err := roundTrip(t.Context(), p, post(body, 4)); err != nil || got != "late" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestKeepBodyThatBreaks: a body that its client does not send whole is the
// client's failure, and asks no server.
func TestKeepBodyThatBreaks(t *testing.T) {
	p, _ := inWalk(t, func(o *Options) { o.Retry.MaxBody = 100; o.Concurrency = &health.Limits{Max: 1} }, echo)
	why := errors.New("client broke")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	for _, want := range []Kind{RequestIncomplete, Canceled} {
		body := &clientBody{Reader: io.MultiReader(strings.NewReader("half"), iotest.ErrReader(why))}
		_, _, err := roundTrip(ctx, p, &Request{Method: "PUT", Target: "/", Body: body, Length: 8})
		wantKind(t, err, want)
		if _, unsent := kindOf(err); !unsent || !errors.Is(err, why) || body.closed.Load() != 1 {
			t.Errorf("%v, unsent %v, closed %d times", err, unsent, body.closed.Load())
		}
		cancel(why)
	}
	if st := p.Stats().Servers[0]; st.Requests != 0 || p.plan.limiter.Snapshot().InFlight != 0 {
		t.Errorf("%d requests, %d in flight", st.Requests, p.plan.limiter.Snapshot().InFlight)
	}
}

// TestRetryBeyondTheBound: a bad answer is not passed on because the others have
// their share of the load already, but nobody queues for a better one.
func TestRetryBeyondTheBound(t *testing.T) {
	for name, tt := range map[string]struct {
		limit, asked int
	}{"over its share": {10, 2}, "full": {2, 1}} {
		t.Run(name, func(t *testing.T) {
			p, walk := inWalk(t, func(o *Options) {
				o.BalanceFactor, o.MaxRequests = 0.05, tt.limit
				o.Retry.Statuses = []int{503}
			}, always("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), echo)
			other := p.set.Load().members[walk[1]-'a'].server
			for range 2 {
				other.gate.tryEnter()
				defer other.leave()
			}
			resp, _, err := roundTrip(t.Context(), p, get("GET"))
			if err != nil || resp.Attempts != tt.asked {
				t.Errorf("%v, %+v", err, resp)
			}
		})
	}
}
