package memory

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Values come by their rank, each once, without those that have left meanwhile.
func TestRanked(t *testing.T) {
	s := newStore(t, 1<<20)
	const n = 500
	for i := range n {
		if !s.Put(&page{key: strconv.Itoa(i), body: make([]byte, 10)}, time.Hour) {
			t.Fatal("not stored")
		}
	}
	rank := func(v *page) uint64 { i, _ := strconv.Atoi(v.key); return uint64(i) }
	want := n - 1
	for v := range s.Ranked(rank) {
		if v.key != strconv.Itoa(want) {
			t.Fatalf("%s in place of %d", v.key, want)
		}
		if want--; want == n/2 {
			for i := range n / 2 {
				s.Delete(strconv.Itoa(i + 1))
			}
			s.Put(&page{key: "0", body: make([]byte, 20)}, time.Hour) // another one than that which waits
		}
	}
	if want != n/2 {
		t.Errorf("ended at %d", want)
	}
	for range s.Ranked(rank) {
		break // which is allowed
	}
	s.Close()
	for range s.Ranked(rank) {
		t.Error("a closed store has values")
	}
}

// hourly is what pages are stored for, but the seventh ones.
func hourly(p *page) time.Duration {
	if p.nth == 7 {
		return 0
	}
	return time.Hour
}

func add(s *Store[*page], p *page) bool { return s.Add([]*page{p}, hourly)[0] }

// Add takes the place of nothing, and makes nothing give way.
func TestAdd(t *testing.T) {
	s := newStore(t, minBytes)
	got := s.Add([]*page{{key: "a", body: make([]byte, 1)}, {key: "b", nth: 7}, {key: "a", body: make([]byte, 2)}}, hourly)
	if !slices.Equal(got, []bool{true, false, false}) || add(s, &page{key: "a", body: make([]byte, 2)}) || s.Stats().Entries != 1 {
		t.Errorf("added %v: twice, for no time, or not at all; %+v", got, s.Stats())
	}
	if v, ok := s.Get("a"); !ok || len(v.body) != 1 {
		t.Errorf("%v, %v", v, ok)
	}
	added := 1
	for i := range 1000 {
		if add(s, &page{key: strconv.Itoa(i), body: make([]byte, 1000)}) {
			added++
		}
	}
	if st := s.Stats(); st.Entries != int64(added) || st.Bytes > st.MaxBytes || st.Evicted > 0 || st.Refused > 1 || added < 40 {
		t.Errorf("%d added, %+v", added, st)
	}
}

// Of one that is put and one that is added, the former stays, whichever comes first.
func TestAddRacesPut(t *testing.T) {
	s := newStore(t, 1<<20)
	var all sync.WaitGroup
	for i := range 200 {
		key := strconv.Itoa(i)
		all.Go(func() { s.Add([]*page{{key: key, body: make([]byte, 1)}, {key: key + "x"}}, hourly) })
		all.Go(func() { s.Put(&page{key: key, body: make([]byte, 2)}, time.Hour) })
	}
	all.Wait()
	for i := range 200 {
		if v, ok := s.Get(strconv.Itoa(i)); !ok || len(v.body) != 2 {
			t.Errorf("%d: %v, %v", i, v, ok)
		}
	}
}
