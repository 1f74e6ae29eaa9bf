package upstream

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/health"
)

// sickening is a server whose checks fail once sick is set, and which then
// answers nothing else either until well is closed.
func sickening(sick *atomic.Bool, well <-chan struct{}, asked *atomic.Int64) func(*peer) {
	return func(p *peer) {
		for {
			r, ok := p.request()
			switch {
			case !ok:
				return
			case r.target == "/healthz" && !sick.Load():
				p.send("HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n")
				return
			case r.target == "/healthz":
				return
			case r.target == "/head":
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
				asked.Add(1)
				<-well
				p.send("body")
				continue
			}
			asked.Add(1)
			<-well
			p.send(text("well again"))
		}
	}
}

// TestAbandon: when a server turns out to be down, who waits for it and may is
// answered elsewhere at once, whatever the budget; who must not goes on waiting,
// and who has a head already.
func TestAbandon(t *testing.T) {
	var sick atomic.Bool
	var asked atomic.Int64
	well := make(chan struct{})
	heal := sync.OnceFunc(func() { close(well) })
	other := func(p *peer) {
		for {
			r, ok := p.request()
			switch {
			case !ok:
				return
			case r.target == "/healthz":
				p.send("HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n")
				return
			}
			p.send(text("elsewhere " + r.body))
		}
	}
	p, walk := inWalk(t, func(o *Options) {
		o.Check = &health.Check{Path: "/healthz", Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond, Rise: 1, Fall: 1}
		o.Retry.Budget, o.Retry.BudgetMin, o.Retry.MaxBody = 0, 0, 100
	}, sickening(&sick, well, &asked), other)
	t.Cleanup(heal) // before the servers end
	type answer struct{ body, by string }
	const each = 20
	moved, stay := make(chan answer, 2*each), make(chan answer, 2)
	ask := func(req *Request, to chan answer) {
		resp, body, err := roundTrip(t.Context(), p, req)
		if err != nil {
			t.Error(err)
			to <- answer{}
			return
		}
		to <- answer{body, resp.Server}
	}
	for range each {
		go ask(get("GET"), moved)
		go ask(&Request{Method: "PUT", Target: "/", Body: io.NopCloser(strings.NewReader("x")), Length: 1}, moved)
	}
	go ask(get("POST"), stay)
	head := get("GET")
	head.Target = "/head"
	go ask(head, stay)
	until(t, func() bool { return asked.Load() == 2*each+2 })
	sick.Store(true)
	for range 2 * each {
		if got := <-moved; got.by != walk[1:] || !strings.HasPrefix(got.body, "elsewhere") {
			t.Errorf("got %q by %s", got.body, got.by)
		}
	}
	// A request that set out before it was known comes to wait behind it.
	s := p.set.Load().members[walk[0]-'a'].server
	until(t, func() bool { return p.Stats().Servers[walk[0]-'a'].InFlight == 2 })
	if !s.tryEnter() {
		t.Fatal("no room")
	}
	r := p.plan.try(t.Context(), s, get("GET"), true)
	wantKind(t, r.err, Terminated)
	if len(stay) != 0 {
		t.Errorf("who must not be moved got %+v", <-stay)
	}
	if st := p.Stats(); st.Retries != 2*each || st.OutOfBudget != 0 || st.Servers[walk[0]-'a'].Health.Streak != 0 {
		t.Errorf("%d retries, %d out of budget, streak %d", st.Retries, st.OutOfBudget, st.Servers[walk[0]-'a'].Health.Streak)
	}
	heal()
	for range 2 {
		if got := <-stay; got.by != walk[:1] || got.body != "well again" && got.body != "body" {
			t.Errorf("who had to wait got %q by %s", got.body, got.by)
		}
	}
	sick.Store(false)
	until(t, func() bool { return p.Stats().Servers[walk[0]-'a'].Share == 1 })
	mustGet(t, p, "well again")
}

// told waits until health has said what it has to say at first, so that what
// [Pool.adopt] is given from then on stays.
func told(t testing.TB, p *Pool) {
	t.Helper()
	drain(t, p, "a", true)
	drain(t, p, "a", false)
}

// TestNotAbandoned: nobody is broken off who has nowhere else to go.
func TestNotAbandoned(t *testing.T) {
	for name, tt := range map[string]struct {
		servers int
		change  func(*Retry)
	}{
		"no retries":             {2, func(r *Retry) { r.Attempts = 1 }},
		"not where it was reset": {2, func(r *Retry) { r.Reset = false }},
		"nobody else":            {1, func(*Retry) {}},
		"panic":                  {2, func(*Retry) {}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			answer := make(chan struct{})
			script := func(p *peer) { p.request(); asked.Add(1); <-answer; p.send(text("late")); p.hold() }
			p, walk := inWalk(t, func(o *Options) {
				tt.change(&o.Retry)
				if name == "panic" {
					o.PanicPercent = 100
				}
			}, []func(*peer){script, script}[:tt.servers]...)
			told(t, p)
			done := make(chan struct{})
			go func() {
				defer close(done)
				mustGet(t, p, "late")
			}()
			until(t, func() bool { return asked.Load() == 1 })
			states := p.group.Shares()
			first := walk[0] - 'a'
			states[first].Standing, states[first].Factor = health.Down, 0
			p.adopt(states)
			if st := p.Stats(); (st.Servers[first].Share == 1) != (tt.servers == 1 || name == "panic") {
				t.Errorf("%+v", st)
			}
			select {
			case <-done:
				t.Error("it was broken off")
			case <-time.After(20 * time.Millisecond):
			}
			close(answer)
			soon(t, func() { <-done })
			if asked.Load() != 1 {
				t.Errorf("%d servers were asked", asked.Load())
			}
		})
	}
}

// TestAbandonAfterPanic: who was left waiting while health was disregarded is
// moved once it counts again.
func TestAbandonAfterPanic(t *testing.T) {
	p, walk := inWalk(t, func(o *Options) { o.PanicPercent = 50 }, silent, echo, echo)
	told(t, p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		mustGet(t, p, "GET ")
	}()
	s := p.set.Load().members[walk[0]-'a'].server
	until(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.waiting != nil })
	was := p.group.Shares()
	states := append([]health.Share(nil), was...)
	for _, i := range walk[:2] {
		states[i-'a'] = health.Share{Member: states[i-'a'].Member, Standing: health.Down}
	}
	p.adopt(states)
	states = append([]health.Share(nil), states...)
	states[walk[1]-'a'] = was[walk[1]-'a']
	p.adopt(states)
	soon(t, func() { <-done })
}

// TestNotAbandonedInPanic: the first request that is sent in spite of all is not
// taken back for what was known before.
func TestNotAbandonedInPanic(t *testing.T) {
	log := make(logged) // each line waits until it is read
	p, walk := inWalk(t, func(o *Options) { o.Log = slog.New(log) }, echo, echo)
	go func() {
		for range 2 {
			<-log
		}
	}()
	told(t, p)
	states := p.group.Shares()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, i := range walk {
			states[i-'a'] = health.Share{Member: states[i-'a'].Member, Standing: health.Down}
			p.adopt(slices.Clone(states))
		}
	}()
	until(t, func() bool { return p.set.Load().panics })
	if resp := mustGet(t, p, "GET "); resp.Server != walk[:1] || resp.Attempts != 1 {
		t.Errorf("%s answered at attempt %d", resp.Server, resp.Attempts)
	}
	<-log
	<-done
}

// TestAdoptIsForItsSet: what health says of other servers changes nothing.
func TestAdoptIsForItsSet(t *testing.T) {
	p := weighted(t, nil, 1, 1)
	told(t, p)
	down := func(of *Pool) []health.Share {
		states := of.group.Shares()
		states[0].Standing, states[0].Factor = health.Down, 0
		return states
	}
	for _, states := range [][]health.Share{down(weighted(t, nil, 1, 1)), down(weighted(t, nil, 1)), nil, append(down(p), down(p)[1])} {
		p.adopt(states)
		if p.set.Load().factors[0] != 1 {
			t.Error("the states of another set count")
		}
	}
	p.adopt(down(p))
	if p.set.Load().factors[0] != 0 {
		t.Error("its own do not")
	}
}

// TestAbandonAtAnyMoment: a server goes down and up while heads arrive; each
// request has exactly one answer, and one that must not be repeated one attempt.
func TestAbandonAtAnyMoment(t *testing.T) {
	script := func(p *peer) {
		for i := p.n; ; i++ {
			r, ok := p.request()
			if !ok {
				return
			}
			for range i % 40 {
				runtime.Gosched()
			}
			p.send(text(r.target))
		}
	}
	p, walk := inWalk(t, func(o *Options) { o.Retry.MaxBody = 100 }, script, script, script)
	first := p.set.Load().members[walk[0]-'a'].server
	var clients sync.WaitGroup
	var posts atomic.Uint64
	for i := range 4 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for range 300 {
				req := get("GET")
				switch rnd.IntN(3) {
				case 0:
					req = &Request{Method: "PUT", Target: "/y", Body: io.NopCloser(strings.NewReader("x")), Length: 1}
				case 1:
					req.Method = "POST"
					posts.Add(1)
				}
				resp, body, err := roundTrip(t.Context(), p, req)
				if err != nil || body != req.Target || req.Method == "POST" && resp.Attempts != 1 {
					t.Errorf("%s: got %q, %v", req.Method, body, err)
				}
			}
		})
	}
	stop := make(chan struct{})
	var flapping sync.WaitGroup
	flapping.Go(func() {
		rnd := rand.New(rand.NewPCG(9, 9))
		for down := true; ; down = !down {
			select {
			case <-stop:
				return
			default:
			}
			first.setDown(down)
			for range rnd.IntN(100) {
				runtime.Gosched()
			}
		}
	})
	soon(t, clients.Wait)
	close(stop)
	flapping.Wait()
	if first.waiting != nil {
		t.Error("somebody is left waiting")
	}
	if st := p.Stats(); st.Retries == 0 || posts.Load() == 0 {
		t.Errorf("%d retries", st.Retries)
	}
}
