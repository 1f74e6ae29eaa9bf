package main_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// serve runs a server of net/http, over TLS where there is a configuration of it.
func serve(t *testing.T, l net.Listener, secure *tls.Config, h http.HandlerFunc) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener, s.TLS = l, secure
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
}

func listenOn(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.sock")
	serve(t, listenOn(t, "unix", path), nil, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "at ", r.Host, r.RequestURI) })
	p := startProxy(t, setup{
		servers:  []string{"{address: 'unix:" + path + "', id: app}"},
		upstream: "health_check: {path: /ok, wait_for_first_check: on}",
	})
	if r := p.get("/here?q").must(t, 200); r.body != "at "+p.addr+"/here?q" {
		t.Error(r)
	}
	if s := p.status().server("app"); s.Standing != "live" || !strings.Contains(s.LastCheck, "200") {
		t.Errorf("%+v", s)
	}
	missing := startProxy(t, setup{servers: []string{"{address: 'unix:" + path + ".not'}"}})
	missing.get("/").failedBy(t, 502, "connection_refused")
}

// The servers' certificate is for app.internal, of an authority of their own.
func TestTLSToServers(t *testing.T) {
	t.Parallel()
	ours, others := t.TempDir(), t.TempDir()
	authority := newAuthority(t)
	authority.issue(ours, "server", "app.internal")
	authority.issue(ours, "client", "proxy.internal")
	newAuthority(t).issue(others, "client", "proxy.internal")
	pair, err := tls.LoadX509KeyPair(filepath.Join(ours, "server.pem"), filepath.Join(ours, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(ours, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	plain, strict := listenOn(t, "tcp", "127.0.0.1:0"), listenOn(t, "tcp", "127.0.0.1:0")
	hello := func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprint(w, r.TLS.ServerName, " for ", who)
	}
	serve(t, plain, &tls.Config{Certificates: []tls.Certificate{pair}}, hello)
	serve(t, strict, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}, hello)

	const name, shown = "tls_server_name: app.internal\n", "tls_cert_file: DIR/client.pem\ntls_key_file: DIR/client.key\n"
	for what, tt := range map[string]struct {
		at       net.Listener
		upstream string // DIR has the authority's files, OTHER those of another
		body     string // of a 200
		kind     string // of a 502
		check    string // type of the health check
		standing string
	}{
		"own authority":               {at: plain, upstream: name + "tls_ca_file: DIR/ca.pem", body: "app.internal for nobody", standing: "live"},
		"own authority, checked":      {at: plain, upstream: name + "tls_ca_file: DIR/ca.pem", body: "app.internal for nobody", check: "tls", standing: "live"},
		"another authority":           {at: plain, upstream: name + "tls_ca_file: OTHER/ca.pem", kind: "tls_certificate_error", standing: "down"},
		"another, checked":            {at: plain, upstream: name + "tls_ca_file: OTHER/ca.pem", kind: "tls_certificate_error", check: "tls", standing: "down"},
		"another, checked by TCP":     {at: plain, upstream: name + "tls_ca_file: OTHER/ca.pem", kind: "tls_certificate_error", check: "tcp", standing: "live"},
		"the system's authorities":    {at: plain, upstream: name, kind: "tls_certificate_error", standing: "down"},
		"the address for a name":      {at: plain, upstream: "tls_ca_file: DIR/ca.pem", kind: "tls_certificate_error", standing: "down"},
		"another name":                {at: plain, upstream: "tls_server_name: db.internal\ntls_ca_file: DIR/ca.pem", kind: "tls_certificate_error", standing: "down"},
		"insecure":                    {at: plain, upstream: "tls_insecure: on", body: " for nobody", standing: "live"},
		"client's certificate":        {at: strict, upstream: name + shown + "tls_ca_file: DIR/ca.pem", body: "app.internal for proxy.internal", standing: "live"},
		"no certificate":              {at: strict, upstream: name + "tls_ca_file: DIR/ca.pem", kind: "tls_alert_received", standing: "down"},
		"certificate of someone else": {at: strict, upstream: name + strings.ReplaceAll(shown, "DIR", "OTHER") + "tls_ca_file: DIR/ca.pem", kind: "tls_alert_received", standing: "down"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			check := tt.check
			if check == "" {
				check = "http"
			}
			p := startProxy(t, setup{
				servers: []string{"{address: '" + tt.at.Addr().String() + "', id: one}"},
				// A dozen handshakes at once may take a busy machine longer than the
				// second that a check, and a connection, may take by default.
				upstream: "tls: on\nconnect_timeout: 10s\nhealth_check: {type: " + check + ", interval: 30s, timeout: 10s, wait_for_first_check: on}\n" +
					strings.NewReplacer("DIR", ours, "OTHER", others).Replace(tt.upstream),
			})
			if s := p.status().server("one"); s.Standing != tt.standing {
				t.Errorf("the server is %s: %s", s.Standing, s.Reason)
			}
			switch r := p.get("/"); {
			case tt.kind != "":
				r.failedBy(t, 502, tt.kind)
			case r.must(t, 200).body != tt.body:
				t.Error(r)
			}
		})
	}
}

// Each address of a name is a server.
func TestServersOfAName(t *testing.T) {
	t.Parallel()
	ips, err := net.DefaultResolver.LookupHost(context.Background(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	want := map[string]bool{}
	for _, ip := range ips {
		at := net.JoinHostPort(ip, port)
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		serve(t, l, nil, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Served-By", at) })
		want[at] = true
	}
	p := startProxy(t, setup{servers: []string{"{address: 'localhost:" + port + "'}"}, upstream: "resolve: 1s", route: "cache: off"})
	got := map[string]bool{}
	for _, by := range p.placement(60) {
		got[by] = true
	}
	if !maps.Equal(got, want) || !maps.Equal(p.status().up(), want) {
		t.Errorf("answers of %v, servers %v, want %v", got, p.status().up(), want)
	}
	// It goes on being looked up, sooner than by default.
	eventually(t, "three look-ups", func() bool { return p.metric(`ringfence_upstream_lookups_total{upstream="app"}`) >= 3 })
}

// metric is the value of a sample, or 0.
func (p *process) metric(name string) (value float64) {
	p.t.Helper()
	resp, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(whole(resp).body) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			_, _ = fmt.Sscan(v, &value)
		}
	}
	return value
}

// A name that cannot be looked up is no reason not to serve.
func TestServiceThatIsNotThere(t *testing.T) {
	t.Parallel()
	// Names in .onion are not looked up in the DNS (RFC 7686, section 2).
	const service = "_http._tcp.app.onion"
	for other, status := range map[string]int{"": 503, newOrigin(t, "other", nil).Addr(): 200} {
		servers := []string{"{srv: " + service + "}"}
		if other != "" {
			servers = append(servers, "{address: '"+other+"'}")
		}
		p := startProxy(t, setup{servers: servers})
		if r := p.get("/"); status == 503 {
			r.failedBy(t, 503, "destination_unavailable")
		} else {
			r.must(t, status)
		}
		p.logs("servers are not up to date", "look up the service "+service)
	}
}

// logs waits for a line of the log that has all these parts.
func (p *process) logs(parts ...string) {
	p.t.Helper()
	if !p.stderr.await(p.exited, func(log string) bool {
		for line := range strings.Lines(log) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return true
			}
		}
		return false
	}) {
		p.t.Errorf("no line of the log has %q", parts)
	}
}

// A file of servers is followed, while requests run that none of it may harm.
func TestServersFile(t *testing.T) {
	t.Parallel()
	servers := three(t, nil)
	a, b, c := in(servers[0], ""), in(servers[1], "weight: 2"), in(servers[2], "")
	file := newList(t, a, b)
	p := startProxy(t, setup{upstream: "balance_factor: off\nservers_file: '" + file.path + "'", route: "cache: off"}).keepingAlive()
	const keys = 150
	two := p.placement(keys)

	stop, failed := make(chan struct{}), make(chan reply, 1)
	go func() {
		defer close(failed)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if r := p.get(fmt.Sprint("/load", i%keys)); r.err != nil || r.status != 200 {
				failed <- r
				return
			}
		}
	}()
	are := func(ids ...string) {
		t.Helper()
		eventually(t, fmt.Sprint("the servers are ", ids), func() bool {
			return slices.Equal(slices.Sorted(maps.Keys(p.status().up())), ids)
		})
	}
	are("a", "b")
	file.becomes(a, b, c)
	are("a", "b", "c")
	three := p.placement(keys)
	if moved := differ(two, three); len(moved) != 1 || moved["c"] == 0 || moved["c"] > keys/2 {
		t.Errorf("a fourth of the keys should move, to c: %v", moved)
	}
	// What is at fault changes nothing.
	file.becomes(a, "{address: 'nonsense'}")
	p.logs("servers are not up to date", file.path+":2:")
	if now := p.placement(keys); !maps.Equal(now, three) {
		t.Errorf("a file at fault moved keys: %v", differ(three, now))
	}
	file.becomes(a, b)
	are("a", "b")
	if now := p.placement(keys); !maps.Equal(now, two) {
		t.Errorf("without c the keys are not where they were: %v", differ(two, now))
	}
	file.becomes(a, in(servers[1], "weight: 0"), in(servers[2], "backup: on"))
	eventually(t, "b is drained", func() bool { return p.status().server("b").Standing == "drained" })
	for target, by := range p.placement(keys) {
		if by != "a" {
			t.Fatalf("%s was answered by %s", target, by)
		}
	}
	close(stop)
	if r, lost := <-failed; lost {
		t.Errorf("a request failed meanwhile: %s", r)
	}
}

// differ counts the keys that moved, by where they are now.
func differ(before, after map[string]string) map[string]int {
	moved := map[string]int{}
	for target, by := range after {
		if before[target] != by {
			moved[by]++
		}
	}
	return moved
}

// list is a file of servers.
type list struct {
	t    *testing.T
	path string
}

func newList(t *testing.T, servers ...string) list {
	l := list{t, filepath.Join(t.TempDir(), "servers.yaml")}
	l.becomes(servers...)
	return l
}

// becomes renames a new file to it.
func (l list) becomes(servers ...string) {
	l.t.Helper()
	var text strings.Builder
	for _, s := range servers {
		fmt.Fprintln(&text, "-", s)
	}
	if err := os.WriteFile(l.path+".new", []byte(text.String()), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(l.path+".new", l.path); err != nil {
		l.t.Fatal(err)
	}
}
