// Package watch tells when files may have changed.
package watch

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long the folders must have been quiet before the files are
	// looked at, so that none is read while it is written, nor a certificate
	// without its key; in folders that are never quiet they are looked at
	// maxSettle after the first change.
	settle    = 100 * time.Millisecond
	maxSettle = time.Second
)

// Files calls look at once, after something in the folders of the paths has
// changed, when now is sent to, and in any case after the time that look has
// returned, until ctx is done. It watches the folders, not the files: a file that
// is renamed into place, or reached through a link that changes, is another file
// each time, and a link may lead into a folder that is not watched. lost is why
// changes may not have been seen; nil: there is no reason. now may be nil.
//
// look is called by the caller's goroutine. It finds out what has changed, if
// anything.
func Files(ctx context.Context, paths []string, now <-chan struct{}, look func(lost error) time.Duration) {
	watcher, watchErr := fsnotify.NewWatcher()
	if watchErr != nil {
		watcher = &fsnotify.Watcher{} // no channels: it never says anything
	} else {
		defer watcher.Close() //nolint:errcheck // nothing is left to do then
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var changed time.Time // first change since the last look; zero: none
	lost := watchErr
	for {
		select {
		case <-ctx.Done():
			return
		case <-watcher.Events:
		case lost = <-watcher.Errors: // an overflow, above all
		case <-now:
			timer.Reset(0)
			continue
		case <-timer.C:
			// Watched before they are looked at: a change in between is seen twice,
			// not never. And again each time: a folder may be another one.
			for _, dir := range folders(paths) {
				if watchErr == nil {
					lost = cmp.Or(lost, watcher.Add(dir))
				}
			}
			next := look(lost)
			if ctx.Err() != nil {
				return
			}
			timer.Reset(next)
			changed, lost = time.Time{}, watchErr
			continue
		}
		if changed.IsZero() {
			changed = time.Now()
		}
		timer.Reset(settling(time.Since(changed)))
	}
}

// settling returns how long to wait for the folders to be quiet after one more
// change, which came so long after the first.
func settling(since time.Duration) time.Duration { return min(settle, maxSettle-since) }

// folders are those of all files.
func folders(paths []string) []string {
	dirs := make([]string, len(paths))
	for i, path := range paths {
		dirs[i] = filepath.Dir(path)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
