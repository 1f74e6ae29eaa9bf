package upstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// TLSOptions say how the servers of a pool are spoken to over TLS: 1.2 or
// later, with HTTP/1.1 by ALPN (RFC 7301), and a server's last session resumed.
// The zero value verifies against the system's authorities and the host name of
// each server's address.
type TLSOptions struct {
	// CA holds the certificates of the authorities that servers may be vouched
	// for by. Default: those of the system.
	CA PEM
	// Certificate, with its chain, and Key are what servers that ask for it are
	// shown. Default: nothing.
	Certificate, Key PEM
	// ServerName is the name that a server is asked for (SNI; RFC 6066,
	// section 3) and that its certificate must have. Default: the host of its
	// address.
	ServerName string
	// Insecure takes any certificate for any name. It excludes CA.
	Insecure bool
}

// PEM is a text of PEM blocks (RFC 7468). The zero value stands for none.
type PEM struct {
	// Source is where the text comes from, for errors: the path of a file.
	Source string
	// Text is the text itself.
	Text []byte
}

// ReadPEM reads the file at path. The error names it.
func ReadPEM(path string) (PEM, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return PEM{}, err
	}
	return PEM{Source: path, Text: text}, nil
}

// isSet reports whether the text was given, be it empty.
func (p PEM) isSet() bool { return p.Source != "" || p.Text != nil }

// newTLS makes the configuration of the connections of a pool, to be handed to
// its servers. The error says which option is wrong, and where in its text.
func newTLS(o TLSOptions) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		ServerName: o.ServerName, InsecureSkipVerify: o.Insecure,
	}
	if o.ServerName != "" && !isHostName(o.ServerName) {
		return nil, fmt.Errorf("server name %q: not a host name without a port, nor an IP address", o.ServerName)
	}
	if o.CA.isSet() {
		if o.Insecure {
			return nil, errors.New("authorities are of no use where any certificate is taken")
		}
		pool, err := authorities(o.CA.Text)
		if err != nil {
			return nil, fmt.Errorf("authorities %s: %w", o.CA.Source, err)
		}
		c.RootCAs = pool
	}
	switch {
	case o.Certificate.isSet() != o.Key.isSet():
		return nil, errors.New("a client certificate and its key need each other")
	case o.Certificate.isSet():
		pair, err := tls.X509KeyPair(o.Certificate.Text, o.Key.Text)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s with key %s: %w", o.Certificate.Source, o.Key.Source, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// isHostName reports whether s can be looked for in a certificate.
func isHostName(s string) bool {
	return net.ParseIP(s) != nil || !strings.ContainsAny(s, ":/[]@ \t\r\n") && strings.Trim(s, ".") != ""
}

// authorities reads certificates, of which there must be one at least, and
// nothing that is not one.
func authorities(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for n := 1; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil {
			switch {
			case bytes.Contains(text, []byte("-----BEGIN")):
				return nil, fmt.Errorf("PEM block %d is malformed", n)
			case n == 1:
				return nil, errors.New("no certificate in PEM form")
			}
			return pool, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %d is no certificate but: %s", n, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		pool.AddCert(cert)
		text = rest
	}
}

// tlsFor returns the configuration of one server's connections: for its name,
// where config has none, and with a memory of its own for the last session
// (RFC 8446, section 2.2), which other servers cannot resume.
func tlsFor(config *tls.Config, name string) *tls.Config {
	c := config.Clone()
	if c.ServerName == "" {
		c.ServerName = name
	}
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return c
}
