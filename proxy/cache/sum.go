package cache

import "time"

// Source is where the lifetime of a response comes from (RFC 9111, section
// 4.2.1). The set is closed.
type Source uint8

const (
	// FromNothing: nobody says how long the response is fresh.
	FromNothing Source = iota
	// FromTargetedSMaxAge and FromTargetedMaxAge: s-maxage and max-age in
	// CDN-Cache-Control (RFC 9213).
	FromTargetedSMaxAge
	FromTargetedMaxAge
	// FromSMaxAge, FromMaxAge and FromExpires: the directives of Cache-Control, and
	// the field.
	FromSMaxAge
	FromMaxAge
	FromExpires
	// FromHeuristic: a tenth of the time from Last-Modified to Date (section
	// 4.2.2).
	FromHeuristic
	// FromNegativeTTL and FromDefaultTTL: the policy.
	FromNegativeTTL
	FromDefaultTTL

	sourceCount
)

// String returns the source in the words of whoever sets it: a directive, a
// field, or an option of the route.
func (s Source) String() string {
	return [sourceCount]string{
		"nothing", "CDN-Cache-Control s-maxage", "CDN-Cache-Control max-age", "s-maxage", "max-age", "Expires",
		"heuristic_max", "negative_ttl", "default_ttl",
	}[s]
}

// IsExplicit reports whether the lifetime is the origin's own word, though it
// may be an unreadable one.
func (s Source) IsExplicit() bool { return s >= FromTargetedSMaxAge && s <= FromExpires }

func sourceIf(ok bool, s Source) Source {
	if ok {
		return s
	}
	return FromNothing
}

// Sum is how fresh a response is at a moment, step by step in the terms of
// RFC 9111, section 4.2.3.
type Sum struct {
	// ApparentAge is ResponseTime less Date; CorrectedAge is AgeValue and
	// ResponseDelay; InitialAge is the greater of the two.
	ApparentAge, CorrectedAge, InitialAge time.Duration
	// ResidentTime is the time since ResponseTime, and Age that and InitialAge.
	ResidentTime, Age time.Duration
	// TTL is what is left of Lifetime, and negative once the response is stale.
	TTL time.Duration
}

// Sum adds up how fresh the response is at now. Its Age is [Meta.Age].
func (m *Meta) Sum(now time.Time) Sum {
	return Sum{
		ApparentAge: m.apparentAge(), CorrectedAge: m.correctedAge(), InitialAge: m.InitialAge,
		ResidentTime: m.residentTime(now), Age: m.Age(now), TTL: m.Lifetime - m.Age(now),
	}
}

// apparentAge compares whole seconds, since Date has no finer ones.
func (m *Meta) apparentAge() time.Duration {
	return time.Duration(min(max(m.ResponseTime.Unix()-m.Date.Unix(), 0), int64(maxDelta/time.Second))) * time.Second
}

func (m *Meta) correctedAge() time.Duration { return m.AgeValue + m.ResponseDelay }

func (m *Meta) residentTime(now time.Time) time.Duration { return max(now.Sub(m.ResponseTime), 0) }
