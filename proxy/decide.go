package proxy

import (
	"ringfence/proxy/cache"
)

// course is where a request goes before the cache is asked. The set is closed.
type course uint8

const (
	refused    course = iota // it is not taken any further
	redirected               // to https
	ours                     // OPTIONS *: it is for the proxy itself
	purges                   // it asks for a purge, which its route takes
	upgrades                 // past the cache, to switch protocols
	uncached                 // past the cache: the route has none
	observed                 // past the cache, whose decisions are counted
	cacheable                // see decide
)

// chart finds out where the request goes: it reads what it is for, and sets its
// route and its key. With refused come a status and a reason. It answers nothing
// and counts nothing.
func (c *call) chart() (to course, status int, why string) {
	if status, why := c.parse(); status != 0 {
		return refused, status, why
	}
	if c.conn.Site().RedirectToHTTPS > 0 {
		return redirected, 0, ""
	}
	if c.target.raw == "*" {
		return ours, 0, ""
	}
	if c.route = c.snap.routes.match(c.target.host, c.target.path); c.route == nil {
		return refused, 404, "no route for this host and path"
	}
	if c.route.Query != nil {
		c.target, c.query = c.target.withQuery(c.route.Query, c.query[:0])
	}
	c.rq = cache.NewRequest(&c.route.Policy, c.method, c.fields)
	c.key.build(c.route, c.target, c.fields)
	if c.method == "PURGE" && len(c.route.PurgeFrom) > 0 {
		return purges, 0, ""
	}
	if c.switchTo = c.route.protocol(c.offers); c.switchTo != "" {
		return upgrades, 0, ""
	}
	switch c.route.Cache {
	case CacheOff:
		return uncached, 0, ""
	case CacheObserve:
		c.tables = c.h.shadow.tables.Load()
		return observed, 0, ""
	}
	return cacheable, 0, ""
}

// plan is how a request of a route that caches is answered. The set is closed.
type plan uint8

const (
	fromStore  plan = iota // by what is stored
	standingIn             // by what is stored, in place of a failing upstream
	notCached              // by a 504: nothing else may be asked
	byFill                 // by a fill, one's own or another's
	past                   // past the cache
)

// decide finds out how the request is answered, and why. It sets found, and asks
// and counts nothing.
func (c *call) decide() (plan, cache.Decision) {
	e, missing := c.tables.find(&c.key, c.fields, c.now)
	c.found = e
	d := cache.Decide(e.object(), c.rq, c.now)
	if d.Reason == cache.Miss {
		d.Reason = missing
	}
	switch d.Action {
	case cache.Serve, cache.ServeAndRefresh:
		return fromStore, d
	case cache.OnlyIfCached:
		return notCached, d
	case cache.Pass:
		return past, d
	}
	switch {
	case c.mayStandIn():
		return standingIn, d
	case c.isUncacheable():
		d.Reason = cache.Uncacheable
		return past, d
	case c.rq.HasRange() && (c.route.RangeFill == 0 || c.isMarked(large)):
		return past, d
	}
	return byFill, d
}
