package proxy

import (
	"slices"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
)

// judge assesses a response at its head, and makes that of the answers.
func (j *job) judge(resp *upstream.Response, requested, received time.Time) *head {
	hd := j.assess(resp, requested, received)
	hd.heading = j.heading(hd.meta.Fields)
	return hd
}

// assess finds out what may be done with a response.
func (j *job) assess(resp *upstream.Response, requested, received time.Time) *head {
	hd := &head{length: resp.Length, whole: &whole{ended: make(chan struct{})}, server: j.server, attempts: j.attempts}
	hd.meta, hd.reason = cache.Assess(&j.route.Policy, j.rq, resp.Status, resp.Fields, requested, received)
	hd.withheld = hd.meta.Withheld
	if hd.reason == cache.None && variesByIdentity(hd.meta.Vary, j.snap.RequestID) {
		hd.reason = cache.VaryStar
	}
	failed := cache.FailsUpstream(hd.meta)
	j.found.noteAttempt(failed)
	switch {
	case hd.reason != cache.None:
	case resp.Length > j.snap.MaxObject:
		hd.reason = cache.TooLarge
	case j.ranged && resp.Length > j.route.RangeFill:
		hd.reason = cache.RangeTooLarge
	case failed && cache.ServesOnError(j.found.object(), j.rq, received):
		// A failure does not take the place of what stands in for it.
		hd.reason = cache.StaleOnError
	}
	hd.born, hd.tags = j.born, tagsOf(j.target, &hd.meta)
	hd.meta.Fields = j.route.Compression.announce(hd.meta)
	hd.variant = string(cache.AppendVariant(nil, hd.meta.Vary, j.fields))
	return hd
}

// variesByIdentity reports whether a response depends on a field that the proxy
// has written about its client. No other request is known to get the same one:
// what the clients themselves send under these names has not reached the
// upstream.
func variesByIdentity(vary []string, requestID string) bool {
	return slices.ContainsFunc(vary, func(name string) bool {
		return name == "x-forwarded-for" || name == "forwarded" || wire.EqualFold(name, requestID)
	})
}

// frame is the length a client can be told: a body that ends with its
// connection is sent on in chunks.
func frame(length int64) int64 {
	if length == wire.UntilClose {
		return wire.Chunked
	}
	return length
}

// remember writes down, before anybody is told of the head, what the next
// requests for the key must know: that it varies, or that its answers are not to
// be waited for.
func (j *job) remember(hd *head) {
	switch {
	case hd.reason == cache.None:
		j.tables.rememberVary(&j.key, hd.meta.Vary)
	case hd.reason == cache.RangeTooLarge:
		j.tables.mark(j.key.bytes, large, hd.reason, j.h.snap.Load().UncacheableTTL)
	case hd.reason == cache.RequestNoStore || !speaksOfResource(hd.meta.Status):
	default:
		j.markUncacheable(hd.reason)
	}
}

// markUncacheable notes that answers to such requests cannot be shared, and why;
// None: another instance says so.
func (j *job) markUncacheable(why cache.Reason) {
	if hasCredentials(j.fields) {
		j.tables.mark(j.key.bytes, personal, why, j.h.snap.Load().UncacheableTTL)
	} else {
		j.tables.mark(j.key.bytes, unshared, why, j.h.snap.Load().UncacheableTTL)
	}
}

// dropReplaced forgets what the request had found where a later response has
// come that cannot take its place, unless that one is about who asked.
func (j *job) dropReplaced(hd *head) {
	if j.found != nil && hd.reason != cache.None && speaksOfResource(hd.meta.Status) && !hasCredentials(j.fields) {
		j.tables.store.Delete(j.found.Key)
	}
}

// speaksOfResource reports whether a status says something about what was asked
// for, rather than about how it was asked or how the server fares. One odd
// request shall not undo the collapsing of all others.
func speaksOfResource(status int) bool { return status < 400 || status == 404 || status == 410 }

// verdict says who may read a fill. What may be stored is for everybody. So is
// a body that is only too large; and an upstream's failure to answer, which
// says nothing about who asked and sets no cookie: else every waiting request
// would put the question to a server in trouble once more.
func verdict(hd *head, fields wire.Fields) singleflight.Verdict {
	switch {
	case hd.reason == cache.None:
		return singleflight.Store
	case hd.reason == cache.TooLarge, hd.reason == cache.RangeTooLarge, hd.reason == cache.StaleOnError:
		return singleflight.Share
	case hd.meta.Status >= 500 && hd.reason == cache.NoFreshness && !hasCredentials(fields) && !hd.meta.Fields.Has("Set-Cookie"):
		return singleflight.Share
	}
	return singleflight.Private
}
