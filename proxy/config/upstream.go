package config

import (
	"strconv"
	"time"
)

// Balance names how an upstream's members share the requests.
type Balance string

// The ways to balance. BalanceHash is weighted rejection hashing;
// BalanceKetama places as nginx's `hash ... consistent` does. Both send what
// has the same HashBy to the same member. BalanceLeastRequests takes the less
// busy of two members drawn at random; BalanceRoundRobin goes round by weight,
// smoothly; BalanceRandom draws by weight.
const (
	BalanceHash          Balance = "hash"
	BalanceKetama        Balance = "ketama"
	BalanceLeastRequests Balance = "least_requests"
	BalanceRoundRobin    Balance = "round_robin"
	BalanceRandom        Balance = "random"
)

// ProxyProtocol is what servers are told of clients by the PROXY protocol.
type ProxyProtocol string

// ProxyProtocolV1 is a line of text, ProxyProtocolV2 binary. The header tells of
// the client of a request that is passed on. Fills, whose answers are for
// everybody, and health checks tell of none, as UNKNOWN or LOCAL; checks on a
// port of their own send no header.
const (
	ProxyProtocolOff ProxyProtocol = "off"
	ProxyProtocolV1  ProxyProtocol = "v1"
	ProxyProtocolV2  ProxyProtocol = "v2"
)

// Upstream is a pool of servers that answer for the same resources.
type Upstream struct {
	// Balance is how a member is chosen. Default hash.
	Balance Balance `yaml:"balance" default:"hash" oneof:"hash ketama least_requests round_robin random"`
	// HashBy is what a request is placed by with BalanceHash and BalanceKetama,
	// and zero with the others. Default key, or uri with BalanceKetama.
	HashBy HashBy `yaml:"hash_by" default:"key"`
	// BalanceFactor bounds the load of a member: it gets at most 1 +
	// BalanceFactor times its share of the requests in flight (Mirrokni, Thorup
	// and Zadimoghaddam 2018, "Consistent hashing with bounded loads"). 0, in a
	// file off, bounds nothing; it is 0 where HashBy is zero. Default 0.5.
	BalanceFactor float64 `yaml:"balance_factor" default:"0.5" range:"0.05..10" off:"true"`
	// Servers are the members, no two with the same id. Empty only with a
	// ServersFile; without one at least one has a weight above 0, and at least
	// one is no backup.
	Servers []Member `yaml:"servers" required:"servers: [{address: 127.0.0.1:9001}]" or:"servers_file: servers.yaml"`
	// ServersFile is the path of a file with further members, for [LoadServers];
	// "" is none. It is not read here. Default "".
	ServersFile string `yaml:"servers_file" format:"line"`
	// Resolve is how often host names are looked up, and ServersFile is looked
	// at even if nothing tells of a change. Default 10s.
	Resolve time.Duration `yaml:"resolve" default:"10s" range:"1s..1h"`
	// SlowStart is how long a member that comes back takes to get its whole
	// share; 0, in a file off, is no time. Default off.
	SlowStart time.Duration `yaml:"slow_start" default:"off" range:"1s..1h" off:"true"`
	// PanicThreshold is a percentage: where fewer of the members are fit, their
	// health is disregarded. 0, in a file off, is never. Default 50.
	PanicThreshold int `yaml:"panic_threshold" default:"50" range:"1..100" off:"true"`
	// HealthCheck is the active check of every member. Default none.
	HealthCheck HealthCheck `yaml:"health_check" optional:"true"`
	// Ejection is the passive one, by the requests themselves.
	Ejection Ejection `yaml:"ejection"`
	// Retry says which requests are sent again.
	Retry Retry `yaml:"retry"`
	// HedgePercentile sends a GET to a second member when it has waited longer
	// than this percentage of the upstream's answers take. It spends
	// Retry.Budget. 0, in a file off, is never. Default off.
	HedgePercentile int `yaml:"hedge_percentile" default:"off" range:"50..99" off:"true"`
	// AdaptiveConcurrency learns from latency how many requests the upstream
	// can do at once. Default none.
	AdaptiveConcurrency Concurrency `yaml:"adaptive_concurrency" optional:"true"`
	// Queue is where requests beyond a member's MaxRequests wait.
	Queue Queue `yaml:"queue"`
	// MaxHeadSize bounds a response's head in bytes: status line and header
	// fields. A larger one is answered 502. Default 16KiB.
	MaxHeadSize Size `yaml:"max_head_size" default:"16KiB" range:"1KiB..1MiB"`
	// ConnectTimeout bounds the opening of a connection, with TLS its handshake
	// included. Default 1s.
	ConnectTimeout time.Duration `yaml:"connect_timeout" default:"1s" range:"1ms..24h"`
	// ResponseTimeout bounds the wait for the response head once the request
	// was written. Default 30s.
	ResponseTimeout time.Duration `yaml:"response_timeout" default:"30s" range:"1ms..24h"`
	// ReadTimeout is the longest silence within a response body, not a limit on
	// the whole of it. Default 30s.
	ReadTimeout time.Duration `yaml:"read_timeout" default:"30s" range:"1ms..24h"`
	// WriteTimeout is the longest a member may take to accept one write of a
	// request, not a limit on the whole of it. Default 30s.
	WriteTimeout time.Duration `yaml:"write_timeout" default:"30s" range:"1ms..24h"`
	// IdleTimeout is how long an unused connection is kept. Default 30s.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"30s" range:"1ms..24h"`
	// MaxRequests bounds the requests at once to each member that has no bound
	// of its own. At most MaxConnections. Default MaxConnections.
	MaxRequests int `yaml:"max_requests" default:"1024" range:"1..65536"`
	// MaxConnections bounds the connections to each member. Default 1024.
	MaxConnections int `yaml:"max_connections" default:"1024" range:"1..65536"`
	// MaxIdleConnections bounds the unused connections kept to each member. At
	// most MaxConnections. Default 256, or MaxConnections if that is less.
	MaxIdleConnections int `yaml:"max_idle_connections" default:"256" range:"0..65536"`
	// ProxyProtocol is the version of the PROXY header that connections begin
	// with. Default off.
	ProxyProtocol ProxyProtocol `yaml:"proxy_protocol" default:"off" oneof:"off v1 v2"`
	// TLS says whether connections are made with TLS; without it, all that
	// begins with TLS is zero. Default off.
	TLS bool `yaml:"tls" default:"off"`
	// TLSCAFile is the path of a PEM file of the roots that are trusted; "" is
	// the system's roots. Default "".
	TLSCAFile string `yaml:"tls_ca_file" format:"line"`
	// TLSServerName is the name or IP address that the certificate of each
	// member is to hold; "" is the host of its address. Default "".
	TLSServerName string `yaml:"tls_server_name" format:"server-name"`
	// TLSCertFile and TLSKeyFile are the paths of the PEM files that the proxy
	// shows who it is with, its certificates and their key; both or none are
	// "". Default "".
	TLSCertFile string `yaml:"tls_cert_file" format:"line"`
	TLSKeyFile  string `yaml:"tls_key_file" format:"line"`
	// TLSInsecure leaves the members' certificates unverified; TLSCAFile is then
	// "". Default off.
	TLSInsecure bool `yaml:"tls_insecure" default:"off"`
}

// Member is one entry of an upstream's servers. It has either an Address or an
// SRV. All addresses of a name are servers, with this entry's Weight and
// MaxRequests each.
type Member struct {
	// Address is its host:port, or unix: and the absolute path of a socket; ""
	// with SRV.
	Address string `yaml:"address" format:"server" required:"address: 127.0.0.1:9001" or:"srv: _http._tcp.app.internal"`
	// Weight is its share of the keys relative to the other members; 0 drains
	// it. With SRV it is 1, and the records have weights of their own. Default 1.
	Weight int `yaml:"weight" default:"1" range:"0..256"`
	// ID is what its keys are placed by, so that they stay when the address
	// changes; "" with SRV. Default Address.
	ID string `yaml:"id" format:"id"`
	// Backup says that it gets requests only while no other member is fit.
	// Default off.
	Backup bool `yaml:"backup" default:"off"`
	// MaxRequests bounds the requests at once to it. At most
	// Upstream.MaxConnections. Default Upstream.MaxRequests; of [LoadServers],
	// which knows no upstream, 0.
	MaxRequests int `yaml:"max_requests" range:"1..65536"`
	// SRV is a name whose SRV records (RFC 2782) are the servers, in lower case;
	// "" with Address.
	SRV string `yaml:"srv" format:"srv"`
}

// HashKind is a kind of what requests are placed by.
type HashKind string

// The kinds. HashKey is the cache key, HashURI the path and the query,
// HashClient the client's address; HashHeader, HashCookie and HashQuery take a
// name.
const (
	HashKey    HashKind = "key"
	HashURI    HashKind = "uri"
	HashPath   HashKind = "path"
	HashClient HashKind = "client"
	HashHeader HashKind = "header"
	HashCookie HashKind = "cookie"
	HashQuery  HashKind = "query"
)

// HashBy is what requests are placed by. The zero value is nothing.
type HashBy struct {
	Kind HashKind
	// Name is the header's name in canonical form, the cookie's as written, or
	// the query parameter's, decoded; "" for the other kinds.
	Name string
}

// Retry says which requests are sent again, each time to another member: those
// that did not leave, and idempotent ones (RFC 9110, section 9.2.2).
type Retry struct {
	// Attempts bounds how often one request is sent in all. 1 means no retry;
	// the other options then wait for more. Default 3.
	Attempts int `yaml:"attempts" default:"3" range:"1..10"`
	// On is what a request is sent again for, nothing twice; empty is nothing.
	// Default connect, reset, timeout, 502, 503, 504.
	On []RetryCause `yaml:"on" default:"connect reset timeout 502 503 504"`
	// PerTryTimeout bounds the wait for a response head where another member
	// may still be asked, and is less than Upstream.ResponseTimeout. 0, in a
	// file off, is no such bound. Default off.
	PerTryTimeout time.Duration `yaml:"per_try_timeout" default:"off" range:"1ms..24h" off:"true"`
	// Budget is how many of the requests under way may be retries, in percent.
	// Default 20.
	Budget int `yaml:"budget" default:"20" range:"0..100"`
	// BudgetMin is how many retries under way are allowed whatever Budget says.
	// Default 3.
	BudgetMin int `yaml:"budget_min" default:"3" range:"0..1000"`
	// MaxBody is the largest request body kept in memory to be sent again, in
	// bytes; 0, in a file off, keeps none. Default 64KiB.
	MaxBody Size `yaml:"max_body" default:"64KiB" range:"1..64MiB" off:"true"`
}

// Failure is how an exchange failed without an answer.
type Failure string

// The failures. FailureConnect is a connection that could not be made,
// FailureReset one that ended before the response head did, FailureTimeout a
// head that did not come in time.
const (
	FailureConnect Failure = "connect"
	FailureReset   Failure = "reset"
	FailureTimeout Failure = "timeout"
)

// RetryCause is what a request may be sent again for: a failure, or a status.
type RetryCause struct {
	// Failure is "" for a status.
	Failure Failure
	// Status is from 400 to 599, or 0 for a failure.
	Status int
}

// String returns the cause as a file writes it.
func (c RetryCause) String() string {
	if c.Failure != "" {
		return string(c.Failure)
	}
	return strconv.Itoa(c.Status)
}

// Concurrency bounds a limit on the requests at once that is learned from
// latency. The zero value means that there is none.
type Concurrency struct {
	// Min is the least that the limit gets. At most Max. Default 4, or Max if
	// that is less.
	Min int `yaml:"min" default:"4" range:"1..65536"`
	// Max is the most. Default 1000, or Min if that is more.
	Max int `yaml:"max" default:"1000" range:"1..65536"`
}

// Queue bounds the waiting for a member that has all the requests it may have.
type Queue struct {
	// Size is how many requests may wait for each member; those beyond it are
	// answered 503. Default 1024.
	Size int `yaml:"size" default:"1024" range:"0..65536"`
	// Timeout is how long each may; then it is answered 503. Default 1s.
	Timeout time.Duration `yaml:"timeout" default:"1s" range:"1ms..24h"`
}

// String returns it as a file writes it: key, or header:X-Tenant.
func (h HashBy) String() string {
	if h.Name == "" {
		return string(h.Kind)
	}
	return string(h.Kind) + ":" + h.Name
}
