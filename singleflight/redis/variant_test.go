package redis

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"ringfence/singleflight"
)

// TestVariants: what was filled for a name alone and turned out to be a variant
// is found by those who look for that variant, in one call where it is small,
// and by nobody else.
func TestVariants(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 2, Options{}, s)
	body, large := bodyOf(1000), bodyOf(400_000)
	of := func(variant string) page {
		return page{Name: "n", Length: -1, Keep: time.Minute, ETag: "e", Of: variant}
	}
	for _, tt := range []struct {
		name  string
		first string // the variant that the name was filled with
		spoil string // a command done to the name's log, or the name that its head has
		body  []byte
		want  string // is looked for
		fills int64
		calls int
	}{
		{"its own", "en", "", body, "en", 0, 1},
		{"large", "en", "", large, "en", 0, 2},
		{"another", "en", "", body, "de", 1, 4},
		{"of none", "", "", body, "en", 1, 4},
		{"gone", "en", "DEL", body, "en", 1, 4},
		{"foreign", "en", "SET", body, "en", 1, 4},
		{"of no use", "en", "stale", body, "en", 1, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, key := all[1], Key{Name: t.Name(), Variant: tt.want}
			in.get("loads the scripts "+t.Name(), give(plain, singleflight.Store, 0, 0, body))
			first := of(tt.first)
			if tt.spoil == "stale" {
				first.Name = tt.spoil
			}
			all[0].get(key.Name, give(first, singleflight.Store, 0, 0, tt.body))
			settled := func() bool { return all[0].e.Stats().Leading+in.e.Stats().Leading == 0 }
			eventually(t, 5*time.Second, "all is written", settled)
			switch log := all[0].e.logKey(Key{Name: key.Name}); tt.spoil {
			case "DEL":
				s.must("DEL", log)
			case "SET":
				s.must("SET", log, "x")
			}
			was := in.fills.Load()
			s.must("CONFIG", "RESETSTAT")
			r := in.getAs(key, give(of(tt.want), singleflight.Store, 0, 0, tt.body))
			eventually(t, 5*time.Second, "all is written", settled)
			calls := s.asked()
			if !r.whole(tt.body) || in.fills.Load()-was != tt.fills || calls > tt.calls {
				t.Errorf("%v, %d fills, %d calls", r.err, in.fills.Load()-was, calls)
			}
			if r := all[0].getAs(key, nil); !r.whole(tt.body) || r.head.Of != tt.want {
				t.Errorf("afterwards: %v %+v", r.err, r.head)
			}
		})
	}
}

// TestVariantsOnNodes: all that belongs to a name is on one of several nodes.
func TestVariantsOnNodes(t *testing.T) {
	all := fleet(t, 2, Options{}, startServer(t), startServer(t), startServer(t))
	for i := range 8 {
		key := Key{Name: fmt.Sprint(i), Variant: "en"}
		fill := give(page{Name: "n", Length: -1, Keep: time.Minute, ETag: "e", Of: "en"}, singleflight.Store, 0, 0, []byte("x"))
		all[0].get(key.Name, fill)
		eventually(t, 5*time.Second, "all is written", func() bool { return all[0].e.Stats().Leading == 0 })
		if r := all[1].getAs(key, fill); string(r.body) != "x" || all[1].fills.Load() != 0 {
			t.Fatalf("key %d: %v, %d fills", i, r.err, all[1].fills.Load())
		}
	}
}

// TestVariantUnderWay: it is followed, too, and taken over where its leader is
// gone.
func TestVariantUnderWay(t *testing.T) {
	s := startServer(t)
	body := bodyOf(300_000)
	p := page{Name: "n", Length: int64(len(body)), Keep: time.Minute, ETag: "e", Of: "en"}
	for name, dies := range map[string]bool{"whole": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			all := fleet(t, 3, Options{Timeout: 200 * time.Millisecond, LeaseTTL: 600 * time.Millisecond}, s)
			slow := give(p, singleflight.Store, 0, 50*time.Millisecond, pieces(body, 30_000)...)
			log := all[0].e.logKey(Key{Name: t.Name()})
			var first sync.WaitGroup
			first.Go(func() { all[0].get(t.Name(), slow) })
			eventually(t, 5*time.Second, "the head", func() bool { n, _ := s.command("XLEN", log); return n > ":1" })
			if dies {
				first.Go(func() { // once both follow it
					eventually(t, 5*time.Second, "both follow", func() bool {
						return all[1].e.Stats().Following+all[2].e.Stats().Following == 2
					})
					s.must("DEL", log)
				})
			}
			var rs [2]result
			for i := range rs {
				first.Go(func() { rs[i] = all[1+i].getAs(Key{Name: t.Name(), Variant: "en"}, slow) })
			}
			first.Wait()
			want := int64(1)
			if dies {
				want = 2
			}
			for i, r := range rs {
				if !r.whole(body) {
					t.Errorf("client %d: %v %v, %d bytes", i, r.outcome, r.err, len(r.body))
				}
			}
			if n := fills(all); n != want {
				t.Errorf("%d fills", n)
			}
		})
	}
}
