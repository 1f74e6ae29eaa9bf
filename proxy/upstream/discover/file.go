package discover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ringfence/proxy/watch"
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
// in any case every Options.Resolve, until ctx is done.
func (o Options) follow(ctx context.Context, out chan<- loaded) {
	pace := pace{resolve: o.Resolve}
	watch.Files(ctx, []string{o.File}, nil, func(lost error) time.Duration {
		l := o.read(lost)
		select {
		case out <- l:
		case <-ctx.Done():
		}
		return pace.next(l.err == nil)
	})
}

// read reads the file once; lost is why changes may not have been seen.
func (o Options) read(lost error) loaded {
	if lost != nil {
		lost = fmt.Errorf("watch the folder of %s, which is read every %v in any case: %w", o.File, o.Resolve, lost)
	}
	entries, err := o.load()
	return loaded{entries, err, lost}
}
