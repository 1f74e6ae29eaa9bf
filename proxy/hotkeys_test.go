package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// callFor is a call for a key, on the connection of a stripe.
func callFor(key uint64, now time.Time) *call {
	return &call{
		ctx: new(fasthttp.RequestCtx), now: now, key: keys{hash: key}, route: &Route{name: "*/"},
		target: target{authority: "x", raw: fmt.Sprintf("/%d", key)},
	}
}

// What is asked for little is counted exactly, with its text.
func TestHotKeysOfFew(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := newHotKeys(now)
	for key := range uint64(hotSlots) {
		for range key + 1 {
			h.stripes[key%stripes].note(callFor(key, now), 1)
		}
	}
	got := h.top(10, now.Add(5*time.Second))
	if len(got.Keys) != 10 || got.Over != 5*time.Second {
		t.Fatalf("%+v", got)
	}
	for i, k := range got.Keys {
		key := uint64(hotSlots - 1 - i)
		if want := (HotKey{key, "*/", fmt.Sprintf("x/%d", key), key + 1}); k != want {
			t.Errorf("%+v, want %+v", k, want)
		}
	}
}

// Whatever the texts, what is kept of them is bounded.
func TestHotKeyTextIsCut(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := newHotKeys(now)
	c := callFor(1, now)
	c.target.raw = "/" + strings.Repeat("a", 1000)
	h.see(c)
	if got := h.top(1, now).Keys[0].Text; got != ("x" + c.target.raw)[:hotText] {
		t.Errorf("%q", got)
	}
	c = callFor(2, now)
	c.target.authority = strings.Repeat("b", 1000)
	h.see(c)
	h.see(c)
	if got := h.top(1, now).Keys[0].Text; got != c.target.authority[:hotText] {
		t.Errorf("%q", got)
	}
}

// Counts are of the last one to two windows.
func TestHotKeysForget(t *testing.T) {
	start := time.Unix(1e9, 0).Truncate(hotWindow)
	for _, tt := range []struct {
		after time.Duration
		want  int
		over  time.Duration
	}{
		{hotWindow - 1, 3, hotWindow - 1},
		{hotWindow, 3, hotWindow},
		{2*hotWindow - 1, 3, 2*hotWindow - 1},
		{2 * hotWindow, 0, hotWindow},
		{9*hotWindow + hotWindow/2, 0, hotWindow + hotWindow/2},
	} {
		h := newHotKeys(start)
		for range 3 {
			h.see(callFor(1, start))
		}
		h.see(callFor(1, start.Add(-time.Second))) // a clock that was set back, or another core's
		got, n := h.top(1, start.Add(tt.after)), 0
		if len(got.Keys) > 0 {
			n = int(got.Keys[0].Requests) - 1
		}
		if max(n, 0) != tt.want || got.Over != tt.over {
			t.Errorf("after %v: %d over %v, want %d over %v", tt.after, n, got.Over, tt.want, tt.over)
		}
	}
}

// Of many requests a sample is counted: the hottest keys are found among many, and
// their counts are about right.
func TestHotKeysOfMany(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := newHotKeys(now)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), 1.2, 1, 1e6)
	truth, calls := make(map[uint64]float64), make(map[uint64]*call)
	for range 300_000 {
		key := zipf.Uint64()
		if calls[key] == nil {
			calls[key] = callFor(key, now)
		}
		truth[key]++
		h.see(calls[key])
	}
	for i, k := range h.top(3, now).Keys {
		if want := truth[uint64(i)]; k.Hash != uint64(i) || float64(k.Requests) < 0.6*want || float64(k.Requests) > 1.4*want {
			t.Errorf("place %d: %+v, want about %.0f of key %d", i, k, want, i)
		}
	}
}

// Where no key is hot none is made out to be.
func TestHotKeysOfNone(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := newHotKeys(now)
	for key := range uint64(hotWhole) {
		h.see(callFor(key, now))
	}
	if got := h.top(1, now).Keys; got[0].Requests != 1 {
		t.Errorf("%+v", got)
	}
}

// Cores count and somebody looks, all at once.
func TestHotKeysAtOnce(t *testing.T) {
	start := time.Now()
	h := newHotKeys(start)
	var all sync.WaitGroup
	for core := range 4 {
		all.Go(func() {
			for i := range 3_000 {
				h.see(callFor(uint64(core), start.Add(time.Duration(i)*time.Millisecond)))
			}
		})
	}
	all.Go(func() {
		for i := range 100 {
			if n := len(h.top(2, start.Add(time.Duration(i)*time.Second)).Keys); n > 2 {
				t.Errorf("%d keys of 2", n)
			}
		}
	})
	all.Wait()
}

// What a sketch says of a key is never more than what was, and what it may be
// wrong by is never less.
func TestSketchBounds(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		var k sketch
		truth := make(map[uint64]uint64)
		var total uint64
		for range 5000 {
			key, weight := uint64(random.ExpFloat64()*60), 1+random.Uint64N(3)
			truth[key] += weight
			total += weight
			k.add(key, weight)
		}
		seen := make(map[uint64]bool)
		for i := range k.used {
			seen[k.hashes[i]] = true
			if n := truth[k.hashes[i]]; k.counts[i] < n || k.counts[i]-k.errors[i] > n {
				t.Errorf("seed %d: %d is counted as %d to %d", seed, n, k.counts[i]-k.errors[i], k.counts[i])
			}
		}
		for key, n := range truth {
			if n > total/hotSlots && !seen[key] {
				t.Errorf("seed %d: a key of %d in %d is not there", seed, n, total)
			}
		}
	}
}

// A key that is asked for through the front is there, with its route, text and hash;
// that costs nothing of the heap.
func TestHotKeysOfHandler(t *testing.T) {
	h := newTestHandler(t, func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.Set("Cache-Control", "max-age=60") })
	serveLoop(t, testFront(h), 100)
	got := h.HotKeys(5).Keys
	if len(got) != 1 || got[0].Requests != 100 || got[0].Text != "www.example.com/static/app.js?v=3" || got[0].Route == "" {
		t.Fatalf("%+v", got)
	}
	now := time.Unix(1e9, 0)
	k, c := newHotKeys(now), callFor(1, now)
	if n := testing.AllocsPerRun(1000, func() { c.key.hash++; k.see(c) }); n > 0 {
		t.Errorf("%v allocations for each", n)
	}
}

func BenchmarkHotKeys(b *testing.B) {
	now := time.Now()
	h := newHotKeys(now)
	b.Run("one", func(b *testing.B) {
		c := callFor(1, now)
		for b.Loop() {
			h.see(c)
		}
	})
	b.Run("many", func(b *testing.B) {
		c := callFor(1, now)
		for b.Loop() {
			c.key.hash++
			h.see(c)
		}
	})
}
