// Package discover turns what is configured of an upstream's servers into the
// set of servers there are at the moment.
//
// An [Entry] is a fixed address, a host name, all of whose addresses are
// servers, or the name of a service (SRV, RFC 2782); a file can hold further
// entries. Names are looked up again and again, and the file is watched. What
// fails changes nothing: a look-up that fails, an answer without addresses and
// a file at fault leave what was known before, are counted, and are reported
// once.
//
// The set is a function of the entries and the answers: instances that are told
// the same have the same servers by the same identities, whatever the order of
// the answers.
package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options is what a Discovery is made of.
type Options struct {
	// Entries are the servers and names that are configured.
	Entries []Entry
	// File, if not "", is the path of a file of further entries, which come
	// after Entries. It should be replaced by renaming another one: a file that
	// is written in place may be read half written.
	File string
	// Load reads a file of entries; required where File is set. An error, or no
	// entries, leaves those of before. It is called by New, and then by one
	// goroutine.
	Load func(path string) ([]Entry, error)
	// Resolve is the time between two look-ups of a name, and between two
	// readings of the file where no change was seen, give or take a fifth. Until
	// the first success they are repeated sooner: after 250 ms, and twice as long
	// each time. One look-up may take Resolve, at most 5 s. Default 10 s.
	Resolve time.Duration
	// Resolver looks names up. Default net.DefaultResolver.
	Resolver Resolver
	// OnChange, if set, is told the set each time it has changed since New. It
	// must not change the slice.
	OnChange func([]Server)
	// OnError, if set, is told what failed: once, until it fails otherwise or
	// works again. OnChange and OnError are called by one goroutine. They should
	// return soon, and must not call Close.
	OnError func(error)
}

// defaultResolve is the default of Options.Resolve.
const defaultResolve = 10 * time.Second

// Discovery keeps the set of servers up to date. Its methods may be called
// concurrently.
type Discovery struct {
	options Options
	file    []Entry // as New read them, or Inherit found them
	servers atomic.Pointer[[]Server]
	known   atomic.Pointer[known]
	stats   counters
	first   chan struct{} // closed when there is nothing left to wait for

	running sync.WaitGroup
	life    sync.Mutex
	stop    context.CancelFunc // nil until Start or Close
}

// Stats are counts since New, and what is wrong now.
type Stats struct {
	Lookups      uint64 // look-ups of names that have ended
	LookupErrors uint64 // those among them that failed, in whole or in part
	Loads        uint64 // readings of the file since Start
	LoadErrors   uint64 // those among them that failed
	Changes      uint64 // changes of the set
	Failing      int    // names, or the file, whose last attempt failed
}

type counters struct {
	lookups, lookupErrors, loads, loadErrors, changes atomic.Uint64
	failing                                           atomic.Int64
}

// New returns a Discovery that looks nothing up yet. It reads the file once, so
// that fixed addresses, there and in Entries, are in the set at once; a file at
// fault is reported after Start. It fails where there is neither an entry nor a
// file, where an entry is at fault, or where there are more than MaxServers.
func New(o Options) (*Discovery, error) {
	switch {
	case len(o.Entries) == 0 && o.File == "":
		return nil, errors.New("discover: neither servers nor a file of servers")
	case len(o.Entries) > MaxServers:
		return nil, fmt.Errorf("discover: %d servers, more than %d", len(o.Entries), MaxServers)
	case o.File != "" && o.Load == nil:
		return nil, errors.New("discover: a file of servers, and nothing to read it with")
	case o.Resolve < 0:
		return nil, fmt.Errorf("discover: time %v between look-ups is negative", o.Resolve)
	}
	if err := validate(o.Entries); err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	o.Entries = slices.Clone(o.Entries)
	if o.Resolve == 0 {
		o.Resolve = defaultResolve
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	d := &Discovery{options: o, first: make(chan struct{})}
	if o.File != "" {
		// An error is no error yet: Start reads the file again.
		d.file, _ = o.load()
	}
	d.learn(known{file: d.file})
	if d.fixed() {
		close(d.first)
	}
	return d, nil
}

// known is what look-ups and the file have come to. It is immutable.
type known struct {
	answers map[query]answer
	file    []Entry
}

// learn begins with what is known.
func (d *Discovery) learn(k known) {
	d.known.Store(&k)
	servers, _ := limit(expand(d.withFile(k.file), func(q query) answer { return k.answers[q] }))
	d.servers.Store(&servers)
}

// Inherit has d begin with what old, which may be in use, knows of the names and
// of the file that they have in common, until d finds out itself. It must come
// before Start.
func (d *Discovery) Inherit(old *Discovery) {
	k := *old.known.Load()
	if d.file == nil && d.options.File == old.options.File {
		d.file = k.file
	}
	k.file = d.file
	d.learn(k)
}

// withFile returns the entries, with file as those of the file.
func (d *Discovery) withFile(file []Entry) []Entry {
	return slices.Concat(d.options.Entries, file)
}

// fixed reports whether the set can never change.
func (d *Discovery) fixed() bool {
	return d.options.File == "" &&
		!slices.ContainsFunc(d.options.Entries, func(e Entry) bool { return e.query() != query{} })
}

// Start begins to look names up and to watch the file, and returns at once. It
// ends with ctx or Close. Where all is fixed there is nothing to do, and no
// goroutine. Only the first call counts, and none after Close.
func (d *Discovery) Start(ctx context.Context) {
	d.life.Lock()
	defer d.life.Unlock()
	if d.stop != nil {
		return
	}
	ctx, d.stop = context.WithCancel(ctx)
	if !d.fixed() {
		d.running.Go(func() { newOwner(d).run(ctx) })
	}
}

// Close ends what Start began, and returns when no goroutine and no call of
// OnChange or OnError is left. It may be called more than once; Servers and
// Stats go on answering.
func (d *Discovery) Close() {
	d.life.Lock()
	if d.stop == nil {
		d.stop = func() {}
	}
	d.stop()
	d.life.Unlock()
	d.running.Wait()
}

// First waits until each name was looked up once, with or without success, so
// that a server need not begin with an empty set. It returns as well when ctx is
// done, or when what Start began has ended.
func (d *Discovery) First(ctx context.Context) {
	select {
	case <-d.first:
	case <-ctx.Done():
	}
}

// Servers returns the set as it is now, in the order of the entries and those
// of one name by address. It takes no lock. The caller must not change it.
func (d *Discovery) Servers() []Server { return *d.servers.Load() }

// Stats returns the counts as they are now.
func (d *Discovery) Stats() Stats {
	return Stats{
		Lookups:      d.stats.lookups.Load(),
		LookupErrors: d.stats.lookupErrors.Load(),
		Loads:        d.stats.loads.Load(),
		LoadErrors:   d.stats.loadErrors.Load(),
		Changes:      d.stats.changes.Load(),
		Failing:      int(d.stats.failing.Load()),
	}
}

// limit returns the first MaxServers, and an error if those are not all.
func limit(servers []Server) ([]Server, error) {
	if n := len(servers); n > MaxServers {
		return servers[:MaxServers:MaxServers], fmt.Errorf("%d servers, more than %d: the last %d are left out", n, MaxServers, n-MaxServers)
	}
	return servers, nil
}
