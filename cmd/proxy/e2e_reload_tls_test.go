package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Another certificate, and other bounds, count from the next connection on, in both
// versions of HTTP; those that are open go on. What the files hold that the proxy
// shows to servers is read again even where nothing else has changed.
func TestReloadOfTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := newAuthority(t)
	authority.issue(dir, "one", "one.internal")
	authority.issue(dir, "two", "two.internal")
	authority.issue(dir, "client", "first.internal")
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "one.pem"), filepath.Join(dir, "one.key"))
	if err != nil {
		t.Fatal(err)
	}
	strict := listenOn(t, "tcp", "127.0.0.1:0")
	serve(t, strict, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		})
	text := fmt.Sprintf(strings.ReplaceAll(`
listeners: [{address: '127.0.0.1:0', tls: {certificates: [{cert_file: DIR/NAME.pem, key_file: DIR/NAME.key}]}}]
admin: {listen: '127.0.0.1:0'}
server: {max_target_size: 64}
upstreams: {app: {servers: [{address: '%s'}], tls: on, tls_server_name: one.internal, tls_ca_file: DIR/ca.pem,
  tls_cert_file: DIR/client.pem, tls_key_file: DIR/client.key}}
routes: [{upstream: app}]`, "DIR", dir), strict.Addr())
	p, file := configured(t, strings.ReplaceAll(text, "NAME", "one"))
	client := func(name string, h2 bool) func(target string) (status int, body string) {
		transport := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}
		if !h2 {
			transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		t.Cleanup(transport.CloseIdleConnections)
		return func(target string) (int, string) {
			resp, err := (&http.Client{Transport: transport, Timeout: soon}).Get("https://" + p.addr + target)
			if err != nil {
				return 0, err.Error()
			}
			if proto := resp.ProtoMajor; (proto == 2) != h2 {
				t.Errorf("HTTP/%d", proto)
			}
			return resp.StatusCode, whole(resp).body
		}
	}
	long := "/" + strings.Repeat("a", 100)
	var open []func(string) (int, string)
	for _, h2 := range []bool{false, true} {
		ask := client("one.internal", h2)
		open = append(open, ask)
		if status, body := ask("/"); status != 200 || body != "first.internal" {
			t.Error(h2, status, body)
		}
		if status, _ := ask(long); status != 414 {
			t.Error(h2, status)
		}
	}
	p.runs(replace(t, file, strings.ReplaceAll(strings.Replace(text, "max_target_size: 64", "max_target_size: 1KiB", 1), "NAME", "two")))
	for i, h2 := range []bool{false, true} {
		if status, body := client("two.internal", h2)(long); status != 200 || body != "first.internal" {
			t.Error(h2, status, body)
		}
		if status, body := client("one.internal", h2)("/"); status != 0 || !strings.Contains(body, "two.internal") {
			t.Error(h2, status, body)
		}
		if h2 { // the connection of HTTP/1 ended with its refusal
			if status, body := open[i]("/"); status != 200 {
				t.Error(status, body)
			}
			if status, _ := open[i](long); status != 414 {
				t.Errorf("a connection from before has other bounds: %d", status)
			}
		}
	}
	authority.issue(dir, "client", "second.internal")
	p.signal(syscall.SIGHUP)
	now := client("two.internal", false)
	late := time.After(soon)
	for {
		_, body := now("/")
		if body == "second.internal" {
			break
		}
		select {
		case <-late:
			t.Fatalf("servers are shown %s", body)
		default:
		}
	}
}
