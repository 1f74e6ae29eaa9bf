package singleflight

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestLinger: who waits sleeps on until the first bytes come, a moment at most,
// unless the verdict releases it.
func TestLinger(t *testing.T) {
	for name, tt := range map[string]struct {
		verdict Verdict
		after   time.Duration // between head and bytes
		awake   time.Duration // when all are
		leader  time.Duration // when the leader is, if later
	}{
		"bytes at once":        {Store, 0, 0, 0},
		"bytes in a moment":    {Store, linger / 2, linger / 2, 0},
		"bytes later":          {Store, time.Second, linger, 0},
		"shared, bytes later":  {Share, time.Second, linger, 0},
		"private, bytes later": {Private, time.Second, 0, linger},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{})
				var began time.Time
				followed := make(chan *Reader[string], 1)
				leader, err := g.Join("k", func(_ context.Context, w *Writer[string]) error {
					time.Sleep(time.Second) // until all have joined
					r, _ := w.Follow()
					followed <- r
					time.Sleep(time.Second)
					began = time.Now()
					w.Head("head", tt.verdict)
					time.Sleep(tt.after)
					_, err := io.WriteString(w, "some")
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				wait := func(who string, r *Reader[string], want time.Duration) {
					all.Go(func() {
						defer r.Close()
						_, outcome, _ := r.Wait(context.Background())
						if d := time.Since(began); d != want {
							t.Errorf("%s is awake after %v, want %v", who, d, want)
						}
						if outcome == Ready {
							r.WriteTo(io.Discard)
						}
					})
				}
				wait("leader", leader, max(tt.awake, tt.leader))
				for range 5 {
					r, err := g.Join("k", nil)
					if err != nil {
						t.Fatal(err)
					}
					wait("follower", r, tt.awake)
				}
				wait("within", <-followed, tt.awake)
				all.Wait()
			})
		})
	}
}

// TestWakingOrder: the reader that a fill attaches is woken before all others,
// and stays the first when they leave.
func TestWakingOrder(t *testing.T) {
	f := &flight[string]{g: New(Options[string]{})}
	f.s = &f.g.shards[0]
	f.log.init()
	w := &Writer[string]{f: f}
	f.writer = w
	var rs []*Reader[string]
	for range 4 {
		rs = append(rs, f.attach(nil))
	}
	within, err := w.Follow()
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(rs) + 1 {
		if n > 0 {
			f.detach(rs[n-1], closed)
		}
		if f.readers[0] != within {
			t.Fatal("another comes first")
		}
		for i, r := range f.readers {
			if r.index != i {
				t.Fatalf("reader %d has index %d", i, r.index)
			}
		}
	}
}
