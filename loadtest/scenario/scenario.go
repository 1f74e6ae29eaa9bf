package scenario

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ringfence/loadtest/load"
)

// Scenario is a file that has been checked, ready to be played.
type Scenario struct {
	name, target, origin string
	phases               []phase
}

// phase is what is played, and what is asked of it.
type phase struct {
	name       string
	warmup     bool
	plan       load.Plan
	search     *Search
	thresholds []threshold
}

// New checks a file.
func New(f *File) (*Scenario, error) {
	if len(f.Phases) == 0 {
		return nil, errors.New("phases: want at least one")
	}
	s, err := f.empty()
	if err != nil {
		return nil, err
	}
	base := load.Plan{Target: f.Target, Timeout: time.Duration(f.Timeout)}
	switch f.Protocol {
	case "", "http/1.1":
	case "h2":
		base.HTTP2 = true
	default:
		return nil, fmt.Errorf("protocol: want http/1.1 or h2, got %q", f.Protocol)
	}
	if base.TLS, err = f.TLS.config(f.folder); err != nil {
		return nil, err
	}
	for i, p := range f.Phases {
		if p.Name == "" {
			p.Name = fmt.Sprintf("phase %d", i+1)
		}
		one, err := f.phase(p, base)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		s.phases = append(s.phases, one)
	}
	return s, nil
}

// empty is a scenario without phases.
func (f *File) empty() (*Scenario, error) {
	s := &Scenario{name: f.Name, target: f.Target, origin: strings.TrimSuffix(f.Origin, "/")}
	if s.origin == "" {
		return s, nil
	}
	if u, err := url.Parse(s.origin); err != nil || u.Scheme != "http" || u.Host == "" || u.Path != "" {
		return nil, fmt.Errorf("origin: want http://host:port, got %q", f.Origin)
	}
	return s, nil
}

func (t TLS) config(folder string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure} //nolint:gosec // the user says so
	if t.CA == "" {
		return c, nil
	}
	path := t.CA
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls: %s: no certificate in it", path)
	}
	return c, nil
}

func (f *File) phase(p Phase, plan load.Plan) (phase, error) {
	t := p.over(f.Traffic)
	plan.Connections, plan.Fresh, plan.ReadRate = t.Connections, t.NewConnections, int64(t.ReadRate)
	plan.Rate, plan.To, plan.Clients, plan.Think = p.Rate, p.To, p.Clients, time.Duration(p.Think)
	plan.Duration, plan.Count = time.Duration(p.Duration), p.Count
	var err error
	if plan.Request, err = t.requests(f.folder); err != nil {
		return phase{}, err
	}
	switch p.Arrivals {
	case "", "even":
	case "poisson":
		plan.Poisson = true
	default:
		return phase{}, fmt.Errorf("arrivals: want even or poisson, got %q", p.Arrivals)
	}
	if s := p.Search; s != nil {
		if p.Rate != 0 || p.To != 0 || p.Clients != 0 || p.Duration != 0 || p.Count != 0 {
			return phase{}, errors.New("search: want neither rate, clients, duration nor count beside it")
		}
		if !(s.From > 0 && s.To > s.From && s.Hold > 0) {
			return phase{}, errors.New("search: want rates from and to, and how long to hold each")
		}
		plan.Rate, plan.Duration = s.From, time.Duration(s.Hold)
	}
	if err := plan.Check(); err != nil {
		return phase{}, err
	}
	conditions := p.Thresholds
	if conditions == nil {
		conditions = f.Thresholds
	}
	one := phase{name: p.Name, warmup: p.Warmup, plan: plan, search: p.Search}
	one.thresholds, err = f.judges(conditions)
	return one, err
}

// judges reads thresholds; where there are none it is that no request fails.
func (f *File) judges(conditions []string) (list []threshold, err error) {
	if conditions == nil {
		conditions = []string{"errors = 0"}
	}
	for _, text := range conditions {
		c, err := parseThreshold(text)
		if err != nil {
			return nil, err
		}
		if c.metric.origin && f.Origin == "" {
			return nil, fmt.Errorf("threshold %q: want origin, where its counts are told", text)
		}
		list = append(list, c)
	}
	return list, nil
}

// kind is a request that has been read.
type kind struct {
	upTo   int // the sum of the weights to here
	method string
	path   template
	host   string
	names  []string
	values []template
	body   template
}

// requests returns what the requests of a phase are.
func (t Traffic) requests(folder string) (func(int, time.Duration, *rand.Rand) load.Request, error) {
	source, name, err := t.Keys.source(folder)
	if err != nil {
		return nil, err
	}
	sizes, err := t.Sizes.sizes()
	if err != nil {
		return nil, err
	}
	check, err := t.Checks.check()
	if err != nil {
		return nil, err
	}
	given := t.Requests
	if len(given) == 0 {
		given = []Request{{Path: "/{key}"}}
	}
	var kinds []kind
	sum := 0
	for i, r := range given {
		k, err := r.kind()
		if err != nil {
			return nil, fmt.Errorf("requests[%d]: %w", i, err)
		}
		sum += max(r.Weight, 1)
		k.upTo = sum
		kinds = append(kinds, k)
	}
	return func(i int, at time.Duration, r *rand.Rand) load.Request {
		n := 0
		if len(kinds) > 1 {
			n = r.IntN(sum)
		}
		k := kinds[slices.IndexFunc(kinds, func(k kind) bool { return n < k.upTo })]
		key := source.Next(i, at, r)
		return k.with(values{name(key), i, sizes.Of(key), r}, check)
	}, nil
}

// tokenChars are those of a method or a field's name (RFC 9110, section 5.6.2).
const tokenChars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isToken(s string) bool { return s != "" && strings.Trim(s, tokenChars) == "" }

func (r Request) kind() (kind, error) {
	k := kind{method: r.Method, host: r.Host, body: parseTemplate(r.Body)}
	var err error
	if k.path, err = parseTarget(r.Path); err != nil {
		return k, err
	}
	switch {
	case r.Weight < 0:
		return k, fmt.Errorf("weight: want at least 1, got %d", r.Weight)
	case r.Method != "" && !isToken(r.Method):
		return k, fmt.Errorf("method: want one such as GET, got %q", r.Method)
	case strings.ContainsAny(r.Host, " \t\r\n"):
		return k, fmt.Errorf("host: want no blanks, got %q", r.Host)
	}
	for name, value := range r.Headers {
		lower := strings.ToLower(name)
		switch {
		case !isToken(name):
			return k, fmt.Errorf("headers: %q is no name", name)
		case slices.Contains([]string{"host", "content-length", "transfer-encoding", "connection"}, lower):
			return k, fmt.Errorf("headers: %s is not set here: it follows from the request", name)
		case strings.ContainsAny(value, "\r\n"):
			return k, fmt.Errorf("headers: %s: want one line", name)
		}
		k.names, k.values = append(k.names, name), append(k.values, parseTemplate(value))
	}
	return k, nil
}

func (k kind) with(v values, check *load.Check) load.Request {
	r := load.Request{Method: k.method, Target: k.path.with(v), Host: k.host, Check: check}
	if body := k.body.with(v); body != "" {
		r.Body = []byte(body)
	}
	for i, name := range k.names {
		r.Fields = append(r.Fields, load.Field{Name: name, Value: k.values[i].with(v)})
	}
	return r
}

func (c *Checks) check() (*load.Check, error) {
	if c == nil {
		return nil, nil
	}
	check := &load.Check{Status: c.Status}
	for _, s := range c.Status {
		if s < 200 || s > 599 {
			return nil, fmt.Errorf("checks: status %d: want 200 to 599", s)
		}
	}
	for name, value := range c.Headers {
		if !isToken(name) {
			return nil, fmt.Errorf("checks: %q is no name of a header", name)
		}
		check.Fields = append(check.Fields, load.Field{Name: http.CanonicalHeaderKey(name), Value: value})
	}
	if len(check.Fields) > load.MostCheckFields {
		return nil, fmt.Errorf("checks: want at most %d headers", load.MostCheckFields)
	}
	return check, nil
}

// Replay is a scenario of one phase that is given, with these thresholds (none: errors =
// 0), and the origin's counts from there ("" for none).
func Replay(name, origin string, plan load.Plan, conditions []string) (*Scenario, error) {
	f := &File{Name: name, Target: plan.Target, Origin: origin}
	s, err := f.empty()
	if err != nil {
		return nil, err
	}
	if err := plan.Check(); err != nil {
		return nil, err
	}
	one := phase{name: "replay", plan: plan}
	if one.thresholds, err = f.judges(conditions); err != nil {
		return nil, err
	}
	s.phases = []phase{one}
	return s, nil
}
