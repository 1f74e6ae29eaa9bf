package cache

import (
	"strings"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

func TestStatusAppend(t *testing.T) {
	for want, s := range map[string]Status{
		"r":                                             {},
		"r; hit; ttl=42":                                {Hit: true, HasTTL: true, TTL: 42*time.Second + 1},
		"r; hit; ttl=-1":                                {Hit: true, HasTTL: true, TTL: -1},
		"r; hit; ttl=-2":                                {Hit: true, HasTTL: true, TTL: -2 * time.Second},
		"r; fwd=uri-miss; stored; collapsed":            {Forward: Miss, Stored: true, Collapsed: true},
		"r; fwd=stale; fwd-status=304; ttl=60":          {Forward: Stale, ForwardStatus: 304, HasTTL: true, TTL: time.Minute},
		"r; fwd=vary-miss; detail=private":              {Forward: VaryMiss, Detail: Private},
		"r; fwd=request; detail=request-no-cache":       {Forward: RequestNoCache},
		"r; fwd=method":                                 {Forward: Method},
		"r; fwd=bypass; detail=route-off":               {Forward: RouteOff},
		"r; fwd=miss; detail=uncacheable":               {Forward: Uncacheable},
		"r; detail=request-only-if-cached":              {Forward: RequestOnlyIfCached},
		"r; hit; ttl=-5; detail=stale-while-revalidate": {Hit: true, HasTTL: true, TTL: -5 * time.Second, Detail: StaleWhileRevalidate},
		// The upstream was asked, so that it is no hit (RFC 9211, section 2.1).
		"r; fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error": {Forward: Stale, ForwardStatus: 503, HasTTL: true, TTL: -5 * time.Second, Detail: StaleOnError},
		"r; fwd=uri-miss; detail=range-too-large":                     {Forward: RangeTooLarge},
		"r; fwd=bypass; detail=upgrade":                               {Forward: Upgrade},
		"r; fwd=uri-miss; detail=range-miss":                          {Forward: RangeMiss},
	} {
		if got := string(s.Append(nil, "r")); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}

func TestReasonsAreDistinctTokens(t *testing.T) {
	seen := map[string]bool{}
	for r := range Reason(ReasonCount) {
		s := r.String()
		if seen[s] || !wire.IsToken(s) || strings.ToLower(s) != s || s == "unknown" {
			t.Errorf("reason %d is called %q", r, s)
		}
		seen[s] = true
		switch f := r.Forward(); f {
		case "bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial": // RFC 9211, section 2.2
		case "":
			if r != None && r != RequestOnlyIfCached && r != Shared {
				t.Errorf("%v has no fwd token", r)
			}
		default:
			t.Errorf("%v has the fwd token %q", r, f)
		}
	}
	if s := Reason(ReasonCount).String(); s != "unknown" {
		t.Errorf("past the last is %q", s)
	}
}
