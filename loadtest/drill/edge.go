package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// slowPeers is how many are there at a time. With a margin there are fewer, each
	// of which may need as much more.
	slowPeers = 10_000
	// edgeRate is the load of the other clients, in requests a second.
	edgeRate = 500
	// rounds is how often the slow ones come and go, and watchTime for how long the
	// others are watched without them and with them. With a margin it is once, for
	// half of it.
	rounds    = 3
	watchTime = 4 * time.Second
	// worse is how many times what it was the others' latency may be.
	worse = 1.5
	// unfelt is by how much it may be worse whatever the multiple: on two cores that
	// the clients, the proxy and the server share, a request that meets a busy core
	// waits for a slice of the scheduler's, some milliseconds, whoever uses it; and
	// the drill itself writes and reads for thousands of peers.
	unfelt = 3 * time.Millisecond
	// spareFiles is what a process may have open beside the slow ones' connections.
	spareFiles = 1000
	// heapRest is what may be left of the heap's growth: what is stored, and what
	// pools keep for the next.
	heapRest = 32 << 20
	// pollPause is the time between two looks at the metrics, which cost the proxy
	// something, too.
	pollPause = 100 * time.Millisecond
)

// Edge returns the drills of one proxy before which there are slow clients, and
// behind which slow servers.
func Edge() []Drill {
	drills := make([]Drill, 0, 1+len(slownesses))
	drills = append(drills, slowDrill("slow-peers", "slow peers, a quarter of each kind: heads, bodies, deaf clients, dripping servers", slownesses[:4]))
	for _, s := range slownesses {
		drills = append(drills, slowDrill(s.name, s.about, []slowness{s}))
	}
	return drills
}

func slowDrill(name, about string, kinds []slowness) Drill {
	return Drill{
		Name: name, About: "10,000 " + about + "; the others do not notice", servers: 1,
		// None of the slow ones is to be sent away while it is looked at, and all are
		// to reach the server.
		top:      "server: {head_timeout: 5m, read_timeout: 5m, write_timeout: 5m}\n",
		upstream: "max_connections: 12000\nconnect_timeout: 10s\n",
		days:     func(ctx context.Context, f *farm) error { return f.endure(ctx, kinds) },
	}
}

// endure lets slow peers come and go while other clients ask for what is stored
// and for what is not.
func (f *farm) endure(ctx context.Context, kinds []slowness) error {
	if err := f.servers[0].tell(ctx, "delay=0s"); err != nil {
		return err
	}
	f.rate = edgeRate / f.env.Margin
	n, err := f.room(kinds)
	if err != nil {
		return err
	}
	times, watch := rounds, watchTime
	if f.env.Margin > 1 {
		times, watch = 1, watchTime/2
	}
	b := f.fire(ctx, "?"+storedFor, "?"+unstored)
	var calm, crowded []span
	var idle, peak int64
	for round := range times {
		if round > 0 {
			if err := f.gone(ctx, b, n); err != nil {
				return err
			}
		}
		s, err := b.phase(ctx, watch)
		if err != nil {
			return err
		}
		calm = append(calm, s)
		if round == 0 {
			if idle, err = f.proxy.memory("VmRSS"); err != nil {
				return err
			}
		}
		watched := f.watchMemory(ctx)
		s, err = f.crowd(ctx, b, watch, n, kinds)
		most, watchErr := watched()
		if err = errors.Join(err, watchErr); err != nil {
			return err
		}
		crowded, peak = append(crowded, s), max(peak, most)
	}
	all := shots(b.end())
	f.kept(all)
	f.lostAtMost("other clients without an answer", all, 0)
	bound := int64(0)
	for _, k := range kinds {
		bound += int64(float64(k.memory*n) * f.env.Margin)
	}
	f.below("memory for the slow ones at its peak", peak-idle, bound)
	f.note("that is, each", fmt.Sprintf("%.1f KiB", float64(peak-idle)/float64(n*len(kinds))/(1<<10)))
	f.unmoved("hits", all.where(func(s *shot) bool { return s.key%2 == 0 }), calm, crowded)
	f.unmoved("passes", all.where(func(s *shot) bool { return s.key%2 == 1 }), calm, crowded)
	return f.freed(ctx)
}

// room is how many of each kind there can be, by the files that a process may
// have open.
func (f *farm) room(kinds []slowness) (each int, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	files := 0 // of the proxy, for one of each kind
	for _, k := range kinds {
		files++
		if k.upstream {
			files++
		}
	}
	wanted := int(slowPeers/f.env.Margin) / len(kinds)
	each = wanted
	if limit.Max < uint64(wanted*files+spareFiles) {
		each = (int(limit.Max) - spareFiles) / files
		f.note("slow ones", fmt.Sprintf("%d, not %d: a process may have %d files open", each*len(kinds), wanted*len(kinds), limit.Max))
	}
	return each, nil
}

// crowd lets n slow peers of each kind come, watches the others, and lets them
// leave. It returns when the others were watched.
func (f *farm) crowd(ctx context.Context, b *barrage, watch time.Duration, n int, kinds []slowness) (during span, err error) {
	t, err := comeSlowly(ctx, f.proxy.addr, n, kinds)
	if err != nil {
		return during, err
	}
	defer t.leave()
	total, underWay := n*len(kinds), 0
	for _, k := range kinds {
		if k.underWay {
			underWay += n
		}
	}
	// The requests of the others are few.
	are, all, err := f.eventually(ctx, func(m gauges) bool { return m.conns >= total && m.requests >= underWay })
	if err == nil && all {
		if during, err = b.phase(ctx, watch); err != nil {
			return during, err
		}
		are, all, err = f.eventually(ctx, func(gauges) bool { return true })
	}
	if err != nil {
		return during, err
	}
	f.Void = f.Void || !all // they came too slowly to be all there before the first are done
	f.require("slow ones there, their requests", fmt.Sprintf("at least %d, %d", total, underWay), fmt.Sprintf("%d, %d", are.conns, are.requests),
		are.conns >= total && are.requests >= underWay)
	f.note("then: goroutines, heap in use", fmt.Sprintf("%d, %.0f MiB", are.goroutines, float64(are.heap)/(1<<20)))
	f.exactly("of them, hung up on or answered before they have asked", t.heard(), 0)
	return during, nil
}

// gone waits until slow peers that have left are gone, but for those for whom a
// server is silent: that a client has left shows when something is sent to it.
func (f *farm) gone(ctx context.Context, b *barrage, n int) error {
	_, gone, err := f.eventually(ctx, func(m gauges) bool { return m.conns-b.connections() <= n/2 && m.requests <= n/2 })
	if err == nil && !gone {
		f.require("slow ones that have left are gone", "yes", "no", false)
	}
	return err
}

// gauges are some of the proxy's metrics.
type gauges struct {
	conns, requests, goroutines int
	heap                        int64
}

// eventually polls the proxy's metrics until ok, and reports whether it became so
// in time.
func (f *farm) eventually(ctx context.Context, ok func(gauges) bool) (g gauges, is bool, err error) {
	for end := time.Now().Add(f.env.widened(startTime)); ; {
		m, err := f.proxy.metrics(ctx)
		if err != nil {
			return g, false, err
		}
		g = gauges{
			conns: int(m["ringfence_client_connections"]), requests: int(m["ringfence_requests_in_flight"]),
			goroutines: int(m["go_goroutines"]), heap: int64(m["go_memstats_heap_inuse_bytes"]),
		}
		if is = ok(g); is || time.Now().After(end) {
			return g, is, nil
		}
		if err := pause(ctx, pollPause); err != nil {
			return g, false, err
		}
	}
}

// freed requires that the heap is what it was before the load; what asks for it
// brings the collections about that free it.
func (f *farm) freed(ctx context.Context) error {
	var v vitals
	var failed error
	_, err := until(ctx, f.env.widened(quietTime), func() bool {
		v, failed = f.proxy.vitals(ctx)
		return failed != nil || v.heap <= f.calm.heap+heapRest
	})
	if err = errors.Join(err, failed); err == nil {
		f.below("afterwards: what the heap has grown by", v.heap-f.calm.heap, heapRest)
	}
	return err
}

// watchMemory watches the memory of the proxy until the function that it returns
// is called, which tells the most.
func (f *farm) watchMemory(ctx context.Context) func() (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	var most int64
	var failed error
	watch.Go(func() {
		for failed == nil && pause(ctx, 20*time.Millisecond) == nil {
			var n int64
			n, failed = f.proxy.memory("VmRSS")
			most = max(most, n)
		}
	})
	return func() (int64, error) {
		cancel()
		watch.Wait()
		return most, failed
	}
}

// unmoved requires that the latency of some requests is in some spans what it was
// in others: the medians of the spans' p99 are compared.
func (f *farm) unmoved(what string, all shots, calm, crowded []span) {
	was, before := all.typical(calm)
	is, during := all.typical(crowded)
	f.note("p99 of "+what+" without them", before)
	slack := f.env.widened(unfelt)
	bound := max(time.Duration(float64(was)*(1+(worse-1)*f.env.Margin)), was+slack)
	f.require("and with them", fmt.Sprintf("the median within %.1f times, or %s more", worse, short(slack)), during, is <= bound)
}

// typical is the median of the p99 of each span, and all of them.
func (all shots) typical(spans []span) (median time.Duration, each string) {
	p99, said := make([]time.Duration, 0, len(spans)), make([]string, 0, len(spans))
	for _, s := range spans {
		p99 = append(p99, all.during(s).percentile(99))
		said = append(said, short(p99[len(p99)-1]))
	}
	slices.Sort(p99)
	return p99[len(p99)/2], strings.Join(said, ", ")
}
