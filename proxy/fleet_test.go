package proxy

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
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
func fleetOf(t *testing.T, n int, script origin.Script) []*site {
	t.Helper()
	addr := engine(t)
	first := newSite(t, script, sharing(addr))
	sites := []*site{first}
	for range n - 1 {
		h := newHandlerFor(t, first.o.Addr(), sharing(addr))
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
