package health

import (
	"errors"
	"net"
	"strconv"
	"strings"
)

// Target is one server to keep the state of.
type Target struct {
	// ID is its name in events and statuses, unique in a group.
	ID string
	// Address is where it is: host:port, or unix:/path.
	Address string
	// Host is the name that Address was found under, for the Host field of a
	// check and for its server's certificate. Default: Address's own host.
	Host string
	// Drained keeps traffic away, as [Group.Drain] does; it is for a member
	// that the configuration gives no weight.
	Drained bool
}

// endpoint is where a probe connects to: the target's address, on another port
// if port is not 0.
func endpoint(address string, port int) (network, at string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	if host, _, err := net.SplitHostPort(address); err == nil && port != 0 {
		return "tcp", net.JoinHostPort(host, strconv.Itoa(port))
	}
	return "tcp", address
}

// authority is what a request to the target, connected to at, has in its Host
// field.
func (t Target) authority(network, at string) string {
	switch _, port, err := net.SplitHostPort(at); {
	case network == "unix":
		return orDefault(t.Host, "localhost")
	case t.Host == "" || err != nil:
		return at
	default:
		return net.JoinHostPort(t.Host, port)
	}
}

// validateTargets names every fault of a set of targets; port is that of the
// check, 0 for none.
func validateTargets(targets []Target, port int) error {
	var f faults
	seen := make(map[string]bool, len(targets))
	for _, t := range targets {
		if path, ok := strings.CutPrefix(t.Address, "unix:"); ok {
			f.when(path == "" || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }),
				"target %q: address %q names no socket", t.ID, t.Address)
			f.when(port != 0, "target %q: a Unix socket cannot be checked on port %d", t.ID, port)
		} else {
			host, p, err := net.SplitHostPort(t.Address)
			f.when(err != nil || p == "" || !visible(host+p), "target %q: address %q is not host:port", t.ID, t.Address)
		}
		f.when(!visible(t.Host) || strings.Contains(t.Host, "/"), "target %q: host %q is not a host name", t.ID, t.Host)
		f.when(seen[t.ID], "target %q is there twice", t.ID)
		seen[t.ID] = true
	}
	return errors.Join(f...)
}
