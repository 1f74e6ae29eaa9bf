package config

import (
	"fmt"
	"slices"
)

// derive fills in the defaults that follow from other options.
func derive(d *decoder, c *Config) {
	deriveListeners(d, c)
	if !d.written("cache.max_object_size") {
		c.Cache.MaxObjectSize = min(c.Cache.MaxObjectSize, c.Cache.Memory)
	}
	if shared := &c.Cache.Shared; !d.written("cache.shared.max_object_size") {
		shared.MaxObjectSize = min(shared.MaxObjectSize, c.Cache.MaxObjectSize)
	}
	if !d.written("server.tunnel_grace") {
		c.Server.TunnelGrace = min(c.Server.TunnelGrace, c.ShutdownTimeout)
	}
	for name, u := range c.Upstreams {
		c.Upstreams[name] = deriveUpstream(d, join("upstreams", name), u)
	}
	for i := range c.Routes {
		if limit := &c.Routes[i].RangeFillLimit; !d.written(routePath(i) + ".range_fill_limit") {
			*limit = min(*limit, c.Cache.MaxObjectSize)
		}
	}
}

// validate checks what no value can show by itself. What already has a fault
// is not judged again.
func validate(d *decoder, c Config) {
	validateListeners(d, c)
	validateAdmin(d, c.Admin)
	if d.sound("shutdown_timeout", "server.tunnel_grace") && c.Server.TunnelGrace > c.ShutdownTimeout {
		d.faultAt("server.tunnel_grace", "is more than shutdown_timeout; write at most that")
	}
	if d.sound("cache.memory", "cache.max_object_size") && c.Cache.MaxObjectSize > c.Cache.Memory {
		d.faultAt("cache.max_object_size", "is more than cache.memory; write at most that")
	}
	validateAccessLog(d, c.AccessLog)
	validateDistinct(d, "server.trusted_proxies", c.Server.TrustedProxies)
	validateShared(d, c.Cache)
	for name, u := range c.Upstreams {
		validateUpstream(d, join("upstreams", name), u)
	}
	validateRoutes(d, c)
}

func (d *decoder) written(path string) bool {
	_, ok := d.places[path]
	return ok
}

// sound reports whether no fault was found so far at any of the paths or below.
func (d *decoder) sound(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool { return d.faulty[path] })
}

// faultAt records a fault of a value that was written.
func (d *decoder) faultAt(path, format string, args ...any) {
	d.fault(path, d.places[path], format, args...)
}

// atLine names the line of the value at path, where there are lines.
func (d *decoder) atLine(path string) string {
	if n := d.places[path].line; n > 0 {
		return fmt.Sprintf(" at line %d", n)
	}
	return ""
}
