package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

var now = time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)

func varies(names ...string) Record { return Record{Vary: names} }

func marked(d time.Duration) Record { return Record{Until: now.Add(d)} }

func forget(Record, bool) (Record, bool) { return Record{}, false }

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
	x.Update(1, "a", now, forget)
	x.Update(1, "c", now, forget)
	if _, ok := x.Lookup(1, "a", now); ok {
		t.Error("found after it was forgotten")
	}
	if st := x.Stats(); st != (IndexStats{Entries: 1, Limit: 64}) {
		t.Errorf("%+v", st)
	}
}

// TestIndexUpdate: f sees the live record and nothing else, and decides what
// becomes of it; what was looked up before stays as it was.
func TestIndexUpdate(t *testing.T) {
	x := NewIndex(64)
	for i, c := range []struct {
		at     time.Duration
		see    int // variants, -1 for no record
		next   Record
		keep   bool
		after  int
		places int64
	}{
		{0, -1, Record{}, false, -1, 0},
		{0, -1, Record{Variants: []uint64{1}}, true, 1, 1},
		{0, 1, Record{Variants: []uint64{1, 2}, Until: now.Add(time.Minute)}, true, 2, 1},
		{time.Minute - 1, 2, Record{Variants: []uint64{1, 2, 3}, Until: now.Add(time.Minute)}, true, 3, 1},
		{time.Minute, -1, Record{Variants: []uint64{4}}, true, 1, 1}, // expired: a new beginning
		{time.Hour, 1, Record{}, false, -1, 0},
		{time.Hour, -1, Record{Until: now.Add(2 * time.Hour)}, true, 0, 1},
		{2 * time.Hour, -1, Record{}, false, -1, 0}, // expired, and no longer in the way
	} {
		then := now.Add(c.at)
		x.Put(1, "neighbour", varies("foo"), now)
		before, found := x.Lookup(1, "k", then)
		count := len(before.Variants)
		x.Update(1, "k", then, func(old Record, ok bool) (Record, bool) {
			if see := seen(old, ok); see != c.see || ok != found {
				t.Errorf("step %d: f sees %+v, %v", i, old, ok)
			}
			return c.next, c.keep
		})
		if r, ok := x.Lookup(1, "k", then); seen(r, ok) != c.after || len(before.Variants) != count {
			t.Errorf("step %d: then %+v, %v", i, r, ok)
		}
		if st := x.Stats(); st.Entries != c.places+1 || st.Evicted != 0 {
			t.Errorf("step %d: %+v", i, st)
		}
		if r, ok := x.Lookup(1, "neighbour", then); !ok || len(r.Vary) != 1 {
			t.Errorf("step %d: its neighbour became %+v, %v", i, r, ok)
		}
	}
}

func seen(r Record, ok bool) int {
	if !ok {
		return -1
	}
	return len(r.Variants)
}

// TestIndexUpdateConcurrently: no update is lost, and a list that was looked up
// never changes.
func TestIndexUpdateConcurrently(t *testing.T) {
	const workers, each = 4, 500
	x := NewIndex(4)
	var all sync.WaitGroup
	for w := range uint64(workers) {
		all.Go(func() {
			for i := range uint64(each) {
				r, _ := x.Lookup(1, "k", now)
				was := slices.Clone(r.Variants)
				x.Update(1, "k", now, func(old Record, _ bool) (Record, bool) {
					old.Variants, _, _ = AddVariant(old.Variants, w*each+i, workers*each)
					return old, true
				})
				if !slices.Equal(r.Variants, was) {
					t.Error("a record changed under its reader")
				}
			}
		})
	}
	all.Wait()
	r, _ := x.Lookup(1, "k", now)
	got := slices.Sorted(slices.Values(r.Variants))
	for i, v := range got {
		if v != uint64(i) {
			t.Fatalf("variant %d is missing", i)
		}
	}
	if len(got) != workers*each {
		t.Errorf("%d variants of %d", len(got), workers*each)
	}
}

func TestAddVariant(t *testing.T) {
	for _, c := range []struct {
		list    []uint64
		v       uint64
		limit   int
		next    []uint64
		dropped uint64
		full    bool
	}{
		{nil, 0, 1, []uint64{0}, 0, false},
		{[]uint64{7}, 8, 2, []uint64{7, 8}, 0, false},
		{[]uint64{7, 8}, 9, 2, []uint64{8, 9}, 7, true},
		{[]uint64{0, 8}, 9, 2, []uint64{8, 9}, 0, true}, // 0 is a hash like any other
		{[]uint64{7, 8}, 7, 2, []uint64{7, 8}, 0, false},
		{[]uint64{7}, 8, 1, []uint64{8}, 7, true},
	} {
		next, dropped, full := AddVariant(c.list, c.v, c.limit)
		if !slices.Equal(next, c.next) || dropped != c.dropped || full != c.full {
			t.Errorf("%+v: %v, %d, %v", c, next, dropped, full)
		}
	}
}

// FuzzAddVariant: the list never exceeds its limit or holds one twice, nothing
// leaves it unnamed, and the list that was given is not written to.
func FuzzAddVariant(f *testing.F) {
	f.Add([]byte("abcabd"), 2)
	f.Add([]byte{0, 0, 1, 255}, 1)
	f.Fuzz(func(t *testing.T, vs []byte, limit int) {
		limit = 1 + limit&7
		list, stored := make([]uint64, 0, 16), map[uint64]bool{}
		for _, b := range vs {
			v, was := uint64(b), slices.Clone(list)
			next, dropped, full := AddVariant(list, v, limit)
			if full {
				if !stored[dropped] {
					t.Fatalf("dropped %d of %v", dropped, was)
				}
				delete(stored, dropped)
			}
			if known := stored[v]; known && &next[0] != &list[0] {
				t.Fatalf("a list that holds %d already was copied", v)
			}
			stored[v] = true
			if len(next) > limit || len(next) != len(stored) || !slices.Contains(next, v) || !slices.Equal(list, was) {
				t.Fatalf("%v and %d make %v at most %d", was, v, next, limit)
			}
			for _, n := range next {
				if !stored[n] {
					t.Fatalf("%v holds %d", next, n)
				}
			}
			list = next
		}
	})
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
					x.Update(n, key, now, forget)
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

func TestIndexAllocatesNothing(t *testing.T) {
	x, e, key := NewIndex(0), NewEpochs(0), []byte("a key in memory that is used again")
	x.Put(5, string(key), varies("foo"), now)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := x.Lookup(5, "a key in memory that is used again", now); !ok {
			t.Fatal("not found")
		}
		x.Lookup(6, "other", now)
		e.Bump(6, Stale, now)
		if e.Last(5) != (Ticks{}) {
			t.Fatal("bumped")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEpochsLast(b *testing.B) {
	e := NewEpochs(0)
	born := e.Now()
	b.RunParallel(func(pb *testing.PB) {
		for hash := uint64(0); pb.Next(); hash++ {
			if gone(e, hash, born) {
				b.Error("bumped")
			}
		}
	})
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
