package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/singleflight"
)

// TestInvalidate: once it has returned, nobody is served what was filled
// before, wherever that is.
func TestInvalidate(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 3, Options{}, s)
	s.old(all[0])
	tagged := func(body string, toHead, toPiece time.Duration) singleflight.Fill[*page] {
		return give(page{Name: "n", Length: -1, Keep: time.Minute, ETag: body, Tags: []string{"a", "b"}}, singleflight.Store, toHead, toPiece, []byte(body))
	}
	ctx := context.Background()
	for i, tags := range [][]string{{"b"}, {"x", "a"}} {
		old, fresh := fmt.Sprint("old", i), fmt.Sprint("new", i)
		all[0].get("k"+old, tagged(old, 0, 0))
		// One more is under way, its head published or not, when it falls.
		slow := make(chan result, 2)
		go func() { slow <- all[0].get("before"+old, tagged(old, 400*time.Millisecond, 0)) }()
		go func() { slow <- all[0].get("after"+old, tagged(old, 0, 400*time.Millisecond)) }()
		pauseFor(100 * time.Millisecond)
		began := time.Now()
		if _, err := all[1].e.Invalidate(ctx, tags); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("confirmed after %v", took)
		}
		for j, in := range all {
			if !in.tier.has(tags[0]) {
				t.Errorf("instance %d has not applied it", j)
			}
		}
		for _, key := range []string{"k", "before", "after"} {
			if r := all[2].get(key+old, tagged(fresh, 0, 0)); string(r.body) != fresh {
				t.Errorf("%s: %q %v after the invalidation", key, r.body, r.err)
			}
		}
		for range 2 {
			if r := <-slow; string(r.body) != old {
				t.Errorf("%q, %v for who asked before", r.body, r.err)
			}
		}
		for _, key := range []string{"k", "before", "after"} {
			was := fills(all)
			if r := all[1].get(key+old, tagged("third", 0, 0)); string(r.body) != fresh || fills(all) != was {
				t.Errorf("%s: %q %v later", key, r.body, r.err)
			}
		}
	}
	// What has none of the tags stays.
	all[0].get("other", give(plain, singleflight.Store, 0, 0, []byte("kept")))
	if _, err := all[0].e.Invalidate(ctx, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if r := all[1].get("other", tagged("?", 0, 0)); string(r.body) != "kept" {
		t.Errorf("%q", r.body)
	}
	if all[0].drops()+all[1].drops()+all[2].drops() != 0 {
		t.Error("dropped all without need")
	}
}

// old makes the line of invalidations as old as one that has all who live.
func (s *server) old(in *instance) {
	s.must("HSET", in.e.nodes[0].line.keys[1], "born", "0")
}

// TestConfirmation: an instance that lives and does not apply it is waited for;
// one that is gone is not, for long.
func TestConfirmation(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 2, Options{}, s)
	ctx := context.Background()
	if _, err := all[0].e.Invalidate(ctx, []string{"a"}); err != nil || time.Since(s.began) < instanceTTL {
		t.Errorf("on a new line: %v after %v", err, time.Since(s.began))
	}
	keys := all[1].e.nodes[0].line.keys
	// A third that lives, for as long as it says, and applies nothing.
	beat := func(ttl time.Duration) {
		b, err := dial(&all[0].e.o, []string{s.addr})
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		p := all[1].e.nodes[0].line.position()
		if _, err := b.eval(ctx, scriptSync, keys, []string{"deaf", number(p.line), "0", "1", millis(ttl)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all[0].e.Invalidate(ctx, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	beat(time.Minute)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := all[0].e.Invalidate(short, []string{"a"}); !errors.Is(err, ErrNotConfirmed) || !strings.Contains(err.Error(), "1 of 3") {
		t.Errorf("with a deaf instance: %v", err)
	}
	beat(300 * time.Millisecond)
	began := time.Now()
	if _, err := all[0].e.Invalidate(ctx, []string{"a"}); err != nil || time.Since(began) < 100*time.Millisecond {
		t.Errorf("with one that is gone: %v after %v", err, time.Since(began))
	}
	all[1].closeNow()
	began = time.Now()
	if _, err := all[0].e.Invalidate(ctx, []string{"a"}); err != nil || time.Since(began) > time.Second {
		t.Errorf("with one that said good-bye: %v after %v", err, time.Since(began))
	}
	s.kill()
	if _, err := all[0].e.Invalidate(ctx, []string{"a"}); err == nil {
		t.Error("confirmed without an engine")
	}
}

// TestCatchUp: an instance that was cut off applies what it missed before it
// uses the engine again; where that cannot be known any more it drops all.
func TestCatchUp(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 1, Options{Timeout: 100 * time.Millisecond, LeaseTTL: 400 * time.Millisecond}, s)
	n := all[0].e.nodes[0]
	bump := func(tags ...string) {
		b, err := dial(&all[0].e.o, []string{s.addr})
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		if _, err := b.eval(context.Background(), scriptBump, n.line.keys, []string{"8192", "5", packTags(tags), "0", "0"}); err != nil {
			t.Fatal(err)
		}
	}
	cut := func() *link {
		l := n.link.Load()
		for range fall {
			n.observe(l, errors.New("cut off"))
		}
		return l
	}
	cut()
	for i := range 600 {
		bump(fmt.Sprint(i))
	}
	eventually(t, 5*time.Second, "caught up", func() bool { return n.link.Load() != nil && n.line.position().at == 600 })
	if !all[0].tier.has("0") || !all[0].tier.has("599") || all[0].drops() != 0 {
		t.Errorf("%d tags, %d drops", len(all[0].tier.tags), all[0].drops())
	}
	// The line has been cut to what is after the instance's place.
	s.must("XTRIM", n.line.keys[0], "MAXLEN", "0")
	s.must("HSET", n.line.keys[1], "at", "700")
	eventually(t, 5*time.Second, "dropped", func() bool { return all[0].drops() == 1 })
	if all[0].drops() != 1 || n.line.position().at != 700 {
		t.Errorf("%d drops, at %d", all[0].drops(), n.line.position().at)
	}
	// The engine has lost its data a moment ago: nothing was acknowledged
	// without this instance.
	was := n.line.position()
	s.must("FLUSHALL")
	eventually(t, 5*time.Second, "a new line", func() bool { return n.line.position().line != was.line })
	if all[0].drops() != 1 {
		t.Errorf("%d drops", all[0].drops())
	}
}

// TestLostLine: where one node of several has lost what it was told, the others
// have it still; an instance that was cut off from all of them drops what it
// has, and goes on with what is filled from then on.
func TestLostLine(t *testing.T) {
	a, b := startServer(t), startServer(t)
	all := fleet(t, 2, Options{}, a, b)
	keys := func(n *node, count int) (on []string) {
		for i := 0; len(on) < count; i++ {
			if key := fmt.Sprint("key", i); all[0].e.node(key) == n {
				on = append(on, key)
			}
		}
		return on
	}
	filled := func(in *instance, key string) bool {
		was := fills(all)
		in.get(key, give(plain, singleflight.Store, 0, 0, []byte(key)))
		return fills(all) > was
	}
	// lose has a node come back without its data, after a time.
	lose := func(n int, s *server, after func()) {
		was := all[0].e.nodes[n].line.position()
		s.kill()
		after()
		s.start()
		for _, in := range all {
			eventually(t, 10*time.Second, "a new line", func() bool {
				return in.e.nodes[n].line.position().line != was.line && in.e.nodes[n].link.Load() != nil
			})
		}
	}
	down := func(n int) {
		for _, in := range all {
			eventually(t, 10*time.Second, "out of use", func() bool { return in.e.nodes[n].link.Load() == nil })
		}
	}
	onA := keys(all[0].e.nodes[0], 3)
	filled(all[0], onA[0])
	lose(1, b, func() { down(1); pauseFor(instanceTTL + 500*time.Millisecond) })
	if all[0].drops()+all[1].drops() != 0 {
		t.Error("dropped what the other node vouches for")
	}
	if filled(all[1], onA[0]) {
		t.Error("what the other node has is of no use any more")
	}

	// The same with the other node away for as long, which keeps its data.
	a.pause()
	lose(1, b, func() { down(0); down(1); pauseFor(instanceTTL + 500*time.Millisecond) })
	a.resume()
	for _, in := range all {
		in.connect()
		if in.drops() != 1 {
			t.Errorf("dropped %d times", in.drops())
		}
	}
	if !filled(all[0], onA[1]) || filled(all[1], onA[1]) {
		t.Error("what was filled after that is not shared")
	}
}

// TestFilledBeforeTheFirstUse: what an instance has filled before it could use
// the engine may have been struck meanwhile.
func TestFilledBeforeTheFirstUse(t *testing.T) {
	s := startServer(t)
	first := fleet(t, 1, Options{}, s)[0]
	s.old(first)
	late := join(t, Options{Addresses: []string{s.addr}, Timeout: time.Second, LeaseTTL: 3 * time.Second}, singleflight.Options[*page]{})
	born := late.tier.Now()
	late.connect()
	if late.tier.valid([]string{"a"}, born) {
		t.Error("what was filled before counts")
	}
}

// TestLostInvalidation: an engine that comes back without the last of what it
// was told gives no number twice.
func TestLostInvalidation(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 2, Options{}, s)
	s.old(all[0])
	ctx := context.Background()
	for _, tag := range []string{"a", "lost"} {
		if _, err := all[0].e.Invalidate(ctx, []string{tag}); err != nil {
			t.Fatal(err)
		}
	}
	keys := all[0].e.nodes[0].line.keys
	s.must("HSET", keys[1], "at", "1")
	s.must("XDEL", keys[0], "2-0")
	if _, err := all[1].e.Invalidate(ctx, []string{"next"}); err != nil {
		t.Fatal(err)
	}
	for i, in := range all {
		if !in.tier.has("next") {
			t.Errorf("instance %d has confirmed and not applied it", i)
		}
	}
}

// TestEngineRefuses: an engine that answers and cannot be used is told of.
func TestEngineRefuses(t *testing.T) {
	s := startServer(t)
	s.must("ACL", "SETUSER", "half", "on", "nopass", "+@all", "~other*", "&*")
	told := make(chan error, 10)
	in := join(t, Options{
		Addresses: []string{s.addr}, Username: "half", Password: "x", Timeout: time.Second, LeaseTTL: 3 * time.Second,
		OnNode: func(_ string, up bool, err error) {
			if !up {
				told <- err
			}
		},
	}, singleflight.Options[*page]{})
	select {
	case err := <-told:
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("told of %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("told of nothing")
	}
	in.closeNow()
	if len(told) > 0 {
		t.Errorf("told again: %v", <-told)
	}
}

func TestLineClock(t *testing.T) {
	tr := &tier{tags: make(map[string]uint64)}
	l := newLine("p", tr)
	l.begin(position{7, 10})
	for i := uint64(11); i <= 13; i++ {
		l.apply(i, []string{"a", "b"})
	}
	for _, tt := range []struct {
		p     position
		clock uint64
		ok    bool
	}{
		{position{7, 9}, 0, false}, {position{8, 11}, 0, false}, {position{0, 0}, 0, false},
		{position{7, 10}, 0, true}, {position{7, 11}, 2, true}, {position{7, 13}, 6, true}, {position{7, 99}, 6, true},
	} {
		if c, ok := l.clock(tt.p); c != tt.clock || ok != tt.ok {
			t.Errorf("%v: %d, %v", tt.p, c, ok)
		}
	}
	for i := uint64(14); i <= 3*historyLimit; i++ {
		l.apply(i, nil)
	}
	if _, ok := l.clock(position{7, 13}); ok || len(l.clocks) > historyLimit {
		t.Errorf("%d clocks kept", len(l.clocks))
	}
	if c, ok := l.clock(position{7, 3*historyLimit - historyLimit/4}); !ok || c != 6 {
		t.Error(c, ok)
	}
}

func FuzzTags(f *testing.F) {
	f.Add("")
	f.Add(packTags([]string{"", "a", strings.Repeat("x", 300)}))
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := unpackTags(s)
		if err != nil {
			return
		}
		again, err := unpackTags(packTags(tags))
		if err != nil || !slices.Equal(tags, again) {
			t.Errorf("%q: %q, %v", tags, again, err)
		}
	})
}
