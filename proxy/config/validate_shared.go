package config

import (
	"fmt"
	"strings"
)

func validateShared(d *decoder, c Cache) {
	const path = "cache.shared"
	s := c.Shared
	validateRedis(d, path+".redis", s.Redis)
	limit := path + ".max_object_size"
	if d.sound(limit, "cache.memory", "cache.max_object_size") && s.MaxObjectSize > c.MaxObjectSize {
		d.faultAt(limit, "is more than cache.max_object_size; write at most that")
	}
	lease, timeout := path+".lease_ttl", path+".timeout"
	if !d.sound(lease, timeout) || s.LeaseTTL >= 3*s.Timeout {
		return
	}
	if d.written(lease) {
		d.faultAt(lease, "want at least three times timeout, which is %v; write %v", s.Timeout, 3*s.Timeout)
	} else {
		d.faultAt(timeout, "want at most a third of lease_ttl, which is %v; write less, or lease_ttl: %v", s.LeaseTTL, 3*s.Timeout)
	}
}

// validateRedis wants nothing said that would have no effect. An option left
// empty says nothing.
func validateRedis(d *decoder, path string, r Redis) {
	validateDistinct(d, path+".addresses", r.Addresses)
	mode, master, db := path+".mode", path+".sentinel_master", path+".db"
	switch sound := d.sound(mode, master); {
	case sound && r.Mode == RedisSentinel && r.SentinelMaster == "":
		d.faultAt(mode, "sentinel needs the name of the master; write sentinel_master: NAME")
	case sound && r.Mode != RedisSentinel && r.SentinelMaster != "":
		d.faultAt(master, "means nothing in mode %s; remove it or write mode: sentinel", r.Mode)
	}
	for option, text := range map[string]string{".sentinel_username": r.SentinelUsername, ".sentinel_password": r.SentinelPassword} {
		if d.sound(mode) && r.Mode != RedisSentinel && text != "" {
			d.faultAt(path+option, "means nothing in mode %s; remove it or write mode: sentinel", r.Mode)
		}
	}
	for i, address := range r.Addresses {
		switch at := fmt.Sprintf("%s.addresses[%d]", path, i); {
		case !strings.HasPrefix(address, "unix:"):
		case d.sound(mode) && r.Mode != RedisStandalone:
			d.faultAt(at, "is a socket, and mode %s needs hosts and ports; write host:port", r.Mode)
		case d.sound(path+".tls") && r.TLS:
			d.faultAt(at, "is a socket, which has no TLS; write host:port, or tls: off")
		}
	}
	if d.sound(mode) && r.Mode == RedisCluster && r.DB != 0 {
		d.faultAt(db, "a cluster has only database 0; remove it")
	}
	if r.Password != "" && r.PasswordFile != "" {
		d.faultAt(path+".password_file", "password is written, too; remove one of them")
	}
	if d.sound(path+".tls") && !r.TLS {
		validateNoTLS(d, path, map[string]bool{
			".tls_ca_file": r.TLSCAFile != "", ".tls_server_name": r.TLSServerName != "",
			".tls_cert_file": r.TLSCertFile != "", ".tls_key_file": r.TLSKeyFile != "",
		})
	}
	validateKeyPair(d, path, r.TLSCertFile, r.TLSKeyFile)
}
