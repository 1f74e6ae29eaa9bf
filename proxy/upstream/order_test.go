package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/proxy/upstream/discover"
	"ringfence/ring"
)

// weighted makes a pool of servers of these weights that nobody connects to.
func weighted(t testing.TB, change func(*Options), weights ...int) *Pool {
	t.Helper()
	addrs := make([]string, len(weights))
	for i := range addrs {
		addrs[i] = fmt.Sprintf("127.0.0.1:%d", i+1)
	}
	return pool(t, func(o *Options) {
		for i := range weights {
			o.Discover.Entries[i].Weight = weights[i]
		}
		if change != nil {
			change(o)
		}
	}, addrs...)
}

// enter gives a request to a member, which it has to leave again.
func enter(t testing.TB, p *Pool, req *Request) *server {
	t.Helper()
	var o order
	o.begin(p, p.set.Load(), req)
	s, err := o.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// turn gives a request to a member that is done with it at once.
func turn(t testing.TB, p *Pool, req *Request) string {
	t.Helper()
	s := enter(t, p, req)
	s.leave()
	return s.id
}

// until waits for what other goroutines are about to do.
func until(t testing.TB, is func() bool) {
	t.Helper()
	soon(t, func() {
		for range time.Tick(time.Millisecond) {
			if is() {
				return
			}
		}
	})
}

// drain drains a server, or ends that, and waits for it to count.
func drain(t testing.TB, p *Pool, id string, on bool) {
	t.Helper()
	if !p.Drain(id, on) {
		t.Fatalf("there is no server %s", id)
	}
	until(t, func() bool {
		for i, m := range p.set.Load().members {
			if m.id == id {
				return p.set.Load().factors[i] == 0 == on
			}
		}
		return false
	})
}

func hashed(hash uint64) *Request { return &Request{Method: "GET", Hash: hash} }

// TestKeyBeatsHash: with a key, the hash does not matter.
func TestKeyBeatsHash(t *testing.T) {
	for _, balance := range []Balance{Hash, Ketama} {
		p := weighted(t, func(o *Options) { o.Balance = balance }, 1, 1, 1)
		byKey, byHash := make(map[string]string), make(map[string]bool)
		for i := range 200 {
			key := fmt.Sprint(i % 20)
			got := turn(t, p, &Request{Key: key, Hash: rand.Uint64()})
			if was, ok := byKey[key]; ok && was != got {
				t.Errorf("balance %d: key %s is at %s and at %s", balance, key, was, got)
			}
			byKey[key] = got
			byHash[turn(t, p, &Request{Hash: p.set.Load().all.Hash([]byte(key))})] = true
		}
		if len(byHash) != 3 {
			t.Errorf("balance %d: hashes go to %v only", balance, byHash)
		}
		for key, at := range byKey {
			if got := turn(t, p, &Request{Hash: p.set.Load().all.Hash([]byte(key))}); got != at {
				t.Errorf("balance %d: key %s is at %s, and its hash at %s", balance, key, at, got)
			}
		}
	}
}

// TestKetamaPlacesAddresses, as nginx does, whatever the servers are called.
func TestKetamaPlacesAddresses(t *testing.T) {
	p := weighted(t, func(o *Options) { o.Balance = Ketama }, 1, 2, 3)
	r, err := ring.NewKetama([]ring.Member{
		{ID: "127.0.0.1:1", Weight: 1}, {ID: "127.0.0.1:2", Weight: 2}, {ID: "127.0.0.1:3", Weight: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		key := fmt.Sprint("/", i)
		w := r.Walk(r.Hash([]byte(key)))
		m, _ := w.Next()
		if got := turn(t, p, &Request{Key: key}); got != string(rune('a'+m)) {
			t.Errorf("%s is at %s, want %c", key, got, 'a'+m)
		}
	}
}

// TestLeastRequests: of two members the one with fewer requests for its weight.
func TestLeastRequests(t *testing.T) {
	p := weighted(t, func(o *Options) { o.Balance = LeastRequests }, 3, 1)
	var inside []*server
	counts := func() string {
		st := p.Stats().Servers
		return fmt.Sprint(st[0].InFlight, st[1].InFlight)
	}
	for i := range 10 {
		for range 4 {
			inside = append(inside, enter(t, p, get("GET")))
		}
		if want := fmt.Sprint(3*(i+1), i+1); counts() != want {
			t.Errorf("in flight %s, want %s", counts(), want)
		}
	}
	for i, s := range inside { // one member gets free and the next requests
		if s.id == "b" {
			s.leave()
			inside[i] = nil
		}
	}
	for range 10 {
		inside = append(inside, enter(t, p, get("GET")))
	}
	if counts() != "30 10" {
		t.Errorf("in flight %s, want as before", counts())
	}
	for _, s := range inside {
		if s != nil {
			s.leave()
		}
	}
}

// TestLeastRequestsTakesTwo: of many members, two are looked at: the one with
// the most requests gets none, and any other one some.
func TestLeastRequestsTakesTwo(t *testing.T) {
	p := weighted(t, func(o *Options) { o.Balance = LeastRequests }, 1, 1, 1, 1)
	var inside []*server
	for i, n := range []int{3, 0, 1, 2} {
		s := p.set.Load().members[i].server
		for range n {
			s.tryEnter()
			inside = append(inside, s)
		}
	}
	got := make(map[string]int)
	for range 2000 {
		got[turn(t, p, get("GET"))]++
	}
	// Of the six pairs b wins three, c two and d one.
	for id, want := range map[string]float64{"a": 0, "b": 1000, "c": 2000. / 3, "d": 1000. / 3} {
		if math.Abs(float64(got[id])-want) > 120 {
			t.Errorf("%s got %d of 2000, want about %.0f", id, got[id], want)
		}
	}
	for _, s := range inside {
		s.leave()
	}
}

// TestRoundRobin: smooth and exact, also where one goes and comes back.
func TestRoundRobin(t *testing.T) {
	p := weighted(t, func(o *Options) { o.Balance = RoundRobin }, 5, 1, 1)
	cycle := func(n int) string {
		var got strings.Builder
		for range n {
			got.WriteString(turn(t, p, get("GET")))
		}
		return got.String()
	}
	for range 3 { // nginx's sequence
		if got := cycle(7); got != "aabacaa" {
			t.Errorf("got %s", got)
		}
	}
	_ = cycle(3)
	drain(t, p, "b", true)
	if got := cycle(60); strings.Count(got, "a") != 50 || strings.Contains(got, "aaaaaaaa") {
		t.Errorf("without b: %s", got)
	}
	drain(t, p, "b", false)
	if got := cycle(70); strings.Count(got, "b") != 10 || strings.Count(got, "c") != 10 || strings.Contains(got, "bb") {
		t.Errorf("with b again: %s", got)
	}
	for !strings.HasSuffix(cycle(1), "c") { // behind it a has the greatest claim
	}
	drain(t, p, "a", true)
	if got := cycle(20); strings.Count(got, "b") != 10 || strings.Count(got, "c") != 10 {
		t.Errorf("without a: %s", got)
	}
}

// TestRandom: any member, by weight.
func TestRandom(t *testing.T) {
	weights := []int{1, 2, 5, 0}
	p := weighted(t, func(o *Options) { o.Balance = Random }, weights...)
	const n = 8000
	got := make(map[string]int)
	for range n {
		got[turn(t, p, &Request{Key: "same", Hash: 1})]++
	}
	for i, m := range p.set.Load().members {
		share := float64(weights[i]) / 8
		if off := math.Abs(float64(got[m.id]) - share*n); off > 5*math.Sqrt(n*share*(1-share)) {
			t.Errorf("%s got %d of %d, want about %.0f", m.id, got[m.id], n, share*n)
		}
	}
}

// TestBoundedLoad: each request goes to the first member of its walk that has
// not reached its capacity at the moment, whatever comes and goes.
func TestBoundedLoad(t *testing.T) {
	weights := []int{1, 2, 1, 3, 1}
	for _, balance := range []Balance{Hash, Ketama} {
		for _, factor := range []float64{0, 0.1, 0.5, 1} {
			p := weighted(t, func(o *Options) { o.Balance, o.BalanceFactor, o.MaxConnections = balance, factor, 1000 }, weights...)
			rnd := rand.New(rand.NewPCG(1, uint64(factor*10)))
			zipf := rand.NewZipf(rnd, 1.1, 1, 1000)
			var inside []*server
			passed := uint64(0)
			for range 2000 {
				if len(inside) > 300 || len(inside) > 0 && rnd.IntN(3) == 0 {
					i := rnd.IntN(len(inside))
					inside[i].leave()
					inside = slices.Delete(inside, i, i+1)
					continue
				}
				s := p.set.Load()
				req := hashed(s.all.Hash([]byte{byte(zipf.Uint64())}))
				want := ""
				for w := s.live.Walk(req.Hash); ; {
					m, ok := w.Next()
					if !ok {
						t.Fatal("no member has room")
					}
					most := math.Ceil((1 + factor) * float64(len(inside)+1) * float64(weights[m]) / 8)
					if factor == 0 || float64(s.members[m].gate.inFlight()) < most {
						want = s.members[m].id
						break
					}
					passed++
				}
				got := enter(t, p, req)
				if inside = append(inside, got); got.id != want {
					t.Fatalf("factor %v: with %d in flight %s got it, want %s", factor, len(inside), got.id, want)
				}
			}
			for _, s := range inside {
				s.leave()
			}
			if got := p.Stats().Spread; got != passed || passed > 0 != (factor > 0) {
				t.Errorf("factor %v: passed over %d times, counted %d", factor, passed, got)
			}
		}
	}
}

// TestHotKey: a key alone spreads along its walk as far as its load needs, and
// goes back.
func TestHotKey(t *testing.T) {
	for factor, want := range map[float64]string{0: "aaaaaaaaaa", 0.5: "ababcabcab", 1: "ababababab"} {
		p := weighted(t, func(o *Options) { o.BalanceFactor = factor }, 1, 1, 1, 1)
		place := strings.NewReplacer(walkOf(p)[:1], "a", walkOf(p)[1:2], "b", walkOf(p)[2:3], "c", walkOf(p)[3:], "d")
		for range 2 {
			var inside []*server
			got := ""
			for range 10 {
				s := enter(t, p, hashed(0))
				inside = append(inside, s)
				got += place.Replace(s.id)
			}
			for _, s := range inside {
				s.leave()
			}
			if got != want {
				t.Errorf("factor %v: %s, want %s", factor, got, want)
			}
		}
	}
}

// TestAllFull: who finds all members full waits for the first of its order, in
// order, for as long and with as many others as may be.
func TestAllFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Options{
			Name: "test", MaxHeadSize: minHead, MaxConnections: 1, QueueSize: 2, QueueTimeout: time.Second,
			Retry: Retry{Attempts: 3, Connect: true, BudgetMin: 1},
			Discover: discover.Options{Entries: []discover.Entry{
				{ID: "a", Address: "127.0.0.1:1", Weight: 1}, {ID: "b", Address: "127.0.0.1:2", Weight: 1},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		first := enter(t, p, hashed(0))
		second := enter(t, p, hashed(0))
		if walk := walkOf(p); first.id+second.id != walk {
			t.Fatalf("%s and %s, want %s", first.id, second.id, walk)
		}
		answered := make(chan int, 2)
		for i := range 2 {
			go func() {
				if s := enter(t, p, hashed(0)); s != first {
					t.Errorf("waited at %s", s.id)
				}
				answered <- i
			}()
			synctest.Wait()
		}
		if first.gate.queued() != 2 || second.gate.queued() != 0 {
			t.Fatalf("%d and %d wait", first.gate.queued(), second.gate.queued())
		}
		refused := func(want time.Duration) {
			began := time.Now()
			_, err := p.Do(t.Context(), hashed(0))
			wantKind(t, err, ConnectionLimit)
			if _, unsent := kindOf(err); !unsent || time.Since(began) != want {
				t.Errorf("%v after %v, unsent %v", err, time.Since(began), unsent)
			}
		}
		refused(0) // the queue is full
		first.leave()
		if i := <-answered; i != 0 {
			t.Error("the second overtook the first")
		}
		first.leave()
		<-answered
		refused(time.Second) // no place gets free
		st := p.Stats().Servers[first.id[0]-'a']
		if st.Waited != 3 || st.QueueFull != 1 || st.QueueLate != 1 || st.Failures[ConnectionLimit] != 2 || st.Health.Streak != 0 {
			t.Errorf("counted %+v", st)
		}
		first.leave()
		second.leave()
	})
}

// TestAllFullInTurn: a request that does not find room takes one turn of the
// round robin, not two.
func TestAllFullInTurn(t *testing.T) {
	p := weighted(t, func(o *Options) { o.Balance, o.MaxRequests = RoundRobin, 1 }, 1, 1)
	for range 2 {
		enter(t, p, get("GET"))
	}
	for i := range 6 {
		go turn(t, p, get("GET"))
		until(t, func() bool { st := p.Stats().Servers; return st[0].Queued+st[1].Queued == i+1 })
	}
	st := p.Stats().Servers
	if st[0].Queued != 3 || st[1].Queued != 3 {
		t.Errorf("%d and %d wait", st[0].Queued, st[1].Queued)
	}
	for _, m := range p.set.Load().members {
		m.leave()
	}
	until(t, func() bool { return p.set.Load().inFlight() == 0 })
}

// TestPlacingAllocatesNothing: where a request goes is decided without allocating.
func TestPlacingAllocatesNothing(t *testing.T) {
	for _, balance := range []Balance{Hash, Ketama, LeastRequests, RoundRobin, Random} {
		p := weighted(t, func(o *Options) { o.Balance, o.BalanceFactor = balance, 0.5 }, 1, 2, 3)
		req := &Request{Key: "a key that is longer than what is small"}
		var o order
		got := testing.AllocsPerRun(100, func() {
			o = order{}
			o.begin(p, p.set.Load(), req)
			s, err := o.enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.leave()
		})
		if got != 0 {
			t.Errorf("balance %d: %v allocations", balance, got)
		}
	}
}

// BenchmarkOrder is the choice of a member.
func BenchmarkOrder(b *testing.B) {
	for _, balance := range []Balance{Hash, Ketama, LeastRequests, RoundRobin, Random} {
		b.Run(fmt.Sprint(balance), func(b *testing.B) {
			p := weighted(b, func(o *Options) { o.Balance, o.BalanceFactor = balance, 0.5 }, 1, 1, 1, 1, 1)
			req := hashed(1)
			b.ReportAllocs()
			var o order
			for b.Loop() {
				o = order{}
				o.begin(p, p.set.Load(), req)
				s, _ := o.enter(b.Context())
				s.leave()
			}
		})
	}
}
