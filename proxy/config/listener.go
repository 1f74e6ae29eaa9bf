package config

import (
	"net/netip"
	"time"
)

// Listener is one address that clients connect to.
type Listener struct {
	// Address is its host:port; an empty host means all interfaces, port 0 a
	// free one. No two listeners have the same, but for port 0. Required.
	Address string `yaml:"address" format:"listen" required:"address: 127.0.0.1:8443"`
	// TLS makes its connections TLS. Default none.
	TLS ListenerTLS `yaml:"tls" optional:"true"`
	// HSTS goes with every answer. There only with TLS. Default none.
	HSTS HSTS `yaml:"hsts" optional:"true"`
	// RedirectToHTTPS is the port of the https URLs that every request is
	// redirected to, on the host that it asked for; 0, in a file off, redirects
	// nothing. There only without TLS, and not the listener's own port.
	// Default off.
	RedirectToHTTPS int `yaml:"redirect_to_https" default:"off" range:"1..65535" off:"true"`
	// H2C takes HTTP/2 without TLS from clients that know of it beforehand
	// (RFC 9113, section 3.3). There only without TLS. Default off.
	H2C bool `yaml:"h2c" default:"off"`
	// ProxyProtocol says who tells of its clients by a header before the first
	// byte. Default nobody.
	ProxyProtocol ProxyPeers `yaml:"proxy_protocol" optional:"true"`
}

// ListenerTLS says how a listener speaks TLS. The zero value, without
// certificates, is none. The files are not read here.
type ListenerTLS struct {
	// Certificates are what the listener proves its names with. Which one a
	// client gets is said by their names and what the client can verify; the
	// first is for clients that ask for no name or an unknown one. At least
	// one, none twice. Required.
	Certificates []Certificate `yaml:"certificates" required:"certificates: [{cert_file: cert.pem, key_file: key.pem}]"`
	// MinVersion is the oldest version spoken. Default 1.2.
	MinVersion TLSVersion `yaml:"min_version" default:"1.2" oneof:"1.2 1.3"`
	// HTTP2 offers HTTP/2 to clients that can speak it (ALPN, RFC 7301).
	// Default on.
	HTTP2 bool `yaml:"http2" default:"on"`
	// ClientAuth asks clients for certificates of their own. Default none.
	ClientAuth ClientAuth `yaml:"client_auth" optional:"true"`
}

// Certificate names the files of one certificate.
type Certificate struct {
	// CertFile is the path of a PEM file of the certificate and the
	// intermediates behind it. Required.
	CertFile string `yaml:"cert_file" format:"path-of-file" required:"cert_file: cert.pem"`
	// KeyFile is the path of a PEM file of its key. Required.
	KeyFile string `yaml:"key_file" format:"path-of-file" required:"key_file: key.pem"`
}

// TLSVersion is a version of TLS.
type TLSVersion string

// The versions (RFC 5246, RFC 8446).
const (
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// ClientAuth says which clients' certificates are taken. The zero value asks
// for none.
type ClientAuth struct {
	// CAFile is the path of a PEM file of the roots that vouch for clients. It
	// is not read here. Required.
	CAFile string `yaml:"ca_file" format:"path-of-file" required:"ca_file: clients.pem"`
	// Required refuses the clients that show no certificate. What is shown must
	// be good in any case. Default on.
	Required bool `yaml:"required" default:"on"`
}

// HSTS tells browsers to come by https only (RFC 6797). The zero value tells
// them nothing.
type HSTS struct {
	// MaxAge is how long they are to remember it, in whole seconds; 1s makes
	// them forget. Default 8760h, a year.
	MaxAge time.Duration `yaml:"max_age" default:"8760h" range:"1s..87600h"`
	// IncludeSubdomains holds for all names below the host, too. Default off.
	IncludeSubdomains bool `yaml:"include_subdomains" default:"off"`
	// Preload asks to be built into browsers, whose lists take only a MaxAge of
	// a year or more with IncludeSubdomains. Default off.
	Preload bool `yaml:"preload" default:"off"`
}

// ProxyPeers says which peers are proxies that begin each connection with a
// header of the PROXY protocol, version 1 or 2. The zero value is none.
type ProxyPeers struct {
	// From are the addresses of the peers that must begin with it, and are
	// believed; all others are clients, and may not. No two the same. Required.
	From []netip.Prefix `yaml:"from" required:"from: [10.0.0.0/8]"`
}
