package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// told is a server that wants a PROXY header on each connection, and answers
// with what it said. targets are what each header was followed by.
type told struct {
	at      net.Listener
	mu      sync.Mutex
	targets map[string][]string
}

func newTold(t *testing.T, header func(*bufio.Reader) (string, error)) *told {
	o := &told{at: listenOn(t, "tcp", "127.0.0.1:0"), targets: map[string][]string{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := o.at.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				o.serve(c, header)
			})
		}
	})
	t.Cleanup(func() {
		_ = o.at.Close()
		running.Wait()
	})
	return o
}

// serve answers requests until the other side ends the connection.
func (o *told) serve(c net.Conn, header func(*bufio.Reader) (string, error)) {
	r := bufio.NewReader(c)
	said, err := header(r)
	if err != nil {
		said = err.Error()
	}
	for n := 1; err == nil; n++ {
		var req *http.Request
		if req, err = http.ReadRequest(r); err != nil {
			break
		}
		o.mu.Lock()
		o.targets[said] = append(o.targets[said], fmt.Sprintf("%s %s, number %d", req.Method, req.RequestURI, n))
		o.mu.Unlock()
		_, err = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
	}
	if !errors.Is(err, io.EOF) {
		o.mu.Lock()
		o.targets[said] = append(o.targets[said], err.Error())
		o.mu.Unlock()
	}
}

// lineOf reads a header of version 1, and gives who is told of, or "nobody".
func lineOf(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	parts := strings.Split(line, " ")
	switch {
	case err != nil || line == "PROXY UNKNOWN\r\n":
		return "nobody", err
	case len(parts) != 6 || parts[0] != "PROXY" || parts[1] != "TCP4":
		return "", fmt.Errorf("no header: %q", line)
	}
	return fmt.Sprintf("%s:%s to %s:%s", parts[2], parts[4], parts[3], strings.TrimSuffix(parts[5], "\r\n")), nil
}

// blockOf is the same for version 2.
func blockOf(r *bufio.Reader) (string, error) {
	var b [28]byte
	if _, err := io.ReadFull(r, b[:16]); err != nil {
		return "", err
	}
	switch fixed := string(b[:16]); {
	case fixed == "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00":
		return "nobody", nil
	case fixed != "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c":
		return "", fmt.Errorf("no header: %q", fixed)
	}
	_, err := io.ReadFull(r, b[16:])
	end := func(address, port []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(address)), uint16(port[0])<<8|uint16(port[1]))
	}
	return fmt.Sprintf("%v to %v", end(b[16:], b[24:]), end(b[20:], b[26:])), err
}

// TestProxyHeaderToServers: a request that is passed on tells of its client's
// connection; a fill, which is for everybody, and a check tell of nobody.
func TestProxyHeaderToServers(t *testing.T) {
	t.Parallel()
	for version, header := range map[string]func(*bufio.Reader) (string, error){"v1": lineOf, "v2": blockOf} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			o := newTold(t, header)
			p := startProxy(t, setup{
				servers:  []string{"{address: '" + o.at.Addr().String() + "', id: one}"},
				upstream: "proxy_protocol: " + version + "\nhealth_check: {path: /check, interval: 1h, wait_for_first_check: on}",
			})
			ask := func(c conn, method, target, want string) {
				c.send(method+" "+target+" HTTP/1.1", "Host: h")
				if r := whole(c.response(method)).must(t, 200); r.body != want {
					t.Errorf("%s %s: the server was told of %s, not %s", method, target, r.body, want)
				}
			}
			a, b := p.dial(), p.dial()
			name := func(c conn) string { return c.LocalAddr().String() + " to " + p.addr }
			ask(a, "OPTIONS", "/a", name(a))
			ask(b, "OPTIONS", "/b", name(b))
			ask(a, "GET", "/fill", "nobody")
			ask(b, "GET", "/fill", "nobody") // from the store
			ask(b, "GET", "/other", "nobody")
			ask(a, "OPTIONS", "/a", name(a))
			o.mu.Lock()
			defer o.mu.Unlock()
			want := map[string][]string{
				"nobody": {"GET /check, number 1", "GET /fill, number 1", "GET /other, number 2"},
				name(a):  {"OPTIONS /a, number 1", "OPTIONS /a, number 2"},
				name(b):  {"OPTIONS /b, number 1"},
			}
			if !maps.EqualFunc(o.targets, want, slices.Equal) {
				t.Errorf("got  %q\nwant %q", o.targets, want)
			}
			if s := p.status().server("one"); s.Standing != "live" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestProxyHeaderToNginx: nginx understands what it is told, and nothing of it
// where it is not told.
func TestProxyHeaderToNginx(t *testing.T) {
	t.Parallel()
	at := startNginx(t)
	for version, status := range map[string]int{"v1": 200, "v2": 200, "off": 502} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, setup{
				servers: []string{"{address: '" + at + "', id: one}"}, route: "cache: off",
				upstream: "proxy_protocol: " + version + "\nhealth_check: {wait_for_first_check: on}",
			})
			c := p.dial()
			c.send("GET / HTTP/1.1", "Host: h")
			client, proxy := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
			want := fmt.Sprintf("%s %d, %s %d", client.IP, client.Port, proxy.IP, proxy.Port)
			if r := whole(c.response("GET")).must(t, status); status == 200 && r.body != want {
				t.Errorf("nginx was told of %q, want %q", r.body, want)
			}
			if s := p.status().server("one"); (s.Standing == "live") != (status == 200) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// startNginx runs an nginx, which make test installs, that wants PROXY headers
// and answers with what they say.
func startNginx(t *testing.T) (address string) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // where not everybody's PATH leads
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "sock")
	config := `daemon off; master_process off; pid pid; error_log stderr alert;
events {}
http {
	access_log off;
	server {
		listen unix:` + socket + ` proxy_protocol;
		location / { return 200 "$proxy_protocol_addr $proxy_protocol_port, $proxy_protocol_server_addr $proxy_protocol_server_port"; }
	}
}`
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
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
	eventually(t, "nginx listens", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "unix:" + socket
}
