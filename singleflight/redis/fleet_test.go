package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/singleflight"
)

// page is the head that tests share.
type page struct {
	Name   string
	Length int64
	Keep   time.Duration
	ETag   string
	Tags   []string
	Of     string // the variant
	inline []byte
	stored Stored
}

// instance is one process of the fleet, as far as this package knows.
type instance struct {
	t    testing.TB
	e    *Engine
	l    *Locker[*page]
	g    *singleflight.Group[*page]
	tier *tier
	// dropsAtFirst is -1 until the engine was in use.
	dropsAtFirst atomic.Int64
	mu           sync.Mutex
	kept         map[string][]byte
	fills        atomic.Int64 // of this instance

	closeNow func()
}

func (in *instance) Encode(p *page) Head {
	b, _ := json.Marshal(p)
	h := Head{Variant: p.Of, Bytes: b, Identity: maphash.String(seed, p.ETag), Length: p.Length, Keep: p.Keep, Body: p.inline}
	return h
}

var seed = maphash.MakeSeed()

var errStale = errors.New("stale")

func (in *instance) Decode(s Stored) (*page, error) {
	p := &page{stored: s}
	if err := json.Unmarshal(s.Bytes, p); err != nil {
		return nil, err
	}
	if in.tier != nil && !in.tier.valid(p.Tags, s.Born) {
		return nil, errStale
	}
	if p.Name == "stale" {
		return nil, errStale
	}
	return p, nil
}

func (in *instance) Keep(p *page, body []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.kept[p.Name] = body
}

// tier is a table of generations.
type tier struct {
	mu    sync.Mutex
	tick  uint64
	tags  map[string]uint64
	drops int
}

func (t *tier) Apply(tags []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tag := range tags {
		t.tick++
		t.tags[tag] = t.tick
	}
}

func (t *tier) Drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tick++
	t.tags["*"] = t.tick
	t.drops++
}

func (t *tier) dropped() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.drops
}

// has reports whether a tag was applied.
func (t *tier) has(tag string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tags[tag] > 0
}

func (t *tier) Now() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tick
}

func (t *tier) valid(tags []string, born uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tag := range append([]string{"*"}, tags...) {
		if t.tags[tag] > born {
			return false
		}
	}
	return true
}

// join opens an instance with the given engine options.
func join(t testing.TB, o Options, g singleflight.Options[*page]) *instance {
	t.Helper()
	in := &instance{t: t, kept: make(map[string][]byte), tier: &tier{tags: make(map[string]uint64)}}
	in.dropsAtFirst.Store(-1)
	o.Tier = in.tier
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	in.e = e
	in.l = NewLocker(e, g)
	in.g = singleflight.New(g)
	in.closeNow = sync.OnceFunc(in.close)
	t.Cleanup(in.closeNow)
	return in
}

func (in *instance) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := in.g.Close(ctx); err != nil {
		in.t.Error(err)
	}
	if err := in.l.Close(ctx); err != nil {
		in.t.Error(err)
	}
	in.e.Close()
	if s := in.e.Stats(); s.Leading != 0 || s.Following != 0 || s.Buffered != 0 {
		in.t.Errorf("left behind: %+v", s)
	}
}

func (in *instance) connect() *instance {
	in.t.Helper()
	eventually(in.t, 5*time.Second, "the engine is in use", up([]*instance{in}, true))
	in.dropsAtFirst.CompareAndSwap(-1, int64(in.tier.dropped()))
	return in
}

// drops is how often all was dropped since the engine was first used.
func (in *instance) drops() int { return in.tier.dropped() - int(in.dropsAtFirst.Load()) }

// fleet is n connected instances on the servers.
func fleet(t testing.TB, n int, o Options, servers ...*server) []*instance {
	t.Helper()
	if o.Timeout == 0 {
		// The machine may have other things to do.
		o.Timeout, o.LeaseTTL = time.Second, orDefault(o.LeaseTTL, 3*time.Second)
	}
	for _, s := range servers {
		o.Addresses = append(o.Addresses, s.addr)
	}
	all := make([]*instance, n)
	for i := range all {
		all[i] = join(t, o, singleflight.Options[*page]{})
	}
	for _, in := range all {
		in.connect()
	}
	return all
}

// result is what one client saw.
type result struct {
	head    *page
	outcome singleflight.Outcome
	err     error
	body    []byte
	leader  bool
	first   time.Time // byte
	ended   time.Time
}

func (r result) whole(body []byte) bool {
	return r.outcome == singleflight.Ready && r.err == nil && bytes.Equal(r.body, body)
}

// get asks an instance for a key, as a client.
func (in *instance) get(key string, fill singleflight.Fill[*page]) result {
	return in.getAs(Key{Name: key}, fill)
}

// getAs is get for what may be a variant.
func (in *instance) getAs(key Key, fill singleflight.Fill[*page]) (r result) {
	defer func() { r.ended = time.Now() }()
	counted := func(ctx context.Context, w *singleflight.Writer[*page]) error {
		in.fills.Add(1)
		return fill(ctx, w)
	}
	rd, err := in.g.Join(key.Name+key.Variant, func(ctx context.Context, w *singleflight.Writer[*page]) error {
		return in.l.Lead(ctx, key, w, counted, in)
	})
	if err != nil {
		return result{err: err}
	}
	defer rd.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r.head, r.outcome, r.err = rd.Wait(ctx)
	r.leader = rd.Leader()
	if r.outcome != singleflight.Ready {
		return r
	}
	var b bytes.Buffer
	_, r.err = rd.WriteTo(writerFunc(func(p []byte) (int, error) {
		if r.first.IsZero() {
			r.first = time.Now()
		}
		return b.Write(p)
	}))
	r.body = b.Bytes()
	return r
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// crowd sends n clients of one key to each instance at once.
func crowd(all []*instance, n int, key string, fill singleflight.Fill[*page]) []result {
	rs := make([]result, n*len(all))
	var clients sync.WaitGroup
	for i := range rs {
		clients.Go(func() { rs[i] = all[i%len(all)].get(key, fill) })
	}
	clients.Wait()
	return rs
}

func fills(all []*instance) (n int64) {
	for _, in := range all {
		n += in.fills.Load()
	}
	return n
}

// give is a fill that writes pieces of a body, each after a pause.
func give(p page, v singleflight.Verdict, toHead, toPiece time.Duration, pieces ...[]byte) singleflight.Fill[*page] {
	return func(ctx context.Context, w *singleflight.Writer[*page]) error {
		if err := sleep(ctx, toHead); err != nil {
			return err
		}
		mine := p
		if err := w.Head(&mine, v); err != nil {
			return err
		}
		if err := w.Grow(p.Length); err != nil {
			return err
		}
		for _, b := range pieces {
			if err := sleep(ctx, toPiece); err != nil {
				return err
			}
			if _, err := w.ReadFrom(bytes.NewReader(b)); err != nil {
				return err
			}
		}
		return nil
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func bodyOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

func pieces(b []byte, n int) (all [][]byte) {
	for len(b) > n {
		all, b = append(all, b[:n]), b[n:]
	}
	return append(all, b)
}

// TestShared: what one instance fills the others follow, while it is under way,
// and find afterwards.
func TestShared(t *testing.T) {
	s := startServer(t)
	for _, size := range []int{0, 1, 1000, 64 << 10, 300_000, 3 << 20} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d,known=%v", size, known), func(t *testing.T) {
				all := fleet(t, 3, Options{}, s)
				body, key := bodyOf(size), t.Name()
				p := page{Name: "n", Length: int64(size), Keep: time.Minute, ETag: "e"}
				if !known {
					p.Length = -1
				}
				fill := give(p, singleflight.Store, 100*time.Millisecond, 10*time.Millisecond, pieces(body, 200_000)...)
				for i, r := range crowd(all, 4, key, fill) {
					if !r.whole(body) {
						t.Fatalf("client %d: %v %v, %d bytes", i, r.outcome, r.err, len(r.body))
					}
				}
				if n := fills(all); n != 1 {
					t.Errorf("%d fills", n)
				}
				late := join(t, all[0].e.o, singleflight.Options[*page]{}).connect()
				for _, in := range all {
					eventually(t, 5*time.Second, "all is written", func() bool { return in.e.Stats().Leading == 0 })
				}
				r := late.get(key, fill)
				if !r.whole(body) || late.fills.Load() != 0 {
					t.Errorf("a later instance: %v %v, %d bytes", r.outcome, r.err, len(r.body))
				}
				late.closeNow()
				if b, ok := late.kept["n"]; !ok || !bytes.Equal(b, body) {
					t.Errorf("it kept %d bytes: %v", len(b), ok)
				}
				if st := late.e.Stats(); st.Hits != 1 || st.Read < int64(size) {
					t.Errorf("%+v", st)
				}
				if age := r.head.stored.Age; age < 0 || age > 10*time.Second {
					t.Errorf("age %v", age)
				}
			})
		}
	}
}

var _ io.Writer = writerFunc(nil)
