package redis

import (
	"context"
	"testing"
	"time"

	"ringfence/singleflight"
)

// resumed is an instance that goes on from positions, on the servers.
func resumed(t *testing.T, ps []Position, servers ...*server) *instance {
	t.Helper()
	o := Options{Timeout: time.Second, LeaseTTL: 3 * time.Second, Resume: ps}
	for _, s := range servers {
		o.Addresses = append(o.Addresses, s.addr)
	}
	return join(t, o, singleflight.Options[*page]{})
}

func covers(in *instance, ps []Position) bool {
	yes, _ := in.e.Covers(ps)
	return yes
}

// TestResume: an instance that was away is told of what was invalidated meanwhile
// before it says that it knows; where that cannot be known it never says so, or all
// is dropped.
func TestResume(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 2, Options{}, s)
	s.old(all[0])
	ctx := context.Background()
	strike := func(tag string) {
		t.Helper()
		if _, err := all[1].e.Invalidate(ctx, []string{tag}); err != nil {
			t.Fatal(err)
		}
	}
	strike("before")
	at := all[0].e.Positions()
	if len(at) != 1 || at[0].At != 1 || at[0].Line == 0 || at[0].Node != s.addr {
		t.Fatalf("positions %+v", at)
	}
	all[0].closeNow()
	strike("meanwhile")
	in := resumed(t, at, s).connect()
	eventually(t, 5*time.Second, "it has caught up", func() bool { return covers(in, at) })
	if in.tier.has("before") || !in.tier.has("meanwhile") || in.tier.dropped() != 0 {
		t.Errorf("it was told of %v", in.tier.tags)
	}
	if got := in.e.Positions(); len(got) != 1 || got[0].At != 2 || !covers(in, got) {
		t.Errorf("then at %+v", got)
	}
	strike("later")
	if !in.tier.has("later") {
		t.Error("it is not waited for once it is back")
	}
	for name, p := range map[string]Position{
		"another line": {Node: s.addr, Line: at[0].Line + 1, At: 1}, "another node": {Node: "x", Line: at[0].Line, At: 1},
		"before it began": {Node: s.addr, Line: at[0].Line},
	} {
		if covers(in, []Position{p}) {
			t.Errorf("%s is covered", name)
		}
	}
	// One that knows nothing of a line begins at its end, and drops what it has.
	if fresh := resumed(t, nil, s).connect(); covers(fresh, at) || fresh.tier.dropped() != 1 {
		t.Errorf("without a position: covered, or %d drops", fresh.tier.dropped())
	}
	// The line has lost what came next, or all of it.
	for name, lose := range map[string]func(){
		"trimmed": func() { s.must("XTRIM", all[1].e.nodes[0].line.keys[0], "MAXLEN", "0") },
		"flushed": func() { s.must("FLUSHALL") },
	} {
		lose()
		in := resumed(t, at, s).connect()
		if yes, sure := in.e.Covers(at); yes || !sure || in.tier.dropped() == 0 {
			t.Errorf("%s: covered %v, sure %v, %d drops", name, yes, sure, in.tier.dropped())
		}
	}
}

// TestResumeWithoutEngine: nothing is known of what was invalidated.
func TestResumeWithoutEngine(t *testing.T) {
	in := resumed(t, []Position{{Node: "127.0.0.1:1", Line: 1, At: 1}}, &server{addr: "127.0.0.1:1"})
	yes, sure := in.e.Covers(in.e.Positions())
	if at := in.e.Positions(); yes || sure || len(at) != 1 {
		t.Errorf("it knows of %+v", at)
	}
}
