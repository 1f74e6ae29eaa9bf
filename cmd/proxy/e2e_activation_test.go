package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// activating is what comes before a command that is to find its sockets: only then
// its process id is known.
var activating = []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}

// handed returns the file of a listener, as a service manager hands it on.
func handed(t *testing.T, l net.Listener) *os.File {
	t.Helper()
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// The sockets of a service manager are served, by those that take over as well, and
// stay open when the last one ends.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "body")))
	path := filepath.Join(t.TempDir(), "admin")
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	socket, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	yaml := setup{origins: []*origin.Origin{o}}.yaml()
	yaml = strings.Replace(yaml, "listen: 127.0.0.1:0", "listen: localhost:"+fmt.Sprint(web.Addr().(*net.TCPAddr).Port), 1)
	unused := strings.Replace(yaml, "listen: '127.0.0.1:0'", "listen: 'off'", 1)
	yaml = strings.Replace(yaml, "listen: '127.0.0.1:0'", "listen: 'unix:"+path+"'", 1)
	f := found(t, yaml, activating, []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=admin.socket:web.socket"}, handed(t, socket), handed(t, web))
	f.awaitListening()
	for range 2 {
		f.get("/").must(t, 200)
		f.upgrade()
	}
	f.get("/").must(t, 200)
	replace(t, f.file, unused)
	out, code := command(t, "upgrade", "--admin", f.admin)
	if want := "the socket admin.socket (unix:" + path + ") was handed over by the service manager, and the configuration has no listener with its address"; code != 1 || !strings.Contains(out, want) {
		t.Errorf("%d %s, want 1 and %s", code, out, want)
	}
	_ = syscall.Kill(f.pid, syscall.SIGTERM)
	<-f.ended
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	for _, l := range []net.Listener{web, socket} {
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(soon))
		if served, err := l.Accept(); err != nil {
			t.Errorf("%s: %v", l.Addr(), err)
		} else {
			_ = served.Close()
		}
	}
	f = found(t, unused, activating, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=admin.socket"}, handed(t, socket))
	if code := f.wait(soon); code != 1 {
		t.Errorf("a socket that nothing names: exit code %d", code)
	}
	f = found(t, unused, activating, []string{"LISTEN_FDS=1"}, os.Stdin)
	if code := f.wait(soon); code != 1 {
		t.Errorf("no socket: exit code %d", code)
	}
}

// manager is a service manager, which hears of its service.
type manager struct {
	mu   sync.Mutex
	said []string
}

func newManager(t *testing.T, path string) *manager {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m, ended := new(manager), make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.said = append(m.said, string(b[:n]))
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-ended })
	return m
}

// heard returns what matches so far, in order.
func (m *manager) heard(pattern string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	return slices.DeleteFunc(slices.Clone(m.said), func(s string) bool { return !re.MatchString(s) })
}

// A service manager hears when the service is ready, when it reloads, which process it
// is, that it lives, and that it stops; and of the one that took over from then on.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "body")))
	path := filepath.Join(t.TempDir(), "notify")
	m := newManager(t, path)
	f := found(t, setup{origins: []*origin.Origin{o}}.yaml(), nil, []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=100000"})
	f.awaitListening()
	await := func(what, pattern string, n int) {
		t.Helper()
		eventually(t, what, func() bool { return len(m.heard(pattern)) >= n })
	}
	ready := "READY=1\nSTATUS=serving on " + regexp.QuoteMeta(f.addr)
	await("ready", ready, 1)
	await("alive", "WATCHDOG=1", 3)
	_ = syscall.Kill(f.pid, syscall.SIGHUP)
	await("reloading", `RELOADING=1\nMONOTONIC_USEC=\d+`, 1)
	await("reloaded", ready, 2)
	f.upgrade()
	await("the process", fmt.Sprint("MAINPID=", f.pid), 1)
	await("ready again", ready, 3)
	<-f.exited
	await("alive still", "WATCHDOG=1", len(m.heard("WATCHDOG=1"))+2)
	if said := m.heard("STOPPING=1.*|(?s:STOPPING=1.*)"); len(said) != 0 {
		t.Errorf("the one that handed over says %q", said)
	}
	_ = syscall.Kill(f.pid, syscall.SIGTERM)
	await("stopping", "STOPPING=1\nSTATUS=draining", 1)
	<-f.ended
	order := m.heard(`READY(?s:.*)|RELOADING(?s:.*)|MAINPID=\d+|STOPPING(?s:.*)`)
	got := ""
	for _, said := range order {
		got += said[:2]
	}
	if got != "RERERE"+"MARE"+"ST" {
		t.Errorf("%q", order)
	}
	// One that cannot be reached changes nothing.
	f = found(t, setup{origins: []*origin.Origin{o}}.yaml(), nil, []string{"NOTIFY_SOCKET=" + path + "/none"})
	f.awaitListening()
	f.get("/").must(t, 200)
}
