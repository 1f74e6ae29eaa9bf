package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"ringfence/proxy/config"
	"ringfence/singleflight/redis"
)

// sharedOf turns the configuration of what the fleet shares into the engine's,
// or nil where there is none. It reads the files that are named there.
func sharedOf(c config.Shared) (*redis.Options, error) {
	if len(c.Redis.Addresses) == 0 {
		return nil, nil
	}
	o := &redis.Options{
		Addresses: c.Redis.Addresses,
		Username:  c.Redis.Username,
		Password:  c.Redis.Password,
		DB:        c.Redis.DB,
		Prefix:    c.Prefix,
		MaxObject: int64(c.MaxObjectSize),
		LeaseTTL:  c.LeaseTTL,
		Timeout:   c.Timeout,

		SentinelMaster:   c.Redis.SentinelMaster,
		SentinelUsername: c.Redis.SentinelUsername,
		SentinelPassword: c.Redis.SentinelPassword,
	}
	switch c.Redis.Mode {
	case config.RedisStandalone:
		o.Mode = redis.Standalone
	case config.RedisSentinel:
		o.Mode = redis.Sentinel
	case config.RedisCluster:
		o.Mode = redis.Cluster
	}
	if c.Redis.PasswordFile != "" {
		var err error
		if o.Password, err = firstLine(c.Redis.PasswordFile); err != nil {
			return nil, fmt.Errorf("cache.shared.redis.password_file: %w", err)
		}
	}
	var err error
	o.TLS, err = tlsOf(c.Redis)
	return o, err
}

// tlsOf returns nil where connections are in the clear.
func tlsOf(c config.Redis) (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLSServerName}
	if c.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		if err != nil {
			return nil, fmt.Errorf("cache.shared.redis.tls_cert_file and tls_key_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	if c.TLSCAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.TLSCAFile)
	if err != nil {
		return nil, fmt.Errorf("cache.shared.redis.tls_ca_file: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cache.shared.redis.tls_ca_file: %s holds no certificate in PEM form", c.TLSCAFile)
	}
	return t, nil
}
