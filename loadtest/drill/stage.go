package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringfence/loadtest/origin"
)

// setup is what a drill needs beside three instances, an engine and an origin.
// Entries are in YAML's flow style, each with a comma before it.
type setup struct {
	engines int    // independent nodes; default 1
	cache   string // further entries of the section cache
	shared  string // of cache.shared
	app     string // of the upstream
	route   string // of the route
}

// page decides the answer to the nth request for a path, counted from 1.
type page func(nth int, r origin.Request) origin.Answer

// stage is where a scene is played.
type stage struct {
	Report
	env     Env
	setup   setup
	dir     string
	origin  *origin.Origin
	engines []*engine
	fleet   []*instance // those in use; a scene that ends one takes it out
	all     []*instance
	crowds  []*crowd
	probes  int

	mu    sync.Mutex
	pages map[string]page
	asked map[string][]time.Time // when the origin was asked, by path
}

func newStage(env Env, su setup) (*stage, error) {
	su.engines = max(su.engines, 1)
	s := &stage{env: env, setup: su, pages: map[string]page{}, asked: map[string][]time.Time{}}
	var err error
	if s.dir, err = os.MkdirTemp("", "drill"); err != nil {
		return s, err
	}
	if s.origin, err = origin.Start(origin.Options{Script: s.script}); err != nil {
		return s, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

func (s *stage) script(r origin.Request) origin.Answer {
	s.mu.Lock()
	p := s.pages[r.Path()]
	s.asked[r.Path()] = append(s.asked[r.Path()], time.Now())
	nth := len(s.asked[r.Path()])
	s.mu.Unlock()
	if p == nil {
		return origin.Answer{Status: 404}
	}
	return p(nth, r)
}

// serve decides what the origin answers for a path from now on. The count of
// its requests goes on.
func (s *stage) serve(path string, p page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = p
}

// always is a page of one answer.
func always(a origin.Answer) page { return func(int, origin.Request) origin.Answer { return a } }

// cacheable is an answer that everybody may have for a minute.
func cacheable(size int64) origin.Answer {
	return origin.Answer{Size: size}.With("Cache-Control", "max-age=60").With("ETag", `"1"`)
}

func after(d time.Duration, a origin.Answer) origin.Answer {
	a.Delay = d
	return a
}

// requests returns when the origin was asked for a path.
func (s *stage) requests(path string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.asked[path]...)
}

// count is how often the origin was asked for a path.
func (s *stage) count(path string) int { return len(s.requests(path)) }

// awaitRequests waits until the origin was asked n times for a path.
func (s *stage) awaitRequests(ctx context.Context, path string, n int) error {
	ok, err := until(ctx, startTime, func() bool { return s.count(path) >= n })
	if err == nil && !ok {
		return fmt.Errorf("the origin was not asked %d times for %s", n, path)
	}
	return err
}

// open starts the engines and the instances, and waits until these share.
func (s *stage) open(ctx context.Context) error {
	for range s.setup.engines {
		e, err := startEngine(ctx, s.env.Engine, s.dir)
		if e != nil && e.process != nil {
			s.engines = append(s.engines, e)
		}
		if err != nil {
			return err
		}
		e.slowness = 7 * s.env.timeout()
	}
	for range 3 {
		if _, err := s.join(ctx); err != nil {
			return err
		}
	}
	return s.sharing(ctx, "from its start on the fleet shares its fills after")
}

// join adds an instance to the fleet.
func (s *stage) join(ctx context.Context) (*instance, error) {
	name := strconv.Itoa(len(s.all) + 1)
	file := filepath.Join(s.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(s.config()), 0o600); err != nil {
		return nil, err
	}
	i, err := startInstance(ctx, s.env.Proxy, name, file)
	if err != nil {
		return nil, err
	}
	s.fleet, s.all = append(s.fleet, i), append(s.all, i)
	return i, nil
}

func (s *stage) config() string {
	addresses := make([]string, len(s.engines))
	for i, e := range s.engines {
		addresses[i] = e.addr
	}
	return fmt.Sprintf(`listen: 127.0.0.1:0
admin: {listen: '127.0.0.1:0'}
log: {format: json}
cache: {shared: {redis: {addresses: ['%s']}, lease_ttl: %s, timeout: %s%s}%s}
upstreams: {app: {servers: [{address: '%s'}]%s}}
routes: [{upstream: app%s}]
`, strings.Join(addresses, "', '"), leaseTTL, s.env.timeout(), s.setup.shared, s.setup.cache, s.origin.Addr(), s.setup.app, s.setup.route)
}

// close ends all processes, in the order in which they depend on each other.
// The context of those who still ask must have ended.
func (s *stage) close() {
	for _, c := range s.crowds {
		c.wait()
	}
	var ends sync.WaitGroup
	badly := make([]bool, len(s.all))
	for n, i := range s.all {
		ends.Go(func() { badly[n] = !i.ended() && !i.stop() })
	}
	ends.Wait()
	for n, i := range s.all {
		if found := i.troubles(); len(found) > 0 || badly[n] {
			s.require("instance "+i.name+" has a clean log and end", "yes", strings.Join(append(found, i.log.tail()), "; "), false)
		}
	}
	for _, e := range s.engines {
		e.end()
	}
	s.origin.Stop()
	_ = os.RemoveAll(s.dir) // in the folder for what is temporary
}

// leave kills an instance of the fleet.
func (s *stage) leave(i *instance) {
	i.kill()
	for n, other := range s.fleet {
		if other == i {
			s.fleet = append(s.fleet[:n:n], s.fleet[n+1:]...)
			return
		}
	}
}

// asks are n requests for a target, dealt out to the instances.
func asks(n int, target string, to ...*instance) []ask {
	all := make([]ask, n)
	for i := range all {
		all[i] = ask{to: to[i%len(to)], target: target}
	}
	return all
}

// settle waits until no instance has a fill under way.
func (s *stage) settle(ctx context.Context) error {
	for _, i := range s.fleet {
		if err := i.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sharing requires that the whole fleet shares its fills within returnTime, and
// goes on to.
func (s *stage) sharing(ctx context.Context, what string) error {
	began := time.Now()
	var since time.Time
	for inRow := 0; inRow < 3; inRow++ {
		now := time.Now()
		if now.Sub(began) > 2*returnTime {
			s.require(what, "within "+short(returnTime), "not in "+short(now.Sub(began)), false)
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		s.probes++
		path := "/probe/" + strconv.Itoa(s.probes)
		s.serve(path, always(after(s.env.widened(50*time.Millisecond), cacheable(10))))
		for _, a := range s.send(ctx, asks(len(s.fleet), path, s.fleet...)...).wait() {
			if err := content(path, 10).fault(a); err != nil {
				s.require(what, "all answered", err.Error(), false)
				return nil
			}
		}
		if s.count(path) > 1 {
			inRow = -1
		} else if inRow == 0 {
			since = now
		}
	}
	s.within(what, since.Sub(began), returnTime)
	return nil
}
