// Package health turns observations of servers into availability.
//
// A Monitor probes a fixed set of targets, each on a connection of its own, so
// that load on the serving connections can neither starve a probe nor be
// delayed by one. What a run of results means is decided by State, a pure value;
// the Monitor only feeds it and tells its owner of each change.
package health

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Kind is the protocol a probe speaks. The set is closed.
type Kind uint8

const (
	// HTTP sends a GET over HTTP/1.1 and judges the status: the default.
	HTTP Kind = iota
	// TCP is satisfied by an accepted connection.
	TCP
)

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct {
	First, Last int
}

// Check says how targets are probed and how many results in a row change a
// target's availability. A zero field takes its default. The caller must not
// change Statuses after handing a Check over.
type Check struct {
	Kind     Kind          // HTTP
	Path     string        // request target of an HTTP probe, with its query; "/"
	Host     string        // Host header of an HTTP probe; the target's address
	Statuses []StatusRange // statuses that mean healthy; 200 to 399
	Interval time.Duration // from the start of one probe to that of the next; 2 s
	Timeout  time.Duration // for a whole probe, at most Interval; 1 s
	Jitter   float64       // fraction by which each interval varies either way, below 1; 0.2
	Rise     int           // successes in a row that bring a target back; 2
	Fall     int           // failures in a row that take a target down; 3
}

// Target is one server to probe.
type Target struct {
	ID      string // its name in events and snapshots, unique in a Monitor
	Address string // host:port to connect to
}

var defaultStatuses = StatusRange{First: 200, Last: 399}

func (c Check) withDefaults() Check {
	c.Path = orDefault(c.Path, "/")
	c.Interval = orDefault(c.Interval, 2*time.Second)
	c.Timeout = orDefault(c.Timeout, time.Second)
	c.Jitter = orDefault(c.Jitter, 0.2)
	c.Rise = orDefault(c.Rise, 2)
	c.Fall = orDefault(c.Fall, 3)
	if len(c.Statuses) == 0 {
		c.Statuses = []StatusRange{defaultStatuses}
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

// validate names every fault of a check that has its defaults.
func (c Check) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Kind > TCP, "kind %d is neither HTTP nor TCP", c.Kind)
	// Path and host go into the request as they are: a space or a line break
	// in them would make it another request (RFC 9112, section 3).
	fault(!strings.HasPrefix(c.Path, "/") || !visible(c.Path) || strings.Contains(c.Path, "#"),
		"path %q is not an absolute path in visible ASCII without a fragment", c.Path)
	fault(!visible(c.Host) || strings.Contains(c.Host, "/"), "host %q is not a host name", c.Host)
	for _, r := range c.Statuses {
		fault(r.First < 100 || r.Last > 599 || r.First > r.Last,
			"statuses %d-%d are not a range within 100-599", r.First, r.Last)
	}
	fault(c.Interval < 0, "interval %v is negative", c.Interval)
	fault(c.Timeout < 0, "timeout %v is negative", c.Timeout)
	fault(c.Timeout > c.Interval, "timeout %v is longer than the interval %v", c.Timeout, c.Interval)
	fault(!(c.Jitter >= 0 && c.Jitter < 1), "jitter %v is not a fraction from 0 up to 1", c.Jitter)
	fault(c.Rise < 0, "rise %d is negative", c.Rise)
	fault(c.Fall < 0, "fall %d is negative", c.Fall)
	return errors.Join(faults...)
}

func validateTargets(targets []Target) error {
	var faults []error
	seen := make(map[string]bool, len(targets))
	for _, t := range targets {
		if host, port, err := net.SplitHostPort(t.Address); err != nil || port == "" || !visible(host+port) {
			faults = append(faults, fmt.Errorf("target %q: address %q is not host:port", t.ID, t.Address))
		}
		if seen[t.ID] {
			faults = append(faults, fmt.Errorf("target %q is there twice", t.ID))
		}
		seen[t.ID] = true
	}
	return errors.Join(faults...)
}

func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// healthy says whether a status means a healthy server.
func (c Check) healthy(status int) bool {
	return slices.ContainsFunc(c.Statuses, func(r StatusRange) bool {
		return r.First <= status && status <= r.Last
	})
}

// spacing is the time from the start of one probe to that of the next, for a
// random u in [0, 1). Jitter keeps the instances of a fleet, and the targets of
// one instance, from falling into step.
func (c Check) spacing(u float64) time.Duration {
	return time.Duration(float64(c.Interval) * (1 + c.Jitter*(2*u-1)))
}

// maxFirstDelay bounds the wait for the first probe, however long the interval:
// it decides alone, so it should come soon.
const maxFirstDelay = 250 * time.Millisecond

// firstDelay is the time from Start to a target's first probe, for a random u
// in [0, 1): soon, but not all targets in the same instant.
func (c Check) firstDelay(u float64) time.Duration {
	return time.Duration(u * min(c.Jitter*float64(c.Interval), float64(maxFirstDelay)))
}
