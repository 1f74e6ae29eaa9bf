package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
)

// Route sends requests to an upstream.
type Route struct {
	// Host is the host the route is for, in lower case and without a port;
	// "*.example.com" stands for every name below example.com and "" for any.
	Host string
	// PathPrefix is the beginning of the path, by whole segments: "/api"
	// matches "/api" and "/api/x", not "/apis"; "/" matches every path.
	PathPrefix string
	// Upstream takes the requests.
	Upstream *upstream.Pool
	// PlaceBy is what the upstream places requests by.
	PlaceBy PlaceBy
	// Upgrade lists the protocols that requests may switch to (RFC 9110, section
	// 7.8), as they are written to the upstream and to the client.
	Upgrade []string
	// Cache says whether answers may be stored, reused and shared.
	Cache Caching
	// Key lists what tells two requests to one upstream apart; the path is among it.
	Key []KeyPart
	// Query rewrites the query for the key and the upstream alike; nil: it stays
	// as it is.
	Query *QueryRules
	// ForwardFields are the unkeyed fields (wire.Unkeyed) that go upstream; all
	// others are left out. They are parts of the key.
	ForwardFields []string
	// Policy is what the route decides where HTTP leaves it a choice.
	Policy cache.Policy
	// RangeFill is up to which size, in bytes, the whole is fetched and stored
	// for a request for a range of it; 0 passes such a request on.
	RangeFill int64
	// Compression says how stored answers are compressed; nil: not at all.
	Compression *Compression
	// PurgeFrom are the clients whose PURGE requests purge what is stored for their
	// target; those of others get a 403. None: PURGE is a method like any other, and
	// goes upstream.
	PurgeFrom []netip.Prefix

	scope    []byte // of the keys, set by New
	ofOrigin int    // how many parts of Key come before the path
	ofTarget int    // and before those of fields
	purgers  trust
	failures *failureLog
	counts   *routeCounts    // of the handler's tally
	observed *observedCounts // nil unless the route observes
	// name and pool are what the access log calls the route and its upstream.
	name, pool string
}

// prepare sets what follows from the rest of the route.
func (r *Route) prepare() {
	r.Key = slices.Clone(r.Key)
	for _, name := range r.ForwardFields {
		isSame := func(p KeyPart) bool { return p.kind == keyHeader && wire.EqualFold(p.name, name) }
		if !slices.ContainsFunc(r.Key, isSame) {
			r.Key = append(r.Key, KeyPart{kind: keyHeader, name: name})
		}
	}
	slices.SortStableFunc(r.Key, func(a, b KeyPart) int { return cmp.Compare(a.kind, b.kind) })
	r.ofOrigin, r.ofTarget = r.partsBefore(keyPath), r.partsBefore(keyHeader)
	r.pool, r.name = r.Upstream.Stats().Name, cmp.Or(r.Host, "*")+r.PathPrefix
	r.scope = keyScope(r.pool, r.Key)
	r.purgers = newTrust(r.PurgeFrom)
	r.failures = new(failureLog)
	r.Policy.OwnCoding = r.Compression != nil
}

// partsBefore returns how many parts of the sorted Key come before a kind.
func (r *Route) partsBefore(kind keyKind) int {
	i, _ := slices.BinarySearchFunc(r.Key, kind, func(p KeyPart, kind keyKind) int { return cmp.Compare(p.kind, kind) })
	return i
}

// routes is the route table, best match first.
type routes []*Route

// newRoutes orders routes: an exact host before a wildcard, a longer wildcard
// before a shorter one, any host last; then the longer prefix first.
func newRoutes(list []Route) routes {
	rs := make(routes, len(list))
	for i := range list {
		r := list[i]
		rs[i] = &r
	}
	sort.SliceStable(rs, func(i, j int) bool {
		a, b := rs[i], rs[j]
		if x, y := hostRank(a.Host), hostRank(b.Host); x != y {
			return x > y
		}
		return len(a.PathPrefix) > len(b.PathPrefix)
	})
	return rs
}

// hostRank grows with how narrow a host pattern is.
func hostRank(host string) int {
	switch {
	case host == "":
		return 0
	case strings.HasPrefix(host, "*."):
		return len(host)
	}
	return 1 << 16
}

// match returns the route for a host and a path, or nil. The most specific
// host that has a route for the path decides, then the longest prefix.
func (rs routes) match(host, path string) *Route {
	for _, r := range rs {
		if matchHost(r.Host, host) && matchPath(r.PathPrefix, path) {
			return r
		}
	}
	return nil
}

func matchHost(pattern, host string) bool {
	if strings.HasPrefix(pattern, "*.") {
		suffix := pattern[1:]
		return len(host) > len(suffix) && host[len(host)-len(suffix):] == suffix
	}
	return pattern == "" || pattern == host
}

func matchPath(prefix, path string) bool {
	if !strings.HasPrefix(path, prefix) {
		return false
	}
	return len(path) == len(prefix) || prefix[len(prefix)-1] == '/' || path[len(prefix)] == '/'
}
