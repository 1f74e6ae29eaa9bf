package proxy

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/proxy/cache/memory"
)

// newJournal is an open journal, and what it strikes.
func newJournal(t *testing.T, path string) (*Journal, func(...strike)) {
	t.Helper()
	g := NewJournal(path, func(err error) { t.Error(err) })
	on := &struck{Epochs: memory.NewEpochs(0)}
	t.Cleanup(func() { _ = g.Close() })
	return g, func(list ...strike) { g.strike(list, time.Now(), on) }
}

// tells reports which of the hashes 1 to 9 a journal has struck, s for softly.
func tells(t *testing.T, path string) (s string) {
	t.Helper()
	p, sound := readJournal(path)
	if !sound {
		return "?"
	}
	for hash := range uint64(9) {
		switch last := p.struck.Last(hash + 1); {
		case last.Nothing > 0:
			s += string(rune('1' + hash))
		case last.Stale > 0:
			s += "s" + string(rune('1'+hash))
		}
	}
	return s
}

func hard(hash uint64) strike { return strike{memory.Nothing, oneHash, hash} }
func soft(hash uint64) strike { return strike{memory.Stale, oneHash, hash} }

// What was struck before the journal was opened, by this process or another one,
// before a snapshot was begun and while it was written is in it for as long as the
// snapshot that is there does not know it.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	g, hit := newJournal(t, path)
	hit(hard(1))
	if _, err := g.Open(); err != nil {
		t.Fatal(err)
	}
	hit(soft(2), hard(3))
	hit(hard(3))
	if got, size := tells(t, path), fileSize(t, path); got != "1s23" || size != 3*journalLine {
		t.Errorf("before a snapshot: %s in %d bytes", got, size)
	}
	g.Begin()
	hit(hard(3), hard(4))
	if got := tells(t, path); got != "1s234" {
		t.Errorf("while it is written: %s", got)
	}
	g.Begin() // it failed
	hit(hard(5))
	if err := g.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := tells(t, path); got != "5" {
		t.Errorf("after it: %s", got)
	}
	hit(hard(6))
	hit(hard(1))
	if got := tells(t, path); got != "156" {
		t.Errorf("later: %s", got)
	}
	// Another process goes on.
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	next, hit := newJournal(t, path)
	past, err := next.Open()
	if err != nil || past.struck.Last(6).Nothing == 0 {
		t.Errorf("the next one is told of %+v, %v", past, err)
	}
	hit(hard(7))
	if got := tells(t, path); got != "1567" {
		t.Errorf("the next one: %s", got)
	}
	var none *Journal
	on := &struck{Epochs: memory.NewEpochs(0)}
	none.strike([]strike{hard(1)}, time.Now(), on)
	if on.Last(1).Nothing == 0 || none.Close() != nil {
		t.Error("without a journal nothing is struck")
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A journal that is full, damaged or cannot be read says that everything was
// struck; so does the next one.
func TestJournalIsVoid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	g, hit := newJournal(t, path)
	if _, err := g.Open(); err != nil {
		t.Fatal(err)
	}
	list := make([]strike, maxJournal+10)
	for i := range list {
		list[i] = hard(uint64(i) + 1000)
	}
	hit(list...)
	hit(list...)
	if got, size := tells(t, path), fileSize(t, path); got != "123456789" || size != (maxJournal+1)*journalLine {
		t.Errorf("full: %s in %d bytes", got, size)
	}
	g.Begin()
	if err := g.Commit(); err != nil || fileSize(t, path) != 0 {
		t.Errorf("%d bytes are left after a snapshot, %v", fileSize(t, path), err)
	}
	hit(hard(1), soft(2))
	sound, err := os.ReadFile(path)
	if err != nil || tells(t, path) != "1s2" {
		t.Fatalf("%s, %v", tells(t, path), err)
	}
	for at := range sound {
		broken := append([]byte(nil), sound...)
		broken[at] ^= 16
		for _, b := range [][]byte{broken, sound[:at]} {
			if _, ok := parseJournal(b); ok && at%journalLine != 0 {
				t.Errorf("damaged at %d: it is sound", at)
			}
		}
	}
	if err := os.WriteFile(path, sound[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	next, _ := newJournal(t, path)
	if past, err := next.Open(); err != nil || past.struck != nil || tells(t, path) != "123456789" {
		t.Errorf("after damage: %+v, %v, %s", past, err, tells(t, path))
	}
	if _, err := NewJournal(t.TempDir(), nil).Open(); err == nil {
		t.Error("a folder is a journal")
	}
}

// Where a strike cannot be written down, the owner is told; it is carried out.
func TestJournalBreaks(t *testing.T) {
	var told error
	g := NewJournal(filepath.Join(t.TempDir(), "j"), func(err error) { told = err })
	if _, err := g.Open(); err != nil {
		t.Fatal(err)
	}
	_ = g.file.Close()
	on := &struck{Epochs: memory.NewEpochs(0)}
	g.strike([]strike{hard(1)}, time.Now(), on)
	if !errors.Is(told, os.ErrClosed) || on.Last(1).Nothing == 0 {
		t.Errorf("told %v, struck %+v", told, on.Last(1))
	}
}

// Use warms, time cools, and a clock that goes back does neither.
func TestHeat(t *testing.T) {
	day := heatAt(time.Unix(1e9, 0))
	often, lately, once := heat(0), heat(0).used(day), heat(0).used(day-10)
	for i := range uint32(100) {
		often = often.used(day - 100 + i)
	}
	order := []heat{often, lately, once, 0}
	for i, h := range order {
		if !h.valid() || i > 0 && order[i-1].rank(day) <= h.rank(day) {
			t.Errorf("place %d: %v, rank %d", i, h, h.rank(day))
		}
	}
	if was, later := often.score(day), often.score(day+heatHalfLife); later < was*0.49 || later > was*0.51 || often.score(day-1000) < was*0.99 {
		t.Errorf("%v, a half-life later %v, before its time %v", was, later, often.score(day-1000))
	}
	e := &entry{}
	now := time.Unix(1e9, 0)
	for range 100 {
		e.touch(now)
	}
	if got := heat(e.heat.Load()).score(day); got != 1 {
		t.Errorf("a hundred uses within a stretch count %v", got)
	}
}
