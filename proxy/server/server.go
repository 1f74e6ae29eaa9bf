// Package server is where a configuration becomes a running proxy: it builds
// the pools and the handler, opens the listeners, serves, and drains.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy"
	"ringfence/proxy/admin"
	"ringfence/proxy/config"
	"ringfence/proxy/edge"
	"ringfence/proxy/handover"
	"ringfence/proxy/upstream"
)

// Server is one proxy: its listeners and everything behind them.
type Server struct {
	log      *slog.Logger
	now      atomic.Pointer[running]
	handler  *proxy.Handler
	keeper   *keeper // nil without a snapshot
	door     *edge.Door
	front    *fasthttp.Server
	admin    *admin.Server // nil without an admin listener
	reloads  *reloads
	upgrades *upgrades
	notifier atomic.Pointer[handover.Notifier]

	// The goroutine that reloads alone changes these while the server runs.
	h2s           []*edge.H2 // the one in use, and before it those that have connections
	entrances     []*entrance
	adminListener net.Listener
	sockets       []*socket // of the entrances, in their order, and of adminListener
	adminServes   sync.WaitGroup
	adminCerts    *edge.Certificates // nil without TLS
	adminTLS      *tls.Config
	unready       atomic.Pointer[string] // why no requests are taken, "" while they are
}

// New builds a server from a valid configuration. It opens the access log, but no
// socket, and starts no goroutine but the memory tier's; the caller must call Run
// or Close.
// version is shown by the admin surface.
func New(cfg config.Config, version string, log *slog.Logger) (*Server, error) {
	s := &Server{log: log, reloads: newReloads(), upgrades: newUpgrades(version)}
	s.notifier.Store(new(handover.Notifier))
	now := &running{cfg: cfg}
	s.now.Store(now)
	s.setUnready(unreadyNew)
	var err error
	if now.pools, now.tls, err = newPools(cfg, log); err != nil {
		return nil, err
	}
	opts, err := handlerOptions(cfg, now.pools, log)
	if err != nil {
		return nil, err
	}
	now.shared = opts.Shared
	if now.access, err = newAccessLog(cfg.AccessLog, log); err != nil {
		return nil, err
	}
	opts.AccessLog = now.access
	s.keeper = newKeeper(cfg.Cache.Snapshot, log)
	s.keeper.configure(&opts)
	if s.handler, err = proxy.New(opts); err != nil {
		s.closeAccessLog()
		return nil, err
	}
	if s.entrances, err = newEntrances(cfg, log); err != nil {
		s.closeAccessLog()
		return nil, errors.Join(err, s.release(context.Background()))
	}
	s.door = edge.NewDoor(capacityOf(cfg.Server))
	s.front = edge.NewServer(s.handler.Serve, frontLog{log})
	now.h2 = s.newH2(cfg.Server)
	s.h2s = []*edge.H2{now.h2}
	s.front.NextProto("h2", func(c net.Conn) error { return s.now.Load().h2.Serve(c) })
	if err := s.newAdmin(cfg.Admin, version); err != nil {
		s.closeAccessLog()
		return nil, errors.Join(err, s.release(context.Background()))
	}
	return s, nil
}

// frontLog takes what fasthttp has to say of single connections, which is a
// client's doing and not worth more than a debug line.
type frontLog struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (l frontLog) Printf(format string, args ...any) {
	l.log.Debug("connection", "event", fmt.Sprintf(format, args...))
}

// Run serves until ctx ends or another process has taken over, then stops
// accepting, lets the requests in flight end for up to the configured shutdown
// timeout, and frees everything. Listen comes first. The error says why it stopped
// serving without being told to.
func (s *Server) Run(ctx context.Context) error {
	defer s.openAccessLog()()
	hangups, end := s.hangups()
	defer end()
	s.keeper.start(s.handler)
	for _, p := range s.now.Load().pools {
		p.Start()
	}
	var watched <-chan error
	if !s.upgrades.succeeds() {
		watched = s.serveAdmin()
	}
	s.awaitServers(ctx)
	served := s.serve()
	if watched == nil { // until now the predecessor answers, who is ready
		watched = s.serveAdmin()
	}
	s.setUnready("")
	s.log.Info("listening", "address", strings.Join(s.Addrs(), " "), "admin", s.AdminAddr())
	if err := s.takeOver(ctx); err != nil {
		return errors.Join(err, s.drain(served))
	}
	defer s.notifyReady()()
	unfollow := s.follow(hangups)
	unupgrade := s.followUpgrades()
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
		served <- nil // drain waits for one of each
	case err = <-watched:
	case <-s.upgrades.over:
	}
	if !s.upgrades.handedOver() { // else who asks is answered by the one or the other, and one is ready
		s.setUnready(unreadyDrain)
	}
	unupgrade()
	unfollow()
	return errors.Join(err, s.drain(served))
}

// serve begins to accept clients. Each listener's end is sent to the channel, nil
// where it was told to end.
func (s *Server) serve() chan error {
	served := make(chan error, len(s.entrances))
	for _, e := range s.entrances {
		if e.certs != nil {
			e.certs.Start()
		}
		l := edge.NewListener(e.gate, s.door, s.handler.Hit, e.opts)
		e.listener = l
		go func() { served <- s.front.Serve(l) }()
	}
	return served
}

// maxFirst bounds how long the servers' names and first checks are waited for.
const maxFirst = 10 * time.Second

// awaitServers waits, before the first request, until the servers' names were
// looked up once, and, where that is wanted, the servers were checked once.
// Clients that connect meanwhile wait in the listener's queue.
func (s *Server) awaitServers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxFirst)
	defer cancel()
	now := s.now.Load()
	for name, p := range now.pools {
		s.setUnready("upstream " + name + " is waited for: its servers' names, or their first checks")
		s.awaitServersOf(ctx, p, now.cfg.Upstreams[name])
	}
}

func (s *Server) awaitServersOf(ctx context.Context, p *upstream.Pool, u config.Upstream) {
	if err := p.First(ctx, u.HealthCheck.WaitForFirstCheck); errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("not every server was checked before the first request", "upstream", p.Name(), "waited", maxFirst.String())
	}
}

// Close frees a server that was not run.
func (s *Server) Close() error {
	s.closeAccessLog()
	return errors.Join(s.closeListeners(), s.release(context.Background()))
}
