package edge

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// parsePair reads a certificate, with the intermediates behind it, and its key.
// Each certificate of the chain is parsed: clients would refuse a broken one.
func parsePair(certText, keyText []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, err
	}
	for i, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if i == 0 {
			pair.Leaf = cert
		}
	}
	return &pair, nil
}

// parseRoots reads certificates, of which there must be one at least, and
// nothing that is not one.
func parseRoots(text []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	for n := 1; ; n++ {
		block, rest := pem.Decode(text)
		switch {
		case block == nil && bytes.Contains(text, []byte("-----BEGIN")):
			return nil, fmt.Errorf("PEM block %d is malformed", n)
		case block == nil && n == 1:
			return nil, errors.New("no certificate in PEM form")
		case block == nil:
			return roots, nil
		case block.Type != "CERTIFICATE":
			return nil, fmt.Errorf("PEM block %d is no certificate but: %s", n, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		roots.AddCert(cert)
		text = rest
	}
}
