package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Resolver looks names up, as a net.Resolver does. It must give up when ctx is
// done, and be safe for concurrent use.
type Resolver interface {
	// LookupNetIP returns the addresses of host; network is "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LookupSRV returns the SRV records of name; service and proto are "".
	// Records beside an error are used.
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

const (
	// maxLookups bounds the questions that wait for an answer at a time.
	maxLookups = 8
	// maxTimeout bounds the wait for one answer, if Options.Resolve is longer.
	maxTimeout = 5 * time.Second
)

// lookup asks a Resolver, a few questions at a time and each for a limited
// time.
type lookup struct {
	resolver Resolver
	timeout  time.Duration
	slots    chan struct{} // of maxLookups
}

// ask returns the answer to q; last is the one before. An error beside an
// answer tells what is missing in it; without one, nothing is known.
func (l lookup) ask(ctx context.Context, q query, last answer) (answer, error) {
	if q.service {
		return l.service(ctx, q.name, last)
	}
	addrs, err := l.host(ctx, q.name)
	if err != nil {
		return nil, err
	}
	return answer{{host: q.name, addrs: addrs}}, nil
}

// limited calls f in its turn, with a context that ends at the timeout.
func (l lookup) limited(ctx context.Context, f func(context.Context) error) error {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return f(ctx)
}

// host returns the addresses of a host, at least one.
func (l lookup) host(ctx context.Context, name string) (addrs []netip.Addr, err error) {
	err = l.limited(ctx, func(ctx context.Context) error {
		addrs, err = l.resolver.LookupNetIP(ctx, "ip", name)
		return err
	})
	if err == nil && len(addrs) == 0 {
		err = errors.New("no addresses")
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	// The slice may be the resolver's own.
	addrs = slices.Clone(addrs)
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	return addrs, nil
}

// service returns the targets of a service with their addresses. A target that
// cannot be looked up keeps those it had.
func (l lookup) service(ctx context.Context, name string, last answer) (answer, error) {
	var records []*net.SRV
	err := l.limited(ctx, func(ctx context.Context) (err error) {
		_, records, err = l.resolver.LookupSRV(ctx, "", "", name)
		return err
	})
	if err != nil {
		err = fmt.Errorf("look up the service %s: %w", name, err)
	}
	targets := preferred(records)
	if len(targets) == 0 {
		return nil, cmp.Or(err, fmt.Errorf("look up the service %s: no targets", name))
	}
	found, failed := l.hosts(ctx, targets)
	err = cmp.Or(err, failed)
	usable := false
	for i, t := range targets {
		targets[i].addrs = found[t.host]
		if targets[i].addrs == nil {
			targets[i].addrs = addressesOf(last, t.host)
		}
		usable = usable || targets[i].addrs != nil
	}
	if !usable {
		return nil, err
	}
	return targets, err
}

// preferred returns the targets of the two most preferred priorities in an
// order of their own: the resolver shuffles. A target of "." says that the
// service is not offered (RFC 2782).
func preferred(records []*net.SRV) answer {
	var targets answer
	for _, r := range records {
		if r.Target != "." && r.Target != "" && r.Port != 0 {
			targets = append(targets, target{host: r.Target, port: r.Port, priority: r.Priority, weight: r.Weight})
		}
	}
	slices.SortFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.host, b.host),
			cmp.Compare(a.port, b.port), cmp.Compare(b.weight, a.weight))
	})
	first, second := 0, math.MaxInt
	for i, t := range targets {
		switch p := int(t.priority); {
		case i == 0:
			first = p
		case p > second:
			return targets[:i]
		case p > first:
			second = p
		}
	}
	return targets
}

// hosts looks up the hosts of all targets, each once. The error is that of the
// first target that failed.
func (l lookup) hosts(ctx context.Context, targets answer) (map[string][]netip.Addr, error) {
	type result struct {
		addrs []netip.Addr
		err   error
	}
	results := make(map[string]*result, len(targets))
	var asking sync.WaitGroup
	for _, t := range targets {
		if results[t.host] != nil {
			continue
		}
		r := new(result)
		results[t.host] = r
		asking.Go(func() { r.addrs, r.err = l.host(ctx, t.host) })
	}
	asking.Wait()
	found := make(map[string][]netip.Addr, len(results))
	var err error
	for _, t := range targets {
		r := results[t.host]
		found[t.host], err = r.addrs, cmp.Or(err, r.err)
	}
	return found, err
}

// addressesOf returns the addresses that host has in an answer.
func addressesOf(a answer, host string) []netip.Addr {
	for _, t := range a {
		if t.host == host {
			return t.addrs
		}
	}
	return nil
}
