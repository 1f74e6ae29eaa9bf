// Package drill puts a fleet of real proxies, with their engine and an origin,
// one proxy with five servers behind it, and one with a crowd of slow clients
// before it, through what happens in operation, and says of each requirement
// whether it held. It speaks HTTP to the proxies and Redis's protocol to the
// engines, and imports nothing of either.
package drill

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// longest bounds a drill.
	longest = 5 * time.Minute
	// wave is how many clients ask at once.
	wave = 300
	// returnTime is how long a fleet may take to use an engine that is back.
	returnTime = 5 * time.Second
	// leaseTTL and timeout are the fleet's settings of these names.
	leaseTTL = time.Second
	timeout  = 30 * time.Millisecond
)

// Env is where drills run.
type Env struct {
	Proxy string // path of the proxy's binary; required
	// Engine is the program that is run as the engine, Redis of at least
	// version 7.0 or Valkey; default redis-server.
	Engine string
	// Server is the path of loadtest's own binary, which is run as the servers of
	// a drill of Balance or Edge; required there.
	Server string
	// Margin is what bounds on time are multiplied by, and the fleet's timeout
	// for calls of the engine, and what the rate of requests is divided by, for
	// slow builds and machines; default 1.
	Margin float64
	// For is how long Soak goes on; default as long as it takes at least, some three
	// minutes.
	For time.Duration
	// Progress is told how far Soak has come; nil: nobody is.
	Progress func(string)
	// Turn is held by a drill of Balance or Edge while it needs the machine for itself,
	// and no longer while it waits for the proxy to come to rest. Drills with the
	// same Turn may be run at once. Default: one of its own.
	Turn sync.Locker
}

func (e Env) withDefaults() Env {
	if e.Engine == "" {
		e.Engine = "redis-server"
	}
	e.Margin = max(e.Margin, 1)
	if e.Turn == nil {
		e.Turn = &sync.Mutex{}
	}
	if e.Progress == nil {
		e.Progress = func(string) {}
	}
	return e
}

// widened is a bound on time for this machine.
func (e Env) widened(d time.Duration) time.Duration { return time.Duration(float64(d) * e.Margin) }

// timeout is the fleet's bound on a call of the engine; a lease has at least
// three.
func (e Env) timeout() time.Duration {
	return min(e.widened(timeout), leaseTTL/3).Truncate(time.Millisecond)
}

// Drill is one thing that is put to the test: a scene for a fleet, or bad days
// for the servers behind one proxy.
type Drill struct {
	Name, About string
	setup       setup
	scene       func(context.Context, *stage) error
	servers     int    // for bad days: how many; default all of serverNames
	top         string // entries of the file, each on a line
	upstream    string // of the upstream, likewise
	route       string // and of the route, each with a comma before it
	days        func(context.Context, *farm) error
	run         func(context.Context, Env) (Report, error) // in place of a scene and days
}

// All returns the drills in the order in which to run them.
func All() []Drill { return append(slices.Concat(Fleet(), Balance(), Edge()), Soak()) }

// Soak returns the drill that can be played for as long as one likes.
func Soak() Drill { return soaking }

// Fleet returns the drills of a fleet of three with its engine.
func Fleet() []Drill {
	return slices.Concat(
		[]Drill{coldStampede, streaming, laterMisses, uncacheable, leaderKilled, leaderPaused},
		engineDrills(),
		[]Drill{engineAbsent, nodeKilled, revalidation, purge, failingOrigin, variants, tooLarge, coldKeys},
	)
}

// Find returns the drill of that name.
func Find(name string) (Drill, bool) {
	for _, d := range All() {
		if d.Name == name {
			return d, true
		}
	}
	return Drill{}, false
}

// Run starts an origin, engines and a fleet of three, or five servers and a proxy
// before them, plays the drill and ends all of them. It takes some seconds, and
// five minutes and Env.For at most. The error says that the drill could not be played to its
// end; what was found until then is in the report. Drills measure time: they
// should run one at a time, or with the same Turn.
func (d Drill) Run(ctx context.Context, env Env) (Report, error) {
	env = env.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, longest+env.For)
	defer cancel()
	switch {
	case d.run != nil:
		r, err := d.run(ctx, env)
		if err != nil {
			err = fmt.Errorf("drill %s: %w", d.Name, err)
		}
		return r, err
	case d.days != nil:
		return d.runDays(ctx, env)
	}
	s, err := newStage(env, d.setup)
	if err == nil {
		if err = s.open(ctx); err == nil {
			err = d.scene(ctx, s)
		}
		cancel()
		s.close()
	}
	if err != nil {
		return s.Report, fmt.Errorf("drill %s: %w", d.Name, err)
	}
	return s.Report, nil
}

// pause waits in real time for other processes, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// until polls a condition that other processes bring about. It reports false
// where that takes longer than d.
func until(ctx context.Context, d time.Duration, ok func() bool) (bool, error) {
	for end := time.Now().Add(d); ; {
		if ok() {
			return true, nil
		}
		if time.Now().After(end) {
			return false, nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return false, err
		}
	}
}
