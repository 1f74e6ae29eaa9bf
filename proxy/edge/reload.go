package edge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ringfence/proxy/watch"
)

// pollInterval is how often the files are read even if nothing tells of a change:
// a link may lead into a folder that is not watched.
const pollInterval = time.Minute

// Start follows the files from now on, in a goroutine that Close ends. It is
// called once.
func (c *Certificates) Start() {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.watcher.Go(func() { c.follow(ctx) })
}

// Close stops following the files and returns when nothing runs any more. What
// was read last stays in use. It may be called without Start.
func (c *Certificates) Close() {
	if c.stop != nil {
		c.stop()
	}
	c.watcher.Wait()
}

// Refresh has the files read soon, as after a change of theirs.
func (c *Certificates) Refresh() {
	select {
	case c.refresh <- struct{}{}:
	default: // they are about to be
	}
}

// follow reads the files at once, whenever something in their folders changes,
// and in any case now and then, until ctx is done.
func (c *Certificates) follow(ctx context.Context) {
	var paths []string
	for _, s := range c.sources {
		paths = append(paths, s.files...)
	}
	watch.Files(ctx, paths, c.refresh, func(lost error) time.Duration {
		c.noteLate(lost)
		c.reload()
		return c.poll
	})
}

// reload reads the files once, and puts what has changed in use. The log hears
// of it afterwards.
func (c *Certificates) reload() {
	next := *c.current.Load()
	next.all = slices.Clone(next.all) // handshakes under way use the others
	var changed []int
	var news []error
	failing := int64(0)
	for i := range c.sources {
		s := &c.sources[i]
		before := s.fault
		fresh, err := s.load(&next)
		if fresh {
			changed = append(changed, i)
		}
		if err != nil {
			failing++
			if before == nil || before.Error() != err.Error() {
				news = append(news, err)
			}
		}
	}
	if len(changed) > 0 {
		c.current.Store(next.indexed())
	}
	c.reloads.Add(uint64(len(changed)))
	c.failures.Add(uint64(len(news)))
	c.failing.Store(failing)
	for _, i := range changed {
		c.report(i)
	}
	for _, err := range news {
		c.log.Warn("what was read before stays in use", "error", err)
	}
}

// noteLate logs why changes may be seen late, where that is news.
func (c *Certificates) noteLate(err error) {
	if err != nil && (c.late == nil || c.late.Error() != err.Error()) {
		c.log.Warn("changes of certificates may be seen late",
			"error", fmt.Errorf("watch their folders, whose files are read every %v in any case: %w", c.poll, err))
	}
	c.late = err
}
