package singleflight

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// FuzzLog drives a log and two cursors, one of which lags, with random commits
// and advances: a cursor always sees the truth, and chunks go only when both
// are past them.
func FuzzLog(f *testing.F) {
	f.Add([]byte{9, 200, 130, 7, 255, 3, 66, 1}, int64(-1))
	f.Add([]byte{255, 255, 255, 254, 254, 1, 2, 3}, int64(100_000))
	f.Fuzz(func(t *testing.T, ops []byte, want int64) {
		var l log
		l.init()
		l.want = max(want, -1)
		l.thrifty = want%2 == 0
		cursors := []cursor{l.cursor(), l.cursor()}
		for _, op := range ops {
			n := int(op) * 100
			switch op % 4 {
			case 0, 1:
				if l.filled() {
					continue
				}
				if len(l.free()) == 0 {
					size := l.nextSize()
					if size < 1 || size > chunkSize {
						t.Fatalf("a chunk of %d bytes", size)
					}
					l.push(&chunk{buf: make([]byte, 0, size)})
				}
				free := l.free()
				n = min(n, len(free))
				for i := range free[:n] {
					free[i] = byteAt(l.size + int64(i))
				}
				l.commit(n)
			default:
				c := &cursors[op%2]
				c.advance(0)
				b := c.peek()
				for i, got := range b {
					if got != byteAt(c.pos()+int64(i)) {
						t.Fatalf("wrong byte at %d", c.pos()+int64(i))
					}
				}
				if len(b) == 0 && c.pos() != l.size {
					t.Fatalf("nothing to read at %d of %d", c.pos(), l.size)
				}
				c.advance(min(n, len(b)))
				for l.shift() != nil {
				}
			}
			if slowest := min(cursors[0].pos(), cursors[1].pos()); slowest < l.head.start || l.size > l.want && l.want >= 0 {
				t.Fatalf("dropped to %d with a reader at %d, size %d of %d", l.head.start, slowest, l.size, l.want)
			}
		}
	})
}

func TestJudge(t *testing.T) {
	const s = time.Second
	need := demand{5 * s, 100}
	for _, tt := range []struct {
		p        pace
		pos      int64
		next     pace
		ok       bool
		patience time.Duration
	}{
		{pace{}, 70, pace{mark: 70}, true, 5 * s},                                                       // begins to hold
		{pace{held: 2 * s, mark: 70}, 80, pace{held: 2 * s, mark: 70}, true, 3 * s},                     // is given time
		{pace{held: 5 * s, mark: 70}, 169, pace{held: 5 * s, mark: 70}, false, 0},                       // took too little
		{pace{held: 5 * s, mark: 70, holding: true}, 170, pace{mark: 170, holding: true}, true, 5 * s},  // took enough
		{pace{held: 90 * s, mark: 70, holding: true}, 999, pace{mark: 999, holding: true}, true, 5 * s}, // long ago, but enough
	} {
		if next, ok, patience := tt.p.judge(tt.pos, need); next != tt.next || ok != tt.ok || patience != tt.patience {
			t.Errorf("%+v at %d: %+v, %v, %v", tt.p, tt.pos, next, ok, patience)
		}
	}
}

func TestFailures(t *testing.T) {
	t0 := time.Unix(1, 0)
	at := func(d time.Duration) func() time.Time { return func() time.Time { return t0.Add(d) } }
	f := newFailures(time.Second, 3)
	for i := range 5 {
		f.add(fmt.Sprint(i), errBroken, at(time.Duration(i)*100*time.Millisecond)())
	}
	for key, want := range map[string]bool{"1": false, "2": true, "4": true, "other": false} {
		if err := f.of(key, at(500*time.Millisecond)); (err != nil) != want || want && !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := f.of("2", at(1200*time.Millisecond)); err != nil {
		t.Errorf("expired: %v", err)
	}
	f.add("2", errBroken, at(1300*time.Millisecond)())
	if f.of("2", at(2*time.Second)) == nil || len(f.queue) != len(f.byKey) || len(f.queue) > 3 {
		t.Errorf("%v, %v", f.queue, f.byKey)
	}
	off := newFailures(0, 3)
	if off.add("k", errBroken, t0); len(off.queue) != 0 {
		t.Error("remembered nonetheless")
	}
}
