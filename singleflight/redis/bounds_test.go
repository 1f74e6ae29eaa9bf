package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/singleflight"
)

// deaf is a port that loses the next answers to appends, or refuses them, or
// loses the next answers to joins.
type deaf struct {
	*port
	lose, refuse, blind int
	appends             int // calls
}

func (p *deaf) eval(ctx context.Context, s script, keys, args []string) (value, error) {
	p.mu.Lock()
	if s == scriptAppend {
		p.appends++
	}
	refused := s == scriptAppend && p.refuse > 0
	if refused {
		p.refuse--
	}
	p.mu.Unlock()
	if refused {
		return value{}, errCut
	}
	v, err := p.port.eval(ctx, s, keys, args)
	p.mu.Lock()
	lost := s == scriptAppend && p.lose > 0 || s == scriptJoin && p.blind > 0
	switch {
	case lost && s == scriptAppend:
		p.lose--
	case lost:
		p.blind--
	}
	p.mu.Unlock()
	if lost {
		<-ctx.Done()
		return value{}, ctx.Err()
	}
	return v, err
}

// bubble runs a test on n instances over a double, in virtual time.
func bubble(t *testing.T, n int, o Options, test func(t *testing.T, all []*instance, ports []*deaf)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, d: newDouble()}
		o.Addresses = []string{"x"}
		var all []*instance
		var ports []*deaf
		for i := range n {
			p := &deaf{port: &port{d: w.d, rng: rand.New(rand.NewPCG(1, uint64(i))), away: &w.away}}
			ports = append(ports, p)
			in := w.open(o.withDefaults(), p).instance
			all = append(all, in.connect())
		}
		test(t, all, ports)
		for _, in := range all {
			in.close()
		}
	})
}

// TestBounds: past each limit a flight goes on by itself, and is counted.
func TestBounds(t *testing.T) {
	body := bodyOf(100_000)
	fill := give(plain, singleflight.Store, time.Second, 0, body)
	several := func(in *instance, n int) {
		var clients sync.WaitGroup
		for i := range n {
			clients.Go(func() {
				if r := in.get(fmt.Sprint(i), fill); !r.whole(body) {
					in.t.Errorf("client %d: %v", i, r.err)
				}
			})
		}
		clients.Wait()
	}
	t.Run("leases", func(t *testing.T) {
		bubble(t, 1, Options{MaxLeases: 3}, func(t *testing.T, all []*instance, _ []*deaf) {
			several(all[0], 10)
			if s := all[0].e.Stats(); s.Taken != 3 || s.Overloads != 7 || s.Fallbacks != 7 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("follows", func(t *testing.T) {
		bubble(t, 2, Options{MaxFollows: 3}, func(t *testing.T, all []*instance, _ []*deaf) {
			go several(all[0], 10)
			time.Sleep(100 * time.Millisecond)
			several(all[1], 10)
			if s := all[1].e.Stats(); s.Followed != 3 || s.Overloads != 7 || all[1].fills.Load() != 7 {
				t.Errorf("%+v", s)
			}
			time.Sleep(time.Second)
		})
	})
	t.Run("bytes", func(t *testing.T) {
		bubble(t, 1, Options{MaxBuffered: 300_000}, func(t *testing.T, all []*instance, ports []*deaf) {
			ports[0].mu.Lock()
			ports[0].late = 10 * time.Millisecond
			ports[0].mu.Unlock()
			several(all[0], 10)
			time.Sleep(time.Second)
			if s := all[0].e.Stats(); s.Overloads == 0 || s.Buffered != 0 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("calls", func(t *testing.T) {
		bubble(t, 1, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
			n := all[0].e.nodes[0]
			for range maxCalls {
				n.calls <- struct{}{}
			}
			l, began := n.link.Load(), time.Now()
			if err := n.enter(t.Context(), l); !errors.Is(err, errOverloaded) || time.Since(began) != patience*30*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			began = time.Now()
			time.AfterFunc(10*time.Millisecond, func() {
				for range fall {
					n.observe(l, errCut)
				}
			})
			if err := n.enter(t.Context(), l); !errors.Is(err, errDown) || time.Since(began) != 10*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			for range maxCalls {
				<-n.calls
			}
		})
	})
	t.Run("silence", func(t *testing.T) {
		bubble(t, 2, Options{Silence: 5 * time.Second}, func(t *testing.T, all []*instance, _ []*deaf) {
			n, key := all[0].e.nodes[0], all[0].e.logKey(Key{Name: "k"})
			r, err := n.join(t.Context(), query{own: key, bytes: firstRead, opening: opening{attempt: 1, born: n.line.position()}})
			if err != nil || r.lease == nil {
				t.Fatal(err)
			}
			n.hold(r.lease)
			enc := all[0].Encode(&plain)
			h := heading{length: -1, keep: time.Minute, identity: enc.Identity, bytes: enc.Bytes}
			if ok, err := r.lease.append(t.Context(), 1, time.Second, entry{kindHead, seal(key, kindHead, h.encode())}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			began := time.Now()
			if r := all[1].get("k", fill); !errors.Is(r.err, ErrSilent) || time.Since(began) > 6*time.Second {
				t.Errorf("%v after %v", r.err, time.Since(began))
			}
			n.letGo(r.lease)
		})
	})
	t.Run("a lost answer", func(t *testing.T) {
		bubble(t, 2, Options{}, func(t *testing.T, all []*instance, ports []*deaf) {
			ports[0].lose = fall - 1
			go several(all[0], 1)
			time.Sleep(100 * time.Millisecond)
			several(all[1], 1)
			if all[1].fills.Load() != 0 || all[0].e.Stats().Errors != fall-1 {
				t.Errorf("%d fills, %+v", all[1].fills.Load(), all[0].e.Stats())
			}
		})
	})
	t.Run("a lost read", func(t *testing.T) {
		for lost, takenOver := range map[int]int64{fall - 1: 0, fall + 1: 1} {
			bubble(t, 2, Options{LeaseTTL: 10 * time.Second}, func(t *testing.T, all []*instance, ports []*deaf) {
				slow := give(plain, singleflight.Store, 0, 300*time.Millisecond, pieces(body, 20_000)...)
				go all[0].get("k", slow)
				time.Sleep(100 * time.Millisecond)
				time.AfterFunc(400*time.Millisecond, func() {
					ports[1].mu.Lock()
					defer ports[1].mu.Unlock()
					ports[1].blind = lost
				})
				if r := all[1].get("k", slow); !r.whole(body) || all[1].e.Stats().TakenOver != takenOver || all[1].fills.Load() != takenOver {
					t.Errorf("%d lost: %v, %+v", lost, r.err, all[1].e.Stats())
				}
				time.Sleep(time.Second)
			})
		}
	})
	t.Run("of no use to one", func(t *testing.T) {
		bubble(t, 2, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
			slow := give(page{Name: "stale", Length: -1, Keep: time.Minute, ETag: "e"}, singleflight.Store, 0, 300*time.Millisecond, pieces(body, 20_000)...)
			go all[0].get("k", slow)
			time.Sleep(100 * time.Millisecond)
			if r := all[1].get("k", slow); !r.whole(body) || all[1].fills.Load() != 1 || all[1].e.Stats().Taken != 0 {
				t.Errorf("%v, %+v", r.err, all[1].e.Stats())
			}
			time.Sleep(time.Second)
			if s := all[0].e.Stats(); s.FencedOff+s.Lost != 0 {
				t.Errorf("its lease was taken: %+v", s)
			}
		})
	})
	t.Run("a refused write", func(t *testing.T) {
		bubble(t, 2, Options{LeaseTTL: 10 * time.Second}, func(t *testing.T, all []*instance, ports []*deaf) {
			ports[0].refuse = 1
			began := time.Now()
			go several(all[0], 1)
			time.Sleep(100 * time.Millisecond)
			if several(all[1], 1); time.Since(began) > 3*time.Second || all[1].fills.Load() != 1 {
				t.Errorf("%d fills, after %v", all[1].fills.Load(), time.Since(began))
			}
		})
	})
	t.Run("refused writes", func(t *testing.T) {
		bubble(t, 3, Options{LeaseTTL: 10 * time.Second}, func(t *testing.T, all []*instance, ports []*deaf) {
			began := time.Now()
			go several(all[0], 1)
			time.Sleep(100 * time.Millisecond)
			for _, p := range ports {
				p.refuse = 1
			}
			var both sync.WaitGroup
			both.Go(func() { several(all[1], 1) })
			both.Go(func() { several(all[2], 1) })
			if both.Wait(); time.Since(began) > 2500*time.Millisecond {
				t.Errorf("they waited for each other: %v", time.Since(began))
			}
		})
	})
	t.Run("no room to publish", func(t *testing.T) {
		bubble(t, 2, Options{LeaseTTL: 10 * time.Second}, func(t *testing.T, all []*instance, _ []*deaf) {
			began := time.Now()
			go several(all[0], 1)
			time.Sleep(100 * time.Millisecond)
			all[0].e.buffered.Add(all[0].e.o.MaxBuffered)
			if several(all[1], 1); time.Since(began) > 3*time.Second || all[1].fills.Load() != 1 {
				t.Errorf("%d fills, after %v", all[1].fills.Load(), time.Since(began))
			}
			all[0].e.buffered.Add(-all[0].e.o.MaxBuffered)
		})
	})
	t.Run("those who wait are slow", func(t *testing.T) {
		bubble(t, 2, Options{}, func(t *testing.T, all []*instance, ports []*deaf) {
			shared := give(page{Name: "n", Length: -1, ETag: "e"}, singleflight.Share, time.Second, 0, body)
			go all[0].get("k", shared)
			time.Sleep(100 * time.Millisecond)
			ports[1].mu.Lock()
			ports[1].late = 10 * time.Millisecond
			ports[1].mu.Unlock()
			if r := all[1].get("k", shared); !r.whole(body) || all[1].fills.Load() != 0 || all[1].kept["n"] != nil {
				t.Errorf("%v, %d fills, kept %d bytes", r.err, all[1].fills.Load(), len(all[1].kept["n"]))
			} else if age := r.head.stored.Age; age > 200*time.Millisecond {
				t.Errorf("a head just made is %v old", age)
			}
		})
	})
	t.Run("a wrong log", func(t *testing.T) {
		enc := (&instance{}).Encode(&plain)
		h := heading{length: -1, keep: time.Minute, identity: enc.Identity, bytes: enc.Bytes}.encode()
		o := opening{attempt: 1}.encode()
		end := func(length int64, sum uint64) []byte { return ending{length, sum}.encode() }
		good, sum := body[:100], xxhash.Sum64(body[:100])
		type line struct {
			kind  kind
			value []byte
		}
		for name, log := range map[string][]line{
			"another sum":    {{kindHead, h}, {kindChunk, good}, {kindEnd, end(100, 1)}},
			"another length": {{kindHead, h}, {kindChunk, good}, {kindEnd, end(99, sum)}},
			"two heads":      {{kindHead, h}, {kindHead, h}, {kindChunk, good}, {kindEnd, end(100, sum)}},
			"no head":        {{kindChunk, good}, {kindEnd, end(100, sum)}},
			"an end alone":   {{kindEnd, end(0, xxhash.Sum64(nil))}},
			"two openings":   {{kindOpen, o}, {kindHead, h}, {kindEnd, end(0, xxhash.Sum64(nil))}},
			"no kind":        {{'x', h}},
			"no stop":        {{kindStop, []byte("x")}},
			"cut":            {{kindHead, h[:8]}},
		} {
			bubble(t, 2, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
				n, key := all[0].e.nodes[0], all[0].e.logKey(Key{Name: "0"})
				r, err := n.join(t.Context(), query{own: key, bytes: firstRead, opening: opening{attempt: 1, born: n.line.position()}})
				if err != nil || r.lease == nil {
					t.Fatal(err)
				}
				var entries []entry
				for _, l := range log {
					entries = append(entries, entry{l.kind, seal(key, l.kind, l.value)})
				}
				r.lease.append(t.Context(), 1, time.Minute, entries...)
				if several(all[1], 1); all[1].e.Stats().BadValues != 1 || all[1].fills.Load() != 1 {
					t.Errorf("%s: %d fills, %+v", name, all[1].fills.Load(), all[1].e.Stats())
				}
			})
		}
	})
}

// TestCalls: a crowd of calls costs no lease that is held, and what comes right
// behind a head costs no call of its own.
func TestCalls(t *testing.T) {
	body := bodyOf(1000)
	t.Run("a crowd", func(t *testing.T) {
		bubble(t, 2, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
			n := all[0].e.nodes[0]
			var client sync.WaitGroup
			client.Go(func() { all[0].get("k", give(plain, singleflight.Store, 5*time.Second, 0, body)) })
			time.Sleep(100 * time.Millisecond)
			for range maxCalls {
				n.calls <- struct{}{}
			}
			time.Sleep(4 * time.Second)
			for range maxCalls {
				<-n.calls
			}
			if r := all[1].get("k", give(plain, singleflight.Store, 0, 0, body)); !r.whole(body) {
				t.Error(r.err)
			}
			client.Wait()
			if s := all[0].e.Stats(); s.Lost != 0 || all[1].fills.Load() != 0 {
				t.Errorf("%d other fills, %+v", all[1].fills.Load(), s)
			}
		})
	})
	for name, tt := range map[string]struct {
		behind time.Duration
		calls  int
	}{
		"a body at once":     {0, 1},
		"a body in a moment": {linger / 2, 1},
		"a body later":       {time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 1, Options{}, func(t *testing.T, all []*instance, ports []*deaf) {
				if r := all[0].get("k", give(plain, singleflight.Store, 0, tt.behind, body)); !r.whole(body) {
					t.Error(r.err)
				}
				time.Sleep(time.Second)
				ports[0].mu.Lock()
				defer ports[0].mu.Unlock()
				if ports[0].appends != tt.calls {
					t.Errorf("%d calls, want %d", ports[0].appends, tt.calls)
				}
			})
		})
	}
}
