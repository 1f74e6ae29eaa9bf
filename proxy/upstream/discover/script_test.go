package discover

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// script is a Resolver that answers as it is told, and counts.
type script struct {
	mu       sync.Mutex
	hosts    map[string][]netip.Addr // absent: no such host
	services map[string][]*net.SRV
	fails    map[string]error         // instead of the answer, or beside that of a service
	takes    map[string]time.Duration // as long as it takes unless ctx ends
	asked    map[string][]time.Time
	lingers  time.Duration // from the end of ctx until it gives up
	now, top int           // questions under way, and the most at a time
}

func newScript() *script {
	return &script{
		hosts: map[string][]netip.Addr{}, services: map[string][]*net.SRV{}, fails: map[string]error{},
		takes: map[string]time.Duration{}, asked: map[string][]time.Time{},
	}
}

// set changes what is answered from now on; err "" is none.
func (s *script) set(host, err string, answer ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[host] = addrs(answer...)
	delete(s.fails, host)
	if err != "" {
		s.fails[host] = errors.New(err)
	}
}

func (s *script) setService(name string, records ...*net.SRV) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[name] = records
}

func (s *script) times(name string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked[name])
}

func (s *script) wait(ctx context.Context, name string) error {
	s.mu.Lock()
	s.asked[name] = append(s.asked[name], time.Now())
	s.now++
	s.top = max(s.top, s.now)
	takes := s.takes[name]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if takes == 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		time.Sleep(s.lingers)
		return ctx.Err()
	case <-time.After(takes):
		return nil
	}
}

func (s *script) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if err := s.wait(ctx, host); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, ok := s.hosts[host]
	switch {
	case s.fails[host] != nil:
		return nil, s.fails[host]
	case !ok || network != "ip":
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return answer, nil
}

func (s *script) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if err := s.wait(ctx, name); err != nil {
		return "", nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if service != "" || proto != "" {
		return "", nil, errors.New("want the whole name")
	}
	return name, s.services[name], s.fails[name]
}

// told records what a Discovery tells.
type told struct {
	mu      sync.Mutex
	changes []string
	errors  []string
}

func (r *told) all() (changes, errors []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.changes), slices.Clone(r.errors)
}

// started returns a running Discovery that is closed when the test ends, and
// what it tells.
func started(t *testing.T, resolver *script, resolve time.Duration, entries ...Entry) (*Discovery, *told) {
	t.Helper()
	r := new(told)
	d, err := New(Options{
		Entries: entries, Resolve: resolve, Resolver: resolver,
		OnChange: func(s []Server) { r.mu.Lock(); r.changes = append(r.changes, show(s)); r.mu.Unlock() },
		OnError:  func(err error) { r.mu.Lock(); r.errors = append(r.errors, err.Error()); r.mu.Unlock() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	d.Start(t.Context())
	return d, r
}

func host(names ...string) (entries []Entry) {
	for _, name := range names {
		entries = append(entries, Entry{Address: name + ":80", Weight: 1})
	}
	return entries
}

func expect(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}
