package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/singleflight"
)

// The simulation runs the package itself, three instances of it on one double
// in a bubble of virtual time, through seeded schedules of everything that may
// go wrong: instances are cut off for good, which for the others is a crash, or
// stand still in the middle of a call; calls are late, or carried out without
// an answer; messages are lost; the engine is away, or loses its data. Clients
// come and go, fills succeed, fail, are cut short or turn out private, the
// origin changes and invalidates. What is checked is what must always hold,
// numbered as in ARCHITECTURE.md.

// port is an engine as one instance reaches it.
type port struct {
	d   *double
	mu  sync.Mutex
	rng *rand.Rand

	dead  bool
	still time.Time     // stands still till then
	away  *atomicTime   // the engine is
	late  time.Duration // the longest a call may be on its way
	loss  float64       // of answers, and of messages
}

func (p *port) eval(ctx context.Context, s script, keys, args []string) (value, error) {
	if err := p.travel(ctx, 0); err != nil {
		return value{}, err
	}
	v, err := p.d.eval(ctx, s, keys, args)
	if err := p.travel(ctx, p.loss); err != nil {
		return value{}, err
	}
	return v, err
}

// travel is one way to the engine or back.
func (p *port) travel(ctx context.Context, loss float64) error {
	p.mu.Lock()
	d := time.Duration(p.rng.Int64N(int64(p.late) + 1))
	if p.loss > 0 && p.rng.IntN(50) == 0 {
		d *= 40
	}
	lost := p.rng.Float64() < loss
	p.mu.Unlock()
	if err := sleep(ctx, d); err != nil {
		return err
	}
	for {
		p.mu.Lock()
		wait, dead := time.Until(p.still), p.dead
		p.mu.Unlock()
		switch {
		case dead, time.Now().Before(p.away.load()):
			return errCut
		case lost:
			<-ctx.Done() // each call has a deadline
			return ctx.Err()
		case wait <= 0:
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (p *port) listen(ctx context.Context, channel string, ready, wake func()) error {
	return p.d.listen(ctx, channel, ready, func() {
		p.mu.Lock()
		lost := p.dead || time.Now().Before(p.still) || p.rng.Float64() < p.loss*5
		p.mu.Unlock()
		if !lost {
			wake()
		}
	})
}

func (p *port) close() {}

// world is one schedule.
type world struct {
	t         *testing.T
	rng       *rand.Rand
	d         *double
	away      atomicTime // the engine, till then
	ports     []*port
	instances []*simInstance
	quiet     bool // nothing goes wrong
	varies    bool // and all know it
	failing   bool // every fill fails

	mu      sync.Mutex
	version int
	fills   map[string]int // begun, by key
	visits  []visit
}

// visit is a client that was served whole.
type visit struct {
	key          string
	began, ended time.Time
}

// simInstance has a group whose flights' names change with each invalidation,
// as a proxy's do.
type simInstance struct {
	*instance
	floor int // the least version that may be served to who asks now
}

// pageOf is a version's head: the same for all fills of it.
func pageOf(key string, version int) (page, []byte) {
	rng := rand.New(rand.NewPCG(uint64(version), 3))
	body := bodyOf(rng.IntN(1 << (4 + rng.IntN(14))))
	for i := range body {
		body[i] += byte(version)
	}
	p := page{Name: key, Of: "v", ETag: strconv.Itoa(version), Length: -1, Keep: time.Minute, Tags: []string{key}}
	if rng.IntN(2) == 0 {
		p.Length = int64(len(body))
	}
	return p, body
}

type simClient struct {
	id      int
	at      time.Duration
	key     string
	variant string // "" where it does not know
	in      int
	leaves  time.Duration
	toHead  time.Duration
	toPiece time.Duration
	verdict singleflight.Verdict
	fails   bool
	cut     bool
}

func (w *world) client(id int) simClient {
	r := w.rng
	ms := func(n int) time.Duration { return time.Duration(r.IntN(n)) * time.Millisecond }
	c := simClient{id: id, at: ms(4000), key: fmt.Sprint("k", r.IntN(2)), in: r.IntN(3), leaves: time.Hour,
		toHead: ms(700), toPiece: ms(200), verdict: singleflight.Store}
	if w.quiet && w.varies || !w.quiet && r.IntN(2) == 0 {
		c.variant = "v"
	}
	if w.quiet {
		c.at = ms(400)
		c.toHead = 10*time.Millisecond + ms(3000) // longer than a lease that nobody renews
		if w.failing {
			c.toHead = 600 * time.Millisecond
		}
		c.fails = w.failing
		return c
	}
	switch r.IntN(10) {
	case 0:
		c.verdict = singleflight.Private
	case 1:
		c.verdict = singleflight.Share
	case 2:
		c.fails = true
	case 3:
		c.cut = true
	case 4:
		c.toHead = ms(5000)
	}
	if r.IntN(4) == 0 {
		c.leaves = ms(1000)
	}
	return c
}

// fill is what c would do if it came to fill.
func (w *world) fill(c simClient) singleflight.Fill[*page] {
	return func(ctx context.Context, out *singleflight.Writer[*page]) error {
		w.mu.Lock()
		version := w.version // the origin answers as it is when it is asked
		w.fills[c.key]++
		w.mu.Unlock()
		if err := sleep(ctx, c.toHead); err != nil {
			return err
		}
		if c.fails {
			return errBroken
		}
		p, body := pageOf(c.key, version)
		if c.verdict == singleflight.Private {
			p.Name = fmt.Sprint("private ", c.id)
		}
		if c.verdict == singleflight.Share {
			p.Keep = 0
		}
		if err := out.Head(&p, c.verdict); err != nil {
			return err
		}
		if err := out.Grow(p.Length); err != nil {
			return err
		}
		for i, b := range pieces(body, len(body)/3+1) {
			if c.cut && i == 1 {
				return errBroken
			}
			if err := sleep(ctx, c.toPiece); err != nil {
				return err
			}
			if _, err := out.ReadFrom(bytes.NewReader(b)); err != nil {
				return err
			}
		}
		return nil
	}
}

// run is one client's visit.
func (w *world) run(c simClient) {
	time.Sleep(c.at)
	in, began := w.instances[c.in], time.Now()
	w.mu.Lock()
	floor := in.floor
	w.mu.Unlock()
	in.tier.mu.Lock()
	epoch := in.tier.tags[c.key] + in.tier.tags["*"]
	in.tier.mu.Unlock()
	rd, err := in.g.Join(fmt.Sprint(c.key, c.variant, " ", epoch), func(ctx context.Context, out *singleflight.Writer[*page]) error {
		return in.l.Lead(ctx, Key{c.key, c.variant}, out, w.fill(c), in)
	})
	if err != nil {
		return // it failed a moment ago
	}
	defer rd.Close()
	ctx, cancel := context.WithTimeout(context.Background(), c.leaves)
	defer cancel()
	head, outcome, err := rd.Wait(ctx)
	if took := time.Since(began); took > 20*time.Second {
		w.t.Errorf("6: client %d waited %v for a verdict", c.id, took)
	}
	if w.quiet && (outcome == singleflight.Ready) == w.failing {
		w.t.Errorf("7: client %d: %v, %v", c.id, outcome, err)
	}
	if outcome != singleflight.Ready {
		return
	}
	var body bytes.Buffer
	_, err = rd.WriteTo(&body)
	if took := time.Since(began); took > 60*time.Second {
		w.t.Errorf("6: client %d was served for %v", c.id, took)
	}
	if err == nil {
		w.mu.Lock()
		w.visits = append(w.visits, visit{c.key, began, time.Now()})
		w.mu.Unlock()
	}
	version, _ := strconv.Atoi(head.ETag)
	_, want := pageOf(c.key, version)
	switch {
	case head.Name != c.key && (head.Name != fmt.Sprint("private ", c.id) || !rd.Leader()):
		w.t.Errorf("2: client %d of %s was given %q", c.id, c.key, head.Name)
	case version < floor:
		w.t.Errorf("5: client %d on %d was given version %d after %d was acknowledged", c.id, c.in, version, floor)
	case err == nil && !bytes.Equal(body.Bytes(), want), !bytes.HasPrefix(want, body.Bytes()):
		w.t.Errorf("4: client %d was given %d bytes of %d: %v", c.id, body.Len(), len(want), err)
	case err != nil && w.quiet:
		w.t.Errorf("7: client %d: %v", c.id, err)
	}
}

// purge changes what the origin says and has all instances told.
func (w *world) purge(at time.Duration, by int, key string) {
	time.Sleep(at)
	w.mu.Lock()
	w.version++
	version := w.version
	w.mu.Unlock()
	in := w.instances[by]
	in.tier.Apply([]string{key, otherKey(key)})
	if _, err := in.e.Invalidate(context.Background(), []string{key, otherKey(key)}); err != nil {
		return
	}
	w.d.mu.Lock()
	at2, line := parse(w.d.fields["at"]), w.d.fields["line"]
	w.d.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, in := range w.instances {
		// Those that were not counted as alive have not promised anything.
		if p := in.e.nodes[0].line.position(); number(p.line) == line && p.at == at2 {
			in.floor = max(in.floor, version)
		}
	}
}

func otherKey(key string) string {
	if key == "k0" {
		return "k1"
	}
	return "k0"
}

// trouble is what goes wrong.
func (w *world) trouble() {
	r := w.rng
	ms := func(n int) time.Duration { return time.Duration(r.IntN(n)) * time.Millisecond }
	for range r.IntN(6) {
		at, p, d, what := ms(4000), w.ports[r.IntN(3)], ms(3000), r.IntN(8)
		go func() {
			time.Sleep(at)
			p.mu.Lock()
			defer p.mu.Unlock()
			switch what {
			case 0:
				p.dead = true
			case 1:
				w.d.flush()
			case 2:
				w.away.store(time.Now().Add(d / 2))
			default:
				p.still = time.Now().Add(d)
			}
		}()
	}
}

// atomicTime is a time that several goroutines set and read.
type atomicTime struct{ nanos atomic.Int64 }

func (a *atomicTime) load() time.Time   { return time.Unix(0, a.nanos.Load()) }
func (a *atomicTime) store(t time.Time) { a.nanos.Store(t.UnixNano()) }

// simulate runs one schedule. It gives how many appends were refused.
func simulate(t *testing.T, seed uint64) (fenced int) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 11))
		w := &world{t: t, rng: rng, d: newDouble(), fills: make(map[string]int), version: int(seed % 1000), quiet: seed%4 == 0, failing: seed%16 == 4, varies: seed%8 == 0}
		o := Options{Addresses: []string{"x"}, MaxObject: 32 << 10}.withDefaults()
		if w.quiet {
			o.MaxObject = 1 << 20
		}
		if seed%3 == 1 {
			o.Timeout = 5 * time.Second // calls outlive a standstill, and so come late
		}
		for i := range 3 {
			p := &port{d: w.d, rng: rand.New(rand.NewPCG(seed, uint64(100+i))), away: &w.away, late: 2 * time.Millisecond}
			if !w.quiet {
				p.loss = 0.02
			}
			w.ports = append(w.ports, p)
			w.instances = append(w.instances, w.open(o, p))
		}
		time.Sleep(time.Second)
		if !w.quiet {
			w.trouble()
			for range rng.IntN(3) {
				at, by, key := time.Duration(rng.IntN(3000))*time.Millisecond, rng.IntN(3), fmt.Sprint("k", rng.IntN(2))
				go w.purge(at, by, key)
			}
		}
		var clients sync.WaitGroup
		for id := range 4 + rng.IntN(12) {
			c := w.client(id)
			clients.Go(func() { w.run(c) })
		}
		clients.Wait()
		w.mu.Lock()
		for key, n := range w.fills {
			if w.quiet && !w.failing && n > 1 {
				t.Errorf("%d fills of %s, and nothing went wrong", n, key)
			}
			if w.quiet && w.failing && n > 2 {
				t.Errorf("3: %d fills of %s, which fail", n, key)
			}
		}
		if w.quiet {
			w.together()
		}
		w.mu.Unlock()
		time.Sleep(10 * time.Second) // what goes wrong has gone wrong
		for _, in := range w.instances {
			in.close()
		}
		synctest.Wait()
		w.d.mu.Lock()
		defer w.d.mu.Unlock()
		fenced = w.d.appends
	})
	return fenced
}

// together checks that all who waited for the same fill had its end at almost
// the same time, wherever they were: woken, not polling.
func (w *world) together() {
	first := make(map[string]time.Time)
	for _, v := range w.visits {
		if at, ok := first[v.key]; !ok || v.ended.Before(at) {
			first[v.key] = v.ended
		}
	}
	for _, v := range w.visits {
		if late := v.ended.Sub(first[v.key]); v.began.Before(first[v.key]) && late > 50*time.Millisecond {
			w.t.Errorf("1: the end of %s was %v late", v.key, late)
		}
	}
}

func (w *world) open(o Options, p backend) *simInstance {
	in := &instance{t: w.t, kept: make(map[string][]byte), tier: &tier{tags: make(map[string]uint64)}}
	o.Tier = in.tier
	e, err := open(o, [][]string{{"x"}}, func([]string) (backend, error) { return p, nil })
	if err != nil {
		w.t.Fatal(err)
	}
	in.e = e
	g := singleflight.Options[*page]{MaxLead: 10 * time.Second}
	in.l = NewLocker(e, g)
	in.g = singleflight.New(g)
	return &simInstance{instance: in}
}

// TestSimulation runs SCHEDULES schedules from number FIRST on, which the
// environment may set; make simulation runs 100,000.
func TestSimulation(t *testing.T) {
	seeds, first := uint64(300), uint64(0)
	if testing.Short() {
		seeds = 40
	}
	for name, n := range map[string]*uint64{"SCHEDULES": &seeds, "FIRST": &first} {
		if s := os.Getenv(name); s != "" {
			v, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			*n = v
		}
	}
	fenced := 0
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { fenced += simulate(t, seed) })
	}
	if seeds >= 300 && fenced == 0 {
		t.Error(errors.New("no schedule came to a stale leader"))
	}
	t.Logf("%d schedules, %d writes of stale leaders refused", seeds, fenced)
}
