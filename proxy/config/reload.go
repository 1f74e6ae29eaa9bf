package config

import "strings"

// Reload says when the file is read again beside SIGHUP and the admin surface's
// word.
type Reload struct {
	// Watch reads it when it changes. A file that is written in place may be read
	// half written, which is most often at fault and changes nothing; renaming
	// another one to it is safe. Off is for who would rather say when. Default on.
	Watch bool `yaml:"watch" default:"on"`
}

// effect is what it takes for a change to count.
type effect bool

const (
	live    effect = false
	restart effect = true
)

// effects says of each option, or of all below it, whether a running process can
// take another value. What a process is made of cannot: its sockets, and what is
// laid out in memory at the beginning. A * is any element. The longest path that
// an option is at or below counts.
var effects = map[string]effect{
	"listen":                        restart,
	"listeners":                     restart,
	"listeners.*.tls":               live,
	"listeners.*.hsts":              live,
	"listeners.*.h2c":               live,
	"listeners.*.redirect_to_https": live,
	"listeners.*.proxy_protocol":    live,

	"admin":            restart,
	"log.level":        live,
	"log.format":       restart,
	"access_log":       live,
	"reload":           live,
	"shutdown_timeout": live,
	"upgrade_timeout":  live,

	"server.idle_timeout":               live,
	"server.head_timeout":               live,
	"server.read_timeout":               live,
	"server.write_timeout":              live,
	"server.request_timeout":            live,
	"server.max_head_size":              live,
	"server.max_target_size":            live,
	"server.max_header_fields":          live,
	"server.max_body_size":              live,
	"server.max_connections":            live,
	"server.max_connections_per_client": live,
	"server.max_streams":                live,
	"server.max_requests":               live,
	"server.trusted_proxies":            live,
	"server.request_id":                 live,
	"server.max_tunnels":                live,
	"server.tunnel_timeout":             live,
	"server.tunnel_grace":               live,

	"cache.memory":          restart,
	"cache.max_object_size": live,
	"cache.wait_timeout":    live,
	"cache.uncacheable_ttl": live,
	"cache.max_waiters":     live,
	"cache.max_fills":       live,
	"cache.index_entries":   restart,
	"cache.max_variants":    live,
	"cache.max_tags":        live,
	"cache.snapshot":        restart,
	"cache.shared":          restart,

	"upstreams": live,
	"routes":    live,
}

// effectOf returns what it takes for a change of the option at a path whose
// elements are *. One that the table does not know needs a restart.
func effectOf(path string) effect {
	for path != "" {
		if e, ok := effects[path]; ok {
			return e
		}
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	return restart
}
