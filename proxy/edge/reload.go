package edge

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// pollInterval is how often the files are read even if nothing tells of a
	// change: a link may lead into a folder that is not watched.
	pollInterval = time.Minute
	// settle is how long the folders must have been quiet before the files are
	// read, so that a certificate is not read without its key; in folders that
	// are never quiet they are read maxSettle after the first change.
	settle    = 100 * time.Millisecond
	maxSettle = time.Second
)

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

// follow reads the files at once, whenever something in their folders changes,
// and in any case now and then, until ctx is done. It watches the folders, not
// the files: a file that is renamed into place, or reached through a link that
// changes, is another file each time.
func (c *Certificates) follow(ctx context.Context) {
	watcher, watchErr := fsnotify.NewWatcher()
	if watchErr != nil {
		watcher = &fsnotify.Watcher{} // no channels: it never says anything
	} else {
		defer watcher.Close() //nolint:errcheck // nothing is left to do then
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var changed time.Time // first change since the last reading; zero: none
	lost := watchErr      // why changes may not have been seen
	for {
		select {
		case <-ctx.Done():
			return
		case <-watcher.Events:
		case lost = <-watcher.Errors: // an overflow, above all
		case <-timer.C:
			// Watched before they are read: a change in between is seen twice,
			// not never. And again each time: a folder may be another one.
			for _, dir := range folders(c.sources) {
				if watchErr == nil {
					lost = cmp.Or(lost, watcher.Add(dir))
				}
			}
			c.noteLate(lost)
			c.reload()
			timer.Reset(c.poll)
			changed, lost = time.Time{}, watchErr
			continue
		}
		if changed.IsZero() {
			changed = time.Now()
		}
		timer.Reset(min(settle, maxSettle-time.Since(changed)))
	}
}

// folders are those of all files.
func folders(sources []source) []string {
	var dirs []string
	for _, s := range sources {
		for _, file := range s.files {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
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
