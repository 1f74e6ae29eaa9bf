package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"time"

	"ringfence/loadtest/result"
)

// Plan describes a phase. Target and Request are required, and Rate with Duration or
// Times, for an open loop, or Clients with Duration or Count, for a closed one.
type Plan struct {
	// Target is where requests go, such as http://127.0.0.1:8080; https is TLS.
	Target string
	// Request returns the i-th request, i counted from 0, which is due that long after
	// the start. It is called from many goroutines, each with a source of chance of
	// its own.
	Request func(i int, at time.Duration, r *rand.Rand) Request

	Rate    float64 // requests a second, whatever the answers do
	To      float64 // what Rate has changed to at the end, evenly; default Rate
	Poisson bool    // arrivals are random and independent, at that rate

	// Times are when requests are due after the start, in order, in place of a rate.
	Times []time.Duration

	Clients int           // each waits for an answer before its next request
	Think   time.Duration // and this long besides: the mean of an exponential law

	Duration time.Duration // how long requests are sent
	Count    int           // how many are sent at most; 0: no bound

	Timeout     time.Duration // bound on each request, from when it is sent; default 10 s
	Connections int           // most requests under way at once in an open loop; default 256
	Fresh       bool          // each request has a connection of its own
	HTTP2       bool          // over TLS, or with prior knowledge
	TLS         *tls.Config   // nil: the system's authorities
	ReadRate    int64         // bytes a second at which a client takes an answer; 0: as they come

	// Progress is told what each moment came to; nil: nobody is.
	Progress func(result.Tick)
}

// Request is one request.
type Request struct {
	Method string // default GET
	Target string // path and query
	Host   string // default that of the plan's target
	Fields []Field
	Body   []byte
	Check  *Check // nil: any answer is right
}

// Field is a field line. It may not hold line ends.
type Field struct{ Name, Value string }

// Check is what an answer must be to be right.
type Check struct {
	Status []int   // one of these; empty: any
	Fields []Field // each is there, and its value contains this
}

// Path is a plain GET.
func Path(target string) Request { return Request{Target: target} }

// open reports whether requests are sent by the clock.
func (p Plan) open() bool { return p.Clients == 0 }

// workers is how many requests are under way at once at most.
func (p Plan) workers() int {
	if p.open() {
		return p.Connections
	}
	return p.Clients
}

// Check says why the plan cannot be run.
func (p Plan) Check() error {
	_, _, err := p.checked()
	return err
}

// checked returns the plan with its defaults, and the address of its target.
func (p Plan) checked() (plan Plan, to *url.URL, err error) {
	if p.Timeout <= 0 {
		p.Timeout = 10 * time.Second
	}
	if p.Connections <= 0 {
		p.Connections = 256
	}
	if p.To <= 0 {
		p.To = p.Rate
	}
	if n := len(p.Times); n > 0 {
		defer func() { plan.Duration = p.Times[n-1] + time.Nanosecond }()
	}
	to, err = url.Parse(p.Target)
	if err != nil {
		return p, nil, fmt.Errorf("load: %w", err)
	}
	switch {
	case to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "":
		return p, nil, fmt.Errorf("target %q: want http://host:port or https://host:port", p.Target)
	case p.Request == nil:
		return p, nil, errors.New("want requests")
	case len(p.Times) > 0 && (p.Rate > 0 || p.Clients > 0 || p.Duration > 0 || p.Count > 0 || p.Poisson):
		return p, nil, errors.New("want nothing beside times")
	case len(p.Times) == 0 && (p.Rate > 0) == (p.Clients > 0):
		return p, nil, errors.New("want either a rate or clients")
	case p.Rate < 0 || p.Clients < 0 || p.Count < 0 || p.Think < 0 || p.ReadRate < 0:
		return p, nil, errors.New("want no number below 0")
	case len(p.Times) == 0 && (p.Duration <= 0 && p.Count == 0 || p.open() && p.Duration <= 0):
		return p, nil, errors.New("want a duration above 0")
	case p.HTTP2 && (p.Fresh || p.ReadRate > 0):
		return p, nil, errors.New("HTTP/2 shares its connections, and reads no answer slowly")
	}
	return p, to, nil
}

// address is where to connect to.
func address(to *url.URL) string {
	if to.Port() != "" {
		return to.Host
	}
	return net.JoinHostPort(to.Hostname(), map[string]string{"http": "80", "https": "443"}[to.Scheme])
}
