package cache

import (
	"time"

	"ringfence/proxy/wire"
)

// Meta is everything about a response that decides its reuse, computed once
// from its head.
type Meta struct {
	// Status is the status code.
	Status int
	// Fields are the field lines to store and to send on: end-to-end only, in
	// order, without Age and Content-Length, which are computed for each
	// answer, and with a Date where the origin sent none (RFC 9110, section
	// 6.6.1). They share memory with the fields given to [Assess].
	Fields wire.Fields

	// ETag is the entity tag as it was sent, or "" if there is no valid one
	// (RFC 9110, section 8.8.3).
	ETag string
	// LastModified is the Last-Modified as it was sent, or "" if there is no
	// valid one; Modified is the same as a time.
	LastModified string
	Modified     time.Time
	// Date is when the origin made the response: its Date field, else
	// ResponseTime.
	Date time.Time

	// ResponseTime is when the head was received. If it has a monotonic
	// reading, steps of the clock do not change the age.
	ResponseTime time.Time
	// InitialAge is the age at ResponseTime (corrected_initial_age in RFC 9111,
	// section 4.2.3).
	InitialAge time.Duration
	// Lifetime is how long the response is fresh, counted in age; 0 means that
	// it is stale from the start.
	Lifetime time.Duration

	// NoCache: no reuse without validation, however fresh.
	NoCache bool
	// MustRevalidate: no reuse once stale, whatever a client allows. The
	// response has must-revalidate, proxy-revalidate or s-maxage.
	MustRevalidate bool

	// Vary lists the request fields that select the response: lower case,
	// sorted, each once.
	Vary []string
}

// Age returns the age of the response at now (RFC 9111, section 4.2.3). It is
// never less than InitialAge, and never falls while now rises.
func (m *Meta) Age(now time.Time) time.Duration {
	return m.InitialAge + max(now.Sub(m.ResponseTime), 0)
}

// HasValidator reports whether the upstream can be asked if the response still
// stands.
func (m *Meta) HasValidator() bool { return m.ETag != "" || m.LastModified != "" }

// Assess reads the head of a response to rq, which was sent at requestTime and
// whose head arrived at responseTime. The reason is [None] if the response may
// be stored and shared (RFC 9111, section 3), and else why not.
//
// The Meta is complete either way, since its Fields are what every client is
// sent; that of a response which may not be stored satisfies no request. It
// shares memory with fields, never with rq.
//
// Stored is any final status with explicit freshness (s-maxage, max-age or
// Expires) that is fresh on arrival, and, if it has a validator, also what is
// stale on arrival or marked no-cache. The qualified forms no-cache="field" and
// private="field" have the effect of the unqualified ones.
func Assess(rq Request, status int, fields wire.Fields, requestTime, responseTime time.Time) (Meta, Reason) {
	c := readControl(fields)
	m := Meta{Status: status, ResponseTime: responseTime}
	hasDate := false
	m.Date, hasDate = dateField(fields, responseTime)
	m.Fields = storedFields(fields, m.Date, hasDate)
	m.ETag, m.LastModified, m.Modified = validators(fields, responseTime)
	m.InitialAge = initialAge(fields, m.Date, requestTime, responseTime)
	m.NoCache = c.noCache
	m.MustRevalidate = c.mustRevalidate
	lifetime, explicit := lifetimeOf(c, fields, m.Date, responseTime)
	m.Lifetime = lifetime

	vary, why := parseVary(fields)
	m.Vary = vary
	usable := explicit && !m.NoCache && m.Lifetime > m.InitialAge ||
		(explicit || m.NoCache) && m.HasValidator()
	switch shareable := c.shareable(); {
	case rq.traits&isGet == 0:
		why = Method
	case rq.traits&noStore != 0:
		why = RequestNoStore
	case status == 206:
		why = Partial
	case !storableStatus(status, rq):
		why = StatusNotStorable
	case c.noStore:
		why = ResponseNoStore
	case c.private:
		why = Private
	case rq.traits&authorized != 0 && !c.allowsAuthorized():
		why = Authorization
	case why != None:
	case fields.Has("Set-Cookie") && !shareable:
		why = SetCookie
	case !usable:
		why = NoFreshness
	}
	if why != None {
		m.NoCache, m.Lifetime = true, 0
	}
	return m, why
}

// storableStatus refuses interim responses, and those that answer a condition
// or a range: 304 always, 412 and 416 where the client sent one.
func storableStatus(status int, rq Request) bool {
	switch status {
	case 304:
		return false
	case 412:
		return rq.traits&(conditional|originOnly) == 0
	case 416:
		return !rq.HasRange()
	}
	return status >= 200
}

// storedFields returns the end-to-end fields without those that each answer
// computes.
func storedFields(fields wire.Fields, date time.Time, hasDate bool) wire.Fields {
	kept := wire.EndToEnd(make(wire.Fields, 0, len(fields)+1), fields)
	n := 0
	for _, f := range kept {
		if wire.EqualFold(f.Name, "Age") || wire.EqualFold(f.Name, "Content-Length") || !hasDate && wire.EqualFold(f.Name, "Date") {
			continue
		}
		kept[n] = f
		n++
	}
	kept = kept[:n]
	if !hasDate {
		kept = append(kept, wire.Field{Name: "Date", Value: string(AppendDate(nil, date))})
	}
	return kept
}

// dateField returns the first Date that can be read, else the time at which
// the response was received.
func dateField(fields wire.Fields, responseTime time.Time) (time.Time, bool) {
	if t, ok := ParseDate(fields.Get("Date"), responseTime); ok {
		return t, true
	}
	return responseTime, false
}

// validators returns what the upstream can be asked about. A field that is
// sent twice, or that breaks the grammar, validates nothing.
func validators(fields wire.Fields, ref time.Time) (etag, lastModified string, modified time.Time) {
	if i := fields.Index("ETag", 0); i >= 0 && isETag(fields[i].Value) && !fields[i+1:].Has("ETag") {
		etag = fields[i].Value
	}
	if i := fields.Index("Last-Modified", 0); i >= 0 && !fields[i+1:].Has("Last-Modified") {
		if t, ok := ParseDate(fields[i].Value, ref); ok {
			lastModified, modified = fields[i].Value, t
		}
	}
	return etag, lastModified, modified
}
