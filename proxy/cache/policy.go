package cache

import "time"

// Policy is what a route decides about caching where the RFCs leave it a
// choice. The zero value stores what the origin says is fresh, and nothing
// else, and honours all that clients ask. It must not change once it is in
// use, and is shared by all requests of the route. Durations beyond 2^31
// seconds count as 2^31 seconds.
type Policy struct {
	// DefaultTTL is how long a response is fresh about whose freshness nothing
	// is known, neither from the origin nor by heuristics, if its status is
	// heuristically cacheable (RFC 9110, section 15.1) or it is marked public.
	// 0: it is not stored.
	DefaultTTL time.Duration
	// HeuristicMax bounds heuristic freshness, which is a tenth of the time
	// from Last-Modified to Date, for the same responses (RFC 9111, section
	// 4.2.2). 0: there are no heuristics.
	HeuristicMax time.Duration
	// NegativeTTL is how long a response with a status of 300 or more is fresh
	// if the origin does not say, in place of heuristics and DefaultTTL: by
	// status (404), else by class (4 for 4xx). 0 means that it is not stored.
	// A class leaves out the statuses that bid the client try again otherwise
	// or later: 401, 407, 408, 421, 425, 428, 429 and 511.
	NegativeTTL map[int]time.Duration
	// SetCookie says what becomes of a response that sets a cookie.
	SetCookie SetCookieRule
	// StaleOnError is for how long past its freshness a response may answer
	// while the upstream fails, if the origin set no stale-if-error of its own.
	// 0: not at all.
	StaleOnError time.Duration
	// EarlyRefresh: whoever serves an [Object] within its
	// [Object.EarlyWindow] asks [RefreshesEarly] whether to refresh it.
	EarlyRefresh bool
	// Ignore are the directives of clients that are not honoured.
	Ignore RequestDirectives
	// OwnCoding: the route chooses the content coding itself and asks for none,
	// so that Accept-Encoding selects no response that has none.
	OwnCoding bool
	// TagFields are the fields whose tags count among Meta.Tags.
	TagFields TagFields
	// MaxTags is how many groups and tags a stored response may have; one with more
	// is not stored. Less than 32 counts as 32, which RFC 9875, section 2,
	// requires.
	MaxTags int
}

// SetCookieRule says what becomes of a response with Set-Cookie that may be stored
// otherwise. The set is closed.
type SetCookieRule uint8

const (
	// SetCookieExplicit: it is stored, cookies and all, only if the origin says
	// that it is for everyone: by public, by s-maxage, or by a lifetime in
	// CDN-Cache-Control.
	SetCookieExplicit SetCookieRule = iota
	// SetCookieStore: it is stored like any other, which is the letter of
	// RFC 9111, section 7.3. Everybody gets the same cookie.
	SetCookieStore
	// SetCookieStrip: it is stored, and nobody gets its Set-Cookie lines.
	SetCookieStrip
	// SetCookieBypass: it is not stored.
	SetCookieBypass
)

// RequestDirectives is a set of the directives that clients may send (RFC 9111,
// section 5.2.1, and RFC 5861, section 4).
type RequestDirectives uint8

const (
	// DirectiveNoCache is no-cache, and with it Pragma: no-cache.
	DirectiveNoCache RequestDirectives = 1 << iota
	// DirectiveNoStore is no-store.
	DirectiveNoStore
	// DirectiveMaxAge is max-age.
	DirectiveMaxAge
	// DirectiveMinFresh is min-fresh.
	DirectiveMinFresh
	// DirectiveMaxStale is max-stale.
	DirectiveMaxStale
	// DirectiveOnlyIfCached is only-if-cached.
	DirectiveOnlyIfCached
	// DirectivePragma is Pragma: no-cache (RFC 9111, section 5.4) alone.
	DirectivePragma
	// DirectiveStaleIfError is stale-if-error.
	DirectiveStaleIfError
)

// minTags is how many groups an implementation must support (RFC 9875, section
// 2).
const minTags = 32

func (p *Policy) maxTags() int { return max(p.MaxTags, minTags) }

// negativeTTL returns the entry of a status, and whether there is one.
func (p *Policy) negativeTTL(status int) (time.Duration, bool) {
	if status < 300 {
		return 0, false
	}
	ttl, ok := p.NegativeTTL[status]
	if !ok && !bidsRepeat(status) {
		ttl, ok = p.NegativeTTL[status/100]
	}
	return ttl, ok
}
