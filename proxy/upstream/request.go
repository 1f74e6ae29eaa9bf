package upstream

import (
	"io"
	"net/http"
	"strconv"

	"ringfence/proxy/wire"
)

// Request is what a pool sends. The pool does not keep it past the end of the
// response's body, nor past a 101.
type Request struct {
	Method string
	// Target is the request target, sent byte for byte.
	Target string
	// Fields are sent in order: Host first, end-to-end fields only, and
	// neither Content-Length nor Transfer-Encoding, which follow from Length, as
	// Connection and Upgrade follow from Upgrade.
	Fields wire.Fields
	// Body is nil where there is none. It is read by another goroutine, until
	// the response's body has ended at the latest. Its Read must be bounded in
	// time. Its Close must unblock a Read under way: it is called where the
	// pool began to read the body and could not send all of it.
	Body io.ReadCloser
	// Length is the body's length in bytes, or wire.Chunked.
	Length int64
	// Hash is where the request is placed, unless it has a Key: a uniform hash.
	Hash uint64
	// Key is what the request is placed by instead, "" for none.
	Key string
	// Client is the client's connection, for servers that are told of it, see
	// [Options].ProxyProtocol. The zero value is for requests that are made for
	// nobody, or for everybody, such as a fill.
	Client wire.ProxyHeader
	// Alone says that the request must not be sent to two members at once, as
	// the one that fills a key for a whole fleet must not.
	Alone bool
	// Upgrade is the protocol that the server is asked to switch to (RFC 9110,
	// section 7.8), a token; "" for none. Such a request has no body, and goes to
	// one server at a time. A 101 that agrees to it gives the connection over, see
	// [Tunnel]; any other answer is one like any other.
	Upgrade string
	// Interim is told of each interim response (RFC 9110, section 15.2) but 100
	// and 101: status 102 to 199, and the fields as received, hop-by-hop ones
	// included, which are valid during the call only. It is called in the
	// goroutine of [Pool.Do], before that returns, and at most 16 times for each
	// server that is asked: one may fail after an interim response, and another
	// one give the answer. The wait for the final head goes on meanwhile. nil:
	// interim responses are dropped.
	Interim func(status int, fields wire.Fields)

	kept []byte // the body, where it was read whole
}

// hasBody reports whether there is a body to be sent.
func (r *Request) hasBody() bool { return r.Body != nil && r.Length != 0 }

// isConditional reports whether a 304 may answer the request.
func (r *Request) isConditional() bool {
	return r.Fields.Has("If-None-Match") || r.Fields.Has("If-Modified-Since")
}

// appendHead appends the request's head: its fields as they are, and the
// framing that fits its body (RFC 9112, section 6).
func (r *Request) appendHead(dst []byte) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = wire.AppendFields(dst, r.Fields)
	if r.Upgrade != "" {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, r.Upgrade...)
		dst = append(dst, "\r\n"...)
	}
	switch {
	case r.hasBody() && r.Length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case r.hasBody():
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, r.Length, 10)
		dst = append(dst, "\r\n"...)
	case r.Body != nil || expectsBody(r.Method):
		dst = append(dst, "Content-Length: 0\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// expectsBody reports whether a request without a body should say so
// (RFC 9110, section 8.6).
func expectsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}
