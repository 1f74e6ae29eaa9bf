package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// keeping is a proxy whose memory outlasts it, with no host in its keys: its
// address is another one each time.
func keeping(file, interval, shared string, o *origin.Origin) setup {
	return setup{
		route:   "cache_key: [path, query]",
		top:     fmt.Sprintf("cache: {snapshot: {file: '%s', interval: %s}%s}", file, interval, prefixed(shared)),
		origins: []*origin.Origin{o},
	}
}

// awaitLog waits until the proxy has said something.
func (p *process) awaitLog(words string) {
	p.t.Helper()
	if !p.stderr.await(p.exited, func(log string) bool { return strings.Contains(log, words) }) {
		p.t.Fatalf("it never says %q; its log:\n%s", words, p.stderr)
	}
}

const isLoaded = "the snapshot of the memory tier is loaded"

// What was stored answers after a restart without a server, as old as it is; what
// was purged, while it ran or after the last writing, does not, however it ended; and
// no file does harm.
func TestMemoryOutlastsTheProcess(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		text := strconv.FormatInt(version.Load(), 10)
		return origin.Text("max-age=600", text+r.Get("X-A")).With("Age", "100").With("Vary", "X-A")
	})
	file := filepath.Join(t.TempDir(), "cache")
	paths := []string{"/a", "/b", "/c", "/d"}
	p := startProxy(t, keeping(file, "off", "", o))
	p.awaitLog("there is no snapshot")
	for _, path := range paths {
		p.get(path, "X-A: 1").must(t, 200)
		p.get(path, "X-A: 2").must(t, 200)
	}
	p.settle()
	p.purge("http://any.example/a")
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(soon); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	version.Add(1)

	p = startProxy(t, keeping(file, "1s", "", o))
	p.awaitLog(isLoaded)
	for _, path := range paths[1:] {
		for _, field := range []string{"1", "2"} {
			r := p.get(path, "X-A: "+field).must(t, 200)
			if age, _ := strconv.Atoi(r.header.Get("Age")); r.body != "0"+field || !r.is("hit") || age < 100 || age > 101+int(time.Since(began).Seconds())+1 {
				t.Errorf("%s after a restart: %s", path, r)
			}
		}
	}
	if r := p.get("/a", "X-A: 1"); r.body != "11" {
		t.Errorf("purged before the restart: %s", r)
	}
	if n := o.Count("/b").Total; n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
	// What is there at a writing outlasts a kill, but for what was purged since.
	p.get("/e", "X-A: 1").must(t, 200)
	p.settle()
	stored := p.snapshot().Writes
	eventually(t, "another writing", func() bool { return p.snapshot().Writes > stored+1 })
	p.purge("http://any.example/b")
	p.do("POST", "/c", "x").must(t, 200)
	p.signal(syscall.SIGKILL)
	p.wait(soon)
	version.Add(1)

	p = startProxy(t, keeping(file, "off", "", o))
	p.awaitLog(isLoaded)
	for path, want := range map[string]string{"/b": "21", "/c": "21", "/d": "01", "/e": "11"} {
		if r := p.get(path, "X-A: 1"); r.body != want || r.is("hit") == (want == "21") {
			t.Errorf("%s after a kill: %s", path, r)
		}
	}
	if s := p.snapshot(); s.Phase != "ready" || s.LoadedEntries == 0 || s.Skipped["struck"] == 0 {
		t.Errorf("status %+v", s)
	}
	p.signal(syscall.SIGTERM)
	p.wait(soon)

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"foreign": "nonsense", "damaged": string(whole[:len(whole)-100]), "empty": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p = startProxy(t, keeping(file, "off", "", o))
		p.awaitLog("the snapshot of the memory tier was not loaded to its end")
		if r := p.get("/new", "X-A: "+name).must(t, 200); r.is("hit") {
			t.Errorf("%s: %s", name, r)
		}
		p.signal(syscall.SIGTERM)
		p.wait(soon)
	}
	if left, _ := filepath.Glob(file + "*.tmp"); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

type snapshotStatus struct {
	Phase         string
	Writes        int
	LoadedEntries int `json:"loaded_entries"`
	Skipped       map[string]int
}

func (p *process) snapshot() snapshotStatus { return p.status().Snapshot }

// A successor waits for the files of the process before it, and has what that one
// had at its end.
func TestSnapshotIsHandedOver(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=600", "x")))
	s := keeping(filepath.Join(t.TempDir(), "cache"), "off", "", o)
	first := startProxy(t, s)
	first.get("/").must(t, 200)
	first.settle()
	second := startProxy(t, s)
	second.awaitLog("it waits for its files")
	first.signal(syscall.SIGTERM)
	second.awaitLog(isLoaded)
	if r := second.get("/").must(t, 200); !r.is("hit") {
		t.Errorf("after the first one's end: %s", r)
	}
}

// A process that takes over goes on with what the one before it had, as soon as
// that has ended, and without what was purged there to the last.
func TestSnapshotOutlastsAnUpgrade(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=600", "x")))
	file := filepath.Join(t.TempDir(), "cache")
	f := foundListening(t, keeping(file, "off", "", o).yaml())
	f.awaitLog("there is no snapshot of the memory tier yet")
	for _, path := range []string{"/a", "/b"} {
		f.get(path).must(t, 200)
	}
	f.settle()
	if out, code := command(t, "purge", "--admin", f.admin, "http://"+f.addr+"/b"); code != 0 {
		t.Fatal(out)
	}
	asked := o.Record().Total
	f.upgrade()
	f.awaitLog(isLoaded)
	if r := f.get("/a").must(t, 200); !r.is("hit") || o.Record().Total != asked {
		t.Errorf("not purged: %s", r)
	}
	if r := f.get("/b").must(t, 200); r.is("hit") || o.Record().Total != asked+1 {
		t.Errorf("purged: %s", r)
	}
}

// An instance that was away does not bring back what the fleet has purged
// meanwhile; where it cannot learn of that, it brings nothing back.
func TestSnapshotInAFleet(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=600", "x")))
	redis := startRedis(t, "")
	shared := "shared: {redis: {addresses: ['127.0.0.1:" + redis.port + "']}, timeout: 300ms, lease_ttl: 2s}"
	file := filepath.Join(t.TempDir(), "cache")
	other := startProxy(t, setup{route: "cache_key: [path, query]", top: "cache: {" + shared + "}", origins: []*origin.Origin{o}})
	eventually(t, "the fleet to be confirmed", func() bool { _, code := other.purge("--everything"); return code == 0 })
	p := startProxy(t, keeping(file, "off", shared, o))
	p.awaitLog("the fleet's engine is in use")
	stop := func() {
		p.signal(syscall.SIGTERM)
		p.wait(soon)
	}
	for _, path := range []string{"/a", "/b"} {
		p.get(path).must(t, 200)
	}
	p.settle()
	stop()
	if out, code := other.purge("http://any.example/a"); code != 0 {
		t.Fatal(out)
	}
	asked := o.Record().Total
	p = startProxy(t, keeping(file, "off", shared, o))
	p.awaitLog(isLoaded)
	if r := p.get("/b").must(t, 200); !r.is("hit") || o.Record().Total != asked {
		t.Errorf("not purged: %s", r)
	}
	if r := p.get("/a").must(t, 200); r.is("hit") || o.Record().Total != asked+1 {
		t.Errorf("purged while it was away: %s", r)
	}
	p.settle()
	stop()
	redis.ask("FLUSHALL")
	p = startProxy(t, keeping(file, "off", shared, o))
	p.awaitLog("the snapshot of the memory tier")
	if r := p.get("/b").must(t, 200); r.is("hit") {
		t.Errorf("the engine has lost what was purged: %s", r)
	}
}
