package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"ringfence/proxy/wire"
)

// target is where a request is for. Route, key and forwarded request all
// derive from this one reading of its bytes.
type target struct {
	scheme    string // http or https
	authority string // host[:port], lower case, without the scheme's own port
	host      string // authority without its port
	raw       string // path and query as sent, the target that is forwarded
	path      string // up to the first "?"
	query     string // from the first "?" on, with it; "" where there is none
}

// errTarget says that a request does not say clearly what it is for.
var errTarget = errors.New("ambiguous request target")

// parseTarget reads a request target in origin-form or absolute-form and the
// Host lines (RFC 9112, section 3.2). The authority of an absolute target wins
// over the Host field.
func parseTarget(scheme, method, raw string, fields wire.Fields) (target, error) {
	t := target{scheme: scheme}
	var err error
	if t.authority, t.host, err = canonicalAuthority(scheme, fields.Get("Host")); err != nil {
		return target{}, err
	}
	switch {
	case raw[0] == '/':
	case raw == "*" && method == "OPTIONS":
	default:
		var authority string
		if authority, raw, err = splitAbsolute(scheme, raw); err != nil {
			return target{}, err
		}
		if t.authority, t.host, err = canonicalAuthority(scheme, authority); err != nil {
			return target{}, err
		}
	}
	t.raw, t.path = raw, raw
	if i := strings.IndexByte(raw, '?'); i >= 0 {
		t.path, t.query = raw[:i], raw[i:]
	}
	switch {
	case strings.HasPrefix(raw, "//"):
		// Some take what follows for a host (RFC 3986, section 4.2).
		return target{}, fmt.Errorf("%w: it begins with two slashes", errTarget)
	case strings.IndexByte(t.path, '\\') >= 0:
		return target{}, fmt.Errorf("%w: a backslash, which some take for a slash", errTarget)
	}
	return t, nil
}

// withQuery returns t with its query in the form that the route's rules give
// it, which is written to buf.
func (t target) withQuery(rules *QueryRules, buf []byte) (target, []byte) {
	buf = rules.rewrite(append(buf, t.path...), t.query)
	t.raw = view(buf)
	t.query = t.raw[len(t.path):]
	t.path = t.raw[:len(t.path)]
	return t, buf
}

// clone returns a copy that shares no memory with what t was read from.
func (t target) clone() target {
	c := target{scheme: t.scheme, authority: strings.Clone(t.authority), raw: strings.Clone(t.raw)}
	c.host = c.authority[:len(t.host)]
	c.path, c.query = c.raw[:len(t.path)], c.raw[len(t.path):]
	return c
}

// splitAbsolute splits "http://authority/path".
func splitAbsolute(scheme, raw string) (authority, rest string, err error) {
	n := len(scheme) + len("://")
	if len(raw) < n || !wire.EqualFold(raw[:len(scheme)], scheme) || raw[len(scheme):n] != "://" {
		return "", "", fmt.Errorf("%w: %.60q", errTarget, raw)
	}
	raw = raw[n:]
	slash := strings.IndexAny(raw, "/?")
	switch {
	case slash < 0:
		authority, rest = raw, "/"
	case raw[slash] == '?':
		authority, rest = raw[:slash], "/"+raw[slash:]
	default:
		authority, rest = raw[:slash], raw[slash:]
	}
	if authority == "" {
		return "", "", fmt.Errorf("%w: no host in %.60q", errTarget, raw)
	}
	return authority, rest, nil
}

// canonicalAuthority checks host[:port], lowers its case and drops the
// scheme's own port (RFC 9110, section 4.2.3). It allocates only where it has
// something to change. An empty authority is an HTTP/1.0 client's.
func canonicalAuthority(scheme, s string) (authority, host string, err error) {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			s = strings.ToLower(s)
			break
		}
	}
	colon := strings.LastIndexByte(s, ':')
	if colon < strings.LastIndexByte(s, ']') {
		colon = -1
	}
	host = s
	if colon >= 0 {
		host = s[:colon]
		port, ok := wire.ParseLength(s[colon+1:])
		switch {
		case !ok || port < 1 || port > 65535 || host == "":
			return "", "", fmt.Errorf("%w: Host %.60q", errTarget, s)
		case port == 80 && scheme == "http", port == 443 && scheme == "https":
			s = host
		}
	}
	if !isHost(host) {
		return "", "", fmt.Errorf("%w: Host %.60q", errTarget, s)
	}
	return s, host, nil
}

// isHost reports whether s holds only what a registered name is made of, or is
// an IPv6 address in brackets (RFC 3986, section 3.2.2).
func isHost(s string) bool {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		a, err := netip.ParseAddr(s[1 : len(s)-1])
		return err == nil && a.Is6() && a.Zone() == ""
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}
