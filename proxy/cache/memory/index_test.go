package memory

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var now = time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)

func varies(names ...string) Record { return Record{Vary: names} }

func marked(d time.Duration) Record { return Record{Until: now.Add(d)} }

func TestIndex(t *testing.T) {
	x := NewIndex(64)
	x.Put(1, "a", varies("foo"), now)
	x.Put(1, "b", marked(time.Minute), now) // the same hash
	for _, c := range []struct {
		hash  uint64
		key   string
		after time.Duration
		found bool
		names int
	}{
		{1, "a", 1000 * time.Hour, true, 1},
		{1, "b", time.Minute - 1, true, 0},
		{1, "b", time.Minute, false, 0},
		{1, "c", 0, false, 0},
		{2, "a", 0, false, 0},
		{1 + 64, "a", 0, false, 0}, // the same bucket
	} {
		r, ok := x.Lookup(c.hash, c.key, now.Add(c.after))
		if ok != c.found || len(r.Vary) != c.names {
			t.Errorf("%d %q after %v: %+v, %v", c.hash, c.key, c.after, r, ok)
		}
	}
	x.Put(1, "a", marked(time.Minute), now)
	if r, ok := x.Lookup(1, "a", now); !ok || r.Vary != nil || r.Until.IsZero() {
		t.Errorf("after a second Put: %+v, %v", r, ok)
	}
	x.Delete(1, "a")
	if _, ok := x.Lookup(1, "a", now); ok {
		t.Error("found after Delete")
	}
	if st := x.Stats(); st != (IndexStats{Entries: 1, Limit: 64}) {
		t.Errorf("%+v", st)
	}
}

// TestIndexGivesWay: a full bucket gives up what expired, then what nobody
// asked for, oldest first.
func TestIndexGivesWay(t *testing.T) {
	x := NewIndex(1) // one bucket of four
	at := func(key string) bool { _, ok := x.Lookup(0, key, now); return ok }
	keys := func() (s string) {
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			e := x.bucket(0)
			for i := range e {
				if p := e[i].Load(); p != nil && p.record.Vary[0] == key {
					s += key
				}
			}
		}
		return s
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		r := varies(key)
		if key == "c" {
			r.Until = now.Add(-1)
		}
		x.Put(0, key, r, now)
	}
	for _, step := range []struct{ ask, put, want string }{
		{"a", "e", "abde"},   // c had expired
		{"", "f", "adef"},    // b was the oldest not asked for
		{"def", "g", "defg"}, // all were asked for: the oldest, and all start anew
		{"e", "h", "efgh"},   // d is the oldest not asked for since
	} {
		for _, key := range step.ask {
			if !at(string(key)) {
				t.Fatalf("%c is missing before %s came", key, step.put)
			}
		}
		x.Put(0, step.put, varies(step.put), now)
		if got := keys(); got != step.want {
			t.Fatalf("after %s: %s, want %s", step.put, got, step.want)
		}
	}
	if st := x.Stats(); st != (IndexStats{Entries: 4, Limit: 4, Evicted: 3}) {
		t.Errorf("%+v", st)
	}
}

// TestIndexConcurrently: under writers, readers find nothing but what was put
// under their key, and the count is right in the end.
func TestIndexConcurrently(t *testing.T) {
	x := NewIndex(16)
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for range 5000 {
				n := r.Uint64N(40)
				key := fmt.Sprint(n)
				switch r.IntN(6) {
				case 0:
					x.Put(n, key, varies(key), now)
				case 1:
					x.Delete(n, key)
				default:
					if rec, ok := x.Lookup(n, key, now); ok && rec.Vary[0] != key {
						t.Errorf("found %v under %q", rec, key)
					}
				}
			}
		})
	}
	workers.Wait()
	found := int64(0)
	for n := range uint64(40) {
		if _, ok := x.Lookup(n, fmt.Sprint(n), now); ok {
			found++
		}
	}
	if st := x.Stats(); st.Entries != found || found == 0 || found > st.Limit {
		t.Errorf("%+v, but %d are found", st, found)
	}
}

func TestEpochs(t *testing.T) {
	e := NewEpochs(1000) // rounded up to 1024
	before := e.Epoch(7)
	e.Bump(7)
	if e.Epoch(7) == before {
		t.Error("Bump changed nothing")
	}
	if e.Epoch(7+1024) != e.Epoch(7) {
		t.Error("the table is larger than it was made")
	}
	for hash := range uint64(1024) {
		if hash != 7 && e.Epoch(hash) != before {
			t.Errorf("Bump(7) changed %d", hash)
		}
	}
	if NewEpochs(0).Epoch(1<<63) != 0 {
		t.Error("a new table is not at 0")
	}
}

func TestIndexAllocatesNothing(t *testing.T) {
	x, e, key := NewIndex(0), NewEpochs(0), []byte("a key in memory that is used again")
	x.Put(5, string(key), varies("foo"), now)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := x.Lookup(5, "a key in memory that is used again", now); !ok {
			t.Fatal("not found")
		}
		x.Lookup(6, "other", now)
		e.Epoch(5)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkIndexLookup(b *testing.B) {
	x := NewIndex(0)
	key := "https|www.example.com|443|/some/path/to/page/1234|q=1"
	x.Put(5, key, varies("accept-encoding"), now)
	for name, hash := range map[string]uint64{"hit": 5, "miss": 6} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					x.Lookup(hash, key, now)
				}
			})
		})
	}
}
