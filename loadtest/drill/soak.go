package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// mishapTime is how long each mishap of a soak takes, with the time before it.
	mishapTime = 2500 * time.Millisecond
	// restTime is how long a fleet may take to come to rest after a round.
	restTime = time.Minute
	// most more goroutines and descriptors than after the round that warms it up an
	// instance may hold at rest: the engine's client and the collector come and go.
	spare = 8
	// memoryRest is what an instance's memory may have grown by, beside a tenth of it.
	memoryRest = 8 << 20
	// workerTime is how long the proxy keeps goroutines for clients who are gone.
	workerTime = 12 * time.Second
	// mostLost is how many percent of the clients may have an error or nothing, and
	// mostCut how many an answer that breaks off with the server that sends it.
	mostLost, mostCut = 0.01, 0.5
)

// soak is a fleet of three, its engine and three servers, that go through every
// mishap, over and over.
type soak struct {
	Report
	env     Env
	dir     string
	servers []*server
	engine  *engine
	fleet   []*instance
	version int // of the configuration
	calm    []vitals
	rests   [][]vitals // of each instance, after each round
	all     soaked
}

var soaking = Drill{
	Name:  "soak",
	About: "a fleet of three under mixed load goes through all mishaps of its engine, servers and instances, over and over",
	run: func(ctx context.Context, env Env) (Report, error) {
		s := &soak{env: env}
		err := s.open(ctx)
		if err == nil {
			err = s.rounds(ctx)
		}
		s.close()
		return s.Report, err
	},
}

// mishap is something that befalls a soak, and its end.
type mishap struct {
	name       string
	hurt, heal func(context.Context, *soak) error
	alive      int // how many instances clients ask meanwhile, 0 for all
}

// ofServer has something befall the first server.
func ofServer(does func(context.Context, *server) error) func(context.Context, *soak) error {
	return func(ctx context.Context, s *soak) error { return does(ctx, s.servers[0]) }
}

func told(query string) func(context.Context, *soak) error {
	return ofServer(func(ctx context.Context, s *server) error { return s.tell(ctx, query) })
}

// mishaps are all of them, in the order in which they befall the fleet.
func mishaps() []mishap {
	others := []mishap{
		{
			name: "a server is killed, and started again",
			hurt: ofServer(func(_ context.Context, s *server) error { s.kill(); return nil }),
			heal: ofServer(func(ctx context.Context, s *server) error { return s.start(ctx) }),
		},
		{
			name: "a server stands still",
			hurt: ofServer(func(_ context.Context, s *server) error { return s.freeze() }),
			heal: ofServer(func(_ context.Context, s *server) error { return s.thaw() }),
		},
		{name: "a server is slow", hurt: told("delay=300ms"), heal: told("")},
		{name: "a server fails", hurt: told("status=503&part=50"), heal: told("")},
		{name: "a server resets connections", hurt: told("cut=0&end=reset&part=30"), heal: told("")},
		{name: "a server is drained, and restored", hurt: operated("drain"), heal: operated("restore")},
		{name: "the configuration changes, and changes again", hurt: reconfigured, heal: reconfigured},
		{name: "everything is purged", hurt: purged, heal: purged},
		{
			name: "an instance is killed, and started again", alive: 2,
			hurt: func(_ context.Context, s *soak) error { s.fleet[2].kill(); return nil },
			heal: func(ctx context.Context, s *soak) (err error) {
				s.fleet[2], err = startInstance(ctx, s.env.Proxy, s.fleet[2].name, s.file(2))
				return err
			},
		},
	}
	engines := faults()
	all := slices.Grow(others, len(engines))
	for _, f := range engines {
		all = append(all, mishap{
			name: f.about,
			hurt: func(ctx context.Context, s *soak) error { return f.hurt(ctx, s.engine) },
			heal: func(ctx context.Context, s *soak) error { return f.heal(ctx, s.engine) },
		})
	}
	return all
}

func operated(what string) func(context.Context, *soak) error {
	return func(ctx context.Context, s *soak) error {
		var err error
		for _, i := range s.fleet {
			err = errors.Join(err, i.operate(ctx, what, s.servers[1].name))
		}
		return err
	}
}

// reconfigured gives all instances another file, and has them read it.
func reconfigured(ctx context.Context, s *soak) error {
	s.version++
	for n, i := range s.fleet {
		if err := s.write(n); err != nil {
			return err
		}
		if _, err := call(ctx, http.MethodPost, "http://"+i.admin+"/api/reload", ""); err != nil {
			return err
		}
	}
	return nil
}

func purged(ctx context.Context, s *soak) error {
	_, err := call(ctx, http.MethodPost, "http://"+s.fleet[0].admin+"/api/purge", `{"everything":true}`)
	return err
}

// open starts the servers, the engine and the fleet.
func (s *soak) open(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "drill"); err != nil {
		return err
	}
	for _, name := range serverNames[:3] {
		it, err := startServer(ctx, s.env.Server, name, serverDelay)
		if err != nil {
			return err
		}
		s.servers = append(s.servers, it)
	}
	if s.engine, err = startEngine(ctx, s.env.Engine, s.dir); err != nil {
		return err
	}
	s.engine.slowness = 7 * s.env.timeout()
	for n := range 3 {
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		// It is started again where its clients look for it.
		s.fleet = append(s.fleet, &instance{name: strconv.Itoa(n + 1), addr: addr})
		if err := s.write(n); err != nil {
			return err
		}
		if s.fleet[n], err = startInstance(ctx, s.env.Proxy, s.fleet[n].name, s.file(n)); err != nil {
			s.fleet = s.fleet[:n]
			return err
		}
	}
	return nil
}

func (s *soak) file(n int) string { return filepath.Join(s.dir, strconv.Itoa(n+1)+".yaml") }

// write writes the configuration of an instance. Its tier in memory is small, so
// that it is full soon, and that of the engine has a bound.
func (s *soak) write(n int) error {
	var b strings.Builder
	fmt.Fprintf(&b, `listeners: [{address: '%s', h2c: on}]
admin: {listen: '127.0.0.1:0'}
log: {format: json}
cache: {memory: 16MiB, shared: {redis: {addresses: ['%s']}, lease_ttl: %s, timeout: %s}}
upstreams:
  app:
    health_check: {path: /ready, interval: 1s, timeout: 500ms}
    ejection: {base_time: 1s}
    idle_timeout: %s
    connect_timeout: %s
    servers:
`, s.fleet[n].addr, s.engine.addr, leaseTTL, s.env.timeout(), idleTimeout, s.env.widened(time.Second+time.Duration(s.version%2)*time.Millisecond))
	for _, it := range s.servers {
		fmt.Fprintf(&b, "      - {address: '%s', id: %s}\n", it.addr, it.name)
	}
	b.WriteString("routes: [{upstream: app, compress: {codings: [gzip]}}]\n")
	return os.WriteFile(s.file(n), []byte(b.String()), 0o600)
}

// rounds puts the fleet through everything until the time is over, at least once
// after the round that warms it up.
func (s *soak) rounds(ctx context.Context) error {
	began := time.Now()
	var warm soaked
	for round := 0; round < 2 || time.Since(began) < s.env.For; round++ {
		to, each := &s.all, mishapTime
		if round == 0 {
			to, each = &warm, mishapTime/5
		}
		if err := s.round(ctx, each, to); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		rest, err := s.rest(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round == 0 {
			s.calm, s.rests = rest, make([][]vitals, len(rest))
			continue
		}
		for n, v := range rest {
			s.rests[n] = append(s.rests[n], v)
		}
		s.env.Progress(fmt.Sprintf("round %d, %s: %s; at rest: %s", round, time.Since(began).Round(time.Second), s.all, rest))
	}
	s.judge(time.Since(began))
	return nil
}

// round is every mishap once, under load.
func (s *soak) round(ctx context.Context, each time.Duration, to *soaked) error {
	t, err := comeSlowly(ctx, s.fleet[0].addr, int(slowOnes/s.env.Margin), slownesses)
	if err != nil {
		return err
	}
	defer t.leave()
	for _, m := range mishaps() {
		if err := s.suffer(ctx, m, each, to); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// suffer is one mishap, and the time before it.
func (s *soak) suffer(ctx context.Context, m mishap, each time.Duration, to *soaked) error {
	asked := s.fleet
	if m.alive > 0 {
		asked = asked[:m.alive]
	}
	stop := s.load(ctx, m.name, asked, to)
	err := pause(ctx, each*2/5)
	if err == nil {
		err = m.hurt(ctx, s)
	}
	if err == nil {
		err = pause(ctx, each*3/5)
	}
	if err == nil {
		err = m.heal(ctx, s)
	}
	return errors.Join(err, stop())
}

// rest waits until nothing is under way, and tells what each instance holds on to.
func (s *soak) rest(ctx context.Context) ([]vitals, error) {
	rest := make([]vitals, len(s.fleet))
	if s.calm == nil {
		if err := pause(ctx, workerTime); err != nil {
			return nil, err
		}
	}
	for n, i := range s.fleet {
		var failed error
		_, err := until(ctx, s.env.widened(restTime), func() bool {
			v, err := i.vitals(ctx)
			rest[n], failed = v, err
			return failed != nil || v.underWay == 0 && (s.calm == nil || s.calm[n].atMost(v))
		})
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		if rest[n].memory, err = i.memory("VmRSS"); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// atMost reports whether another one's goroutines and descriptors are as many, but
// for some.
func (v vitals) atMost(other vitals) bool {
	return other.goroutines <= v.goroutines+spare && other.descriptors <= v.descriptors+spare
}

// judge says what came of all rounds.
func (s *soak) judge(took time.Duration) {
	s.note("rounds of "+strconv.Itoa(len(mishaps()))+" mishaps, and the time for them", fmt.Sprintf("%d, %s", len(s.rests[0]), took.Round(time.Second)))
	s.all.judge(&s.Report)
	for n, rests := range s.rests {
		name, calm, last := "instance "+s.fleet[n].name+": ", s.calm[n], rests[len(rests)-1]
		s.atMost(name+"goroutines at rest at the end", last.goroutines, calm.goroutines+spare)
		s.atMost(name+"descriptors at rest at the end", last.descriptors, calm.descriptors+spare)
		s.require(name+"requests, fills and connections under way at rest", "0", strings.Join(append([]string{strconv.Itoa(last.underWay)}, last.busy...), ", "), last.underWay == 0)
		if n == 2 {
			continue // it is new in each round
		}
		// In the first rounds the collector still finds its pace.
		third := max(len(rests)/3, 1)
		first, end := typicalMemory(rests[:third]), typicalMemory(rests[len(rests)-third:])
		s.below(name+fmt.Sprintf("its memory at rest, %.1f MiB in the first third of the time, in the last", float64(first)/(1<<20)),
			end, first+first/10+memoryRest)
	}
}

// typicalMemory is the median.
func typicalMemory(rests []vitals) int64 {
	sorted := slices.SortedFunc(slices.Values(rests), func(a, b vitals) int { return int(a.memory - b.memory) })
	return sorted[len(sorted)/2].memory
}

// close ends all processes.
func (s *soak) close() {
	var ends sync.WaitGroup
	badly := make([]bool, len(s.fleet))
	for n, i := range s.fleet {
		ends.Go(func() { badly[n] = !i.ended() && !i.stop() })
	}
	ends.Wait()
	for n, i := range s.fleet {
		if found := i.troubles(); len(found) > 0 || badly[n] {
			s.require("instance "+i.name+" has a clean log and end", "yes", strings.Join(append(found, i.log.tail()), "; "), false)
		}
	}
	if s.engine != nil && s.engine.process != nil {
		s.engine.end()
	}
	for _, it := range s.servers {
		it.kill()
	}
	_ = os.RemoveAll(s.dir) // in the folder for what is temporary
}
