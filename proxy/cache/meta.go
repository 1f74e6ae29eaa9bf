package cache

import (
	"slices"
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

	// ETag is the entity tag as it was sent (RFC 9110, section 8.8.3), or what
	// can stand for one byte by byte, such as abc without its quotation marks;
	// "" if there is none.
	ETag string
	// LastModified is the Last-Modified as it was sent, or "" if there is no
	// valid one, or if Status is no 2xx: a 304 says that the answer would have
	// been one (RFC 9110, section 13.2.1), and so confirms no other by a date.
	// Modified is the same as a time.
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
	// AgeValue is what the Age field said, 0 where it said nothing, and
	// ResponseDelay the time from the request to ResponseTime: what InitialAge was
	// made from, beside Date.
	AgeValue, ResponseDelay time.Duration
	// Lifetime is how long the response is fresh, counted in age; 0 means that
	// it is stale from the start.
	Lifetime time.Duration

	// NoCache: no reuse without validation, however fresh.
	NoCache bool
	// MustRevalidate: no reuse once stale, whatever a client allows. The
	// response has must-revalidate, proxy-revalidate or s-maxage.
	MustRevalidate bool
	// Source is where Lifetime comes from.
	Source Source

	// Vary lists the request fields that select the response: lower case,
	// sorted, each once.
	Vary []string

	// StaleWhileRevalidate is for how long past its freshness the response may
	// be served while it is revalidated (RFC 5861, section 3). StaleOnError is
	// the same while the upstream fails: the origin's stale-if-error (section
	// 4), else the policy's. Both are 0 under NoCache and MustRevalidate.
	StaleWhileRevalidate, StaleOnError time.Duration

	// Groups are those to which the response belongs (RFC 9875, section 2),
	// sorted, each once. They share no memory with the fields.
	Groups []string
	// Tags are those that the fields of Policy.TagFields give the response, sorted,
	// each once.
	Tags []string
	// Withheld are the field lines that private="names" keeps from everybody
	// but the requester (RFC 9111, section 5.2.2.7), and which Fields lacks. The
	// caller adds them to the answer to the request that fetched the response,
	// and clears them before it stores an object.
	Withheld wire.Fields
}

// Age returns the age of the response at now (RFC 9111, section 4.2.3). It is
// never less than InitialAge, and never falls while now rises.
func (m *Meta) Age(now time.Time) time.Duration {
	return m.InitialAge + m.residentTime(now)
}

// hasValidator reports whether the upstream can be asked if the response still
// stands.
func (m *Meta) hasValidator() bool { return m.ETag != "" || m.LastModified != "" }

// Assess reads the head of a response to rq, which was sent at requestTime and
// whose head arrived at responseTime. The reason is [None] if the response may
// be stored and shared under p (RFC 9111, section 3), and else why not.
//
// The Meta is complete either way, since its Fields are what every client is
// sent; that of a response which may not be stored satisfies no request. It
// shares memory with fields, never with rq.
//
// Stored is any final status of which it is known how long it is fresh, from
// the origin (s-maxage, max-age or Expires) or by p, and which is of use: fresh
// on arrival, or within a stale window that the origin gave it, or with a
// validator. With a validator, so is what is marked no-cache, if its status is
// heuristically cacheable or it is public. no-cache="names" has the effect of
// no-cache; with private="names" the rest of the response is stored, and
// validated on each use.
func Assess(p *Policy, rq Request, status int, fields wire.Fields, requestTime, responseTime time.Time) (Meta, Reason) {
	m, why := assess(p, rq, status, fields, requestTime, responseTime)
	if rq.traits&isGet == 0 {
		return refused(m), Method
	}
	return m, why
}

// assess is [Assess] but for the method.
func assess(p *Policy, rq Request, status int, fields wire.Fields, requestTime, responseTime time.Time) (Meta, Reason) {
	c := readControl(fields)
	m := Meta{Status: status, ResponseTime: responseTime}
	hasDate := false
	m.Date, hasDate = dateField(fields, responseTime)
	m.Fields, m.Withheld = withhold(storedFields(fields, m.Date, hasDate), c.withheld)
	m.ETag, m.LastModified, m.Modified = validators(fields, responseTime)
	m.AgeValue, m.ResponseDelay = ageField(fields), max(responseTime.Sub(requestTime), 0)
	m.InitialAge = max(m.apparentAge(), m.correctedAge())
	m.NoCache = c.noCache || c.withheld != nil
	m.MustRevalidate = c.mustRevalidate
	m.Groups, m.Tags = readGroups(fields, "Cache-Groups"), p.TagFields.read(m.Fields)
	m.StaleWhileRevalidate, m.StaleOnError = staleWindows(p, &c)
	m.Lifetime, m.Source = explicitLifetime(&c, fields, m.Date, responseTime)
	if m.Source == FromNothing {
		m.Lifetime, m.Source = impliedLifetime(p, &c, &m)
	}
	known := m.Source != FromNothing

	vary, why := parseVary(fields)
	if p.OwnCoding && !fields.Has("Content-Encoding") {
		vary = slices.DeleteFunc(vary, func(name string) bool { return name == "accept-encoding" })
	}
	m.Vary = vary
	if !succeeded(status) {
		m.LastModified, m.Modified = "", time.Time{}
	}
	switch forbidden := c.forbids(status); {
	case rq.traits&noStore != 0:
		why = RequestNoStore
	case status == 206:
		why = Partial
	case !storableStatus(status, rq):
		why = StatusNotStorable
	case forbidden != None:
		why = forbidden
	case rq.traits&authorized != 0 && !c.allowsAuthorized():
		why = Authorization
	case why != None:
	case len(m.Groups)+len(m.Tags) > p.maxTags():
		why = TooManyTags
	case !mayKeepCookies(p, &c, &m):
		why = SetCookie
	case !isUseful(&c, &m, known):
		why = NoFreshness
	}
	if why != None {
		return refused(m), why
	}
	if p.SetCookie == SetCookieStrip {
		m.Fields, _ = withhold(m.Fields, []string{"set-cookie"})
		m.Withheld, _ = withhold(m.Withheld, []string{"set-cookie"})
	}
	return m, None
}

// refused returns m such that it satisfies no request.
func refused(m Meta) Meta {
	m.NoCache, m.Lifetime, m.StaleWhileRevalidate, m.StaleOnError = true, 0, 0, 0
	return m
}

// isUseful reports whether a stored response could ever answer a request, alone
// or once it is validated. Without a known lifetime no-cache makes it so only
// where RFC 9111, section 3, lets it be stored: by its status, or by public. A
// stale window counts if the origin asked for it: the policy's is for what was
// good at some time.
func isUseful(c *control, m *Meta, known bool) bool {
	if m.hasValidator() {
		return known || m.NoCache && (isHeuristic(m.Status) || c.public)
	}
	window := m.StaleWhileRevalidate
	if c.staleIfError.set {
		window = max(window, m.StaleOnError)
	}
	return known && !m.NoCache && m.InitialAge < m.Lifetime+window
}

// mayKeepCookies applies the policy on Set-Cookie. Cookies that are withheld
// are not kept.
func mayKeepCookies(p *Policy, c *control, m *Meta) bool {
	switch p.SetCookie {
	case SetCookieExplicit:
		return !m.Fields.Has("Set-Cookie") || c.sharesCookies()
	case SetCookieBypass:
		return !m.Fields.Has("Set-Cookie") && !m.Withheld.Has("Set-Cookie")
	}
	return true
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

// withhold splits fields into those that none of names is called and the
// others. The first share the memory of fields, which it overwrites.
func withhold(fields wire.Fields, names []string) (kept, withheld wire.Fields) {
	if names == nil {
		return fields, nil
	}
	kept = fields[:0]
	for _, f := range fields {
		if slices.ContainsFunc(names, func(name string) bool { return wire.EqualFold(name, f.Name) }) {
			withheld = append(withheld, f)
		} else {
			kept = append(kept, f)
		}
	}
	return kept, withheld
}

// dateField returns the first Date, and true, or the time at which the response
// was received where that cannot be read.
func dateField(fields wire.Fields, responseTime time.Time) (time.Time, bool) {
	if t, ok := parseDate(fields.Get("Date"), responseTime); ok {
		return t, true
	}
	return responseTime, false
}

// validators returns what the upstream can be asked about. A field that is
// sent twice, or that cannot be read, validates nothing.
func validators(fields wire.Fields, ref time.Time) (etag, lastModified string, modified time.Time) {
	if i := fields.Index("ETag", 0); i >= 0 && identifies(fields[i].Value) && !fields[i+1:].Has("ETag") {
		etag = fields[i].Value
	}
	if i := fields.Index("Last-Modified", 0); i >= 0 && !fields[i+1:].Has("Last-Modified") {
		if t, ok := parseDate(fields[i].Value, ref); ok {
			lastModified, modified = fields[i].Value, t
		}
	}
	return etag, lastModified, modified
}
