package drill

import (
	"context"
	"strconv"
	"sync"
)

// fault is something that befalls an engine, and its end.
type fault struct {
	name  string
	about string
	hurt  func(context.Context, *engine) error
	heal  func(context.Context, *engine) error
}

// faults are what a fleet has to live with.
func faults() []fault {
	return []fault{
		{"killed", "the engine is killed, and started again", kill, restart},
		{"paused", "the engine stands still (SIGSTOP), and goes on", pauseEngine, resume},
		{"slow", "the engine takes several timeouts for each answer", slow, fast},
		{"full", "the engine has no memory left (maxmemory, noeviction)", set("maxmemory", "1"), set("maxmemory", "0")},
		{"loading", "the engine is started again and loads its data for long", startLoading, loaded},
		{"readonly", "the engine becomes a replica, which nobody may write to", replica, master},
	}
}

func kill(_ context.Context, e *engine) error {
	e.kill()
	return nil
}

func restart(ctx context.Context, e *engine) error { return e.start(ctx) }

func pauseEngine(_ context.Context, e *engine) error { return e.freeze() }
func resume(_ context.Context, e *engine) error      { return e.thaw() }

func set(name, value string) func(context.Context, *engine) error {
	return func(ctx context.Context, e *engine) error {
		_, err := e.ask(ctx, "CONFIG", "SET", name, value)
		return err
	}
}

// slow has the engine do nothing for a while, over and over.
func slow(ctx context.Context, e *engine) error {
	drill := ctx
	ctx, cancel := context.WithCancel(ctx)
	nap := strconv.FormatFloat(e.slowness.Seconds(), 'f', 3, 64)
	var sleeper sync.WaitGroup
	sleeper.Go(func() {
		for ctx.Err() == nil {
			if _, err := e.ask(ctx, "DEBUG", "SLEEP", nap); err != nil {
				return // the engine has ended, or the fault has
			}
		}
	})
	e.stopSlow = func() {
		cancel()
		sleeper.Wait()
		e.stopSlow = nil
	}
	return pause(drill, e.slowness/10) // until it has heard of it
}

func fast(_ context.Context, e *engine) error {
	e.stopSlow()
	return nil
}

// startLoading restarts the engine with data whose loading takes about half a minute.
func startLoading(ctx context.Context, e *engine) error {
	const keys, delay = 50_000, 500 // microseconds for each key
	for _, words := range [][]string{
		{"DEBUG", "POPULATE", strconv.Itoa(keys), "drill", "100"},
		{"SAVE"},
	} {
		if _, err := e.ask(ctx, words...); err != nil {
			return err
		}
	}
	e.kill()
	if err := e.run("--key-load-delay", strconv.Itoa(delay), "--loading-process-events-interval-bytes", "1024"); err != nil {
		return err
	}
	return e.await(ctx, "LOADING")
}

func loaded(ctx context.Context, e *engine) error {
	if err := set("key-load-delay", "0")(ctx, e); err != nil {
		return err
	}
	return e.await(ctx, "PONG")
}

func replica(ctx context.Context, e *engine) error {
	_, err := e.ask(ctx, "REPLICAOF", "127.0.0.1", "1") // where nobody is
	return err
}

func master(ctx context.Context, e *engine) error {
	_, err := e.ask(ctx, "REPLICAOF", "NO", "ONE")
	return err
}
