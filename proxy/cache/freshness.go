package cache

import (
	"time"

	"ringfence/proxy/wire"
)

// control holds the response directives (RFC 9111, section 5.2.2). Restricting
// ones count however they are written; those that grant something count only
// in their proper form.
type control struct {
	noStore, noCache, private, public bool
	// mustRevalidate: any of must-revalidate, proxy-revalidate and s-maxage.
	mustRevalidate bool
	// namedMustRevalidate: must-revalidate itself, in its proper form.
	namedMustRevalidate bool
	sMaxAge, maxAge     delta
	// unbalanced: quotation marks leave it open what is a directive.
	unbalanced bool
}

// delta is a directive that takes a number of seconds.
type delta struct {
	set, valid bool
	value      time.Duration
}

// shareable reports whether the origin says that the response is for everyone.
func (c control) shareable() bool {
	return !c.unbalanced && (c.public || c.sMaxAge.set && c.sMaxAge.valid)
}

// allowsAuthorized reports whether the response to an authenticated request may
// be shared (RFC 9111, section 3.5).
func (c control) allowsAuthorized() bool {
	return c.shareable() || c.namedMustRevalidate && !c.unbalanced
}

// readControl reads all Cache-Control lines as one list.
func readControl(fields wire.Fields) control {
	var c control
	for i := fields.Index("Cache-Control", 0); i >= 0; i = fields.Index("Cache-Control", i+1) {
		for list := fields[i].Value; ; {
			d, rest, ok := nextDirective(list)
			if !ok {
				break
			}
			c, list = withDirective(c, d), rest
		}
	}
	return c
}

func withDirective(c control, d directive) control {
	c.unbalanced = c.unbalanced || d.form == unbalanced
	switch {
	case wire.EqualFold(d.name, "no-store"):
		c.noStore = true
	case wire.EqualFold(d.name, "no-cache"):
		c.noCache = true
	case wire.EqualFold(d.name, "private"):
		c.private = true
	case wire.EqualFold(d.name, "public"):
		c.public = c.public || d.form == bare
	case wire.EqualFold(d.name, "must-revalidate"):
		c.mustRevalidate = true
		c.namedMustRevalidate = c.namedMustRevalidate || d.form == bare
	case wire.EqualFold(d.name, "proxy-revalidate"):
		c.mustRevalidate = true
	case wire.EqualFold(d.name, "s-maxage"):
		c.mustRevalidate = true
		c.sMaxAge = withSeconds(c.sMaxAge, d)
	case wire.EqualFold(d.name, "max-age"):
		c.maxAge = withSeconds(c.maxAge, d)
	}
	return c
}

// withSeconds adds one more directive of a name. Two that differ, and one that
// is not a number, leave the response stale (RFC 9111, section 4.2.1).
func withSeconds(before delta, d directive) delta {
	value, ok := seconds(d)
	if before.set && (!before.valid || before.value != value) {
		ok = false
	}
	if !ok {
		value = 0
	}
	return delta{set: true, valid: ok, value: value}
}

// lifetimeOf returns how long a response is fresh in a shared cache, and
// whether anything says so (RFC 9111, section 4.2.1): s-maxage before max-age
// before Expires, which counts from the response's own Date. What is said
// unreadably or in contradiction makes the response stale.
func lifetimeOf(c control, fields wire.Fields, date, ref time.Time) (lifetime time.Duration, explicit bool) {
	switch {
	case c.sMaxAge.set:
		lifetime, explicit = c.sMaxAge.value, true
	case c.maxAge.set:
		lifetime, explicit = c.maxAge.value, true
	default:
		lifetime, explicit = expiresLifetime(fields, date, ref)
	}
	if c.unbalanced {
		lifetime = 0
	}
	return lifetime, explicit
}

func expiresLifetime(fields wire.Fields, date, ref time.Time) (time.Duration, bool) {
	i := fields.Index("Expires", 0)
	if i < 0 {
		return 0, false
	}
	expires, ok := ParseDate(fields[i].Value, ref)
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
