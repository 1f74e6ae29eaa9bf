package health

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kind is the protocol a probe speaks. The set is closed.
type Kind uint8

// The kinds of probes.
const (
	// HTTP sends a request over HTTP/1.1 and judges the answer: the default.
	HTTP Kind = iota
	// TCP is satisfied by an accepted connection, on a Unix socket too.
	TCP
	// HTTPS is HTTP over TLS.
	HTTPS
	// TLS is satisfied by a finished handshake.
	TLS
)

// speaksHTTP and usesTLS are the two sides of a kind.
func (k Kind) speaksHTTP() bool { return k == HTTP || k == HTTPS }
func (k Kind) usesTLS() bool    { return k == HTTPS || k == TLS }

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct {
	First, Last int
}

// Check says how members are probed and how many results in a row change a
// member's state. A zero field takes its default, and one that the kind has no
// use for is an error. The caller must not change what a Check refers to after
// handing it over.
type Check struct {
	Kind Kind // HTTP
	Port int  // the port to connect to on the member's host; the member's own

	// Preamble is sent first on each connection, before TLS, such as a PROXY
	// header; nothing.
	Preamble []byte

	Method   string        // GET, HEAD, OPTIONS or POST, always without a body; GET
	Path     string        // request target, with its query; "/"
	Host     string        // Host field; the member's address, "localhost" on a Unix socket
	Header   http.Header   // further fields; User-Agent and Accept may be replaced, what frames or routes may not
	Statuses []StatusRange // statuses that mean healthy; 200 to 399
	Contains string        // text that has to be in the first 64 KiB of the body; none

	// TLS is for HTTPS and TLS, the zero configuration if nil. Where it has no
	// ServerName, that is the host of Host, or else of the member's address.
	TLS *tls.Config

	Interval     time.Duration // from the start of one probe to that of the next; 2 s
	FastInterval time.Duration // the same while the last result speaks against the state; a quarter of Interval
	Timeout      time.Duration // for a whole probe, at most Interval; 1 s
	Jitter       float64       // fraction by which each interval varies either way, below 1; 0.2
	Rise         int           // successes in a row that bring a member back; 2
	Fall         int           // failures in a row that take a member down; 3
}

func (c Check) withDefaults() Check {
	c.Interval = orDefault(c.Interval, 2*time.Second)
	c.FastInterval = orDefault(c.FastInterval, c.Interval/4)
	c.Timeout = orDefault(c.Timeout, time.Second)
	c.Jitter = orDefault(c.Jitter, 0.2)
	c.Rise = orDefault(c.Rise, 2)
	c.Fall = orDefault(c.Fall, 3)
	if c.Kind.speaksHTTP() {
		c.Method = orDefault(c.Method, http.MethodGet)
		c.Path = orDefault(c.Path, "/")
		if len(c.Statuses) == 0 {
			c.Statuses = []StatusRange{{First: 200, Last: 399}}
		}
	}
	return c
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// faults collects what is wrong with a configuration.
type faults []error

func (f *faults) when(bad bool, format string, args ...any) {
	if bad {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

// validate names every fault of a check that has its defaults.
func (c Check) validate() error {
	var f faults
	f.when(c.Kind > TLS, "kind %d is none of HTTP, TCP, HTTPS and TLS", c.Kind)
	f.when(c.Port < 0 || c.Port > 65535, "port %d is not within 1-65535", c.Port)
	f.when(c.TLS != nil && !c.Kind.usesTLS(), "a TLS configuration is of no use to a check without TLS")
	if c.Kind.speaksHTTP() {
		c.validateHTTP(&f)
	} else {
		f.when(c.Method != "" || c.Path != "" || c.Host != "" || c.Contains != "" || len(c.Header)+len(c.Statuses) > 0,
			"method, path, host, header, statuses and body text are of no use to a check without HTTP")
	}
	f.when(c.Interval < 0, "interval %v is negative", c.Interval)
	f.when(c.FastInterval < 0, "fast interval %v is negative", c.FastInterval)
	f.when(c.FastInterval > c.Interval, "fast interval %v is longer than the interval %v", c.FastInterval, c.Interval)
	f.when(c.Timeout < 0, "timeout %v is negative", c.Timeout)
	f.when(c.Timeout > c.Interval, "timeout %v is longer than the interval %v", c.Timeout, c.Interval)
	f.when(!(c.Jitter >= 0 && c.Jitter < 1), "jitter %v is not a fraction from 0 up to 1", c.Jitter)
	f.when(c.Rise < 0, "rise %d is negative", c.Rise)
	f.when(c.Fall < 0, "fall %d is negative", c.Fall)
	return errors.Join(f...)
}

// validateHTTP looks at what goes into the request as it is: a space or a line
// break in it would make it another request (RFC 9112, section 3).
func (c Check) validateHTTP(f *faults) {
	f.when(!slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost}, c.Method),
		"method %q is none of GET, HEAD, OPTIONS and POST", c.Method)
	f.when(!strings.HasPrefix(c.Path, "/") || !visible(c.Path) || strings.Contains(c.Path, "#"),
		"path %q is not an absolute path in visible ASCII without a fragment", c.Path)
	f.when(!visible(c.Host) || strings.Contains(c.Host, "/"), "host %q is not a host name", c.Host)
	f.when(c.Contains != "" && c.Method == http.MethodHead, "the answer to HEAD has no body to look into")
	f.when(len(c.Contains) > maxBody, "a text of %d bytes is longer than what is read of a body", len(c.Contains))
	for _, r := range c.Statuses {
		f.when(r.First < 100 || r.Last > 599 || r.First > r.Last,
			"statuses %d-%d are not a range within 100-599", r.First, r.Last)
	}
	for name, values := range c.Header {
		f.when(!isToken(name), "header %q is not a field name", name)
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Expect", "Te", "Trailer":
			f.when(true, "header %s is not for a check to set", name)
		}
		for _, v := range values {
			f.when(strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }),
				"header %s: value %q has control characters", name, v)
		}
	}
}

// visible says whether s is nothing but visible ASCII.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// isToken says whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

// healthy says whether a status means a healthy server.
func (c Check) healthy(status int) bool {
	return slices.ContainsFunc(c.Statuses, func(r StatusRange) bool {
		return r.First <= status && status <= r.Last
	})
}

// spacing is the time from the start of one probe to that of the next, for a
// random u in [0, 1). Jitter keeps the instances of a fleet, and the members of
// one group, from falling into step. A member in transition is looked at more
// often, so that its state is soon settled one way or the other.
func (c Check) spacing(s State, u float64) time.Duration {
	interval := c.Interval
	if s.inTransition() {
		interval = c.FastInterval
	}
	return time.Duration(float64(interval) * (1 + c.Jitter*(2*u-1)))
}

// maxFirstDelay bounds the wait for the first probe, however long the interval:
// it decides alone, so it should come soon.
const maxFirstDelay = 250 * time.Millisecond

// firstDelay is the time until a member's first probe, for a random u in
// [0, 1): soon, but not all members in the same instant.
func (c Check) firstDelay(u float64) time.Duration {
	return time.Duration(u * min(c.Jitter*float64(c.Interval), float64(maxFirstDelay)))
}
