package main_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// requestLog is what reached the origin for one case, and what it answers.
type requestLog struct {
	mu       sync.Mutex
	script   script
	requests []origin.Request
}

// begin sets what the origin answers.
func (l *requestLog) begin(s script) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.script = s
}

func (l *requestLog) enter(r origin.Request) (int, script) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
	return len(l.requests), l.script
}

func (l *requestLog) from(i int) []origin.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests[i:])
}

// almanac has the cases with dates that are about right: many wait for a while
// until it is their turn.
type almanac struct {
	mu    sync.Mutex
	built time.Time
	cases map[string]conformanceCase
}

// of returns a case whose dates were made within the last second.
func (a *almanac) of(title string) conformanceCase {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.built) > time.Second {
		a.built, a.cases = time.Now(), map[string]conformanceCase{}
		for _, c := range conformanceCases() {
			a.cases[c.title()] = c
		}
	}
	return a.cases[title]
}

// stage is a proxy and an origin that many cases share, each below a path of
// its own.
type stage struct {
	prefixes map[string]string // of each set of route entries
	logs     map[string]*requestLog
	addr     string // of the origin
	almanac  *almanac
}

func newStage(t *testing.T, cases []conformanceCase, a *almanac) *stage {
	t.Helper()
	s := &stage{prefixes: map[string]string{}, logs: map[string]*requestLog{}, almanac: a}
	for _, c := range cases {
		if s.prefixes[c.route] == "" {
			s.prefixes[c.route] = "/r" + strconv.Itoa(len(s.prefixes))
		}
		base := c.base(s.prefixes[c.route])
		if s.logs[base] != nil {
			t.Fatalf("two cases are called %q", c.title())
		}
		s.logs[base] = &requestLog{}
	}
	o := newOrigin(t, "stage", s.answer)
	s.addr = o.Addr()
	return s
}

// answer is the origin's script: that of the case whose path it is.
func (s *stage) answer(r origin.Request) origin.Answer {
	parts := strings.SplitN(r.Path(), "/", 4)
	if len(parts) < 3 {
		return origin.Answer{Status: 404}
	}
	base := strings.Join(parts[:3], "/")
	l := s.logs[base]
	if l == nil {
		return origin.Answer{Status: 404}
	}
	n, script := l.enter(r)
	a := script(n, r)
	if a.Body == nil && a.Size == 0 {
		a.Body = strconv.AppendInt(nil, int64(n), 10)
	}
	return a
}

// below is what follows the case's own path in a request's target.
func below(r origin.Request) string {
	path, query, asked := strings.Cut(r.Target, "?")
	var rest string
	if parts := strings.SplitN(path, "/", 4); len(parts) == 4 {
		rest = "/" + parts[3]
	}
	if asked {
		rest += "?" + query
	}
	return rest
}

// yaml has a route for each set of entries.
func (s *stage) yaml(top, upstream string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n%s\nupstreams:\n  app:\n    servers: [{address: '%s'}]\n    %s\nroutes:\n",
		top, s.addr, upstream)
	for _, entries := range slices.Sorted(maps.Keys(s.prefixes)) {
		fmt.Fprintf(&b, "  - {path_prefix: %s, upstream: app%s}\n", s.prefixes[entries], prefixed(entries))
	}
	return b.String()
}

// play asks one request after the other.
func (s *stage) play(t *testing.T, p *process, c conformanceCase) {
	base := c.base(s.prefixes[c.route])
	l := s.logs[base]
	p = p.with(t)
	c = s.almanac.of(c.title())
	l.begin(c.script)
	for i, step := range c.steps {
		seen := len(l.from(0))
		r := p.do(orElse(step.method, "GET"), base+step.at, step.upload, step.fields...)
		if step.behind {
			eventually(t, "a request in the background", func() bool { return len(l.from(seen)) > 0 })
		}
		p.settle()
		if t.Run("step "+strconv.Itoa(i+1), func(t *testing.T) { step.judge(t, r, l.from(seen)) }); t.Failed() {
			return
		}
	}
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// judge compares the answer, and what reached the origin, with the step.
func (s step) judge(t *testing.T, r reply, asked []origin.Request) {
	if (r.err != nil) != s.cut {
		t.Fatalf("got %s", r)
	}
	switch want := orElse(s.status, 200); {
	case want == whatever, want == failed && r.status >= 500, want == r.status:
	default:
		t.Errorf("status %d, want %d", r.status, want)
	}
	if s.body != "" && r.body != s.body {
		t.Errorf("body %q, want %q", r.body, s.body)
	}
	want := 1
	if s.cached {
		want = 0
	}
	if want = orElse(s.asked, want); want >= 0 && len(asked) != want {
		t.Errorf("%d requests reached the origin, want %d", len(asked), want)
	}
	if s.behind && !r.is("hit") {
		t.Errorf("it waited for the origin: Cache-Status is %q", r.header.Get("Cache-Status"))
	}
	if s.says != "" && !r.is(s.says) {
		t.Errorf("Cache-Status is %q, want %s", r.header.Get("Cache-Status"), s.says)
	}
	if age, err := strconv.Atoi(r.header.Get("Age")); s.age > 0 && (err != nil || age < s.age || age > s.age+30) {
		t.Errorf("Age is %q, want about %d", r.header.Get("Age"), s.age)
	}
	compare(t, "the answer", r.header.Values, s.has, s.lacks)
	if len(s.sent)+len(s.unsent) > 0 {
		if len(asked) == 0 {
			t.Errorf("no request reached the origin")
		} else {
			compare(t, "the origin's request", asked[len(asked)-1].Values, s.sent, s.unsent)
		}
	}
	if s.check != nil {
		s.check(t, r)
	}
	if t.Failed() {
		t.Logf("got %s", r)
	}
}

func compare(t *testing.T, what string, values func(string) []string, has, lacks lines) {
	t.Helper()
	want := map[string][]string{}
	for _, line := range has {
		name, value, _ := strings.Cut(line, ": ")
		want[name] = append(want[name], value)
	}
	for name, vs := range want {
		if got := values(name); !slices.Equal(got, vs) {
			t.Errorf("%s: %s is %q, want %q", what, name, got, vs)
		}
	}
	for _, name := range lacks {
		if got := values(name); len(got) > 0 {
			t.Errorf("%s: %s is %q, want none", what, name, got)
		}
	}
}
