package cache

import (
	"strings"
	"time"

	"ringfence/proxy/wire"
)

// control holds the response directives (RFC 9111, section 5.2.2). Restricting
// ones count however they are written; those that grant something count only
// in their proper form.
type control struct {
	noStore, noCache, public bool
	// private: the whole response is for the requester alone.
	private bool
	// withheld names the fields that are, where the rest may be shared.
	withheld []string
	// mustRevalidate: any of must-revalidate, proxy-revalidate and s-maxage.
	mustRevalidate bool
	// namedMustRevalidate: must-revalidate itself, in its proper form.
	namedMustRevalidate bool
	// mustUnderstand: must-understand; it lifts no-store in its proper form,
	// liftsNoStore.
	mustUnderstand, liftsNoStore bool

	sMaxAge, maxAge                    delta
	staleWhileRevalidate, staleIfError delta
	// unbalanced: quotation marks leave it open what is a directive.
	unbalanced bool
	// targeted: the directives are those of CDN-Cache-Control, and neither
	// Cache-Control nor Expires counts.
	targeted bool
}

// delta is a directive that takes a number of seconds; value is 0 unless it is
// valid.
type delta struct {
	set, valid bool
	value      time.Duration
}

// shareable reports whether the origin says that the response is for everyone.
func (c *control) shareable() bool {
	return !c.unbalanced && (c.public || c.sMaxAge.valid)
}

// sharesCookies is shareable for what sets a cookie: a lifetime that is meant
// for shared caches alone says so as well.
func (c *control) sharesCookies() bool {
	return c.shareable() || c.targeted && c.maxAge.valid
}

// allowsAuthorized reports whether the response to an authenticated request may
// be shared (RFC 9111, section 3.5).
func (c *control) allowsAuthorized() bool {
	return c.shareable() || c.namedMustRevalidate && !c.unbalanced
}

// forbids returns why a response with this status may be stored by nobody who
// serves others, or [None].
func (c *control) forbids(status int) Reason {
	understood := isUnderstood(status)
	switch {
	case c.mustUnderstand && !understood:
		return MustUnderstand
	case c.noStore && (!c.liftsNoStore || c.unbalanced):
		return ResponseNoStore
	case c.private:
		return Private
	}
	return None
}

// readControl reads the directives for this cache: those of CDN-Cache-Control
// if that is a structured field with members (RFC 9213, section 2.2), else
// those of all Cache-Control lines as one list.
func readControl(fields wire.Fields) control {
	if c, ok := readTargeted(fields); ok {
		return c
	}
	var c control
	for i := fields.Index("Cache-Control", 0); i >= 0; i = fields.Index("Cache-Control", i+1) {
		c = withDirectiveList(c, fields[i].Value)
	}
	return c
}

func withDirectiveList(c control, list string) control {
	for d, rest, ok := nextDirective(list); ok; d, rest, ok = nextDirective(rest) {
		c = withDirective(c, d)
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
		c = withPrivate(c, d)
	case wire.EqualFold(d.name, "public"):
		c.public = c.public || d.form == bare
	case wire.EqualFold(d.name, "must-revalidate"):
		c.mustRevalidate = true
		c.namedMustRevalidate = c.namedMustRevalidate || d.form == bare
	case wire.EqualFold(d.name, "proxy-revalidate"):
		c.mustRevalidate = true
	case wire.EqualFold(d.name, "must-understand"):
		c.mustUnderstand = true
		c.liftsNoStore = c.liftsNoStore || d.form == bare
	case wire.EqualFold(d.name, "s-maxage"):
		c.mustRevalidate = true
		c.sMaxAge = withSeconds(c.sMaxAge, d)
	case wire.EqualFold(d.name, "max-age"):
		c.maxAge = withSeconds(c.maxAge, d)
	case wire.EqualFold(d.name, "stale-while-revalidate"):
		c.staleWhileRevalidate = withSeconds(c.staleWhileRevalidate, d)
	case wire.EqualFold(d.name, "stale-if-error"):
		c.staleIfError = withSeconds(c.staleIfError, d)
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

// maxWithheld is up to how many fields private may name; a longer list makes
// the whole response private.
const maxWithheld = 32

// withPrivate adds private, or private="names" (RFC 9111, section 5.2.2.7).
// What is no list of names, and one that names a field on which the reuse or
// the reading of the rest depends, makes the whole response private.
func withPrivate(c control, d directive) control {
	if d.form != quoted {
		c.private = true
		return c
	}
	found := false
	for item, rest := "", d.arg; rest != ""; {
		item, rest = wire.NextItem(rest)
		if item == "" {
			continue
		}
		if !wire.IsToken(item) || isVital(item) || len(c.withheld) == maxWithheld {
			c.private = true
			return c
		}
		found = true
		c.withheld = append(c.withheld, strings.ToLower(item))
	}
	c.private = c.private || !found
	return c
}

// isVital reports whether a stored response cannot be reused, or its body not
// be read, without the field.
func isVital(name string) bool {
	for _, vital := range [...]string{
		"Age", "Cache-Control", "CDN-Cache-Control", "Cache-Groups", "Cache-Tag", "Surrogate-Key", "Date", "ETag", "Expires", "Last-Modified", "Vary",
		"Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Location", "Transfer-Encoding",
	} {
		if wire.EqualFold(name, vital) {
			return true
		}
	}
	return false
}
