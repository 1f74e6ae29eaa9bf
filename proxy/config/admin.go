package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strings"
	"unicode"
)

// Admin is the listener of the operator's surface, and who may do what there.
// What of Token, TokenFile and TLS.ClientCAFile is written is asked for, all of it;
// where others than this machine can connect at least one is.
type Admin struct {
	// Listen is its host:port, unix: and the absolute path of a socket that only
	// its own user can connect to, or "" for none (in a file also off).
	// Default 127.0.0.1:9901.
	Listen string `yaml:"listen" default:"127.0.0.1:9901" format:"admin-listen"`
	// Hosts are the names that it is reached by, in lower case, beside localhost and
	// IP addresses; a request for another one is refused (DNS rebinding). None with a
	// socket, no two the same. Default none.
	Hosts []string `yaml:"hosts" format:"admin-host"`
	// Token is what requests show that they may (RFC 6750, section 2.1), at least 16
	// visible ASCII characters; "" is none, or that of TokenFile. Default "".
	Token string `yaml:"token" format:"token" secret:"true"`
	// TokenFile is the path of a file whose first line is the token; it is not read
	// here. At most one of it and Token is there. Default "".
	TokenFile string `yaml:"token_file" format:"line"`
	// TLS makes its connections TLS. None with a socket. Default none.
	TLS AdminTLS `yaml:"tls" optional:"true"`
	// ReadOnly refuses what would change something. Default off.
	ReadOnly bool `yaml:"read_only" default:"off"`
	// Pprof serves the profiles of the running process. Default off.
	Pprof bool `yaml:"pprof" default:"off"`
}

// AdminTLS says how the admin listener speaks TLS. The zero value, without a
// certificate, is none. The files are not read here.
type AdminTLS struct {
	// CertFile is the path of a PEM file of the certificate and the intermediates
	// behind it. Required.
	CertFile string `yaml:"cert_file" format:"path-of-file" required:"cert_file: admin.pem"`
	// KeyFile is the path of a PEM file of its key. Required.
	KeyFile string `yaml:"key_file" format:"path-of-file" required:"key_file: admin.key"`
	// ClientCAFile is the path of a PEM file of the roots that vouch for those who
	// may; "" asks nobody for a certificate. Default "".
	ClientCAFile string `yaml:"client_ca_file" format:"line"`
}

const (
	// minToken is the least length of a token.
	minToken = 16
	// maxSocketPath is what fits into a socket's address on Linux.
	maxSocketPath = 107
)

// CheckToken says what is wrong with a token; it does not show it.
func CheckToken(token string) error {
	switch {
	case len(token) < minToken:
		return fmt.Errorf("want a token of %d characters or more, got %d; make one with: openssl rand -hex 24", minToken, len(token))
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("want a token of letters, digits and signs, without spaces; make one with: openssl rand -hex 24")
	}
	return nil
}

func checkToken(text string) error {
	if text == "" {
		return nil
	}
	return CheckToken(text)
}

func parseAdminListen(text string) (string, error) {
	socket, isSocket := strings.CutPrefix(text, "unix:")
	switch {
	case text == "" || text == "off":
		return "", nil
	case !isSocket:
		return text, checkAddress(text, true, exampleListen)
	case !strings.HasPrefix(socket, "/") || path.Clean(socket) != socket || strings.ContainsFunc(socket, unicode.IsControl):
		return "", fmt.Errorf("want the absolute path of a socket behind unix:, in its shortest form, got %q; write unix:/run/ringfence.sock", clip(text))
	case len(socket) > maxSocketPath:
		return "", fmt.Errorf("want the path of a socket in up to %d bytes, got %d; write unix:/run/ringfence.sock", maxSocketPath, len(socket))
	}
	return text, nil
}

func parseAdminHost(text string) (string, error) {
	if text == "" {
		return "", errors.New("is empty; write the name that the admin listener is reached by")
	}
	return strings.ToLower(text), checkServerName(text)
}

// validateAdmin wants somebody to be kept out where anybody could come in, and
// nothing said that would have no effect.
func validateAdmin(d *decoder, a Admin) {
	validateDistinct(d, "admin.hosts", a.Hosts)
	if a.Token != "" && a.TokenFile != "" {
		d.faultAt("admin.token_file", "token is written, too; remove one of them")
	}
	if !d.sound("admin.listen") {
		return
	}
	said := map[string]bool{
		"hosts": len(a.Hosts) > 0, "tls": d.written("admin.tls"), "token": a.Token != "", "token_file": a.TokenFile != "",
		"read_only": a.ReadOnly, "pprof": a.Pprof,
	}
	switch {
	case a.Listen == "":
		for option, there := range said {
			if there {
				d.faultAt("admin."+option, "means nothing without a listener; remove it or write listen: 127.0.0.1:9901")
			}
		}
	case strings.HasPrefix(a.Listen, "unix:"):
		for _, option := range []string{"hosts", "tls"} {
			if said[option] {
				d.faultAt("admin."+option, "means nothing to a socket; remove it or write listen: 127.0.0.1:9901")
			}
		}
	case !isLoopback(a.Listen) && d.sound("admin.token", "admin.token_file", "admin.tls") &&
		a.Token == "" && a.TokenFile == "" && a.TLS.ClientCAFile == "":
		d.faultAt("admin.listen", "others than this machine can reach it; keep them out by admin.token_file, or by admin.tls with a client_ca_file, or write 127.0.0.1:9901")
	}
}

// isLoopback reports whether only this machine can connect to an address.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
