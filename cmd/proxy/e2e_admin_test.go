package main_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ringfence/loadtest/origin"
)

const adminToken = "a-token-that-is-long-enough"

// withAdmin is a configuration with these options of its section admin.
func withAdmin(s setup, options string) string {
	return strings.Replace(s.yaml(), "admin: {listen: '127.0.0.1:0'}", "admin: {"+options+"}", 1)
}

// operate asks the admin listener: "METHOD PATH", then fields.
func (p *process) operate(what string, fields ...string) reply {
	p.t.Helper()
	method, path, _ := strings.Cut(what, " ")
	path, body, _ := strings.Cut(path, " ")
	req, err := http.NewRequest(method, "http://"+p.admin+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return whole(resp)
}

// command runs the binary to its end.
func command(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	c := startCommand(t, args...)
	code = c.wait(soon)
	return c.stdout.String() + c.stderr.String(), code
}

// Who does not show the token does nothing, nor does a browser for another site;
// who does may use curl -d. The token is what its file says now.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(adminToken)
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "x")))
	p := runFile(t, withAdmin(setup{origins: []*origin.Origin{o}}, "listen: '127.0.0.1:0', token_file: '"+file+"', hosts: [proxy.internal]"))
	const may, form = "Authorization: Bearer " + adminToken, "Content-Type: application/x-www-form-urlencoded"
	for _, tt := range []struct {
		what   string
		fields []string
		status int
	}{
		{"GET /healthz", nil, 200}, {"GET /readyz", nil, 200}, {"GET /metrics", nil, 401}, {"GET /api/status", nil, 401},
		{"GET /api/status", []string{may}, 200}, {"GET /api/status", []string{may + "r"}, 401}, {"GET /debug/pprof/", []string{may}, 404},
		{"GET /api/status", []string{may, "Host: proxy.internal"}, 200}, {"GET /api/status", []string{may, "Host: evil.example"}, 421},
		{`POST /api/purge {"everything":true}`, []string{may, form}, 200}, {`POST /api/purge {"everything":true}`, []string{form}, 401},
		{`POST /api/purge {"everything":true}`, []string{may, form, "Origin: http://evil.example"}, 403},
		{`POST /api/purge {"everything":true}`, []string{may, form, "Origin: http://" + p.admin}, 415},
		{"POST /api/drain?upstream=app&server=one", []string{may, "Sec-Fetch-Site: cross-site"}, 403},
	} {
		r := p.operate(tt.what, tt.fields...).must(t, tt.status)
		if problem := r.header.Get("Content-Type") == "application/problem+json"; problem != (tt.status >= 400) {
			t.Errorf("%s: %s", tt.what, r)
		}
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no token":      {nil, 1, "401: want Authorization: Bearer TOKEN"},
		"the token":     {[]string{"--token-file", file}, 0, "everything: purged"},
		"no such file":  {[]string{"--token-file", file + "x"}, 1, file + "x"},
		"with a scheme": {[]string{"--token-file", file, "--admin", "http://" + p.admin}, 0, "everything: purged"},
	} {
		if out, code := command(t, append([]string{"purge", "--everything", "--admin", p.admin}, tt.args...)...); code != tt.code || !strings.Contains(out, tt.says) {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	write("another-token-as-long")
	p.operate("GET /api/status", may).must(t, 401)
	p.operate("GET /api/status", "Authorization: Bearer another-token-as-long").must(t, 200)
	write("")
	p.operate("GET /api/status", may).must(t, 503)
	p.operate("GET /healthz").must(t, 200)
}

// By a socket, and with a read-only surface; from before the first checks to the
// end of draining.
func TestAdminSocket(t *testing.T) {
	t.Parallel()
	checked, answered := make(chan struct{}), make(chan struct{})
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		a := origin.Text("no-store", "x")
		switch r.Path() {
		case "/checked":
			a.Hold = checked
		case "/held":
			a.Hold = answered
		}
		return a
	})
	socket := filepath.Join(t.TempDir(), "s")
	yaml := withAdmin(setup{
		origins:  []*origin.Origin{o},
		upstream: "health_check: {path: /checked, interval: 1h, timeout: 30s, wait_for_first_check: on}",
	}, "listen: 'unix:"+socket+"', read_only: on, pprof: on")
	file := writeFile(t, yaml)
	p := startCommand(t, "run", "--config", file)
	through := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	ask := func(path string) reply {
		resp, err := through.Get("http://any" + path)
		if err != nil {
			return reply{err: err}
		}
		return whole(resp)
	}
	eventually(t, "the socket to answer", func() bool { return ask("/healthz").status == 200 })
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	eventually(t, "the first checks to be waited for", func() bool {
		r := ask("/readyz")
		return r.status == 503 && strings.Contains(r.body, "upstream app is waited for")
	})
	close(checked)
	p.awaitListening()
	if r := ask("/readyz").must(t, 200); r.body != "ready\n" || p.admin != "unix:"+socket {
		t.Errorf("%s at %s", r, p.admin)
	}
	ask("/debug/pprof/").must(t, 200)
	ask("/debug/pprof/heap").must(t, 200)
	ask("/debug/pprof/none").must(t, 404)
	for _, how := range [][]string{{"--config", file}, {"--admin", "unix:" + socket}} {
		if out, code := command(t, append([]string{"purge", "--everything"}, how...)...); code != 1 || !strings.Contains(out, "read-only (admin.read_only)") {
			t.Errorf("%v: %d %s", how, code, out)
		}
	}
	held := make(chan reply)
	go func() { held <- p.get("/held") }()
	reaches(t, o, func(r origin.Record) bool { return len(r.To("/held")) > 0 })
	p.signal(syscall.SIGTERM)
	eventually(t, "it to drain", func() bool {
		r := ask("/readyz")
		return r.status == 503 && strings.Contains(r.body, "it is draining")
	})
	ask("/healthz").must(t, 200)
	close(answered)
	(<-held).must(t, 200)
	p.wait(soon)
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// With TLS, who shows no certificate does nothing, and probes need none; the
// command trusts a CA, or the certificate of the configuration whatever its name.
func TestAdminTLS(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(dir, "admin", "localhost")
	ca.issue(dir, "operator", "operator")
	in := func(name string) string { return filepath.Join(dir, name) }
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "x")))
	port := freePort(t)
	file := writeFile(t, withAdmin(setup{origins: []*origin.Origin{o}}, "listen: ':"+port+"', tls: {cert_file: '"+in("admin.pem")+
		"', key_file: '"+in("admin.key")+"', client_ca_file: '"+in("ca.pem")+"'}"))
	startCommand(t, "run", "--config", file).awaitListening()
	trusts := []string{"--admin", "https://localhost:" + port, "--ca-file", in("ca.pem")}
	shows := []string{"--cert-file", in("operator.pem"), "--key-file", in("operator.key")}
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a certificate":     {append(trusts, shows...), 0, "everything: purged"},
		"none":              {trusts, 1, "403: want a client's certificate"},
		"of a file":         {append([]string{"--config", file}, shows...), 0, "everything: purged"},
		"of a file, none":   {[]string{"--config", file}, 1, "403"},
		"unknown authority": {append([]string{"--admin", trusts[1]}, shows...), 1, "certificate"},
		"another name":      {append([]string{"--admin", "https://127.0.0.1:" + port}, append(trusts[2:], shows...)...), 1, "127.0.0.1"},
		"without TLS":       {[]string{"--admin", "127.0.0.1:" + port}, 1, "400"},
	} {
		if out, code := command(t, append([]string{"purge", "--everything"}, tt.args...)...); code != tt.code || !strings.Contains(out, tt.says) {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	roots := x509.NewCertPool()
	pem, _ := os.ReadFile(in("ca.pem"))
	roots.AppendCertsFromPEM(pem)
	probe := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := probe.Get("https://localhost:" + port + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	whole(resp).must(t, 200)
}

// The stream shows what happens: requests, the hottest key, a failure.
func TestAdminEvents(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		if r.Path() == "/broken" {
			return origin.Answer{Raw: []byte("nonsense\r\n\r\n")}
		}
		return origin.Text("max-age=60", "x")
	})
	p := startProxy(t, setup{origins: []*origin.Origin{o}, upstream: "retry: {attempts: 1}"})
	resp, err := http.Get("http://" + p.admin + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewScanner(resp.Body)
	events.Buffer(nil, 1<<20)
	var e struct {
		Rates   struct{ Answers, Hits float64 }
		Ratio   *float64 `json:"hit_ratio"`
		HotKeys struct {
			Keys []struct {
				Key, Text string
				Requests  int
			}
		} `json:"hot_keys"`
		Failures []struct{ URL, Kind, Server string }
		Status   struct {
			Upstreams []struct{ Servers []struct{ Ring float64 } }
		}
	}
	p.get("/broken").must(t, 502)
	for range 20 {
		p.get("/hot").must(t, 200)
	}
	for events.Scan() {
		text, isData := strings.CutPrefix(events.Text(), "data: ")
		if !isData {
			continue
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		if e.Rates.Answers > 0 {
			break
		}
	}
	if e.Rates.Answers == 0 || e.Rates.Hits == 0 || e.Ratio == nil || *e.Ratio == 0 || len(e.Failures) != 1 || len(e.HotKeys.Keys) != 2 {
		t.Fatalf("%v: %+v", events.Err(), e)
	}
	if k := e.HotKeys.Keys[0]; k.Text != p.addr+"/hot" {
		t.Errorf("the hottest key is %+v", k)
	}
	if f := e.Failures[0]; f.URL != "http://"+p.addr+"/broken" || f.Kind == "" || f.Server != "one" {
		t.Errorf("the failure is %+v", f)
	}
	if ring := e.Status.Upstreams[0].Servers[0].Ring; ring != 1 {
		t.Errorf("the only server has %v of the ring", ring)
	}
	p.get("/hot").must(t, 200)
	p.settle()
	if out, code := p.purge("--key", e.HotKeys.Keys[0].Key); code != 0 {
		t.Errorf("%s", out)
	}
	if r := p.get("/hot").must(t, 200); r.is("hit") {
		t.Errorf("after the purge of the hottest key: %s", r)
	}
}
