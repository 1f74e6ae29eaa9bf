package origin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// The paths that a [Control] answers itself.
const (
	ControlPath = "/control"
	ReadyPath   = "/ready"
)

// Control is the script of an origin that is told over HTTP how to answer from
// now on:
//
//	POST /control?status=503&part=30    30 % of the requests are answered with 503
//	POST /control?delay=50ms&ready=no   all are, after 50 ms; the ready path says 503
//	POST /control?path=/api/&delay=1s   those whose path begins so are, after 1 s
//	POST /control?path=/api/            they are again as all others
//	POST /control                       all is as in the beginning
//	GET  /control                       [Counts], as JSON
//	DELETE /control                     the counts begin anew
//	GET  /ready                         200, or 503
//
// Beside path, part (1 to 100 percent, default 100) and ready (yes or no,
// default yes; of the whole origin) it takes what [FromQuery] does, and so does
// the query of each request. Of several paths the longest counts. Requests to
// the two paths are not counted. Create one with [NewControl]; its methods may
// be called concurrently.
type Control struct {
	begin mood
	mu    sync.Mutex // of those who change now
	now   atomic.Pointer[mood]
	keys  census
}

// mood is how an origin answers for the time being. It is not changed once it is in
// use.
type mood struct {
	rest    rule
	paths   map[string]rule // by the beginning of a path
	unready bool
}

// rule is how some requests are answered: a part of them so, the others otherwise.
type rule struct {
	answer Answer
	part   int // percent
	other  Answer
}

// NewControl returns a control that has told nothing yet. Each of the paths is
// the beginning of a path with a query that says how such requests are answered
// in the beginning, as in /slow/?delay=1s.
func NewControl(byDefault Answer, paths ...string) (*Control, error) {
	c := &Control{begin: mood{rest: rule{byDefault, 100, byDefault}, paths: map[string]rule{}}}
	for _, p := range paths {
		path, query, _ := strings.Cut(p, "?")
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("%s: want a path and a query, such as /slow/?delay=1s", p)
		}
		r, err := c.rule(query)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		c.begin.paths[path] = r
	}
	c.now.Store(&c.begin)
	return c, nil
}

// Script is a [Script].
func (c *Control) Script(r Request) Answer {
	switch path := r.Path(); {
	case path == ReadyPath && c.now.Load().unready:
		return Answer{Status: 503}
	case path == ReadyPath:
		return Answer{}
	case path == ControlPath:
		return c.control(r)
	}
	rule := c.now.Load().find(r.Path())
	answer := rule.answer
	if rand.IntN(100) >= rule.part {
		answer = rule.other
	}
	answer = FromQuery(answer)(r)
	answer.Done = c.keys.begin(r.Target)
	return answer
}

// find returns the rule for a path.
func (m *mood) find(path string) rule {
	found, length := m.rest, -1
	for beginning, r := range m.paths {
		if len(beginning) > length && strings.HasPrefix(path, beginning) {
			found, length = r, len(beginning)
		}
	}
	return found
}

func (c *Control) control(r Request) Answer {
	switch r.Method {
	case "POST":
		if err := c.tell(r.query()); err != nil {
			return Answer{Status: 400, Body: []byte(err.Error() + "\n")}
		}
		return Answer{Status: 204}
	case "DELETE":
		c.keys.forget()
		return Answer{Status: 204}
	}
	text, err := json.Marshal(c.keys.counts())
	if err != nil {
		return Answer{Status: 500, Body: []byte(err.Error() + "\n")}
	}
	return Text("no-store", string(text)+"\n").With("Content-Type", "application/json")
}

func (c *Control) tell(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r, err := c.rule(query)
	if err != nil {
		return err
	}
	if values.Has("path") {
		return c.tellPath(values, r)
	}
	next := c.begin
	next.rest = r
	if len(values) > 0 { // paths stay as they were told
		next.paths = c.now.Load().paths
	}
	if values.Has("ready") {
		ready, err := oneOf(map[string]bool{"yes": true, "no": false}, values.Get("ready"))
		if err != nil {
			return fmt.Errorf("ready: %w", err)
		}
		next.unready = !ready
	}
	c.now.Store(&next)
	return nil
}

func (c *Control) tellPath(values url.Values, r rule) error {
	path := values.Get("path")
	if !strings.HasPrefix(path, "/") {
		return errors.New("path: want the beginning of one, such as /api/")
	}
	if values.Has("ready") {
		return errors.New("ready: is of the whole origin; want no path beside it")
	}
	next := *c.now.Load()
	next.paths = maps.Clone(next.paths)
	if len(values) > 1 {
		next.paths[path] = r
	} else {
		delete(next.paths, path)
	}
	c.now.Store(&next)
	return nil
}

// rule reads what a query says of answers.
func (c *Control) rule(query string) (rule, error) {
	r := rule{part: 100, other: c.begin.rest.answer}
	values, err := url.ParseQuery(query)
	if err != nil {
		return r, fmt.Errorf("query: %w", err)
	}
	if values.Has("part") {
		if r.part, err = number(values.Get("part"), 1, 100); err != nil {
			return r, fmt.Errorf("part: %w", err)
		}
	}
	r.answer, err = fromQuery(c.begin.rest.answer, query)
	return r, err
}

// Counts is what reached an origin with a [Control] since its start, or since the
// counts were begun anew. A key is a path with its query.
type Counts struct {
	Requests int        `json:"requests"`
	Keys     int        `json:"keys"`    // different ones, up to a million
	PerKey   int        `json:"per_key"` // requests for the key that most were for
	Peak     int        `json:"peak"`    // the most at one moment for one key
	Others   int        `json:"others"`  // requests for keys past the first million
	Busiest  []KeyCount `json:"busiest"` // the ten keys that most requests were for, in order
}

// KeyCount is what came for one key.
type KeyCount struct {
	Key      string `json:"key"`
	Requests int    `json:"requests"`
	Peak     int    `json:"peak"` // the most at one moment
}

// The most keys that are told apart, and that are named.
const (
	mostKeys  = 1_000_000
	mostNamed = 10
)

// census counts requests by key.
type census struct {
	mu     sync.Mutex
	sum    int
	others int
	keys   map[string]*Count
}

// begin counts a request, as under way until done is called.
func (c *census) begin(key string) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum++
	n := c.keys[key]
	if n == nil {
		if len(c.keys) == mostKeys {
			c.others++
			return nil
		}
		if c.keys == nil {
			c.keys = map[string]*Count{}
		}
		n = new(Count)
		c.keys[key] = n
	}
	n.Total++
	n.InFlight++
	n.Peak = max(n.Peak, n.InFlight)
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		n.InFlight--
	})
}

// forget begins anew. Those under way count as neither.
func (c *census) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum, c.others, c.keys = 0, 0, nil
}

func (c *census) counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := Counts{Requests: c.sum, Keys: len(c.keys), Others: c.others, Busiest: []KeyCount{}}
	for key, n := range c.keys {
		all.PerKey, all.Peak = max(all.PerKey, n.Total), max(all.Peak, n.Peak)
		all.Busiest = busiest(all.Busiest, KeyCount{key, n.Total, n.Peak})
	}
	return all
}

// busiest adds to the list, which is in order, where there is room or one that is less.
func busiest(list []KeyCount, k KeyCount) []KeyCount {
	at := slices.IndexFunc(list, func(o KeyCount) bool {
		return k.Requests > o.Requests || k.Requests == o.Requests && k.Key < o.Key
	})
	if at < 0 {
		at = len(list)
	}
	list = slices.Insert(list, at, k)
	return list[:min(len(list), mostNamed)]
}
