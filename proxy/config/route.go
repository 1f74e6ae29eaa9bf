package config

import (
	"net/netip"
	"time"
)

// Route sends the requests for a host and path to an upstream. No two routes
// have the same host and prefix.
type Route struct {
	// Host is the request's host without port, in lower case: a name or an IP
	// address (IPv6 in brackets); "*.example.com", in a file with its quotes,
	// means every name below example.com; "" means any host. Default "".
	Host string `yaml:"host" format:"host-pattern"`
	// PathPrefix is what the request's raw path begins with, by whole segments:
	// /api matches /api and /api/x, not /apis. Default /.
	PathPrefix string `yaml:"path_prefix" default:"/" format:"path"`
	// Upstream names one of Config.Upstreams; required.
	Upstream string `yaml:"upstream" format:"name" required:"upstream: app"`
	// Upgrade are the protocols that requests may ask to switch to (RFC 9110,
	// section 7.8), in lower case; no two the same, and none is h2c. Such
	// requests pass the cache. Any other wish to switch is not passed on. Default
	// websocket; in a file [] is none.
	Upgrade []string `yaml:"upgrade" default:"websocket" format:"protocol"`
	// Cache says whether answers may be stored and requests collapsed, or what that
	// would come to is counted; where it is off the options from DefaultTTL on wait
	// for it, but for Query, which shapes what the upstream gets. Default on.
	Cache Caching `yaml:"cache" default:"on"`
	// CacheKey is what tells one resource from another, for the cache and for
	// the choice of a member alike. It always holds the path, has no part
	// twice, and is sorted, so that the order in a file has no meaning.
	// Default scheme, host, path, query.
	CacheKey []KeyPart `yaml:"cache_key" default:"scheme host path query"`
	// ForwardFields are fields of a request that applications obey though no key
	// has them, such as X-Http-Method-Override, in canonical form: these go
	// upstream and are parts of the cache key; all others of their kind
	// (wire.Unkeyed) are left out. No two are the same. Default none.
	ForwardFields []string `yaml:"forward_fields" format:"unkeyed-field"`
	// TagsFrom are the fields of answers whose tags a purge can name beside those of
	// Cache-Groups; clients do not get them. Others are fields like any other. No
	// two are the same. Default both; in a file [] is none.
	TagsFrom []TagField `yaml:"tags_from" default:"Cache-Tag Surrogate-Key" oneof:"Cache-Tag Surrogate-Key"`
	// PurgeFrom are the addresses and networks of the clients whose PURGE requests
	// purge what is stored for their target; others are refused. Default none, and
	// then PURGE goes upstream like any method.
	PurgeFrom []netip.Prefix `yaml:"purge_from"`
	// DefaultTTL is how long an answer is fresh that says nothing about it and
	// has no Last-Modified to guess from; 0, in a file off, stores no such
	// answer. Default off.
	DefaultTTL time.Duration `yaml:"default_ttl" default:"off" range:"1ms..8760h" off:"true"`
	// HeuristicMax bounds the freshness guessed from Last-Modified (RFC 9111,
	// section 4.2.2); 0, in a file off, guesses none. Default 24h.
	HeuristicMax time.Duration `yaml:"heuristic_max" default:"24h" range:"1ms..8760h" off:"true"`
	// NegativeTTL is how long errors and redirects are fresh that say nothing
	// about it, ahead of HeuristicMax and DefaultTTL. A key is a status from
	// 300 to 599 except 304, or 3, 4 or 5 for all others that begin with this
	// digit (in a file 3xx, 4xx, 5xx). Each value is from 1ms to 8760h.
	// Default none.
	NegativeTTL map[int]time.Duration `yaml:"negative_ttl" keys:"negative" range:"1ms..8760h"`
	// ServeStaleOnError is how long past its freshness an answer may stand in
	// for an upstream that fails, unless it says itself how long (RFC 5861,
	// section 4) or must be validated; 0, in a file off, is not at all.
	// Default 1h.
	ServeStaleOnError time.Duration `yaml:"serve_stale_on_error" default:"1h" range:"1ms..8760h" off:"true"`
	// EarlyRefresh says whether popular answers are fetched again in the
	// background shortly before they expire. Default on.
	EarlyRefresh bool `yaml:"early_refresh" default:"on"`
	// SetCookie says what becomes of answers with Set-Cookie. Default explicit.
	SetCookie SetCookie `yaml:"set_cookie" default:"explicit" oneof:"explicit store strip bypass"`
	// IgnoreRequestDirectives are what clients may write to no effect; no two
	// are the same. Default none: each is honoured.
	IgnoreRequestDirectives []RequestDirective `yaml:"ignore_request_directives" oneof:"no-cache no-store max-age min-fresh max-stale stale-if-error only-if-cached pragma"`
	// RangeFillLimit is the largest body that is fetched and stored whole when
	// a range of it is asked for and it is not stored; at most
	// Cache.MaxObjectSize. 0, in a file off, passes such requests on. Default
	// 1MiB, or Cache.MaxObjectSize if that is less.
	RangeFillLimit Size `yaml:"range_fill_limit" default:"1MiB" range:"1..1TiB" off:"true"`
	// Query says which parameters of the query count. Default all.
	Query Query `yaml:"query"`
	// Compress says what is compressed when it is stored. Default nothing.
	Compress Compress `yaml:"compress" optional:"true"`
}

// Caching is what a route does with the cache.
type Caching string

// CacheOn stores answers and collapses requests; CacheOff does neither, nor does
// CacheObserve, which decides and counts what CacheOn would have come to. In a file
// true and false are CacheOn and CacheOff.
const (
	CacheOn      Caching = "on"
	CacheOff     Caching = "off"
	CacheObserve Caching = "observe"
)

// TagField is a field that tags an answer for those who purge it.
type TagField string

// The fields of tags: between commas, and between spaces.
const (
	TagsCacheTag     TagField = "Cache-Tag"
	TagsSurrogateKey TagField = "Surrogate-Key"
)

// PartKind is a kind of cache key part.
type PartKind string

// The kinds of cache key parts. PartHost includes the port. PartHeader and
// PartCookie take a name.
const (
	PartScheme PartKind = "scheme"
	PartHost   PartKind = "host"
	PartPath   PartKind = "path"
	PartQuery  PartKind = "query"
	PartHeader PartKind = "header"
	PartCookie PartKind = "cookie"
)

// KeyPart is one part of a cache key.
type KeyPart struct {
	Kind PartKind
	// Name is the header's name in canonical form, such as Accept-Language, or
	// the cookie's name as written; "" for the other kinds.
	Name string
}

// String returns the part as a file writes it: path, or header:Accept-Language.
func (p KeyPart) String() string {
	if p.Name == "" {
		return string(p.Kind)
	}
	return string(p.Kind) + ":" + p.Name
}

// SetCookie says what becomes of an answer that has Set-Cookie fields.
type SetCookie string

// What may become of such an answer, as far as nothing else forbids to store
// it. SetCookieExplicit stores it where the origin says that it is for everyone
// (public, s-maxage or CDN-Cache-Control). SetCookieStore stores it like any
// other, to the letter of RFC 9111, section 7.3. SetCookieStrip stores it, and
// removes these fields for everybody. SetCookieBypass never stores it.
const (
	SetCookieExplicit SetCookie = "explicit"
	SetCookieStore    SetCookie = "store"
	SetCookieStrip    SetCookie = "strip"
	SetCookieBypass   SetCookie = "bypass"
)

// RequestDirective names a directive of a request's Cache-Control (RFC 9111,
// section 5.2.1; RFC 5861, section 4), or its Pragma field.
type RequestDirective string

// The directives that a route may ignore.
const (
	RequestNoCache      RequestDirective = "no-cache"
	RequestNoStore      RequestDirective = "no-store"
	RequestMaxAge       RequestDirective = "max-age"
	RequestMinFresh     RequestDirective = "min-fresh"
	RequestMaxStale     RequestDirective = "max-stale"
	RequestStaleIfError RequestDirective = "stale-if-error"
	RequestOnlyIfCached RequestDirective = "only-if-cached"
	RequestPragma       RequestDirective = "pragma"
)

// Query says which parameters of a request's query count, for the cache key
// and for what the upstream gets alike. The zero value leaves the query as it
// is. A pattern is the name of a parameter, decoded, in which one * stands for
// any characters or none; * alone is no pattern. On a route that caches without
// the query in its key there are no such rules.
type Query struct {
	// Keep are the patterns of the parameters that count; all others are
	// dropped. Empty keeps all. No two are the same, and Drop matches none.
	// Default empty.
	Keep []string `yaml:"keep" format:"parameter"`
	// Drop are the patterns of the parameters that are dropped. It wins over
	// Keep. No two are the same. Default empty.
	Drop []string `yaml:"drop" format:"parameter"`
	// Sort says whether parameters are sorted by name, those of one name
	// staying in their order. Default off.
	Sort bool `yaml:"sort" default:"off"`
}

// Coding names a content coding (RFC 9110, section 8.4.1).
type Coding string

// The codings that answers can be compressed with: RFC 8878, RFC 7932 and
// RFC 1952.
const (
	CodingZstd   Coding = "zstd"
	CodingBrotli Coding = "br"
	CodingGzip   Coding = "gzip"
)

// Compress says what is compressed when it is stored. The zero value, without
// Codings, means that nothing is.
type Compress struct {
	// Codings are those used, the preferred one first where the client has no
	// preference; at least one, no two the same. Default zstd, br, gzip.
	Codings []Coding `yaml:"codings" default:"zstd br gzip" oneof:"zstd br gzip"`
	// Types are the patterns of the media types compressed, in lower case and
	// without parameters; at least one, no two the same. On either side of the
	// slash * stands for anything; */*+json means every type with this suffix.
	// The default is text and what else gets smaller: see the tag.
	Types []string `yaml:"types" default:"text/* application/json application/javascript application/xml application/x-ndjson application/yaml application/wasm */*+json */*+xml image/svg+xml font/otf font/ttf" format:"media-pattern"`
	// MinSize is the smallest body compressed, in bytes; a written one is at
	// most Cache.MaxObjectSize. Default 1KiB.
	MinSize Size `yaml:"min_size" default:"1KiB" range:"1..1TiB"`
}
