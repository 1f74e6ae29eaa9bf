package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// soon is how long before its end a certificate had better be another one.
const soon = 7 * 24 * time.Hour

// certificates warns of files that cannot be read, and of what they hold.
func (w *warner) certificates(c Config, now time.Time, read func(string) ([]byte, error)) {
	f := certFiles{w, now, read}
	for i, l := range c.Listeners {
		path := fmt.Sprintf("listeners[%d].tls", i)
		for j, cert := range l.TLS.Certificates {
			at := fmt.Sprintf("%s.certificates[%d]", path, j)
			f.pair(at+".cert_file", cert.CertFile, at+".key_file", cert.KeyFile)
		}
		f.roots(path+".client_auth.ca_file", l.TLS.ClientAuth.CAFile)
	}
	f.pair("admin.tls.cert_file", c.Admin.TLS.CertFile, "admin.tls.key_file", c.Admin.TLS.KeyFile)
	f.roots("admin.tls.client_ca_file", c.Admin.TLS.ClientCAFile)
	const redis = "cache.shared.redis"
	f.pair(redis+".tls_cert_file", c.Cache.Shared.Redis.TLSCertFile, redis+".tls_key_file", c.Cache.Shared.Redis.TLSKeyFile)
	f.roots(redis+".tls_ca_file", c.Cache.Shared.Redis.TLSCAFile)
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u, path := c.Upstreams[name], join("upstreams", name)
		f.pair(path+".tls_cert_file", u.TLSCertFile, path+".tls_key_file", u.TLSKeyFile)
		f.roots(path+".tls_ca_file", u.TLSCAFile)
	}
}

type certFiles struct {
	*warner
	now  time.Time
	read func(string) ([]byte, error)
}

// pair judges a certificate with its key, and roots those who vouch; "" is none.
func (f certFiles) pair(certPath, certFile, keyPath, keyFile string) {
	if certFile == "" {
		return
	}
	cert, certErr := f.read(certFile)
	if certErr != nil {
		f.warn(WarnCertificate, certPath, "cannot be read: %v", certErr)
	}
	key, keyErr := f.read(keyFile)
	if keyErr != nil {
		f.warn(WarnCertificate, keyPath, "cannot be read: %v", keyErr)
	}
	if certErr != nil || keyErr != nil {
		return
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		f.warn(WarnCertificate, certPath, "%s is no certificate for the key in %s: %v", certFile, keyFile, err)
		return
	}
	f.judge(certPath, certFile, pair.Leaf)
}

func (f certFiles) roots(path, file string) {
	if file == "" {
		return
	}
	text, err := f.read(file)
	if err != nil {
		f.warn(WarnCertificate, path, "cannot be read: %v", err)
		return
	}
	roots, err := parseRoots(text)
	if err != nil {
		f.warn(WarnCertificate, path, "%s: %v", file, err)
		return
	}
	// Of several the others are still of use.
	if valid := func(c *x509.Certificate) bool { return !f.now.After(c.NotAfter) }; !slices.ContainsFunc(roots, valid) {
		f.judge(path, file, roots[0])
	}
}

func parseRoots(text []byte) (roots []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		roots = append(roots, c)
	}
	if len(roots) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return roots, nil
}

// judge warns of a certificate that nobody takes.
func (f certFiles) judge(path, file string, c *x509.Certificate) {
	switch {
	case f.now.After(c.NotAfter):
		f.warn(WarnCertificate, path, "%s has expired on %s", file, c.NotAfter.UTC().Format(time.DateOnly))
	case f.now.Before(c.NotBefore):
		f.warn(WarnCertificate, path, "%s is not valid before %s", file, c.NotBefore.UTC().Format(time.DateTime))
	case c.NotAfter.Sub(f.now) < soon:
		f.warn(WarnCertificate, path, "%s expires on %s", file, c.NotAfter.UTC().Format(time.DateTime))
	}
}
