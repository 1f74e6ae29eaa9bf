package edge

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// HSTS is what browsers are told about coming by https only (RFC 6797).
type HSTS struct {
	// MaxAge is how long they are to remember it, in whole seconds.
	MaxAge time.Duration
	// IncludeSubdomains holds for all names below the host, too; Preload asks
	// to be built into browsers. Default off.
	IncludeSubdomains, Preload bool
}

// FieldValue returns the value of Strict-Transport-Security (RFC 6797, section
// 6.1). It is for answers over TLS alone, each of which has one such line at
// most (section 7).
func (h HSTS) FieldValue() string {
	value := "max-age=" + strconv.FormatInt(int64(h.MaxAge/time.Second), 10)
	if h.IncludeSubdomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return value
}

// RedirectToHTTPS returns the https URL of what an http request asks for, to be
// the Location of a 308 (RFC 9110, section 15.4.9), which keeps the method and
// the body. The host is the request's own, in lower case and without a port, an
// IPv6 address in brackets; the target is in origin-form (RFC 9112, section
// 3.2.1); the port is what https listens on.
//
// It reports false for what is no host or no such target, of which a URL could
// lead elsewhere than it seems, or end the field's line. The answer is 400 then.
func RedirectToHTTPS(host string, port int, target string) (location string, ok bool) {
	if !isCanonicalHost(host) || !isOriginForm(target) {
		return "", false
	}
	if port == 443 {
		return "https://" + host + target, true
	}
	return "https://" + host + ":" + strconv.Itoa(port) + target, true
}

// isCanonicalHost reports whether s is a name in lower case, an IPv4 address,
// or an IPv6 address in brackets (RFC 3986, section 3.2.2). A dot at its end is
// the root's.
func isCanonicalHost(s string) bool {
	if inside, literal := strings.CutPrefix(s, "["); literal {
		inside, closed := strings.CutSuffix(inside, "]")
		addr, err := netip.ParseAddr(inside)
		return closed && err == nil && addr.Is6() && addr.Zone() == ""
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(s) <= 254
}

// isOriginForm reports whether s is a path with or without a query, and has no
// byte that a URL cannot hold.
func isOriginForm(s string) bool {
	if s == "" || s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}
