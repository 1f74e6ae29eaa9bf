package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a folder must have been quiet before its file is read,
	// so that a file is not read while it is written; in a folder that is never
	// quiet it is read maxSettle after the first change.
	settle    = 100 * time.Millisecond
	maxSettle = time.Second
)

// loaded is what reading the file came to.
type loaded struct {
	entries []Entry
	err     error
	lost    error // why changes may be seen late; nil: they are not
}

// load reads the file once.
func (o Options) load() ([]Entry, error) {
	entries, err := o.Load(o.File)
	if err == nil && len(entries) == 0 {
		err = errors.New("no servers")
	}
	if err == nil {
		err = validate(entries)
	}
	if err != nil {
		return nil, fmt.Errorf("read servers of %s: %w", o.File, err)
	}
	return entries, nil
}

// follow reads the file at once, whenever something in its folder changes, and
// in any case every Options.Resolve, until ctx is done. It watches the folder,
// not the file: a file that is renamed into place, or reached through a link
// that changes, is another file each time.
func (o Options) follow(ctx context.Context, out chan<- loaded) {
	watcher, watchErr := fsnotify.NewWatcher()
	if watchErr != nil {
		watcher = &fsnotify.Watcher{} // no channels: it never says anything
	} else {
		defer watcher.Close() //nolint:errcheck // nothing is left to do then
	}
	pace := pace{resolve: o.Resolve}
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
			// Watched before it is read: a change in between is seen twice, not
			// never. And again each time: the folder may be another one.
			if watchErr == nil {
				lost = cmp.Or(watcher.Add(filepath.Dir(o.File)), lost)
			}
			l := o.read(lost)
			select {
			case out <- l:
			case <-ctx.Done():
				return
			}
			timer.Reset(pace.next(l.err == nil))
			changed, lost = time.Time{}, watchErr
			continue
		}
		if changed.IsZero() {
			changed = time.Now()
		}
		timer.Reset(settling(time.Since(changed)))
	}
}

// settling returns how long to wait for the folder to be quiet after one more
// change, which came so long after the first.
func settling(since time.Duration) time.Duration { return min(settle, maxSettle-since) }

// read reads the file once; lost is why changes may not have been seen.
func (o Options) read(lost error) loaded {
	if lost != nil {
		lost = fmt.Errorf("watch the folder of %s, which is read every %v in any case: %w", o.File, o.Resolve, lost)
	}
	entries, err := o.load()
	return loaded{entries, err, lost}
}
