package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"ringfence/loadtest/origin"
	"ringfence/singleflight/redis"
)

// A purge of each kind by one instance is a purge by all, of what they have and
// of what the engine has; and it says how many they are.
func TestFleetPurge(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	fleet := fleetOf(t, 3, func(r origin.Request) origin.Answer {
		text := strconv.FormatInt(version.Load(), 10)
		a := origin.Text("max-age=60", text).With("Cache-Tag", "t").With("Cache-Groups", `"g"`).With("ETag", `"`+text+`"`)
		if r.Get("If-None-Match") == `"`+text+`"` {
			a.Status, a.Body = 304, nil
		}
		return a
	}, tagging)
	var k keys
	at, _ := parseTarget("http", "GET", "/a/b", host("x"))
	k.build(fleet[0].h.snap.Load().routes[0], at, nil)
	asked := 0
	for i, p := range []Purge{
		{Kind: PurgeURL, Names: []string{"http://x/a/b"}}, {Kind: PurgeTag, Names: []string{"t"}}, {Kind: PurgeTag, Names: []string{"g"}},
		{Kind: PurgePrefix, Names: []string{"http://x/a"}}, {Kind: PurgeKey, Names: []string{fmt.Sprintf("%016x", k.hash)}}, {Kind: PurgeEverything},
	} {
		for _, soft := range []bool{false, true} {
			name := fmt.Sprintf("%s %q soft=%v", p.Kind, p.Names, soft)
			for _, s := range fleet {
				s.get("/a/b")
				s.idle()
				if r := s.get("/a/b"); !r.says("; hit") || r.header["Cache-Tag"] != nil {
					t.Errorf("%s: before it %s", name, r)
				}
			}
			version.Add(1)
			if done := fleet[i%3].purge(p.Kind, soft, p.Names...); done.Instances != 3 {
				t.Errorf("%s: %d instances", name, done.Instances)
			}
			for _, s := range fleet {
				if r := s.get("/a/b"); r.body != strconv.FormatInt(version.Load(), 10) {
					t.Errorf("%s: after it %s", name, r)
				}
				s.idle()
			}
			asked++
			// The first of them fetches it for all.
			if n := fleet[0].o.Count("/a/b").Total; n > 1+3*asked {
				t.Errorf("%s: the origin was asked %d times", name, n)
			}
		}
	}
}

// While fills race, nobody is given what was there before a confirmed purge,
// by whichever instance.
func TestFleetPurgeRacesFills(t *testing.T) {
	var version, known atomic.Int64
	fleet := fleetOf(t, 3, func(origin.Request) origin.Answer {
		return origin.Text("max-age=60", strconv.FormatInt(version.Load(), 10)).With("Surrogate-Key", "t")
	}, tagging)
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				least := known.Load()
				r := fleet[i%3].get("/a/" + strconv.Itoa(n%2))
				if got, err := strconv.ParseInt(r.body, 10, 64); err != nil || got < least {
					t.Errorf("instance %d: version %s after a purge at %d: %s", i%3, r.body, least, r)
					return
				}
			}
		})
	}
	for i := range 40 {
		now := version.Add(1)
		switch s := fleet[i%3]; i % 4 {
		case 0:
			s.purge(PurgeTag, i%8 == 0, "t")
		case 1:
			s.purge(PurgePrefix, i%8 == 1, "http://x/a")
		case 2:
			s.purge(PurgeEverything, i%8 == 2)
		case 3:
			s.purge(PurgeURL, i%8 == 3, "http://x/a/0", "http://x/a/1")
		}
		known.Store(now)
	}
	close(done)
	all.Wait()
	for _, s := range fleet {
		s.idle()
	}
}

// With the engine away a purge is done here and says that others may not know;
// an instance that was cut off has caught up before it uses the engine again.
func TestFleetPurgeWithoutEngine(t *testing.T) {
	t.Parallel()
	s := newSite(t, always(origin.Text("max-age=60", "x")), sharing("127.0.0.1:1"))
	s.get("/")
	s.stored(1)
	done, err := s.h.Purge(Purge{Kind: PurgePrefix, Names: []string{"http://x/"}})
	if err != nil || done.Unconfirmed == nil || done.Instances != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if r := s.get("/"); r.says("; hit") {
		t.Errorf("after it %s", r)
	}
	s.idle()
}

// An instance that an engine does not hear of is missed until it counts as gone,
// and applies what it has missed, soft as soft, when it is back.
func TestFleetPurgeCatchesUp(t *testing.T) {
	t.Parallel()
	addr := engine(t)
	script := always(origin.Text("max-age=600", "x").With("ETag", `"1"`).With("Cache-Tag", "t"))
	first := newSite(t, script, sharing(addr), tagging)
	front := wayTo(t, addr)
	h := newHandlerFor(t, first.o.Addr(), sharing(front.addr), tagging)
	away := &site{t: t, h: h, o: first.o, addr: serveOn(t, testFront(h))}
	for _, s := range []*site{first, away} {
		waitFor(t, "the engine to be in use", func() bool { return s.h.View().Fleet.Nodes[0].Up })
	}
	for _, path := range []string{"/hard/a", "/soft", "/kept"} {
		away.get(path)
	}
	away.stored(3)
	front.cut()
	waitFor(t, "the engine to be out of use", func() bool { return !away.h.View().Fleet.Nodes[0].Up })
	if done, err := first.h.Purge(Purge{Kind: PurgePrefix, Names: []string{"http://x/hard"}}); err != nil || done.Unconfirmed != nil && !errors.Is(done.Unconfirmed, redis.ErrNotConfirmed) {
		t.Errorf("while it is away: %+v, %v", done, err)
	}
	first.purge(PurgeURL, true, "http://x/soft")
	front.mend()
	waitFor(t, "the engine to be in use", func() bool { return away.h.View().Fleet.Nodes[0].Up })
	for path, want := range map[string]string{"/hard/a": "fwd=miss", "/soft": "fwd=stale", "/kept": "; hit"} {
		if r := away.get(path); !r.says(want) {
			t.Errorf("%s: %s, want %s", path, r, want)
		}
		away.idle()
	}
}

// way is a way to an address that can be cut.
type way struct {
	addr  string
	mu    sync.Mutex
	isCut bool
	open  []net.Conn
}

func wayTo(t *testing.T, to string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{addr: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil || !w.hold(near, far) {
				_ = near.Close()
				continue
			}
			for _, ends := range [][2]net.Conn{{near, far}, {far, near}} {
				all.Go(func() {
					_, _ = io.Copy(ends[0], ends[1])
					_ = ends[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		all.Wait()
	})
	return w
}

// hold keeps both ends of a connection, to cut it.
func (w *way) hold(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open = append(w.open, ends...); w.isCut {
		_ = ends[1].Close()
	}
	return !w.isCut
}

func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for _, c := range w.open {
		_ = c.Close()
	}
}

func (w *way) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}
