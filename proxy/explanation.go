package proxy

import (
	"fmt"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
)

// Forecast is what would become of a request. The set is closed.
type Forecast string

const (
	// ForecastHit: it is answered by what is stored, and fresh.
	ForecastHit Forecast = "hit"
	// ForecastStale: by what is stored, and stale.
	ForecastStale Forecast = "stale"
	// ForecastRevalidate: the upstream is asked whether what is stored still stands.
	ForecastRevalidate Forecast = "revalidate"
	// ForecastMiss: it is fetched from the upstream, for all who ask for it.
	ForecastMiss Forecast = "miss"
	// ForecastBypass: it is passed on, past the cache.
	ForecastBypass Forecast = "bypass"
	// ForecastRefused: the proxy says no.
	ForecastRefused Forecast = "refused"
	// ForecastRedirect: to https.
	ForecastRedirect Forecast = "redirect"
	// ForecastPurge: it purges.
	ForecastPurge Forecast = "purge"
	// ForecastAnswered: by the proxy, of itself.
	ForecastAnswered Forecast = "answered"
)

// Explanation is what would become of a request, and why. Its JSON form is an
// interface: fields may be added, not changed. Times are RFC 3339, durations
// seconds.
type Explanation struct {
	// Live says that a running process speaks. Else it is the configuration alone:
	// nothing is stored, and all servers are as they are at a start.
	Live bool      `json:"live"`
	Time time.Time `json:"time"`
	// Method and URL are the request's; the URL as key, route and upstream see it.
	Method string `json:"method"`
	URL    string `json:"url"`
	// Client is for whom it is, as far as can be believed; "" where it is not known.
	Client string `json:"client,omitempty"`
	// Outcome is what would happen, Reason why, as Cache-Status says it, and Why
	// the same in words.
	Outcome Forecast `json:"outcome"`
	Reason  string   `json:"reason,omitempty"`
	Why     string   `json:"why"`
	// Status is what the client would get, 0 where that is the upstream's to say.
	Status int `json:"status,omitempty"`
	// CacheStatus is what Cache-Status would say (RFC 9211), as far as it is known
	// before the upstream is asked.
	CacheStatus string `json:"cache_status,omitempty"`
	// Notes are what else should be known.
	Notes []string `json:"notes,omitempty"`
	// Route, Key and Placement are nil where the request has no route.
	Route     *ExplainedRoute     `json:"route,omitempty"`
	Key       *ExplainedKey       `json:"key,omitempty"`
	Placement *ExplainedPlacement `json:"placement,omitempty"`
	// Stored is what this instance has, nil for nothing; Shared what the fleet has,
	// where this instance would ask for it.
	Stored *ExplainedObject `json:"stored,omitempty"`
	Shared *ExplainedObject `json:"shared,omitempty"`
	// Marks are what is remembered for a while of answers that were not stored.
	Marks []ExplainedMark `json:"marks,omitempty"`
}

// ExplainedRoute is a route.
type ExplainedRoute struct {
	Name     string `json:"name"` // host and path prefix
	Upstream string `json:"upstream"`
	Cache    bool   `json:"cache"`
	// Observe: it only counts what a cache would have done.
	Observe bool `json:"observe,omitempty"`
}

// ExplainedPart is one part of a key or a variant.
type ExplainedPart struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Absent bool   `json:"absent,omitempty"` // the request has no such field
}

// ExplainedKey is what a request is stored under.
type ExplainedKey struct {
	// Hash is that of the parts, as `proxy purge --key` takes it.
	Hash  string          `json:"hash"`
	Parts []ExplainedPart `json:"parts"`
	// Variant are the fields by which the stored responses of the key are told
	// apart (Vary), as far as that is known, and the request's values.
	Variant []ExplainedPart `json:"variant,omitempty"`
}

// ExplainedPlacement is the servers that a request would be sent to.
type ExplainedPlacement struct {
	Upstream string `json:"upstream"`
	// By is what requests are placed by, and Value what the request has of it, ""
	// for the key; Hash is where the walk begins. All of it is "" where the policy
	// needs no key.
	By    string `json:"by,omitempty"`
	Value string `json:"value,omitempty"`
	Hash  string `json:"hash,omitempty"`
	upstream.Placement
}

// ExplainedObject is a stored response.
type ExplainedObject struct {
	Tier   string `json:"tier"` // memory, or which engine
	Status int    `json:"status"`
	Bytes  int64  `json:"bytes"`
	// Codings are those that the body is there in beside its own.
	Codings []string `json:"codings,omitempty"`
	// Fields are what the upstream said about storing: Cache-Control,
	// CDN-Cache-Control, Expires, Vary, the validators, and the fields of tags.
	Fields []string `json:"fields,omitempty"`
	// Tags and Groups are by what it can be purged.
	Tags      []string           `json:"tags,omitempty"`
	Groups    []string           `json:"groups,omitempty"`
	Freshness ExplainedFreshness `json:"freshness"`
	// NoCache: it is validated before each use; MustRevalidate: it is not used
	// stale, whatever a client allows.
	NoCache        bool `json:"no_cache,omitempty"`
	MustRevalidate bool `json:"must_revalidate,omitempty"`
	// Purged is when a purge or an unsafe request made it unusable, and Expired
	// when a soft purge made it stale.
	Purged  *time.Time `json:"purged,omitempty"`
	Expired *time.Time `json:"expired,omitempty"`
	// Failing: the upstream failed when it was last asked about it.
	Failing bool `json:"failing,omitempty"`
}

// ExplainedFreshness is the sum of RFC 9111, section 4.2, step by step; in
// seconds.
type ExplainedFreshness struct {
	Date          time.Time `json:"date"`
	ResponseTime  time.Time `json:"response_time"`
	ApparentAge   float64   `json:"apparent_age"`
	AgeValue      float64   `json:"age_value"`
	ResponseDelay float64   `json:"response_delay"`
	CorrectedAge  float64   `json:"corrected_age_value"`
	InitialAge    float64   `json:"corrected_initial_age"`
	ResidentTime  float64   `json:"resident_time"`
	Age           float64   `json:"current_age"`
	// Lifetime is the freshness lifetime, From where it comes from; a soft purge
	// ends it.
	Lifetime float64 `json:"freshness_lifetime"`
	From     string  `json:"lifetime_from"`
	// TTL is what is left of it, negative once it is stale.
	TTL float64 `json:"ttl"`
	// StaleWhileRevalidate and StaleIfError are the windows past it (RFC 5861).
	StaleWhileRevalidate float64 `json:"stale_while_revalidate"`
	StaleIfError         float64 `json:"stale_if_error"`
}

// ExplainedMark is what is remembered of an answer that was not stored.
type ExplainedMark struct {
	Mark   string    `json:"mark"`
	Reason string    `json:"reason"` // why it was not stored
	Until  time.Time `json:"until"`
}

func (x *Explanation) note(text string) { x.Notes = append(x.Notes, text) }

func (x *Explanation) decided(o Forecast, status int, text string) {
	x.Outcome, x.Status, x.Why = o, status, text
}

func (x *Explanation) refuse(status int, why string) {
	x.decided(ForecastRefused, status, why)
	x.Reason, x.CacheStatus = "refused", pseudonym+"; detail=refused"
}

func (x *Explanation) explainPurge(may bool) {
	if !may {
		x.refuse(403, "this client may not purge")
		return
	}
	x.decided(ForecastPurge, 200, "it takes what is stored for the URL out of use")
	x.CacheStatus = pseudonym + "; detail=purged"
}

// forwarded explains a request that what is stored does not answer.
func (x *Explanation) forwarded(o Forecast, why cache.Reason) {
	x.decided(o, 0, why.Words())
	x.Reason = why.String()
	x.CacheStatus = string(cache.Status{Forward: why}.Append(nil, pseudonym))
}

// served explains a request that what is stored answers.
func (x *Explanation) served(o Forecast, status int, st cache.Status) {
	x.decided(o, status, st.Detail.Words())
	x.CacheStatus = string(st.Append(nil, pseudonym))
	if st.Detail != cache.None {
		x.Reason = st.Detail.String()
	} else if o == ForecastStale {
		x.Why = "it is stale, and the client accepts that (max-stale)"
	}
}

func hashText(hash uint64) string { return fmt.Sprintf("%016x", hash) }

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
