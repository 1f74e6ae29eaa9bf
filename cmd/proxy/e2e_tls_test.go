package main_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// guarded starts a proxy with these listeners in YAML's flow style, and returns
// their addresses.
func guarded(t *testing.T, o *origin.Origin, listeners ...string) (*process, []string) {
	t.Helper()
	text := "listeners:\n"
	for _, l := range listeners {
		text += "  - {address: '127.0.0.1:0', " + l + "}\n"
	}
	p := runFile(t, strings.Replace(setup{origins: []*origin.Origin{o}}.yaml(), "listen: 127.0.0.1:0\n", text, 1))
	return p, strings.Fields(p.addr)
}

// shake connects by TLS, for a name, and tells whose certificate it was shown.
func shake(addr string, conf *tls.Config) (*tls.Conn, string, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: soon}, "tcp", addr, conf)
	if err != nil {
		return nil, "", err
	}
	return c, c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func ask(c net.Conn, host string) (*http.Response, error) {
	_ = c.SetDeadline(time.Now().Add(soon))
	if _, err := fmt.Fprintf(c, "GET /x?y HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(resp.Body)
		resp.Status += ": " + string(body)
	}
	return resp, err
}

func TestTLSListeners(t *testing.T) {
	dir, ca := t.TempDir(), newAuthority(t)
	for _, name := range []string{"a.example", "b.example", "client.example"} {
		ca.issue(dir, name, name)
	}
	files := func(name string) string {
		return fmt.Sprintf("{cert_file: '%s.pem', key_file: '%[1]s.key'}", filepath.Join(dir, name))
	}
	roots := x509.NewCertPool()
	if text, err := os.ReadFile(filepath.Join(dir, "ca.pem")); err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.example.pem"), filepath.Join(dir, "client.example.key"))
	if err != nil {
		t.Fatal(err)
	}
	o := newOrigin(t, "a", always(origin.Text("max-age=60", "x").With("strict-transport-security", "max-age=5")))
	both := "certificates: [" + files("a.example") + ", " + files("b.example") + "]"
	p, addrs := guarded(t, o,
		"tls: {"+both+"}, hsts: {max_age: 1h}",
		"tls: {"+both+", min_version: 1.3, http2: off, client_auth: {ca_file: '"+filepath.Join(dir, "ca.pem")+"'}}",
		"redirect_to_https: 8443",
	)
	conf := func(name string) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: name, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	}

	// Certificates by name; the scheme is a part of what is asked for.
	for _, name := range []string{"a.example", "b.example"} {
		c, shown, err := shake(addrs[0], conf(name))
		if err != nil || shown != name {
			t.Fatalf("%s: shown %s, %v", name, shown, err)
		}
		resp, err := ask(c, name)
		if err != nil || resp.StatusCode != 200 || strings.Join(resp.Header["Strict-Transport-Security"], "|") != "max-age=3600" {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
		_ = c.Close()
	}
	if got := o.Record().Requests; len(got) != 2 || got[0].Get("X-Forwarded-Proto") != "https" || got[0].Get("Forwarded") != `for=127.0.0.1;host="a.example";proto=https` {
		t.Errorf("the origin got %+v", got)
	}

	// A new certificate is shown without a restart, and sessions go on.
	session := conf("a.example")
	resumed := func() bool {
		c, _, err := shake(addrs[0], session)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := ask(c, "a.example"); err != nil { // with TLS 1.3 the ticket comes before the answer
			t.Fatal(err)
		}
		return c.ConnectionState().DidResume
	}
	resumed()
	serial := func() string {
		c, _, err := shake(addrs[0], conf("a.example"))
		if err != nil {
			return "none" // between the two files
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	before := serial()
	ca.issue(dir, "a.example", "a.example")
	eventually(t, "the new certificate is shown", func() bool { s := serial(); return s != before && s != "none" })
	if !resumed() {
		t.Error("the session was not resumed")
	}

	// Clients prove who they are.
	if c, _, err := shake(addrs[1], conf("a.example")); err == nil {
		if _, err := ask(c, "a.example"); err == nil {
			t.Error("a client without a certificate was let in")
		}
		_ = c.Close()
	}
	proven := conf("a.example")
	proven.Certificates = []tls.Certificate{own}
	if c, _, err := shake(addrs[1], proven); err != nil {
		t.Error(err)
	} else {
		if resp, err := ask(c, "a.example"); err != nil || resp.StatusCode != 200 || resp.Header["Strict-Transport-Security"][0] != "max-age=5" {
			t.Errorf("%v, %v", resp, err)
		}
		_ = c.Close()
	}
	old := proven.Clone()
	old.MaxVersion = tls.VersionTLS12
	if _, _, err := shake(addrs[1], old); err == nil {
		t.Error("TLS 1.2 was spoken")
	}

	// Who comes without TLS is sent there; who comes without it to TLS is told.
	for host, want := range map[string]string{"A.example:80": "https://a.example:8443/x?y", "": ""} {
		c, err := net.Dial("tcp", addrs[2])
		if err != nil {
			t.Fatal(err)
		}
		resp, err := ask(c, host)
		if err != nil || (resp.StatusCode == 308) != (want != "") || resp.Header.Get("Location") != want {
			t.Errorf("%q: %v, %v", host, resp, err)
		}
		_ = c.Close()
	}
	plain, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if resp, err := ask(plain, "a.example"); err != nil || resp.StatusCode != 400 {
		t.Errorf("plain HTTP to TLS: %v, %v", resp, err)
	}
	eventually(t, "they are counted", func() bool {
		return p.metric(`ringfence_client_connections_rejected_total{reason="handshake"}`) > 1
	})
}

// HTTP/2 by TLS and, where it is allowed, without: the same requests, collapsed
// with those of HTTP/1; and streams in flight end when the proxy is stopped.
func TestHTTP2(t *testing.T) {
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(dir, "a.example", "a.example")
	release := make(chan struct{})
	o := newOrigin(t, "a", func(r origin.Request) origin.Answer {
		if r.Path() == "/held" {
			return origin.Answer{Body: []byte("held"), Hold: release}.With("Cache-Control", "max-age=60")
		}
		return origin.Text("max-age=60", "x")
	})
	p, addrs := guarded(t, o,
		fmt.Sprintf("tls: {certificates: [{cert_file: '%s.pem', key_file: '%[1]s.key'}]}", filepath.Join(dir, "a.example")),
		"h2c: on",
	)
	both := new(http.Protocols)
	both.SetHTTP2(true)
	both.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: both, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}}
	defer tr.CloseIdleConnections()
	h2 := &http.Client{Transport: tr, Timeout: soon}
	get := func(url string) string {
		resp, err := h2.Get(url)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(resp.Proto, " ", whole(resp).body)
	}
	for _, url := range []string{"https://" + addrs[0] + "/a", "http://" + addrs[1] + "/a"} {
		if got := get(url); got != "HTTP/2.0 x" {
			t.Errorf("%s: %s", url, got)
		}
	}
	if r, err := http.Get("http://" + addrs[1] + "/a"); err != nil || r.Proto != "HTTP/1.1" || whole(r).body != "x" {
		t.Errorf("HTTP/1.1 where h2c is spoken: %v, %v", r, err)
	}
	answers := make(chan string, 100)
	for range 100 {
		go func() { answers <- get("http://" + addrs[1] + "/held") }()
	}
	eventually(t, "all to wait", func() bool { return p.status().Flights.Waiting == 100 })
	p.signal(syscall.SIGTERM)
	eventually(t, "the listeners to close", func() bool {
		c, err := net.Dial("tcp", addrs[1])
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(release)
	for range 100 {
		if got := <-answers; got != "HTTP/2.0 held" {
			t.Error(got)
		}
	}
	if n := o.Count("/held").Total; n != 1 {
		t.Errorf("100 streams were %d requests at the origin", n)
	}
	if code := p.wait(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What a trusted peer says of its client is believed, and of an untrusted one not
// even understood.
func TestProxyHeaderIn(t *testing.T) {
	o := newOrigin(t, "a", always(origin.Text("no-store", "x")))
	_, addrs := guarded(t, o, "proxy_protocol: {from: [127.0.0.1]}", "proxy_protocol: {from: [192.0.2.1]}")
	for _, tt := range []struct {
		addr, header string
		status       int
		client       string
	}{
		{addrs[0], "PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\n", 200, "203.0.113.9"},
		{addrs[0], "PROXY TCP6 2001:db8::1 ::1 4000 80\r\n", 200, "2001:db8::1"},
		{addrs[0], "PROXY UNKNOWN\r\n", 200, "127.0.0.1"},
		{addrs[0], "", 0, ""},
		{addrs[1], "PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\n", 400, ""},
		{addrs[1], "", 200, "127.0.0.1"},
	} {
		c, err := net.Dial("tcp", tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, tt.header); err != nil {
			t.Fatal(err)
		}
		resp, err := ask(c, "x")
		switch {
		case tt.status == 0 && err == nil, tt.status != 0 && (err != nil || resp.StatusCode != tt.status):
			t.Errorf("%q: %v, %v", tt.header, resp, err)
		case tt.status == 200:
			got := o.Record().Requests
			if last := got[len(got)-1]; last.Get("X-Forwarded-For") != tt.client {
				t.Errorf("%q: the origin got %+v", tt.header, last)
			}
		}
		_ = c.Close()
	}
}
