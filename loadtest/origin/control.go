package origin

import (
	"fmt"
	"math/rand/v2"
	"net/url"
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
//	POST /control?status=503&part=30  30 % of the requests are answered with 503
//	POST /control?delay=50ms&ready=no all are, after 50 ms; the ready path says 503
//	POST /control                     all is as in the beginning
//	GET  /control                     "requests N": how many were answered so far
//	GET  /ready                       200, or 503
//
// Beside part (1 to 100 percent, default 100) and ready (yes or no, default yes)
// it takes what [FromQuery] does, and so does the query of each request.
// Requests to the two paths are not counted. Create one with [NewControl]; its
// methods may be called concurrently.
type Control struct {
	byDefault Answer
	now       atomic.Pointer[mood]
	requests  atomic.Int64
}

// mood is how an origin answers for the time being.
type mood struct {
	answer  Answer
	part    int // percent of the requests that get it
	unready bool
}

// NewControl returns a control that has told nothing yet.
func NewControl(byDefault Answer) *Control {
	c := &Control{byDefault: byDefault}
	c.now.Store(&mood{answer: byDefault})
	return c
}

// Script is a [Script].
func (c *Control) Script(r Request) Answer {
	now := c.now.Load()
	switch path := r.Path(); {
	case path == ReadyPath && now.unready:
		return Answer{Status: 503}
	case path == ReadyPath:
		return Answer{}
	case path == ControlPath && r.Method == "POST":
		next, err := c.told(r.query())
		if err != nil {
			return Answer{Status: 400, Body: []byte(err.Error() + "\n")}
		}
		c.now.Store(next)
		return Answer{Status: 204}
	case path == ControlPath:
		return Text("no-store", fmt.Sprintf("requests %d\n", c.requests.Load()))
	}
	c.requests.Add(1)
	if rand.IntN(100) < now.part {
		return FromQuery(now.answer)(r)
	}
	return FromQuery(c.byDefault)(r)
}

func (c *Control) told(query string) (*mood, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	m := &mood{part: 100}
	if values.Has("part") {
		if m.part, err = number(values.Get("part"), 1, 100); err != nil {
			return nil, fmt.Errorf("part: %w", err)
		}
	}
	if values.Has("ready") {
		ready, err := oneOf(map[string]bool{"yes": true, "no": false}, values.Get("ready"))
		if err != nil {
			return nil, fmt.Errorf("ready: %w", err)
		}
		m.unready = !ready
	}
	m.answer, err = fromQuery(c.byDefault, query)
	return m, err
}
