package upstream

import (
	"context"
	"fmt"
	"reflect"

	"ringfence/health"
	"ringfence/proxy/upstream/discover"
)

// Change is what a running pool is to go by next. It is for one goroutine, and
// there is one for a pool at a time.
type Change struct {
	pool   *Pool
	plan   *plan
	health health.Options
	names  *discover.Discovery // the pool's own where nothing has changed about it
}

// Change prepares for the pool to go by other options, whose Name and Log do not
// count. Nothing changes yet; the error says why it could not.
func (p *Pool) Change(o Options) (*Change, error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	o.Name, o.Log = p.plan.o.Name, p.plan.o.Log
	// A pool of its own finds out all that can be wrong.
	fresh, err := New(o)
	if err != nil {
		return nil, err
	}
	c := &Change{pool: p, plan: fresh.plan, names: p.names}
	c.plan.inherit(p.plan)
	c.health = c.plan.health()
	if !sameServers(o.Discover, p.plan.o.Discover) {
		if c.names, err = p.discover(o.Discover); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
		}
		c.names.Inherit(p.names)
	}
	return c, nil
}

// sameServers reports whether the same names are looked up in the same way.
func sameServers(a, b discover.Options) bool {
	return a.File == b.File && a.Resolve == b.Resolve && reflect.DeepEqual(a.Entries, b.Entries)
}

// Start begins to look new names up, and waits until each was looked up once, or
// ctx is done. Apply or Close must follow.
func (c *Change) Start(ctx context.Context) {
	if c.names != c.pool.discovery() {
		c.names.Start(context.WithoutCancel(ctx))
		c.names.First(ctx)
	}
}

// Apply has the pool go by the new options. A server with the same id, address
// and bounds keeps its connections and counts, and a member with the same id and
// address its health, whatever else has changed. Requests under way go on by the
// options that they began with; those on servers that are gone end there.
func (c *Change) Apply() error {
	p := c.pool
	p.changing.Lock()
	old, was := p.names, p.plan
	p.plan = c.plan
	err := p.group.Reconfigure(c.health)
	if err == nil {
		err = p.replace(c.names.Servers())
	}
	if err == nil {
		p.names = c.names
	} else {
		// The servers that the names stand for cannot be used by the new options.
		p.plan = was
		_ = p.group.Reconfigure(was.health()) // it was good before
	}
	p.changing.Unlock()
	if err != nil {
		c.Close()
		return fmt.Errorf("upstream %s: %w", p.Name(), err)
	}
	if old != c.names {
		old.Close()
	}
	return nil
}

// Close gives a change up that was not applied.
func (c *Change) Close() {
	if c.names != c.pool.discovery() {
		c.names.Close()
	}
}
