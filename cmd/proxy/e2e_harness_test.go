// The end-to-end tests run the real binary on real sockets and assert what its
// users see. Nothing of the proxy is imported.
package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// soon bounds each wait for something that should come at once; the margin is
// for busy machines.
const soon = 15 * time.Second

// binary is the path of the proxy that TestMain builds.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ringfence-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "proxy")
	args := []string{"build", "-o", binary}
	if raceOn {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// setup is a configuration: one upstream, app, and the places where a test
// adds to it in YAML's flow style.
type setup struct {
	top      string           // further lines at the top level
	upstream string           // further lines of the upstream, such as "attempts: 1"
	route    string           // further entries of the route, such as "cache: off"
	origins  []*origin.Origin // servers, whose ids are their names
	servers  []string         // further servers, such as "{address: 'unix:/run/app', id: a}"
}

func (s setup) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n%s\nupstreams:\n  app:\n", s.top)
	if len(s.origins)+len(s.servers) > 0 {
		b.WriteString("    servers:\n")
	}
	for _, o := range s.origins {
		fmt.Fprintf(&b, "      - {address: '%s', id: %s}\n", o.Addr(), o.Name())
	}
	for _, server := range s.servers {
		fmt.Fprintf(&b, "      - %s\n", server)
	}
	for line := range strings.Lines(s.upstream) {
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(line))
	}
	fmt.Fprintf(&b, "routes:\n  - {upstream: app%s}\n", prefixed(s.route))
	return b.String()
}

func prefixed(entries string) string {
	if entries == "" {
		return ""
	}
	return ", " + entries
}

// newOrigin starts an origin that the test's end stops.
func newOrigin(t *testing.T, name string, s origin.Script) *origin.Origin {
	t.Helper()
	o, err := origin.Start(origin.Options{Name: name, Script: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	return o
}

// always is a script of one answer.
func always(a origin.Answer) origin.Script {
	return func(origin.Request) origin.Answer { return a }
}

// target is the path of a row of a table in front of a shared origin.
func target(name string) string { return "/" + url.PathEscape(name) }

// each is a script that answers the target of each row as answer does.
func each[Row any](rows map[string]Row, answer func(Row, origin.Request) origin.Answer) origin.Script {
	byTarget := map[string]Row{}
	for name, row := range rows {
		byTarget[target(name)] = row
	}
	return func(r origin.Request) origin.Answer {
		row, ok := byTarget[r.Path()]
		if !ok {
			return origin.Answer{Status: 404}
		}
		return answer(row, r)
	}
}

// behind starts a proxy in front of one origin with a script.
func behind(t *testing.T, s origin.Script) (*process, *origin.Origin) {
	t.Helper()
	o := newOrigin(t, "one", s)
	return startProxy(t, setup{origins: []*origin.Origin{o}}), o
}

// process is a running proxy.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	addr, admin string
	stdout      *output
	stderr      *output
	exited      chan struct{}
	client      *http.Client
}

// with returns the same process for the use of a subtest.
func (p *process) with(t *testing.T) *process {
	q := *p
	q.t = t
	return &q
}

func startProxy(t *testing.T, s setup) *process {
	t.Helper()
	return runFile(t, s.yaml())
}

// runFile runs `proxy run` on a configuration, and waits until it listens.
func runFile(t *testing.T, yaml string) *process {
	t.Helper()
	p := startCommand(t, "run", "--config", writeFile(t, yaml))
	p.awaitListening()
	return p
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ringfence.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startCommand starts the binary. The test's end stops it with SIGTERM, and
// fails where it does not exit, or its log tells of a panic or a data race.
func startCommand(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, stdout: newOutput(), stderr: newOutput(), exited: make(chan struct{}), client: client}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	// A binary with the race detector sleeps for a second at its end.
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=20")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the exit code is what tells
	}()
	t.Cleanup(p.finish)
	return p
}

func (p *process) finish() {
	p.signal(syscall.SIGTERM)
	if p.t.Failed() {
		p.signal(syscall.SIGKILL) // there may be requests that never end
	}
	select {
	case <-p.exited:
	case <-time.After(soon):
		p.t.Error("proxy did not exit after SIGTERM")
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	log := p.stderr.String()
	for _, bad := range []string{"panic", "DATA RACE", "goroutine "} {
		if strings.Contains(log, bad) {
			p.t.Errorf("the proxy's log has %q", bad)
		}
	}
	if p.t.Failed() {
		p.t.Logf("log of the proxy:\n%s", log[max(0, len(log)-2000):])
	}
}

func (p *process) signal(s os.Signal) {
	_ = p.cmd.Process.Signal(s) // it may have exited by itself
}

// wait returns the exit code.
func (p *process) wait(d time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(d):
		p.t.Fatalf("still running after %s", d)
		return -1
	}
}

// awaitListening reads the addresses from the log.
func (p *process) awaitListening() {
	p.t.Helper()
	ok := p.stderr.await(p.exited, func(log string) bool {
		for line := range strings.Lines(log) {
			var l struct{ Msg, Address, Admin string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "listening" {
				p.addr, p.admin = l.Address, l.Admin
				return true
			}
		}
		return false
	})
	if !ok {
		p.t.Fatalf("the proxy does not listen; its log:\n%s", p.stderr)
	}
}

// status is what the tests use of /api/status.
type status struct {
	ConfigHash string `json:"config_hash"`
	Requests   struct {
		InFlight        int `json:"in_flight"`
		Hits            int
		Forwarded       map[string]int
		Stale, Renewals int
	}
	Flights struct {
		InProgress int `json:"in_progress"`
		Waiting    int
	}
	Memory struct {
		Bytes    int64
		MaxBytes int64 `json:"max_bytes"`
		Entries  int
	}
	Index struct {
		Entries int
	}
	Snapshot snapshotStatus
	Tunnels  struct {
		Open, Total, Refused int
		Ended                map[string]int
		FromClients          int `json:"bytes_from_clients"`
		FromServers          int `json:"bytes_from_servers"`
	}
	Upstreams []struct {
		Name    string
		Limit   int
		Servers []serverStatus
	}
}

type serverStatus struct {
	ID           string
	Standing     string
	Reason       string
	Since, Until time.Time
	Ejections    int
	Share        float64
	LastCheck    string `json:"last_check"`
	InFlight     int    `json:"in_flight"`
	Queued       int
	Idle         int `json:"idle_connections"`
	Requests     int
}

// server returns the server of an id, or nothing.
func (s status) server(id string) serverStatus {
	for _, u := range s.Upstreams {
		for _, srv := range u.Servers {
			if srv.ID == id {
				return srv
			}
		}
	}
	return serverStatus{}
}

// forwarded counts the requests that the store did not answer.
func (s status) forwarded() (n int) {
	for _, of := range s.Requests.Forwarded {
		n += of
	}
	return n
}

// attempts counts the requests that were sent to servers, or meant to be.
func (s status) attempts() (n int) {
	for _, u := range s.Upstreams {
		for _, srv := range u.Servers {
			n += srv.Requests
		}
	}
	return n
}

// up tells which servers are fit, by id.
func (s status) up() map[string]bool {
	m := map[string]bool{}
	for _, u := range s.Upstreams {
		for _, srv := range u.Servers {
			m[srv.ID] = srv.Standing == "live"
		}
	}
	return m
}

func (p *process) status() (s status) {
	p.t.Helper()
	resp, err := http.Get("http://" + p.admin + "/api/status")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// settle waits until no fill is under way: what was answered is stored then,
// as far as it may be.
func (p *process) settle() {
	p.t.Helper()
	eventually(p.t, "no fill under way", func() bool { return p.status().Flights.InProgress == 0 })
}

// eventually polls until ok, and fails the test where it does not become so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(soon); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %s: %s", soon, what)
}

// reaches waits until a condition holds for what reached an origin.
func reaches(t *testing.T, o *origin.Origin, cond func(origin.Record) bool) {
	t.Helper()
	if err := o.WaitFor(cond, soon); err != nil {
		t.Fatalf("%v; record: %+v", err, o.Record())
	}
}

// output collects what a process writes, and can be waited for.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

var _ io.Writer = (*output)(nil)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await blocks until ok accepts the text so far; false after exited or too
// long a time.
func (o *output) await(exited <-chan struct{}, ok func(string) bool) bool {
	late := time.After(soon)
	for {
		o.mu.Lock()
		text, changed := o.text.String(), o.changed
		o.mu.Unlock()
		if ok(text) {
			return true
		}
		select {
		case <-changed:
		case <-exited:
			return ok(o.String())
		case <-late:
			return false
		}
	}
}
