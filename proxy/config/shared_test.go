package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
)

// sharedOf is a file with the section cache.shared of these lines, which begin
// at line 3.
func sharedOf(lines string) string {
	return "cache:\n  shared:\n" + lines + strings.TrimPrefix(rest, "\n")
}

// redisOf is one whose engine has one address and these options at line 3.
func redisOf(options string) string {
	return sharedOf("    redis: {addresses: ['a:1'], " + options + "}\n")
}

// redisOf2 is one whose engine has these addresses.
func redisOf2(addresses string) string {
	return sharedOf("    redis: {addresses: [" + addresses + "]}\n")
}

// fullShared has no option at its default, except password and db.
const fullShared = `    redis:
      addresses: ['[::1]:26379', 'Redis-2.internal:26379']
      mode: sentinel
      sentinel_master: my master
      sentinel_username: watcher
      sentinel_password: hush
      username: ringfence
      password_file: /run/secrets/redis
      tls: on
      tls_ca_file: ca.pem
      tls_server_name: redis.internal
      tls_cert_file: own.pem
      tls_key_file: own.key
    prefix: a/b_c-d.e:1
    max_object_size: 1
    lease_ttl: 30s
    timeout: 10s
`

func TestShared(t *testing.T) {
	of := func(r Redis) Shared {
		if r.Mode == "" {
			r.Mode = RedisStandalone
		}
		return Shared{Redis: r, Prefix: "ringfence:", MaxObjectSize: 8 << 20, LeaseTTL: time.Second, Timeout: 30 * time.Millisecond}
	}
	a := []string{"a:1"}
	sized := func(size Size) Shared { s := of(Redis{Addresses: a}); s.MaxObjectSize = size; return s }
	timed := func(lease, timeout time.Duration) Shared {
		s := of(Redis{Addresses: a})
		s.LeaseTTL, s.Timeout = lease, timeout
		return s
	}
	only := "    redis: {addresses: ['a:1']}\n"
	tests := []struct {
		text string
		want Shared
	}{
		{rest, Shared{}},
		{"cache: {}" + rest, Shared{}},
		{sharedOf(only), of(Redis{Addresses: a})},
		{sharedOf(fullShared), Shared{
			Redis: Redis{Addresses: []string{"[::1]:26379", "redis-2.internal:26379"}, Mode: RedisSentinel, SentinelMaster: "my master",
				SentinelUsername: "watcher", SentinelPassword: "hush", TLSCertFile: "own.pem", TLSKeyFile: "own.key",
				Username: "ringfence", PasswordFile: "/run/secrets/redis", TLS: true, TLSCAFile: "ca.pem", TLSServerName: "redis.internal"},
			Prefix: "a/b_c-d.e:1", MaxObjectSize: 1, LeaseTTL: 30 * time.Second, Timeout: 10 * time.Second}},
		// An address is spelt one way.
		{sharedOf("    redis: {addresses: ['Redis:06379', '[0:0::0001]:1', '[::ffff:10.0.0.1]:1', '[FE80::1%Eth0]:1', 10.0.0.2:1]}\n"),
			of(Redis{Addresses: []string{"redis:6379", "[::1]:1", "10.0.0.1:1", "[fe80::1%Eth0]:1", "10.0.0.2:1"}})},
		{redisOf2("'unix:/run/a b.sock', 'b:1'"), of(Redis{Addresses: []string{"unix:/run/a b.sock", "b:1"}})},
		// An option left empty says nothing.
		{redisOf("mode: cluster, sentinel_master: '', username: '', password: '', password_file: '', tls: off, tls_ca_file: '', tls_server_name: '', db: 0"),
			of(Redis{Addresses: a, Mode: RedisCluster})},
		{redisOf("password: x, password_file: ''"), of(Redis{Addresses: a, Password: "x"})},
		{redisOf("password: '', password_file: x"), of(Redis{Addresses: a, PasswordFile: "x"})},
		// A password is any text on one line.
		{redisOf("password: 0123"), of(Redis{Addresses: a, Password: "0123"})},
		{redisOf("password: off"), of(Redis{Addresses: a, Password: "off"})},
		{redisOf(`username: ü x, password: " !#@{}: "`), of(Redis{Addresses: a, Username: "ü x", Password: " !#@{}: "})},
		{redisOf("db: 15"), of(Redis{Addresses: a, DB: 15})},
		{redisOf("mode: sentinel, sentinel_master: m, db: 1"), of(Redis{Addresses: a, Mode: RedisSentinel, SentinelMaster: "m", DB: 1})},
		{redisOf("tls: on"), of(Redis{Addresses: a, TLS: true})},
		{redisOf("tls: on, tls_server_name: '::1'"), of(Redis{Addresses: a, TLS: true, TLSServerName: "::1"})},
		{redisOf("tls: on, tls_server_name: Redis_1"), of(Redis{Addresses: a, TLS: true, TLSServerName: "Redis_1"})},
		// The defaults that follow from other options, and their limits.
		{strings.Replace(sharedOf(only), "cache:", "cache:\n  memory: 2MiB", 1), sized(2 << 20)},
		{strings.Replace(sharedOf(only), "cache:", "cache:\n  max_object_size: 1KiB", 1), sized(1 << 10)},
		{strings.Replace(sharedOf(only), "cache:", "cache:\n  max_object_size: 64MiB", 1), sized(8 << 20)},
		{strings.Replace(sharedOf(only+"    max_object_size: 64MiB\n"), "cache:", "cache:\n  max_object_size: 64MiB", 1), sized(64 << 20)},
		{sharedOf(only + "    lease_ttl: 100ms\n"), timed(100*time.Millisecond, 30*time.Millisecond)},
		{sharedOf(only + "    timeout: 333ms\n"), timed(time.Second, 333*time.Millisecond)},
		{sharedOf(only + "    timeout: 1ms\n    lease_ttl: 1m\n"), timed(time.Minute, time.Millisecond)},
		{sharedOf(only + "    timeout: 50ms\n    lease_ttl: 150ms\n"), timed(150*time.Millisecond, 50*time.Millisecond)},
	}
	for _, tt := range tests {
		if got := mustParse(t, tt.text).Cache.Shared; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", tt.text, got, tt.want)
		}
	}
}

const sharedOptions = "redis, prefix, max_object_size, lease_ttl, timeout"

const redisOptions = "addresses, mode, sentinel_master, sentinel_username, sentinel_password, username, password, password_file, tls, tls_ca_file, tls_server_name, tls_cert_file, tls_key_file, db"

var faultyShared = []struct{ text, want string }{
	// The sections.
	{"cache: {shared: }" + rest,
		`f:1:17: cache.shared: has no value; write one, or remove the line`},
	{"cache: {shared: on}" + rest,
		`f:1:17: cache.shared: want keys and values (` + sharedOptions + `), got "on"`},
	{"cache: {shared: {}}" + rest,
		`f:1:17: cache.shared: redis is missing; write redis: {addresses: [127.0.0.1:6379]}`},
	{"cache: {shraed: {}}" + rest,
		`f:1:9: cache: unknown key "shraed"; did you mean shared?`},
	{sharedOf("    redis:\n    lease: 1s\n    ttl: 1s\n    prefixe: a\n"),
		`f:3:11: cache.shared.redis: has no value; write redis: {addresses: [127.0.0.1:6379]}
f:4:5: cache.shared: unknown key "lease"; known here: ` + sharedOptions + `
f:5:5: cache.shared: unknown key "ttl"; known here: ` + sharedOptions + `
f:6:5: cache.shared: unknown key "prefixe"; did you mean prefix?`},
	{sharedOf("    redis: ['a:1']\n"),
		`f:3:12: cache.shared.redis: want keys and values (` + redisOptions + `), got a list`},
	{sharedOf("    redis: {address: 'a:1', database: 1}\n"),
		`f:3:12: cache.shared.redis: addresses is missing; write addresses: [127.0.0.1:6379]
f:3:13: cache.shared.redis: unknown key "address"; did you mean addresses?
f:3:29: cache.shared.redis: unknown key "database"; known here: ` + redisOptions},
	// Addresses.
	{sharedOf("    redis: {addresses: }\n"),
		`f:3:24: cache.shared.redis.addresses: has no value; write addresses: [127.0.0.1:6379]`},
	{sharedOf("    redis: {addresses: []}\n"),
		`f:3:24: cache.shared.redis.addresses: is empty; write addresses: [127.0.0.1:6379]`},
	{sharedOf("    redis: {addresses: 'a:1'}\n"),
		`f:3:24: cache.shared.redis.addresses: want a list, got "a:1"`},
	{sharedOf("    redis:\n      addresses:\n        - a\n        - ~\n        - :6379\n        - a:0\n        - a:65536\n        - ::1\n        - {a: 1}\n        - /run/redis.sock\n        - ''\n"),
		`f:5:11: cache.shared.redis.addresses[0]: want host:port, got "a"; write 127.0.0.1:6379, redis.internal:6379 or unix:/run/redis.sock
f:6:11: cache.shared.redis.addresses[1]: has no value; write one, or remove the line
f:7:11: cache.shared.redis.addresses[2]: want host:port, got ":6379"; write 127.0.0.1:6379, redis.internal:6379 or unix:/run/redis.sock
f:8:11: cache.shared.redis.addresses[3]: want a port from 1 to 65535, got "a:0"
f:9:11: cache.shared.redis.addresses[4]: want a port from 1 to 65535, got "a:65536"
f:10:11: cache.shared.redis.addresses[5]: want host:port, got "::1"; write an IPv6 address in brackets and add the port, as in [::1]:8080
f:11:11: cache.shared.redis.addresses[6]: want a text, got a mapping
f:12:11: cache.shared.redis.addresses[7]: want host:port, got "/run/redis.sock"; write 127.0.0.1:6379, redis.internal:6379 or unix:/run/redis.sock
f:13:11: cache.shared.redis.addresses[8]: want host:port, got ""; write 127.0.0.1:6379, redis.internal:6379 or unix:/run/redis.sock`},
	{sharedOf("    redis:\n      addresses:\n        - redis://a:6379/0\n        - 'redis://:p/w@b:6379/0'\n        - 'me:p@ss@c:1'\n"),
		`f:5:11: cache.shared.redis.addresses[0]: want host:port, got the URL "redis://a:6379/0"; write a:6379
f:6:11: cache.shared.redis.addresses[1]: want host:port alone, got a user before it; write b:6379
f:7:11: cache.shared.redis.addresses[2]: want host:port alone, got a user before it; write c:1`},
	{sharedOf("    redis: {addresses: ['a:1', 'A:01', 'b:1', '[::1]:1', '[0::1]:1', 'a:1', 'a:2']}\n"),
		`f:3:32: cache.shared.redis.addresses[1]: a:1 is in the list already; remove one of them
f:3:58: cache.shared.redis.addresses[4]: [::1]:1 is in the list already; remove one of them
f:3:70: cache.shared.redis.addresses[5]: a:1 is in the list already; remove one of them`},
	// Modes.
	{redisOf("mode: Cluster"),
		`f:3:39: cache.shared.redis.mode: want standalone, sentinel or cluster, got "Cluster"`},
	{redisOf("mode: sentinel"),
		`f:3:39: cache.shared.redis.mode: sentinel needs the name of the master; write sentinel_master: NAME`},
	{redisOf("mode: sentinel, sentinel_master: ''"),
		`f:3:39: cache.shared.redis.mode: sentinel needs the name of the master; write sentinel_master: NAME`},
	{redisOf(`mode: sentinel, sentinel_master: "m\n"`),
		`f:3:66: cache.shared.redis.sentinel_master: want a text without control characters, got one after 1 bytes; write it on one line, without | or >`},
	{redisOf("sentinel_master: m, db: 16"),
		`f:3:50: cache.shared.redis.sentinel_master: means nothing in mode standalone; remove it or write mode: sentinel
f:3:57: cache.shared.redis.db: want 0 to 15, got 16`},
	{redisOf("mode: cluster, sentinel_master: m, db: 1"),
		`f:3:65: cache.shared.redis.sentinel_master: means nothing in mode cluster; remove it or write mode: sentinel
f:3:72: cache.shared.redis.db: a cluster has only database 0; remove it`},
	{redisOf("mode: clusters, sentinel_master: m, db: 1"),
		`f:3:39: cache.shared.redis.mode: want standalone, sentinel or cluster, got "clusters"`},
	{redisOf("mode: cluster, db: -1"),
		`f:3:52: cache.shared.redis.db: want 0 to 15, got -1`},
	{redisOf("mode: cluster, db: '1'"),
		`f:3:52: cache.shared.redis.db: want a whole number, got the text "1"; remove the quotes`},
	// Secrets are not shown.
	{redisOf("password: hush, password_file: /run/secrets/redis"),
		`f:3:64: cache.shared.redis.password_file: password is written, too; remove one of them`},
	{redisOf(`username: "a\tb", password: "hush\n", password_file: "\0", tls: on, tls_ca_file: "\x7f"`),
		`f:3:43: cache.shared.redis.username: want a text without control characters, got one after 1 bytes; write it on one line, without | or >
f:3:61: cache.shared.redis.password: want a text without control characters, got one after 4 bytes; write it on one line, without | or >
f:3:86: cache.shared.redis.password_file: want a text without control characters, got one after 0 bytes; write it on one line, without | or >
f:3:114: cache.shared.redis.tls_ca_file: want a text without control characters, got one after 0 bytes; write it on one line, without | or >`},
	{sharedOf("    redis:\n      addresses: ['a:1']\n      password: |\n        hush\n      username: ~\n"),
		`f:5:17: cache.shared.redis.password: want a text without control characters, got one after 4 bytes; write it on one line, without | or >
f:7:17: cache.shared.redis.username: has no value; write one, or remove the line`},
	{redisOf("password: [hush]"),
		`f:3:43: cache.shared.redis.password: want a text, got a list`},
	// Sockets.
	{redisOf2("unix:run/a.sock, 'unix:', unix:/run//a, unix:/run/, 'unix:/ok', 'unix:/ok'"),
		`f:3:25: cache.shared.redis.addresses[0]: want the absolute path of a socket behind unix:, in its shortest form, got "unix:run/a.sock"; write unix:/run/redis.sock
f:3:42: cache.shared.redis.addresses[1]: want the absolute path of a socket behind unix:, in its shortest form, got "unix:"; write unix:/run/redis.sock
f:3:51: cache.shared.redis.addresses[2]: want the absolute path of a socket behind unix:, in its shortest form, got "unix:/run//a"; write unix:/run/redis.sock
f:3:65: cache.shared.redis.addresses[3]: want the absolute path of a socket behind unix:, in its shortest form, got "unix:/run/"; write unix:/run/redis.sock
f:3:89: cache.shared.redis.addresses[5]: unix:/ok is in the list already; remove one of them`},
	{redisOf2("'a:1', unix:/ok], mode: cluster, x: ["),
		`f:3:32: cache.shared.redis.addresses[1]: is a socket, and mode cluster needs hosts and ports; write host:port
f:3:58: cache.shared.redis: unknown key "x"; known here: ` + redisOptions},
	{redisOf2("unix:/ok], tls: on, x: ["),
		`f:3:25: cache.shared.redis.addresses[0]: is a socket, which has no TLS; write host:port, or tls: off
f:3:45: cache.shared.redis: unknown key "x"; known here: ` + redisOptions},
	// The sentinels' login.
	{redisOf("sentinel_username: a, sentinel_password: hush"),
		`f:3:52: cache.shared.redis.sentinel_username: means nothing in mode standalone; remove it or write mode: sentinel
f:3:74: cache.shared.redis.sentinel_password: means nothing in mode standalone; remove it or write mode: sentinel`},
	// Certificates.
	{redisOf("tls_cert_file: a, tls_key_file: b"),
		`f:3:48: cache.shared.redis.tls_cert_file: means nothing without TLS; remove it or write tls: on
f:3:65: cache.shared.redis.tls_key_file: means nothing without TLS; remove it or write tls: on`},
	{redisOf("tls: on, tls_cert_file: a"),
		`f:3:57: cache.shared.redis.tls_cert_file: needs its key; write tls_key_file: PATH`},
	{redisOf("tls: on, tls_key_file: a"),
		`f:3:56: cache.shared.redis.tls_key_file: needs its certificate; write tls_cert_file: PATH`},
	// TLS.
	{redisOf("tls: yes, tls_ca_file: ca.pem"),
		`f:3:38: cache.shared.redis.tls: want on or off, got "yes"`},
	{redisOf("tls_ca_file: ca.pem, tls_server_name: a"),
		`f:3:46: cache.shared.redis.tls_ca_file: means nothing without TLS; remove it or write tls: on
f:3:71: cache.shared.redis.tls_server_name: means nothing without TLS; remove it or write tls: on`},
	{redisOf("tls: on, tls_server_name: 'a:6379'"),
		`f:3:59: cache.shared.redis.tls_server_name: want a host without a port, got "a:6379"; write a`},
	{redisOf("tls: on, tls_server_name: '*.a.b'"),
		`f:3:59: cache.shared.redis.tls_server_name: want a host name or an IP address, got "*.a.b"; write name.internal`},
	// What goes through the engine.
	{sharedOf("    redis: {addresses: ['a:1']}\n    prefix: ''\n    max_object_size: 0\n    lease_ttl: 99ms\n    timeout: 999us\n"),
		`f:4:13: cache.shared.prefix: want 1 to 64 letters, digits, '.', '_', '-', ':' and '/', got ""
f:5:22: cache.shared.max_object_size: want 1 to 1TiB, got 0
f:6:16: cache.shared.lease_ttl: want 100ms to 1m, got 99ms
f:7:14: cache.shared.timeout: want 1ms to 10s, got 999us`},
	{sharedOf("    redis: {addresses: ['a:1']}\n    prefix: 'a{b}'\n    max_object_size: 8193KiB\n    lease_ttl: 61s\n    timeout: 11s\n"),
		`f:4:13: cache.shared.prefix: want 1 to 64 letters, digits, '.', '_', '-', ':' and '/', got "a{b}"
f:5:22: cache.shared.max_object_size: is more than cache.max_object_size; write at most that
f:6:16: cache.shared.lease_ttl: want 100ms to 1m, got 61s
f:7:14: cache.shared.timeout: want 1ms to 10s, got 11s`},
	{sharedOf("    redis: {addresses: ['a:1']}\n    prefix: " + strings.Repeat("a", 65) + "\n    max_object_size: all\n    lease_ttl: off\n    timeout: 30\n"),
		`f:4:13: cache.shared.prefix: want 1 to 64 letters, digits, '.', '_', '-', ':' and '/', got "` + strings.Repeat("a", 60) + `..."
f:5:22: cache.shared.max_object_size: want a size such as 64KiB, 256MiB or 1GiB, got "all"
f:6:16: cache.shared.lease_ttl: want a duration such as 500ms, 5s or 2m, got "off"
f:7:14: cache.shared.timeout: want a duration such as 500ms, 5s or 2m, got "30"; write 30s`},
	{"cache: {memory: much, shared: {redis: {addresses: ['a:1']}, max_object_size: 9MiB}}" + rest,
		`f:1:17: cache.memory: want a size such as 64KiB, 256MiB or 1GiB, got "much"`},
	{"cache: {max_object_size: 1KiB, shared: {redis: {addresses: ['a:1']}, max_object_size: 1025}}" + rest,
		`f:1:87: cache.shared.max_object_size: is more than cache.max_object_size; write at most that`},
	{sharedOf("    redis: {addresses: ['a:1']}\n    timeout: 400ms\n"),
		`f:4:14: cache.shared.timeout: want at most a third of lease_ttl, which is 1s; write less, or lease_ttl: 1.2s`},
	{sharedOf("    redis: {addresses: ['a:1']}\n    timeout: 400ms\n    lease_ttl: soon\n"),
		`f:5:16: cache.shared.lease_ttl: want a duration such as 500ms, 5s or 2m, got "soon"`},
	{sharedOf("    redis: {addresses: ['a:1']}\n    timeout: 50ms\n    lease_ttl: 149ms\n"),
		`f:5:16: cache.shared.lease_ttl: want at least three times timeout, which is 50ms; write 150ms`},
}

func TestSharedFaults(t *testing.T) { checkFaults(t, faultyShared) }

// checkShared holds what the section of every sound file keeps to.
func checkShared(t *testing.T, cache Cache) {
	t.Helper()
	s, r := cache.Shared, cache.Shared.Redis
	if len(r.Addresses) == 0 {
		if !reflect.DeepEqual(s, Shared{}) {
			t.Errorf("half a section: %+v", s)
		}
		return
	}
	seen := make(map[string]bool)
	for _, address := range r.Addresses {
		if again, err := parseRedisAddress(address); err != nil || again != address || seen[address] {
			t.Errorf("address %q of %q: %v", address, r.Addresses, err)
		}
		seen[address] = true
	}
	switch {
	case (r.Mode == RedisSentinel) != (r.SentinelMaster != ""):
		t.Errorf("master %q in mode %s", r.SentinelMaster, r.Mode)
	case r.Mode == RedisCluster && r.DB != 0, r.DB < 0, r.DB > 15:
		t.Errorf("database %d in mode %s", r.DB, r.Mode)
	case r.Password != "" && r.PasswordFile != "":
		t.Errorf("two passwords: %+v", r)
	case r.Mode != RedisSentinel && r.SentinelUsername+r.SentinelPassword != "":
		t.Errorf("a login at no sentinels: %+v", r)
	case (r.Mode != RedisStandalone || r.TLS) && strings.Contains(strings.Join(r.Addresses, ""), "unix:"):
		t.Errorf("a socket in mode %s: %q", r.Mode, r.Addresses)
	case (r.TLSCertFile == "") != (r.TLSKeyFile == ""):
		t.Errorf("half of a certificate: %+v", r)
	case !r.TLS && r.TLSCAFile+r.TLSServerName+r.TLSCertFile != "":
		t.Errorf("half of TLS: %+v", r)
	case strings.ContainsFunc(r.SentinelMaster+r.SentinelUsername+r.SentinelPassword+r.Username+r.Password+r.PasswordFile+r.TLSCAFile+r.TLSCertFile+r.TLSKeyFile, unicode.IsControl):
		t.Errorf("control characters: %+v", r)
	case s.Prefix == "" || strings.ContainsAny(s.Prefix, "{} \n"):
		t.Errorf("prefix %q", s.Prefix)
	case s.MaxObjectSize < 1 || s.MaxObjectSize > cache.MaxObjectSize:
		t.Errorf("%d bytes of at most %d are shared", s.MaxObjectSize, cache.MaxObjectSize)
	case s.Timeout < time.Millisecond || s.LeaseTTL < 3*s.Timeout:
		t.Errorf("a lease of %v, a timeout of %v", s.LeaseTTL, s.Timeout)
	}
}
