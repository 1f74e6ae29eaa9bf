package server

import (
	"context"
	"reflect"
	"slices"

	"ringfence/proxy"
	"ringfence/proxy/accesslog"
	"ringfence/proxy/config"
	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
	"ringfence/singleflight/redis"
)

// running is what a reload replaces. It is immutable.
type running struct {
	cfg    config.Config
	hash   string // of the file's text; "" without a file
	pools  map[string]*upstream.Pool
	tls    map[string]*upstream.TLSOptions // of the pools; what their files held
	shared *redis.Options                  // nil for an instance by itself; of the start
	access *accesslog.Log                  // nil without one
	h2     *edge.H2
}

// change is all that takes the place of what runs. Nothing of it runs yet.
type change struct {
	next      *running
	opts      proxy.Options
	entrances []*entrance
	changed   map[string]*upstream.Change // pools that go on by other options
	fresh     []string                    // pools that are new
}

// prepare builds what a configuration changes of what runs now. Nothing is started,
// and nothing changes; what may be left behind of an error is an empty access log.
func (s *Server) prepare(was *running, doc config.Document) (c *change, err error) {
	next := *was
	next.cfg, next.hash = doc.Config, doc.Hash
	c = &change{next: &next}
	if err := s.preparePools(was, c); err != nil {
		return nil, err
	}
	if c.opts, err = handlerOptions(next.cfg, next.pools, s.log); err != nil {
		return nil, err
	}
	limits := limitsOf(next.cfg.Server)
	for i, e := range s.entrances {
		n, err := e.with(next.cfg.Listeners[i], limits, s.log)
		if err != nil {
			return nil, entranceError(i, n.cfg, err)
		}
		c.entrances = append(c.entrances, n)
	}
	if limits != limitsOf(was.cfg.Server) || next.cfg.Server.MaxStreams != was.cfg.Server.MaxStreams {
		next.h2 = s.newH2(next.cfg.Server)
	}
	if next.cfg.AccessLog != was.cfg.AccessLog {
		if next.access, err = newAccessLog(next.cfg.AccessLog, s.log); err != nil {
			return nil, err
		}
	}
	c.opts.AccessLog = next.access
	return c, nil
}

// preparePools builds the pools that are new, and the changes of those that stay.
func (s *Server) preparePools(was *running, c *change) error {
	c.next.pools, c.next.tls = make(map[string]*upstream.Pool), make(map[string]*upstream.TLSOptions)
	c.changed = make(map[string]*upstream.Change)
	for name, u := range c.next.cfg.Upstreams {
		o, err := poolOptions(name, u, s.log)
		if err != nil {
			return err
		}
		p := was.pools[name]
		switch {
		case p == nil:
			if p, err = upstream.New(o); err != nil {
				return err
			}
			c.fresh = append(c.fresh, name)
		case reflect.DeepEqual(u, was.cfg.Upstreams[name]) && reflect.DeepEqual(o.TLS, was.tls[name]):
		default:
			if c.changed[name], err = p.Change(o); err != nil {
				return err
			}
		}
		c.next.pools[name], c.next.tls[name] = p, o.TLS
	}
	return nil
}

// isNothing reports whether what runs is what is wanted.
func (c *change) isNothing(changes []config.Change) bool {
	return len(changes) == 0 && len(c.changed) == 0
}

// apply starts what is new, has requests from now on go by it, and stops what is
// gone. The names of new servers are waited for, and their checks where that is
// wanted, as at the start. Requests under way go on with what they began with.
func (s *Server) apply(ctx context.Context, was *running, c *change) {
	s.begin(ctx, was, c)
	for _, p := range c.changed {
		if err := p.Apply(); err != nil {
			s.log.Error("an upstream goes on as before", "error", err)
		}
	}
	s.handler.Reload(c.opts)
	s.door.SetCapacity(capacityOf(c.next.cfg.Server))
	for i, e := range c.entrances {
		e.listener.Reconfigure(e.opts)
		c.entrances[i], *s.entrances[i] = &entrance{certs: s.entrances[i].certs}, *e
	}
	if s.reloads.level != nil {
		s.reloads.level.Set(c.next.cfg.Log.Level)
	}
	s.now.Store(c.next)
	s.end(was, c)
}

// begin starts what is new.
func (s *Server) begin(ctx context.Context, was *running, c *change) {
	ctx, cancel := context.WithTimeout(ctx, maxFirst)
	defer cancel()
	for _, name := range c.fresh {
		c.next.pools[name].Start()
	}
	for _, p := range c.changed {
		p.Start(ctx)
	}
	for _, name := range c.fresh {
		s.awaitServersOf(ctx, c.next.pools[name], c.next.cfg.Upstreams[name])
	}
	for i, e := range c.entrances {
		if e.certs != nil && e.certs != s.entrances[i].certs {
			e.certs.Start()
		}
	}
	if c.next.access != nil && c.next.access != was.access {
		c.next.access.Start()
	}
}

// end stops what is gone. Connections of HTTP/2 stay with those who serve them.
func (s *Server) end(was *running, c *change) {
	for name, p := range was.pools {
		if c.next.pools[name] != p {
			p.Close()
			s.log.Info("upstream gone", "upstream", name)
		}
	}
	for i, old := range c.entrances {
		if old.certs != nil && old.certs != s.entrances[i].certs {
			old.certs.Close()
		}
	}
	if was.access != c.next.access {
		s.endAccessLog(was.access)
	}
	if c.next.h2 != was.h2 {
		s.h2s = slices.DeleteFunc(s.h2s, func(h *edge.H2) bool { return h.Serving() == 0 })
		s.h2s = append(s.h2s, c.next.h2)
	}
}
