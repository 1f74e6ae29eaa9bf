package cache

import (
	"math"
	"time"

	"ringfence/proxy/wire"
)

// Request is what decides how a request may be answered from the cache. It
// shares the memory of the fields it was made from and must not outlive them.
type Request struct {
	// Method is the request's method, as it was sent.
	Method string
	// Fields are the client's field lines.
	Fields wire.Fields

	// MaxAge, MinFresh, MaxStale and StaleIfError are the request directives of
	// these names (RFC 9111, section 5.2.1; RFC 5861, section 4); each is -1
	// where it is absent or ignored. An unreadable number has the reading that
	// serves the least from the cache, and so has the strictest of several.
	// MaxStale without a number is the longest duration.
	MaxAge, MinFresh, MaxStale, StaleIfError time.Duration

	traits traits
}

// traits are the yes-or-no properties of a request.
type traits uint16

const (
	isGet traits = 1 << iota
	isHead
	noCache      // no-cache, or Pragma: no-cache without any Cache-Control
	noStore      // no-store
	onlyIfCached // only-if-cached
	hasAge       // one of max-age, min-fresh and max-stale
	hasBody      // Content-Length other than 0, or Transfer-Encoding
	authorized   // Authorization
	hasRange     // Range, on a GET
	conditional  // If-None-Match or If-Modified-Since
	originOnly   // If-Match or If-Unmodified-Since

	// plain requests have none of these: a fresh response answers them.
	notPlain = noCache | noStore | onlyIfCached | hasAge | hasBody | originOnly
)

// NewRequest reads what the cache must know from the client's field lines, in
// one pass and without allocation; directives in p.Ignore are left out. The
// result shares the memory of method and f.
func NewRequest(p *Policy, method string, f wire.Fields) Request {
	rq := Request{Method: method, Fields: f, MaxAge: -1, MinFresh: -1, MaxStale: -1, StaleIfError: -1}
	switch method {
	case "GET":
		rq.traits = isGet
	case "HEAD":
		rq.traits = isHead
	}
	pragma, control := false, false
	for i := range f {
		name, value := f[i].Name, f[i].Value
		switch len(name) {
		case len("Range"):
			if rq.traits&isGet != 0 && wire.EqualFold(name, "Range") {
				rq.traits |= hasRange
			}
		case len("Pragma"):
			pragma = pragma || wire.EqualFold(name, "Pragma") && listsNoCache(value)
		case len("If-Match"):
			rq.traits |= traitIf(name, "If-Match", originOnly)
		case len("Authorization"):
			rq.traits |= traitIf(name, "Authorization", authorized)
			rq.traits |= traitIf(name, "If-None-Match", conditional)
			if wire.EqualFold(name, "Cache-Control") {
				control = true
				rq = withDirectives(rq, value, p.Ignore)
			}
		case len("Content-Length"):
			if value != "0" {
				rq.traits |= traitIf(name, "Content-Length", hasBody)
			}
		case len("If-Modified-Since"):
			rq.traits |= traitIf(name, "If-Modified-Since", conditional)
			rq.traits |= traitIf(name, "Transfer-Encoding", hasBody)
		case len("If-Unmodified-Since"):
			rq.traits |= traitIf(name, "If-Unmodified-Since", originOnly)
		}
	}
	if pragma && !control && p.Ignore&(DirectiveNoCache|DirectivePragma) == 0 {
		rq.traits |= noCache
	}
	return rq
}

func traitIf(name, want string, t traits) traits {
	if wire.EqualFold(name, want) {
		return t
	}
	return 0
}

func listsNoCache(list string) bool {
	for {
		d, rest, ok := nextDirective(list)
		if !ok {
			return false
		}
		if wire.EqualFold(d.name, "no-cache") {
			return true
		}
		list = rest
	}
}

// withDirectives adds the directives of one Cache-Control line that are not to
// be ignored.
func withDirectives(rq Request, list string, ignore RequestDirectives) Request {
	for {
		d, rest, ok := nextDirective(list)
		if !ok {
			return rq
		}
		list = rest
		switch directiveCalled(d.name) &^ ignore {
		case DirectiveNoCache:
			rq.traits |= noCache
		case DirectiveNoStore:
			rq.traits |= noStore
		case DirectiveOnlyIfCached:
			rq.traits |= onlyIfCached
		case DirectiveMaxAge:
			age, _ := seconds(d)
			rq.MaxAge = stricter(rq.MaxAge, age)
			rq.traits |= hasAge
		case DirectiveMinFresh:
			fresh, ok := seconds(d)
			if !ok {
				fresh = math.MaxInt64
			}
			rq.MinFresh = max(rq.MinFresh, fresh)
			rq.traits |= hasAge
		case DirectiveMaxStale:
			stale, _ := seconds(d)
			if d.form == bare {
				stale = math.MaxInt64
			}
			rq.MaxStale = stricter(rq.MaxStale, stale)
			rq.traits |= hasAge
		case DirectiveStaleIfError:
			stale, _ := seconds(d)
			rq.StaleIfError = stricter(rq.StaleIfError, stale)
		}
	}
}

// stricter returns the lower of an upper limit, which is -1 while there is
// none, and one more.
func stricter(limit, another time.Duration) time.Duration {
	if limit < 0 {
		return another
	}
	return min(limit, another)
}

func directiveCalled(name string) RequestDirectives {
	switch {
	case wire.EqualFold(name, "no-cache"):
		return DirectiveNoCache
	case wire.EqualFold(name, "no-store"):
		return DirectiveNoStore
	case wire.EqualFold(name, "max-age"):
		return DirectiveMaxAge
	case wire.EqualFold(name, "min-fresh"):
		return DirectiveMinFresh
	case wire.EqualFold(name, "max-stale"):
		return DirectiveMaxStale
	case wire.EqualFold(name, "only-if-cached"):
		return DirectiveOnlyIfCached
	case wire.EqualFold(name, "stale-if-error"):
		return DirectiveStaleIfError
	}
	return 0
}

// HasRange reports whether a part of the representation is asked for: a GET
// with a Range field, whatever that says (RFC 9110, section 14.2).
func (rq Request) HasRange() bool { return rq.traits&hasRange != 0 }

// pass returns why the request must go to its origin as it is and its answer
// to its client only, or [None].
func (rq *Request) pass() Reason {
	switch {
	case rq.traits&(isGet|isHead) == 0:
		return Method
	case rq.traits&hasBody != 0:
		return RequestBody
	case rq.traits&noStore != 0:
		return RequestNoStore
	case rq.traits&originOnly != 0:
		return Precondition
	}
	return None
}

// StripConditions appends to dst the lines of src but for conditions and
// ranges: what fills the cache must be the whole current representation,
// whatever the client that asked first holds already. dst may be src[:0].
func StripConditions(dst, src wire.Fields) wire.Fields {
	for _, f := range src {
		if !isCondition(f.Name) {
			dst = append(dst, f)
		}
	}
	return dst
}

func isCondition(name string) bool {
	switch len(name) {
	case len("Range"):
		return wire.EqualFold(name, "Range")
	case len("If-Match"):
		return wire.EqualFold(name, "If-Match") || wire.EqualFold(name, "If-Range")
	case len("If-None-Match"):
		return wire.EqualFold(name, "If-None-Match")
	case len("If-Modified-Since"):
		return wire.EqualFold(name, "If-Modified-Since")
	case len("If-Unmodified-Since"):
		return wire.EqualFold(name, "If-Unmodified-Since")
	}
	return false
}

// Invalidates reports whether a response with this status to a request with
// this method makes the stored responses of its URI unusable: a method that is
// not known to be safe, and no error (RFC 9111, section 4.4).
func Invalidates(method string, status int) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH":
		return false
	}
	return status >= 200 && status < 400
}
