package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

// none stands for "no failure" in the tables below.
const none = kinds

// TestAnswers is what a pool of one server makes of the server's answers to a
// single request on a new connection.
func TestAnswers(t *testing.T) {
	then := func(answer string, end func(*peer)) func(*peer) {
		return func(p *peer) {
			p.request()
			p.send(answer)
			end(p)
		}
	}
	hangUp := func(*peer) {}
	hold := (*peer).hold
	ifNoneMatch := wire.Field{Name: "If-None-Match", Value: `"a"`}
	interim := func(n int) string { return strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", n) }
	for _, tt := range []struct {
		name   string
		req    *Request
		script func(*peer)
		head   Kind // failure before the head, or none
		body   Kind // failure in the body, or none
		want   string
		kept   bool // the connection is there for the next request
	}{
		{"length", get("GET"), then(text("hello"), hold), none, none, "hello", true},
		{"long body", get("GET"), then(text(long(1<<20)), hold), none, none, long(1 << 20), true},
		{"no body", get("GET"), then(text(""), hold), none, none, "", true},
		{"chunked", get("GET"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nT: v\r\n\r\n", hold),
			none, none, "hello", true},
		{"until close", get("GET"), then("HTTP/1.1 200 OK\r\n\r\nhello", hangUp), none, none, "hello", false},
		{"1.0 until close", get("GET"), then("HTTP/1.0 200 OK\r\n\r\nhello", hangUp), none, none, "hello", false},
		{"1.0 with a length", get("GET"), then("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", hold), none, none, "hello", false},
		{"1.0 kept alive", get("GET"), then("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", hold),
			none, none, "hello", false},
		{"Connection: close", get("GET"), then("HTTP/1.1 200 OK\r\nConnection: X, Close\r\nContent-Length: 5\r\n\r\nhello", hold),
			none, none, "hello", false},
		{"HEAD", get("HEAD"), then("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", hold), none, none, "", true},
		{"HEAD of chunks", get("HEAD"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", hold), none, none, "", true},
		{"HEAD with a body", get("HEAD"), then(text("hello"), hold), none, none, "", false},
		{"204", get("GET"), then("HTTP/1.1 204 No Content\r\n\r\n", hold), none, none, "", true},
		{"204 of length 0", get("GET"), then("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", hold), none, none, "", true},
		{"204 that announces a body", get("GET"), then("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", hold), none, none, "", false},
		{"204 that announces chunks", get("GET"), then("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", hold), none, none, "", false},
		{"304", get("GET", ifNoneMatch), then("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", hold), none, none, "", true},
		{"304 unasked", get("GET"), then("HTTP/1.1 304 Not Modified\r\n\r\n", hold), Protocol, none, "", false},
		{"interim", get("GET"), then("HTTP/1.1 100 Continue\r\n\r\n"+text("hello"), hold), none, none, "hello", true},
		{"16 interim", get("GET"), then(interim(16)+text("hello"), hold), none, none, "hello", true},
		{"17 interim", get("GET"), then(interim(17)+text("hello"), hold), Protocol, none, "", false},
		{"interim, then nothing", get("GET"), then(interim(1), hangUp), Terminated, none, "", false},
		{"101 unasked", get("GET"), then("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", hold), Protocol, none, "", false},
		{"more than the length", get("GET"), then(text("hello")+"!", hold), none, none, "hello", false},
		{"more than the chunks", get("GET"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n!", hold), none, none, "", false},
		{"a second answer", get("GET"), then(text("hello")+text("evil"), hold), none, none, "hello", false},
		{"cut in the body", get("GET"), then("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", hangUp), none, Incomplete, "hello", false},
		{"cut before the body", get("GET"), then("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", hangUp), none, Incomplete, "", false},
		{"cut in a chunk", get("GET"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello", hangUp),
			none, Incomplete, "hello", false},
		{"cut between chunks", get("GET"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", hangUp),
			none, Incomplete, "hello", false},
		{"cut in the last chunk", get("GET"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", hangUp),
			none, Incomplete, "hello", false},
		{"reset in a body until close", get("GET"), then("HTTP/1.1 200 OK\r\n\r\n", (*peer).reset), none, Incomplete, "", false},
		{"malformed chunk", get("GET"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", hold),
			none, BadCoding, "", false},
		{"silent in the body", get("GET"), then("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", hold), none, ReadTimeout, "hello", false},
		{"silent", get("GET"), then("", hold), ReadTimeout, none, "", false},
		{"silent in the head", get("GET"), then("HTTP/1.1 200 OK\r\n", hold), ReadTimeout, none, "", false},
		{"hangs up", get("GET"), then("", hangUp), Terminated, none, "", false},
		{"hangs up in the head", get("GET"), then("HTTP/1.1 200 OK\r\n", hangUp), Terminated, none, "", false},
		{"resets", get("GET"), then("", (*peer).reset), Terminated, none, "", false},
		{"garbage", get("GET"), then("SSH-2.0-x\r\n\r\n", hold), Protocol, none, "", false},
		{"LF for CRLF", get("GET"), then("HTTP/1.1 200 OK\nContent-Length: 0\n\n", hold), Protocol, none, "", false},
		{"framing in the trailer", get("GET"), then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", hold),
			none, BadCoding, "hello", false},
		{"malformed field", get("GET"), then("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", hold), Protocol, none, "", false},
		{"length and chunks", get("GET"), then("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", hold),
			Protocol, none, "", false},
		{"two lengths", get("GET"), then("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", hold), Protocol, none, "", false},
		{"head too large", get("GET"), then("HTTP/1.1 200 OK\r\nA: "+long(16<<10)+"\r\n\r\n", hold), HeadTooLarge, none, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOrigin(t, tt.script)
			p := pool(t, func(o *Options) {
				o.Retry.Attempts = 1
				switch ReadTimeout {
				case tt.head:
					o.ResponseTimeout = 50 * time.Millisecond
				case tt.body:
					o.ReadTimeout = 50 * time.Millisecond
				}
			}, o.addr())
			resp, body, err := roundTrip(t.Context(), p, tt.req)
			st := p.Stats().Servers[0]
			if failed := tt.head != none || tt.body != none; failed {
				wantKind(t, err, min(tt.head, tt.body))
				if _, unsent := kindOf(err); unsent || st.Failures[min(tt.head, tt.body)] != 1 || len(st.Failures) != 1 {
					t.Errorf("unsent %v, failures %v", unsent, st.Failures)
				}
			} else if err != nil || len(st.Failures) != 0 {
				t.Errorf("%v, failures %v", err, st.Failures)
			}
			if (resp == nil) != (tt.head != none) || body != tt.want {
				t.Errorf("got %v with body %.40q, want %.40q", resp, body, tt.want)
			}
			if st.Idle == 1 != tt.kept || o.asked.Load() != 1 {
				t.Errorf("kept %v, want %v; %d requests", st.Idle == 1, tt.kept, o.asked.Load())
			}
		})
	}
}

// TestResponse checks what a caller is told of an answer.
func TestResponse(t *testing.T) {
	o := newOrigin(t, always("HTTP/1.1 418 Short\r\nb: 1\r\nA: 2\r\nB: 3\r\nContent-Length: 3\r\n\r\ntea"))
	p := pool(t, nil, o.addr())
	resp := mustGet(t, p, "tea")
	if resp.Status != 418 || resp.Length != 3 || resp.Server != "a" || resp.Attempts != 1 ||
		string(wire.AppendFields(nil, resp.Fields)) != "b: 1\r\nA: 2\r\nB: 3\r\nContent-Length: 3\r\n" {
		t.Errorf("got %+v", resp)
	}
	mustGet(t, p, "tea")
	if string(wire.AppendFields(nil, resp.Fields)) != "b: 1\r\nA: 2\r\nB: 3\r\nContent-Length: 3\r\n" {
		t.Errorf("the fields changed with the next response: %q", resp.Fields)
	}
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %d, %v", n, err)
	}
}

// TestRequestBytes checks the request on the wire: RFC 9112, sections 3 and 6.
func TestRequestBytes(t *testing.T) {
	body := func(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }
	const head = " //a/%2e%2E/?q HTTP/1.1\r\nHost: h\r\nx-Odd: 1\r\n"
	for _, tt := range []struct {
		method string
		body   io.ReadCloser
		length int64
		want   string
	}{
		{"GET", nil, 0, head + "\r\n"},
		{"DELETE", nil, 0, head + "\r\n"},
		{"POST", nil, 0, head + "Content-Length: 0\r\n\r\n"},
		{"PUT", body(""), 0, head + "Content-Length: 0\r\n\r\n"},
		{"GET", body(""), 0, head + "Content-Length: 0\r\n\r\n"},
		{"POST", body("hello"), 5, head + "Content-Length: 5\r\n\r\nhello"},
		{"POST", body("hello, and more"), 5, head + "Content-Length: 5\r\n\r\nhello"},
		{"POST", body("hello"), wire.Chunked, head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"GET", body(""), wire.Chunked, head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	} {
		want := tt.method + tt.want
		seen := make(chan string, 1)
		o := newOrigin(t, func(p *peer) {
			got := make([]byte, len(want))
			n, _ := io.ReadFull(p, got)
			seen <- string(got[:n])
			p.send(text(""))
			p.hold()
		})
		p := pool(t, nil, o.addr())
		req := &Request{
			Method: tt.method, Target: "//a/%2e%2E/?q", Body: tt.body, Length: tt.length,
			Fields: wire.Fields{{Name: "Host", Value: "h"}, {Name: "x-Odd", Value: "1"}},
		}
		if _, _, err := roundTrip(t.Context(), p, req); err != nil {
			t.Error(err)
		}
		if got := <-seen; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if p.Stats().Servers[0].Idle != 1 {
			t.Errorf("%q: the connection was not kept", want)
		}
	}
}

// TestCloseEarly: what nobody reads to its end costs its connection.
func TestCloseEarly(t *testing.T) {
	o := newOrigin(t, always(text(long(1<<20))))
	p := pool(t, nil, o.addr())
	resp, err := p.Do(t.Context(), get("GET"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, errBodyClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if st := p.Stats().Servers[0]; st.Open != 0 || len(st.Failures) != 0 {
		t.Errorf("%d connections, failures %v", st.Open, st.Failures)
	}
}

// TestFirstByteAtOnce: what has arrived is handed on while the rest is to come.
func TestFirstByteAtOnce(t *testing.T) {
	for name, answer := range map[string][2]string{
		"length":      {"Content-Length: 2\r\n\r\na", "b"},
		"chunked":     {"Transfer-Encoding: chunked\r\n\r\n2\r\na", "b\r\n0\r\n\r\n"},
		"until close": {"Connection: close\r\n\r\na", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			more := make(chan struct{})
			o := newOrigin(t, func(p *peer) {
				p.request()
				p.send("HTTP/1.1 200 OK\r\n" + answer[0])
				<-more
				p.send(answer[1])
			})
			p := pool(t, nil, o.addr())
			soon(t, func() {
				defer close(more)
				resp, err := p.Do(t.Context(), get("GET"))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				// The end of a body of unknown length cannot have arrived.
				if n := resp.Arrived(); n == 1 != (name == "length") {
					t.Errorf("%d bytes have arrived", n)
				}
				if n, err := resp.Body.Read(make([]byte, 10)); n != 1 || err != nil {
					t.Errorf("got %d bytes, %v", n, err)
				}
				if n := resp.Arrived(); n != 0 {
					t.Errorf("%d bytes have arrived after all were read", n)
				}
			})
		})
	}
}

// TestSlowBody: the response timeout bounds the wait for the head, and the read
// timeout the silence in the body, on a kept connection as on a new one.
func TestSlowBody(t *testing.T) {
	const short, wait = 80 * time.Millisecond, 200 * time.Millisecond
	for name, tt := range map[string]struct {
		response, read time.Duration
		answer         [2]string // with a wait between the parts
	}{
		"slow body": {short, time.Minute, [2]string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "llo"}},
		"slow head": {time.Minute, short, [2]string{"HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n\r\nhello"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(p *peer) {
				for {
					if _, ok := p.request(); !ok {
						return
					}
					p.send(tt.answer[0])
					<-time.After(wait)
					p.send(tt.answer[1])
				}
			})
			p := pool(t, func(o *Options) { o.ResponseTimeout, o.ReadTimeout = tt.response, tt.read }, o.addr())
			mustGet(t, p, "hello")
			mustGet(t, p, "hello")
			if o.accepted.Load() != 1 {
				t.Error("the connection was not kept")
			}
		})
	}
}

// TestCanceled: the end of the context ends the exchange wherever it is.
func TestCanceled(t *testing.T) {
	why := errors.New("nobody waits")
	// Each script tells when the request is where it should be.
	for _, tt := range []struct {
		name   string
		script func(p *peer, here func())
		unsent bool
	}{
		{"before", func(*peer, func()) {}, true},
		{"dial", nil, true},
		{"head", func(p *peer, here func()) { p.request(); here(); p.hold() }, false},
		{"inside the head", func(p *peer, here func()) { p.request(); p.send("HTTP/1.1 200"); here(); p.hold() }, false},
		{"body", func(p *peer, here func()) {
			p.request()
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nh")
			here()
			p.hold()
		}, false},
		{"chunk", func(p *peer, here func()) {
			p.request()
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nh")
			here()
			p.hold()
		}, false},
		{"until close", func(p *peer, here func()) { p.request(); p.send("HTTP/1.1 200 OK\r\n\r\nh"); here(); p.hold() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			here := func() { cancel(why) }
			addr := ""
			if tt.script == nil {
				addr = deaf(t)
				timer := time.AfterFunc(20*time.Millisecond, here)
				defer timer.Stop()
			} else {
				addr = newOrigin(t, func(p *peer) { tt.script(p, here) }).addr()
			}
			if tt.name == "before" {
				here()
			}
			p := pool(t, nil, addr, addr)
			soon(t, func() {
				_, _, err := roundTrip(ctx, p, get("GET"))
				wantKind(t, err, Canceled)
				if _, unsent := kindOf(err); unsent != tt.unsent || !errors.Is(err, why) {
					t.Errorf("got %v, unsent %v", err, unsent)
				}
			})
			if st := p.Stats().Servers; st[0].Requests+st[1].Requests != 1 || st[0].Open+st[1].Open != 0 {
				t.Errorf("want one exchange and no connection left: %+v", st)
			}
		})
	}
}

// TestCanceledAtAnyMoment: no deadline that is set at the moment of the
// cancellation may undo it.
func TestCanceledAtAnyMoment(t *testing.T) {
	o := newOrigin(t, (*peer).hold)
	p := pool(t, nil, o.addr())
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		req := get("GET")
		if i%2 == 0 {
			r, w := io.Pipe()
			defer w.Close()
			req = &Request{Method: "POST", Target: "/", Body: r, Length: wire.Chunked}
		}
		go func() {
			for range i % 50 {
				_ = p.Stats()
			}
			cancel()
		}()
		soon(t, func() {
			_, _, err := roundTrip(ctx, p, req)
			wantKind(t, err, Canceled)
		})
	}
}

func TestConnectKinds(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Kind
	}{
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}, NameError},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, Refused},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, ConnectTimeout},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, ConnectTimeout},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, Unroutable},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENOENT)}, Refused},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EAGAIN)}, Refused},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNRESET)}, Terminated},
		{handshakeError{context.DeadlineExceeded}, ConnectTimeout},
		{handshakeError{io.EOF}, Terminated},
		{handshakeError{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}}, Terminated},
		{handshakeError{&tls.CertificateVerificationError{Err: errors.New("x509: expired")}}, TLSCertificate},
		{handshakeError{&net.OpError{Op: "remote error", Err: tls.AlertError(40)}}, TLSAlert},
		{handshakeError{&net.OpError{Op: "local error", Err: tls.AlertError(40)}}, TLSProtocol},
		{handshakeError{tls.RecordHeaderError{}}, TLSProtocol},
		{handshakeError{errors.New("tls: server selected unsupported protocol version 301")}, TLSProtocol},
	} {
		if got := connectKind(tt.err); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
	}
	seen := make(map[string]bool)
	for k := range kinds {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
}
