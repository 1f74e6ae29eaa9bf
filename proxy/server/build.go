package server

import (
	"log/slog"
	"time"

	"ringfence/health"
	"ringfence/proxy"
	"ringfence/proxy/config"
	"ringfence/proxy/upstream"
)

// newPools builds a pool for each upstream.
func newPools(cfg config.Config, log *slog.Logger) (map[string]*upstream.Pool, error) {
	pools := make(map[string]*upstream.Pool, len(cfg.Upstreams))
	for name, u := range cfg.Upstreams {
		pool, err := upstream.New(poolOptions(name, u, log))
		if err != nil {
			return nil, err
		}
		pools[name] = pool
	}
	return pools, nil
}

func poolOptions(name string, u config.Upstream, log *slog.Logger) upstream.Options {
	o := upstream.Options{
		Name:            name,
		ConnectTimeout:  u.ConnectTimeout,
		ResponseTimeout: u.ResponseTimeout,
		ReadTimeout:     u.ReadTimeout,
		WriteTimeout:    u.WriteTimeout,
		IdleTimeout:     u.IdleTimeout,
		MaxConnections:  u.MaxConnections,
		MaxHeadSize:     int(u.MaxHeadSize),
		Attempts:        u.Attempts,
		Check:           checkOf(u.HealthCheck),
		Log:             log,
	}
	if u.Balance == config.BalanceKetama {
		o.Balance = upstream.Ketama
	}
	for _, m := range u.Servers {
		o.Servers = append(o.Servers, upstream.Server{ID: m.ID, Address: m.Address, Weight: m.Weight})
	}
	return o
}

// checkOf returns the health check, or nil for none.
func checkOf(c config.HealthCheck) *health.Check {
	check := &health.Check{
		Path: c.Path, Host: c.Host, Interval: c.Interval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall,
	}
	switch c.Type {
	case config.CheckNone:
		return nil
	case config.CheckTCP:
		check.Kind = health.TCP
	case config.CheckHTTP:
		check.Kind = health.HTTP
	}
	return check
}

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
		UncacheableTTL: cfg.Cache.UncacheableTTL,
		ReadTimeout:    cfg.Server.ReadTimeout,
		WriteTimeout:   cfg.Server.WriteTimeout,
		Log:            log,
	}
	shared, err := sharedOf(cfg.Cache.Shared)
	if err != nil {
		return o, err
	}
	o.Shared = shared
	for _, r := range cfg.Routes {
		route, err := routeOf(r, cfg.Cache, pools)
		if err != nil {
			return o, err
		}
		o.Routes = append(o.Routes, route)
	}
	for _, u := range cfg.Upstreams {
		// A leader may go through every attempt: each may take a connect
		// timeout, and the last one the wait for the head.
		lead := u.ResponseTimeout + u.WriteTimeout
		for range u.Attempts {
			lead += u.ConnectTimeout
		}
		o.LeadTimeout = max(o.LeadTimeout, lead)
		// The upstream's silence is the pool's to end: this is a moment more.
		o.FillTimeout = max(o.FillTimeout, u.ReadTimeout+time.Second, cfg.Server.WriteTimeout)
	}
	return o, nil
}
