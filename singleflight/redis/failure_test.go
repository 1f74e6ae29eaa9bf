package redis

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/singleflight"
)

var plain = page{Name: "n", Length: -1, Keep: time.Minute, ETag: "e"}

// up says whether all nodes of all instances are in use, or none.
// In use is a node that keys are placed on, which it is a moment after it is
// connected.
func up(all []*instance, want bool) func() bool {
	return func() bool {
		for _, in := range all {
			placed := make([]bool, len(in.e.nodes))
			for w := in.e.live.Load().Walk(0); ; {
				i, ok := w.Next()
				if !ok {
					break
				}
				placed[i] = true
			}
			if slices.Contains(placed, !want) {
				return false
			}
		}
		return true
	}
}

// TestEngineAway: whatever happens to the engine, every client is answered,
// soon, with at most a fill per instance; and when it is well again the fleet
// uses it within five seconds.
func TestEngineAway(t *testing.T) {
	body := bodyOf(50_000)
	const timeout = 100 * time.Millisecond
	tests := []struct {
		name  string
		spoil func(*server)
		heal  func(*server)
		shut  bool // the nodes go out of use
	}{
		{"killed", (*server).kill, (*server).start, true},
		{"paused", (*server).pause, (*server).resume, true},
		{"full", func(s *server) { s.must("CONFIG", "SET", "maxmemory", "1") }, func(s *server) { s.must("CONFIG", "SET", "maxmemory", "0") }, false},
		{"read-only", func(s *server) {
			s.must("REPLICAOF", "127.0.0.1", "1")
			s.must("CONFIG", "SET", "replica-serve-stale-data", "yes")
		},
			func(s *server) { s.must("REPLICAOF", "NO", "ONE") }, true},
		{"busy", func(s *server) { go s.command("DEBUG", "SLEEP", "2") }, func(*server) {}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, "--enable-debug-command", "yes")
			all := fleet(t, 2, Options{Timeout: timeout, LeaseTTL: 500 * time.Millisecond}, s)
			fill := give(plain, singleflight.Store, 50*time.Millisecond, 0, body)
			if rs := crowd(all, 2, "before", fill); count(rs, func(r result) bool { return r.whole(body) }) != 4 || fills(all) != 1 {
				t.Fatalf("before: %v, %d fills", rs[0].err, fills(all))
			}
			tt.spoil(s)
			pauseFor(20 * time.Millisecond)
			for i := range 4 {
				was, began := fills(all), time.Now()
				rs := crowd(all, 5, fmt.Sprint("during", i), fill)
				if n := count(rs, func(r result) bool { return r.whole(body) }); n != len(rs) {
					t.Errorf("round %d: %d of %d answered", i, n, len(rs))
				}
				if n := fills(all) - was; n > 2 {
					t.Errorf("round %d: %d fills", i, n)
				}
				if took := time.Since(began); took > 50*time.Millisecond+timeout+500*time.Millisecond {
					t.Errorf("round %d took %v", i, took)
				}
			}
			if tt.shut {
				eventually(t, 2*time.Second, "out of use", up(all, false))
			}
			tt.heal(s)
			if tt.shut {
				t.Logf("in use again after %v", eventually(t, 5*time.Second, "in use again", up(all, true)))
			}
			was := fills(all)
			if rs := crowd(all, 3, "after", fill); count(rs, func(r result) bool { return r.whole(body) }) != 6 || fills(all)-was != 1 {
				t.Errorf("after: %v, %d fills", rs[0].err, fills(all)-was)
			}
		})
	}
}

// TestEngineLost: bodies that were on their way when the engine died are
// completed from a fill of each instance's own.
func TestEngineLost(t *testing.T) {
	for name, spoil := range map[string]func(*server){"killed": (*server).kill, "paused": (*server).pause} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			all := fleet(t, 2, Options{Timeout: 100 * time.Millisecond, LeaseTTL: 500 * time.Millisecond}, s)
			body := bodyOf(400_000)
			fill := give(plain, singleflight.Store, 20*time.Millisecond, 50*time.Millisecond, pieces(body, 40_000)...)
			var spoiler sync.WaitGroup
			spoiler.Go(func() {
				pauseFor(250 * time.Millisecond)
				spoil(s)
			})
			defer spoiler.Wait()
			for i, r := range crowd(all, 3, "k", fill) {
				if !r.whole(body) {
					t.Errorf("client %d: %v %v, %d bytes", i, r.outcome, r.err, len(r.body))
				}
			}
			if n := fills(all); n != 2 {
				t.Errorf("%d fills", n)
			}
			if name == "paused" {
				s.resume()
			}
		})
	}
}

// TestStartWithout: an instance starts without its engine, and uses it once it
// is there.
func TestStartWithout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var told []string
	var mu sync.Mutex
	in := join(t, Options{Addresses: []string{addr}, OnNode: func(a string, up bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(a == addr, up, err == nil))
	}}, singleflight.Options[*page]{})
	began := time.Now()
	if r := in.get("k", give(plain, singleflight.Store, 0, 0, []byte("x"))); string(r.body) != "x" || time.Since(began) > time.Second {
		t.Errorf("%v after %v", r.err, time.Since(began))
	}
	if n := in.e.Stats().Nodes[0]; n.Up || n.Cause == nil || n.Address != addr {
		t.Errorf("%+v", n)
	}
	s := &server{t: t, addr: addr, dir: t.TempDir()}
	t.Cleanup(s.kill)
	s.start()
	in.connect()
	if in.get("k2", give(plain, singleflight.Store, 0, 0, []byte("x"))); in.e.Stats().Taken != 1 {
		t.Errorf("%+v", in.e.Stats())
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(told, ",") != "true false false,true true true" {
		t.Error(told)
	}
}

// TestLoading: an engine that reads its data set is as good as none.
func TestLoading(t *testing.T) {
	s := startServer(t, "--enable-debug-command", "yes", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	s.must("DEBUG", "POPULATE", "3000")
	s.must("SAVE")
	if _, err := os.Stat(filepath.Join(s.dir, "dump.rdb")); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.startAgain()
	in := join(t, Options{Addresses: []string{s.addr}}, singleflight.Options[*page]{})
	eventually(t, 5*time.Second, "loading", func() bool {
		got, _ := s.command("PING")
		return strings.HasPrefix(got, "-LOADING")
	})
	began := time.Now()
	if r := in.get("k", give(plain, singleflight.Store, 0, 0, []byte("x"))); string(r.body) != "x" || time.Since(began) > 500*time.Millisecond {
		t.Errorf("%v after %v", r.err, time.Since(began))
	}
	eventually(t, 20*time.Second, "loaded", func() bool {
		got, _ := s.command("PING")
		return got == "+PONG"
	})
	eventually(t, 5*time.Second, "in use", up([]*instance{in}, true))
}

// TestIndependentNodes: keys of a node that dies are placed on the others, and
// go back when it returns.
func TestIndependentNodes(t *testing.T) {
	servers := []*server{startServer(t), startServer(t), startServer(t)}
	all := fleet(t, 2, Options{Timeout: 100 * time.Millisecond, LeaseTTL: 500 * time.Millisecond}, servers...)
	body := bodyOf(1000)
	fill := give(plain, singleflight.Store, 20*time.Millisecond, 0, body)
	place := func() (p []int) {
		for i := range 60 {
			n := all[0].e.node(fmt.Sprint(i))
			for j, m := range all[0].e.nodes {
				if n == m {
					p = append(p, j)
				}
			}
		}
		return p
	}
	before := place()
	round := func(name string, most int64) {
		t.Helper()
		for i := range 6 {
			was := fills(all)
			rs := crowd(all, 2, fmt.Sprint(name, i), fill)
			if n := count(rs, func(r result) bool { return r.whole(body) }); n != 4 || fills(all)-was > most {
				t.Errorf("%s %d: %d answered, %d fills", name, i, n, fills(all)-was)
			}
		}
	}
	round("before", 1)
	servers[1].kill()
	round("while it is ejected", 2)
	eventually(t, 3*time.Second, "ejected", func() bool {
		return all[0].e.nodes[1].link.Load() == nil && all[1].e.nodes[1].link.Load() == nil
	})
	during := place()
	for i := range before {
		if before[i] != 1 && during[i] != before[i] || during[i] == 1 {
			t.Errorf("key %d moved from %d to %d", i, before[i], during[i])
		}
	}
	round("ejected", 1)
	servers[1].start()
	eventually(t, 5*time.Second, "back", up(all, true))
	for i, p := range place() {
		if p != before[i] {
			t.Errorf("key %d is on %d, was on %d", i, p, before[i])
		}
	}
	round("back", 1)
}

// TestAccess: a password and a database are used.
func TestAccess(t *testing.T) {
	s := startServer(t, "--requirepass", "secret")
	all := fleet(t, 2, Options{Password: "secret", DB: 3}, s)
	body := bodyOf(1000)
	if rs := crowd(all, 2, "k", give(plain, singleflight.Store, 50*time.Millisecond, 0, body)); !rs[0].whole(body) || fills(all) != 1 {
		t.Errorf("%v, %d fills", rs[0].err, fills(all))
	}
	wrong := join(t, Options{Addresses: []string{s.addr}, Password: "other"}, singleflight.Options[*page]{})
	if r := wrong.get("k", give(plain, singleflight.Store, 0, 0, body)); !r.whole(body) || wrong.fills.Load() != 1 {
		t.Errorf("with a wrong password: %v", r.err)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no address":        {},
		"address is empty":  {Addresses: []string{""}},
		"listed twice":      {Addresses: []string{"a:1", "a:1"}},
		"mode 7":            {Addresses: []string{"a:1"}, Mode: 7},
		"sentinels' master": {Addresses: []string{"a:1"}, Mode: Sentinel},
		"a socket":          {Addresses: []string{"a:1", "unix:/x"}, Mode: Cluster},
		"no database 2":     {Addresses: []string{"a:1"}, Mode: Cluster, DB: 2},
		"lease ttl":         {Addresses: []string{"a:1"}, LeaseTTL: time.Second, Timeout: 400 * time.Millisecond},
		"negative":          {Addresses: []string{"a:1"}, MaxFollows: -1},
	} {
		e, err := Open(o)
		if err == nil {
			e.Close()
			t.Errorf("%s: no fault", name)
		} else if !strings.HasPrefix(err.Error(), "redis: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHolds: what a fill has brought may be kept until another may have the
// lease, and where nobody can have it.
func TestHolds(t *testing.T) {
	if !Holds(t.Context()) {
		t.Error("a fill under no lease may not be kept")
	}
	for _, tt := range []struct {
		name  string
		spoil func(*server)
		holds bool
	}{
		{"lost", func(s *server) { s.must("FLUSHALL") }, false},
		{"engine gone", (*server).kill, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t)
			all := fleet(t, 1, Options{Timeout: 100 * time.Millisecond, LeaseTTL: 500 * time.Millisecond}, s)
			all[0].get("k", func(ctx context.Context, w *singleflight.Writer[*page]) error {
				if !Holds(ctx) {
					t.Error("a lease just taken is not held")
				}
				tt.spoil(s)
				if tt.holds {
					eventually(t, 5*time.Second, "the engine to be out of use", up(all, false))
				} else {
					eventually(t, 5*time.Second, "the loss to be noticed", func() bool { return !Holds(ctx) })
				}
				if Holds(ctx) != tt.holds {
					t.Errorf("held: %v", Holds(ctx))
				}
				return w.Head(&plain, singleflight.Share)
			})
		})
	}
}
