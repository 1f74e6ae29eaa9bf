// Package edge is where clients come in: from a socket to a request that only
// one reading is possible of.
//
// A [Conn] stands between the socket and fasthttp's server. It reads each head
// itself, strictly and once, bounds what the client may send and how long it may
// take, and tells fasthttp no more than that there is a request without a body.
// Who answers it asks the connection for the [Request]; so route, key and the
// forwarded request derive from one reading of the same bytes, and what fasthttp
// would have made of them has no part in it.
//
// Connections that speak HTTP/2 go on to net/http (see [H2]), whose streams are
// such requests, too.
package edge

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"ringfence/proxy/wire"
)

// Client is where a request comes from and its answer goes: what a fasthttp
// RequestCtx has for its connection.
type Client interface {
	net.Conn
	// Request returns the request that is being answered. It is valid until the
	// answer was written.
	Request() *Request
	// Peer is the address of the client, or of whoever speaks for it; what a
	// PROXY header said counts. It is the zero value where there is none.
	Peer() netip.AddrPort
	// Local is the address that the client connected to, like Peer.
	Local() netip.AddrPort
	// Secure reports whether the client came over TLS.
	Secure() bool
	// Site says how requests that came in this way are to be answered.
	Site() *Site
	// Context ends when the client has taken the request back, as it may do with
	// one of HTTP/2. In HTTP/1, where who writes to a client finds out, it does not
	// end.
	Context() context.Context
	// Interim writes an interim response (RFC 9110, section 15.2). It must not be
	// called once the answer has begun. Fields are end-to-end. After an error
	// nothing more can be written.
	Interim(status int, fields wire.Fields) error
	// Flush sends what is held back of the answer: its head waits for what follows.
	Flush() error
	// WriteChunk sends a part of a body without a known length as one chunk; p is
	// not empty. In HTTP/2 it is like any other part.
	WriteChunk(p []byte) error
	// ConnectionState is what was agreed on in the TLS handshake; without TLS the
	// zero value.
	ConnectionState() tls.ConnectionState
	// Broken reports whether something that was written did not reach the client, as
	// far as can be known: writing has failed.
	Broken() bool
	// Abort has the client see that an answer is incomplete that has no other way
	// to tell, when the connection is closed.
	Abort()
}

// Site is what all answers have in common to those who came in by one listener.
type Site struct {
	// HSTS is the value of Strict-Transport-Security; "" for no such line.
	HSTS string
	// RedirectToHTTPS is the port that every request is redirected to; 0: none is.
	RedirectToHTTPS int
}

// Request is a request as it was read.
type Request struct {
	// RequestHead is that of HTTP/1; in HTTP/2 what it would be there.
	wire.RequestHead
	// HTTP2 says that it came by HTTP/2.
	HTTP2 bool
	// Refusal is why nothing of the head may be used, and what to answer; nil
	// where it may.
	Refusal *wire.Refusal
	// Body is nil where the request has none.
	Body *Body
	// Time is when the whole head was there.
	Time time.Time
}

// Limits bound what a client may send and how long it may take. A size or time
// of 0 bounds nothing but for MaxHead, MaxTarget and MaxFields.
type Limits struct {
	// MaxHead bounds a head in bytes, MaxTarget the target within it, and
	// MaxFields the number of its field lines.
	MaxHead, MaxTarget, MaxFields int
	// MaxBody bounds a request's body in bytes.
	MaxBody int64
	// Idle is how long a connection may wait for the first byte of a request, and
	// Head how long the whole head may take from then on.
	Idle, Head time.Duration
	// Read and Write bound the silence between two reads of a request's body and
	// two writes of an answer.
	Read, Write time.Duration
	// Request bounds the whole of a request, from its first byte to the last one
	// of its answer.
	Request time.Duration
}
