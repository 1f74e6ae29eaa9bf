package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"ringfence/proxy/wire"
)

// Kind says what went wrong between the proxy and an upstream. The set is
// closed; every kind but Canceled is one of the proxy error types of RFC 9209, section 2.3.
type Kind uint8

// The kinds of failure.
const (
	// Unavailable: there was no server to send the request to.
	Unavailable Kind = iota
	// NameError: the server's host name did not resolve.
	NameError
	// Unroutable: the network has no way to the server.
	Unroutable
	// Refused: the server refused the connection.
	Refused
	// ConnectTimeout: the connection did not open in time.
	ConnectTimeout
	// TLSCertificate: the server's certificate could not be verified.
	TLSCertificate
	// TLSAlert: the server refused the TLS handshake by an alert, or what it was
	// shown in it, such as our certificate.
	TLSAlert
	// TLSProtocol: TLS with the server failed in another way.
	TLSProtocol
	// ConnectionLimit: the server has as many requests as it may, and its queue
	// was full, or none ended in time.
	ConnectionLimit
	// Terminated: the connection ended before a response head.
	Terminated
	// ReadTimeout: the server stayed silent for too long.
	ReadTimeout
	// WriteTimeout: the server did not take the request in time.
	WriteTimeout
	// Protocol: the response is not HTTP/1.1, or is framed ambiguously.
	Protocol
	// HeadTooLarge: the response head exceeds the limit.
	HeadTooLarge
	// Incomplete: the response body stopped before its end.
	Incomplete
	// BadCoding: the response body's chunks are malformed.
	BadCoding
	// RequestIncomplete: the client's request body stopped before its end.
	RequestIncomplete
	// Canceled: nobody wants the response any more.
	Canceled

	kinds
)

var kindNames = [kinds]string{
	Unavailable:       "destination_unavailable",
	NameError:         "dns_error",
	Unroutable:        "destination_ip_unroutable",
	Refused:           "connection_refused",
	ConnectTimeout:    "connection_timeout",
	TLSCertificate:    "tls_certificate_error",
	TLSAlert:          "tls_alert_received",
	TLSProtocol:       "tls_protocol_error",
	ConnectionLimit:   "connection_limit_reached",
	Terminated:        "connection_terminated",
	ReadTimeout:       "connection_read_timeout",
	WriteTimeout:      "connection_write_timeout",
	Protocol:          "http_protocol_error",
	HeadTooLarge:      "http_response_header_section_size",
	Incomplete:        "http_response_incomplete",
	BadCoding:         "http_response_transfer_coding",
	RequestIncomplete: "http_request_error",
	Canceled:          "canceled",
}

// String returns the proxy error type of RFC 9209, section 2.3; Canceled, which
// no client is told of, has a name of its own.
func (k Kind) String() string { return kindNames[k] }

// Error is the failure of one request to an upstream.
type Error struct {
	// Kind is what went wrong.
	Kind Kind
	// Server is the id of the server that failed, empty where none was asked.
	Server string
	// Attempts is how many servers were asked.
	Attempts int
	// Unsent is true where no byte of the request reached the server, so that
	// any request may be sent again.
	Unsent bool
	// Err is the cause, for the log.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Server == "" {
		return fmt.Sprintf("%s: %v", e.Kind, e.Err)
	}
	return fmt.Sprintf("server %s: %s: %v", e.Server, e.Kind, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// handshakeError marks a failure of the TLS handshake.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// connectKind names a failure to get a connection.
func connectKind(err error) Kind {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return NameError
	case isTimeout(err):
		return ConnectTimeout
	case isHangUp(err):
		return Terminated
	case errors.As(err, new(handshakeError)):
		return handshakeKind(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EAGAIN):
		// A Unix socket that nobody has made, or whose queue is full.
		return Refused
	}
	return Unroutable
}

// handshakeKind names a failure of the TLS handshake.
func handshakeKind(err error) Kind {
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return TLSCertificate
	}
	if kind, ok := tlsKind(err); ok {
		return kind
	}
	return TLSProtocol
}

// tlsKind names a failure that TLS itself reported on an open connection.
func tlsKind(err error) (Kind, bool) {
	var op *net.OpError
	switch {
	case errors.As(err, new(tls.RecordHeaderError)):
		return TLSProtocol, true
	case !errors.As(err, &op):
		return 0, false
	case op.Op == "remote error": // so crypto/tls calls an alert that it received
		return TLSAlert, true
	case op.Op == "local error": // and one that it sent
		return TLSProtocol, true
	}
	return 0, false
}

// headKind names a failure on the way to the response head.
func headKind(err error) Kind {
	switch {
	case errors.Is(err, wire.ErrHeadTooLarge):
		return HeadTooLarge
	case errors.Is(err, wire.ErrHead), errors.Is(err, wire.ErrField), errors.Is(err, wire.ErrFraming):
		return Protocol
	case isTimeout(err):
		return ReadTimeout
	}
	if kind, ok := tlsKind(err); ok {
		return kind
	}
	return Terminated
}

// bodyKind names a failure inside the response body.
func bodyKind(err error) Kind {
	switch {
	case errors.Is(err, wire.ErrChunk):
		return BadCoding
	case isTimeout(err):
		return ReadTimeout
	}
	return Incomplete
}

// writeKind names a failure while the request was written.
func writeKind(err error) Kind {
	if isTimeout(err) {
		return WriteTimeout
	}
	return Terminated
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT)
}

// isHangUp reports whether the peer closed the connection.
func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
