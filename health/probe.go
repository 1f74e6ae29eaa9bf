package health

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

const (
	userAgent = "ringfence-health/1"

	maxHead   = 64 << 10 // bytes of response heads, interim ones included
	someBody  = 4 << 10  // bytes of the body that are read where nothing is looked for in it
	maxBody   = 64 << 10 // bytes of the body that are looked into
	maxReason = 256      // bytes of the text of a result: it goes into logs
)

// dialFunc connects to an address and gives up when ctx is done.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// outcome is what one probe came to, with a text for people.
type outcome struct {
	ok     bool
	reason string
}

// probe asks a server once, on a connection of its own, and is
// back soon after the check's timeout or the end of ctx. The bytes it reads come
// from a server that may be broken in any way, so even a panic is only that
// server's failure.
func probe(ctx context.Context, dial dialFunc, c Check, t Target) (out outcome) {
	defer func() {
		if p := recover(); p != nil {
			out = outcome{reason: fmt.Sprintf("probe panicked: %v", p)}
		}
		out.reason = clip(out.reason)
	}()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()

	failed := func(during string, err error) outcome {
		if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			return outcome{reason: fmt.Sprintf("%s: timeout after %v", during, c.Timeout)}
		}
		return outcome{reason: during + ": " + cause(err)}
	}
	network, at := endpoint(t.Address, c.Port)
	conn, err := dial(ctx, network, at)
	if err != nil {
		return failed("connect", err)
	}
	defer closeWith(ctx, conn)()
	if len(c.Preamble) > 0 {
		if _, err := conn.Write(c.Preamble); err != nil {
			return failed("connect", err)
		}
	}
	if c.Kind == TCP {
		return outcome{ok: true, reason: "connect: accepted"}
	}
	host := orDefault(c.Host, t.authority(network, at))
	if c.Kind.usesTLS() {
		secure := tls.Client(conn, c.clientTLS(host))
		if err := secure.HandshakeContext(ctx); err != nil {
			return failed("TLS", err)
		}
		defer func() { _ = secure.CloseWrite() }() // a farewell: whether it arrives says nothing
		conn = secure
	}
	if c.Kind == TLS {
		return outcome{ok: true, reason: "TLS: handshake finished"}
	}
	status, found, err := ask(conn, c, host)
	request := c.Method + " " + c.Path
	if err != nil {
		return failed(request, err)
	}
	// The server's own reason phrase is left out: it could say anything.
	text := strings.TrimSpace(fmt.Sprintf("%s: %d %s", request, status, http.StatusText(status)))
	if c.healthy(status) && !found {
		text += ", without the text in its body"
	}
	return outcome{ok: c.healthy(status) && found, reason: text}
}

// clientTLS is the TLS configuration for a server whose name is the host of an
// authority.
func (c Check) clientTLS(authority string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		config = c.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = authority
		if host, _, err := net.SplitHostPort(authority); err == nil {
			config.ServerName = host
		}
	}
	if c.Kind == HTTPS {
		config.NextProtos = []string{"http/1.1"} // whatever else is offered, a probe speaks nothing else
	}
	return config
}

// closeWith closes conn when ctx is done, which ends any read or write on it at
// once, or else when the returned function is called. That function returns
// when conn is closed and nothing is left running.
func closeWith(ctx context.Context, conn net.Conn) (closed func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.Close() // the probe is over: an error here says nothing of the target
	})
	return func() {
		if !stop() {
			<-done
			return
		}
		_ = conn.Close()
	}
}

// request is the head of a probe's request (RFC 9112).
func (c Check) request(host string) string {
	header := http.Header{"User-Agent": {userAgent}, "Accept": {"*/*"}}
	for name, values := range c.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	if c.Method == http.MethodPost {
		header.Set("Content-Length", "0")
	}
	header.Set("Connection", "close")
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", c.Method, c.Path, host)
	_ = header.Write(&head) // a Builder takes everything
	head.WriteString("\r\n")
	return head.String()
}

// ask makes one HTTP/1.1 request on a connection that is used for nothing else
// and returns the final status, and whether the body is as wanted. Redirects are
// not followed. The beginning of the body has to arrive too: a server that sends
// a head and then hangs, or cuts the body short, is not healthy.
//
// It works on the connection itself rather than through an http.Client: nothing
// runs in the background, no pool and no proxy from the environment is in
// between, and what is read has a limit.
func ask(conn net.Conn, c Check, host string) (status int, found bool, err error) {
	if _, err = io.WriteString(conn, c.request(host)); err != nil {
		return 0, false, err
	}
	limited := &io.LimitedReader{R: conn, N: maxHead}
	reader := bufio.NewReader(limited)
	for {
		resp, err := http.ReadResponse(reader, &http.Request{Method: c.Method})
		if err != nil {
			if limited.N == 0 {
				err = fmt.Errorf("response head is over %d bytes", maxHead)
			}
			return 0, false, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			_ = resp.Body.Close() // there is none
			continue
		}
		wanted := int64(someBody)
		if c.Contains != "" {
			wanted = maxBody
		}
		limited.N = 8 * wanted // framing of a chunked body may be several times its content
		body, err := io.ReadAll(io.LimitReader(resp.Body, wanted))
		limited.N = 0         // so that closing the body does not read on
		_ = resp.Body.Close() // the connection is closed next: nothing hangs on this
		if err != nil {
			return 0, false, fmt.Errorf("body after status %d: %s", resp.StatusCode, cause(err))
		}
		return resp.StatusCode, bytes.Contains(body, []byte(c.Contains)), nil
	}
}

// cause is the part of a network error that says what went wrong, without the
// operation and the addresses: the target and the phase are said elsewhere.
func cause(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "connection closed before the answer was complete"
	}
	return err.Error()
}

// clip bounds a text that may hold what a server sent.
func clip(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + "..."
}
