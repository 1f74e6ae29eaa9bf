package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds what should take milliseconds, on a machine that is busy.
const patience = 10 * time.Second

func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// serve gives every connection to a loopback address to handle, one after
// another, until the test ends.
func serve(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handle(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// answer reads one request head and sends these bytes.
func answer(response string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, response)
		}
	}
}

func TestProbeJudgesAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, response string
		want           outcome
	}{
		{"ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup", outcome{true, "GET /healthz: 200 OK"}},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", outcome{true, "GET /healthz: 204 No Content"}},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nup", outcome{true, "GET /healthz: 200 OK"}},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\n\r\n", outcome{true, "GET /healthz: 200 OK"}},
		{"long body is not read out", "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + strings.Repeat("x", someBody),
			outcome{true, "GET /healthz: 200 OK"}},
		{"interim heads", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			outcome{true, "GET /healthz: 200 OK"}},
		{"redirect is an answer", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
			outcome{true, "GET /healthz: 302 Found"}},
		{"the phrase is ours", "HTTP/1.1 503 all\x1b[31m fine\r\nContent-Length: 0\r\n\r\n", outcome{false, "GET /healthz: 503 Service Unavailable"}},
		{"status without a name", "HTTP/1.1 599 ?\r\nContent-Length: 0\r\n\r\n", outcome{false, "GET /healthz: 599"}},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", outcome{false, "GET /healthz: 101 Switching Protocols"}},
		{"body cut short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup",
			outcome{false, "GET /healthz: body after status 200: connection closed before the answer was complete"}},
		{"nothing", "", outcome{false, "GET /healthz: connection closed before the answer was complete"}},
		{"half a head", "HTTP/1.1 200 OK\r\nServer: x\r\n", outcome{false, "GET /healthz: connection closed before the answer was complete"}},
		{"not HTTP", "SSH-2.0-x\r\n", outcome{false, `GET /healthz: malformed HTTP response "SSH-2.0-x"`}},
		{"endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100),
			outcome{false, "GET /healthz: response head is over 65536 bytes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := serve(t, answer(tt.response))
			c := Check{Path: "/healthz", Interval: patience, Timeout: patience}.withDefaults()
			if got := probe(t.Context(), dialTCP, c, Target{Address: address}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAuthority(t *testing.T) {
	for _, tt := range []struct {
		target   Target
		port     int
		want     string
		certFrom string
	}{
		{Target{Address: "192.0.2.1:80"}, 0, "192.0.2.1:80", "192.0.2.1"},
		{Target{Address: "192.0.2.1:80", Host: "app.internal"}, 0, "app.internal:80", "app.internal"},
		{Target{Address: "192.0.2.1:80", Host: "app.internal"}, 81, "app.internal:81", "app.internal"},
		{Target{Address: "unix:/s"}, 0, "localhost", "localhost"},
		{Target{Address: "unix:/s", Host: "app.internal"}, 0, "app.internal", "app.internal"},
	} {
		got := tt.target.authority(endpoint(tt.target.Address, tt.port))
		if name := (Check{}).clientTLS(got).ServerName; got != tt.want || name != tt.certFrom {
			t.Errorf("%+v: %s, certificate %s", tt.target, got, name)
		}
	}
}

func TestProbeSendsOnePlainRequestPerConnection(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	requests := make(chan *http.Request, 3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer server.Close()
	address := server.Listener.Addr().String()

	seen := map[string]bool{}
	for _, host := range []string{"", "app.example"} {
		c := Check{Path: "/ready?full=1", Host: host}.withDefaults()
		if out := probe(t.Context(), dialTCP, c, Target{Address: address}); !out.ok {
			t.Fatal(out.reason)
		}
		r := <-requests
		if want := orDefault(host, address); r.Host != want {
			t.Errorf("Host is %q, want %q", r.Host, want)
		}
		if r.Method != "GET" || r.RequestURI != "/ready?full=1" || r.UserAgent() != "ringfence-health/1" || !r.Close {
			t.Errorf("got %s %s with %v", r.Method, r.RequestURI, r.Header)
		}
		seen[r.RemoteAddr] = true
	}
	if len(seen) != 2 || len(requests) != 0 {
		t.Errorf("two probes used the connections %v and left %d further requests", seen, len(requests))
	}
}

func TestTCPProbeConnectsOnly(t *testing.T) {
	sent := make(chan int64, 1)
	address := serve(t, func(conn net.Conn) {
		n, _ := io.Copy(io.Discard, conn)
		sent <- n
	})
	out := probe(t.Context(), dialTCP, Check{Kind: TCP}.withDefaults(), Target{Address: address})
	if want := (outcome{true, "connect: accepted"}); out != want {
		t.Errorf("got %+v, want %+v", out, want)
	}
	select {
	case n := <-sent:
		if n != 0 {
			t.Errorf("%d bytes were sent", n)
		}
	case <-time.After(patience):
		t.Error("the connection was left open")
	}
}

// TestPreambleComesFirst, before TLS as well, and is all that a check of TCP says.
func TestPreambleComesFirst(t *testing.T) {
	const preamble = "PROXY UNKNOWN\r\n"
	said := make(chan string, 1)
	address := serve(t, func(conn net.Conn) {
		first := make([]byte, len(preamble))
		_, _ = io.ReadFull(conn, first)
		next, _ := io.ReadAll(io.LimitReader(conn, 3))
		said <- string(first) + string(next)
	})
	for kind, next := range map[Kind]string{HTTP: "GET", HTTPS: "\x16\x03\x01", TLS: "\x16\x03\x01", TCP: ""} {
		c := Check{Kind: kind, Preamble: []byte(preamble), Interval: patience, Timeout: patience}
		out := probe(t.Context(), dialTCP, c.withDefaults(), Target{Address: address})
		if got := <-said; got != preamble+next || out.ok != (kind == TCP) {
			t.Errorf("kind %d: the server was told %q: %+v", kind, got, out)
		}
	}
}

// serveTLS serves HTTP over TLS with a certificate for example.com, *.example.com
// and the loopback addresses, which pool trusts.
func serveTLS(t *testing.T, handler http.HandlerFunc) (address string, pool *x509.CertPool) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	pool = x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return server.Listener.Addr().String(), pool
}

func TestProbeOverTLS(t *testing.T) {
	names := make(chan string, 1)
	address, pool := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		names <- r.Proto + " for " + r.TLS.ServerName
		_, _ = io.WriteString(w, "all is well")
	})
	trusting := &tls.Config{RootCAs: pool}
	for _, tt := range []struct {
		name  string
		check Check
		want  outcome
		says  string // protocol and name that the server saw
	}{
		{"HTTPS, name from the host", Check{Kind: HTTPS, TLS: trusting, Host: "example.com:8443"}, outcome{true, "GET /: 200 OK"}, "HTTP/1.1 for example.com"},
		{"HTTPS, name given", Check{Kind: HTTPS, TLS: &tls.Config{RootCAs: pool, ServerName: "a.example.com"}, Host: "b"},
			outcome{true, "GET /: 200 OK"}, "HTTP/1.1 for a.example.com"},
		{"HTTPS, name from the address", Check{Kind: HTTPS, TLS: trusting}, outcome{true, "GET /: 200 OK"}, "HTTP/1.1 for "},
		{"HTTPS, whatever else is offered", Check{Kind: HTTPS, TLS: &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}}},
			outcome{true, "GET /: 200 OK"}, "HTTP/1.1 for "},
		{"TLS", Check{Kind: TLS, TLS: trusting}, outcome{true, "TLS: handshake finished"}, ""},
		{"wrong name", Check{Kind: TLS, TLS: &tls.Config{RootCAs: pool, ServerName: "app.test"}},
			outcome{false, "TLS: tls: failed to verify certificate: x509: certificate is valid for example.com, *.example.com, not app.test"}, ""},
		{"unknown authority", Check{Kind: HTTPS}, outcome{false, "TLS: tls: failed to verify certificate: x509: certificate signed by unknown authority"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.check
			c.Interval, c.Timeout = patience, patience
			if got := probe(t.Context(), dialTCP, c.withDefaults(), Target{Address: address}); got != tt.want {
				t.Fatalf("got %+v, want %+v", got, tt.want)
			}
			if tt.says != "" {
				if got := <-names; got != tt.says {
					t.Errorf("the server saw %q, want %q", got, tt.says)
				}
			}
		})
	}
}

func TestProbeOfTLSGivesUpOnAStuckServer(t *testing.T) {
	address := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	c := Check{Kind: TLS, Timeout: 50 * time.Millisecond}.withDefaults()
	if got, want := probe(t.Context(), dialTCP, c, Target{Address: address}), (outcome{false, "TLS: timeout after 50ms"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestProbeAsksAsItIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	requests := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests <- fmt.Sprintf("%s %s %s %d %q %q %q", r.Method, r.RequestURI, r.Host, r.ContentLength,
			r.Header["User-Agent"], r.Header["Accept"], r.Header["X-Check"])
	}))
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	for _, tt := range []struct {
		check Check
		want  string
	}{
		{Check{}, `GET / localhost 0 ["ringfence-health/1"] ["*/*"] []`},
		{Check{Method: "HEAD", Host: "app.example", Header: http.Header{"user-agent": {"me"}, "X-Check": {"a", "b"}}},
			`HEAD / app.example 0 ["me"] ["*/*"] ["a" "b"]`},
		{Check{Method: "POST", Path: "/x?y"}, `POST /x?y localhost 0 ["ringfence-health/1"] ["*/*"] []`},
		{Check{Method: "OPTIONS"}, `OPTIONS / localhost 0 ["ringfence-health/1"] ["*/*"] []`},
	} {
		if out := probe(t.Context(), dialTCP, tt.check.withDefaults(), Target{Address: "unix:" + socket}); !out.ok {
			t.Fatal(out.reason)
		}
		if got := <-requests; got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestProbeLooksIntoTheBody(t *testing.T) {
	const missing = "GET /: 200 OK, without the text in its body"
	for _, tt := range []struct {
		name, body string
		want       outcome
	}{
		{"there", "all is well", outcome{true, "GET /: 200 OK"}},
		{"not there", "all is lost", outcome{false, missing}},
		{"at the end of what is read", strings.Repeat("x", maxBody-4) + "well", outcome{true, "GET /: 200 OK"}},
		{"after it", strings.Repeat("x", maxBody-3) + "well", outcome{false, missing}},
	} {
		address := serve(t, answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(tt.body), tt.body)))
		c := Check{Contains: "well", Interval: patience, Timeout: patience}.withDefaults()
		if got := probe(t.Context(), dialTCP, c, Target{Address: address}); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for _, tt := range []struct {
		address     string
		port        int
		network, at string
	}{
		{"a.example:80", 0, "tcp", "a.example:80"},
		{"a.example:80", 8080, "tcp", "a.example:8080"},
		{"[::1]:80", 8080, "tcp", "[::1]:8080"},
		{"unix:/run/a.sock", 0, "unix", "/run/a.sock"},
	} {
		if network, at := endpoint(tt.address, tt.port); network != tt.network || at != tt.at {
			t.Errorf("%s on %d: %s %s", tt.address, tt.port, network, at)
		}
	}
}

func TestProbeNamesRefusal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // its port now refuses
	for _, kind := range []Kind{HTTP, TCP} {
		out := probe(t.Context(), dialTCP, Check{Kind: kind}.withDefaults(), Target{Address: l.Addr().String()})
		if want := (outcome{false, "connect: connection refused"}); out != want {
			t.Errorf("got %+v, want %+v", out, want)
		}
	}
}

// A server that takes the connection and then goes quiet, at any point of the
// answer, fails at the timeout.
func TestProbeGivesUpOnAStuckServer(t *testing.T) {
	for _, response := range []string{"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup"} {
		address := serve(t, func(conn net.Conn) {
			answer(response)(conn)
			_, _ = io.Copy(io.Discard, conn) // until the probe hangs up
		})
		c := Check{Path: "/healthz", Timeout: 50 * time.Millisecond}.withDefaults()
		began := time.Now()
		out := probe(t.Context(), dialTCP, c, Target{Address: address})
		if want := (outcome{false, "GET /healthz: timeout after 50ms"}); out != want {
			t.Errorf("after %q: got %+v, want %+v", response, out, want)
		}
		if took := time.Since(began); took < c.Timeout || took > patience {
			t.Errorf("after %q: took %v", response, took)
		}
	}
}

func TestProbeOutcomeOfDialErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		dial dialFunc
		want string
	}{
		{"no such host", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "app.example"}}
		}, "connect: lookup app.example: no such host"},
		{"panic", func(context.Context, string, string) (net.Conn, error) { panic("boom") }, "probe panicked: boom"},
		{"long text", func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New(strings.Repeat("é", maxReason))
		}, "connect: " + strings.Repeat("é", (maxReason-len("connect: "))/2) + "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := probe(t.Context(), tt.dial, Check{}.withDefaults(), Target{Address: "app.example:80"})
			if out.ok || out.reason != tt.want {
				t.Errorf("got %+v, want %q", out, tt.want)
			}
		})
	}
}

// script is a connection whose other end takes anything and sends what is in
// the script; it counts what was read.
type script struct {
	net.Conn
	sends io.Reader
	read  int
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) Close() error                { return nil }
func (s *script) Read(p []byte) (int, error) {
	n, err := s.sends.Read(p)
	s.read += n
	return n, err
}

// repeat reads as its text over and over.
type repeat string

func (r repeat) Read(p []byte) (int, error) { return copy(p, r), nil }

func TestProbeLeavesALongBodyUnread(t *testing.T) {
	conn := &script{sends: io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"), repeat("x"))}
	status, _, err := ask(conn, Check{}.withDefaults(), "app.example")
	if status != 200 || err != nil || conn.read > 4*someBody {
		t.Errorf("status %d, error %v after %d bytes", status, err, conn.read)
	}
}

// Whatever bytes a server sends, and however long it goes on, a probe comes to
// a verdict after a bounded number of them.
func FuzzAsk(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup", "x")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;ext=y\r\nx\r\n")
	f.Add("", "HTTP/1.1 100 Continue\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\n", "A: b\r\n")
	f.Add("HTTP/1.0 404 \r\n\r\n", "")
	f.Add("HTTP/1.1 200 OK\r\n\r\nall is w", "ell")
	f.Fuzz(func(t *testing.T, head, filler string) {
		conn := &script{sends: strings.NewReader(head)}
		if filler != "" {
			conn.sends = io.MultiReader(conn.sends, repeat(filler))
		}
		status, _, err := ask(conn, Check{Contains: "well"}.withDefaults(), "app.example")
		if err == nil && (status != http.StatusSwitchingProtocols && status < 200 || status > 999) {
			t.Errorf("final status %d", status)
		}
		if conn.read > maxHead+9*maxBody {
			t.Errorf("read %d bytes", conn.read)
		}
	})
}
