package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// streams are those of HTTP/2, over as few connections as the server allows.
type streams struct {
	ctx       context.Context
	to        string
	transport *http.Transport

	mu    sync.Mutex
	conns []net.Conn // all there have been
}

func newStreams(ctx context.Context, p Plan, to *url.URL) *streams {
	var protocols http.Protocols
	protocols.SetHTTP2(to.Scheme == "https")
	protocols.SetUnencryptedHTTP2(to.Scheme == "http")
	s := &streams{ctx: ctx, to: to.Scheme + "://" + to.Host}
	d := net.Dialer{Timeout: p.Timeout}
	s.transport = &http.Transport{
		Protocols: &protocols, TLSClientConfig: p.TLS, DisableCompression: true, TLSHandshakeTimeout: p.Timeout,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, address)
			if err == nil {
				s.mu.Lock()
				s.conns = append(s.conns, conn)
				s.mu.Unlock()
			}
			return conn, err
		},
	}
	return s
}

// close ends all connections. The transport would leave those open on which a stream
// that was broken off is not over.
func (s *streams) close() {
	s.transport.CloseIdleConnections()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close() // most are closed
	}
}

func (s *streams) do(r *Request, deadline time.Time) (a answer, err error) {
	ctx, cancel := context.WithDeadline(s.ctx, deadline)
	defer cancel()
	var body io.Reader
	if len(r.Body) > 0 {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, s.to+r.Target, body)
	if err != nil {
		return a, err
	}
	req.Host = r.Host
	for _, f := range r.Fields {
		req.Header.Add(f.Name, f.Value)
	}
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	a.first, a.status = time.Now(), resp.StatusCode
	if resp.ProtoMajor != 2 {
		return a, fmt.Errorf("the server answers in %s, not in HTTP/2", resp.Proto)
	}
	var met uint64
	for name, values := range resp.Header {
		for _, v := range values {
			a.cached = max(a.cached, cachedBy([]byte(strings.ToLower(name)), []byte(v)))
			met |= r.Check.met([]byte(name), []byte(v))
		}
	}
	if a.bytes, err = io.Copy(io.Discard, resp.Body); err != nil {
		return a, fmt.Errorf("body: %w", err)
	}
	return a, r.Check.of(a.status, met)
}
