package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// serverDelay is how long a server takes for an answer.
	serverDelay = 5 * time.Millisecond
	// wantedRate is the load of the drills, in requests a second; with a margin
	// it is that much less.
	wantedRate = 2000
	// quietTime is how long a proxy may take to give back what it used.
	quietTime = 30 * time.Second
	// cacheControl is what the servers say of their answers.
	cacheControl = "max-age=1"
)

// serverNames are the ids of the servers of a farm.
var serverNames = [...]string{"a", "b", "c", "d", "e"}

// farm is a proxy and the servers behind it, each a process.
type farm struct {
	Report
	env     Env
	dir     string
	servers []*server
	proxy   *instance
	rate    float64
	calm    vitals // before any load
	fired   []*barrage
}

func (d Drill) runDays(ctx context.Context, env Env) (Report, error) {
	f := &farm{env: env, rate: wantedRate / env.Margin}
	err := f.play(ctx, d)
	if err == nil {
		err = f.quiet(ctx)
	}
	f.close()
	if err != nil {
		return f.Report, fmt.Errorf("drill %s: %w", d.Name, err)
	}
	return f.Report, nil
}

// play opens the farm and has its bad days.
func (f *farm) play(ctx context.Context, d Drill) error {
	f.env.Turn.Lock()
	defer f.env.Turn.Unlock()
	if err := f.open(ctx, d); err != nil {
		return err
	}
	if err := d.days(ctx, f); err != nil {
		return err
	}
	f.end()
	return nil
}

// open starts the servers and the proxy.
func (f *farm) open(ctx context.Context, d Drill) (err error) {
	if f.dir, err = os.MkdirTemp("", "drill"); err != nil {
		return err
	}
	names := serverNames[:]
	if d.servers > 0 {
		names = names[:d.servers]
	}
	for _, name := range names {
		s, err := startServer(ctx, f.env.Server, name, serverDelay)
		if err != nil {
			return err
		}
		f.servers = append(f.servers, s)
	}
	file := filepath.Join(f.dir, "proxy.yaml")
	if err := os.WriteFile(file, []byte(f.config(d)), 0o600); err != nil {
		return err
	}
	if f.proxy, err = startInstance(ctx, f.env.Proxy, "1", file); err != nil {
		return err
	}
	// Its checks of the servers are under way.
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	if f.calm, err = f.proxy.vitals(ctx); err != nil {
		return err
	}
	return f.warm(ctx)
}

// warm has everything done once before anything is measured.
func (f *farm) warm(ctx context.Context) error {
	defer f.fire(ctx).end()
	return pause(ctx, 500*time.Millisecond)
}

// idleTimeout is how long the proxy keeps a connection to a server unused: less
// than by default, so that a drill has not to wait for it.
const idleTimeout = time.Second

func (f *farm) config(d Drill) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\nlog: {format: json}\n%supstreams:\n  app:\n    idle_timeout: %s\n", d.top, idleTimeout)
	for line := range strings.Lines(d.upstream) {
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(line))
	}
	b.WriteString("    servers:\n")
	for _, s := range f.servers {
		fmt.Fprintf(&b, "      - {address: '%s', id: %s}\n", s.addr, s.name)
	}
	fmt.Fprintf(&b, "routes: [{upstream: app%s}]\n", d.route)
	return b.String()
}

// fire begins a barrage at the farm's rate. The farm ends it where the drill
// does not.
func (f *farm) fire(ctx context.Context, queries ...string) *barrage {
	b := fire(ctx, f.proxy.addr, f.rate, queries...)
	f.fired = append(f.fired, b)
	return b
}

// end ends the barrages that a drill left to it.
func (f *farm) end() {
	for _, b := range f.fired {
		b.end()
	}
}

// close ends all processes.
func (f *farm) close() {
	f.end()
	if p := f.proxy; p != nil {
		ended := p.ended() || !p.stop()
		if found := p.troubles(); len(found) > 0 || ended {
			f.require("the proxy has a clean log and end", "yes", strings.Join(append(found, p.log.tail()), "; "), false)
		}
	}
	for _, s := range f.servers {
		s.kill()
	}
	_ = os.RemoveAll(f.dir) // in the folder for what is temporary
}

// peak watches how many requests a server has in flight, until the function that
// it returns is called, which tells the most.
func (f *farm) peak(ctx context.Context, server string) func() (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	var most int
	var failed error
	watch.Go(func() {
		for failed == nil && pause(ctx, 50*time.Millisecond) == nil {
			var m map[string]float64
			if m, failed = f.proxy.metrics(ctx); failed == nil {
				most = max(most, int(m[`ringfence_upstream_server_in_flight{server="`+server+`",upstream="app"}`]))
			}
		}
		if ctx.Err() != nil {
			failed = nil
		}
	})
	return func() (int, error) {
		cancel()
		watch.Wait()
		return most, failed
	}
}

// quiet requires that after all of it the proxy holds on to no more than
// before.
func (f *farm) quiet(ctx context.Context) error {
	var v vitals
	var failed error
	_, err := until(ctx, f.env.widened(quietTime), func() bool {
		v, failed = f.proxy.vitals(ctx)
		return failed != nil || v.goroutines <= f.calm.goroutines && v.descriptors <= f.calm.descriptors && v.underWay == 0
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	f.atMost("afterwards: the proxy's goroutines", v.goroutines, f.calm.goroutines)
	f.atMost("afterwards: its open descriptors", v.descriptors, f.calm.descriptors)
	f.exactly("afterwards: requests, fills and connections under way", v.underWay, 0)
	return nil
}

// change is what the proxy's log says of a server.
type change struct {
	at     time.Time
	is     string // live, ejected, down or drained
	reason string
}

// changes returns the changes of a server's standing so far.
func (f *farm) changes(server string) []change {
	var all []change
	for line := range strings.Lines(f.proxy.log.String()) {
		var l struct {
			Time               time.Time
			Server, Is, Reason string
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Server == server && l.Is != "" {
			all = append(all, change{l.Time, l.Is, l.Reason})
		}
	}
	return all
}

// standing waits until a server stands so, and requires that it does within a
// time from the given moment.
func (f *farm) standing(ctx context.Context, server string, since time.Time, within time.Duration, wants ...string) error {
	within = f.env.widened(within)
	var last change
	ok, err := until(ctx, within+time.Second, func() bool {
		last = change{}
		for _, c := range f.changes(server) {
			if !c.at.Before(since) {
				last = c
			}
		}
		for _, want := range wants {
			if last.is == want {
				return true
			}
		}
		return false
	})
	what := "server " + server + " is " + strings.Join(wants, " or ")
	switch {
	case err != nil:
		return err
	case !ok:
		f.require(what, "within "+short(within), "not in "+short(time.Since(since))+": "+last.is, false)
	default:
		f.within(what+" ("+last.reason+")", last.at.Sub(since), within)
	}
	return nil
}
