package origin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Count is how often a target was asked for.
type Count struct {
	Total    int // requests so far
	InFlight int // answers under way
	Peak     int // the most at one moment
}

// Record is what reached an origin. Requests to the health path count in
// Checks alone.
type Record struct {
	Connections int // accepted so far
	Open        int // connections at this moment
	Malformed   int // heads that could not be read
	Checks      int // health checks
	Total       int // requests
	Complete    int // answers written to their end
	// Requests are in the order of their heads; past the limit of the origin
	// only the first are kept.
	Requests []Request
	Targets  map[string]Count
}

// To returns the requests for a target, in their order.
func (r Record) To(target string) []Request {
	var rs []Request
	for _, q := range r.Requests {
		if q.Target == target {
			rs = append(rs, q)
		}
	}
	return rs
}

// book is the record that grows, and wakes those who wait for it to.
type book struct {
	mu      sync.Mutex
	rec     Record
	keep    int
	changed chan struct{} // closed and replaced at each change
}

func newBook(keep int) *book {
	return &book{rec: Record{Targets: map[string]Count{}}, keep: keep, changed: make(chan struct{})}
}

// note changes the record.
func (b *book) note(change func(*Record)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.rec)
	close(b.changed)
	b.changed = make(chan struct{})
}

// begin enters a request and returns its place, -1 past the limit.
func (b *book) begin(r Request) int {
	at := -1
	b.note(func(rec *Record) {
		rec.Total++
		c := rec.Targets[r.Target]
		c.Total++
		c.InFlight++
		c.Peak = max(c.Peak, c.InFlight)
		rec.Targets[r.Target] = c
		if len(rec.Requests) < b.keep {
			at = len(rec.Requests)
			rec.Requests = append(rec.Requests, r)
		}
	})
	return at
}

// received enters what came of a request's body.
func (b *book) received(at int, body Body) {
	b.note(func(rec *Record) {
		if at >= 0 {
			rec.Requests[at].Body = body
		}
	})
}

func (b *book) end(at int, target string, complete bool) {
	b.note(func(rec *Record) {
		c := rec.Targets[target]
		c.InFlight--
		rec.Targets[target] = c
		if complete {
			rec.Complete++
		}
		if at >= 0 {
			rec.Requests[at].Done = true
		}
	})
}

func (b *book) copy() Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rec
	r.Requests, r.Targets = slices.Clone(r.Requests), maps.Clone(r.Targets)
	return r
}

// look calls cond with the record itself, and returns what to wait for where
// it does not hold.
func (b *book) look(cond func(Record) bool) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cond(b.rec) {
		return nil
	}
	return b.changed
}

// WaitFor blocks until cond holds for what reached the origin, at most for
// timeout. cond must be quick and may not keep its argument.
func (o *Origin) WaitFor(cond func(Record) bool, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		changed := o.book.look(cond)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("origin %s: what was waited for did not come in %s", o.name, timeout)
		}
	}
}

// Record returns a copy of what reached the origin so far.
func (o *Origin) Record() Record { return o.book.copy() }

// Count returns how often a target was asked for.
func (o *Origin) Count(target string) Count {
	o.book.mu.Lock()
	defer o.book.mu.Unlock()
	return o.book.rec.Targets[target]
}
