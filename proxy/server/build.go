package server

import (
	"log/slog"
	"time"

	"ringfence/proxy"
	"ringfence/proxy/config"
	"ringfence/proxy/upstream"
)

// handlerOptions turns the configuration of the routes and the cache into the
// handler's.
func handlerOptions(cfg config.Config, pools map[string]*upstream.Pool, log *slog.Logger) (proxy.Options, error) {
	o := proxy.Options{
		Memory:         int64(cfg.Cache.Memory),
		MaxObject:      int64(cfg.Cache.MaxObjectSize),
		IndexEntries:   cfg.Cache.IndexEntries,
		WaitTimeout:    cfg.Cache.WaitTimeout,
		MaxWaiters:     cfg.Cache.MaxWaiters,
		MaxFills:       cfg.Cache.MaxFills,
		MaxVariants:    cfg.Cache.MaxVariants,
		MaxRequests:    cfg.Server.MaxRequests,
		UncacheableTTL: cfg.Cache.UncacheableTTL,
		TrustedProxies: cfg.Server.TrustedProxies,
		RequestID:      cfg.Server.RequestID,
		MaxTunnels:     cfg.Server.MaxTunnels,
		TunnelTimeout:  cfg.Server.TunnelTimeout,
		TunnelGrace:    cfg.Server.TunnelGrace,
		Log:            log,
	}
	shared, err := sharedOf(cfg.Cache.Shared)
	if err != nil {
		return o, err
	}
	o.Shared = shared
	for _, r := range cfg.Routes {
		route, err := routeOf(r, cfg, pools)
		if err != nil {
			return o, err
		}
		o.Routes = append(o.Routes, route)
	}
	for _, u := range cfg.Upstreams {
		// A leader may go through every attempt: each may take its time in the
		// queue, a connect timeout and its wait for the head.
		lead := u.ResponseTimeout + u.WriteTimeout
		for range u.Retry.Attempts {
			lead += u.Queue.Timeout + u.ConnectTimeout + u.Retry.PerTryTimeout
		}
		o.LeadTimeout = max(o.LeadTimeout, lead)
		// The upstream's silence is the pool's to end: this is a moment more.
		o.FillTimeout = max(o.FillTimeout, u.ReadTimeout+time.Second, cfg.Server.WriteTimeout)
	}
	return o, nil
}
