package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestNewTLSRefuses: what is wrong is said, with the place.
func TestNewTLSRefuses(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	cert, key := ca.issue(t, time.Time{}, "app")
	_, otherKey := other.issue(t, time.Time{}, "app")
	in := func(text string) PEM { return PEM{Source: "ca.pem", Text: []byte(text)} }
	good := string(ca.pem().Text)
	broken := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for name, tt := range map[string]struct {
		o    TLSOptions
		want string
	}{
		"empty CA":          {TLSOptions{CA: in("")}, "authorities ca.pem: no certificate"},
		"CA of prose":       {TLSOptions{CA: in("hello")}, "authorities ca.pem: no certificate"},
		"CA cut short":      {TLSOptions{CA: in(good + good[:len(good)/2])}, "ca.pem: PEM block 2 is malformed"},
		"CA is no DER":      {TLSOptions{CA: in(good + broken)}, "ca.pem: PEM block 2: x509: "},
		"CA is a key":       {TLSOptions{CA: in(string(key.Text))}, "PEM block 1 is no certificate but: PRIVATE KEY"},
		"CA and insecure":   {TLSOptions{CA: ca.pem(), Insecure: true}, "of no use"},
		"no key":            {TLSOptions{Certificate: cert}, "need each other"},
		"no certificate":    {TLSOptions{Key: key}, "need each other"},
		"another's key":     {TLSOptions{Certificate: cert, Key: otherKey}, "client certificate cert.pem with key key.pem: tls: private key does not match"},
		"the wrong way":     {TLSOptions{Certificate: key, Key: cert}, "client certificate key.pem with key cert.pem: "},
		"name with a port":  {TLSOptions{ServerName: "app:443"}, `server name "app:443"`},
		"name is an URL":    {TLSOptions{ServerName: "https://app"}, "server name"},
		"name with a blank": {TLSOptions{ServerName: "a b"}, "server name"},
		"name of dots":      {TLSOptions{ServerName: "."}, "server name"},
	} {
		if _, err := newTLS(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	for _, o := range []TLSOptions{
		{}, {CA: in("two of them:\n" + good + string(other.pem().Text))}, {Certificate: cert, Key: key}, {Insecure: true, ServerName: "app"},
		{ServerName: "::1"}, {ServerName: "app.example."},
	} {
		c, err := newTLS(o)
		if err != nil {
			t.Errorf("%+v: %v", o, err)
		} else if c.MinVersion != tls.VersionTLS12 || c.InsecureSkipVerify != o.Insecure || c.ServerName != o.ServerName {
			t.Errorf("%+v: got %+v", o, c)
		}
	}
}

func TestReadPEM(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if _, err := ReadPEM(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	want := newAuthority(t, "ca").pem()
	if err := os.WriteFile(path, want.Text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadPEM(path); err != nil || got.Source != path || !bytes.Equal(got.Text, want.Text) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzAuthorities: a text is refused, or has a certificate.
func FuzzAuthorities(f *testing.F) {
	good := string(newAuthority(f, "ca").pem().Text)
	for _, seed := range []string{"", good, good + good, "x\n" + good, good[1:], good[:len(good)-3], good + "-----BEGIN", "-----BEGIN X-----\n-----END X-----\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		pool, err := authorities(text)
		if (pool == nil) == (err == nil) {
			t.Fatalf("%v, %v", pool, err)
		}
		if whole := bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----")); err == nil && whole == 0 {
			t.Fatal("certificates of nothing")
		}
	})
}

// TestHandshake: who is spoken to, and what is said of the others. A failure
// before the request leaves is one that any request survives.
func TestHandshake(t *testing.T) {
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "stranger")
	cert, key := ca.issue(t, time.Time{}, "client")
	strangeCert, strangeKey := stranger.issue(t, time.Time{}, "client")
	trust := TLSOptions{CA: ca.pem(), ServerName: "app"}
	with := func(change func(*TLSOptions)) TLSOptions {
		o := trust
		change(&o)
		return o
	}
	server := func(names string, change func(*tls.Config)) *tls.Config {
		c := ca.serverTLS(t, strings.Fields(names)...)
		if change != nil {
			change(c)
		}
		return c
	}
	expired := func(c *tls.Config) {
		cert, key := ca.issue(t, time.Now().Add(-time.Minute), "app")
		c.Certificates[0], _ = tls.X509KeyPair(cert.Text, key.Text)
	}
	strange := func(c *tls.Config) { c.Certificates = stranger.serverTLS(t, "app").Certificates }
	asks := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, ca.pool(), version
		}
	}
	asTwelve, asThirteen := asks(tls.VersionTLS12), asks(tls.VersionTLS13)
	shows := func(c, k PEM) TLSOptions {
		return with(func(o *TLSOptions) { o.Certificate, o.Key = c, k })
	}
	for _, tt := range []struct {
		name   string
		server *tls.Config
		client TLSOptions
		kind   Kind
		sent   bool
		sni    string
	}{
		{"trusted", server("app", nil), trust, none, false, "app"},
		{"one of its names", server("web app", nil), trust, none, false, "app"},
		{"1.2", server("app", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), trust, none, false, "app"},
		{"by address", server("127.0.0.1", nil), with(func(o *TLSOptions) { o.ServerName = "" }), none, false, ""},
		{"another name", server("web", nil), trust, TLSCertificate, false, ""},
		{"address not in it", server("app", nil), with(func(o *TLSOptions) { o.ServerName = "" }), TLSCertificate, false, ""},
		{"unknown authority", server("", strange), trust, TLSCertificate, false, ""},
		{"system's authorities", server("app", nil), TLSOptions{ServerName: "app"}, TLSCertificate, false, ""},
		{"expired", server("", expired), trust, TLSCertificate, false, ""},
		{"insecure, expired", server("", expired), TLSOptions{Insecure: true}, none, false, ""},
		{"insecure, another name", server("web", strange), TLSOptions{Insecure: true, ServerName: "app"}, none, false, "app"},
		{"1.1", server("app", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), trust, TLSAlert, false, ""},
		{"HTTP/1.1", server("app", func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }), trust, none, false, "app"},
		{"no HTTP/1.1", server("app", func(c *tls.Config) { c.NextProtos = []string{"imap"} }), trust, TLSAlert, false, ""},
		{"no client certificate, 1.2", server("app", asTwelve), trust, TLSAlert, false, ""},
		{"no client certificate", server("app", asThirteen), trust, TLSAlert, true, ""},
		{"strange client certificate", server("app", asThirteen), shows(strangeCert, strangeKey), TLSAlert, true, ""},
		{"client certificate, 1.2", server("app", asTwelve), shows(cert, key), none, false, "app"},
		{"client certificate", server("app", asThirteen), shows(cert, key), none, false, "app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sni atomic.Value
			tt.server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				sni.Store(h.ServerName)
				return nil, nil
			}
			o := newOriginOn(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), tt.server), always(text("hello")))
			s := someServer(t, o.addr(), func(o *serverOptions) { o.tls = mustTLS(t, tt.client) })
			got, err := askAll(t.Context(), s, get("GET"))
			if tt.kind == none {
				if err != nil || got != "hello" || sni.Load() != tt.sni {
					t.Errorf("got %q, %v, server name %q", got, err, sni.Load())
				}
				mustAsk(t, s, "hello")
				wantConnections(t, s, 1, 1)
				return
			}
			wantKind(t, err, tt.kind)
			if _, unsent := kindOf(err); unsent == tt.sent || o.asked.Load() != 0 {
				t.Errorf("%v: unsent %v, the server read %d requests", err, unsent, o.asked.Load())
			}
		})
	}
}

// TestNoHandshake: servers that do not speak TLS, or stop.
func TestNoHandshake(t *testing.T) {
	for name, tt := range map[string]struct {
		script  func(*peer)
		timeout time.Duration
		kind    Kind
	}{
		"plain text": {func(p *peer) { p.send("HTTP/1.1 400 Bad Request\r\n\r\n"); p.hold() }, time.Minute, TLSProtocol},
		"hangs up":   {func(p *peer) { _, _ = p.Read(make([]byte, 9999)) }, time.Minute, Terminated},
		"resets":     {(*peer).reset, time.Minute, Terminated},
		"silent":     {(*peer).hold, 50 * time.Millisecond, ConnectTimeout},
		"not wanted": {(*peer).hold, time.Minute, Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			o := newOrigin(t, func(p *peer) {
				defer close(gone)
				tt.script(p)
			})
			s := someServer(t, o.addr(), func(o *serverOptions) {
				o.tls, o.connectTimeout = mustTLS(t, TLSOptions{Insecure: true}), tt.timeout
			})
			ctx, cancel := context.WithCancel(t.Context())
			if tt.kind == Canceled {
				time.AfterFunc(20*time.Millisecond, cancel)
			}
			defer cancel()
			soon(t, func() {
				_, err := ask(ctx, s, get("GET"))
				wantKind(t, err, tt.kind)
				if _, unsent := kindOf(err); !unsent {
					t.Error("it counts as sent")
				}
			})
			wantConnections(t, s, 0, 0)
			soon(t, func() { <-gone })
		})
	}
}

// TestResumption: a second connection resumes the session of the first, one to
// another server of the same name does not ask it to.
func TestResumption(t *testing.T) {
	ca := newAuthority(t, "ca")
	config := mustTLS(t, TLSOptions{CA: ca.pem(), ServerName: "app"})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var resumed atomic.Int64
		closes := func(p *peer) {
			p.request()
			if p.Conn.(*tls.Conn).ConnectionState().DidResume {
				resumed.Add(1)
			}
			p.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
		}
		serve := func() net.Listener {
			c := ca.serverTLS(t, "app")
			c.MaxVersion = version
			return tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), c)
		}
		for range 2 {
			resumed.Store(0)
			s := someServer(t, newOriginOn(t, serve(), closes).addr(), func(o *serverOptions) { o.tls = config })
			for range 5 {
				mustAsk(t, s, "hello")
			}
			if resumed.Load() != 4 {
				t.Errorf("TLS %x: %d of 5 connections resumed a session, want 4", version, resumed.Load())
			}
		}
	}
}
