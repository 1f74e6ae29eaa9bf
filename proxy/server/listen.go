package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"ringfence/proxy/config"
	"ringfence/proxy/edge"
)

// entrance is one listener for clients, and what is done with those who come in
// by it.
type entrance struct {
	cfg   config.Listener
	certs *edge.Certificates // nil without TLS
	opts  edge.ListenerOptions
	gate  gate // once it is open
}

// newEntrances reads the files of the listeners' certificates.
func newEntrances(cfg config.Config, log *slog.Logger) ([]*entrance, error) {
	all := make([]*entrance, 0, len(cfg.Listeners))
	for i, l := range cfg.Listeners {
		e, err := newEntrance(l, limitsOf(cfg.Server), log)
		if err != nil {
			return nil, fmt.Errorf("listeners[%d] %s: %w", i, l.Address, err)
		}
		all = append(all, e)
	}
	return all, nil
}

func newEntrance(l config.Listener, limits edge.Limits, log *slog.Logger) (*entrance, error) {
	e := &entrance{cfg: l, opts: edge.ListenerOptions{
		Limits: limits, H2C: l.H2C, ProxyFrom: l.ProxyProtocol.From,
		Site: edge.Site{RedirectToHTTPS: l.RedirectToHTTPS},
	}}
	if l.HSTS.MaxAge > 0 {
		e.opts.Site.HSTS = edge.HSTS{
			MaxAge: l.HSTS.MaxAge, IncludeSubdomains: l.HSTS.IncludeSubdomains, Preload: l.HSTS.Preload,
		}.FieldValue()
	}
	if len(l.TLS.Certificates) == 0 {
		return e, nil
	}
	files := edge.CertificateOptions{ClientCAFile: l.TLS.ClientAuth.CAFile, Log: log}
	for _, c := range l.TLS.Certificates {
		files.Pairs = append(files.Pairs, edge.KeyPair{CertFile: c.CertFile, KeyFile: c.KeyFile})
	}
	o := edge.TLSOptions{HTTP2: l.TLS.HTTP2, RequireClient: l.TLS.ClientAuth.Required, MinVersion: tls.VersionTLS12}
	if l.TLS.MinVersion == config.TLS13 {
		o.MinVersion = tls.VersionTLS13
	}
	var err error
	if e.certs, err = edge.NewCertificates(files); err != nil {
		return nil, err
	}
	e.opts.TLS, err = edge.TLSConfig(o, e.certs)
	return e, err
}

// limitsOf are the bounds of a client's connection.
func limitsOf(s config.Server) edge.Limits {
	return edge.Limits{
		MaxHead: int(s.MaxHeadSize), MaxTarget: int(s.MaxTargetSize), MaxFields: s.MaxHeaderFields, MaxBody: int64(s.MaxBodySize),
		Idle: s.IdleTimeout, Head: s.HeadTimeout, Read: s.ReadTimeout, Write: s.WriteTimeout, Request: s.RequestTimeout,
	}
}

// Listen opens the listeners. It fails where an address is taken.
func (s *Server) Listen() error {
	var err error
	for i, e := range s.entrances {
		option := "listen"
		if s.cfg.Listen == "" {
			option = fmt.Sprintf("listeners[%d]", i)
		}
		l, err := listen(option, e.cfg.Address)
		if err != nil {
			return errors.Join(err, s.closeListeners())
		}
		e.gate = gate{l.(*net.TCPListener)}
	}
	if s.admin == nil {
		return nil
	}
	if s.adminListener, err = listenAdmin(s.cfg.Admin.Listen); err != nil {
		return errors.Join(err, s.closeListeners())
	}
	return nil
}

// closeListeners closes those that are open.
func (s *Server) closeListeners() (err error) {
	for _, e := range s.entrances {
		if e.gate.TCPListener != nil {
			err = errors.Join(err, e.gate.Close())
		}
	}
	if s.adminListener != nil {
		err = errors.Join(err, s.adminListener.Close())
	}
	return err
}

func listen(option, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s %s: the address is in use by another program; stop it, or choose another address", option, address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", option, address, cause(err))
	}
	return l, nil
}

// cause drops the operation and address that a network error repeats.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Addrs returns the addresses that clients connect to, after Listen, in the order
// of the configuration.
func (s *Server) Addrs() []string {
	all := make([]string, len(s.entrances))
	for i, e := range s.entrances {
		all[i] = e.gate.Addr().String()
	}
	return all
}
