package proxy

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/wire"
	"ringfence/singleflight/redis"
)

// engine starts a redis-server for the test and returns its address.
func engine(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = l.Close()
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("redis-server: %v (make test installs it)", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	waitFor(t, "redis-server to listen", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return addr
}

// fleetOf starts n instances before one origin, which share an engine.
func fleetOf(t *testing.T, n int, script origin.Script, change ...func(*Options)) []*site {
	t.Helper()
	addr := engine(t)
	change = append(change, sharing(addr))
	first := newSite(t, script, change...)
	sites := []*site{first}
	for range n - 1 {
		h := newHandlerFor(t, first.o.Addr(), change...)
		sites = append(sites, &site{t: t, h: h, o: first.o, addr: serveOn(t, testFront(h))})
	}
	for _, s := range sites {
		waitFor(t, "the engine to be in use", func() bool { return s.h.View().Fleet.Nodes[0].Up })
	}
	return sites
}

func sharing(addr string) func(*Options) {
	return func(o *Options) {
		o.Shared = &redis.Options{Addresses: []string{addr}, Timeout: 300 * time.Millisecond}
	}
}

// A cold key is filled once, whichever instances are asked for it; a later miss
// is answered from what another one fetched, with its age; an unsafe request to
// one invalidates what all have.
func TestFleet(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	var once sync.Once
	fleet := fleetOf(t, 3, func(r origin.Request) origin.Answer {
		if r.Method == "POST" {
			return origin.Answer{Status: 204}
		}
		a := origin.Text("max-age=60", strings.Repeat("x", 10_000)).With("ETag", `"1"`).With("X-A", "1").With("X-A", "2")
		a.Hold = hold
		return a
	})
	var waiting []<-chan reply
	for i := range 30 {
		waiting = append(waiting, fleet[i%3].begin("/"))
	}
	for _, s := range fleet {
		s.waiting(10)
	}
	fleet[0].reached(1)
	once.Do(func() { close(hold) })
	for i, ch := range waiting {
		if r := <-ch; r.status != 200 || len(r.body) != 10_000 || fmt.Sprint(r.header["X-A"]) != "[1 2]" {
			t.Errorf("client %d: %s", i, r)
		}
	}
	if n := fleet[0].o.Count("/").Total; n != 1 {
		t.Errorf("the origin was asked %d times, want 1", n)
	}
	for _, s := range fleet {
		s.stored(1)
	}
	// A key that only one instance has.
	fleet[0].get("/late")
	fleet[0].stored(2)
	fleet[0].idle() // the engine has the end of it, too
	later()
	if r := fleet[1].get("/late"); r.status != 200 || !r.says("hit") || !r.says("detail=shared") || r.header.Get("ETag") != `"1"` {
		t.Errorf("a later miss: %d %v", r.status, r.header)
	}
	if n := fleet[0].o.Count("/late").Total; n != 1 {
		t.Errorf("the origin was asked %d times, want 1", n)
	}
	fleet[1].stored(2)
	fleet[2].do("POST", "/late")
	for i, s := range fleet {
		if r := s.get("/late"); i == 0 && r.says("hit") || r.status != 200 {
			t.Errorf("instance %d after a POST to another: %s", i, r)
		}
	}
	if n := fleet[0].o.Count("/late").Total; n != 3 { // two fills and the POST
		t.Errorf("the origin was asked %d times, want 3", n)
	}
}

// english and german are the fields of two variants of what varies gives.
const english, german = "Accept-Language: en", "Accept-Language: de"

func varies(r origin.Request) origin.Answer {
	return origin.Text("max-age=60", "in "+r.Get("Accept-Language")).With("Vary", "Accept-Language")
}

// A variant that was filled before anybody knew that the key varies is found by
// those who know it.
func TestFleetVariants(t *testing.T) {
	t.Parallel()
	fleet := fleetOf(t, 3, varies)
	for i, tt := range []struct {
		instance int
		field    string
		asked    int // in all
	}{
		{0, english, 1}, // under the key alone
		{1, german, 2},  // which tells that it varies
		{1, english, 2},
		{2, english, 2},
		{2, german, 2},
		{0, german, 2},
	} {
		in := fleet[tt.instance]
		r := in.get("/", tt.field)
		if n := in.o.Count("/").Total; n != tt.asked || r.body != "in "+tt.field[len(tt.field)-2:] {
			t.Errorf("step %d: the origin was asked %d times, want %d: %s", i, n, tt.asked, r)
		}
		in.idle()
	}
}

// calls is how many calls of scripts an engine has counted, but for those by
// which instances say that they live, of which each sets one field.
func calls(t *testing.T, addr string) int {
	t.Helper()
	out, err := exec.Command("redis-cli", "-u", "redis://"+addr, "INFO", "commandstats").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := func(command string) (n int) {
		_, rest, _ := strings.Cut(string(out), "cmdstat_"+command+":calls=")
		_, _ = fmt.Sscanf(rest, "%d", &n)
		return n
	}
	return n("eval") + n("evalsha") + n("ssubscribe") - n("hset")
}

// longestLife is how long the longest-lived of an engine's logs has to live.
func longestLife(t *testing.T, addr string) (left time.Duration) {
	t.Helper()
	logs, err := exec.Command("redis-cli", "-u", "redis://"+addr, "--scan", "--pattern", "ringfence:*}").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range strings.Fields(string(logs)) {
		out, _ := exec.Command("redis-cli", "-u", "redis://"+addr, "PTTL", log).Output()
		ms, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		left = max(left, time.Duration(ms)*time.Millisecond)
	}
	return left
}

// Neither a hit nor an answer that is known not to be shared asks the engine;
// and what is personal to some does not keep others from sharing.
func TestFleetIsLeftAlone(t *testing.T) {
	t.Parallel()
	fleet := fleetOf(t, 2, func(r origin.Request) origin.Answer {
		switch {
		case r.Path() == "/private":
			return origin.Text("private", "yours")
		case r.Get("Cookie") != "":
			return origin.Text("private", "yours")
		}
		return origin.Text("max-age=60", "ours")
	})
	node := fleet[0].h.View().Fleet.Nodes[0].Address
	for _, path := range []string{"/private", "/"} {
		for _, s := range fleet {
			s.get(path)
			s.idle()
		}
		if left := longestLife(t, node); left < 50*time.Second {
			t.Errorf("%s is known for %v, want UncacheableTTL and max-age", path, left)
		}
		before, began := calls(t, node), time.Now()
		for range 100 {
			for _, s := range fleet {
				s.get(path)
			}
		}
		// What an instance says of itself every second is not a request's.
		if n := calls(t, node) - before; n > 2+4*int(time.Since(began)/time.Second) {
			t.Errorf("200 requests for %s asked the engine %d times", path, n)
		}
	}
	if n := fleet[0].o.Count("/").Total; n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
	fleet[0].get("/mixed", "Cookie: a=1")
	fleet[0].idle()
	later()
	for i, s := range fleet {
		if r := s.get("/mixed"); r.body != "ours" || i == 0 && !r.says("stored") || i == 1 && !r.says("detail=shared") {
			t.Errorf("instance %d: %s", i, r)
		}
		s.idle()
	}
}

// Parts of what another instance has are cut from that; an instance that has no
// room for the whole of it asks for them itself.
func TestFleetParts(t *testing.T) {
	t.Parallel()
	addr := engine(t)
	ranges := func(o *Options) { o.Routes[0].RangeFill = 1 << 20 }
	first := newSite(t, always(origin.Answer{Size: 300_000}.With("Cache-Control", "max-age=60")), sharing(addr), ranges)
	waitFor(t, "the engine to be in use", func() bool { return first.h.View().Fleet.Nodes[0].Up })
	first.get("/")
	first.idle()
	for _, tt := range []struct {
		name   string
		memory int64
		asked  int
		status int
	}{{"room", 64 << 20, 1, 206}, {"no room", 100_000, 2, 200}} {
		h := newHandlerFor(t, first.o.Addr(), sharing(addr), ranges, func(o *Options) { o.Memory = tt.memory })
		s := &site{t: t, h: h, o: first.o, addr: serveOn(t, testFront(h))}
		waitFor(t, "the engine to be in use", func() bool { return s.h.View().Fleet.Nodes[0].Up })
		r := s.get("/", "Range: bytes=5-9,100000-100009")
		if n := s.o.Count("/").Total; r.status != tt.status || n != tt.asked {
			t.Errorf("%s: the origin was asked %d times, want %d: %d %v", tt.name, n, tt.asked, r.status, r.header)
		}
	}
}

// With its engine away an instance invalidates what it has; and when it is
// closed it leaves no connection behind.
func TestFleetOfOne(t *testing.T) {
	t.Parallel()
	addr := engine(t)
	clients := func() int {
		out, _ := exec.Command("redis-cli", "-u", "redis://"+addr, "CLIENT", "LIST").Output()
		return strings.Count(string(out), "name=ringfence")
	}
	t.Cleanup(func() { waitFor(t, "its connections to be closed", func() bool { return clients() == 0 }) })
	with := newSite(t, always(origin.Text("max-age=60", "x")), sharing(addr))
	without := newSite(t, always(origin.Text("max-age=60", "x")), sharing("127.0.0.1:1"))
	// What is filled before that is not kept: nobody knows what was struck.
	waitFor(t, "the engine to be in use", func() bool { return with.h.View().Fleet.Nodes[0].Up })
	if clients() == 0 {
		t.Error("its connections have no name")
	}
	for _, s := range []*site{with, without} {
		s.get("/")
		s.stored(1)
		if r := s.get("/"); !r.says("hit") {
			t.Errorf("%s", r)
		}
		s.do("POST", "/")
		if r := s.get("/"); r.says("hit") || s.o.Count("/").Total != 3 {
			t.Errorf("after a POST: %s", r)
		}
	}
}

// A response of the fleet carries its groups: invalidating one of them anywhere
// strikes it everywhere (RFC 9875, section 3).
func TestFleetGroups(t *testing.T) {
	t.Parallel()
	fleet := fleetOf(t, 2, func(r origin.Request) origin.Answer {
		if r.Method == "POST" {
			return origin.Answer{Status: 204}.With("Cache-Group-Invalidation", `"g"`)
		}
		return origin.Text("max-age=60", "x").With("Cache-Groups", `"g"`)
	})
	for _, s := range fleet {
		s.get("/a")
		s.idle()
	}
	if n := fleet[0].o.Count("/a").Total; n != 1 {
		t.Fatalf("the origin was asked %d times", n)
	}
	fleet[0].do("POST", "/b")
	for _, s := range fleet {
		if r := s.get("/a"); r.says("hit") && !r.says("detail=shared") {
			t.Errorf("it is still stored: %s", r)
		}
		s.idle()
	}
	if n := fleet[0].o.Count("/a").Total; n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
}

func TestHeadOfFleet(t *testing.T) {
	fields := wire.Fields{{Name: "Date", Value: "x"}, {Name: "Vary", Value: ""}, {Name: "Vary", Value: "a, b"}}
	b := encodeHead(299, 3*time.Second, "a\x00b", fields)
	status, age, variant, got, err := decodeHead(string(b))
	if err != nil || status != 299 || age != 3*time.Second || variant != "a\x00b" || fmt.Sprint(got) != fmt.Sprint(fields) {
		t.Errorf("%d %v %q %v %v", status, age, variant, got, err)
	}
	for n := range b {
		if _, _, _, cut, err := decodeHead(string(b[:n])); err == nil && len(cut) == len(fields) {
			t.Errorf("%d of %d bytes are a head", n, len(b))
		}
	}
}

func FuzzHeadOfFleet(f *testing.F) {
	f.Add(encodeHead(200, time.Second, "", wire.Fields{{Name: "A", Value: "b"}}))
	f.Add([]byte("\xc8\x01\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		status, age, variant, fields, err := decodeHead(string(b))
		if err != nil {
			return
		}
		again := encodeHead(status, age, variant, fields)
		if s, a, v, g, err := decodeHead(string(again)); err != nil || s != status || a != age || v != variant || fmt.Sprint(g) != fmt.Sprint(fields) {
			t.Errorf("%q becomes %q", b, again)
		}
	})
}

// later lets a moment pass. What was filled just now may count as filled while a
// request waited: how long the engine's answer was on its way is not known.
func later() { <-time.After(100 * time.Millisecond) }
