package upstream

import (
	"fmt"
	"reflect"

	"ringfence/health"
	"ringfence/proxy/histogram"
	"ringfence/proxy/wire"
)

// plan is what a pool goes by: its options, and what follows from them. A request
// keeps the one of the set that it began with, so what counts requests or learns
// from them is part of it. The rest is immutable.
type plan struct {
	o         Options
	limits    terms
	server    serverOptions // of all servers
	bufs      *buffers
	budget    *budget
	limiter   *health.Limiter      // nil: none
	latencies *latencies           // nil: nothing is hedged
	took      *histogram.Histogram // what [Stats].Took is of; one for all plans of a pool
}

// minHead is the least that Options.MaxHeadSize may be.
const minHead = 256

func newPlan(o Options) (p *plan, err error) {
	if o.MaxHeadSize < minHead {
		return nil, fmt.Errorf("response heads of %d bytes are too small, at least %d are needed", o.MaxHeadSize, minHead)
	}
	if o.Retry.Attempts < 1 || o.Retry.Attempts > maxAttempts {
		return nil, fmt.Errorf("%d attempts are not within 1 to %d", o.Retry.Attempts, maxAttempts)
	}
	p = &plan{
		o: o, bufs: newBuffers(o.MaxHeadSize), took: new(histogram.Histogram),
		limits: terms{response: o.ResponseTimeout, read: o.ReadTimeout, write: o.WriteTimeout, failures: o.FailureStatuses},
		budget: &budget{part: o.Retry.Budget, least: o.Retry.BudgetMin},
		server: serverOptions{
			proxy: o.ProxyProtocol, connectTimeout: o.ConnectTimeout, idleTimeout: o.IdleTimeout, maxIdle: o.MaxIdle,
			maxConnections: o.MaxConnections, maxRequests: o.MaxRequests, queueSize: o.QueueSize, queueTimeout: o.QueueTimeout,
		},
	}
	if o.TLS != nil {
		if p.server.tls, err = newTLS(*o.TLS); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	if o.HedgePercentile > 0 {
		p.latencies = &latencies{share: float64(o.HedgePercentile) / 100}
	}
	if o.Concurrency != nil {
		if p.limiter, err = health.NewLimiter(*o.Concurrency); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// health is how the members are judged.
func (p *plan) health() health.Options {
	o := health.Options{Ejection: p.o.Ejection, SlowStart: p.o.SlowStart}
	if p.o.Check == nil {
		return o
	}
	check := *p.o.Check
	switch check.Kind {
	case health.HTTPS, health.TLS:
		check.TLS = p.server.tls
	case health.HTTP, health.TCP:
	}
	if check.Port == 0 {
		check.Preamble = wire.AppendProxyHeader(nil, p.o.ProxyProtocol, wire.ProxyHeader{})
	}
	o.Check = &check
	return o
}

// inherit takes over from the plan of before what has counted or learnt something
// by options that are the same, and the TLS configuration by which servers know
// that they are.
func (p *plan) inherit(old *plan) {
	p.took = old.took
	if reflect.DeepEqual(p.o.TLS, old.o.TLS) {
		p.server.tls = old.server.tls
	}
	if p.o.MaxHeadSize == old.o.MaxHeadSize {
		p.bufs = old.bufs
	}
	if p.o.Retry.Budget == old.o.Retry.Budget && p.o.Retry.BudgetMin == old.o.Retry.BudgetMin {
		p.budget = old.budget
	}
	if p.o.HedgePercentile == old.o.HedgePercentile {
		p.latencies = old.latencies
	}
	if reflect.DeepEqual(p.o.Concurrency, old.o.Concurrency) {
		p.limiter = old.limiter
	}
}
