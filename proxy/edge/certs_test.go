package edge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	a := authority{key: newKey(t)}
	a.cert = sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a, a.key)
	return a
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSAKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, c *x509.Certificate, by authority, key crypto.Signer) *x509.Certificate {
	t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = c.NotAfter.Add(-24 * time.Hour)
	}
	parent := by.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue returns the PEM texts of a certificate of those names, good until then,
// for that key. The zero time is soon enough.
func (a authority) issue(t testing.TB, key crypto.Signer, until time.Time, names ...string) (certText, keyText string) {
	t.Helper()
	cert := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: strings.Join(names, "+")}, DNSNames: names, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(cert), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// client is the configuration of a client that asks for that name, and trusts
// the authority.
func (a authority) client(name string) *tls.Config {
	return &tls.Config{RootCAs: a.pool(), ServerName: name}
}

// shows is what a client needs to show a certificate of a, whether or not the
// server names a among those that it takes.
func (a authority) shows(t testing.TB) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	t.Helper()
	cert, key := a.issue(t, newKey(t), time.Time{}, "client")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
}

// replace puts a file into place as it should be done.
func replace(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// pairIn writes a pair's files to a folder.
func pairIn(t testing.TB, dir, name, cert, key string) KeyPair {
	t.Helper()
	p := KeyPair{CertFile: filepath.Join(dir, name+".pem"), KeyFile: filepath.Join(dir, name+".key")}
	replace(t, p.CertFile, cert)
	replace(t, p.KeyFile, key)
	return p
}

// journal is a log that a test reads as it comes, without times and with DIR
// for the folder.
type journal struct {
	t     testing.TB
	dir   string
	lines chan string
}

func newJournal(t testing.TB, dir string) *journal {
	return &journal{t: t, dir: dir, lines: make(chan string, 1000)}
}

func (j *journal) Write(line []byte) (int, error) {
	j.lines <- strings.ReplaceAll(string(line), j.dir, "DIR")
	return len(line), nil
}

func (j *journal) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "expires" || a.Key == "begins" {
			return slog.Attr{}
		}
		return a
	}}))
}

const patience = 20 * time.Second

// next waits for the next line, which must hold want.
func (j *journal) next(want string) {
	j.t.Helper()
	select {
	case line := <-j.lines:
		if !strings.Contains(line, want) {
			j.t.Fatalf("logged %q, want %q", line, want)
		}
	case <-time.After(patience):
		j.t.Fatalf("nothing logged, want %q", want)
	}
}

// until waits for a line that holds want, whatever comes before it.
func (j *journal) until(want string) {
	j.t.Helper()
	for end := time.After(patience); ; {
		select {
		case line := <-j.lines:
			if strings.Contains(line, want) {
				return
			}
		case <-end:
			j.t.Fatalf("never logged: %q", want)
		}
	}
}

// quiet fails if anything was logged that was not waited for.
func (j *journal) quiet() {
	j.t.Helper()
	for range len(j.lines) {
		j.t.Errorf("logged, too: %q", <-j.lines)
	}
}

// mustCertificates is NewCertificates of options that are right.
func mustCertificates(t testing.TB, o CertificateOptions) *Certificates {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c, err := NewCertificates(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustConfig(t testing.TB, o TLSOptions, c *Certificates) *tls.Config {
	t.Helper()
	config, err := TLSConfig(o, c)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// serve shakes hands with everybody who connects, and says a byte to those
// with whom it works. It returns its address.
func serve(t testing.TB, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			c.Write([]byte("k"))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// dial shakes hands with a server and waits for its byte.
func dial(addr string, config *tls.Config) (tls.ConnectionState, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	_, err = io.ReadFull(c, make([]byte, 1))
	return c.ConnectionState(), err
}

// leafOf is the subject of the certificate that the server showed.
func leafOf(s tls.ConnectionState) string { return s.PeerCertificates[0].Subject.CommonName }

func TestCertificateErrors(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, newKey(t), time.Time{}, "a.example")
	other, otherKey := ca.issue(t, newKey(t), time.Time{}, "b.example")
	broken := strings.Replace(pemOf(ca.cert), "\nM", "\nQ", 1)
	pair := func(name, cert, key string) []KeyPair { return []KeyPair{pairIn(t, dir, name, cert, key)} }
	roots := func(name, text string) CertificateOptions {
		replace(t, filepath.Join(dir, name), text)
		return CertificateOptions{Pairs: pair(name, cert, key), ClientCAFile: filepath.Join(dir, name)}
	}
	of := func(pairs ...KeyPair) CertificateOptions { return CertificateOptions{Pairs: pairs} }
	tests := []struct {
		options CertificateOptions
		want    string
	}{
		{of(), "no certificates"},
		{of(KeyPair{filepath.Join(dir, "none"), pair("a", cert, key)[0].KeyFile}),
			"certificate DIR/none with key DIR/a.key: open DIR/none: no such file or directory"},
		{of(KeyPair{pair("a", cert, key)[0].CertFile, dir}), "certificate DIR/a.pem with key DIR: read DIR: is a directory"},
		{of(pair("b", "", key)...), "certificate DIR/b.pem with key DIR/b.key: tls: failed to find any PEM data in certificate input"},
		{of(pair("c", cert, cert)...), "certificate DIR/c.pem with key DIR/c.key: tls: found a certificate rather than a key in the PEM for the private key"},
		{of(pair("d", cert, otherKey)...), "certificate DIR/d.pem with key DIR/d.key: tls: private key does not match public key"},
		{of(pair("e", cert+broken, key)...), "certificate DIR/e.pem with key DIR/e.key: certificate 2: x509: "},
		{of(pair("f", other+cert, key)...), "certificate DIR/f.pem with key DIR/f.key: tls: private key does not match public key"},
		// Each fault, not only the first.
		{of(KeyPair{"no1", "no2"}, KeyPair{"no3", "no4"}),
			"certificate no1 with key no2: open no1: no such file or directory\ncertificate no3 with key no4: open no3: no such file or directory"},
		{CertificateOptions{Pairs: pair("a", cert, key), ClientCAFile: "none"}, "client authorities none: open none: no such file or directory"},
		{roots("1", ""), "client authorities DIR/1: no certificate in PEM form"},
		{roots("2", cert+key), "client authorities DIR/2: PEM block 2 is no certificate but: PRIVATE KEY"},
		{roots("3", cert+broken), "client authorities DIR/3: PEM block 2: x509: "},
		{roots("4", cert+"-----BEGIN CERTIFICATE-----\n"), "client authorities DIR/4: PEM block 2 is malformed"},
	}
	for _, tt := range tests {
		tt.options.Log = slog.New(slog.DiscardHandler)
		_, err := NewCertificates(tt.options)
		if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), dir, "DIR"), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// What has expired, or begins later, is used with a warning.
func TestCertificatesOutOfTime(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	var pairs []KeyPair
	for name, until := range map[string]time.Duration{"past": -time.Hour, "now": time.Hour, "future": 48 * time.Hour} {
		cert, key := ca.issue(t, newKey(t), time.Now().Add(until), name+".example")
		pairs = append(pairs, pairIn(t, dir, name, cert, key))
	}
	j := newJournal(t, dir)
	c := mustCertificates(t, CertificateOptions{Pairs: pairs, Log: j.log()})
	for _, p := range pairs {
		switch name := strings.TrimSuffix(filepath.Base(p.CertFile), ".pem"); name {
		case "past":
			j.next(`level=WARN msg="certificate has expired" file=DIR/past.pem names=[past.example]`)
		case "future":
			j.next(`level=WARN msg="certificate is not valid yet" file=DIR/future.pem names=[future.example]`)
		default:
			j.next(`level=INFO msg="certificate read" file=DIR/now.pem names=[now.example]`)
		}
	}
	j.quiet()
	for i, s := range c.Stats().Certificates {
		if s.File != pairs[i].CertFile || len(s.Names) != 1 || s.NotAfter.IsZero() || s.NotAfter.Before(time.Now()) != (s.Names[0] == "past.example") {
			t.Errorf("stats %+v", s)
		}
	}
}

// TestChoice is about RFC 6066, section 3, and RFC 9525, section 6.3.
func TestChoice(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	rsaKey := newRSAKey(t)
	var pairs []KeyPair
	for _, names := range []string{"first.example", "ec.example", "two.example", "rsa:two.example", "rsa:*.two.example",
		"www.two.example,mail.two.example", "*.deep.two.example,*.UPPER.example", "rsa:ec.example", "*.ec.example", "two.example", ""} {
		plain, isRSA := strings.CutPrefix(names, "rsa:")
		key := newKey(t)
		if isRSA {
			key = rsaKey
		}
		var list []string
		if plain != "" {
			list = strings.Split(plain, ",")
		}
		cert, keyText := ca.issue(t, key, time.Time{}, list...)
		pairs = append(pairs, pairIn(t, dir, strings.NewReplacer("*", "w", ":", "-").Replace(names), cert, keyText))
	}
	addr := serve(t, mustConfig(t, TLSOptions{}, mustCertificates(t, CertificateOptions{Pairs: pairs})))
	const both, ecdsaOnly, rsaOnly = "", "ECDSA", "RSA"
	tests := []struct {
		sni, can string
		want     string
		kind     x509.PublicKeyAlgorithm
	}{
		{"first.example", both, "first.example", x509.ECDSA},
		{"MAIL.Two.example", both, "www.two.example+mail.two.example", x509.ECDSA},
		{"www.two.example", both, "www.two.example+mail.two.example", x509.ECDSA},
		{"mail.two.example", both, "www.two.example+mail.two.example", x509.ECDSA},
		// The same name for two kinds of clients: the first that fits.
		{"two.example", both, "two.example", x509.ECDSA},
		{"two.example", ecdsaOnly, "two.example", x509.ECDSA},
		{"two.example", rsaOnly, "two.example", x509.RSA},
		{"ec.example", rsaOnly, "ec.example", x509.RSA},
		// A wildcard is one label, and comes behind the very name.
		{"other.two.example", both, "*.two.example", x509.RSA},
		{"www.two.example", rsaOnly, "*.two.example", x509.RSA},
		{"a.deep.two.example", both, "*.deep.two.example+*.UPPER.example", x509.ECDSA},
		{"a.upper.example", both, "*.deep.two.example+*.UPPER.example", x509.ECDSA},
		{"deep.two.example", ecdsaOnly, "first.example", x509.ECDSA},
		{"a.b.deep.two.example", both, "first.example", x509.ECDSA},
		{"a.b.ec.example", both, "first.example", x509.ECDSA},
		// No such name, or none: the first that the client can verify.
		{"unknown.example", both, "first.example", x509.ECDSA},
		{"unknown.example", rsaOnly, "two.example", x509.RSA},
		{"example", both, "first.example", x509.ECDSA},
		{"", both, "first.example", x509.ECDSA},
		{"", rsaOnly, "two.example", x509.RSA},
	}
	for _, tt := range tests {
		client := &tls.Config{ServerName: tt.sni, InsecureSkipVerify: true}
		if tt.can != both { // suites of TLS 1.2 say the kind of the key
			client.MaxVersion = tls.VersionTLS12
			client.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
			if tt.can == ecdsaOnly {
				client.CipherSuites[0] = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
			}
		}
		state, err := dial(addr, client)
		if err != nil {
			t.Errorf("%q, %s client: %v", tt.sni, tt.can, err)
			continue
		}
		if got, kind := leafOf(state), state.PeerCertificates[0].PublicKeyAlgorithm; got != tt.want || kind != tt.kind {
			t.Errorf("%q, %s client: got %s (%v), want %s (%v)", tt.sni, tt.can, got, kind, tt.want, tt.kind)
		}
	}
}

// Where nobody fits, the first is shown, and the handshake says why it fails.
func TestChoiceOfLastResort(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, newKey(t), time.Time{}, "a.example")
	c := mustCertificates(t, CertificateOptions{Pairs: []KeyPair{pairIn(t, t.TempDir(), "a", cert, key)}})
	client := ca.client("a.example")
	client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if _, err := dial(serve(t, mustConfig(t, TLSOptions{}, c)), client); err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Errorf("got %v, want a handshake failure", err)
	}
}

func BenchmarkChoice(b *testing.B) {
	ca := newAuthority(b, "ca")
	cert, key := ca.issue(b, newKey(b), time.Time{}, "a.example", "*.b.example")
	c := mustCertificates(b, CertificateOptions{Pairs: []KeyPair{pairIn(b, b.TempDir(), "a", cert, key)}})
	hello := &tls.ClientHelloInfo{ServerName: "www.b.example", SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := c.GetCertificate(hello); err != nil || len(got.Leaf.DNSNames) != 2 {
			b.Fatal(got, err)
		}
	}
}
