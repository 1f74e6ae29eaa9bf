package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/health"
)

const agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"

// upgrade is a request to switch to chat.
func upgrade(method string) *Request {
	req := get(method)
	req.Upgrade = "chat"
	return req
}

// mustSwitch sends req, which must lead to a tunnel.
func mustSwitch(t *testing.T, p *Pool, req *Request) (*Response, *Tunnel) {
	t.Helper()
	resp, err := p.Do(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, ok := resp.Body.(*Tunnel)
	if resp.Status != 101 || !ok {
		t.Fatalf("%d with a body of %T", resp.Status, resp.Body)
	}
	return resp, tunnel
}

// TestSwitch: which answers to a wish to switch lead to a tunnel (RFC 9110,
// sections 7.8 and 15.2.2), and what the others are.
func TestSwitch(t *testing.T) {
	to := func(lines ...string) string { return "HTTP/1.1 101 X\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" }
	for _, tt := range []struct {
		name, answer string
		status       int // 0: a failure
	}{
		{"agreed", agreed, 101},
		{"in other case, and among others", to("connection: keep-alive, UPGRADE", "upgrade: CHAT"), 101},
		{"after a hint", "HTTP/1.1 103 Early Hints\r\n\r\n" + agreed, 101},
		{"with a length", to("Connection: upgrade", "Upgrade: chat", "Content-Length: 5"), 101},
		{"to something else", to("Connection: upgrade", "Upgrade: websocket"), 0},
		{"to a version", to("Connection: upgrade", "Upgrade: chat/2"), 0},
		{"to several", to("Connection: upgrade", "Upgrade: chat", "Upgrade: websocket"), 0},
		{"to nothing", to("Connection: upgrade"), 0},
		{"without Connection", to("Upgrade: chat"), 0},
		{"HTTP/1.0", strings.Replace(agreed, "1.1", "1.0", 1), 0},
		{"framed twice", to("Connection: upgrade", "Upgrade: chat", "Content-Length: 5", "Content-Length: 5"), 0},
		{"403", "HTTP/1.1 403 X\r\nContent-Length: 2\r\n\r\nno", 403},
		{"426", "HTTP/1.1 426 X\r\nUpgrade: other\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n", 426},
		{"200", text("plain"), 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOrigin(t, func(p *peer) {
				for {
					r, ok := p.request()
					if !ok {
						return
					}
					if got := fmt.Sprint(r.header["Connection"], r.header["Upgrade"]); got != "[Upgrade] [chat]" {
						t.Errorf("asked with %s", got)
					}
					p.send(tt.answer)
				}
			})
			p := pool(t, func(o *Options) { o.Retry.Attempts = 1 }, o.addr())
			for range 2 {
				resp, err := p.Do(t.Context(), upgrade("GET"))
				if tt.status == 0 {
					wantKind(t, err, Protocol)
					continue
				}
				if err != nil || resp.Status != tt.status {
					t.Fatalf("%+v, %v", resp, err)
				}
				if _, ok := resp.Body.(*Tunnel); ok != (tt.status == 101) {
					t.Errorf("the body is a %T", resp.Body)
				}
				if tt.status != 101 {
					_, _ = io.Copy(io.Discard, resp.Body)
				}
				resp.Body.Close()
			}
			if n := o.accepted.Load(); tt.status > 101 && n != 1 {
				t.Errorf("%d connections; a plain answer leaves the first for the next request", n)
			}
		})
	}
}

// TestTunnel moves bytes both ways, those first that came along with the head,
// and half-closes, in plain text and over TLS.
func TestTunnel(t *testing.T) {
	const early = "came along"
	script := func(p *peer) {
		if _, ok := p.head(); !ok {
			return
		}
		p.send(agreed + early)
		_, _ = io.Copy(p.Conn, p.r) // until the end of what it gets
		p.send("bye")
		if c, ok := p.Conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}
	for name, start := range map[string]func(*testing.T) *Pool{
		"plain": func(t *testing.T) *Pool { return pool(t, nil, newOrigin(t, script).addr()) },
		"TLS": func(t *testing.T) *Pool {
			ca := newAuthority(t, "ca")
			o := newOriginOn(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), ca.serverTLS(t, "app")), script)
			return pool(t, func(o *Options) { o.TLS = &TLSOptions{CA: ca.pem(), ServerName: "app"} }, o.addr())
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			_, tunnel := mustSwitch(t, p, upgrade("GET"))
			sent := long(1 << 20)
			go func() {
				_, _ = io.WriteString(tunnel, sent)
				_ = tunnel.CloseWrite()
			}()
			got, err := io.ReadAll(tunnel)
			if err != nil || string(got) != early+sent+"bye" {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if s := p.Stats().Servers[0]; s.InFlight != 1 {
				t.Errorf("%d in flight while there is a tunnel", s.InFlight)
			}
			tunnel.Close()
			tunnel.Close() // does nothing
			if s := p.Stats().Servers[0]; s.InFlight != 0 || s.Open != 0 {
				t.Errorf("after the tunnel %d are in flight and %d connections open", s.InFlight, s.Open)
			}
		})
	}
}

// TestTunnelHasNoTimeout: those of requests end with the head.
func TestTunnelHasNoTimeout(t *testing.T) {
	const timeout = 50 * time.Millisecond
	o := newOrigin(t, func(p *peer) { p.head(); p.send(agreed); <-time.After(4 * timeout); p.send("late") })
	p := pool(t, func(o *Options) { o.ResponseTimeout, o.ReadTimeout, o.WriteTimeout = timeout, timeout, timeout }, o.addr())
	_, tunnel := mustSwitch(t, p, upgrade("GET"))
	defer tunnel.Close()
	if got, err := io.ReadAll(tunnel); err != nil || string(got) != "late" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestTunnelInterrupted: a read and a write under way end, as those later do; so
// they do at the end of the context.
func TestTunnelInterrupted(t *testing.T) {
	for name, end := range map[string]func(*Tunnel, context.CancelFunc){
		"by its user":    func(t *Tunnel, _ context.CancelFunc) { t.Interrupt() },
		"by its context": func(_ *Tunnel, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(p *peer) { p.head(); p.send(agreed); <-p.o.ended })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := pool(t, nil, o.addr()).Do(ctx, upgrade("GET"))
			if err != nil {
				t.Fatal(err)
			}
			tunnel := resp.Body.(*Tunnel)
			defer tunnel.Close()
			wrote := make(chan error, 1)
			go func() {
				for {
					if _, err := tunnel.Write(make([]byte, 1<<20)); err != nil {
						wrote <- err
						return
					}
				}
			}()
			read := make(chan error, 1)
			go func() { _, err := tunnel.Read(make([]byte, 1)); read <- err }()
			end(tunnel, cancel)
			soon(t, func() {
				if !isTimeout(<-wrote) || !isTimeout(<-read) {
					t.Error("ended by something else")
				}
			})
			if _, err := tunnel.Read(make([]byte, 1)); !isTimeout(err) {
				t.Errorf("a later read: %v", err)
			}
		})
	}
}

// TestTunnelAborted: the server sees a reset, and without it a regular end.
func TestTunnelAborted(t *testing.T) {
	for _, aborted := range []bool{false, true} {
		ended := make(chan error, 1)
		o := newOrigin(t, func(p *peer) { p.head(); p.send(agreed); _, err := p.r.ReadByte(); ended <- err })
		_, tunnel := mustSwitch(t, pool(t, nil, o.addr()), upgrade("GET"))
		if aborted {
			tunnel.Abort()
		}
		tunnel.Close()
		soon(t, func() {
			if err := <-ended; errors.Is(err, syscall.ECONNRESET) != aborted || errors.Is(err, io.EOF) == aborted {
				t.Errorf("aborted is %v, and the server sees %v", aborted, err)
			}
		})
	}
}

// TestSwitchIsRetried, as any request is, as long as no server has answered; a
// server that switched has succeeded, however its tunnel ends.
func TestSwitchIsRetried(t *testing.T) {
	switches := func(p *peer) { p.head(); p.send(agreed); p.reset() }
	p, walk := inWalk(t, func(o *Options) { o.Ejection = health.Ejection{Consecutive: 9} }, resets, switches)
	first, second := walk[0]-'a', walk[1]-'a'
	p.set.Load().members[second].health.Load().Report(false, 0)
	resp, tunnel := mustSwitch(t, p, upgrade("GET"))
	if resp.Attempts != 2 {
		t.Errorf("%d attempts", resp.Attempts)
	}
	_, _ = io.Copy(io.Discard, tunnel)
	tunnel.Close()
	for i, want := range map[byte]int{first: 1, second: 0} {
		if got := p.Stats().Servers[i].Health.Streak; got != want {
			t.Errorf("server %d: %d failures in a row, want %d", i, got, want)
		}
	}
	if _, err := p.Do(t.Context(), upgrade("POST")); err == nil {
		t.Error("a POST that may have arrived was sent again")
	}
}

// TestSwitchIsNotHedged: one server at a time is asked for a tunnel.
func TestSwitchIsNotHedged(t *testing.T) {
	slow := func(p *peer) { p.head(); <-time.After(50 * time.Millisecond); p.send(agreed); p.hold() }
	p, _ := inWalk(t, hedged(nil), slow, slow)
	_, tunnel := mustSwitch(t, after(p, time.Millisecond), upgrade("GET"))
	tunnel.Close()
	if n := p.Stats().Hedges; n != 0 {
		t.Errorf("%d hedges", n)
	}
}

// TestTunnelOfUnixSocket can be half-closed, too.
func TestTunnelOfUnixSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	newOriginOn(t, listen(t, "unix", path), func(p *peer) {
		p.head()
		p.send(agreed)
		got, _ := io.ReadAll(p.r)
		p.send("all of " + string(got))
		_ = p.Conn.(*net.UnixConn).CloseWrite()
		p.hold()
	})
	_, tunnel := mustSwitch(t, pool(t, nil, "unix:"+path), upgrade("GET"))
	defer tunnel.Close()
	tunnel.Abort() // does nothing
	_, _ = io.WriteString(tunnel, "it")
	if err := tunnel.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(tunnel); err != nil || string(got) != "all of it" {
		t.Errorf("%q, %v", got, err)
	}
}
