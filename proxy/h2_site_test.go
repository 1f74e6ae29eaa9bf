package proxy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"ringfence/loadtest/origin"
	"ringfence/proxy/edge"
)

// h2Site is a handler behind a listener for TLS and HTTP/2, before a scripted
// origin.
type h2Site struct {
	*site
	door   *edge.Door
	h2     *edge.H2
	secure bool
	client *http.Client
}

// setup is what a test may change of a site.
type setup struct {
	*edge.ListenerOptions
	handler *Options
	door    edge.Capacity
}

// newH2Site is newSite for clients that may speak HTTP/2.
func newH2Site(t testing.TB, script origin.Script, change ...func(*setup)) *h2Site {
	t.Helper()
	o, err := origin.Start(origin.Options{Script: script})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	with := setup{ListenerOptions: &edge.ListenerOptions{
		Limits: testFront(nil).limits,
		TLS:    &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2", "http/1.1"}},
	}}
	h := newHandlerFor(t, o.Addr(), func(o *Options) {
		with.handler = o
		for _, f := range change {
			f(&with)
		}
	})
	s := &h2Site{
		site: &site{t: t, h: h, o: o}, door: edge.NewDoor(with.door), secure: with.TLS != nil,
		h2: edge.NewH2(h.Serve, edge.H2Options{Limits: with.Limits, MaxStreams: 250, Log: log.New(io.Discard, "", 0)}),
	}
	front := edge.NewServer(h.Serve, nil)
	front.NextProto("h2", s.h2.Serve)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = inner.Addr().String()
	done := make(chan error, 1)
	go func() { done <- front.Serve(edge.NewListener(inner, s.door, h.Hit, *with.ListenerOptions)) }()
	s.client = s.newClient()
	t.Cleanup(func() {
		_ = inner.Close()
		<-done
		s.door.CloseAll()
		waitFor(t, "all connections to end", func() bool { return s.door.Stats().Open == 0 })
	})
	return s
}

// selfSigned returns a certificate that nobody needs to trust.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// withoutTLS has a site speak HTTP/2 to who begins with it.
func withoutTLS(s *setup) { s.TLS, s.H2C = nil, true }

// newClient returns a client that speaks nothing but HTTP/2, on a connection of
// its own.
func (s *h2Site) newClient() *http.Client {
	var p http.Protocols
	p.SetHTTP2(s.secure)
	p.SetUnencryptedHTTP2(!s.secure)
	tr := &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ExpectContinueTimeout: time.Minute}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// open sends one request, and returns its answer before its body was read.
func (s *h2Site) open(ctx context.Context, method, path string, body io.Reader, fields ...string) (*http.Response, error) {
	scheme := "http://"
	if s.secure {
		scheme = "https://"
	}
	r, err := http.NewRequestWithContext(ctx, method, scheme+s.addr+path, body)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	return s.client.Do(r)
}

// do sends one request by HTTP/2 and reads the answer.
func (s *h2Site) do(method, path string, body io.Reader, fields ...string) reply {
	resp, err := s.open(s.t.Context(), method, path, body, fields...)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if resp.ProtoMajor != 2 {
		s.t.Errorf("%s %s was answered by %s", method, path, resp.Proto)
	}
	return reply{status: resp.StatusCode, header: resp.Header, length: resp.ContentLength, body: string(b), err: err}
}

func (s *h2Site) get(path string, fields ...string) reply { return s.do("GET", path, nil, fields...) }

// rawH2 is a connection on which a test writes frames.
type rawH2 struct {
	*http2.Framer
	t    testing.TB
	conn net.Conn
	mu   sync.Mutex // of the writing side
	text bytes.Buffer
	enc  *hpack.Encoder
}

func (s *h2Site) dialRaw(settings ...http2.Setting) *rawH2 {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err == nil && s.secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	r := &rawH2{t: s.t, conn: c, Framer: http2.NewFramer(c, c)}
	r.enc = hpack.NewEncoder(&r.text)
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		s.t.Fatal(err)
	}
	if err := r.WriteSettings(settings...); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// request opens a stream with these fields, after the pseudo-fields that are not
// among them.
func (r *rawH2) request(id uint32, end bool, fields ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Reset()
	text := strings.Join(fields, "\n")
	for _, f := range []string{":method: GET", ":scheme: https", ":authority: x", ":path: /"} {
		if name, _, _ := strings.Cut(f[1:], ": "); !strings.Contains(text, ":"+name) {
			fields = append([]string{f}, fields...)
		}
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f[1:], ": ")
		if err := r.enc.WriteField(hpack.HeaderField{Name: f[:1] + name, Value: value}); err != nil {
			return err
		}
	}
	return r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.text.Bytes(), EndStream: end, EndHeaders: true})
}

// ack takes part in what is no stream's.
func (r *rawH2) ack(f http2.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			_ = r.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = r.WritePing(true, f.Data)
		}
	}
}

// next returns what happens to a stream next: its head's status, its data, how
// it ends; or that of the whole connection.
func (r *rawH2) next(id uint32) string {
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return "closed"
		}
		r.ack(f)
		end := ""
		if f.Header().Flags.Has(http2.FlagDataEndStream) {
			end = " end"
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			return fmt.Sprintf("GOAWAY %v", f.ErrCode)
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return fmt.Sprintf("RST %v", f.ErrCode)
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				return f.PseudoValue("status") + end
			}
		case *http2.DataFrame:
			if f.StreamID == id {
				return fmt.Sprintf("%q", f.Data()) + end
			}
		}
	}
}

// until skips what happens to a stream up to one of these.
func (r *rawH2) until(id uint32, wanted ...string) string {
	for {
		got := r.next(id)
		for _, w := range append(wanted, "closed") {
			if strings.HasPrefix(got, w) {
				return got
			}
		}
	}
}
