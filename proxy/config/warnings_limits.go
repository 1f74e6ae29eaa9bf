package config

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// contradicts warns of an option that another one makes meaningless, if it is
// written: a default that gives way to what is written is what was meant.
func (w *warner) contradicts(path, format string, args ...any) {
	if _, written := w.doc.places[path]; written {
		w.warn(WarnContradiction, path, format, args...)
	}
}

// limits warns of bounds that others make meaningless.
func (w *warner) limits(c Config) {
	s := c.Server
	if s.MaxTargetSize >= s.MaxHeadSize {
		w.contradicts("server.max_target_size", "is not less than server.max_head_size, which is %d and bounds the target as well", s.MaxHeadSize)
	}
	if s.RequestTimeout > 0 && s.RequestTimeout < s.HeadTimeout {
		w.contradicts("server.request_timeout", "is less than server.head_timeout, which is %v: the head is a part of the request", s.HeadTimeout)
	}
	if s.MaxConnectionsPerClient > s.MaxConnections {
		w.contradicts("server.max_connections_per_client", "is more than server.max_connections, which is %d", s.MaxConnections)
	}
	if c.Cache.MaxObjectSize > c.Cache.Memory/2 && c.anyCaches() {
		w.contradicts("cache.max_object_size", "is more than half of cache.memory, which is %d: one such object leaves no room for others", c.Cache.Memory)
	}
	if c.Cache.MaxWaiters > s.MaxRequests {
		w.contradicts("cache.max_waiters", "is more than server.max_requests, which is %d and counts those who wait", s.MaxRequests)
	}
	if lead := c.leadTimeout(); c.Cache.WaitTimeout > lead && c.anyCaches() {
		w.contradicts("cache.wait_timeout", "is more than all attempts at any upstream may take, which is %v: no request waits for so long", lead)
	}
	for i, r := range c.Routes {
		w.stale(routePath(i), r)
	}
}

func (c Config) anyCaches() bool {
	return slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Cache != CacheOff })
}

// stale warns of windows in which hardly anything is left to be served.
func (w *warner) stale(path string, r Route) {
	if r.DefaultTTL > 0 && r.HeuristicMax > 0 && r.HeuristicMax < r.DefaultTTL {
		w.contradicts(path+".heuristic_max", "is less than default_ttl, which is %v: what was changed long ago is fresh for less time than what says nothing", r.DefaultTTL)
	}
	for _, status := range slices.Sorted(maps.Keys(r.NegativeTTL)) {
		if ttl := r.NegativeTTL[status]; r.DefaultTTL > 0 && ttl > r.DefaultTTL {
			w.contradicts(path+".negative_ttl", "errors are fresh for %v, and good answers for default_ttl, which is %v", ttl, r.DefaultTTL)
			return
		}
	}
}

// upstreams warns of timeouts of which the one is never reached for the other.
func (w *warner) upstreams(c Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u, path := c.Upstreams[name], join("upstreams", name)
		whole := c.Server.RequestTimeout
		for _, t := range []struct {
			option string
			wait   time.Duration
		}{
			{".connect_timeout", u.ConnectTimeout}, {".response_timeout", u.ResponseTimeout}, {".read_timeout", u.ReadTimeout},
			{".queue.timeout", u.Queue.Timeout},
		} {
			if whole > 0 && t.wait > whole {
				w.contradicts(path+t.option, "is more than server.request_timeout, which is %v and ends the request before", whole)
			}
		}
		if u.Retry.PerTryTimeout > 0 && u.Retry.Attempts == 1 {
			w.contradicts(path+".retry.per_try_timeout", "means nothing with attempts: 1; write attempts: 2 or more, or remove it")
		}
		if n := c.Server.MaxBodySize; n > 0 && u.Retry.MaxBody > n {
			w.contradicts(path+".retry.max_body", "is more than server.max_body_size, which is %d", n)
		}
		if u.HealthCheck.Type != CheckNone && u.HealthCheck.Timeout > u.ResponseTimeout {
			w.contradicts(path+".health_check.timeout", "is more than response_timeout, which is %v: a server that is too slow for requests passes its checks", u.ResponseTimeout)
		}
	}
}

// leadTimeout is how long a request may go without a head, over all attempts, at the
// most patient upstream.
func (c Config) leadTimeout() (longest time.Duration) {
	for _, u := range c.Upstreams {
		attempt := u.Queue.Timeout + u.ConnectTimeout + u.Retry.PerTryTimeout
		longest = max(longest, u.ResponseTimeout+u.WriteTimeout+time.Duration(u.Retry.Attempts)*attempt)
	}
	return longest
}

// engine warns of one that whoever reaches it can write answers into.
func (w *warner) engine(r Redis) {
	if r.Password != "" || r.PasswordFile != "" || r.TLSCertFile != "" {
		return
	}
	const path = "cache.shared.redis"
	for _, address := range r.Addresses {
		if !strings.HasPrefix(address, "unix:") && !isLoopback(address) {
			w.warn(WarnOpenEngine, path+".addresses", "%s is on another host and asks for no password: whoever reaches it can change what clients get; write password_file", address)
			return
		}
	}
}

// token warns of one that others can listen to.
func (w *warner) token(a Admin) {
	if a.Listen == "" || strings.HasPrefix(a.Listen, "unix:") || isLoopback(a.Listen) || a.TLS.CertFile != "" {
		return
	}
	if a.Token != "" || a.TokenFile != "" {
		w.warn(WarnClearToken, "admin.listen", "the token goes over the network in clear; write tls with cert_file and key_file, or listen: 127.0.0.1:9901")
	}
}
