package main_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// newcomers ask each for one answer over a connection of its own, so often a second,
// until stop is called, which returns how many there were.
func newcomers(rate int, ask func() error) (stop func() int64, failed *atomic.Pointer[string]) {
	var asked atomic.Int64
	failed = new(atomic.Pointer[string])
	end := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			tick := time.NewTicker(8 * time.Second / time.Duration(rate))
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				asked.Add(1)
				if err := ask(); err != nil {
					text := err.Error()
					failed.CompareAndSwap(nil, &text)
				}
			}
		})
	}
	return func() int64 { close(end); clients.Wait(); return asked.Load() }, failed
}

// answered asks a URL over a connection of its own.
func answered(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	if r := whole(resp); r.status != 200 || r.err != nil {
		return fmt.Errorf("%s: %v", url, r)
	}
	return nil
}

// lasting asks again and again over one connection, until it is told that this was
// the last answer, and then over another. It fails where it is not told.
func lasting(addr string, end <-chan struct{}) (asked, connections int64, err error) {
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return asked, connections, err
		}
		connections++
		_ = c.SetDeadline(time.Now().Add(soon))
		for br, last := bufio.NewReader(c), false; !last; {
			select {
			case <-end:
				return asked, connections, c.Close()
			case <-time.After(5 * time.Millisecond):
			}
			_, _ = io.WriteString(c, "GET /kept HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				return asked, connections, fmt.Errorf("no answer, and nothing said that the one before was the last: %w", err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			asked++
			last = resp.Close
		}
		_ = c.Close()
	}
}

// Five times in a row another process takes over, and nobody notices: no connection
// is refused or broken off, those that stay open are told when it is over, probes see
// a process that is ready and each request has its line in the access log.
func TestUpgradesUnderLoad(t *testing.T) {
	script := func(r origin.Request) origin.Answer {
		if r.Path() == "/health" {
			return origin.Answer{Delay: 150 * time.Millisecond}
		}
		return origin.Text("max-age=3600", "body")
	}
	o, dir, ca := newOrigin(t, "one", script), t.TempDir(), newAuthority(t)
	ca.issue(dir, "a.example", "a.example")
	log := filepath.Join(dir, "access.log")
	f := foundListening(t, strings.Replace(setup{
		origins: []*origin.Origin{o}, upstream: "health_check: {path: /health, timeout: 1s, wait_for_first_check: on}",
		top: fmt.Sprintf("access_log: {path: '%s', format: '{target}', flush: 10ms}", log),
	}.yaml(), "listen: 127.0.0.1:0\n", fmt.Sprintf("listeners:\n  - {address: '127.0.0.1:0'}\n"+
		"  - {address: '127.0.0.1:0', tls: {certificates: [{cert_file: '%s.pem', key_file: '%[1]s.key'}]}}\n", filepath.Join(dir, "a.example")), 1))
	addrs := strings.Fields(f.addr)
	h2 := &http.Client{Timeout: soon, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}}}
	defer h2.CloseIdleConnections()
	f.addr = addrs[0]
	rate := 500
	if raceOn {
		rate = 100
	}
	stopNew, newFailed := newcomers(rate, func() error { return answered(client, "http://"+addrs[0]+"/new") })
	stopTLS, tlsFailed := newcomers(50, func() error { return answered(h2, "https://"+addrs[1]+"/tls") })
	stopProbes, probeFailed := newcomers(50, func() error { return answered(client, "http://"+f.admin+"/readyz") })
	end, kept := make(chan struct{}), make(chan string, 4)
	var asked, connections atomic.Int64
	for range cap(kept) {
		go func() {
			n, c, err := lasting(addrs[0], end)
			asked.Add(n)
			connections.Add(c)
			kept <- fmt.Sprint(err)
		}()
	}
	const upgrades = 5
	for i := range upgrades {
		if i%2 == 0 {
			f.upgrade()
		} else {
			before := f.pid
			_ = syscall.Kill(before, syscall.SIGUSR2)
			eventually(t, "another process serves", func() bool { f.pid = f.serving(); return f.pid != before })
		}
		if pid := f.serving(); pid != f.pid {
			t.Errorf("%d serves, want %d", pid, f.pid)
		}
	}
	close(end)
	all := stopNew() + stopTLS()
	stopProbes()
	for range cap(kept) {
		if why := <-kept; why != "<nil>" {
			t.Error(why)
		}
	}
	for who, failed := range map[string]*atomic.Pointer[string]{"new": newFailed, "TLS": tlsFailed, "probe": probeFailed} {
		if why := failed.Load(); why != nil {
			t.Errorf("%s: %s", who, *why)
		}
	}
	if n, least := connections.Load(), int64(cap(kept)*(upgrades+1)/2); n < least {
		t.Errorf("%d connections that stay open, want %d or more: the old process has none", n, least)
	}
	want := int(all + asked.Load())
	t.Logf("%d requests", want)
	http.DefaultClient.CloseIdleConnections()
	h2.CloseIdleConnections()
	eventually(t, "a line for each request", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Count(string(text), "\n") == want
	})
	if n := strings.Count(f.stderr.String(), `"stopped"`); n != upgrades {
		eventually(t, "all others end well", func() bool { return strings.Count(f.stderr.String(), `"stopped"`) == upgrades })
	}
}

// A process has the sockets that it listens on, however many there were before it, and
// one whose upgrades fail has no others.
func TestUpgradesKeepNoSockets(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "body")))
	f := foundListening(t, setup{origins: []*origin.Origin{o}, top: "reload: {watch: off}"}.yaml())
	for range 5 {
		f.upgrade()
	}
	eventually(t, "two listeners", func() bool { return f.sockets() == 2 })
	replace(t, f.file, "")
	for range 3 {
		if out, code := command(t, "upgrade", "--admin", f.admin); code != 1 {
			t.Error(out)
		}
	}
	eventually(t, "two listeners", func() bool { return f.sockets() == 2 })
}

// What an old process has begun it ends; who is connected to it, clients and probes,
// is answered well once more, and told that it was the last time.
func TestUpgradeEndsWhatItHasBegun(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		a := origin.Text("no-store", "body")
		if r.Path() == "/held" {
			a.Hold = hold
		}
		return a
	})
	f := foundListening(t, setup{origins: []*origin.Origin{o}}.yaml())
	held := make(chan reply, 1)
	go func() { held <- f.get("/held") }()
	kept, probe := f.dial(), (&process{t: t, addr: f.admin}).dial()
	for _, c := range []conn{kept, probe} {
		c.send("GET /readyz HTTP/1.1", "Host: localhost")
		if resp := c.response("GET"); whole(resp).status != 200 || resp.Close {
			t.Errorf("before: %v", resp)
		}
	}
	reaches(t, o, func(r origin.Record) bool { return r.Targets["/held"].Total == 1 })
	f.upgrade()
	eventually(t, "it drains", func() bool { return strings.Contains(f.stderr.String(), `"stopping"`) })
	for _, c := range []conn{kept, probe} {
		c.send("GET /readyz HTTP/1.1", "Host: localhost")
		if resp := c.response("GET"); whole(resp).status != 200 || !resp.Close {
			t.Errorf("while it drains: %v", resp)
		}
	}
	close(hold)
	if r := <-held; r.status != 200 || r.body != "body" {
		t.Error(r)
	}
	if code := f.wait(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A process that does not come to serve changes nothing, and the operator is told
// why; so is one who asks while another one does.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		if r.Path() == "/slow" {
			return origin.Answer{Delay: 5 * time.Second}
		}
		return origin.Text("max-age=60", "body")
	})
	socket := filepath.Join(t.TempDir(), "admin")
	good := setup{origins: []*origin.Origin{o}, top: "reload: {watch: off}\nupgrade_timeout: 1s"}.yaml()
	good = strings.Replace(good, "listen: '127.0.0.1:0'", "listen: 'unix:"+socket+"'", 1)
	f := foundListening(t, good)
	link := func(path string) {
		_ = os.Remove(f.program)
		if err := os.Symlink(path, f.program); err != nil {
			t.Fatal(err)
		}
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	both := fmt.Sprintf("listeners: [{address: '127.0.0.1:0'}, {address: '%s'}]\n", taken.Addr())
	for i, tt := range []struct{ program, yaml, want string }{
		{"/bin/false", good, "it ended before it was ready (exit status 1)"},
		{script, good, "it was not ready in time (upgrade_timeout) (signal: terminated)"},
		{binary, strings.Replace(good, "routes:", "    health_check: {path: /slow, interval: 9s, timeout: 8s, wait_for_first_check: on}\nroutes:", 1),
			"it was not ready in time (upgrade_timeout) (exit status 0)"},
		{filepath.Join(t.TempDir(), "none"), good, "no such file or directory"},
		{binary, good + "routs: 1\n", f.file + ":11:1: unknown key"},
		{binary, strings.Replace(good, "listen: 127.0.0.1:0\n", both, 1), taken.Addr().String() + ": the address is in use"},
	} {
		link(tt.program)
		replace(t, f.file, tt.yaml)
		first := make(chan string, 1)
		var other string
		if tt.program == script {
			go func() {
				out, code := command(t, "upgrade", "--admin", f.admin)
				first <- fmt.Sprint(code, " ", out)
			}()
			eventually(t, "it is under way", func() bool { return strings.Count(f.stderr.String(), `"upgrading"`) == i+1 })
			_ = syscall.Kill(f.pid, syscall.SIGUSR2)
			other, _ = command(t, "upgrade", "--admin", f.admin)
		} else {
			out, code := command(t, "upgrade", "--admin", f.admin)
			first <- fmt.Sprint(code, " ", out)
		}
		if got := <-first; !strings.HasPrefix(got, "1 upgrade: ") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %s, want 1 and ...%s", tt.program, got, tt.want)
		}
		if tt.program == script && !strings.Contains(other, "409: an upgrade is under way") {
			t.Errorf("meanwhile: %s", other)
		}
		f.get("/").must(t, 200)
		out, code := command(t, "purge", "--admin", f.admin, "--everything")
		if code != 0 {
			t.Errorf("%s: the admin socket: %s", tt.program, out)
		}
	}
	if n := strings.Count(f.stderr.String(), "the upgrade failed, this process goes on"); n != 6 {
		t.Errorf("%d failures in the log", n)
	}
	// One that is told to stop takes the one that is not ready with it.
	link(script)
	_ = syscall.Kill(f.pid, syscall.SIGUSR2)
	eventually(t, "it is under way", func() bool { return strings.Count(f.stderr.String(), `"upgrading"`) == 7 })
	f.signal(syscall.SIGTERM)
	if code := f.wait(soon); code != 0 || !strings.Contains(f.stderr.String(), "the proxy was told to stop") {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket's file is left")
	}
}

// A listener that the new configuration has no longer is closed, with its file, and
// one that it adds is there; a socket that stays keeps its file.
func TestUpgradeOfListeners(t *testing.T) {
	t.Parallel()
	o, dir := newOrigin(t, "one", always(origin.Text("max-age=60", "body"))), t.TempDir()
	text := func(listeners, socket string) string {
		s := strings.Replace(setup{origins: []*origin.Origin{o}, top: "reload: {watch: off}"}.yaml(), "listen: 127.0.0.1:0\n", "listeners: ["+listeners+"]\n", 1)
		return strings.Replace(s, "listen: '127.0.0.1:0'", "listen: 'unix:"+filepath.Join(dir, socket)+"'", 1)
	}
	f := foundListening(t, text("{address: '127.0.0.1:0'}, {address: 'localhost:0'}", "a"))
	addrs := strings.Fields(f.addr)
	next := func(yaml string) []string {
		replace(t, f.file, yaml)
		heard := strings.Count(f.stderr.String(), `"listening"`)
		f.upgrade()
		eventually(t, "the old one has ended", func() bool {
			return strings.Count(f.stderr.String(), `"stopped"`) == heard
		})
		all := regexp.MustCompile(`"listening","address":"([^"]*)","admin":"([^"]*)"`).FindAllStringSubmatch(f.stderr.String(), -1)
		last := all[len(all)-1]
		f.addr, f.admin = last[1], last[2]
		return strings.Fields(f.addr)
	}
	answers := func(addr string) bool { return answered(client, "http://"+addr+"/") == nil }
	there := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	// The address of a free port that it got is the same listener.
	now := next(text("{address: '127.0.0.1:0'}, {address: 'localhost:0'}, {address: '127.0.0.1:0'}", "a"))
	if now[0] != addrs[0] || now[1] != addrs[1] || !answers(now[2]) || !there("a") {
		t.Errorf("%v, before %v; the socket's file: %v", now, addrs, there("a"))
	}
	now = next(text("{address: '"+now[2]+"'}", "b"))
	if len(now) != 1 || !answers(now[0]) || answers(addrs[0]) || answers(addrs[1]) || there("a") || !there("b") {
		t.Errorf("%v of %v; %v %v", now, addrs, there("a"), there("b"))
	}
	now = next(text("{address: '"+now[0]+"'}", "b"))
	if len(now) != 1 || !answers(now[0]) || !there("b") {
		t.Errorf("%v; %v", now, there("b"))
	}
	_ = syscall.Kill(f.pid, syscall.SIGTERM)
	<-f.ended
	if there("b") {
		t.Error("the last one leaves its file")
	}
}
