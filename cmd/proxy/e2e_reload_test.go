package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
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

// replace puts another text in the place of a file, as a whole.
func replace(t *testing.T, file, text string) (hash string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:16]
}

// configured runs the proxy on a file that the test may replace.
func configured(t *testing.T, yaml string) (p *process, file string) {
	t.Helper()
	file = writeFile(t, yaml)
	p = startCommand(t, "run", "--config", file)
	p.awaitListening()
	return p, file
}

// runs waits until the configuration of a hash counts.
func (p *process) runs(hash string) {
	p.t.Helper()
	eventually(p.t, "the new configuration counts", func() bool { return p.status().ConfigHash == hash })
}

// reload asks the admin surface, and returns the answer's status, result and errors.
func (p *process) reload() (status int, result string, errs []string) {
	p.t.Helper()
	resp, err := http.Post("http://"+p.admin+"/api/reload", "", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Result string
		Errors []string
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, a.Result, a.Errors
}

// traffic asks a proxy for what it has stored, and for what it must fetch, over a few
// connections, so often a second, until it is ended.
type traffic struct {
	stop                   context.CancelFunc
	clients                sync.WaitGroup
	asked, missed, dialled atomic.Int64
	failed                 atomic.Pointer[string]
}

const trafficClients = 8

func startTraffic(p *process, hot string, rate int) *traffic {
	l := new(traffic)
	ctx, stop := context.WithCancel(p.t.Context())
	l.stop = stop
	for range trafficClients {
		l.clients.Go(func() {
			transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				l.dialled.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}}
			defer transport.CloseIdleConnections()
			tick := time.NewTicker(time.Second * trafficClients / time.Duration(rate))
			defer tick.Stop()
			for ctx.Err() == nil {
				for _, path := range []string{hot, "/fetched", "/second/fetched"} {
					l.ask(transport, "http://"+p.addr+path, path == hot)
					<-tick.C
				}
			}
		})
	}
	return l
}

func (l *traffic) ask(transport *http.Transport, url string, stored bool) {
	l.asked.Add(1)
	req, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		panic(err) // it is one of a few
	}
	resp, err := transport.RoundTrip(req)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err != nil || resp.StatusCode != 200 || string(body) != "body" {
		text := fmt.Sprintf("%s: %v, %+v, %q", url, err, resp, body)
		l.failed.CompareAndSwap(nil, &text)
		return
	}
	if stored && !strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
		l.missed.Add(1)
	}
}

func (l *traffic) end() {
	l.stop()
	l.clients.Wait()
}

// A hundred reloads in ten seconds, by each way there is, go unnoticed: no request
// fails, what is stored stays, connections stay open, and nothing is left behind.
func TestReloadsUnderLoad(t *testing.T) {
	script := func(r origin.Request) origin.Answer {
		if strings.HasSuffix(r.Path(), "/fetched") {
			return origin.Text("no-store", "body")
		}
		return origin.Text("max-age=3600", "body")
	}
	a, b := newOrigin(t, "a", script), newOrigin(t, "b", script)
	log := filepath.Join(t.TempDir(), "access.log")
	const head = "listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n"
	texts := [2]string{
		head + fmt.Sprintf(`
upstreams:
  app: {servers: [{address: '%s', id: a}, {address: '%s', id: b}], health_check: {path: /, interval: 1s, timeout: 500ms}}
routes: [{upstream: app}]
`, a.Addr(), b.Addr()),
		head + fmt.Sprintf(`
log: {level: warn}
access_log: {path: '%s', format: '{status}', flush: 10ms}
server: {idle_timeout: 70s, max_streams: 10, max_connections: 1000, max_tunnels: 7}
cache: {wait_timeout: 5s, max_fills: 1000}
upstreams:
  app: {servers: [{address: 'localhost:%s', id: b, weight: 2}, {address: '%s', id: a}], balance_factor: off, retry: {budget: 30},
    idle_timeout: 20s, health_check: {path: /check, interval: 1s, timeout: 400ms}}
  second: {servers: [{address: 'localhost:%s', id: a}], balance: round_robin}
routes: [{upstream: app, stale_on_error: 1h}, {upstream: second, path_prefix: /second}]
`, log, portOf(b), a.Addr(), portOf(a)),
	}
	texts[1] = strings.Replace(texts[1], "stale_on_error", "serve_stale_on_error", 1)
	p, file := configured(t, texts[0])
	p.get("/hot").must(t, 200)
	p.settle()
	before := p.metric("go_goroutines")
	rate := 2000
	if raceOn {
		rate = 300
	}
	l := startTraffic(p, "/hot", rate)
	const reloads = 100
	began := time.Now()
	for i := 1; i <= reloads; i++ {
		hash := replace(t, file, texts[i%2])
		switch i % 5 {
		case 0, 1:
			p.signal(syscall.SIGHUP)
		case 2, 3:
			if status, result, errs := p.reload(); status != 200 || result != "success" {
				t.Fatal(i, status, result, errs)
			}
		}
		p.runs(hash)
	}
	took := time.Since(began)
	l.end()
	if why := l.failed.Load(); why != nil {
		t.Errorf("a request failed: %s", *why)
	}
	if l.missed.Load() > 0 || l.dialled.Load() != trafficClients {
		t.Errorf("%d of %d requests: %d were no hits; %d connections", l.missed.Load(), l.asked.Load(), l.missed.Load(), l.dialled.Load())
	}
	if took > 10*time.Second {
		t.Errorf("%d reloads took %v", reloads, took)
	}
	t.Logf("%d requests, %d reloads in %v", l.asked.Load(), reloads, took)
	if n := p.metric(`ringfence_config_reloads_total{result="success"}`); n != reloads {
		t.Errorf("%v of %d reloads counted", n, reloads)
	}
	if n := p.metric(`ringfence_config_reloads_total{result="failure"}`); n != 0 {
		t.Errorf("%v failures", n)
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "no goroutine more than before", func() bool { return p.metric("go_goroutines") <= before })
	if text, err := os.ReadFile(log); err != nil || strings.Trim(string(text), "20\n") != "" || len(text) == 0 {
		t.Errorf("access log: %v, %d bytes", err, len(text))
	}
}

// What cannot be taken over changes nothing, and says where and why, all at once.
func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "body")))
	good := setup{origins: []*origin.Origin{o}, top: "reload: {watch: off}"}.yaml()
	p, file := configured(t, good)
	hash := p.status().ConfigHash
	for name, tt := range map[string]struct{ text, want string }{
		"a fault":      {good + "routs: 1\n", `FILE:10:1: unknown key "routs"; did you mean routes?`},
		"no YAML":      {"listen: [", `FILE:1:`},
		"no file":      {"", "read configuration: open FILE: no such file or directory"},
		"certificates": {strings.Replace(good, "listen: 127.0.0.1:0", "listeners: [{address: '127.0.0.1:0', tls: {certificates: [{cert_file: /none, key_file: /none}]}}]", 1), "listeners[0] 127.0.0.1:0: "},
		"a folder":     {good + "access_log: {path: /none/log}\n", "access_log.path: open /none/log: there is no such folder"},
		"restart": {"cache:\n  memory: 512MiB\n  index_entries: 2048\nlog: {level: debug, format: text}\n" +
			strings.Replace(strings.Replace(good, "listen: 127.0.0.1:0", "listen: 127.0.0.1:1", 1), "admin: {listen: '127.0.0.1:0'}", "admin: {listen: 'off'}", 1),
			"FILE:2:11: cache.memory: needs a restart (256MiB now, 512MiB in the file)\n" +
				"FILE:3:18: cache.index_entries: needs a restart (1048576 now, 2048 in the file)\n" +
				"FILE:4:29: log.format: needs a restart (auto now, text in the file)\n" +
				"FILE:5:9: listen: needs a restart (127.0.0.1:0 now, 127.0.0.1:1 in the file)\n" +
				"FILE:6:17: admin.listen: needs a restart (127.0.0.1:0 now, off in the file)"},
	} {
		if tt.text == "" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		} else {
			replace(t, file, tt.text)
		}
		status, result, errs := p.reload()
		want := strings.ReplaceAll(tt.want, "FILE", file)
		if got := strings.Join(errs, "\n"); status != 422 || result != "failure" || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %d %s\n%s\nwant\n%s", name, status, result, got, want)
		}
		if r := p.get("/"); r.status != 200 || p.status().ConfigHash != hash || p.metric("ringfence_config_last_reload_successful") != 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
	replace(t, file, good)
	if status, result, _ := p.reload(); status != 200 || result != "unchanged" || p.metric("ringfence_config_last_reload_successful") != 1 {
		t.Error(status, result)
	}
	// It is not watched, until it says so itself.
	commented := replace(t, file, "# the same\n"+good)
	p.signal(syscall.SIGHUP)
	p.runs(commented)
	if n := p.metric(`ringfence_config_reloads_total{result="unchanged"}`); n != 2 {
		t.Errorf("%v unchanged", n)
	}
	watched := strings.Replace(good, "watch: off", "watch: on", 1)
	replace(t, file, watched)
	if status, result, errs := p.reload(); status != 200 || result != "success" {
		t.Error(status, result, errs)
	}
	p.runs(replace(t, file, "# and once more\n"+watched))
	demo := startCommand(t, "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", o.Addr())
	demo.awaitListening()
	if status, _, errs := demo.reload(); status != 422 || len(errs) != 1 || !strings.Contains(errs[0], "without a configuration file") {
		t.Error(status, errs)
	}
}

func portOf(o *origin.Origin) string { return o.Addr()[strings.LastIndexByte(o.Addr(), ':')+1:] }

// A file that is not watched counts when that is said, and not before.
func TestReloadUnwatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(name, watch string) (p *process, change func() string) {
		file := filepath.Join(dir, name)
		s := setup{servers: []string{"{address: '127.0.0.1:1'}"}, top: "reload: {watch: " + watch + "}"}
		replace(t, file, s.yaml())
		p = startCommand(t, "run", "--config", file)
		p.awaitListening()
		return p, func() string { return replace(t, file, "# changed\n"+s.yaml()) }
	}
	p, change := run("unwatched", "off")
	other, changeOther := run("watched", "on")
	hash := change()
	other.runs(changeOther()) // by then whoever watches has seen the first one, too
	if p.status().ConfigHash == hash {
		t.Fatal("it was read without a word")
	}
	p.signal(syscall.SIGHUP)
	p.runs(hash)
}

// A Kubernetes ConfigMap is a folder of links into a folder that is a link.
func TestReloadOfAConfigMap(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("no-store", "body")))
	dir := t.TempDir()
	swap := func(name, text string) string {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		hash := replace(t, filepath.Join(dir, name, "ringfence.yaml"), text)
		if err := os.Symlink(name, filepath.Join(dir, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		return hash
	}
	s := setup{origins: []*origin.Origin{o}}
	hash := swap("..1", s.yaml())
	file := filepath.Join(dir, "ringfence.yaml")
	if err := os.Symlink(filepath.Join("..data", "ringfence.yaml"), file); err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, "run", "--config", file)
	p.awaitListening()
	p.runs(hash)
	s.route = "path_prefix: /only"
	p.runs(swap("..2", s.yaml()))
	if r := p.get("/other"); r.status != 404 {
		t.Error(r)
	}
	p.get("/only/this").must(t, 200)
}

// A server that is removed gets nothing new and ends what it has; one that failed
// stays out; one that is new gets its part, and the routes of an upstream that is
// gone are gone with it.
func TestReloadOfServers(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	held := newOrigin(t, "held", func(r origin.Request) origin.Answer {
		a := origin.Text("no-store", "body")
		if r.Path() == "/gone/slow" {
			a.Hold = hold
		}
		return a
	})
	well := newOrigin(t, "well", always(origin.Text("no-store", "body")))
	sick := newOrigin(t, "sick", always(origin.Answer{Status: 503}))
	const head = "listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n"
	member := func(o *origin.Origin) string { return fmt.Sprintf("{address: '%s', id: %s}", o.Addr(), o.Name()) }
	const options = "ejection: {consecutive_failures: 2, base_time: 1h, max_time: 1h, max_ejected: 90}, balance: round_robin"
	p, file := configured(t, head+fmt.Sprintf(`
upstreams:
  app: {servers: [%s, %s, %s], %s}
  gone: {servers: [%s]}
routes: [{upstream: app, cache: off}, {upstream: gone, path_prefix: /gone}]
`, member(held), member(well), member(sick), options, member(held)))
	eventually(t, "the sick server is ejected", func() bool {
		p.get("/")
		return p.status().server("sick").Standing == "ejected"
	})
	until := p.status().server("sick").Until
	slow := make(chan reply, 1)
	go func() { slow <- p.get("/gone/slow") }()
	reaches(t, held, func(r origin.Record) bool { return r.Targets["/gone/slow"].Total == 1 })
	fresh := newOrigin(t, "fresh", always(origin.Text("no-store", "body")))
	p.runs(replace(t, file, head+fmt.Sprintf(`
upstreams:
  app: {servers: [%s, %s, %s], %s, response_timeout: 20s}
routes: [{upstream: app, cache: off, compress: {}}]
`, member(well), member(sick), member(fresh), options)))
	if s := p.status().server("sick"); s.Standing != "ejected" || !s.Until.Equal(until) || s.Share != 0 {
		t.Errorf("%+v", s)
	}
	asked := held.Record().Total
	for range 20 {
		if r := p.get("/gone/other"); r.status != 200 {
			t.Error(r)
		}
	}
	if n := held.Record().Total; n != asked || fresh.Record().Total == 0 || p.status().server("held").ID != "" {
		t.Errorf("the server that is gone got %d requests, the new one %d", n-asked, fresh.Record().Total)
	}
	close(hold)
	if r := <-slow; r.status != 200 || r.body != "body" {
		t.Errorf("in flight when its server went: %v", r)
	}
	if log := p.stderr.String(); !regexp.MustCompile(`configuration reloaded.*\+ upstreams.app.servers\[fresh\].*- upstreams.gone`).MatchString(log) {
		t.Errorf("the log does not say what has changed:\n%s", log)
	}
}

// --diff says what another file would change, and what of it needs a restart.
func TestCheckDiff(t *testing.T) {
	t.Parallel()
	s := setup{servers: []string{"{address: '127.0.0.1:1'}"}}
	before := writeFile(t, s.yaml())
	s.top = "cache: {memory: 1GiB}\nserver: {max_requests: 7}"
	p := startCommand(t, "check", "--config", writeFile(t, s.yaml()), "--diff", before)
	if code := p.wait(soon); code != 0 || p.stdout.String() != "~ server.max_requests: 65536 -> 7\n~ cache.memory: 256MiB -> 1GiB; needs a restart\n" {
		t.Errorf("%d\n%s%s", code, p.stdout, p.stderr)
	}
}
