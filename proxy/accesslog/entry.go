// Package accesslog writes one line for each request that was answered: as JSON,
// in the combined format of NCSA's and Apache's servers, or by a template.
//
// A line costs its request neither memory nor waiting. Lines gather in chunks,
// which one goroutine writes; where the file does not keep up they are dropped,
// and counted. Whatever a client has sent, its request has one line, of ASCII
// alone.
package accesslog

import (
	"net/netip"
	"time"
)

// Entry is what there is to say of one request. Zero values say nothing, but of
// Time, Status, Bytes, Complete and Duration.
type Entry struct {
	// Time is when the request's head was there.
	Time time.Time
	// RequestID is what the request is called, as far as it has a name.
	RequestID string

	// Client is who asks, as far as can be believed, and Peer who is connected.
	Client netip.Addr
	Peer   netip.AddrPort
	// Protocol is the version of HTTP, as in HTTP/1.1, and TLS that of TLS, as in
	// 1.3.
	Protocol, TLS string
	// Method and Target are as they were sent; Scheme and Host, with its port, are
	// as the proxy reads them.
	Method, Scheme, Host, Target string
	// Referer and UserAgent are the fields of these names.
	Referer, UserAgent string

	// Status is that of the answer, Bytes what was sent of its body, and Complete
	// says that this was all.
	Status   int
	Bytes    int64
	Complete bool
	// FirstByte is how long it took until the answer began, and Duration until it
	// ended.
	FirstByte, Duration time.Duration

	// Cache is what Cache-Status says: hit, or the token after fwd=; Reason is what
	// it gives in detail.
	Cache, Reason string
	// HasKey says that there is a cache key, of which Key is the hash.
	HasKey bool
	Key    uint64
	// HasAge says that Age is that of the answer, and HasTTL that TTL is what
	// remains of its freshness; negative where it is stale.
	HasAge, HasTTL bool
	Age, TTL       time.Duration
	// Stored says that the answer went into the cache, and Collapsed that it came
	// of another request's fill, for which the request waited for Wait.
	Stored, Collapsed bool
	Wait              time.Duration

	// Route and Upstream name where the request went, and Server is the id of who
	// answered or failed last.
	Route, Upstream, Server string
	// Attempts is how many servers were asked for this request, and UpstreamTime how
	// long that took, up to the head of the answer. UpstreamStatus is the server's
	// status where the answer has another one.
	Attempts       int
	UpstreamTime   time.Duration
	UpstreamStatus int
	// Error is why there is no answer, or not all of one: an error type of RFC 9209,
	// section 2.3, or a short text.
	Error string
}

// failed reports whether the request was not served as it should have been.
func (e *Entry) failed() bool { return e.Status >= 500 || !e.Complete }
