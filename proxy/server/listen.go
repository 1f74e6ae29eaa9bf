package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"syscall"

	"ringfence/proxy/config"
	"ringfence/proxy/edge"
)

// entrance is one listener for clients, and what is done with those who come in
// by it.
type entrance struct {
	cfg      config.Listener
	certs    *edge.Certificates // nil without TLS
	opts     edge.ListenerOptions
	gate     gate           // once it is open
	listener *edge.Listener // once it serves
}

// newEntrances reads the files of the listeners' certificates.
func newEntrances(cfg config.Config, log *slog.Logger) ([]*entrance, error) {
	all := make([]*entrance, 0, len(cfg.Listeners))
	for i, l := range cfg.Listeners {
		e, err := newEntrance(l, limitsOf(cfg.Server), log)
		if err != nil {
			return nil, entranceError(i, l, err)
		}
		all = append(all, e)
	}
	return all, nil
}

func entranceError(i int, l config.Listener, err error) error {
	return fmt.Errorf("listeners[%d] %s: %w", i, l.Address, err)
}

func newEntrance(l config.Listener, limits edge.Limits, log *slog.Logger) (*entrance, error) {
	e := &entrance{cfg: l, opts: listenerOptions(l, limits)}
	return e, e.openTLS(log)
}

// with returns the entrance as it is to be by another configuration. What it has of
// TLS stays where that is the same, so that clients can resume their sessions.
func (e *entrance) with(l config.Listener, limits edge.Limits, log *slog.Logger) (*entrance, error) {
	next := &entrance{cfg: l, opts: listenerOptions(l, limits), gate: e.gate, listener: e.listener}
	if reflect.DeepEqual(l.TLS, e.cfg.TLS) {
		next.certs, next.opts.TLS = e.certs, e.opts.TLS
		return next, nil
	}
	return next, next.openTLS(log)
}

func listenerOptions(l config.Listener, limits edge.Limits) edge.ListenerOptions {
	o := edge.ListenerOptions{
		Limits: limits, H2C: l.H2C, ProxyFrom: l.ProxyProtocol.From,
		Site: edge.Site{RedirectToHTTPS: l.RedirectToHTTPS},
	}
	if l.HSTS.MaxAge > 0 {
		o.Site.HSTS = edge.HSTS{
			MaxAge: l.HSTS.MaxAge, IncludeSubdomains: l.HSTS.IncludeSubdomains, Preload: l.HSTS.Preload,
		}.FieldValue()
	}
	return o
}

// openTLS reads the files of the certificates, if there are any.
func (e *entrance) openTLS(log *slog.Logger) (err error) {
	l := e.cfg
	if len(l.TLS.Certificates) == 0 {
		return nil
	}
	files := edge.CertificateOptions{ClientCAFile: l.TLS.ClientAuth.CAFile, Log: log}
	for _, c := range l.TLS.Certificates {
		files.Pairs = append(files.Pairs, edge.KeyPair{CertFile: c.CertFile, KeyFile: c.KeyFile})
	}
	o := edge.TLSOptions{HTTP2: l.TLS.HTTP2, RequireClient: l.TLS.ClientAuth.Required, MinVersion: tls.VersionTLS12}
	if l.TLS.MinVersion == config.TLS13 {
		o.MinVersion = tls.VersionTLS13
	}
	if e.certs, err = edge.NewCertificates(files); err != nil {
		return err
	}
	e.opts.TLS, err = edge.TLSConfig(o, e.certs)
	return err
}

// limitsOf are the bounds of a client's connection.
func limitsOf(s config.Server) edge.Limits {
	return edge.Limits{
		MaxHead: int(s.MaxHeadSize), MaxTarget: int(s.MaxTargetSize), MaxFields: s.MaxHeaderFields, MaxBody: int64(s.MaxBodySize),
		Idle: s.IdleTimeout, Head: s.HeadTimeout, Read: s.ReadTimeout, Write: s.WriteTimeout, Request: s.RequestTimeout,
	}
}

// capacityOf is how many clients there may be.
func capacityOf(s config.Server) edge.Capacity {
	return edge.Capacity{Connections: s.MaxConnections, PerClient: s.MaxConnectionsPerClient, Exempt: s.TrustedProxies}
}

// newH2 returns what speaks HTTP/2 within the bounds of a configuration.
func (s *Server) newH2(c config.Server) *edge.H2 {
	return edge.NewH2(s.handler.Serve, edge.H2Options{
		Limits: limitsOf(c), MaxStreams: c.MaxStreams, Log: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	})
}

// Listen opens the listeners, but for those that the process was started with. It
// fails where an address is taken.
func (s *Server) Listen() error {
	var err error
	cfg := s.now.Load().cfg
	for i, e := range s.entrances {
		option := "listen"
		if cfg.Listen == "" {
			option = fmt.Sprintf("listeners[%d]", i)
		}
		l, err := s.open(e.cfg.Address, func() (net.Listener, error) { return listen(option, e.cfg.Address) })
		if err != nil {
			return errors.Join(err, s.closeListeners())
		}
		e.gate = gate{l.(*net.TCPListener)}
	}
	if s.admin != nil {
		s.adminListener, err = s.open(cfg.Admin.Listen, func() (net.Listener, error) { return listenAdmin(cfg.Admin.Listen) })
	}
	if err = errors.Join(err, s.upgrades.inherited.Rest()); err != nil {
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
