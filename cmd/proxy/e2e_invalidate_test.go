package main_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// ledger is an origin's number, which each POST makes one greater. Answers take
// a moment after it was read: long enough for others to be overtaken.
type ledger struct{ n atomic.Int64 }

func (l *ledger) answer(r origin.Request) origin.Answer {
	var a origin.Answer
	if r.Method == "POST" {
		a = origin.Text("", fmt.Sprint(l.n.Add(1))).With("Cache-Group-Invalidation", `"ledger"`)
	} else {
		n := fmt.Sprint(l.n.Load())
		a = origin.Text("max-age=60", n).With("Cache-Groups", `"ledger"`).With("ETag", strconv.Quote(n))
	}
	a.Delay = time.Duration(rand.IntN(10)) * time.Millisecond
	return a
}

// number is the answer's body; -1 where it is none.
func number(r reply) int64 {
	n, err := strconv.ParseInt(r.body, 10, 64)
	if r.err != nil || r.status != 200 || err != nil {
		return -1
	}
	return n
}

// After the answer to a POST nobody who asks then is shown what was before it,
// whatever fills it overtook: neither at its own target nor, in one group
// with it, anywhere else.
func TestInvalidationUnderLoad(t *testing.T) {
	t.Parallel()
	const readers, writers, posts = 8, 3, 40 // posts of each writer
	for name, tt := range map[string]struct {
		post string
		get  func(i int) string
	}{
		"its target": {"/ledger", func(int) string { return "/ledger" }},
		"its group":  {"/post", func(i int) string { return "/page/" + strconv.Itoa(i%2) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := behind(t, new(ledger).answer)
			p = p.keepingAlive()
			var known atomic.Int64 // the greatest number that a POST was answered with
			var hits, reads atomic.Int64
			var writing, reading sync.WaitGroup
			end := make(chan struct{})
			for range writers {
				writing.Go(func() {
					for range posts {
						n := number(p.do("POST", tt.post, "x"))
						for k := known.Load(); n > k && !known.CompareAndSwap(k, n); k = known.Load() {
						}
						pause(end, time.Duration(rand.IntN(90))*time.Millisecond)
					}
				})
			}
			for range readers {
				reading.Go(func() {
					for i := 0; pause(end, time.Millisecond); i++ {
						least := known.Load()
						r := p.get(tt.get(i))
						if n := number(r); n < least {
							t.Errorf("%d after a POST that was answered with %d: %s", n, least, r)
							return
						}
						if reads.Add(1); r.is("hit") {
							hits.Add(1)
						}
					}
				})
			}
			writing.Wait()
			close(end)
			reading.Wait()
			if known.Load() != writers*posts {
				t.Errorf("the last number is %d after %d POSTs", known.Load(), writers*posts)
			}
			if hits.Load() < reads.Load()/20 || reads.Load() < writers*posts {
				t.Errorf("%d hits in %d reads, which says little", hits.Load(), reads.Load())
			}
		})
	}
}

// pause waits for a moment; false where the end came before.
func pause(end <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-end:
		return false
	}
}
