package memory

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// page is a value with a size of its own.
type page struct {
	key  string
	body []byte
	nth  int // of the values put under its key
}

func pageKey(p *page) string { return p.key }
func pageCost(p *page) int64 { return int64(len(p.key) + cap(p.body) + 64) }

func newStore(t testing.TB, maxBytes int64) *Store[*page] {
	t.Helper()
	s, err := New(Options[*page]{MaxBytes: maxBytes, Key: pageKey, Cost: pageCost})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestStorePutIsVisibleAtOnce(t *testing.T) {
	s := newStore(t, 1<<20)
	for i := range 100 {
		first, second := &page{key: fmt.Sprint(i % 10)}, &page{key: fmt.Sprint(i % 10), body: make([]byte, i)}
		for _, p := range []*page{first, second} {
			if !s.Put(p, time.Hour) {
				t.Fatalf("put %d was refused by a store with room", i)
			}
			if got, ok := s.Get(p.key); !ok || got != p {
				t.Fatalf("after put %d: %v, %v", i, got, ok)
			}
		}
	}
	if st := s.Stats(); st.Entries != 10 {
		t.Errorf("%d entries of 10 keys", st.Entries)
	}
	s.Delete("3")
	s.Delete("no such key")
	if _, ok := s.Get("3"); ok {
		t.Error("found after Delete")
	}
	if st := s.Stats(); st.Entries != 9 {
		t.Errorf("%d entries after Delete", st.Entries)
	}
}

func TestStoreRefuses(t *testing.T) {
	s := newStore(t, 1<<20)
	for name, again := range map[string]struct {
		size int
		ttl  time.Duration
	}{"larger than the store": {2 << 20, time.Hour}, "no time": {1, 0}, "negative time": {1, -time.Second}} {
		if !s.Put(&page{key: "k"}, time.Hour) {
			t.Fatal("refused")
		}
		if s.Put(&page{key: "k", body: make([]byte, again.size)}, again.ttl) {
			t.Errorf("%s: accepted", name)
		}
		if _, ok := s.Get("k"); ok {
			t.Errorf("%s: the older value outlived a newer one", name)
		}
	}
	if st := s.Stats(); st.Refused != 3 || st.Entries != 0 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
}

// TestStoreComparesKeys: a value that sits under the hashes of another key is
// neither found under that key nor in the way of its value.
func TestStoreComparesKeys(t *testing.T) {
	s := newStore(t, 1<<20)
	s.cache.Set("asked", &item[*page]{value: &page{key: "other"}, key: "other", cost: 1 << 19}, 1<<19)
	s.cache.Wait()
	if p, ok := s.Get("asked"); ok {
		t.Errorf("found %q", p.key)
	}
	if want := (&page{key: "asked"}); !s.Put(want, time.Hour) {
		t.Error("refused")
	} else if p, ok := s.Get("asked"); !ok || p != want {
		t.Errorf("found %v, %v after Put", p, ok)
	}
}

func TestStoreExpires(t *testing.T) {
	s := newStore(t, 1<<20)
	const ttl = 100 * time.Millisecond
	if start := time.Now(); !s.Put(&page{key: "k"}, ttl) && time.Since(start) < ttl {
		t.Fatal("refused")
	}
	waitFor(t, "the value to expire", func() bool { _, ok := s.Get("k"); return !ok })
}

// TestStoreStaysWithinItsBytes: values that come and grow never take more than
// the bound, by the store's count and by the heap's.
func TestStoreStaysWithinItsBytes(t *testing.T) {
	const limit = 2 << 20
	s := newStore(t, limit)
	var start, end runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&start)
	for round := range 3 {
		for i := range 5000 {
			key := strings.Repeat("k", 30) + fmt.Sprint(i)
			p := &page{key: key, body: make([]byte, 256*(round+1))}
			if visible := s.Put(p, time.Hour); visible {
				if got, ok := s.Get(key); ok && got.key != key {
					t.Fatalf("found %q under %q", got.key, key)
				}
			}
		}
		if st := s.Stats(); st.Bytes > limit || st.Bytes < limit*3/4 || st.Evicted+st.Refused == 0 {
			t.Fatalf("round %d: %+v", round, st)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&end)
	if grown := int64(end.HeapAlloc) - int64(start.HeapAlloc); grown > limit*3/2 {
		t.Errorf("the heap grew by %d bytes for a bound of %d", grown, limit)
	}
	runtime.KeepAlive(s)
}

func TestStoreConcurrently(t *testing.T) {
	s := newStore(t, 1<<20)
	var missing, wrong atomic.Int64
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			own := fmt.Sprint("own", w)
			for i := range 300 {
				shared := fmt.Sprint("shared", i%5)
				if !s.Put(&page{key: shared, body: make([]byte, i)}, time.Hour) {
					missing.Add(1) // there is room for all
				}
				if p, ok := s.Get(shared); ok && p.key != shared {
					wrong.Add(1)
				}
				if i%7 == 0 {
					s.Delete(shared)
				}
				p := &page{key: own, body: make([]byte, i)}
				if got, ok := (*page)(nil), s.Put(p, time.Hour); ok {
					if got, ok = s.Get(own); !ok || got != p {
						missing.Add(1)
					}
				}
			}
		})
	}
	workers.Wait()
	if missing.Load() != 0 || wrong.Load() != 0 {
		t.Errorf("%d put values were not found, %d under another key", missing.Load(), wrong.Load())
	}
	if st := s.Stats(); st.Entries < 8 || st.Entries > 13 || st.Bytes > st.MaxBytes {
		t.Errorf("%+v for at most 13 keys", st)
	}
}

// TestStoreReplaces: while values take the place of others, smaller, as large
// or larger, a Get always finds one, and never an older one than before.
func TestStoreReplaces(t *testing.T) {
	for name, size := range map[string]func(i int) int{
		"equal":       func(int) int { return 100 },
		"smaller":     func(i int) int { return 1000 - i },
		"larger":      func(i int) int { return i },
		"up and down": func(i int) int { return i * 131 % 1000 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, 1<<20)
			const key, puts = "k", 1000
			s.Put(&page{key: key, body: make([]byte, size(0))}, time.Hour)
			var done atomic.Bool
			var readers sync.WaitGroup
			for range 2 {
				readers.Go(func() {
					for last := 0; !done.Load(); {
						p, ok := s.Get(key)
						if !ok {
							t.Errorf("missing after put %d", last)
							return
						}
						if p.nth < last {
							t.Errorf("put %d found after put %d", p.nth, last)
							return
						}
						last = p.nth
					}
				})
			}
			for i := 1; i < puts; i++ {
				if !s.Put(&page{key: key, body: make([]byte, size(i)), nth: i}, time.Hour) {
					t.Errorf("put %d was refused by a store with room", i)
				}
			}
			done.Store(true)
			readers.Wait()
			if st := s.Stats(); st.Entries != 1 || st.Refused+st.Evicted != 0 {
				t.Errorf("%+v", st)
			}
			s.Delete(key)
			if _, ok := s.Get(key); ok {
				t.Error("found after Delete")
			}
		})
	}
}

// TestStoreInMotion is what a Get does that found nothing, step by step: what
// may have happened between its look and the next.
func TestStoreInMotion(t *testing.T) {
	s := newStore(t, 1<<20)
	put := func(nth int) { s.Put(&page{key: "k", nth: nth}, time.Hour) }
	begin := func(key string, nth int) {
		s.moving[s.stripe("k")].Store(&item[*page]{key: key, value: &page{nth: nth}})
	}
	end := func() { s.arrived(s.stripe("k")) }
	for _, c := range []struct {
		name   string
		before func() // the look
		after  func()
		want   int // 0 for nothing
	}{
		{"nothing moves", func() {}, func() {}, 0},
		{"it is moving", func() { begin("k", 1) }, func() {}, 1},
		{"it began to move", func() {}, func() { begin("k", 1) }, 1},
		{"another is moving", func() { begin("other", 1) }, func() {}, 0},
		{"it has arrived", func() { begin("k", 1) }, func() { put(1); end() }, 1},
		{"it has arrived, and the next one moves", func() { begin("k", 1) }, func() { put(1); end(); begin("k", 2) }, 1},
		{"it has arrived and gone, and the next one moves", func() { begin("k", 1) }, func() { end(); begin("k", 2) }, 2},
		{"it was refused", func() { begin("k", 1) }, end, 0},
		{"another has arrived", func() { begin("other", 1) }, end, 0},
	} {
		s.Delete("k")
		s.moving[s.stripe("k")].Store(nil)
		c.before()
		moves := s.moves.Load()
		c.after()
		got := 0
		if it := s.inMotion("k", moves); it != nil {
			got = it.value.nth
		}
		if got != c.want {
			t.Errorf("%s: found %d, want %d", c.name, got, c.want)
		}
	}
}

func TestStoreCloses(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := newStore(t, 1<<20)
	var writers sync.WaitGroup
	started := make(chan struct{}, 4)
	for w := range 4 {
		writers.Go(func() {
			started <- struct{}{}
			for i := range 500 {
				s.Put(&page{key: fmt.Sprint(w, i)}, time.Hour)
				s.Delete(fmt.Sprint(w, i-1))
			}
		})
	}
	for range 4 {
		<-started
	}
	s.Close()
	s.Close()
	writers.Wait()
	if s.Put(&page{key: "k"}, time.Hour) {
		t.Error("stored after Close")
	}
	if _, ok := s.Get("k"); ok {
		t.Error("found after Close")
	}
	if st := s.Stats(); st.Entries != 0 || st.Bytes != 0 {
		t.Errorf("%+v after Close", st)
	}
	goleak.VerifyNone(t, before)
}

func TestNewRefusesNonsense(t *testing.T) {
	for name, o := range map[string]Options[*page]{
		"no Key":    {MaxBytes: 1 << 20, Cost: pageCost},
		"no Cost":   {MaxBytes: 1 << 20, Key: pageKey},
		"too small": {MaxBytes: 1000, Key: pageKey, Cost: pageCost},
	} {
		if s, err := New(o); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStoreGetAllocatesNothing(t *testing.T) {
	s := newStore(t, 1<<20)
	s.Put(&page{key: "key"}, time.Hour)
	for _, key := range []string{"key", "none"} {
		if n := testing.AllocsPerRun(1000, func() { s.Get(key) }); n != 0 {
			t.Errorf("%v allocations for %q", n, key)
		}
	}
}

// waitFor waits until done, at most ten seconds.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

func BenchmarkStoreGet(b *testing.B) {
	s := newStore(b, 64<<20)
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprintf("https|www.example.com|443|/some/path/to/page/%d|q=1", i)
		if !s.Put(&page{key: keys[i]}, time.Hour) {
			b.Fatal("refused")
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := s.Get(keys[i&4095]); !ok {
				b.Error("not found")
			}
		}
	})
}

func BenchmarkStorePut(b *testing.B) {
	s := newStore(b, 64<<20)
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			s.Put(&page{key: keys[i&4095]}, time.Hour)
		}
	})
}
