package cache

import (
	"time"

	"ringfence/proxy/wire"
)

// explicitLifetime returns how long the origin says that a response is fresh in
// a shared cache, and where it says so, if it does (RFC 9111, section 4.2.1):
// s-maxage before max-age before Expires, which counts from the response's own
// Date and not at all beside CDN-Cache-Control. What is said unreadably or in
// contradiction makes the response stale.
func explicitLifetime(c *control, fields wire.Fields, date, ref time.Time) (lifetime time.Duration, source Source) {
	switch {
	case c.sMaxAge.set && c.targeted:
		lifetime, source = c.sMaxAge.value, FromTargetedSMaxAge
	case c.sMaxAge.set:
		lifetime, source = c.sMaxAge.value, FromSMaxAge
	case c.maxAge.set && c.targeted:
		lifetime, source = c.maxAge.value, FromTargetedMaxAge
	case c.maxAge.set:
		lifetime, source = c.maxAge.value, FromMaxAge
	case !c.targeted:
		lifetime, source = expiresLifetime(fields, date, ref)
	}
	if c.unbalanced {
		lifetime = 0
	}
	return lifetime, source
}

// impliedLifetime returns how long a response is fresh whose origin does not
// say, and who does, if anybody: the policy by its word on the status, else
// heuristics (RFC 9111, section 4.2.2), else the policy's default.
func impliedLifetime(p *Policy, c *control, m *Meta) (time.Duration, Source) {
	if c.unbalanced {
		return 0, FromNothing
	}
	if ttl, ok := p.negativeTTL(m.Status); ok {
		return min(ttl, maxDelta), sourceIf(ttl > 0, FromNegativeTTL)
	}
	if !isHeuristic(m.Status) && !c.public {
		return 0, FromNothing
	}
	if m.LastModified != "" {
		if tenth := min(m.Date.Sub(m.Modified)/10, p.HeuristicMax, maxDelta); tenth > 0 {
			return tenth, FromHeuristic
		}
	}
	return min(p.DefaultTTL, maxDelta), sourceIf(p.DefaultTTL > 0, FromDefaultTTL)
}

// staleWindows returns for how long past its freshness a response may be served
// while it is revalidated (RFC 5861, section 3), and while the upstream fails
// (section 4).
func staleWindows(p *Policy, c *control) (revalidate, onError time.Duration) {
	if c.mustRevalidate || c.noCache || c.withheld != nil || c.unbalanced {
		return 0, 0
	}
	onError = min(p.StaleOnError, maxDelta)
	if c.staleIfError.set {
		onError = c.staleIfError.value
	}
	return c.staleWhileRevalidate.value, onError
}

func expiresLifetime(fields wire.Fields, date, ref time.Time) (time.Duration, Source) {
	i := fields.Index("Expires", 0)
	if i < 0 {
		return 0, FromNothing
	}
	expires, ok := parseDate(fields[i].Value, ref)
	for j := fields.Index("Expires", i+1); j >= 0; j = fields.Index("Expires", j+1) {
		ok = ok && fields[j].Value == fields[i].Value
	}
	if !ok {
		return 0, FromExpires
	}
	return min(max(expires.Sub(date), 0), maxDelta), FromExpires
}

// ageField reads the first member of the first Age line; one that is not a
// number of seconds counts as none (RFC 9111, section 5.1).
func ageField(fields wire.Fields) time.Duration {
	first, _ := wire.NextItem(fields.Get("Age"))
	age, ok := deltaSeconds(first)
	if !ok {
		return 0
	}
	return age
}
