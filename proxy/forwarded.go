package proxy

import (
	"net/netip"
	"strings"

	"ringfence/proxy/wire"
)

// element is what matters of one element of Forwarded (RFC 7239, section 4).
type element struct{ node, proto string }

// maxParams bounds the parameters of one element; four are known.
const maxParams = 16

// parseElement reads a forwarded-element strictly: pairs of a token and a token
// or quoted string, parted by semicolons without white space, no name twice. It
// allocates only where a value has escapes.
func parseElement(s string) (e element, ok bool) {
	var names [maxParams]string
	n := 0
	for s != "" {
		if s[0] == ';' { // a pair may be missing
			s = s[1:]
			continue
		}
		name, after, _ := strings.Cut(s, "=")
		value, rest, valid := cutValue(after)
		if !wire.IsToken(name) || !valid || rest != "" && rest[0] != ';' || n == maxParams {
			return element{}, false
		}
		for _, before := range names[:n] {
			if wire.EqualFold(before, name) {
				return element{}, false
			}
		}
		names[n] = name
		n++
		switch {
		case wire.EqualFold(name, "for"):
			e.node = value
		case wire.EqualFold(name, "proto"):
			e.proto = value
		}
		s = rest
	}
	return e, n > 0
}

// cutValue takes a token or a quoted string (RFC 9110, section 5.6.4) off s.
func cutValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], wire.IsToken(s[:end])
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			value = s[1:i]
			ok = wire.IsFieldValue(value)
			if escaped {
				value = unescape(value)
			}
			return value, s[i+1:], ok
		}
	}
	return "", "", false
}

// unescape takes the backslashes off quoted pairs.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// parseNode reads the address of a node (RFC 7239, section 6): an IPv4 address,
// or an IPv6 one in brackets, each with a port at will. A node that is unknown,
// or has a name of its own, has no address.
func parseNode(s string) (_ netip.Addr, ok bool) {
	host, port, six := s, "", strings.HasPrefix(s, "[")
	if six {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		host, port = s[1:end], s[end+1:]
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 {
		host, port = s[:colon], s[colon:]
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Is6() != six || a.Zone() != "" || port != "" && !isNodePort(port) {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// isNodePort takes a colon and up to five digits, or a name that begins with an
// underscore.
func isNodePort(s string) bool {
	if s[0] != ':' || len(s) < 2 {
		return false
	}
	s = s[1:]
	if s[0] == '_' {
		return len(s) > 1 && isObfuscated(s)
	}
	_, ok := wire.ParseLength(s)
	return ok && len(s) <= 5
}

func isObfuscated(s string) bool {
	for i := range len(s) {
		c := s[i]
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// chains returns X-Forwarded-For and Forwarded for a way from the peer to the
// client: both say the same addresses, the client's first. What the client asked
// for stands in Forwarded beside its own address.
func chains(hops []netip.Addr, t target) (forwardedFor, forwarded string) {
	b := make([]byte, 0, 256)
	for i := len(hops) - 1; i >= 0; i-- {
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = appendAddr(b, hops[i])
	}
	end := len(b)
	for i := len(hops) - 1; i >= 0; i-- {
		if len(b) > end {
			b = append(b, ", "...)
		}
		if hops[i].Is6() {
			b = append(appendAddr(append(b, `for="[`...), hops[i]), `]"`...)
		} else {
			b = appendAddr(append(b, "for="...), hops[i])
		}
		if i < len(hops)-1 {
			continue
		}
		if t.authority != "" {
			b = append(append(append(b, `;host="`...), t.authority...), '"')
		}
		b = append(append(b, ";proto="...), t.scheme...)
	}
	both := string(b)
	return both[:end], both[end:]
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, "unknown"...)
	}
	return a.AppendTo(dst)
}
