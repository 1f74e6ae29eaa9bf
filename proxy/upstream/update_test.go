package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/health"
	"ringfence/proxy/upstream/discover"
)

// servers are the first n of the alphabet, at these addresses.
func servers(addrs ...string) []discover.Server {
	all := make([]discover.Server, len(addrs))
	for i, a := range addrs {
		all[i] = discover.Server{ID: string(rune('a' + i)), Address: a, Weight: 1}
	}
	return all
}

// settled waits until each server has what its weight and standing give it.
func settled(t testing.TB, p *Pool) {
	t.Helper()
	until(t, func() bool {
		for _, s := range p.Stats().Servers {
			if s.Health.Standing == health.Unchecked {
				return false
			}
		}
		return true
	})
}

// TestUpdateMovesTheShare: what is added takes its share of the keys from all,
// and gives it back when it goes; what gets more weight takes some more.
func TestUpdateMovesTheShare(t *testing.T) {
	const keys = 5000
	p := weighted(t, nil, 1, 1, 1, 1)
	owners := func() (at [keys]string) {
		for i := range at {
			at[i] = turn(t, p, hashed(rand.New(rand.NewPCG(1, uint64(i))).Uint64()))
		}
		return at
	}
	before := owners()
	five := servers("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5")
	for _, tt := range []struct {
		weight, addr5 int
		share         float64
	}{{1, 5, 1. / 5}, {4, 5, 4. / 8}, {4, 6, 4. / 8}} {
		five[4].Weight, five[4].Address = tt.weight, fmt.Sprintf("127.0.0.1:%d", tt.addr5)
		p.update(p.names, five)
		settled(t, p)
		moved := 0
		for i, at := range owners() {
			if at != before[i] {
				moved++
				if at != "e" {
					t.Fatalf("a key moved from %s to %s", before[i], at)
				}
			}
		}
		if got := float64(moved) / keys; got < 0.8*tt.share || got > 1.2*tt.share {
			t.Errorf("weight %d: %.3f of the keys moved, want %.3f", tt.weight, got, tt.share)
		}
	}
	p.update(p.names, five[:4])
	settled(t, p)
	if owners() != before {
		t.Error("not all keys came back")
	}
}

// TestUpdateKeepsWhatStays: connections and counts of a server that stays as it
// was, whatever its weight; a server at another address is another one.
func TestUpdateKeepsWhatStays(t *testing.T) {
	first, second := newOrigin(t, always(text("first"))), newOrigin(t, always(text("second")))
	p := pool(t, nil, first.addr())
	mustGet(t, p, "first")
	set := servers(first.addr())
	set[0].Weight = 7
	p.update(p.names, set)
	mustGet(t, p, "first")
	if st := p.Stats().Servers[0]; st.Requests != 2 || st.Reused != 1 || st.Weight != 7 || first.accepted.Load() != 1 {
		t.Errorf("with another weight: %+v", st)
	}
	set[0].Weight = 0
	p.update(p.names, set)
	until(t, func() bool { return p.Stats().Servers[0].Health.Standing == health.Drained })
	set[0].Weight, set[0].MaxRequests = 1, 1
	p.update(p.names, set)
	until(t, func() bool { return p.Stats().Servers[0].Share == 1 })
	resp, err := p.Do(t.Context(), get("GET"))
	if err != nil {
		t.Fatal(err)
	}
	if p.set.Load().members[0].tryEnter() {
		t.Error("its new bound does not count")
	}
	set[0].Address = second.addr()
	p.update(p.names, set)
	if body, err := io.ReadAll(resp.Body); string(body) != "first" || err != nil {
		t.Errorf("in flight while the address changed: %q, %v", body, err)
	}
	mustGet(t, p, "second")
	if st := p.Stats().Servers[0]; st.Requests != 1 || st.Address != second.addr() || st.Health.Target.Address != second.addr() {
		t.Errorf("with another address: %+v", st)
	}
}

// TestUpdateRemoves: what is removed gets nothing new, ends what it has, keeps
// no connection, and tells health nothing any more.
func TestUpdateRemoves(t *testing.T) {
	gone := make(chan struct{}, 1000)
	script := func(p *peer) { always(text("hello"))(p); gone <- struct{}{} }
	a, b := newOrigin(t, script), newOrigin(t, script)
	p := pool(t, nil, a.addr(), b.addr())
	var open []*Response
	for {
		req := get("GET")
		req.Hash = rand.Uint64()
		resp, err := p.Do(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
		if st := p.Stats().Servers; st[0].InFlight >= 2 && st[1].InFlight >= 1 {
			break
		}
	}
	was := p.set.Load().members[0].server
	for i, resp := range open { // one connection is idle
		if resp.Server == "a" {
			_, _ = io.ReadAll(resp.Body)
			open = append(open[:i], open[i+1:]...)
			break
		}
	}
	p.update(p.names, []discover.Server{{ID: "b", Address: b.addr(), Weight: 1}})
	<-gone
	for range 50 {
		req := get("GET")
		req.Hash = rand.Uint64()
		if resp, body, err := roundTrip(t.Context(), p, req); err != nil || resp.Server != "b" || body != "hello" {
			t.Fatalf("%v by %+v", err, resp)
		}
	}
	for _, resp := range open {
		if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
			t.Errorf("in flight on %s: %q, %v", resp.Server, body, err)
		}
	}
	if n, idle := was.connections(); n != 0 || idle != 0 || was.gate.inFlight() != 0 {
		t.Errorf("%d connections, %d idle, %d in flight are left", n, idle, was.gate.inFlight())
	}
}

// TestUpdateThatCannotBe leaves the servers of before.
func TestUpdateThatCannotBe(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	log := make(logged, 10)
	p := pool(t, func(o *Options) { o.Log = slog.New(log) }, o.addr())
	p.update(p.names, servers(o.addr(), "not an address"))
	if got := <-log; got != "the servers found cannot be used, those of before stay" {
		t.Errorf("logged %q", got)
	}
	twice := servers(o.addr(), o.addr())
	twice[1].ID = "a"
	p.update(p.names, twice)
	mustGet(t, p, "hello")
	if st := p.Stats().Servers; len(st) != 1 || st[0].Reused+st[0].Requests != 1 {
		t.Errorf("%+v", st)
	}
}

// TestNewServersAreNoPanic: servers that replace all others get their requests
// at once, and nothing is alarming about it.
func TestNewServersAreNoPanic(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	log := make(logged, 100)
	p := pool(t, func(o *Options) { o.Log, o.PanicPercent = slog.New(log), 50 }, refused(t))
	p.update(p.names, nil)
	_, err := p.Do(t.Context(), get("GET"))
	wantKind(t, err, Unavailable)
	if _, unsent := kindOf(err); !unsent {
		t.Error("a request without a server counts as sent")
	}
	for i := range 5 {
		p.update(p.names, []discover.Server{{ID: fmt.Sprint(i), Address: o.addr(), Weight: 1}})
		mustGet(t, p, "hello")
	}
	settled(t, p)
	if st := p.Stats(); st.Panicking || st.Panics != 0 {
		t.Errorf("panicking %v, %d panics", st.Panicking, st.Panics)
	}
	for len(log) > 0 {
		if m := <-log; strings.Contains(m, "health") {
			t.Errorf("logged %q", m)
		}
	}
}

// listed is a file of servers that is only read.
type listed struct {
	entries atomic.Pointer[[]discover.Entry]
}

func (l *listed) load(string) ([]discover.Entry, error) {
	if e := l.entries.Load(); e != nil {
		return *e, nil
	}
	return nil, errors.New("no file yet")
}

// TestServersComeAndGo: a pool begins without servers, and has those it is told
// of while it runs.
func TestServersComeAndGo(t *testing.T) {
	a, b := newOrigin(t, always(text("a"))), newOrigin(t, always(text("b")))
	var file listed
	p := pool(t, func(o *Options) {
		o.Discover.File, o.Discover.Load, o.Discover.Resolve = t.TempDir()+"/servers", file.load, 5*time.Millisecond
	})
	_, err := p.Do(t.Context(), get("GET"))
	wantKind(t, err, Unavailable)
	for _, tt := range []struct {
		entry discover.Entry
		want  string
	}{
		{discover.Entry{ID: "1", Address: a.addr(), Weight: 1}, "a"},
		{discover.Entry{ID: "1", Address: b.addr(), Weight: 1}, "b"},
		{discover.Entry{ID: "2", Address: a.addr(), Weight: 3}, "a"},
	} {
		file.entries.Store(&[]discover.Entry{tt.entry})
		until(t, func() bool {
			st := p.Stats().Servers
			return len(st) == 1 && st[0].ID == tt.entry.ID && st[0].Address == tt.entry.Address
		})
		mustGet(t, p, tt.want)
	}
	if st := p.Stats(); st.Discovery.Changes != 3 || st.Servers[0].Weight != 3 {
		t.Errorf("%+v", st)
	}
}

// TestUpdatesUnderLoad changes servers, weights, addresses and drains at random
// while requests are in flight: each is answered, and nothing is left behind.
func TestUpdatesUnderLoad(t *testing.T) {
	var addrs []string
	for range 5 {
		addrs = append(addrs, newOrigin(t, always(text("hello"))).addr())
	}
	for _, balance := range []Balance{Hash, Ketama, LeastRequests, RoundRobin, Random} {
		p := pool(t, func(o *Options) {
			o.Balance, o.BalanceFactor, o.Check = balance, 0.5, &health.Check{Kind: health.TCP}
			o.HedgePercentile = 90
		}, addrs[0])
		if err := p.First(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		seen := map[*server]bool{}
		stop := make(chan struct{})
		var clients sync.WaitGroup
		var answered atomic.Int64
		for i := range 4 {
			clients.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(i), 1))
				for {
					select {
					case <-stop:
						return
					default:
					}
					req := get([]string{"GET", "POST"}[rnd.IntN(2)])
					req.Hash = rnd.Uint64()
					if _, body, err := roundTrip(t.Context(), p, req); err != nil || body != "hello" {
						t.Errorf("got %q, %v", body, err)
						return
					}
					answered.Add(1)
				}
			})
		}
		rnd := rand.New(rand.NewPCG(7, uint64(balance)))
		for range 25 {
			all := []discover.Server{}
			for i, at := range rnd.Perm(5)[:1+rnd.IntN(5)] {
				all = append(all, discover.Server{
					ID: string(rune('a' + at)), Address: addrs[at], Weight: 1 + rnd.IntN(3), Backup: i > 1 && rnd.IntN(3) == 0,
					MaxRequests: 50 * rnd.IntN(2),
				})
			}
			p.update(p.names, all)
			for _, m := range p.set.Load().members {
				seen[m.server] = true
			}
			p.Drain(all[0].ID, len(all) > 1)
			for n := answered.Load() + int64(rnd.IntN(20)); answered.Load() < n && !t.Failed(); {
				runtime.Gosched()
			}
			p.Drain(all[0].ID, false)
			until(t, func() bool { return p.Stats().Servers[0].Health.Standing != health.Drained })
		}
		close(stop)
		soon(t, clients.Wait)
		p.Close()
		for s := range seen {
			if open, _ := s.connections(); open != 0 || s.gate.inFlight() != 0 || s.waiting != nil {
				t.Errorf("server %s: %d connections, %d in flight, waiting %v", s.id, open, s.gate.inFlight(), s.waiting)
			}
		}
	}
}

// TestCloseWhileServersChange ends in time, wherever it comes.
func TestCloseWhileServersChange(t *testing.T) {
	var file listed
	for i := range 30 {
		p := pool(t, func(o *Options) {
			o.Discover.File, o.Discover.Load, o.Discover.Resolve = t.TempDir()+"/servers", file.load, time.Millisecond
			o.Check = &health.Check{Kind: health.TCP, Interval: 2 * time.Millisecond, Timeout: time.Millisecond}
		})
		for j := range i % 10 {
			file.entries.Store(&[]discover.Entry{{Address: net.JoinHostPort("127.0.0.1", fmt.Sprint(j+1)), Weight: 1}})
			_ = p.Stats()
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_ = p.First(ctx, true)
			cancel()
		}
		soon(t, p.Close)
	}
}
