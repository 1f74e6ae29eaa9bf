package singleflight

import (
	"fmt"
	"time"
)

// failures remembers for a short while which keys failed. All entries live
// equally long, so the queue is in order of expiry and no clock has to sweep.
type failures struct {
	keep  time.Duration
	limit int
	byKey map[string]failure
	queue []string
}

type failure struct {
	err   error
	until time.Time
}

func newFailures(keep time.Duration, limit int) failures {
	return failures{keep: keep, limit: limit, byKey: make(map[string]failure)}
}

// add remembers key's failure, forgetting what has expired and, when full, the
// oldest. A key that is remembered already keeps its first entry.
func (f *failures) add(key string, err error, now time.Time) {
	if f.keep == 0 {
		return
	}
	for len(f.queue) > 0 && (len(f.queue) >= f.limit || !now.Before(f.byKey[f.queue[0]].until)) {
		delete(f.byKey, f.queue[0])
		f.queue = f.queue[1:]
	}
	if _, ok := f.byKey[key]; ok {
		return
	}
	f.byKey[key] = failure{fmt.Errorf("singleflight: failed a moment ago: %w", err), now.Add(f.keep)}
	f.queue = append(f.queue, key)
}

// of is the remembered failure of key, or nil. The clock is read only if
// there is an entry.
func (f *failures) of(key string, now func() time.Time) error {
	if e, ok := f.byKey[key]; ok && now().Before(e.until) {
		return e.err
	}
	return nil
}
