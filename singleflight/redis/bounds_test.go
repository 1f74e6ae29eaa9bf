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

// deaf is a port that loses the next answers to appends, or refuses them.
type deaf struct {
	*port
	lose, refuse int
}

func (p *deaf) eval(ctx context.Context, s script, keys, args []string) (value, error) {
	p.mu.Lock()
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
	lost := s == scriptAppend && p.lose > 0
	if lost {
		p.lose--
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
			g := singleflight.Options[*page]{Locker: in.l}
			in.g = singleflight.New(g)
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
			n, key := all[0].e.nodes[0], all[0].e.logKey("k")
			r, err := n.join(t.Context(), query{key: key, bytes: firstRead, opening: opening{attempt: 1, born: n.line.position()}})
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
	t.Run("a wrong end", func(t *testing.T) {
		for _, end := range []ending{{100, 1}, {99, xxhash.Sum64(body[:100])}} {
			bubble(t, 2, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
				n, key := all[0].e.nodes[0], all[0].e.logKey("0")
				r, err := n.join(t.Context(), query{key: key, bytes: firstRead, opening: opening{attempt: 1, born: n.line.position()}})
				if err != nil || r.lease == nil {
					t.Fatal(err)
				}
				enc := all[0].Encode(&plain)
				h := heading{length: -1, keep: time.Minute, identity: enc.Identity, bytes: enc.Bytes}
				r.lease.append(t.Context(), 1, time.Minute, entry{kindHead, seal(key, kindHead, h.encode())},
					entry{kindChunk, seal(key, kindChunk, body[:100])}, entry{kindEnd, seal(key, kindEnd, end.encode())})
				if several(all[1], 1); all[1].e.Stats().BadValues != 1 || all[1].fills.Load() != 1 {
					t.Errorf("%+v", all[1].e.Stats())
				}
			})
		}
	})
}
