package edge

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// oneCertificate is a listener's only certificate, for a.example.
func oneCertificate(t testing.TB, ca authority) CertificateOptions {
	t.Helper()
	cert, key := ca.issue(t, newKey(t), time.Time{}, "a.example")
	return CertificateOptions{Pairs: []KeyPair{pairIn(t, t.TempDir(), "a", cert, key)}}
}

func TestVersionsAndProtocols(t *testing.T) {
	ca := newAuthority(t, "ca")
	c := mustCertificates(t, oneCertificate(t, ca))
	const tls11, tls12, tls13 = tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13
	both := []string{"h2", "http/1.1"}
	tests := []struct {
		options  TLSOptions
		newest   uint16
		protos   []string
		want     uint16 // 0: refused
		protocol string
	}{
		// RFC 8996: nothing before 1.2.
		{TLSOptions{}, tls11, nil, 0, "protocol version not supported"},
		{TLSOptions{MinVersion: tls12}, tls11, nil, 0, "protocol version not supported"},
		{TLSOptions{}, tls12, nil, tls12, ""},
		{TLSOptions{}, tls13, nil, tls13, ""},
		{TLSOptions{MinVersion: tls12}, tls12, nil, tls12, ""},
		{TLSOptions{MinVersion: tls13}, tls12, nil, 0, "protocol version not supported"},
		{TLSOptions{MinVersion: tls13}, tls13, nil, tls13, ""},
		// RFC 7301, section 3.2: the server's preference, or none of them.
		{TLSOptions{}, tls13, both, tls13, "http/1.1"},
		{TLSOptions{HTTP2: true}, tls13, both, tls13, "h2"},
		{TLSOptions{HTTP2: true}, tls12, []string{"http/1.1", "h2"}, tls12, "h2"},
		{TLSOptions{HTTP2: true}, tls13, []string{"http/1.1"}, tls13, "http/1.1"},
		{TLSOptions{HTTP2: true}, tls13, nil, tls13, ""},
		{TLSOptions{HTTP2: true}, tls13, []string{"spdy/3"}, 0, "no application protocol"},
	}
	for _, tt := range tests {
		client := ca.client("a.example")
		client.MinVersion, client.MaxVersion, client.NextProtos = tls11, tt.newest, tt.protos
		state, err := dial(serve(t, mustConfig(t, tt.options, c)), client)
		switch {
		case tt.want == 0:
			if err == nil || !strings.Contains(err.Error(), tt.protocol) {
				t.Errorf("%+v, client %s %v: got %v, want %s", tt.options, tls.VersionName(tt.newest), tt.protos, err, tt.protocol)
			}
		case err != nil || state.Version != tt.want || state.NegotiatedProtocol != tt.protocol:
			t.Errorf("%+v, client %s %v: got %s %q, %v", tt.options, tls.VersionName(tt.newest), tt.protos,
				tls.VersionName(state.Version), state.NegotiatedProtocol, err)
		}
	}
	for _, wrong := range []TLSOptions{{MinVersion: tls11}, {MinVersion: tls13 + 1}, {RequireClient: true}} {
		if _, err := TLSConfig(wrong, c); err == nil {
			t.Errorf("%+v: no error", wrong)
		}
	}
}

// withRoots are certificates and the roots of clients, in a file of that path.
func withRoots(t testing.TB, ca, clients authority) CertificateOptions {
	t.Helper()
	o := oneCertificate(t, ca)
	o.ClientCAFile = filepath.Join(t.TempDir(), "clients.pem")
	replace(t, o.ClientCAFile, pemOf(clients.cert))
	return o
}

// TestClientCertificates is about RFC 8446, section 4.4.2.4, and RFC 5246,
// section 7.4.6.
func TestClientCertificates(t *testing.T) {
	ca, ours, others := newAuthority(t, "ca"), newAuthority(t, "ours"), newAuthority(t, "others")
	c := mustCertificates(t, withRoots(t, ca, ours))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, required := range []bool{false, true} {
			addr := serve(t, mustConfig(t, TLSOptions{RequireClient: required}, c))
			for who, good := range map[string]bool{"nobody": !required, "ours": true, "others": false} {
				client := ca.client("a.example")
				client.MaxVersion = version
				switch who {
				case "ours":
					client.GetClientCertificate = ours.shows(t)
				case "others":
					client.GetClientCertificate = others.shows(t)
				}
				if _, err := dial(addr, client); (err == nil) != good {
					t.Errorf("%s, required %v, client of %s: %v", tls.VersionName(version), required, who, err)
				}
			}
		}
	}
}

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// resumes dials twice with one memory of sessions and reports whether the
// second handshake resumed the first one's; meanwhile happens between them.
func resumes(t *testing.T, addr string, client *tls.Config, meanwhile func()) (bool, error) {
	t.Helper()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	if s, err := dial(addr, client); err != nil || s.DidResume {
		t.Fatalf("the first handshake: resumed %v, %v", s.DidResume, err)
	}
	meanwhile()
	s, err := dial(addr, client)
	return s.DidResume, err
}

// TestResumption is about RFC 8446, section 2.2, and RFC 5077: a session
// outlives the certificate that it began with, but is none of another listener.
func TestResumption(t *testing.T) {
	ca, clients := newAuthority(t, "ca"), newAuthority(t, "clients")
	for _, version := range versions {
		for _, asked := range []bool{false, true} {
			o := oneCertificate(t, ca)
			if asked {
				o = withRoots(t, ca, clients)
			}
			j := newJournal(t, filepath.Dir(o.Pairs[0].CertFile))
			o.Log = j.log()
			c, _ := followed(t, o, seldom)
			j.next("certificate read")
			if asked {
				j.next("client authorities read")
			}
			addr := serve(t, mustConfig(t, TLSOptions{RequireClient: asked}, c))
			client := func() *tls.Config {
				client := ca.client("a.example")
				client.MaxVersion = version
				if asked {
					client.GetClientCertificate = clients.shows(t)
				}
				return client
			}
			name := fmt.Sprintf("%s, clients asked %v", tls.VersionName(version), asked)
			if got, err := resumes(t, addr, client(), func() {}); !got || err != nil {
				t.Errorf("%s: resumed %v, %v", name, got, err)
			}
			got, err := resumes(t, addr, client(), func() {
				cert, key := ca.issue(t, newKey(t), time.Time{}, "a.example", "new.example")
				replace(t, o.Pairs[0].KeyFile, key)
				replace(t, o.Pairs[0].CertFile, cert)
				j.until("new.example")
			})
			if !got || err != nil {
				t.Errorf("%s, after another certificate was read: resumed %v, %v", name, got, err)
			}
			if s, err := dial(addr, client()); err != nil || !slices.Contains(s.PeerCertificates[0].DNSNames, "new.example") {
				t.Errorf("%s: a new session shows the old certificate, or %v", name, err)
			}

			another := serve(t, mustConfig(t, TLSOptions{RequireClient: asked}, c))
			remembers := client()
			if got, err := resumes(t, addr, remembers, func() {}); err != nil || !got {
				t.Errorf("%s: resumed %v, %v", name, got, err)
			}
			if s, err := dial(another, remembers); err != nil || s.DidResume {
				t.Errorf("%s: another listener's session was resumed: %v, %v", name, s.DidResume, err)
			}
		}
	}
}

// Roots that are read again count at once, for sessions that are resumed, too.
func TestRootsAreFollowed(t *testing.T) {
	ca, former, latter := newAuthority(t, "ca"), newAuthority(t, "former"), newAuthority(t, "latter")
	for _, version := range versions {
		o := withRoots(t, ca, former)
		j := newJournal(t, filepath.Dir(o.ClientCAFile))
		o.Log = j.log()
		c, _ := followed(t, o, seldom)
		j.next("certificate read")
		j.next(`msg="client authorities read" file=DIR/clients.pem`)
		addr := serve(t, mustConfig(t, TLSOptions{}, c))
		client := func(of authority) *tls.Config {
			client := ca.client("a.example")
			client.MaxVersion, client.GetClientCertificate = version, of.shows(t)
			return client
		}
		if _, err := dial(addr, client(latter)); err == nil {
			t.Errorf("%s: a stranger was let in", tls.VersionName(version))
		}
		replace(t, o.ClientCAFile, "nonsense")
		j.next(`error="client authorities DIR/clients.pem: no certificate in PEM form"`)
		if _, err := dial(addr, client(former)); err != nil {
			t.Errorf("%s, roots that are broken: %v", tls.VersionName(version), err)
		}
		got, err := resumes(t, addr, client(former), func() {
			replace(t, o.ClientCAFile, pemOf(former.cert)+pemOf(latter.cert))
			j.next("client authorities read")
		})
		if !got || err != nil {
			t.Errorf("%s: resumed %v, %v by a client whose roots are still there", tls.VersionName(version), got, err)
		}
		got, err = resumes(t, addr, client(former), func() {
			replace(t, o.ClientCAFile, pemOf(latter.cert))
			j.next("client authorities read")
		})
		if got || err == nil {
			t.Errorf("%s: resumed %v, %v by a client whose roots are gone", tls.VersionName(version), got, err)
		}
		if _, err := dial(addr, client(latter)); err != nil {
			t.Errorf("%s, new roots: %v", tls.VersionName(version), err)
		}
		if got, err := resumes(t, addr, client(latter), func() {}); !got || err != nil {
			t.Errorf("%s, new roots: resumed %v, %v", tls.VersionName(version), got, err)
		}
		if s := c.Stats(); s.Reloads != 2 || s.Failures != 1 || s.Failing != 0 || len(s.Certificates) != 1 {
			t.Errorf("stats %+v", s)
		}
		j.quiet()
	}
}
