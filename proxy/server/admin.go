package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"ringfence/proxy/admin"
	"ringfence/proxy/config"
	"ringfence/proxy/edge"
)

// newAdmin builds the operator's surface, where there is one. It reads the files
// that are named there.
func (s *Server) newAdmin(c config.Admin, version string) error {
	if c.Listen == "" {
		return nil
	}
	token, err := tokenOf(c, s.log)
	if err != nil {
		return fmt.Errorf("admin.token_file: %w", err)
	}
	if c.TLS.CertFile != "" {
		s.adminCerts, err = edge.NewCertificates(edge.CertificateOptions{
			Pairs: []edge.KeyPair{{CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile}}, ClientCAFile: c.TLS.ClientCAFile, Log: s.log,
		})
		if err == nil {
			// A certificate is wanted by the surface: probes have none.
			s.adminTLS, err = edge.TLSConfig(edge.TLSOptions{}, s.adminCerts)
		}
		if err != nil {
			return fmt.Errorf("admin.tls: %w", err)
		}
	}
	s.admin = admin.New(admin.Options{
		State: s.state, HotKeys: s.handler.HotKeys, Failures: s.handler.Failures,
		Drain: s.drainServer, Purge: s.handler.Purge, Explain: s.explain, Reload: s.Reload, Upgrade: s.Upgrade, Unready: s.whyUnready, Version: version, PID: os.Getpid(), Pprof: c.Pprof, Log: s.log,
		Access: admin.Access{
			Hosts: hostsOf(c), Socket: strings.HasPrefix(c.Listen, "unix:"), Token: token,
			Certificate: c.TLS.ClientCAFile != "", ReadOnly: c.ReadOnly,
		},
	})
	return nil
}

// hostsOf are the names that the surface is reached by, that of its own address
// among them.
func hostsOf(c config.Admin) []string {
	host, _, _ := net.SplitHostPort(c.Listen)
	return slices.Concat(c.Hosts, []string{strings.ToLower(host)})
}

// tokenOf returns what gives the token that is wanted, or nil where none is. A file
// is read anew each time, so that a token that is changed or removed there counts
// no longer.
func tokenOf(c config.Admin, log *slog.Logger) (func() (string, error), error) {
	switch {
	case c.Token != "":
		return func() (string, error) { return c.Token, nil }, nil
	case c.TokenFile == "":
		return nil, nil
	}
	read := func() (string, error) {
		token, err := firstLine(c.TokenFile)
		if err == nil {
			err = config.CheckToken(token)
		}
		return token, err
	}
	if _, err := read(); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	said := "" // in the log, of the present fault
	return func() (string, error) {
		token, err := read()
		now := ""
		if err != nil {
			token, now = "", err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		if now != said && now != "" {
			log.Warn("nobody is let in to the admin listener", "token_file", c.TokenFile, "error", err)
		}
		said = now
		return token, err
	}, nil
}

// firstLine reads a secret from a file.
func firstLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// listenAdmin opens the admin listener.
func listenAdmin(address string) (net.Listener, error) {
	if socket, ok := strings.CutPrefix(address, "unix:"); ok {
		l, err := listenSocket(socket)
		if err != nil {
			return nil, fmt.Errorf("admin.listen %s: %w", address, err)
		}
		return l, nil
	}
	return listen("admin.listen", address)
}

// socketMode lets only the user of the process connect.
const socketMode = 0o600

// listenSocket listens on a Unix socket. One that a process has left behind that
// is no more makes room.
func listenSocket(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			// On Linux the file has this mode from the first moment on; elsewhere this
			// fails, and it has it a moment later.
			_ = syscall.Fchmod(int(fd), socketMode)
		})
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if !isLeft(path) {
			return nil, errors.New("the socket is in use by another program, or no socket; stop it, or choose another path")
		}
		if err = os.Remove(path); err == nil {
			l, err = config.Listen(context.Background(), "unix", path)
		}
	}
	if err != nil {
		return nil, cause(err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// isLeft reports whether there is a socket at path on which nobody listens.
func isLeft(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		// It was only to see whether somebody is there.
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// AdminAddr returns the admin listener's address after Listen: host:port, unix: and
// a path, or "".
func (s *Server) AdminAddr() string {
	if s.adminListener == nil {
		return ""
	}
	a := s.adminListener.Addr()
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// serveAdmin answers operators, where there is a surface, until it is closed; the
// error, which comes over the channel, says why it has ended by itself.
func (s *Server) serveAdmin() <-chan error {
	ended := make(chan error, 1)
	if s.admin == nil {
		return ended
	}
	if s.adminCerts != nil {
		s.adminCerts.Start()
	}
	s.adminServes.Go(func() {
		if err := s.admin.Serve(s.adminListener, s.adminTLS); err != nil {
			ended <- fmt.Errorf("serve the admin surface: %w", err)
		}
	})
	return ended
}

// closeAdmin ends the surface.
func (s *Server) closeAdmin() error {
	if s.adminCerts != nil {
		s.adminCerts.Close()
	}
	if s.admin == nil {
		return nil
	}
	err := s.admin.Close()
	s.adminServes.Wait()
	return err
}

// What the surface says of a server that takes no requests.
const (
	unreadyNew   = "it is starting"
	unreadyDrain = "it is draining"
)

// whyUnready says why no requests are taken, "" while they are.
func (s *Server) whyUnready() string { return *s.unready.Load() }

func (s *Server) setUnready(why string) { s.unready.Store(&why) }

// state is what the admin surface shows.
func (s *Server) state() admin.State {
	now := s.now.Load()
	st := admin.State{
		Proxy: s.handler.View(), Clients: s.door.Stats(), Snapshot: s.keeper.view(), Reloads: s.reloads.state(), ConfigHash: now.hash,
		UpgradesFailed: s.upgrades.failed.Load(),
	}
	for _, name := range slices.Sorted(maps.Keys(now.pools)) {
		st.Upstreams = append(st.Upstreams, now.pools[name].Stats())
	}
	return st
}

// drainServer keeps new requests away from one server of an upstream.
func (s *Server) drainServer(upstream, server string, on bool) bool {
	p := s.now.Load().pools[upstream]
	return p != nil && p.Drain(server, on)
}
