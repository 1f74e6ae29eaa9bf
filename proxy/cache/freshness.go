package cache

import (
	"time"

	"ringfence/proxy/wire"
)

// explicitLifetime returns how long the origin says that a response is fresh in
// a shared cache, and whether it says anything (RFC 9111, section 4.2.1):
// s-maxage before max-age before Expires, which counts from the response's own
// Date and not at all beside CDN-Cache-Control. What is said unreadably or in
// contradiction makes the response stale.
func explicitLifetime(c *control, fields wire.Fields, date, ref time.Time) (lifetime time.Duration, explicit bool) {
	switch {
	case c.sMaxAge.set:
		lifetime, explicit = c.sMaxAge.value, true
	case c.maxAge.set:
		lifetime, explicit = c.maxAge.value, true
	case !c.targeted:
		lifetime, explicit = expiresLifetime(fields, date, ref)
	}
	if c.unbalanced {
		lifetime = 0
	}
	return lifetime, explicit
}

// impliedLifetime returns how long a response is fresh whose origin does not
// say, and whether it may be stored at all: by the policy's word on its status,
// else by heuristics (RFC 9111, section 4.2.2), else by the policy's default.
func impliedLifetime(p *Policy, c *control, m *Meta) (time.Duration, bool) {
	if c.unbalanced {
		return 0, false
	}
	if ttl, ok := p.negativeTTL(m.Status); ok {
		return min(ttl, maxDelta), ttl > 0
	}
	if !isHeuristic(m.Status) && !c.public {
		return 0, false
	}
	if m.LastModified != "" {
		if tenth := min(m.Date.Sub(m.Modified)/10, p.HeuristicMax, maxDelta); tenth > 0 {
			return tenth, true
		}
	}
	return min(p.DefaultTTL, maxDelta), p.DefaultTTL > 0
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

func expiresLifetime(fields wire.Fields, date, ref time.Time) (time.Duration, bool) {
	i := fields.Index("Expires", 0)
	if i < 0 {
		return 0, false
	}
	expires, ok := parseDate(fields[i].Value, ref)
	for j := fields.Index("Expires", i+1); j >= 0; j = fields.Index("Expires", j+1) {
		ok = ok && fields[j].Value == fields[i].Value
	}
	if !ok {
		return 0, true
	}
	return min(max(expires.Sub(date), 0), maxDelta), true
}

// initialAge returns the corrected_initial_age of RFC 9111, section 4.2.3.
// Whole seconds are compared, since Date has no finer ones.
func initialAge(fields wire.Fields, date, requestTime, responseTime time.Time) time.Duration {
	apparent := time.Duration(min(max(responseTime.Unix()-date.Unix(), 0), int64(maxDelta/time.Second))) * time.Second
	delay := max(responseTime.Sub(requestTime), 0)
	return max(apparent, ageField(fields)+delay)
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
