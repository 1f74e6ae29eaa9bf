package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"ringfence/singleflight"
)

// dieLeading has an instance take a lease, write a head and some bytes, and be
// heard of no more.
func dieLeading(t *testing.T, in *instance, key string, p page, written []byte) {
	t.Helper()
	n, log := in.e.nodes[0], in.e.logKey(Key{Name: key})
	r, err := n.join(t.Context(), query{own: log, bytes: firstRead, opening: opening{attempt: 1, born: n.line.position()}})
	if err != nil || r.lease == nil {
		t.Fatal(r, err)
	}
	enc := in.Encode(&p)
	h := heading{length: enc.Length, keep: enc.Keep, identity: enc.Identity, bytes: enc.Bytes}
	if ok, err := r.lease.append(t.Context(), 1, in.e.o.LeaseTTL, entry{kindHead, seal(log, kindHead, h.encode())},
		entry{kindChunk, seal(log, kindChunk, written)}); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

// TestTakeOver: what a fill does that goes on where another was lost.
func TestTakeOver(t *testing.T) {
	body := bodyOf(1 << 20)
	whole := give(plain, singleflight.Store, 0, 0, pieces(body, 100_000)...)
	t.Run("at once", func(t *testing.T) {
		bubble(t, 2, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
			for i := range 10 { // whenever it would have polled
				key := fmt.Sprint(i)
				dieLeading(t, all[0], key, plain, body[:1000])
				died := time.Now()
				if r := all[1].get(key, whole); !r.whole(body) || r.ended.Sub(died) > time.Second+20*time.Millisecond {
					t.Errorf("%v after %v", r.err, r.ended.Sub(died))
				}
			}
		})
	})
	t.Run("of a body that is passed on", func(t *testing.T) {
		bubble(t, 2, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
			in, before := all[1], all[1].l
			in.l = NewLocker(in.e, singleflight.Options[*page]{Keep: 1})
			if err := before.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			dieLeading(t, all[0], "k", plain, body[:1000])
			died := time.Now()
			if r := in.get("k", whole); !r.whole(body) || r.ended.Sub(died) > 2*time.Second {
				t.Errorf("%v, %d bytes, after %v", r.err, len(r.body), r.ended.Sub(died))
			}
		})
	})
	t.Run("until it is stored", func(t *testing.T) {
		bubble(t, 2, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
			dieLeading(t, all[0], "k", plain, body[:1000])
			stores := func(ctx context.Context, w *singleflight.Writer[*page]) error {
				if err := whole(ctx, w); err != nil {
					return err
				}
				if err := w.End(); err != nil {
					return err
				}
				return sleep(ctx, time.Second)
			}
			for range 2 { // the second comes while the first one's fill stores
				if r := all[1].get("k", stores); !r.whole(body) {
					t.Error(r.err)
				}
			}
			if s := all[1].e.Stats(); s.Hits != 0 || all[1].fills.Load() != 1 {
				t.Errorf("%d fills, %+v", all[1].fills.Load(), s)
			}
			time.Sleep(2 * time.Second)
		})
	})
	// Where nobody knew the length, the end alone tells.
	t.Run("shorter", func(t *testing.T) {
		bubble(t, 3, Options{}, func(t *testing.T, all []*instance, _ []*deaf) {
			dieLeading(t, all[0], "k", plain, body[:60_000])
			for i, r := range crowd(all[1:], 2, "k", give(plain, singleflight.Store, 10*time.Millisecond, 0, body[:50_000])) {
				if r.err == nil {
					t.Errorf("client %d has %d bytes and no error", i, len(r.body))
				}
			}
		})
	})
}

// TestLateComer: who joins after an invalidation is not given what that struck,
// though it never heard of it.
func TestLateComer(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 1, Options{}, s)
	fill := give(page{Name: "n", Length: -1, Keep: time.Minute, ETag: "e", Tags: []string{"k"}}, singleflight.Store, 0, 0, []byte("x"))
	all[0].get("k", fill)
	eventually(t, 5*time.Second, "all is written", func() bool { return all[0].e.Stats().Leading == 0 })
	s.old(all[0])
	if _, err := all[0].e.Invalidate(t.Context(), []string{"k"}); err != nil {
		t.Fatal(err)
	}
	late := join(t, all[0].e.o, singleflight.Options[*page]{}).connect()
	if r := late.get("k", fill); string(r.body) != "x" || late.fills.Load() != 1 {
		t.Errorf("%v, %d fills", r.err, late.fills.Load())
	}
}
