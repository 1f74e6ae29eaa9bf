package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fullListeners has no option at its default, but for those that exclude what
// is shown.
const fullListeners = `
listeners:
  - address: ':8443'
    tls:
      certificates: [{cert_file: a.pem, key_file: a.key}, {cert_file: a.pem, key_file: b.key}]
      min_version: 1.3
      http2: off
      client_auth: {ca_file: clients.pem, required: off}
    hsts: {max_age: 17520h, include_subdomains: on, preload: on}
    proxy_protocol: {from: [10.0.0.0/8, 'fd00::/8', '::ffff:192.0.2.1', '::1']}
  - address: '[::1]:80'
    redirect_to_https: 443
    h2c: on
`

// listenerOf is a file with one listener that has these options at line 1,
// column 28.
func listenerOf(options string) string {
	return "listeners: [{address: a:1, " + options + "}]" + rest
}

// secureOf is one whose listener has these options beside a certificate.
func secureOf(options string) string {
	return listenerOf("tls: {certificates: [{cert_file: a, key_file: b}]" + options)
}

func TestListeners(t *testing.T) {
	own := []Certificate{{"a", "b"}}
	year := 365 * 24 * time.Hour
	secure := func(change func(*Listener)) []Listener {
		l := Listener{Address: "a:1", TLS: ListenerTLS{Certificates: own, MinVersion: TLS12, HTTP2: true}}
		change(&l)
		return []Listener{l}
	}
	tests := []struct {
		text   string
		listen string
		want   []Listener
	}{
		{rest, "127.0.0.1:8080", []Listener{{Address: "127.0.0.1:8080"}}},
		{"listen: ':0'" + rest, ":0", []Listener{{Address: ":0"}}},
		{"listeners: [{address: 'a:0'}, {address: 'a:0'}]" + rest, "", []Listener{{Address: "a:0"}, {Address: "a:0"}}},
		{fullListeners + rest, "", []Listener{
			{Address: ":8443",
				TLS: ListenerTLS{Certificates: []Certificate{{"a.pem", "a.key"}, {"a.pem", "b.key"}}, MinVersion: TLS13,
					ClientAuth: ClientAuth{CAFile: "clients.pem"}},
				HSTS: HSTS{MaxAge: 2 * year, IncludeSubdomains: true, Preload: true},
				ProxyProtocol: ProxyPeers{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
					netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("::1/128")}}},
			{Address: "[::1]:80", RedirectToHTTPS: 443, H2C: true}}},
		// The defaults of the sections.
		{secureOf("}"), "", secure(func(*Listener) {})},
		{secureOf(", min_version: '1.3'}"), "", secure(func(l *Listener) { l.TLS.MinVersion = TLS13 })},
		{secureOf(", client_auth: {ca_file: c}}"), "", secure(func(l *Listener) { l.TLS.ClientAuth = ClientAuth{"c", true} })},
		{secureOf("}, hsts: {}"), "", secure(func(l *Listener) { l.HSTS = HSTS{MaxAge: year} })},
		// An option that is off says nothing.
		{secureOf("}, h2c: off, redirect_to_https: off"), "", secure(func(*Listener) {})},
		{secureOf("}, hsts: {max_age: 1s}"), "", secure(func(l *Listener) { l.HSTS = HSTS{MaxAge: time.Second} })},
		{listenerOf("proxy_protocol: {from: [0.0.0.0/0]}"), "",
			[]Listener{{Address: "a:1", ProxyProtocol: ProxyPeers{From: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}}},
	}
	for _, tt := range tests {
		got := mustParse(t, tt.text)
		if got.Listen != tt.listen || !reflect.DeepEqual(got.Listeners, tt.want) {
			t.Errorf("%s\ngot  %q %+v\nwant %q %+v", tt.text, got.Listen, got.Listeners, tt.listen, tt.want)
		}
	}
}

const listenerOptions = "address, tls, hsts, redirect_to_https, h2c, proxy_protocol"

var faultyListeners = []struct{ text, want string }{
	// The list.
	{"listeners:" + rest,
		`f:1:11: listeners: has no value; write one, or remove the line`},
	{"listeners: []" + rest,
		`f:1:12: listeners: is empty; write listeners: [{address: 127.0.0.1:8443}], or remove the line`},
	{"listeners: ':1'" + rest,
		`f:1:12: listeners: want a list, got ":1"`},
	{"listeners: [':1', {}]" + rest,
		`f:1:13: listeners[0]: want keys and values (` + listenerOptions + `), got ":1"
f:1:19: listeners[1]: address is missing; write address: 127.0.0.1:8443`},
	{"listen: :1\nlisteners: [{address: a:2}]" + rest,
		`f:1:9: listen: listeners is written, too; remove one of them`},
	{"listeners: [{address: a, cert_file: b}]" + rest,
		`f:1:23: listeners[0].address: want host:port, got "a"; write 127.0.0.1:8080 or :8080
f:1:26: listeners[0]: unknown key "cert_file"; known here: ` + listenerOptions},
	// Addresses.
	{"listeners:\n- address: :1\n- address: 'a:1'\n- address: :1" + rest,
		`f:4:12: listeners[2].address: :1 is taken at line 2; give this listener its own port`},
	{"listeners: [{address: a:1}, {address: a:2}]\nadmin: {listen: a:2}" + rest,
		`f:2:17: admin.listen: is the same address as listeners[1].address; give it its own port`},
	{"listeners: [{address: a:1}, {address: 127.0.0.1:9901}]" + rest,
		`f:1:39: listeners[1].address: is the default of admin.listen; give one of them another port`},
	// Certificates.
	{listenerOf("tls: on"),
		`f:1:33: listeners[0].tls: want keys and values (certificates, min_version, http2, client_auth), got "on"`},
	{listenerOf("tls: {}, hsts: {}"),
		`f:1:33: listeners[0].tls: certificates is missing; write certificates: [{cert_file: cert.pem, key_file: key.pem}]`},
	{listenerOf("tls: {certificates: []}"),
		`f:1:48: listeners[0].tls.certificates: is empty; write certificates: [{cert_file: cert.pem, key_file: key.pem}]`},
	{listenerOf("tls: {certificates: [a.pem, {}, {cert_file: '', key_file: 1}, {cert_file: 1, key_file: \"a\\nb\"}]}"),
		`f:1:49: listeners[0].tls.certificates[0]: want keys and values (cert_file, key_file), got "a.pem"
f:1:56: listeners[0].tls.certificates[1]: cert_file is missing; write cert_file: cert.pem
f:1:56: listeners[0].tls.certificates[1]: key_file is missing; write key_file: key.pem
f:1:72: listeners[0].tls.certificates[2].cert_file: is empty; write the path of a PEM file
f:1:115: listeners[0].tls.certificates[3].key_file: want a text without control characters, got one after 1 bytes; write it on one line, without | or >`},
	{listenerOf("tls: {certificates: [{cert_file: a, key_file: b}, {cert_file: a, key_file: c}, {cert_file: a, key_file: b}]}"),
		`f:1:107: listeners[0].tls.certificates[2]: is the same as the one at line 1; remove one of them`},
	{secureOf(", min_version: 1.1}"),
		`f:1:92: listeners[0].tls.min_version: want 1.2 or 1.3, got "1.1"`},
	{secureOf(", client_auth: {}}"),
		`f:1:92: listeners[0].tls.client_auth: ca_file is missing; write ca_file: clients.pem`},
	{secureOf(", client_auth: {required: maybe, ca_file: ''}}"),
		`f:1:103: listeners[0].tls.client_auth.required: want on or off, got "maybe"
f:1:119: listeners[0].tls.client_auth.ca_file: is empty; write the path of a PEM file`},
	// What means nothing.
	{secureOf("}, redirect_to_https: 443, h2c: on"),
		`f:1:99: listeners[0].redirect_to_https: means nothing with tls, which is https already; remove it
f:1:109: listeners[0].h2c: means nothing with tls, where HTTP/2 is tls.http2; remove it`},
	{listenerOf("hsts: {max_age: 1h}"),
		`f:1:34: listeners[0].hsts: means nothing without tls; remove it, or write tls: {certificates: [{cert_file: cert.pem, key_file: key.pem}]}`},
	{listenerOf("redirect_to_https: 1"),
		`f:1:47: listeners[0].redirect_to_https: is the port of this listener; write that of a listener with tls, or of whoever speaks TLS before this one`},
	{listenerOf("redirect_to_https: on"),
		`f:1:47: listeners[0].redirect_to_https: want a whole number, or off, got "on"`},
	{listenerOf("redirect_to_https: 0"),
		`f:1:47: listeners[0].redirect_to_https: want 1 to 65535, or off, got 0`},
	// RFC 6797.
	{secureOf("}, hsts: {max_age: 0s}"),
		`f:1:96: listeners[0].hsts.max_age: want 1s to 87600h, got 0s`},
	{secureOf("}, hsts: {max_age: 1500ms}"),
		`f:1:96: listeners[0].hsts.max_age: want whole seconds, got 1.5s`},
	{secureOf("}, hsts: {preload: on}"),
		`f:1:96: listeners[0].hsts.preload: needs include_subdomains: on and a max_age of 8760h or more`},
	{secureOf("}, hsts: {max_age: 8759h, preload: on, include_subdomains: on}"),
		`f:1:112: listeners[0].hsts.preload: needs include_subdomains: on and a max_age of 8760h or more`},
	// The PROXY protocol.
	{listenerOf("proxy_protocol: on"),
		`f:1:44: listeners[0].proxy_protocol: want keys and values (from), got "on"`},
	{listenerOf("proxy_protocol: {}"),
		`f:1:44: listeners[0].proxy_protocol: from is missing; write from: [10.0.0.0/8]`},
	{listenerOf("proxy_protocol: {from: []}"),
		`f:1:51: listeners[0].proxy_protocol.from: is empty; write from: [10.0.0.0/8]`},
	{listenerOf("proxy_protocol: {from: [10.0.0.1/8, lb.internal, '::ffff:10.0.0.9', '::ffff:10.0.0.0/104', 'fe80::1%eth0', 10.0.0.0/33, 10.0.0.1/32, 10.0.0.1]}"),
		`f:1:52: listeners[0].proxy_protocol.from[0]: 10.0.0.1/8 has bits beyond its prefix; write 10.0.0.0/8, or 10.0.0.1 for the one address
f:1:64: listeners[0].proxy_protocol.from[1]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "lb.internal"
f:1:96: listeners[0].proxy_protocol.from[3]: want an IPv4 network in its own form, such as 10.0.0.0/8, got "::ffff:10.0.0.0/104"
f:1:119: listeners[0].proxy_protocol.from[4]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "fe80::1%eth0"
f:1:135: listeners[0].proxy_protocol.from[5]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "10.0.0.0/33"
f:1:161: listeners[0].proxy_protocol.from[7]: 10.0.0.1/32 is in the list already; remove one of them`},
}

func TestListenerFaults(t *testing.T) { checkFaults(t, faultyListeners) }

// checkListeners is what holds for the listeners of every valid file.
func checkListeners(t *testing.T, c Config) {
	t.Helper()
	if len(c.Listeners) == 0 || c.Listen != "" && (len(c.Listeners) != 1 || c.Listeners[0].Address != c.Listen) {
		t.Errorf("listen %q, listeners %+v", c.Listen, c.Listeners)
	}
	for _, l := range c.Listeners {
		secure := len(l.TLS.Certificates) > 0
		switch {
		case l.Address == "":
			t.Errorf("no address: %+v", l)
		case secure && (l.RedirectToHTTPS != 0 || l.H2C), !secure && l.HSTS != HSTS{}:
			t.Errorf("means nothing: %+v", l)
		case strings.HasSuffix(l.HSTS.MaxAge.String(), "ms"):
			t.Errorf("no whole seconds: %+v", l)
		}
		for _, p := range l.ProxyProtocol.From {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
				t.Errorf("network %v", p)
			}
		}
	}
}
