package proxy

import (
	"net/url"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
)

// invalidateTimeout bounds how long an unsafe request's client waits until all
// instances have confirmed what it invalidates.
const invalidateTimeout = time.Second

// invalidate makes stored responses unusable after a successful unsafe request
// (RFC 9111, section 4.4): those of its target, of what Location and
// Content-Location name on the same origin, and of the groups that they or the
// answer name (RFC 9875).
func (c *call) invalidate(resp *upstream.Response) {
	places := []uint64{c.key.resource}
	if found := c.known(); found != nil {
		places = append(places, found.tags[:len(found.Groups)]...)
	}
	for _, name := range [...]string{"Location", "Content-Location"} {
		if t, ok := c.target.resolve(resp.Fields.Get(name)); ok {
			places = append(places, c.h.resourcesOf(t)...)
		}
	}
	for _, group := range cache.InvalidatedGroups(c.method, resp.Status, resp.Fields) {
		places = append(places, tagOf(c.target, group))
	}
	if _, err := c.h.strike(strikesAt(memory.Nothing, places), invalidateTimeout); err != nil {
		c.h.logFailure(c.route, "the fleet was not told of an invalidation", c.method, c.target, c.id, err)
	}
}

// resourcesOf returns the place in the epochs of what a GET of another target is
// about, if there is a route for it.
func (h *Handler) resourcesOf(t target) []uint64 {
	r := h.snap.Load().routes.match(t.host, t.path)
	if r == nil {
		return nil
	}
	if r.Query != nil {
		t, _ = t.withQuery(r.Query, nil)
	}
	var k keys
	k.build(r, t, nil)
	return []uint64{k.resource}
}

// resolve returns the target that a reference in an answer names, where it is
// one of the same origin (RFC 9110, section 4.3.1).
func (t target) resolve(reference string) (target, bool) {
	if reference == "" {
		return target{}, false
	}
	base, err := url.Parse(t.scheme + "://" + t.authority + t.raw)
	if err != nil {
		return target{}, false
	}
	u, err := base.Parse(reference)
	if err != nil || u.Scheme != t.scheme {
		return target{}, false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		path += "?" + u.RawQuery
	}
	named, err := parseTarget(t.scheme, "GET", path, wire.Fields{{Name: "Host", Value: u.Host}})
	return named, err == nil && named.authority == t.authority
}
