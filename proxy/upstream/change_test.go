package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/health"
	"ringfence/proxy/upstream/discover"
)

// change has a pool go by its options, as set has changed them.
func change(t *testing.T, p *Pool, set func(*Options)) {
	t.Helper()
	o := p.plan.o
	set(&o)
	c, err := p.Change(o)
	if err != nil {
		t.Fatal(err)
	}
	c.Start(t.Context())
	if err := c.Apply(); err != nil {
		t.Fatal(err)
	}
}

// Connections, counts and health of what stays the same survive whatever else
// changes; a request under way ends as it began.
func TestChangeKeepsWhatStays(t *testing.T) {
	a, b := newOrigin(t, always(text("a"))), newOrigin(t, always(text("b")))
	p := pool(t, func(o *Options) { o.Ejection = health.Ejection{Consecutive: 1, MaxEjected: 100} }, a.addr(), b.addr())
	p.Drain("b", true)
	until(t, func() bool { return p.Stats().Servers[1].Health.Standing == health.Drained })
	mustGet(t, p, "a")
	open, err := p.Do(t.Context(), get("GET"))
	if err != nil {
		t.Fatal(err)
	}
	change(t, p, func(o *Options) {
		o.Balance, o.ResponseTimeout, o.Retry.Budget, o.HedgePercentile = RoundRobin, time.Minute, 0.7, 90
		o.Ejection.Consecutive, o.SlowStart, o.PanicPercent = 7, time.Second, 10
	})
	st := p.Stats()
	if s := st.Servers[0]; s.Requests != 2 || s.InFlight != 1 || s.Health.Standing != health.Live || s.Share != 1 {
		t.Errorf("%+v", s)
	}
	if s := st.Servers[1]; s.Health.Standing != health.Drained || s.Share != 0 {
		t.Errorf("%+v", s)
	}
	if body, err := io.ReadAll(open.Body); err != nil || string(body) != "a" {
		t.Errorf("%q, %v", body, err)
	}
	_ = open.Body.Close()
	mustGet(t, p, "a")
	if n := a.accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if l := p.set.Load().plan; l.limits.response != time.Minute || l.budget.part != 0.7 || l.latencies == nil {
		t.Errorf("%+v", l)
	}
	change(t, p, func(o *Options) { o.IdleTimeout = time.Hour })
	mustGet(t, p, "a")
	if s := p.Stats().Servers; s[0].Requests != 1 || s[1].Health.Standing != health.Drained {
		t.Errorf("servers with other bounds: %+v", s)
	}
}

// An ejected server stays out, and what counts or learns goes on where its
// options are the same.
func TestChangeKeepsWhatIsLearnt(t *testing.T) {
	well := newOrigin(t, always(text("hello")))
	p := pool(t, func(o *Options) {
		o.Ejection = health.Ejection{Consecutive: 1, MaxEjected: 100, Base: time.Hour, Max: time.Hour}
		o.Concurrency, o.HedgePercentile = &health.Limits{Min: 4, Max: 100}, 90
	}, well.addr(), refused(t))
	for p.Stats().Servers[1].Health.Standing != health.Ejected {
		mustGetAny(t, p)
	}
	before := *p.plan
	change(t, p, func(o *Options) {
		o.Concurrency, o.ReadTimeout = &health.Limits{Min: 4, Max: 100}, time.Hour
		o.Discover.Entries = append(slices.Clone(o.Discover.Entries), discover.Entry{ID: "c", Address: refused(t), Weight: 1})
	})
	if s := p.Stats().Servers; len(s) != 3 || s[1].Health.Standing != health.Ejected || s[1].Share != 0 {
		t.Errorf("%+v", s)
	}
	if now := p.plan; now.limiter != before.limiter || now.latencies != before.latencies || now.budget != before.budget || now.bufs != before.bufs {
		t.Error("something began anew")
	}
	change(t, p, func(o *Options) {
		o.Concurrency, o.HedgePercentile, o.Retry.BudgetMin, o.MaxHeadSize = &health.Limits{Min: 4, Max: 99}, 0, 9, 1<<10
	})
	if now := p.plan; now.limiter == before.limiter || now.latencies != nil || now.budget == before.budget || now.bufs == before.bufs {
		t.Error("something did not change")
	}
}

func mustGetAny(t *testing.T, p *Pool) {
	t.Helper()
	req := get("GET")
	req.Hash = nextHash.Add(0x9e3779b97f4a7c15)
	if _, _, err := roundTrip(t.Context(), p, req); err != nil {
		t.Fatal(err)
	}
}

var nextHash atomic.Uint64

// What cannot be is refused, and nothing changes.
func TestChangeRefusesFaults(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	p := pool(t, nil, o.addr())
	for what, set := range map[string]func(*Options){
		"attempts":    func(o *Options) { o.Retry.Attempts = 0 },
		"a head":      func(o *Options) { o.MaxHeadSize = 1 },
		"no servers":  func(o *Options) { o.Discover.Entries = nil },
		"an address":  func(o *Options) { o.Discover.Entries = []discover.Entry{{Address: "nowhere", Weight: 1}} },
		"a check":     func(o *Options) { o.Check = &health.Check{Path: "none"} },
		"certificate": func(o *Options) { o.TLS = &TLSOptions{CA: PEM{Source: "x"}} },
	} {
		next := p.plan.o
		set(&next)
		if _, err := p.Change(next); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	mustGet(t, p, "hello")
}

// resolver answers for names as it was told to; those it was told nothing of are
// never answered for.
type resolver struct {
	mu    sync.Mutex
	hosts map[string]string
}

func (r *resolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	addr, ok := r.hosts[host]
	r.mu.Unlock()
	if !ok {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []netip.Addr{netip.MustParseAddr(addr)}, nil
}

func (*resolver) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errors.New("no services")
}

// A change of the names takes no server away that is known, before others are
// found, and what the discovery of before finds later changes nothing.
func TestChangeOfNames(t *testing.T) {
	o := newOrigin(t, always(text("hello")))
	_, port, err := net.SplitHostPort(o.addr())
	if err != nil {
		t.Fatal(err)
	}
	dns := &resolver{hosts: map[string]string{"a.internal": "127.0.0.1"}}
	entry := func(host string, weight int) discover.Entry {
		return discover.Entry{ID: host, Address: net.JoinHostPort(host, port), Weight: weight}
	}
	p := pool(t, func(o *Options) {
		o.Discover = discover.Options{Entries: []discover.Entry{entry("a.internal", 1)}, Resolver: dns, Resolve: time.Hour}
	})
	if err := p.First(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	mustGet(t, p, "hello")
	// Nobody answers for the names any more.
	dns.mu.Lock()
	clear(dns.hosts)
	dns.mu.Unlock()
	old := p.names
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	next := p.plan.o
	next.Discover.Entries = []discover.Entry{entry("a.internal", 5), entry("b.internal", 1)}
	c, err := p.Change(next)
	if err != nil {
		t.Fatal(err)
	}
	c.Start(short)
	if err := c.Apply(); err != nil {
		t.Fatal(err)
	}
	mustGet(t, p, "hello")
	if s := p.Stats().Servers; len(s) != 1 || s[0].Weight != 5 || s[0].Requests != 2 || o.accepted.Load() != 1 {
		t.Errorf("%+v", s)
	}
	p.update(old, nil)
	mustGet(t, p, "hello")
	// One that is given up leaves no trace, and its end is waited for.
	next.Discover.Entries = next.Discover.Entries[1:]
	if c, err = p.Change(next); err != nil {
		t.Fatal(err)
	}
	c.Start(short)
	c.Close()
	mustGet(t, p, "hello")
}

// Requests are answered, and nothing is left behind, while options and servers
// change all the time.
func TestChangesUnderLoad(t *testing.T) {
	var addrs []string
	for range 3 {
		addrs = append(addrs, newOrigin(t, always(text("hello"))).addr())
	}
	p := pool(t, func(o *Options) { o.Check = &health.Check{Kind: health.TCP} }, addrs...)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var answered atomic.Int64
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req := get("GET")
				req.Hash = nextHash.Add(0x9e3779b97f4a7c15)
				if _, body, err := roundTrip(t.Context(), p, req); err != nil || body != "hello" {
					t.Errorf("got %q, %v", body, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range 30 {
		change(t, p, func(o *Options) {
			o.Balance = []Balance{Hash, Ketama, LeastRequests, RoundRobin, Random}[i%5]
			o.HedgePercentile, o.SlowStart = 90*(i%2), time.Duration(i%3)*time.Second
			o.Check = &health.Check{Kind: health.TCP, Rise: 1 + i%2}
			o.MaxIdle = 1 + i%4
			o.Discover.Entries = nil
			for n, addr := range addrs[i%3:] {
				o.Discover.Entries = append(o.Discover.Entries, discover.Entry{ID: fmt.Sprint(n), Address: addr, Weight: 1 + n})
			}
		})
		for n := answered.Load() + 20; answered.Load() < n && !t.Failed(); {
			runtime.Gosched()
		}
	}
	close(stop)
	clients.Wait()
}
