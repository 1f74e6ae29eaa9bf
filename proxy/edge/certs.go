package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// KeyPair names the PEM files of one certificate: the certificate with the
// intermediates behind it, and its key. One file may be both.
type KeyPair struct {
	CertFile, KeyFile string
}

// CertificateOptions say where the certificates of a listener are.
type CertificateOptions struct {
	// Pairs are the certificates; at least one. The order decides between those
	// that fit a client equally well.
	Pairs []KeyPair
	// ClientCAFile is the path of a PEM file of the roots that vouch for
	// clients. Default "": clients are asked for nothing.
	ClientCAFile string
	// Log hears of what is read, and of what cannot be; required.
	Log *slog.Logger
}

// Certificates are the certificates of a listener, and the roots that vouch for
// its clients, as they are in their files: what changes there counts from the
// next handshake on, between Start and Close. What cannot be read or used keeps
// what was there before. Its methods may be called from any goroutine, but for
// Start and Close, which are their owner's.
type Certificates struct {
	log     *slog.Logger
	current atomic.Pointer[credentials]

	reloads, failures atomic.Uint64
	failing           atomic.Int64

	poll    time.Duration
	refresh chan struct{} // holds one: the files are to be read
	stop    context.CancelFunc
	watcher sync.WaitGroup
	// The goroutine that reads the files alone uses what follows.
	sources []source
	late    error // why changes may be seen late; nil: they are not
}

// CertificateStats are counts since the beginning, and what is in use.
type CertificateStats struct {
	// Certificates are in the order of the options' pairs.
	Certificates []CertificateState
	// Reloads counts the certificates and files of roots that were replaced,
	// Failures what could not be used in their place. Failing is how many of
	// them cannot be read or used as they are now in their files.
	Reloads, Failures uint64
	Failing           int
}

// CertificateState is one certificate in use.
type CertificateState struct {
	// File is the path of its PEM file, Names are its DNS names.
	File     string
	Names    []string
	NotAfter time.Time
}

// credentials are what a handshake uses. They are never changed.
type credentials struct {
	files []string           // of all, by index
	all   []*tls.Certificate // by index of the pair
	exact map[string][]*tls.Certificate
	wild  map[string][]*tls.Certificate // by what follows "*."
	roots *x509.CertPool                // nil: clients are asked for nothing
}

// NewCertificates reads the files. The error names each that cannot be read or
// used, and why; what has expired is used, with a warning.
func NewCertificates(o CertificateOptions) (*Certificates, error) {
	if len(o.Pairs) == 0 {
		return nil, errors.New("no certificates")
	}
	c := &Certificates{log: o.Log, poll: pollInterval, refresh: make(chan struct{}, 1)}
	first := credentials{all: make([]*tls.Certificate, len(o.Pairs))}
	for i, p := range o.Pairs {
		first.files = append(first.files, p.CertFile)
		c.sources = append(c.sources, pairSource(i, p))
	}
	if o.ClientCAFile != "" {
		c.sources = append(c.sources, rootsSource(o.ClientCAFile))
	}
	var faults []error
	for i := range c.sources {
		_, err := c.sources[i].load(&first)
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	c.current.Store(first.indexed())
	for i := range c.sources {
		c.report(i)
	}
	return c, nil
}

// Stats may be called at any time. The caller owns what it returns, but for the
// names.
func (c *Certificates) Stats() CertificateStats {
	now := c.current.Load()
	s := CertificateStats{Reloads: c.reloads.Load(), Failures: c.failures.Load(), Failing: int(c.failing.Load())}
	for i, cert := range now.all {
		s.Certificates = append(s.Certificates, CertificateState{now.files[i], cert.Leaf.DNSNames, cert.Leaf.NotAfter})
	}
	return s
}

// GetCertificate is for [tls.Config]. It takes the first certificate that has
// the very name that the client asks for (SNI; RFC 6066, section 3) and that
// the client can verify; else such a one with a wildcard for its first label
// (RFC 9525, section 6.3); else the first that the client can verify but for
// the name; else the first.
func (c *Certificates) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load().choose(hello), nil
}

func (c *credentials) choose(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.ToLower(hello.ServerName)
	_, parent, _ := strings.Cut(name, ".")
	nameless := *hello // names were looked at when they were indexed
	nameless.ServerName = ""
	for _, fitting := range [...][]*tls.Certificate{c.exact[name], c.wild[parent], c.all} {
		for _, cert := range fitting {
			if nameless.SupportsCertificate(cert) == nil {
				return cert
			}
		}
	}
	return c.all[0]
}

// indexed returns c with its certificates to be found by name.
func (c credentials) indexed() *credentials {
	c.exact, c.wild = make(map[string][]*tls.Certificate), make(map[string][]*tls.Certificate)
	for _, cert := range c.all {
		for _, name := range cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			if parent, wild := strings.CutPrefix(name, "*."); wild {
				c.wild[parent] = append(c.wild[parent], cert)
			} else {
				c.exact[name] = append(c.exact[name], cert)
			}
		}
	}
	return &c
}

// report logs what was read from the i-th source.
func (c *Certificates) report(i int) {
	now := c.current.Load()
	if i >= len(now.all) {
		c.log.Info("client authorities read", "file", c.sources[i].files[0])
		return
	}
	leaf := now.all[i].Leaf
	attrs := []any{"file", now.files[i], "names", leaf.DNSNames, "expires", leaf.NotAfter}
	switch at := time.Now(); {
	case at.After(leaf.NotAfter):
		c.log.Warn("certificate has expired", attrs...)
	case at.Before(leaf.NotBefore):
		c.log.Warn("certificate is not valid yet", append(attrs, "begins", leaf.NotBefore)...)
	default:
		c.log.Info("certificate read", attrs...)
	}
}
