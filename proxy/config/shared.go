package config

import "time"

// Shared is what the instances of a fleet share: one fill of each key at a
// time, and what was filled. The zero value, without addresses, is an instance
// by itself. All instances of a fleet are given the same engine, prefix and,
// in standalone mode, addresses.
type Shared struct {
	// Redis is the engine that holds it; required.
	Redis Redis `yaml:"redis" required:"redis: {addresses: [127.0.0.1:6379]}"`
	// Prefix begins all keys that the engine is given. Instances with the same
	// prefix are a fleet. It is made of letters, digits, '.', '_', '-', ':' and
	// '/', 1 to 64 of them: a brace would move the hash tag by which a Cluster
	// places keys. Default ringfence:.
	Prefix string `yaml:"prefix" default:"ringfence:" format:"key-prefix"`
	// MaxObjectSize is the largest body that goes through the engine, in bytes;
	// each instance fetches a larger one by itself. At most
	// Cache.MaxObjectSize. Default 8MiB, or Cache.MaxObjectSize if that is less.
	MaxObjectSize Size `yaml:"max_object_size" default:"8MiB" range:"1..1TiB"`
	// LeaseTTL is how long a leader that died blocks its key. At least three
	// times Timeout. Default 1s.
	LeaseTTL time.Duration `yaml:"lease_ttl" default:"1s" range:"100ms..1m"`
	// Timeout bounds one call of the engine; a request whose call takes longer
	// goes on without it. Default 30ms.
	Timeout time.Duration `yaml:"timeout" default:"30ms" range:"1ms..10s"`
}

// RedisMode is how the addresses of an engine hang together.
type RedisMode string

// The modes. In RedisStandalone each address is a node that knows nothing of
// the others, and each key has its place on one of them. In RedisSentinel the
// addresses are sentinels that know the master. In RedisCluster they are some
// nodes of one Cluster, which know the rest.
const (
	RedisStandalone RedisMode = "standalone"
	RedisSentinel   RedisMode = "sentinel"
	RedisCluster    RedisMode = "cluster"
)

// Redis says how to reach a Redis, of version 7.0 or later, or a Valkey. A
// file that it names is not read here.
type Redis struct {
	// Addresses are each a host:port, with names in lower case, IP addresses in
	// their shortest form and ports without leading zeros, so that an address
	// is spelt one way in a whole fleet; or, with RedisStandalone, unix: and
	// the absolute path of a socket. At least one, no two the same. Required.
	Addresses []string `yaml:"addresses" format:"redis-address" required:"addresses: [127.0.0.1:6379]"`
	// Mode says what the addresses are of. Default standalone.
	Mode RedisMode `yaml:"mode" default:"standalone" oneof:"standalone sentinel cluster"`
	// SentinelMaster is the name that the sentinels know the master by. It is
	// there with RedisSentinel and else "". Default "".
	SentinelMaster string `yaml:"sentinel_master" format:"line"`
	// SentinelUsername and SentinelPassword are the login at the sentinels
	// themselves, which have none of the engine's; without RedisSentinel they
	// are "". Default "": no login.
	SentinelUsername string `yaml:"sentinel_username" format:"line"`
	SentinelPassword string `yaml:"sentinel_password" format:"line" secret:"true"`
	// Username is who to log in as; "" is the engine's default user.
	// Default "".
	Username string `yaml:"username" format:"line"`
	// Password is the password itself; "" is none, or that of PasswordFile.
	// Default "".
	Password string `yaml:"password" format:"line" secret:"true"`
	// PasswordFile is the path of a file whose first line is the password; ""
	// is none. At most one of it and Password is there. Default "".
	PasswordFile string `yaml:"password_file" format:"line"`
	// TLS says whether connections are made with TLS, those to sentinels too.
	// Default off.
	TLS bool `yaml:"tls" default:"off"`
	// TLSCAFile is the path of a PEM file of the roots that are trusted; "" is
	// the system's roots. Without TLS it is "". Default "".
	TLSCAFile string `yaml:"tls_ca_file" format:"line"`
	// TLSServerName is the name or IP address that the certificate of each node
	// is to hold; "" is the host of its address. Without TLS it is "".
	// Default "".
	TLSServerName string `yaml:"tls_server_name" format:"server-name"`
	// TLSCertFile and TLSKeyFile are the paths of PEM files of the certificate,
	// and any intermediates behind it, and of its key, that nodes are shown who
	// ask for one: both or none. Without TLS they are "". Default "".
	TLSCertFile string `yaml:"tls_cert_file" format:"line"`
	TLSKeyFile  string `yaml:"tls_key_file" format:"line"`
	// DB is the number of the database; with RedisCluster it is 0. Default 0.
	DB int `yaml:"db" default:"0" range:"0..15"`
}
