package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
)

// TLSOptions say how a listener speaks TLS.
type TLSOptions struct {
	// MinVersion is the oldest version spoken: tls.VersionTLS12, the default, or
	// tls.VersionTLS13.
	MinVersion uint16
	// HTTP2 offers HTTP/2 beside HTTP/1.1 (ALPN, RFC 7301). Default off.
	HTTP2 bool
	// RequireClient refuses clients without a certificate; else one that is
	// shown must be good, and none need be. There only where the certificates
	// have a ClientCAFile. Default off.
	RequireClient bool
}

// TLSConfig returns the configuration of a listener's handshakes, with Go's
// choice of cipher suites and curves. The caller must not change it, and may use
// it for any number of connections at once; c must follow its files meanwhile.
// The error says which option is wrong.
//
// Sessions are resumed by tickets (RFC 8446, section 2.2; RFC 5077), whose keys
// are the configuration's own and change daily: a certificate that is read
// again ends no session, and a session of one listener is none of another. A
// client's certificate is verified again when its session is resumed, by the
// roots of that moment.
func TLSConfig(o TLSOptions, c *Certificates) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: c.GetCertificate}
	switch o.MinVersion {
	case 0, tls.VersionTLS12:
	case tls.VersionTLS13:
		config.MinVersion = tls.VersionTLS13
	default:
		return nil, fmt.Errorf("%s cannot be the oldest version", tls.VersionName(o.MinVersion))
	}
	if o.HTTP2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	config.ClientCAs = c.current.Load().roots
	switch {
	case config.ClientCAs == nil && o.RequireClient:
		return nil, errors.New("clients' certificates need roots to verify them by")
	case config.ClientCAs == nil:
		return config, nil
	case o.RequireClient:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return followRoots(config, c), nil
}

// followRoots returns a configuration that verifies clients by the roots of the
// moment and else is config. It makes another one where the roots have changed,
// not for each connection; ticket keys stay those of the outer one.
func followRoots(config *tls.Config, c *Certificates) *tls.Config {
	var last atomic.Pointer[tls.Config]
	last.Store(config.Clone())
	outer := config.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		roots, now := c.current.Load().roots, last.Load()
		if now.ClientCAs != roots {
			// Several connections may do this at once, to the same end.
			now = config.Clone()
			now.ClientCAs = roots
			last.Store(now)
		}
		return now, nil
	}
	return outer
}
