package discover

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// owner is the goroutine that keeps a Discovery's set: the only one to write it
// and to call back. Others look names up and read the file for it.
type owner struct {
	*Discovery
	lookup  lookup
	entries []Entry // in force
	file    []Entry // the last that were read
	// next are the entries to come, once all their names were looked up, so that
	// a new file does not take servers away before it brings others; nil: none.
	next    []Entry
	names   map[query]*name
	results chan result
	files   chan loaded
	helpers sync.WaitGroup

	// What is wrong beside the names; nil: nothing.
	fileFault, watchFault, limitFault error
}

// name is what is known of a name.
type name struct {
	answer answer // the last good one, perhaps inherited
	fault  error  // of the last look-up
	pace   pace
	asking bool
	asked  bool      // at least once, to the end; or inherited
	due    time.Time // of the next look-up, unless asking
}

type result struct {
	query  query
	of     *name
	answer answer
	err    error
}

func newOwner(d *Discovery) *owner {
	return &owner{
		Discovery: d,
		lookup: lookup{
			resolver: d.options.Resolver,
			timeout:  min(d.options.Resolve, maxTimeout),
			slots:    make(chan struct{}, maxLookups),
		},
		entries: d.withFile(d.file),
		file:    d.file,
		names:   make(map[query]*name),
		results: make(chan result),
		files:   make(chan loaded),
	}
}

// run works until ctx is done, and then waits for its helpers.
func (o *owner) run(ctx context.Context) {
	defer o.endFirst()
	defer o.helpers.Wait()
	if o.options.File != "" {
		o.helpers.Go(func() { o.options.follow(ctx, o.files) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		o.track()
		timer.Reset(o.launch(ctx, time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			continue
		case r := <-o.results:
			o.learn(ctx, r)
		case l := <-o.files:
			o.take(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		o.adopt()
		o.publish()
	}
}

// track makes names those of the entries in force and to come.
func (o *owner) track() {
	wanted := make(map[query]*name, len(o.names))
	for _, entries := range [][]Entry{o.entries, o.next} {
		for _, e := range entries {
			q := e.query()
			if q == (query{}) || wanted[q] != nil {
				continue
			}
			if wanted[q] = o.names[q]; wanted[q] == nil {
				before := o.known.Load().answers[q]
				wanted[q] = &name{pace: pace{resolve: o.options.Resolve}, answer: before, asked: before != nil}
			}
		}
	}
	o.names = wanted
}

// launch looks up the names that are due and returns the time to the next one.
func (o *owner) launch(ctx context.Context, now time.Time) time.Duration {
	wait := o.options.Resolve
	for q, n := range o.names {
		switch {
		case n.asking:
		case n.due.After(now):
			wait = min(wait, n.due.Sub(now))
		default:
			n.asking = true
			last := n.answer
			o.helpers.Go(func() {
				a, err := o.lookup.ask(ctx, q, last)
				select {
				case o.results <- result{q, n, a, err}:
				case <-ctx.Done():
				}
			})
		}
	}
	return wait
}

// learn takes what look-ups came to: r and all that wait behind it, so that
// answers that come at the same time are one change.
func (o *owner) learn(ctx context.Context, r result) {
	for ctx.Err() == nil {
		if o.names[r.query] == r.of { // else nobody wants it any more
			o.learnOne(r)
		}
		select {
		case r = <-o.results:
		default:
			return
		}
	}
}

func (o *owner) learnOne(r result) {
	n := r.of
	n.asking, n.asked = false, true
	n.due = time.Now().Add(n.pace.next(r.answer != nil))
	if r.answer != nil {
		n.answer = r.answer
	}
	o.stats.lookups.Add(1)
	if r.err != nil {
		o.stats.lookupErrors.Add(1)
	}
	o.note(&n.fault, r.err)
}

// take takes what reading the file came to.
func (o *owner) take(ctx context.Context, l loaded) {
	if ctx.Err() != nil {
		return
	}
	o.stats.loads.Add(1)
	if l.err != nil {
		o.stats.loadErrors.Add(1)
	} else {
		o.file, o.next = l.entries, o.withFile(l.entries)
	}
	o.note(&o.fileFault, l.err)
	if l.err == nil { // else the folder may be missing with the file: one fault
		o.note(&o.watchFault, l.lost)
	}
}

// adopt puts the entries to come in force once all their names were looked up.
func (o *owner) adopt() {
	o.track()
	for _, e := range o.next {
		if n := o.names[e.query()]; n != nil && !n.asked {
			return
		}
	}
	if o.next != nil {
		o.entries, o.next = o.next, nil
	}
}

// publish tells the set where it has changed.
func (o *owner) publish() {
	servers, err := limit(expand(o.entries, func(q query) answer {
		if n := o.names[q]; n != nil {
			return n.answer
		}
		return nil
	}))
	o.note(&o.limitFault, err)
	asked, failing, answers := true, int64(0), make(map[query]answer, len(o.names))
	for q, n := range o.names {
		if n.answer != nil {
			answers[q] = n.answer
		}
		asked = asked && n.asked
		if n.fault != nil {
			failing++
		}
	}
	if o.fileFault != nil {
		failing++
	}
	o.stats.failing.Store(failing)
	o.known.Store(&known{answers, o.file})
	if !slices.Equal(servers, o.Servers()) {
		o.servers.Store(&servers)
		o.stats.changes.Add(1)
		if o.options.OnChange != nil {
			o.options.OnChange(servers)
		}
	}
	if asked {
		o.endFirst()
	}
}

// endFirst lets those go who wait in First.
func (o *owner) endFirst() {
	select {
	case <-o.first:
	default:
		close(o.first)
	}
}

// note makes err what is wrong, or nothing, and reports it where it is news.
func (o *owner) note(fault *error, err error) {
	news := err != nil && !same(*fault, err)
	*fault = err
	if news && o.options.OnError != nil {
		o.options.OnError(err)
	}
}

// same reports whether a and b say the same. What a resolver says may hold the
// port that it asked from, another one each time.
func same(a, b error) bool {
	if a == nil || b == nil {
		return (a == nil) == (b == nil)
	}
	var x, y *net.DNSError
	if errors.As(a, &x) && errors.As(b, &y) {
		return x.Name == y.Name && x.IsNotFound == y.IsNotFound && x.IsTimeout == y.IsTimeout
	}
	return a.Error() == b.Error()
}
