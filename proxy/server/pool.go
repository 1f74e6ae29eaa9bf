package server

import (
	"fmt"
	"log/slog"
	"net/http"

	"ringfence/health"
	"ringfence/proxy/config"
	"ringfence/proxy/upstream"
	"ringfence/proxy/upstream/discover"
	"ringfence/proxy/wire"
)

// newPools builds a pool for each upstream, and says what was in the files of
// their TLS.
func newPools(cfg config.Config, log *slog.Logger) (pools map[string]*upstream.Pool, tls map[string]*upstream.TLSOptions, err error) {
	pools, tls = make(map[string]*upstream.Pool), make(map[string]*upstream.TLSOptions)
	for name, u := range cfg.Upstreams {
		o, err := poolOptions(name, u, log)
		if err != nil {
			return nil, nil, err
		}
		if pools[name], err = upstream.New(o); err != nil {
			return nil, nil, err
		}
		tls[name] = o.TLS
	}
	return pools, tls, nil
}

func poolOptions(name string, u config.Upstream, log *slog.Logger) (upstream.Options, error) {
	o := upstream.Options{
		Name:            name,
		Balance:         balanceOf(u.Balance),
		BalanceFactor:   u.BalanceFactor,
		Discover:        discoveryOf(u),
		Check:           checkOf(u),
		Ejection:        ejectionOf(u.Ejection),
		FailureStatuses: u.Ejection.Statuses,
		SlowStart:       u.SlowStart,
		PanicPercent:    u.PanicThreshold,
		Retry:           retryOf(u.Retry),
		HedgePercentile: u.HedgePercentile,
		ConnectTimeout:  u.ConnectTimeout,
		ResponseTimeout: u.ResponseTimeout,
		ReadTimeout:     u.ReadTimeout,
		WriteTimeout:    u.WriteTimeout,
		MaxHeadSize:     int(u.MaxHeadSize),
		IdleTimeout:     u.IdleTimeout,
		MaxIdle:         u.MaxIdleConnections,
		MaxConnections:  u.MaxConnections,
		MaxRequests:     u.MaxRequests,
		QueueSize:       u.Queue.Size,
		QueueTimeout:    u.Queue.Timeout,
		Log:             log,
	}
	switch u.ProxyProtocol {
	case config.ProxyProtocolOff:
	case config.ProxyProtocolV1:
		o.ProxyProtocol = wire.ProxyV1
	case config.ProxyProtocolV2:
		o.ProxyProtocol = wire.ProxyV2
	}
	if c := u.AdaptiveConcurrency; c.Max > 0 {
		o.Concurrency = &health.Limits{Min: c.Min, Max: c.Max}
	}
	if u.TLS {
		t, err := serverTLSOf(u)
		if err != nil {
			return o, fmt.Errorf("upstream %s: %w", name, err)
		}
		o.TLS = &t
	}
	return o, nil
}

func balanceOf(b config.Balance) upstream.Balance {
	switch b {
	case config.BalanceKetama:
		return upstream.Ketama
	case config.BalanceLeastRequests:
		return upstream.LeastRequests
	case config.BalanceRoundRobin:
		return upstream.RoundRobin
	case config.BalanceRandom:
		return upstream.Random
	default:
		return upstream.Hash
	}
}

func discoveryOf(u config.Upstream) discover.Options {
	return discover.Options{
		Entries: entriesOf(u.Servers), File: u.ServersFile, Resolve: u.Resolve,
		Load: func(path string) ([]discover.Entry, error) {
			members, err := config.LoadServers(path)
			return entriesOf(members), err
		},
	}
}

func entriesOf(members []config.Member) []discover.Entry {
	entries := make([]discover.Entry, len(members))
	for i, m := range members {
		entries[i] = discover.Entry{
			Address: m.Address, SRV: m.SRV, ID: m.ID, Weight: m.Weight, Backup: m.Backup, MaxRequests: m.MaxRequests,
		}
	}
	return entries
}

func retryOf(r config.Retry) upstream.Retry {
	out := upstream.Retry{
		Attempts: r.Attempts, PerTry: r.PerTryTimeout, Budget: float64(r.Budget) / 100, BudgetMin: r.BudgetMin, MaxBody: int64(r.MaxBody),
	}
	for _, cause := range r.On {
		switch cause.Failure {
		case config.FailureConnect:
			out.Connect = true
		case config.FailureReset:
			out.Reset = true
		case config.FailureTimeout:
			out.Timeout = true
		default:
			out.Statuses = append(out.Statuses, cause.Status)
		}
	}
	return out
}

func ejectionOf(e config.Ejection) health.Ejection {
	return health.Ejection{
		Consecutive: e.ConsecutiveFailures, FailurePercent: e.FailurePercentage, LatencyFactor: e.LatencyFactor,
		MinRequests: e.MinRequests, Window: e.Window, Base: e.BaseTime, Max: e.MaxTime, MaxEjected: e.MaxEjected,
	}
}

// serverTLSOf reads the files that the options name.
func serverTLSOf(u config.Upstream) (o upstream.TLSOptions, err error) {
	o = upstream.TLSOptions{ServerName: u.TLSServerName, Insecure: u.TLSInsecure}
	for _, f := range []struct {
		path string
		to   *upstream.PEM
	}{{u.TLSCAFile, &o.CA}, {u.TLSCertFile, &o.Certificate}, {u.TLSKeyFile, &o.Key}} {
		if f.path == "" {
			continue
		}
		if *f.to, err = upstream.ReadPEM(f.path); err != nil {
			return o, err
		}
	}
	return o, nil
}

// checkOf returns the health check, or nil for none.
func checkOf(u config.Upstream) *health.Check {
	c := u.HealthCheck
	check := &health.Check{
		Port: c.Port, Interval: c.Interval, FastInterval: c.FastInterval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall,
	}
	switch c.Type {
	case config.CheckNone:
		return nil
	case config.CheckTCP:
		check.Kind = health.TCP
	case config.CheckTLS:
		check.Kind = health.TLS
	case config.CheckHTTP:
		check.Kind = health.HTTP
		if u.TLS {
			check.Kind = health.HTTPS
		}
		check.Method, check.Path, check.Host, check.Contains = c.Method, c.Path, c.Host, c.Body
		check.Header = make(http.Header, len(c.Headers))
		for name, value := range c.Headers {
			check.Header.Set(name, value)
		}
		for _, s := range c.Statuses {
			r := health.StatusRange{First: int(s), Last: int(s)}
			if s < 10 {
				r = health.StatusRange{First: int(s) * 100, Last: int(s)*100 + 99}
			}
			check.Statuses = append(check.Statuses, r)
		}
	}
	return check
}
