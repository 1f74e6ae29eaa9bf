package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/health"
	"ringfence/proxy/wire"
)

// serverOptions describe one server. All of them are required, but for those
// that say otherwise.
type serverOptions struct {
	// id is the server's identity in logs, metrics and errors.
	id string
	// address is host:port, or unix: and the path of a socket, or unix:@ and
	// the name of an abstract one.
	address string
	// name is the host name that address was found under, which the server's
	// certificate must show where tls has no name. Default: address's host, and
	// localhost for a Unix socket.
	name string
	// tls is what newTLS gave, nil for plain text.
	tls *tls.Config
	// proxy is the version of the PROXY header that each connection begins with;
	// zero: none.
	proxy wire.ProxyVersion
	// connectTimeout bounds the opening of a connection, the look-up of a name
	// and the TLS handshake included.
	connectTimeout time.Duration
	// idleTimeout is how long an unused connection is kept; it may be a moment
	// longer.
	idleTimeout time.Duration
	// maxIdle bounds the unused connections that are kept; 0: none is.
	maxIdle int
	// maxConnections bounds the connections, those unused included. At least 1.
	maxConnections int
	// maxRequests bounds the requests at one time. 0: maxConnections does, which
	// does in any case.
	maxRequests int
	// queueSize bounds the requests that wait for others to end, 0: none does;
	// queueTimeout bounds the wait of each.
	queueSize    int
	queueTimeout time.Duration
}

// server is one member of a pool: its connections and its counters. Nothing of
// it runs by itself: who has no use for it any more calls close, and the
// requests that are inside, or wait, go on to their end.
type server struct {
	id, address    string
	network, dest  string      // as net.Dial has them
	tls            *tls.Config // nil: plain text
	connectTimeout time.Duration
	idleTimeout    time.Duration
	maxIdle        int
	maxConns       int

	options serverOptions
	gate    gate
	health  atomic.Pointer[health.Member] // who is told of results
	claim   float64                       // of turns, see there

	mu      sync.Mutex
	idle    []*conn // last used last; taken from the end
	open    int     // connections in use and idle
	waiting *exchange
	down    bool // of waiting, see setDown
	closed  bool

	requests atomic.Uint64
	failures [kinds]atomic.Uint64
	reused   atomic.Uint64
	took     atomic.Int64  // nanoseconds, see ServerStats.Took
	ejected  atomic.Uint64 // times, for what came of requests
	downed   atomic.Uint64 // times, for what came of checks
}

func newServer(o serverOptions) *server {
	s := &server{
		options: o, id: o.id, address: o.address, network: "tcp", dest: o.address,
		connectTimeout: o.connectTimeout, idleTimeout: o.idleTimeout, maxIdle: o.maxIdle, maxConns: o.maxConnections,
	}
	if path, ok := strings.CutPrefix(o.address, "unix:"); ok {
		s.network, s.dest = "unix", path
	}
	if o.tls != nil {
		name := o.name
		if name == "" {
			name = hostOf(s.network, s.dest)
		}
		s.tls = tlsFor(o.tls, name)
	}
	limit := o.maxConnections
	if o.maxRequests > 0 {
		limit = min(limit, o.maxRequests)
	}
	s.gate = gate{limit: uint32(limit), size: uint32(o.queueSize), timeout: o.queueTimeout}
	return s
}

// is reports whether the server is the one that o describes.
func (s *server) is(o serverOptions) bool { return s.options == o }

// hostOf returns the host of an address.
func hostOf(network, address string) string {
	if network == "unix" {
		return "localhost"
	}
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// tryEnter takes a place for one request where there is one. Who got it must
// leave, or have [start] succeed: then the response's body leaves at its end.
func (s *server) tryEnter() bool { return s.gate.tryEnter() }

// enter is tryEnter that waits in the server's queue. Its error is an [*Error]:
// ConnectionLimit, or Canceled where the context ended.
func (s *server) enter(ctx context.Context) error {
	err := s.gate.enter(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return s.failed(Canceled, true, context.Cause(ctx))
	}
	return s.failed(ConnectionLimit, true, err)
}

// leave gives back the place of a request, to the first that waits for one.
func (s *server) leave() { s.gate.leave() }

// failed counts a failure and returns it as an [*Error].
func (s *server) failed(kind Kind, unsent bool, err error) error {
	s.failures[kind].Add(1)
	return &Error{Kind: kind, Server: s.id, Unsent: unsent, Err: err}
}

// take returns a connection and whether it was used before, for a request that
// has entered, of a client that only servers with a PROXY header are told of.
// Unless fresh is wanted, the most recently used idle one that is still quiet
// comes first.
func (s *server) take(ctx context.Context, client wire.ProxyHeader, fresh bool) (c *conn, reused bool, err error) {
	if s.options.proxy == wire.NoProxyHeader {
		client = wire.ProxyHeader{}
	}
	for !fresh {
		c := s.takeIdle(client)
		if c == nil {
			break
		}
		if c.quiet() {
			s.reused.Add(1)
			return c, true, nil
		}
		s.discard(c)
	}
	s.makeRoom()
	if c, err = s.connectAside(ctx, client); err != nil {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}
	return c, false, err
}

// connectAside connects from a goroutine of its own: a stack grows with what
// opening a connection takes, and would stay so while the request waits for the
// answer.
func (s *server) connectAside(ctx context.Context, client wire.ProxyHeader) (c *conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err = s.connect(ctx, client)
	}()
	<-done
	return c, err
}

// takeIdle returns the idle connection that was used last, of those that told of
// this client, or nil.
func (s *server) takeIdle(client wire.ProxyHeader) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range slices.Backward(s.idle) {
		if c.told == client {
			s.idle = slices.Delete(s.idle, i, i+1)
			return c
		}
	}
	return nil
}

// makeRoom counts a connection that will be opened, and closes the oldest idle
// one where it would be one too many. There is one then: the gate lets no more
// requests in than there may be connections.
func (s *server) makeRoom() {
	s.mu.Lock()
	s.open++
	var old []*conn
	if s.open > s.maxConns {
		old = s.drop(1)
	}
	s.mu.Unlock()
	closeAll(old)
}

// connect opens a connection that tells of client.
func (s *server) connect(ctx context.Context, client wire.ProxyHeader) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.connectTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, s.network, s.dest)
	if err != nil {
		return nil, err
	}
	c, err := newConn(nc)
	if err == nil && s.options.proxy != wire.NoProxyHeader {
		c.told = client
		err = introduce(ctx, nc, wire.AppendProxyHeader(nil, s.options.proxy, client))
	}
	if err == nil && s.tls != nil {
		err = c.startTLS(ctx, s.tls)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// introduce sends a header, within the deadline of ctx, which must have one.
func introduce(ctx context.Context, nc net.Conn, header []byte) error {
	until, _ := ctx.Deadline()
	if err := nc.SetWriteDeadline(until); err != nil {
		return err
	}
	_, err := nc.Write(header)
	return err
}

// give takes a connection back that stands between two messages.
func (s *server) give(c *conn) {
	c.read, c.write = deadline{}, deadline{}
	c.idleSince = time.Now()
	s.mu.Lock()
	s.idle = append(s.idle, c)
	most := s.maxIdle
	if s.closed {
		most = 0
	}
	old := s.drop(len(s.idle) - most)
	s.mu.Unlock()
	closeAll(old)
}

// discard closes a connection that cannot be used again.
func (s *server) discard(c *conn) {
	// The connection is gone either way.
	_ = c.Close()
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
}

// reap closes the connections that are idle at now for too long.
func (s *server) reap(now time.Time) {
	cutoff := now.Add(-s.idleTimeout)
	s.mu.Lock()
	n := 0
	for n < len(s.idle) && s.idle[n].idleSince.Before(cutoff) {
		n++
	}
	old := s.drop(n)
	s.mu.Unlock()
	closeAll(old)
}

// close closes the idle connections and lets no other become idle.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	old := s.drop(len(s.idle))
	s.mu.Unlock()
	closeAll(old)
}

// drop takes the n oldest connections out of the idle ones, those that are
// there, for the caller to close once it has released mu. They count no more,
// so that no request finds a place inside and none for its connection.
func (s *server) drop(n int) []*conn {
	n = min(n, len(s.idle))
	if n <= 0 {
		return nil
	}
	old := slices.Clone(s.idle[:n])
	s.idle = slices.Delete(s.idle, 0, n)
	s.open -= n
	return old
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		// The connection is gone either way.
		_ = c.Close()
	}
}

// connections returns how many connections are open and how many of them idle.
func (s *server) connections() (open, idle int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, len(s.idle)
}
