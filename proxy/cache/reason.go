package cache

// Reason says why a request was not answered from the cache, or from a stale
// response, or why a response was not kept. The same value is the Cache-Status
// detail, the label of a metric and the line of an explanation. The set is
// closed; the zero value is [None].
type Reason uint8

// Why a request was not answered from the cache.
const (
	// None: there is nothing to explain.
	None Reason = iota
	// Miss: nothing is stored for the request's URI.
	Miss
	// VaryMiss: the URI is known to vary, and no stored variant is the
	// request's (RFC 9111, section 4.1).
	VaryMiss
	// Stale: the stored response has outlived its freshness.
	Stale
	// MustRevalidate: the stored response may not be used unasked (response
	// directive no-cache, RFC 9111, section 5.2.2.4).
	MustRevalidate
	// RequestNoCache: the client asked for validation (no-cache, or Pragma).
	RequestNoCache
	// RequestMaxAge: the stored response is older than the client accepts.
	RequestMaxAge
	// RequestMinFresh: the stored response is not fresh for as long as the
	// client wants.
	RequestMinFresh
	// RequestNoStore: the client forbids storing the answer.
	RequestNoStore
	// RequestOnlyIfCached: the client wants no forwarding and nothing usable
	// is stored; the answer is a 504 (RFC 9111, section 5.2.1.7).
	RequestOnlyIfCached
	// RequestBody: the request has a body, which is no part of the key.
	RequestBody
	// Precondition: If-Match or If-Unmodified-Since, which only an origin may
	// evaluate (RFC 9111, section 4.3.2).
	Precondition
	// Method: the method is neither GET nor HEAD.
	Method
	// RouteOff: the route does not cache.
	RouteOff
	// Observe: the route does not cache, but counts what would come of it.
	Observe
	// Upgrade: the request asks for another protocol, which the route allows
	// (RFC 9110, section 7.8).
	Upgrade
	// RangeMiss: a range was asked of a URI of which nothing is stored.
	RangeMiss
	// Uncacheable: an earlier response to this URI could not be shared, and
	// that is still remembered.
	Uncacheable
	// Invalidated: the stored response was purged, or an unsafe request
	// overtook it (RFC 9111, section 4.4).
	Invalidated
	// RangeTooLarge: a range was asked of a URI of which nothing is stored, and
	// the whole is too large to fetch for it.
	RangeTooLarge
)

// Why a stale response answered a request.
const (
	// StaleWhileRevalidate: the origin allows it for a while, in which the
	// response is refreshed (RFC 5861, section 3).
	StaleWhileRevalidate Reason = iota + RangeTooLarge + 1
	// StaleOnError: the upstream failed (RFC 5861, section 4).
	StaleOnError
)

// Why a response was not kept.
const (
	// StatusNotStorable: an interim status, or one that only makes sense as
	// the answer to the condition or range that was sent.
	StatusNotStorable Reason = iota + StaleOnError + 1
	// MustUnderstand: response directive must-understand, and an unknown status
	// (RFC 9111, section 5.2.2.3).
	MustUnderstand
	// ResponseNoStore: response directive no-store.
	ResponseNoStore
	// Private: response directive private.
	Private
	// Authorization: the request was authenticated and the response does not
	// say that it is for everyone (RFC 9111, section 3.5).
	Authorization
	// SetCookie: the response sets a cookie and does not say that it is for
	// everyone.
	SetCookie
	// VaryStar: the response varies on more than the request's fields.
	VaryStar
	// VaryTooLong: the Vary list is longer than 1024 bytes.
	VaryTooLong
	// TooManyTags: the response has more groups and tags than the policy allows.
	TooManyTags
	// VaryChanged: a 304 changed the Vary of the stored response, which no
	// longer belongs under its key.
	VaryChanged
	// ValidatorMismatch: a 304 confirmed another response than the stored one.
	ValidatorMismatch
	// NoFreshness: nothing says how long the response is fresh, or it is stale
	// on arrival and has no validator.
	NoFreshness
	// Partial: the response is a part of the representation.
	Partial
	// TooLarge: the body is larger than the configured limit.
	TooLarge
	// Truncated: the body ended before its announced end.
	Truncated
	// NotAdmitted: the store preferred what it had.
	NotAdmitted
	// LeaseLost: another instance may have fetched it again meanwhile.
	LeaseLost
	// Shared: another instance of the fleet had it.
	Shared

	reasonCount
)

// ReasonCount is the number of reasons, [None] included: each is below it.
const ReasonCount = int(reasonCount)

// reasons holds the name and the RFC 9211 fwd token of each reason. Responses
// that are not kept have the token of a request for which nothing usable was
// stored.
var reasons = [reasonCount]struct{ name, forward string }{
	None:                 {"none", ""},
	Miss:                 {"uri-miss", "uri-miss"},
	VaryMiss:             {"vary-miss", "vary-miss"},
	Stale:                {"stale", "stale"},
	MustRevalidate:       {"must-revalidate", "stale"},
	RequestNoCache:       {"request-no-cache", "request"},
	RequestMaxAge:        {"request-max-age", "request"},
	RequestMinFresh:      {"request-min-fresh", "request"},
	RequestNoStore:       {"request-no-store", "request"},
	RequestOnlyIfCached:  {"request-only-if-cached", ""},
	RequestBody:          {"request-body", "bypass"},
	Precondition:         {"precondition", "request"},
	Method:               {"method", "method"},
	RouteOff:             {"route-off", "bypass"},
	Observe:              {"observe", "bypass"},
	Upgrade:              {"upgrade", "bypass"},
	RangeMiss:            {"range-miss", "uri-miss"},
	Uncacheable:          {"uncacheable", "miss"},
	Invalidated:          {"invalidated", "miss"},
	RangeTooLarge:        {"range-too-large", "uri-miss"},
	StaleWhileRevalidate: {"stale-while-revalidate", "stale"},
	StaleOnError:         {"stale-if-error", "stale"},
	StatusNotStorable:    {"status-not-storable", "miss"},
	MustUnderstand:       {"must-understand", "miss"},
	ResponseNoStore:      {"response-no-store", "miss"},
	Private:              {"private", "miss"},
	Authorization:        {"authorization", "miss"},
	SetCookie:            {"set-cookie", "miss"},
	VaryStar:             {"vary-star", "miss"},
	VaryTooLong:          {"vary-too-long", "miss"},
	TooManyTags:          {"too-many-tags", "miss"},
	VaryChanged:          {"vary-changed", "miss"},
	ValidatorMismatch:    {"validator-mismatch", "miss"},
	NoFreshness:          {"no-freshness", "miss"},
	Partial:              {"partial", "miss"},
	TooLarge:             {"too-large", "miss"},
	Truncated:            {"truncated", "miss"},
	NotAdmitted:          {"not-admitted", "miss"},
	LeaseLost:            {"lease-lost", "miss"},
	Shared:               {"shared", ""},
}

// String returns the reason in kebab-case, which is a token (RFC 9110, section
// 5.6.2) and a structured-field token (RFC 9651, section 3.3.4).
func (r Reason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return reasons[r].name
}

// Forward returns the value of the Cache-Status parameter fwd (RFC 9211,
// section 2.2) for a request that was forwarded because of r, or "" where r
// does not make a request go forward.
func (r Reason) Forward() string {
	if r >= reasonCount {
		return ""
	}
	return reasons[r].forward
}
