package main_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// visit is a request head at a raw origin, and the connection that it came on.
type visit struct {
	*net.TCPConn
	br  *bufio.Reader
	req *http.Request
}

func (v visit) send(s string) { _, _ = io.WriteString(v, s) }

// agree switches to what was asked for, as a WebSocket server does (RFC 6455,
// section 4.2.2).
func (v visit) agree() {
	sum := sha1.Sum([]byte(v.req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	v.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade, X-Mine\r\nUpgrade: WebSocket\r\nX-Mine: no\r\nContent-Length: 9\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
}

// rawOrigin runs script for the request heads of each connection as they come,
// and closes the connection when it says so. The test's end stops it.
func rawOrigin(t *testing.T, script func(visit) (goOn bool)) (server string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(soon))
				for br := bufio.NewReader(c); ; {
					req, err := http.ReadRequest(br)
					if err != nil || !script(visit{c.(*net.TCPConn), br, req}) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return fmt.Sprintf("{address: '%s', id: raw}", l.Addr())
}

// echoes switches and sends back what comes, until its end.
func echoes(v visit) bool {
	v.agree()
	_, _ = io.Copy(v, v.br)
	return false
}

// before starts a proxy in front of a raw origin.
func before(t *testing.T, s setup, script func(visit) bool) *process {
	t.Helper()
	s.servers = []string{rawOrigin(t, script)}
	return startProxy(t, s)
}

// handshake is a client's (RFC 6455, section 1.3).
var handshake = []string{"GET /chat HTTP/1.1", "Host: x", "Connection: keep-alive, upgrade", "Upgrade: websocket",
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: chat"}

// tunnel opens a tunnel.
func (p *process) tunnel() conn {
	p.t.Helper()
	c := p.dial()
	c.send(handshake...)
	if head := c.head(); head[0] != "HTTP/1.1 101 Switching Protocols" {
		p.t.Fatalf("got %q", head)
	}
	return c
}

// says sends a text through an echoing tunnel and waits for it.
func (c conn) says(text string) {
	c.t.Helper()
	c.write(text)
	if got := c.read(c.br, len(text)); got != text {
		c.t.Errorf("the echo of %q is %q", text, got)
	}
}

// ends waits for the end of the connection and returns what came before it, and
// whether it was a regular one.
func (c conn) ends() (rest string, regular bool) {
	c.t.Helper()
	all, err := io.ReadAll(c.br)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Error("the connection does not end")
	}
	return string(all), err == nil
}

// A client that may switch gets a tunnel: the origin is asked for that one
// protocol, gets nothing of the client before it agrees, and then all of it.
func TestTunnel(t *testing.T) {
	t.Parallel()
	agree := make(chan struct{})
	p := before(t, setup{}, func(v visit) bool {
		h := v.req.Header
		if got := strings.Join(append(h["Connection"], h["Upgrade"]...), "|"); got != "Upgrade|websocket" {
			t.Errorf("asked by Connection and Upgrade %q", got)
		}
		if h.Get("Sec-Websocket-Key") == "" || h.Get("Sec-Websocket-Version") != "13" || h.Get("X-Forwarded-For") == "" || h["Http2-Settings"] != nil {
			t.Errorf("asked with %v", h)
		}
		_ = v.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if b, err := v.br.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %q, %v before the switch", b, err)
		}
		_ = v.SetReadDeadline(time.Now().Add(soon))
		close(agree)
		return echoes(v)
	})
	c := p.dial()
	lines := append([]string{handshake[0], "Connection: HTTP2-Settings", "HTTP2-Settings: AAMAAABk"}, handshake[1:]...)
	lines[5] = "Upgrade: h2c, other, WebSocket"
	c.write(strings.Join(lines, "\r\n") + "\r\n\r\nearly, ")
	<-agree
	head := c.head()
	c.write("late")
	if got := c.read(c.br, 11); got != "early, late" {
		t.Errorf("the echo is %q", got)
	}
	want := []string{"HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol: chat", "Cache-Status: ringfence; fwd=bypass; detail=upgrade"}
	if fmt.Sprint(head) != fmt.Sprint(want) {
		t.Errorf("the answer is %q, want %q", head, want)
	}
	if s := p.status(); s.Tunnels.Open != 1 || s.server("raw").InFlight != 1 || s.Requests.Forwarded["upgrade"] != 1 {
		t.Errorf("with a tunnel: %+v", s)
	}
	_ = c.CloseWrite()
	if rest, regular := c.ends(); rest != "" || !regular {
		t.Errorf("at the end: %q, %v", rest, regular)
	}
	eventually(t, "the end of the tunnel", func() bool {
		s := p.status()
		return s.Tunnels.Open == 0 && s.server("raw").InFlight == 0 && s.Tunnels.Ended["closed"] == 1
	})
	if s := p.status().Tunnels; s.Total != 1 || s.FromClients != 11 || s.FromServers != 11 {
		t.Errorf("after it: %+v", s)
	}
}

// Whoever asks for something else is served as if it had not asked.
func TestNoTunnel(t *testing.T) {
	t.Parallel()
	script := func(v visit) bool {
		if v.req.Header["Connection"] != nil || v.req.Header["Upgrade"] != nil {
			v.send("HTTP/1.1 400 Asked\r\nContent-Length: 0\r\n\r\n")
			return true
		}
		body, _ := io.ReadAll(v.req.Body)
		v.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s", len(body)+5, "plain"+string(body)))
		return true
	}
	websocket := "Connection: upgrade|Upgrade: websocket"
	p, off := before(t, setup{}, script), before(t, setup{route: "upgrade: []"}, script)
	for _, tt := range []struct {
		name   string
		p      *process
		line   string
		fields string
		body   string
		hits   bool
	}{
		{"h2c", p, "GET /a HTTP/1.1", "Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AA", "", true},
		{"not allowed", p, "GET /b HTTP/1.1", "Connection: upgrade|Upgrade: chat", "", true},
		{"none allowed", off, "GET /c HTTP/1.1", websocket, "", true},
		{"a version", p, "GET /d HTTP/1.1", "Connection: upgrade|Upgrade: websocket/13", "", true},
		{"not in Connection", p, "GET /e HTTP/1.1", "Connection: keep-alive|Upgrade: websocket", "", true},
		{"no Upgrade", p, "GET /f HTTP/1.1", "Connection: upgrade", "", true},
		{"HTTP/1.0", p, "GET /g HTTP/1.0", "Connection: upgrade, keep-alive|Upgrade: websocket", "", true},
		{"a body", p, "POST /h HTTP/1.1", websocket + "|Content-Length: 2", "hi", false},
		{"a body in chunks", p, "GET /i HTTP/1.1", websocket + "|Transfer-Encoding: chunked", "2\r\nhi\r\n0\r\n\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "plain"
			if tt.body != "" {
				want += "hi"
			}
			for i := range 2 {
				c := tt.p.with(t).dial()
				c.send(append([]string{tt.line, "Host: x"}, strings.Split(tt.fields, "|")...)...)
				c.write(tt.body)
				resp := c.response("GET")
				r := whole(resp)
				if r.status != 200 || r.body != want || r.is("hit") != (tt.hits && i == 1) {
					t.Errorf("%d: %s", i, r)
				}
				tt.p.settle()
			}
		})
	}
}

// What the origin answers in place of a 101 is an answer like any other, which
// is not stored, and the connection goes on with the next request.
func TestRefusedUpgrade(t *testing.T) {
	t.Parallel()
	p := before(t, setup{}, func(v visit) bool {
		status, _ := strings.CutPrefix(v.req.URL.Path, "/")
		asked := v.req.Header.Get("Upgrade")
		v.send(fmt.Sprintf("HTTP/1.1 %s X\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\nsaid %s", status, 5+len(asked), asked))
		return true
	})
	for _, status := range []int{200, 403, 426, 503} {
		c := p.dial()
		c.write(strings.Replace(strings.Join(handshake, "\r\n"), "/chat", fmt.Sprint("/", status), 1) + "\r\n\r\n" +
			"GET /200 HTTP/1.1\r\nHost: x\r\n\r\n")
		if r := whole(c.response("GET")); r.status != status || r.body != "said websocket" || !r.is("detail=upgrade") {
			t.Errorf("%d: %s", status, r)
		}
		if r := whole(c.response("GET")); r.status != 200 || r.body != "said " {
			t.Errorf("%d: the next request gets %s", status, r)
		}
	}
	if s := p.status(); s.Tunnels.Total != 0 || s.server("raw").InFlight != 0 {
		t.Errorf("without a tunnel: %+v", s)
	}
}

// A server that switches to what nobody asked for is not believed.
func TestWrongSwitch(t *testing.T) {
	t.Parallel()
	p := before(t, setup{}, func(v visit) bool {
		v.send("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: " + v.req.URL.Query().Get("to") + "\r\n\r\nsecret")
		return false
	})
	for _, ask := range []string{"Connection: upgrade", "X: y"} {
		for _, to := range []string{"h2c", "websocket"} {
			if ask != "X: y" && to == "websocket" {
				continue // which is right
			}
			c := p.dial()
			c.send("GET /?to="+to+" HTTP/1.1", "Host: x", ask, "Upgrade: websocket")
			if r := whole(c.response("GET")); r.status != 502 || strings.Contains(r.body, "secret") {
				t.Errorf("%s, %s: %s", ask, to, r)
			}
		}
	}
}

// Each side may end what it sends and go on to receive.
func TestHalfClosedTunnel(t *testing.T) {
	t.Parallel()
	p := before(t, setup{}, func(v visit) bool {
		v.agree()
		if v.req.URL.Path == "/origin-first" {
			v.send("all")
			_ = v.CloseWrite()
			got, _ := io.ReadAll(v.br)
			if string(got) != "of it" {
				t.Errorf("the origin got %q after its own end", got)
			}
			return false
		}
		got, _ := io.ReadAll(v.br)
		v.send("got " + string(got))
		return false
	})
	c := p.tunnel()
	c.write("it all")
	_ = c.CloseWrite()
	if rest, regular := c.ends(); rest != "got it all" || !regular {
		t.Errorf("the client got %q after its own end, %v", rest, regular)
	}
	c = p.dial()
	c.send(append([]string{"GET /origin-first HTTP/1.1"}, handshake[1:]...)...)
	c.head()
	if rest, regular := c.ends(); rest != "all" || !regular {
		t.Errorf("the client got %q, %v", rest, regular)
	}
	c.write("of it")
	_ = c.CloseWrite()
	eventually(t, "the end of both", func() bool { return p.status().Tunnels.Ended["closed"] == 2 })
}

// A tunnel lasts for as long as there is something in one direction at least.
func TestIdleTunnel(t *testing.T) {
	t.Parallel()
	const timeout = 400 * time.Millisecond
	p := before(t, setup{top: "server: {tunnel_timeout: 400ms, read_timeout: 50ms, write_timeout: 50ms, idle_timeout: 50ms}",
		upstream: "read_timeout: 50ms\nresponse_timeout: 50ms"}, func(v visit) bool {
		v.agree()
		for range 10 {
			v.send(".")
			<-time.After(timeout / 5)
		}
		_, _ = io.Copy(io.Discard, v.br)
		return false
	})
	c := p.tunnel()
	began := time.Now()
	if rest, regular := c.ends(); len(rest) != 10 || !regular {
		t.Errorf("%q, %v", rest, regular)
	}
	if d := time.Since(began); d < 2*timeout+timeout/2 {
		t.Errorf("ended after %s, while it was in use", d)
	}
	if ended := p.status().Tunnels.Ended; ended["idle"] != 1 {
		t.Errorf("ended: %v", ended)
	}
}

// An instance that stops lets tunnels go on for a while, whatever else is under
// way, and no longer than needed.
func TestTunnelsAreDrained(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := before(t, setup{top: "server: {tunnel_grace: 1500ms}"}, func(v visit) bool {
		if v.req.Header["Upgrade"] != nil {
			return echoes(v)
		}
		<-release
		v.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
		return false
	})
	c, slow := p.tunnel(), p.dial()
	c.says("before")
	slow.send("GET / HTTP/1.1", "Host: x")
	eventually(t, "both at the server", func() bool { return p.status().server("raw").InFlight == 2 })
	began := time.Now()
	p.signal(syscall.SIGTERM)
	c.says("meanwhile")
	if rest, _ := c.ends(); rest != "" {
		t.Errorf("told %q", rest)
	}
	if d := time.Since(began); d < 1500*time.Millisecond {
		t.Errorf("ended after %s", d)
	}
	close(release)
	if r := whole(slow.response("GET")); r.body != "slow" {
		t.Errorf("the request under way gets %s", r)
	}
	if code := p.wait(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}

	p = before(t, setup{top: "server: {tunnel_grace: 20s}"}, echoes)
	c = p.tunnel()
	began = time.Now()
	p.signal(syscall.SIGTERM)
	<-time.After(700 * time.Millisecond) // when all but the tunnel has ended
	c.says("meanwhile")
	_ = c.Close()
	if code, d := p.wait(soon), time.Since(began); code != 0 || d > 5*time.Second {
		t.Errorf("without tunnels: exit code %d after %s", code, d)
	}
}

func TestTunnelLimit(t *testing.T) {
	t.Parallel()
	p := before(t, setup{top: "server: {max_tunnels: 2}"}, echoes)
	c := p.tunnel()
	p.tunnel()
	over := p.dial()
	over.send(handshake...)
	if r := whole(over.response("GET")); r.status != 503 || r.header.Get("Retry-After") == "" || !r.is("detail=upgrade") {
		t.Errorf("one too many: %s", r)
	}
	c.says("the others go on")
	_ = c.Close()
	eventually(t, "room", func() bool { return p.status().Tunnels.Open == 1 })
	p.tunnel().says("and there is room again")
	if s := p.status(); s.Tunnels.Refused != 1 || s.server("raw").Requests != 3 {
		t.Errorf("%+v", s)
	}
}

// A side that breaks is no regular end for the other one.
func TestBrokenTunnel(t *testing.T) {
	t.Parallel()
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
	seen := make(chan error, 1)
	p := before(t, setup{upstream: "ejection: {consecutive_failures: 1}"}, func(v visit) bool {
		v.agree()
		if b, err := v.br.ReadByte(); err != nil || b != '!' {
			seen <- err
			return false
		}
		reset(v.TCPConn)
		return false
	})
	c := p.tunnel()
	c.write("!")
	if _, regular := c.ends(); regular {
		t.Error("the client takes a broken tunnel for one that was closed")
	}
	c = p.tunnel() // the server is not ejected
	reset(c.TCPConn)
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin takes a broken tunnel for one that was closed: %v", err)
	}
	eventually(t, "the end of both", func() bool { return p.status().Tunnels.Ended["broken"] == 2 })
}

// Both directions flow at the same time, whatever comes in one piece.
func TestBusyTunnel(t *testing.T) {
	t.Parallel()
	p := before(t, setup{}, echoes)
	c := p.tunnel()
	sent := strings.Repeat("0123456789abcde\n", 1<<16)
	go func() {
		_, _ = io.WriteString(c, sent)
		_ = c.CloseWrite()
	}()
	if got, regular := c.ends(); got != sent || !regular {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(sent), regular)
	}
	eventually(t, "its end", func() bool { s := p.status().Tunnels; return s.Open == 0 && s.FromServers == 1<<20 })
}
