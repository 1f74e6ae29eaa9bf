// Package config turns a YAML file into plain, complete, checked data.
//
// A [Config] is a value: whoever holds one may read it from any goroutine and
// changes nothing in it. Every option has a default, stated in the struct tag
// beside the field; the tags are the schema that the decoder, the checks and
// the example file follow:
//
//	yaml      the key
//	default   the value, written as in the file, when the key is absent
//	range     the smallest and the largest value allowed, both included
//	off       the word off is allowed too, and means zero
//	oneof     the words allowed
//	format    the shape of a text, see format.go
//	required  must be present and not empty; the tag is what to write
//	or        an option of the same section that may stand in for a required
//	          one; the tag is what to write
//	keys      the shape of a map's keys, see entries; names unless it is there
//	secret    the value is not shown
//	optional  the section stays zero unless it is written
//
// The tags of a list or map whose elements are single values hold for each of
// these; an empty list or map is nil.
//
// A text at fault yields [Faults]: every fault of the file at once, each with
// its place, what is wrong, and what would be right.
package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is the whole configuration of one process.
type Config struct {
	// Listen is the short form of Listeners: the host:port of a single plain
	// one; an empty host means all interfaces, port 0 a free one. "" where
	// Listeners was written. Default 127.0.0.1:8080.
	Listen string `yaml:"listen" default:"127.0.0.1:8080" format:"listen"`
	// Listeners are what clients connect to; at least one. Default the one that
	// Listen stands for.
	Listeners []Listener `yaml:"listeners"`
	// Admin is the operator's surface.
	Admin Admin `yaml:"admin"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`
	// AccessLog has a line for each request. Default none.
	AccessLog AccessLog `yaml:"access_log" optional:"true"`
	// Reload says when the file is read again.
	Reload Reload `yaml:"reload"`
	// ShutdownTimeout is how long requests in flight may take to end once the
	// process was told to stop. Default 30s.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" default:"30s" range:"1ms..24h"`
	// UpgradeTimeout bounds how long a process that is to take the place of this one
	// may take until it serves; later it is ended, and this one goes on. Default 30s.
	UpgradeTimeout time.Duration `yaml:"upgrade_timeout" default:"30s" range:"1s..60s"`
	// Server bounds what clients may take.
	Server Server `yaml:"server"`
	// Cache bounds what is stored and how long requests wait for one another,
	// and says what is shared with other instances.
	Cache Cache `yaml:"cache"`
	// Upstreams are the pools of servers by name; at least one. A name is made
	// of letters, digits, '.', '_' and '-', and is at most 64 bytes long.
	Upstreams map[string]Upstream `yaml:"upstreams" required:"upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}}"`
	// Routes say which requests go to which upstream; at least one. Their
	// order has no meaning: an exact host beats a wildcard, a longer wildcard
	// a shorter one, any wildcard no host; then the longest prefix wins.
	Routes []Route `yaml:"routes" required:"routes: [{upstream: app}]"`
}

// LogFormat is the shape of log lines.
type LogFormat string

// The log formats. LogAuto is text on a terminal and JSON elsewhere.
const (
	LogAuto LogFormat = "auto"
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Log is what is logged and how.
type Log struct {
	// Level is the least severe level logged: debug, info, warn or error.
	// Default info.
	Level slog.Level `yaml:"level" default:"info" oneof:"debug info warn error"`
	// Format is the shape of the lines. Default auto.
	Format LogFormat `yaml:"format" default:"auto" oneof:"auto text json"`
}

// Server bounds the clients' connections.
type Server struct {
	// IdleTimeout is how long a connection may wait for its next request.
	// Default 75s.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"75s" range:"1ms..24h"`
	// HeadTimeout is how long the whole head of a request may take from its first
	// byte on, and a TLS handshake. Default 10s.
	HeadTimeout time.Duration `yaml:"head_timeout" default:"10s" range:"1ms..24h"`
	// ReadTimeout is the longest silence between two reads of a request's body,
	// not a limit on the whole of it. Default 60s.
	ReadTimeout time.Duration `yaml:"read_timeout" default:"60s" range:"1ms..24h"`
	// WriteTimeout is the longest a client may take to accept one write of a
	// response, not a limit on the whole of it. Default 60s.
	WriteTimeout time.Duration `yaml:"write_timeout" default:"60s" range:"1ms..24h"`
	// RequestTimeout bounds the whole of a request, from the first byte of its
	// head to the last one of its answer; 0, in a file off, bounds nothing.
	// Default 6h.
	RequestTimeout time.Duration `yaml:"request_timeout" default:"6h" range:"1ms..720h" off:"true"`
	// MaxHeadSize bounds a request's head in bytes: request line and header
	// fields. Default 16KiB.
	MaxHeadSize Size `yaml:"max_head_size" default:"16KiB" range:"1KiB..1MiB"`
	// MaxTargetSize bounds the target in a request line, in bytes. Default 8KiB.
	MaxTargetSize Size `yaml:"max_target_size" default:"8KiB" range:"64..1MiB"`
	// MaxHeaderFields bounds the field lines of a request. Default 100.
	MaxHeaderFields int `yaml:"max_header_fields" default:"100" range:"1..10000"`
	// MaxBodySize bounds a request's body in bytes, one of unknown length too; 0,
	// in a file off, bounds nothing. Bodies are streamed and take no memory.
	// Default 4GiB.
	MaxBodySize Size `yaml:"max_body_size" default:"4GiB" range:"1..1TiB" off:"true"`
	// MaxConnections bounds the open client connections; those beyond it are
	// answered 503 and closed. Default 65536.
	MaxConnections int `yaml:"max_connections" default:"65536" range:"1..1048576"`
	// MaxConnectionsPerClient bounds those of one IPv4 address or one IPv6 network
	// of 64 bits; those beyond it are answered 429 and closed. Those of
	// TrustedProxies do not count. 0, in a file off, bounds nothing. Default 16384.
	MaxConnectionsPerClient int `yaml:"max_connections_per_client" default:"16384" range:"1..1048576" off:"true"`
	// MaxStreams bounds the requests that one connection of HTTP/2 may have open at
	// a time. Default 250.
	MaxStreams int `yaml:"max_streams" default:"250" range:"1..10000"`
	// MaxRequests bounds the requests that wait for an upstream or another's fill,
	// or are being sent what those answer; those beyond it are answered from memory
	// where they can be, and else 503. Default 65536.
	MaxRequests int `yaml:"max_requests" default:"65536" range:"1..1048576"`
	// TrustedProxies are the addresses and networks of the proxies in front that
	// are believed when they say for whom they ask (X-Forwarded-For, or else
	// Forwarded), in what scheme (X-Forwarded-Proto) and under what RequestID;
	// what all others say of it is replaced. IPv4 addresses are in their own
	// form, no bit beyond a prefix is set, and no two are the same. Default none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// RequestID is the field, in canonical form, in which each request that is
	// forwarded has an id: a trusted proxy's, or one of our own making. "", in a
	// file off, makes none. Default X-Request-Id.
	RequestID string `yaml:"request_id" default:"X-Request-Id" format:"id-field"`
	// MaxTunnels bounds the requests for an upgrade that are under way and the
	// tunnels that came of them, together; requests beyond get a 503. Default
	// 10000.
	MaxTunnels int `yaml:"max_tunnels" default:"10000" range:"1..1048576"`
	// TunnelTimeout is how long a tunnel may be silent, in both directions
	// together, before it is closed. Default 1h.
	TunnelTimeout time.Duration `yaml:"tunnel_timeout" default:"1h" range:"1ms..720h"`
	// TunnelGrace is how long tunnels go on once the process was told to stop;
	// at most Config.ShutdownTimeout. Default 10s, or that if it is less.
	TunnelGrace time.Duration `yaml:"tunnel_grace" default:"10s" range:"1ms..24h"`
}

// Cache bounds the memory tier and the waiting for fills, and says what is
// shared with other instances.
type Cache struct {
	// Memory bounds the stored objects in bytes: keys, heads and bodies.
	// Default 256MiB.
	Memory Size `yaml:"memory" default:"256MiB" range:"1MiB..1TiB"`
	// MaxObjectSize is the largest body stored, in bytes; a larger one is
	// passed through. At most Memory. Default 8MiB, or Memory if that is less.
	MaxObjectSize Size `yaml:"max_object_size" default:"8MiB" range:"1..1TiB"`
	// WaitTimeout is how long a request waits for the head of another
	// request's fill of the same key before it fetches by itself. Default 10s.
	WaitTimeout time.Duration `yaml:"wait_timeout" default:"10s" range:"1ms..24h"`
	// UncacheableTTL is how long requests for a key whose answer could not be
	// stored pass without waiting for one another. Default 10s.
	UncacheableTTL time.Duration `yaml:"uncacheable_ttl" default:"10s" range:"1ms..24h"`
	// MaxWaiters bounds the requests that wait for one fill; those beyond it
	// fetch by themselves. Default 10000.
	MaxWaiters int `yaml:"max_waiters" default:"10000" range:"1..1000000"`
	// MaxFills bounds the fills in progress; requests beyond them fetch by
	// themselves. Default 16384.
	MaxFills int `yaml:"max_fills" default:"16384" range:"1..1000000"`
	// IndexEntries bounds the remembered keys that are not objects: Vary
	// records and uncacheable markers. The index may round it up to a power of
	// two. An eighth as many invalidations are told apart. Default 1048576.
	IndexEntries int `yaml:"index_entries" default:"1048576" range:"1024..67108864"`
	// MaxVariants bounds the stored variants of one key (RFC 9111, section
	// 4.1); the oldest gives way to a new one. Default 64.
	MaxVariants int `yaml:"max_variants" default:"64" range:"1..4096"`
	// MaxTags bounds the groups (Cache-Groups, RFC 9875, of which 32 must be
	// supported) and tags (Route.TagsFrom) of one stored response, together; a
	// response with more is not stored. Default 64.
	MaxTags int `yaml:"max_tags" default:"64" range:"32..1024"`
	// Snapshot says where the stored objects outlast the process. Default nowhere.
	Snapshot Snapshot `yaml:"snapshot" optional:"true"`
	// Shared is what a fleet of instances shares. Default nothing.
	Shared Shared `yaml:"shared" optional:"true"`
}

// Size is a number of bytes. In a file it is a whole number, with the unit B,
// KiB, MiB, GiB, TiB (powers of 1024) or KB, MB, GB, TB (powers of 1000);
// without a unit it means bytes.
type Size int64
