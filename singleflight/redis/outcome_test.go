package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ringfence/singleflight"
)

var errBroken = errors.New("broken")

func count(rs []result, ok func(result) bool) (n int) {
	for _, r := range rs {
		if ok(r) {
			n++
		}
	}
	return n
}

// TestOutcomes: what a fill comes to is what all instances see of it.
func TestOutcomes(t *testing.T) {
	s := startServer(t)
	body := bodyOf(200_000)
	p := page{Name: "n", Length: -1, Keep: time.Minute, ETag: "e"}
	const lead = 200 * time.Millisecond
	broken := func(err error) singleflight.Fill[*page] {
		return func(ctx context.Context, _ *singleflight.Writer[*page]) error {
			return errors.Join(sleep(ctx, lead), err)
		}
	}
	whole := func(r result) bool { return r.whole(body) }
	tests := []struct {
		name       string
		fill       singleflight.Fill[*page]
		fills      int64             // in the first wave, at most
		ok         func(result) bool // what all but leaders of the first wave see
		within     time.Duration     // how soon
		laterFills int64             // in the second wave
		later      func(result) bool
	}{
		{"store", give(p, singleflight.Store, lead, 0, body), 1, whole, 3 * lead, 0, whole},
		{"share", give(page{Length: -1, ETag: "e"}, singleflight.Share, lead, 0, body), 1, whole, 3 * lead, 1, whole},
		{"private", give(p, singleflight.Private, lead, lead, pieces(body, 30_000)...), 1,
			func(r result) bool { return r.outcome == singleflight.Released }, 2 * lead, 0,
			func(r result) bool { return r.outcome == singleflight.Released }},
		{"release", broken(singleflight.ErrRelease), 1,
			func(r result) bool { return r.outcome == singleflight.Released }, 2 * lead, 0,
			func(r result) bool { return r.outcome == singleflight.Released }},
		{"failed", broken(errBroken), 2,
			func(r result) bool { return r.outcome == singleflight.Failed }, 4 * lead, 0,
			func(r result) bool { return r.outcome == singleflight.Failed }},
		{"final", broken(singleflight.Final(errBroken)), 1,
			func(r result) bool { return r.outcome == singleflight.Failed }, 2 * lead, 0,
			func(r result) bool { return r.outcome == singleflight.Failed }},
		{"panicked", func(ctx context.Context, _ *singleflight.Writer[*page]) error { _ = sleep(ctx, lead); panic("boom") }, 2,
			func(r result) bool { return r.outcome == singleflight.Failed }, 4 * lead, 0,
			func(r result) bool { return r.outcome == singleflight.Failed }},
		{"cut short", func(ctx context.Context, w *singleflight.Writer[*page]) error {
			return errors.Join(give(p, singleflight.Store, lead, lead, body[:100_000], nil)(ctx, w), errBroken)
		}, 1, func(r result) bool { return r.err != nil && string(r.body) == string(body[:100_000]) }, 5 * lead, 1, nil},
		{"stale", give(page{Name: "stale", Length: -1, Keep: time.Minute, ETag: "e"}, singleflight.Store, lead, 0, body), 12, whole, 12 * lead, 1, whole},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := fleet(t, 3, Options{FailureMemory: 2 * time.Second}, s)
			began := time.Now()
			rs := crowd(all, 4, t.Name(), tt.fill)
			leaders := 0
			for i, r := range rs {
				if r.leader && r.outcome == singleflight.Ready && !tt.ok(r) {
					leaders++
				} else if !tt.ok(r) {
					t.Errorf("client %d: %v %v, %d bytes", i, r.outcome, r.err, len(r.body))
				} else if took := r.ended.Sub(began); took > tt.within+time.Second {
					t.Errorf("client %d: %v", i, took)
				}
			}
			if n := fills(all); n > tt.fills || leaders > 1 {
				t.Errorf("%d fills, %d leaders see something else", n, leaders)
			}
			if tt.later == nil {
				return
			}
			n := fills(all)
			pauseFor(150 * time.Millisecond) // until the groups have forgotten a failure
			rs = crowd(all[:1], 4, t.Name(), tt.fill)
			if got := count(rs, tt.later); got != 4 || fills(all)-n != tt.laterFills {
				t.Errorf("later: %d of 4, %d fills, %v", got, fills(all)-n, rs[0].err)
			}
		})
	}
}

// TestTooLarge: a body that is too large for the engine is fetched once by each
// instance, and all clients have it whole.
func TestTooLarge(t *testing.T) {
	s := startServer(t)
	body := bodyOf(1 << 20)
	for _, length := range []int64{int64(len(body)), -1} {
		t.Run(number(uint64(length+1)), func(t *testing.T) {
			all := fleet(t, 3, Options{MaxObject: 64 << 10}, s)
			fill := give(page{Name: "n", Length: length, Keep: time.Minute, ETag: "e"}, singleflight.Store, 50*time.Millisecond, 5*time.Millisecond, pieces(body, 50_000)...)
			if rs := crowd(all, 4, t.Name(), fill); count(rs, func(r result) bool { return r.whole(body) }) != len(rs) {
				t.Errorf("%v", rs[0].err)
			}
			for i, in := range all {
				if n := in.fills.Load(); n != 1 {
					t.Errorf("instance %d: %d fills", i, n)
				}
			}
			late := join(t, all[0].e.o, singleflight.Options[*page]{}).connect()
			if r := late.get(t.Name(), fill); !r.whole(body) || late.fills.Load() != 1 {
				t.Errorf("a later instance: %v", r.err)
			}
			if st := late.e.Stats(); st.TakenOver != 0 || st.BadValues != 0 {
				t.Errorf("it began with what it could not go on with: %+v", st)
			}
			for _, in := range all {
				most := int64(1000)
				if length < 0 {
					most += in.e.o.MaxObject
				}
				if st := in.e.Stats(); st.Written > most || st.BadValues != 0 {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// TestDeadLeader: a lease whose holder is gone is taken over when it has run
// out, whatever the holder had written; the readers of one that had begun a
// body go on from the next fill where it gives the same.
func TestDeadLeader(t *testing.T) {
	s := startServer(t)
	body := bodyOf(150_000)
	head := page{Name: "n", Length: int64(len(body)), Keep: time.Minute, ETag: "e"}
	same := give(head, singleflight.Store, 0, 0, body)
	tests := []struct {
		name    string
		written int // bytes, -1: no head
		next    singleflight.Fill[*page]
		ok      func(result) bool
	}{
		{"before the head", -1, same, func(r result) bool { return r.whole(body) }},
		{"after the head", 0, same, func(r result) bool { return r.whole(body) }},
		{"half way", 60_000, same, func(r result) bool { return r.whole(body) }},
		{"half way, then another", 60_000, give(page{Length: -1, Keep: time.Minute, ETag: "other"}, singleflight.Store, 0, 0, body),
			func(r result) bool { return errors.Is(r.err, ErrChanged) }},
		{"half way, then other bytes", 60_000, give(head, singleflight.Store, 0, 0, append([]byte{1}, body[1:]...)),
			func(r result) bool { return errors.Is(r.err, ErrChanged) }},
		{"half way, then private", 60_000, give(head, singleflight.Private, 0, 0, body),
			func(r result) bool { return errors.Is(r.err, ErrChanged) }},
		{"half way, then shorter", 60_000, give(page{Length: -1, Keep: time.Minute, ETag: "e"}, singleflight.Store, 0, 0, body[:50_000]),
			func(r result) bool { return r.err != nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const ttl = 600 * time.Millisecond
			all := fleet(t, 3, Options{LeaseTTL: ttl, Timeout: 200 * time.Millisecond}, s)
			dead, ctx := all[0].e.nodes[0], context.Background()
			key := all[0].e.logKey(Key{Name: t.Name()})
			r, err := dead.join(ctx, query{own: key, bytes: firstRead, opening: opening{attempt: 1, born: dead.line.position()}})
			if err != nil || r.lease == nil {
				t.Fatal(r, err)
			}
			if tt.written >= 0 {
				enc := all[0].Encode(&head)
				h := heading{length: enc.Length, keep: enc.Keep, identity: enc.Identity, bytes: enc.Bytes}
				entries := []entry{{kindHead, seal(key, kindHead, h.encode())}}
				if tt.written > 0 {
					entries = append(entries, entry{kindChunk, seal(key, kindChunk, body[:tt.written])})
				}
				if ok, err := r.lease.append(ctx, 1, ttl, entries...); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			died := time.Now()
			rs := crowd(all[1:], 3, t.Name(), tt.next)
			for i, r := range rs {
				if !tt.ok(r) {
					t.Errorf("client %d: %v %v, %d bytes", i, r.outcome, r.err, len(r.body))
				}
				if took := r.ended.Sub(died); took > ttl+time.Second {
					t.Errorf("client %d: after %v", i, took)
				}
			}
			if n := fills(all); n != 1 && !strings.Contains(tt.name, "then") {
				t.Errorf("%d fills", n)
			}
			// It wakes up: nothing it writes counts any more.
			for range 2 {
				if ok, err := r.lease.append(ctx, 2, ttl, entry{kindStop, seal(key, kindStop, []byte{byte(stopPrivate)})}); ok || err != nil {
					t.Errorf("a fenced append: %v, %v", ok, err)
				}
			}
			if st := all[0].e.Stats(); st.FencedOff != 2 {
				t.Errorf("%+v", st)
			}
			if tt.written < 0 {
				if r := all[0].get(t.Name(), same); !r.whole(body) || fills(all) != 1 {
					t.Errorf("afterwards: %v, %d fills", r.err, fills(all))
				}
			}
		})
	}
}

// TestStream: followers elsewhere have the first bytes long before the last.
func TestStream(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 3, Options{}, s)
	body := bodyOf(1 << 20)
	p := page{Name: "n", Length: int64(len(body)), Keep: time.Minute, ETag: "e"}
	began := time.Now()
	rs := crowd(all, 3, "k", give(p, singleflight.Store, 50*time.Millisecond, 100*time.Millisecond, pieces(body, 100_000)...))
	for i, r := range rs {
		if !r.whole(body) || r.first.Sub(began) > 600*time.Millisecond || r.ended.Sub(began) < time.Second {
			t.Errorf("client %d: %v, first byte after %v, last after %v", i, r.err, r.first.Sub(began), r.ended.Sub(began))
		}
	}
}

// TestConfirmed: a head with a body of its own is published with it.
func TestConfirmed(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 2, Options{}, s)
	body := bodyOf(200_000)
	fill := func(ctx context.Context, w *singleflight.Writer[*page]) error {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		return w.Head(&page{Name: "n", Keep: time.Minute, ETag: "e", inline: body}, singleflight.Store)
	}
	for i, r := range crowd(all, 3, "k", fill) {
		if r.head.inline != nil && string(r.head.inline) == string(body) {
			continue // here the body is known
		}
		if !r.whole(body) {
			t.Errorf("client %d: %v %v, %d bytes", i, r.outcome, r.err, len(r.body))
		}
	}
	if n := fills(all); n != 1 {
		t.Errorf("%d fills", n)
	}
}
