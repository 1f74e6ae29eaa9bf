package health

import (
	"bufio"
	"context"
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
	maxBody   = 4 << 10  // bytes of the body that are read
	maxReason = 256      // bytes of the text of a result: it goes into logs
)

// dialFunc connects to an address and gives up when ctx is done.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// outcome is what one probe came to, with a text for people.
type outcome struct {
	ok     bool
	reason string
}

// probe asks a target once, on a connection of its own, and is back soon after
// the check's timeout or the end of ctx. The bytes it reads come from a server
// that may be broken in any way, so even a panic is only that server's failure.
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
	conn, err := dial(ctx, "tcp", t.Address)
	if err != nil {
		return failed("connect", err)
	}
	defer closeWith(ctx, conn)()
	if c.Kind == TCP {
		return outcome{ok: true, reason: "connect: accepted"}
	}
	status, err := get(conn, c.Path, orDefault(c.Host, t.Address))
	if err != nil {
		return failed("GET "+c.Path, err)
	}
	// The server's own reason phrase is left out: it could say anything.
	text := fmt.Sprintf("GET %s: %d %s", c.Path, status, http.StatusText(status))
	return outcome{ok: c.healthy(status), reason: strings.TrimSpace(text)}
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

// get makes one HTTP/1.1 request (RFC 9112) on a connection that is used for
// nothing else and returns the final status. Redirects are not followed. The
// beginning of the body has to arrive too: a server that sends a head and then
// hangs, or cuts the body short, is not healthy.
//
// It works on the connection itself rather than through an http.Client: nothing
// runs in the background, no pool and no proxy from the environment is in
// between, and what is read has a limit.
func get(conn net.Conn, path, host string) (status int, err error) {
	_, err = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\n"+
		"Host: "+host+"\r\n"+
		"User-Agent: "+userAgent+"\r\n"+
		"Accept: */*\r\n"+
		"Connection: close\r\n\r\n")
	if err != nil {
		return 0, err
	}
	limited := &io.LimitedReader{R: conn, N: maxHead}
	reader := bufio.NewReader(limited)
	for {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			if limited.N == 0 {
				err = fmt.Errorf("response head is over %d bytes", maxHead)
			}
			return 0, err
		}
		interim := resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols
		if !interim {
			limited.N = maxHead // framing of a chunked body may be several times its content
			_, err = io.CopyN(io.Discard, resp.Body, maxBody)
			limited.N = 0 // so that closing the body does not read on
		}
		_ = resp.Body.Close() // the connection is closed next: nothing hangs on this
		if interim {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("body after status %d: %s", resp.StatusCode, cause(err))
		}
		return resp.StatusCode, nil
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
