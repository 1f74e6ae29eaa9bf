package cache

// words says each reason in words, of a request or of the response that was not
// kept.
var words = [reasonCount]string{
	None:                 "what is stored is fresh",
	Miss:                 "nothing is stored for this URI",
	VaryMiss:             "the URI varies, and no stored variant is this request's",
	Stale:                "what is stored has outlived its freshness",
	MustRevalidate:       "what is stored must be validated before each use (no-cache)",
	RequestNoCache:       "the client asks for validation (no-cache)",
	RequestMaxAge:        "what is stored is older than the client accepts (max-age)",
	RequestMinFresh:      "what is stored is not fresh for as long as the client wants (min-fresh)",
	RequestNoStore:       "the client forbids storing the answer (no-store)",
	RequestOnlyIfCached:  "the client wants no forwarding (only-if-cached)",
	RequestBody:          "the request has a body, which is no part of the key",
	Precondition:         "If-Match and If-Unmodified-Since are for the origin to evaluate",
	Method:               "the method is neither GET nor HEAD",
	RouteOff:             "the route does not cache",
	Observe:              "the route serves nothing from the cache, and counts what would come of it",
	Upgrade:              "the request asks for another protocol, which the route allows",
	RangeMiss:            "a range is asked of a URI of which nothing is stored",
	Uncacheable:          "an earlier answer could not be shared, which is remembered for a while",
	Invalidated:          "what is stored was purged, or an unsafe request overtook it",
	RangeTooLarge:        "a range is asked of what is too large to be fetched whole",
	StaleWhileRevalidate: "what is stored is stale, and fetched again in the background (stale-while-revalidate)",
	StaleOnError:         "what is stored is stale, and answers in place of the failing upstream (stale-if-error)",
	StatusNotStorable:    "the status only makes sense as the answer to that one request",
	MustUnderstand:       "the answer has must-understand, and a status that is not known",
	ResponseNoStore:      "the answer forbids storing it (no-store)",
	Private:              "the answer is for its requester alone (private)",
	Authorization:        "the request had Authorization, and the answer does not say that it is for everyone",
	SetCookie:            "the answer sets a cookie, and does not say that it is for everyone",
	VaryStar:             "the answer varies by more than the request's fields",
	VaryTooLong:          "the list in Vary is too long",
	TooManyTags:          "the answer has too many groups and tags",
	VaryChanged:          "a 304 changed what the answer varies by",
	ValidatorMismatch:    "a 304 confirmed another answer than the stored one",
	NoFreshness:          "nothing says how long the answer is fresh",
	Partial:              "the answer is a part of the whole",
	TooLarge:             "the body is too large",
	Truncated:            "the body ended before its end",
	NotAdmitted:          "the store preferred what it had",
	LeaseLost:            "another instance may have fetched it meanwhile",
	Shared:               "another instance of the fleet has it",
}

// Words says the reason in words, for people.
func (r Reason) Words() string {
	if r >= reasonCount {
		return "unknown"
	}
	return words[r]
}
