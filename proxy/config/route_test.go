package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// routeOf is a file with one route of these options, which begin at line 4.
func routeOf(options string) string {
	return "upstreams: {app: {servers: [{address: 'a:1'}]}}\nroutes:\n- upstream: app\n" + options
}

// fullRoute has no option at its default, except cache.
const fullRoute = `  host: example.com
  path_prefix: /a
  upgrade: [WebSocket, x-Chat]
  cache_key: [path, query]
  forward_fields: [X-HTTP-Method-Override, x-forwarded-prefix]
  tags_from: [Surrogate-Key]
  purge_from: [10.0.0.0/8, '::1']
  default_ttl: 1ms
  heuristic_max: off
  negative_ttl: {404: 10s, 5xx: 1s, 301: 8760h, 599: 1ms, '4xx': 2s, 3xx: 3s}
  serve_stale_on_error: off
  early_refresh: off
  set_cookie: strip
  ignore_request_directives: [pragma, no-cache, no-store, max-age, min-fresh, max-stale, stale-if-error, only-if-cached]
  range_fill_limit: 8MiB
  query: {keep: [id, id_*, '*_a_b'], drop: [utm_*, "*_id", a*b, Ünï, 7, '100%', '%zz'], sort: on}
  compress: {codings: [gzip, br], types: [Text/HTML, "*/*", "*/*+JSON", "*/css", a/*], min_size: 1}
`

func TestFullRoute(t *testing.T) {
	want := Route{
		Host: "example.com", PathPrefix: "/a", Upstream: "app", Upgrade: []string{"websocket", "x-chat"}, Cache: CacheOn, CacheKey: []KeyPart{{Kind: PartPath}, {Kind: PartQuery}},
		ForwardFields: []string{"X-Http-Method-Override", "X-Forwarded-Prefix"}, TagsFrom: []TagField{TagsSurrogateKey},
		PurgeFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, DefaultTTL: time.Millisecond,
		NegativeTTL: map[int]time.Duration{404: 10 * time.Second, 301: 8760 * time.Hour, 599: time.Millisecond,
			3: 3 * time.Second, 4: 2 * time.Second, 5: time.Second},
		SetCookie: SetCookieStrip,
		IgnoreRequestDirectives: []RequestDirective{RequestPragma, RequestNoCache, RequestNoStore, RequestMaxAge, RequestMinFresh,
			RequestMaxStale, RequestStaleIfError, RequestOnlyIfCached},
		RangeFillLimit: 8 << 20,
		Query: Query{Keep: []string{"id", "id_*", "*_a_b"},
			Drop: []string{"utm_*", "*_id", "a*b", "Ünï", "7", "100%", "%zz"}, Sort: true},
		Compress: Compress{Codings: []Coding{CodingGzip, CodingBrotli}, Types: []string{"text/html", "*/*", "*/*+json", "*/css", "a/*"}, MinSize: 1},
	}
	if got := mustParse(t, routeOf(fullRoute)).Routes[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRouteAccepted(t *testing.T) {
	tests := []struct {
		text string
		got  func(Route) any
		want any
	}{
		{routeOf("  upgrade: []\n"), func(r Route) any { return r.Upgrade == nil }, true},
		{routeOf(""), func(r Route) any { return r.Upgrade }, []string{"websocket"}},
		{routeOf("  default_ttl: 'off'\n"), func(r Route) any { return r.DefaultTTL }, time.Duration(0)},
		{routeOf("  serve_stale_on_error: 8760h\n"), func(r Route) any { return r.ServeStaleOnError }, 8760 * time.Hour},
		{routeOf("  range_fill_limit: off\n"), func(r Route) any { return r.RangeFillLimit }, Size(0)},
		{"cache: {max_object_size: 64KiB}\n" + routeOf(""), func(r Route) any { return r.RangeFillLimit }, Size(64 << 10)},
		{"cache: {max_object_size: 64KiB}\n" + routeOf("  range_fill_limit: 64KiB\n"), func(r Route) any { return r.RangeFillLimit }, Size(64 << 10)},
		{"cache: {memory: 2MiB}\n" + routeOf("  range_fill_limit: 2MiB\n"), func(r Route) any { return r.RangeFillLimit }, Size(2 << 20)},
		{"cache: {max_object_size: 512}\n" + routeOf("  compress: {}\n"), func(r Route) any { return r.Compress.MinSize }, Size(1 << 10)},
		{routeOf("  compress: {min_size: 8MiB}\n"), func(r Route) any { return r.Compress.Codings }, []Coding{CodingZstd, CodingBrotli, CodingGzip}},
		{routeOf("  compress: {codings: [br]}\n"), func(r Route) any { return r.Compress.Types[0] }, "text/*"},
		{routeOf(""), func(r Route) any { return r.Compress }, Compress{}},
		{routeOf("  negative_ttl: {}\n"), func(r Route) any { return r.NegativeTTL == nil }, true},
		{routeOf("  ignore_request_directives: []\n  query: {keep: [], drop: []}\n"), func(r Route) any {
			return r.IgnoreRequestDirectives == nil && r.Query.Keep == nil && r.Query.Drop == nil
		}, true},
		{routeOf("  query: {}\n"), func(r Route) any { return r.Query }, Query{}},
		{routeOf("  cache: off\n  query: {sort: on}\n  cache_key: [path]\n"), func(r Route) any { return r.Query }, Query{Sort: true}},
		{routeOf("  query: {keep: [a*], drop: [a, ab*a, b*]}\n"), func(r Route) any { return r.Query.Keep }, []string{"a*"}},
		{routeOf("  query: {keep: [aba], drop: [aba*ba]}\n"), func(r Route) any { return r.Query.Keep }, []string{"aba"}},
	}
	for _, tt := range tests {
		if got := tt.got(mustParse(t, tt.text).Routes[0]); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %v\nwant %v", tt.text, got, tt.want)
		}
	}
}

var faultyRoutes = []struct{ text, want string }{
	{routeOf("  forward_fields: [X-Forwarded-For, Accept, x_host, 'a b', host, X-Host, x-host]\n"),
		`f:4:20: routes[0].forward_fields[0]: X-Forwarded-For is written by the proxy itself; remove it
f:4:37: routes[0].forward_fields[1]: Accept is not held back; remove it
f:4:45: routes[0].forward_fields[2]: want the name of a field such as X-HTTP-Method-Override, got "x_host"
f:4:53: routes[0].forward_fields[3]: want the name of a field such as X-HTTP-Method-Override, got "a b"
f:4:60: routes[0].forward_fields[4]: host is written by the proxy itself; remove it
f:4:74: routes[0].forward_fields[6]: X-Host is in the list already; remove one of them`},
	{routeOf("  tags_from: [Cache-Tag, cache-tag, Edge-Cache-Tag, Cache-Tag]\n  purge_from: [10.0.0.1, 10.0.0.1/32, localhost]\n"),
		`f:4:26: routes[0].tags_from[1]: want Cache-Tag or Surrogate-Key, got "cache-tag"
f:4:37: routes[0].tags_from[2]: want Cache-Tag or Surrogate-Key, got "Edge-Cache-Tag"
f:4:53: routes[0].tags_from[3]: Cache-Tag is in the list already; remove one of them
f:5:26: routes[0].purge_from[1]: 10.0.0.1/32 is in the list already; remove one of them
f:5:39: routes[0].purge_from[2]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "localhost"`},
	{routeOf("  cache_key: [path, header:x-host, header:X-Original-URL, header:Via, header:X_Host, header:Host_]\n  forward_fields: [X-Host]\n"),
		`f:4:36: routes[0].cache_key[2]: the upstream does not get a client's X-Original-Url, so it tells no answers apart; write it in forward_fields instead
f:4:59: routes[0].cache_key[3]: the upstream does not get a client's Via, so it tells no answers apart; remove it
f:4:71: routes[0].cache_key[4]: the upstream does not get a client's X_host, so it tells no answers apart; remove it`},
	{routeOf("  default_ttl: 0s\n  heuristic_max: 24\n  serve_stale_on_error: never\n  range_fill_limit: 1.5MiB\n  early_refresh: 5s\n"),
		`f:4:16: routes[0].default_ttl: want 1ms to 8760h, or off, got 0s
f:5:18: routes[0].heuristic_max: want a duration such as 10s, or off, got "24"; write 24s
f:6:25: routes[0].serve_stale_on_error: want a duration such as 10s, or off, got "never"
f:7:21: routes[0].range_fill_limit: want a size such as 1MiB, or off, got "1.5MiB"
f:8:18: routes[0].early_refresh: want on or off, got "5s"`},
	{routeOf("  default_ttl: 8761h\n  heuristic_max: [off]\n  serve_stale_on_error: -1s\n  range_fill_limit: 0\n  set_cookie: Strip\n"),
		`f:4:16: routes[0].default_ttl: want 1ms to 8760h, or off, got 8761h
f:5:18: routes[0].heuristic_max: want a duration such as 10s, or off, got a list
f:6:25: routes[0].serve_stale_on_error: want 1ms to 8760h, or off, got -1s
f:7:21: routes[0].range_fill_limit: want 1 to 1TiB, or off, got 0
f:8:15: routes[0].set_cookie: want explicit, store, strip or bypass, got "Strip"`},
	{routeOf("  default_ttl:\n  range_fill_limit: {}\n  heuristic_max: Off\n"),
		`f:4:15: routes[0].default_ttl: has no value; write one, or remove the line
f:5:21: routes[0].range_fill_limit: want a size such as 1MiB, or off, got a mapping
f:6:18: routes[0].heuristic_max: want a duration such as 10s, or off, got "Off"`},
	{routeOf("  upgrade: [websocket, H2C, TLS/1.0, WebSocket, '', ~]\n"),
		`f:4:24: routes[0].upgrade[1]: h2c is never passed on; remove it
f:4:29: routes[0].upgrade[2]: want the name of a protocol, got "TLS/1.0"; write websocket
f:4:38: routes[0].upgrade[3]: websocket is in the list already; remove one of them
f:4:49: routes[0].upgrade[4]: want the name of a protocol, got ""; write websocket
f:4:53: routes[0].upgrade[5]: has no value; write one, or remove the line`},
	{routeOf("  upgrade: off\n"), `f:4:12: routes[0].upgrade: want a list, got "off"`},
	{"cache: {max_variants: 0, max_tags: 31}\n" + routeOf("- {upstream: app, path_prefix: /a, default_tll: 1s}\n"),
		`f:1:23: cache.max_variants: want 1 to 4096, got 0
f:1:36: cache.max_tags: want 32 to 1024, got 31
f:5:36: routes[1]: unknown key "default_tll"; did you mean default_ttl?`},
	{"cache: {max_variants: 4097, max_tags: 1025}\n" + routeOf(""),
		`f:1:23: cache.max_variants: want 1 to 4096, got 4097
f:1:39: cache.max_tags: want 32 to 1024, got 1025`},
	{"upstreams: {app: {max_head_size: 1023, servers: [{address: 'a:1'}]}, b: {max_head_size: 2MiB, servers: [{address: 'a:1'}]}}\nroutes: [{upstream: app}]\n",
		`f:1:34: upstreams.app.max_head_size: want 1KiB to 1MiB, got 1023
f:1:89: upstreams.b.max_head_size: want 1KiB to 1MiB, got 2MiB`},
	{routeOf("  negative_ttl: {200: 1s, 304: 1s, 299: 1s, 600: 1s, 2xx: 1s, 4XX: 1s, 0404: 1s, '': 1s, not found: 1s}\n"),
		`f:4:18: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got "200"
f:4:27: routes[0].negative_ttl: 304 confirms a stored answer and is none itself; remove it
f:4:36: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got "299"
f:4:45: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got "600"
f:4:54: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got "2xx"
f:4:63: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got "4XX"
f:4:72: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got "0404"
f:4:82: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got ""
f:4:90: routes[0].negative_ttl: want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got "not found"`},
	{routeOf("  negative_ttl: {404: off, 410: 0s, 500: 8761h, 501: 10, 502: , 503: [1s]}\n"),
		`f:4:23: routes[0].negative_ttl.404: want a duration such as 500ms, 5s or 2m, got "off"
f:4:33: routes[0].negative_ttl.410: want 1ms to 8760h, got 0s
f:4:42: routes[0].negative_ttl.500: want 1ms to 8760h, got 8761h
f:4:54: routes[0].negative_ttl.501: want a duration such as 500ms, 5s or 2m, got "10"; write 10s
f:4:63: routes[0].negative_ttl.502: has no value; write one, or remove the line
f:4:70: routes[0].negative_ttl.503: want a duration such as 500ms, 5s or 2m, got a list`},
	{routeOf("  negative_ttl: {404: 1s, 5xx: 1s, '404': 2s, 5xx: 1s, [404]: 1s}\n"),
		`f:4:36: routes[0].negative_ttl: duplicate key "404", first at line 4; remove one of them
f:4:47: routes[0].negative_ttl: duplicate key "5xx", first at line 4; remove one of them
f:4:56: routes[0].negative_ttl: want a name as key, got a list`},
	{routeOf("  negative_ttl: 10s\n  ignore_request_directives: no-cache\n"),
		`f:4:17: routes[0].negative_ttl: want statuses and durations such as {404: 10s, 5xx: 1s}, got "10s"
f:5:30: routes[0].ignore_request_directives: want a list, got "no-cache"`},
	{routeOf("  ignore_request_directives: [no-cache, nocache, Pragma, no-cache, ~, [max-age]]\n"),
		`f:4:41: routes[0].ignore_request_directives[1]: want no-cache, no-store, max-age, min-fresh, max-stale, stale-if-error, only-if-cached or pragma, got "nocache"
f:4:50: routes[0].ignore_request_directives[2]: want no-cache, no-store, max-age, min-fresh, max-stale, stale-if-error, only-if-cached or pragma, got "Pragma"
f:4:58: routes[0].ignore_request_directives[3]: no-cache is in the list already; remove one of them
f:4:68: routes[0].ignore_request_directives[4]: has no value; write one, or remove the line
f:4:71: routes[0].ignore_request_directives[5]: want no-cache, no-store, max-age, min-fresh, max-stale, stale-if-error, only-if-cached or pragma, got a list`},
	{routeOf("  query:\n    keep: ['', '*', a*b*, a=, '?a', a&b, 'a%5Fb', id, id, ~]\n    drop: ['*', '**', utm_*, x, utm_*]\n    sort: name\n    order: 1\n"),
		`f:5:12: routes[0].query.keep[0]: want the name of a parameter or a pattern such as utm_*, got ""
f:5:16: routes[0].query.keep[1]: want a pattern that names something, such as utm_*, got "*"; name in keep what counts, or leave keep empty to keep all
f:5:21: routes[0].query.keep[2]: want at most one *, got "a*b*"
f:5:27: routes[0].query.keep[3]: want the name of a parameter without '=', got "a="; write the name alone
f:5:31: routes[0].query.keep[4]: want the name of a parameter without '?', got "?a"; write the name alone
f:5:37: routes[0].query.keep[5]: want the name of a parameter without '&', got "a&b"; write the name alone
f:5:42: routes[0].query.keep[6]: want the name of a parameter without percent-encoding, got "a%5Fb"; write the characters themselves
f:5:55: routes[0].query.keep[8]: id is in the list already; remove one of them
f:5:59: routes[0].query.keep[9]: has no value; write one, or remove the line
f:6:12: routes[0].query.drop[0]: want a pattern that names something, such as utm_*, got "*"; name in keep what counts, or leave keep empty to keep all
f:6:17: routes[0].query.drop[1]: want at most one *, got "**"
f:6:33: routes[0].query.drop[4]: utm_* is in the list already; remove one of them
f:7:11: routes[0].query.sort: want on or off, got "name"
f:8:5: routes[0].query: unknown key "order"; known here: keep, drop, sort`},
	{routeOf("  query: {keep: [utm_id, aba, a, utm_*, b, aa], drop: [utm_*, a*a, b, c]}\n"),
		`f:4:18: routes[0].query.keep[0]: utm_id is dropped by utm_*, and drop wins; remove one of them
f:4:26: routes[0].query.keep[1]: aba is dropped by a*a, and drop wins; remove one of them
f:4:34: routes[0].query.keep[3]: utm_* is dropped by utm_*, and drop wins; remove one of them
f:4:41: routes[0].query.keep[4]: b is dropped by b, and drop wins; remove one of them
f:4:44: routes[0].query.keep[5]: aa is dropped by a*a, and drop wins; remove one of them`},
	{routeOf("  query: [id]\n"),
		`f:4:10: routes[0].query: want keys and values (keep, drop, sort), got a list`},
	{routeOf("  cache_key: [path, host]\n  query: {sort: on}\n"),
		`f:5:10: routes[0].query: cache_key has no query, so the parameters that count would not tell answers apart; add query to it or remove this section`},
	{routeOf("  cache_key: [path, qeury]\n  query: {sort: on}\n"),
		`f:4:21: routes[0].cache_key[1]: want scheme, host, path, query, header:Name or cookie:Name, got "qeury"`},
	{routeOf("  cache_key: query\n  compress: {codings: br, types: ~}\n"),
		`f:4:14: routes[0].cache_key: want a list, got "query"
f:5:23: routes[0].compress.codings: want a list, got "br"
f:5:34: routes[0].compress.types: has no value; write one, or remove the line`},
	{routeOf("  cache_key: [host]\n  query: {keep: [a, a]}\n"),
		`f:4:14: routes[0].cache_key: path is missing; add it to the list
f:5:10: routes[0].query: cache_key has no query, so the parameters that count would not tell answers apart; add query to it or remove this section
f:5:21: routes[0].query.keep[1]: a is in the list already; remove one of them`},
	{routeOf("  compress:\n    codings: [brotli, gzip, br, gzip, GZIP]\n    types: [html, '*', '', 'text/html; charset=utf-8', text/, /html, 'te*/html', 'text/x*', '*/*+', '*/*+*', 'a b/c', text/html, TEXT/HTML]\n    min_size: 0\n    level: 9\n"),
		`f:5:15: routes[0].compress.codings[0]: want zstd, br or gzip, got "brotli"
f:5:33: routes[0].compress.codings[3]: gzip is in the list already; remove one of them
f:5:39: routes[0].compress.codings[4]: want zstd, br or gzip, got "GZIP"
f:6:13: routes[0].compress.types[0]: want a media type such as text/html, text/* or */*+json, got "html"
f:6:19: routes[0].compress.types[1]: want a media type such as text/html, text/* or */*+json, got "*"
f:6:24: routes[0].compress.types[2]: want a media type such as text/html, text/* or */*+json, got ""
f:6:28: routes[0].compress.types[3]: want a media type without parameters, got "text/html; charset=utf-8"; write text/html
f:6:56: routes[0].compress.types[4]: want a media type such as text/html, text/* or */*+json, got "text/"
f:6:63: routes[0].compress.types[5]: want a media type such as text/html, text/* or */*+json, got "/html"
f:6:70: routes[0].compress.types[6]: want a media type such as text/html, text/* or */*+json, got "te*/html"
f:6:82: routes[0].compress.types[7]: want a media type such as text/html, text/* or */*+json, got "text/x*"
f:6:93: routes[0].compress.types[8]: want a media type such as text/html, text/* or */*+json, got "*/*+"
f:6:101: routes[0].compress.types[9]: want a media type such as text/html, text/* or */*+json, got "*/*+*"
f:6:110: routes[0].compress.types[10]: want a media type such as text/html, text/* or */*+json, got "a b/c"
f:6:130: routes[0].compress.types[12]: text/html is in the list already; remove one of them
f:7:15: routes[0].compress.min_size: want 1 to 1TiB, got 0
f:8:5: routes[0].compress: unknown key "level"; known here: codings, types, min_size`},
	{routeOf("  compress: {codings: [], types: [], min_size: 8193KiB}\n"),
		`f:4:23: routes[0].compress.codings: is empty; remove the line for the default, or the section compress for no compression
f:4:34: routes[0].compress.types: is empty; remove the line for the default, or the section compress for no compression
f:4:48: routes[0].compress.min_size: is more than cache.max_object_size, so nothing would be compressed; write less`},
	{routeOf("  compress: on\n"),
		`f:4:13: routes[0].compress: want keys and values (codings, types, min_size), or {} for the defaults, got "on"`},
	{routeOf("  compress:\n"),
		`f:4:12: routes[0].compress: has no value; write one, or remove the line`},
	{"upstreams: {app: {servers: [{address: 'a:1'}], health_check: on}}\nroutes: [{upstream: app}]\n",
		`f:1:62: upstreams.app.health_check: want keys and values (` + checkOptions + `), or {} for the defaults, got "on"`},
	{"cache:\n  max_object_size: 1MiB\n" + routeOf("  range_fill_limit: 2MiB\n  compress: {min_size: 2MiB}\n"),
		`f:6:21: routes[0].range_fill_limit: is more than cache.max_object_size; write at most that, or off
f:7:24: routes[0].compress.min_size: is more than cache.max_object_size, so nothing would be compressed; write less`},
	{"cache:\n  memory: 1MiB\n" + routeOf("  range_fill_limit: 2MiB\n"),
		`f:6:21: routes[0].range_fill_limit: is more than cache.max_object_size; write at most that, or off`},
	{"cache:\n  memory: much\n" + routeOf("  range_fill_limit: 9MiB\n  compress: {min_size: 9MiB}\n"),
		`f:2:11: cache.memory: want a size such as 64KiB, 256MiB or 1GiB, got "much"`},
	{"cache:\n  max_object_size: much\n" + routeOf("  range_fill_limit: 9MiB\n  compress: {min_size: 9MiB}\n"),
		`f:2:20: cache.max_object_size: want a size such as 64KiB, 256MiB or 1GiB, got "much"`},
	{routeOf("  cache: maybe\n  early_refresh: on\n  default_ttl: x\n"),
		`f:4:10: routes[0].cache: want on, off or observe, got "maybe"
f:6:16: routes[0].default_ttl: want a duration such as 10s, or off, got "x"`},
}

func TestRouteFaults(t *testing.T) { checkFaults(t, faultyRoutes) }

// checkRoute holds what every route of a sound file keeps to.
func checkRoute(t *testing.T, r Route, cache Cache) {
	t.Helper()
	const year = 8760 * time.Hour
	for _, ttl := range []time.Duration{r.DefaultTTL, r.HeuristicMax, r.ServeStaleOnError} {
		if ttl != 0 && (ttl < time.Millisecond || ttl > year) {
			t.Errorf("a duration is %v: %+v", ttl, r)
		}
	}
	for status, ttl := range r.NegativeTTL {
		if class := status >= 3 && status <= 5; !class && (status < 300 || status > 599 || status == 304) || ttl < time.Millisecond || ttl > year {
			t.Errorf("status %d is fresh for %v", status, ttl)
		}
	}
	if r.RangeFillLimit < 0 || r.RangeFillLimit > cache.MaxObjectSize {
		t.Errorf("ranges fill %d bytes of at most %d", r.RangeFillLimit, cache.MaxObjectSize)
	}
	for _, name := range slices.Concat(r.Query.Keep, r.Query.Drop) {
		if name == "" || name == "*" || strings.Count(name, "*") > 1 || strings.ContainsAny(name, "&=?") {
			t.Errorf("parameter %q", name)
		}
	}
	z := r.Compress
	if on := len(z.Codings) > 0; on != (len(z.Types) > 0) || on != (z.MinSize > 0) {
		t.Errorf("half a section: %+v", z)
	}
	for _, pattern := range z.Types {
		kind, subtype, found := strings.Cut(pattern, "/")
		if !found || kind == "" || subtype == "" || pattern != strings.ToLower(pattern) || strings.ContainsAny(pattern, "; ") {
			t.Errorf("media type %q", pattern)
		}
	}
}
