package handover

import (
	"net"
	"net/netip"
	"strings"
)

// unixPrefix is what the path of a Unix socket begins with in a configuration.
const unixPrefix = "unix:"

// addressOf is the address of a listener as a configuration would have it.
func addressOf(l net.Listener) string {
	a := l.Addr()
	if a.Network() == "unix" {
		return unixPrefix + a.String()
	}
	return a.String()
}

// listensAt reports whether a socket with address a is what the configuration's text
// stands for. All interfaces are written in several ways that mean the same
// ([net.Listen]); a name stands for the address that it would be bound to.
func listensAt(a net.Addr, text string) bool {
	switch a := a.(type) {
	case *net.UnixAddr:
		return text == unixPrefix+a.Name
	case *net.TCPAddr:
		if strings.HasPrefix(text, unixPrefix) {
			return false
		}
		want, err := net.ResolveTCPAddr("tcp", text)
		return err == nil && want.Port == a.Port && hostOf(want) == hostOf(a)
	}
	return false
}

// hostOf is the zero value for all interfaces.
func hostOf(a *net.TCPAddr) netip.Addr {
	host := a.AddrPort().Addr().Unmap()
	if !host.IsValid() || host.IsUnspecified() {
		return netip.Addr{}
	}
	return host
}
