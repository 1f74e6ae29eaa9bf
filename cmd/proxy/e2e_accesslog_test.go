package main_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// journal is a proxy's access log, of which some lines have been read.
type journal struct {
	t    *testing.T
	path string
	read int
}

// logging starts a proxy with an access log, of which options are further lines.
func logging(t *testing.T, s setup, options string) (*process, *journal) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	s.top += fmt.Sprintf("\naccess_log: {path: '%s', flush: 10ms%s}\n", path, prefixed(options))
	return startProxy(t, s), &journal{t: t, path: path}
}

// next returns the next n lines, as soon as they are there.
func (j *journal) next(n int) []string {
	j.t.Helper()
	var lines []string
	eventually(j.t, fmt.Sprintf("%d more lines in the access log", n), func() bool {
		lines = j.lines()
		return len(lines) >= j.read+n
	})
	lines = lines[j.read : j.read+n]
	j.read += n
	return lines
}

func (j *journal) lines() []string {
	j.t.Helper()
	text, err := os.ReadFile(j.path)
	if err != nil {
		j.t.Fatal(err)
	}
	whole := text[:strings.LastIndexByte(string(text), '\n')+1]
	return strings.Split(strings.TrimSuffix(string(whole), "\n"), "\n")[:strings.Count(string(whole), "\n")]
}

// differs says in what a line differs from fields such as "status=200 key=*
// error=-": any value there, and none.
func differs(line, want string) (faults []string) {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var got map[string]any
	if err := d.Decode(&got); err != nil {
		return []string{err.Error()}
	}
	for _, pair := range strings.Fields(want) {
		name, value, _ := strings.Cut(pair, "=")
		is, there := got[name]
		text := strings.ReplaceAll(fmt.Sprint(is), " ", "_")
		if ok := there && value == "*" || !there && value == "-" || there && text == value; !ok {
			faults = append(faults, fmt.Sprintf("%s is %s, want %s", name, text, value))
		}
	}
	return faults
}

// accessScript answers by what the target begins with.
func accessScript(r origin.Request) origin.Answer {
	fresh := origin.Answer{Size: 1000}.With("Cache-Control", "max-age=60")
	switch name, _, _ := strings.Cut(strings.TrimPrefix(r.Path(), "/"), "/"); name {
	case "fresh":
		return fresh
	case "large":
		fresh.Size = 400_000
		return fresh
	case "chunked":
		fresh.Framing = origin.Chunked
		return fresh
	case "slow":
		fresh.Delay = 300 * time.Millisecond
		return fresh
	case "private":
		return origin.Text("private", "mine")
	case "dead":
		return origin.Answer{Raw: []byte{}, Ending: origin.Drop}
	case "cut":
		return origin.Answer{Size: 1000, Cut: true, CutAfter: 100}.With("Cache-Control", "max-age=60")
	case "torn":
		return origin.Answer{Size: 1000, Cut: true, CutAfter: 100, Framing: origin.Chunked}.With("Cache-Control", "no-store")
	case "again":
		if r.Get("If-None-Match") != "" {
			return origin.Answer{Status: 304}.With("ETag", `"1"`)
		}
		return origin.Text("max-age=0", "again").With("ETag", `"1"`)
	case "stale":
		switch r.Get("X-Fail") {
		case "503":
			return origin.Answer{Status: 503}
		case "dead":
			return origin.Answer{Raw: []byte{}, Ending: origin.Drop}
		}
		return origin.Text("max-age=0, stale-if-error=60", "stale")
	}
	return origin.Text("", "plain")
}

func get(target string, fields ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(fields, "\r\n"), "\r\n")
}

// TestAccessLog: each request has one line, with what became of it.
func TestAccessLog(t *testing.T) {
	a, b := newOrigin(t, "a", accessScript), newOrigin(t, "b", accessScript)
	p, j := logging(t, setup{origins: []*origin.Origin{a, b}, top: "server: {trusted_proxies: [127.0.0.1], max_target_size: 1KiB}"}, "")
	const passed = "upstream=app route=*/ key=* attempts=1 server=* upstream_time=* "
	for _, tt := range []struct {
		name     string
		requests []string // each on a connection of its own
		want     string   // of the last one's line
	}{
		{"a miss", []string{get("/fresh/1?a=b", "Referer: http://r/", "User-Agent: x \"y\"")}, passed +
			`method=GET scheme=http host=x target=/fresh/1?a=b protocol=HTTP/1.1 tls=- status=200 bytes=1000 complete=true cache=uri-miss
			reason=uri-miss stored=true collapsed=- ttl=* age=0 wait=- error=- upstream_status=- referer=http://r/ user_agent=x_"y"
			time=* first_byte=* duration=* client=127.0.0.1 peer=* request_id=*`},
		{"a hit", []string{get("/fresh/1?a=b")}, `status=200 bytes=1000 complete=true cache=hit reason=- stored=- age=* ttl=*
			attempts=- server=- upstream_time=- wait=- upstream=app route=*/ key=* request_id=- client=127.0.0.1 referer=-`},
		{"a hit for a trusted proxy's client", []string{get("/fresh/1?a=b", "X-Forwarded-For: 192.0.2.9", "X-Request-Id: abc", "X-Forwarded-Proto: http")},
			"cache=hit client=192.0.2.9 request_id=abc"},
		{"a miss for one", []string{get("/fresh/2", "X-Forwarded-For: 1.1.1.1, 192.0.2.9", "X-Request-Id: abc")},
			"cache=uri-miss client=192.0.2.9 request_id=abc"},
		{"the head of a hit", []string{"HEAD /fresh/1?a=b HTTP/1.1\r\nHost: x\r\n\r\n"}, "method=HEAD status=200 bytes=0 complete=true cache=hit"},
		{"a part of a hit", []string{get("/fresh/1?a=b", "Range: bytes=0-9")}, "status=206 bytes=10 cache=hit complete=true"},
		{"parts of a hit", []string{get("/fresh/1?a=b", "Range: bytes=0-9, 20-29")}, "status=206 cache=hit complete=true bytes=*"},
		{"a large hit", []string{get("/large/1"), get("/large/1")}, "status=200 bytes=400000 complete=true cache=hit"},
		{"its head", []string{"HEAD /large/1 HTTP/1.1\r\nHost: x\r\n\r\n"}, "bytes=0 complete=true cache=hit"},
		{"chunks", []string{get("/chunked/1")}, passed + "bytes=1000 complete=true cache=uri-miss"},
		{"HTTP/1.0", []string{"GET /chunked/2 HTTP/1.0\r\n\r\n"}, "protocol=HTTP/1.0 status=200 bytes=1000 complete=true host=-"},
		{"an absolute target", []string{"GET http://Y:80/fresh/3 HTTP/1.1\r\nHost: x\r\n\r\n"}, "target=http://Y:80/fresh/3 host=y"},
		{"an answer for one", []string{get("/private")}, passed + "cache=uri-miss reason=private stored=- ttl=- bytes=4 age=0"},
		{"past the cache", []string{get("/private"), get("/private")}, passed + "cache=miss reason=uncacheable bytes=4"},
		{"a method", []string{"POST /fresh/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"}, passed + "method=POST cache=method reason=method bytes=1000"},
		{"confirmed", []string{get("/again"), get("/again")}, passed + "status=200 cache=stale reason=stale upstream_status=304 bytes=5"},
		{"not modified", []string{get("/again", `If-None-Match: "1"`)}, "status=304 bytes=0 complete=true cache=stale upstream_status=304"},
		{"stale for a failure", []string{get("/stale"), get("/stale", "X-Fail: 503")}, "status=200 cache=stale reason=stale-if-error upstream_status=503 attempts=2 ttl=* bytes=5"},
		{"stale for no answer", []string{get("/stale/2"), get("/stale/2", "X-Fail: dead")},
			"status=200 cache=stale reason=stale-if-error error=connection_terminated attempts=2 complete=true bytes=5"},
		{"no upstream", []string{get("/dead")}, `status=502 cache=uri-miss reason=uri-miss error=connection_terminated attempts=2 server=* upstream_time=*
			complete=true bytes=* request_id=*`},
		{"a body cut short", []string{get("/cut")}, passed + "status=200 bytes=100 complete=false error=http_response_incomplete"},
		{"chunks cut short", []string{get("/torn")}, passed + "status=200 bytes=100 complete=false error=http_response_incomplete"},
		{"nothing stored", []string{get("/nothing", "Cache-Control: only-if-cached")}, "status=504 cache=- reason=request-only-if-cached attempts=- error=-"},
		{"no HTTP", []string{"\x16\x03\x01\r\n\r\n"}, `status=400 reason=refused error=the_method_is_not_a_token method=- target=- protocol=- host=- client=127.0.0.1
			cache=- route=- key=- bytes=* complete=true first_byte=*`},
		{"a field too many", []string{get("/two", "Host: y", "User-Agent: z")}, "status=400 reason=refused error=more_than_one_Host method=GET target=/two user_agent=z"},
		{"a target too long", []string{get("/" + strings.Repeat("x", 2000))}, "status=414 reason=refused error=the_request_target_is_too_long"},
		{"two readings", []string{get("//evil/path")}, "status=400 reason=refused target=//evil/path host=x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j.t = t
			for i, text := range tt.requests {
				c := p.with(t).dial()
				c.write(text)
				method, _, _ := strings.Cut(text, " ")
				_ = whole(c.response(method)) // cut short or not
				c.Close()
				line := j.next(1)[0]
				if i < len(tt.requests)-1 {
					continue
				}
				if faults := differs(line, tt.want); faults != nil {
					t.Errorf("%s\n%s", strings.Join(faults, "\n"), line)
				}
			}
		})
	}
	if n := len(j.lines()); n != j.read {
		t.Errorf("%d lines more than requests", n-j.read)
	}
	resp, err := client.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\nringfence_access_log_lines_total %d\n", j.read); !strings.Contains(whole(resp).body, want) {
		t.Errorf("the metrics do not have %s", want)
	}
}

// Those who wait for another's fill say so: one line of them all counts at the
// origin.
func TestAccessLogOfACrowd(t *testing.T) {
	t.Parallel()
	const n = 20
	p, j := logging(t, setup{origins: []*origin.Origin{newOrigin(t, "a", accessScript)}}, "")
	rs := replies(func() []conn {
		cs := make([]conn, n)
		for i := range cs {
			cs[i] = p.dial()
			cs[i].write(get("/slow"))
		}
		return cs
	}())
	led := 0
	for i, line := range j.next(n) {
		rs[i].must(t, 200)
		if differs(line, "attempts=1 collapsed=- wait=- stored=true server=a upstream_time=* status=200") == nil {
			led++
		} else if faults := differs(line, "attempts=- collapsed=true wait=* server=a upstream_time=- status=200 bytes=1000 cache=uri-miss"); faults != nil {
			t.Errorf("%s\n%s", strings.Join(faults, "\n"), line)
		}
	}
	if led != 1 {
		t.Errorf("%d lines of leaders", led)
	}
}

// The line of an answer that its client did not take says that it is incomplete,
// and blames nobody else.
func TestAccessLogOfALeaver(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	o := newOrigin(t, "a", always(origin.Answer{Size: 64 << 20, Chunk: 1 << 20, Gate: gate}.With("Cache-Control", "no-store")))
	p, j := logging(t, setup{origins: []*origin.Origin{o}}, "only: errors")
	c := p.dial()
	c.write(get("/"))
	c.response("GET")
	_ = c.SetLinger(0)
	c.Close()
	close(gate)
	if faults := differs(j.next(1)[0], "status=200 complete=false error=- bytes=*"); faults != nil {
		t.Errorf("%s\n%s", faults, j.lines())
	}
}

// Who came by TLS is said to have.
func TestAccessLogOfTLS(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(dir, "a.example", "a.example")
	path := filepath.Join(dir, "log")
	o := newOrigin(t, "a", accessScript)
	s := setup{origins: []*origin.Origin{o}, top: fmt.Sprintf("access_log: {path: '%s', flush: 10ms}", path)}
	files := fmt.Sprintf("{cert_file: '%s.pem', key_file: '%[1]s.key'}", filepath.Join(dir, "a.example"))
	p := runFile(t, strings.Replace(s.yaml(), "listen: 127.0.0.1:0\n",
		"listeners: [{address: '127.0.0.1:0', tls: {certificates: ["+files+"]}}]\n", 1))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, _, err := shake(p.addr, &tls.Config{InsecureSkipVerify: true, ServerName: "a.example", MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := ask(c, "a.example"); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		c.Close()
	}
	j := &journal{t: t, path: path}
	for i, line := range j.next(2) {
		if faults := differs(line, []string{"tls=1.2", "tls=1.3"}[i]+" scheme=https host=a.example status=200"); faults != nil {
			t.Errorf("%s\n%s", faults, line)
		}
	}
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}}
	defer tr.CloseIdleConnections()
	h2 := &http.Client{Transport: tr, Timeout: soon}
	for _, tt := range [][2]string{
		{"/fresh/1", "status=200 bytes=1000 complete=true cache=uri-miss"},
		{"/fresh/1", "status=200 bytes=1000 complete=true cache=hit target=/fresh/1"},
		{"/torn", "status=200 bytes=100 complete=false error=http_response_incomplete"},
	} {
		resp, err := h2.Get("https://" + p.addr + tt[0])
		if err != nil {
			t.Fatal(err)
		}
		_ = whole(resp) // cut short or not
		line := j.next(1)[0]
		if faults := differs(line, "protocol=HTTP/2.0 tls=1.3 method=GET client=127.0.0.1 "+tt[1]); faults != nil {
			t.Errorf("%s\n%s", faults, line)
		}
	}
}

// A tunnel has its line when it ends, with what it sent.
func TestAccessLogOfATunnel(t *testing.T) {
	t.Parallel()
	p, j := logging(t, setup{servers: []string{rawOrigin(t, echoes)}}, "")
	c := p.tunnel()
	c.says("hello")
	if lines := j.lines(); len(lines) > 0 {
		t.Errorf("a line before the end: %s", lines)
	}
	_ = c.CloseWrite()
	c.ends()
	if faults := differs(j.next(1)[0], "status=101 bytes=5 complete=true cache=bypass reason=upgrade upstream=app server=raw target=/chat duration=*"); faults != nil {
		t.Errorf("%s\n%s", faults, j.lines())
	}
}

// What is logged is what was asked for.
func TestAccessLogOptions(t *testing.T) {
	t.Parallel()
	const n = 400
	for name, tt := range map[string]struct {
		options     string
		least, most int    // lines of the successes
		line        string // of a failure, up to its length
	}{
		"all, combined":    {"format: combined", n, n, `127.0.0.1 - - [*] "GET /dead/%22 HTTP/1.1" 502 *`},
		"all, by template": {`format: '{client} "{method} {target}" {status} {cache} {error}'`, n, n, `127.0.0.1 "GET /dead/%22" 502 uri-miss connection_terminated`},
		"errors":           {"format: '{status} {target}', only: errors", 0, 0, "502 /dead/%22"},
		"a sample":         {"format: '{status} {target}', sample: 0.25", n/4 - 60, n/4 + 60, "502 /dead/%22"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, j := logging(t, setup{origins: []*origin.Origin{newOrigin(t, "a", accessScript)}}, tt.options)
			kept := p.keepingAlive()
			for range n {
				kept.get("/fresh").must(t, 200)
			}
			p.get("/dead/%22").must(t, 502)
			var lines []string
			eventually(t, "the line of the failure", func() bool {
				lines = j.lines()
				return strings.Contains(strings.Join(lines, "\n"), "/dead")
			})
			last := lines[len(lines)-1] // the connections' lines are in no order
			for _, line := range lines {
				if strings.Contains(line, "/dead") {
					last = line
				}
			}
			if got := len(lines) - 1; got < tt.least || got > tt.most {
				// The last ones may come with the next flush.
				eventually(t, fmt.Sprintf("%d to %d lines, not %d", tt.least, tt.most, got), func() bool {
					got := len(j.lines()) - 1
					return got >= tt.least && got <= tt.most
				})
			}
			parts := strings.Split(tt.line, "*")
			rest := last
			for i, part := range parts {
				at := strings.Index(rest, part)
				if at < 0 || i == 0 && at > 0 {
					t.Fatalf("%s, want %s", last, tt.line)
				}
				rest = rest[at+len(part):]
			}
		})
	}
}

// A log that is renamed and opened anew under load has each request once.
func TestAccessLogIsRotated(t *testing.T) {
	t.Parallel()
	p, j := logging(t, setup{origins: []*origin.Origin{newOrigin(t, "a", accessScript)}}, "format: '{target}'")
	kept := p.keepingAlive()
	const clients, rotations = 4, 5
	var asked atomic.Int64
	var done atomic.Bool
	var asking sync.WaitGroup
	for c := range clients {
		asking.Go(func() {
			for i := 0; !done.Load(); i++ {
				if r := kept.get(fmt.Sprintf("/fresh?%d-%d", c, i)); r.status != 200 {
					t.Errorf("%v", r)
					return
				}
				asked.Add(1)
			}
		})
	}
	for i := range rotations {
		eventually(t, "requests between two rotations", func() bool { return asked.Load() > int64(40*(i+1)) })
		if err := os.Rename(j.path, j.path+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGUSR1)
		eventually(t, "a new file", func() bool { _, err := os.Stat(j.path); return err == nil })
	}
	done.Store(true)
	asking.Wait()
	kept.get("/fresh?last").must(t, 200)
	asked.Add(1)
	p.signal(syscall.SIGTERM)
	p.wait(soon)
	seen, total := map[string]int{}, 0
	for i := range rotations + 1 {
		path := j.path + strconv.Itoa(i)
		if i == rotations {
			path = j.path
		}
		part := journal{t: t, path: path}
		for _, line := range part.lines() {
			seen[line]++
			total++
		}
	}
	if lines := j.lines(); !slices.Contains(lines, "/fresh?last") {
		t.Errorf("the last file has %d lines, and not the last one", len(lines))
	}
	for line, n := range seen {
		if n != 1 {
			t.Errorf("%d lines of %s", n, line)
		}
	}
	if int64(total) != asked.Load() {
		t.Errorf("%d lines of %d requests", total, asked.Load())
	}
}

// A log that takes nothing costs lines, not requests.
func TestAccessLogIsStuck(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, setup{
		origins: []*origin.Origin{newOrigin(t, "a", accessScript)},
		top:     fmt.Sprintf("access_log: {path: '%s', flush: 10ms, buffer: 2MiB}", pipe),
	})
	kept := p.keepingAlive()
	agent, target := "User-Agent: "+strings.Repeat("\xff", 1500), "/fresh?"+strings.Repeat("x", 6000)
	lost := func() int {
		resp, err := client.Get("http://" + p.admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(whole(resp).body, "\nringfence_access_log_dropped_total ")
		n, _, _ := strings.Cut(rest, "\n")
		count, _ := strconv.Atoi(n)
		return count
	}
	asked := 0
	for ; asked < 1000 && lost() == 0; asked++ { // 15 KB each
		kept.get(target, agent).must(t, 200)
	}
	if asked == 1000 {
		t.Fatal("no line was dropped")
	}
	for range 100 {
		kept.get(target, agent).must(t, 200)
	}
	if n := lost(); n < 50 {
		t.Errorf("%d lines are dropped while nobody reads", n)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(soon); code != 0 || !strings.Contains(p.stderr.String(), "the access log is not complete") {
		t.Errorf("exit code %d", code)
	}
}

// The log goes to standard output, too, and SIGUSR1 means nothing without a file.
func TestAccessLogToStdout(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a", accessScript)
	for top, want := range map[string]string{"": "", "access_log: {path: stdout, flush: 10ms, format: '{target}'}": "/one\n/two\n"} {
		p := startProxy(t, setup{origins: []*origin.Origin{o}, top: top})
		p.get("/one").must(t, 200)
		p.signal(syscall.SIGUSR1)
		if want != "" {
			p.stdout.await(p.exited, func(text string) bool { return text == "/one\n" })
		}
		p.get("/two").must(t, 200)
		p.signal(syscall.SIGTERM)
		if code := p.wait(soon); code != 0 || p.stdout.String() != want {
			t.Errorf("%q: exit code %d, output %q", top, code, p.stdout)
		}
	}
}

// What cannot be opened is said at once.
func TestAccessLogCannotBeOpened(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a", accessScript)
	s := setup{origins: []*origin.Origin{o}, top: "access_log: {path: /nowhere/access.log}"}
	p := startCommand(t, "run", "--config", writeFile(t, s.yaml()))
	if code := p.wait(soon); code != 1 || !strings.Contains(p.stderr.String(), "access_log.path: open /nowhere/access.log: there is no such folder") {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
