package upstream

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTLSReuse: a thousand requests in a row take one handshake.
func TestTLSReuse(t *testing.T) {
	ca := newAuthority(t, "ca")
	run := func(t *testing.T, address string, count func() int64) {
		s := someServer(t, address, func(o *serverOptions) { o.tls = mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"}) })
		for range 1000 {
			mustAsk(t, s, "hello")
		}
		if n := count(); n != 1 || s.reused.Load() != 999 {
			t.Errorf("%d connections, %d requests on a kept one", n, s.reused.Load())
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(fmt.Sprintf("net/http %x", version), func(t *testing.T) {
			var made atomic.Int64
			config := ca.serverTLS(t, "app")
			config.MaxVersion = version
			config.VerifyConnection = func(tls.ConnectionState) error { made.Add(1); return nil }
			srv := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "hello")
			}), ErrorLog: log.New(io.Discard, "", 0)}
			ln := listen(t, "tcp", "127.0.0.1:0")
			var serving sync.WaitGroup
			serving.Go(func() { _ = srv.ServeTLS(ln, "", "") })
			defer serving.Wait()
			defer srv.Close()
			run(t, ln.Addr().String(), made.Load)
		})
		t.Run(fmt.Sprintf("nginx %x", version), func(t *testing.T) {
			address, count := startNginx(t, ca, version)
			run(t, address, count)
		})
	}
}

// startNginx runs an nginx, which make test installs, that answers with "hello" over
// TLS; count says how many connections it was asked on.
func startNginx(t *testing.T, ca *authority, version uint16) (address string, count func() int64) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // where not everybody's PATH leads
	}
	dir := t.TempDir()
	cert, key := ca.issue(t, time.Time{}, "app")
	socket := filepath.Join(dir, "tls.sock")
	files := map[string]string{
		"cert.pem": string(cert.Text), "key.pem": string(key.Text),
		"nginx.conf": fmt.Sprintf(`daemon off; master_process off; pid pid; error_log stderr crit;
events {}
http {
	log_format connection $connection;
	access_log access.log connection;
	server {
		listen unix:%s ssl;
		ssl_certificate cert.pem; ssl_certificate_key key.pem;
		ssl_protocols TLSv1.%d;
		keepalive_requests 10000;
		location / { return 200 hello; }
	}
}`, socket, version-tls.VersionTLS10),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "-p", dir, "-c", "nginx.conf")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("nginx: %v (make deps installs it)", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	until(t, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "unix:" + socket, func() int64 {
		text, err := os.ReadFile(filepath.Join(dir, "access.log"))
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for line := range strings.Lines(string(text)) {
			seen[line] = true
		}
		return int64(len(seen))
	}
}
