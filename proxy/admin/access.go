package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Access says who may do what. Its zero value lets everybody who can connect do
// everything, but for what a browser does at the bidding of another site.
type Access struct {
	// Hosts are the names that the surface is reached by, in lower case and without
	// a port, beside localhost and all IP addresses: a request for another one comes
	// from a page whose name was made to lead here (DNS rebinding).
	Hosts []string
	// Socket says that only processes of this machine can connect, and no browser:
	// any host is taken.
	Socket bool
	// Token returns what a request must show: as a bearer token (RFC 6750, section
	// 2.1), or as the password of any user (RFC 7617), which browsers ask for. nil:
	// none is asked for. While there is an error nobody is let in.
	Token func() (string, error)
	// Certificate wants a request to come with a client's certificate, which TLS has
	// verified.
	Certificate bool
	// ReadOnly refuses what changes something.
	ReadOnly bool
}

// denial is why a request is not answered; the zero value lets it through.
type denial struct {
	status int
	why    string
}

// judge decides on a request for a route.
func (a Access) judge(r *http.Request, of route) denial {
	for _, rule := range []func(*http.Request, route) denial{a.judgeHost, a.judgeSite, a.judgeCaller} {
		if d := rule(r, of); d.status != 0 {
			return d
		}
	}
	if of.changes && a.ReadOnly {
		return denial{http.StatusForbidden, "this instance is read-only (admin.read_only)"}
	}
	return denial{}
}

// judgeHost wants the request to be for us.
func (a Access) judgeHost(r *http.Request, _ route) denial {
	host := strings.ToLower(hostOf(r.Host))
	if a.Socket || host == "localhost" || host == "" || slices.Contains(a.Hosts, host) {
		return denial{} // browsers always name a host
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return denial{} // it was looked up nowhere
	}
	return denial{http.StatusMisdirectedRequest, fmt.Sprintf("%.100q is no name of this listener; where it should be, write it into admin.hosts", host)}
}

// hostOf is a Host field without the port and the brackets of an IPv6 address.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]")
}

// judgeSite wants what a browser sends to be of our own page (CSRF): another site
// may lead here, and no more. Programs say nothing of a site.
func (a Access) judgeSite(r *http.Request, of route) denial {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if origin != "" {
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
			return denial{http.StatusForbidden, fmt.Sprintf("the page of %.100q may not ask for this", origin)}
		}
	}
	switch leads := r.Header.Get("Sec-Fetch-Mode") == "navigate" && !of.changes; {
	case site == "" || site == "same-origin" || site == "none" || leads:
	default:
		return denial{http.StatusForbidden, "a page of another site may not ask for this"}
	}
	if browser := origin != "" || site != ""; browser && of.changes && r.ContentLength != 0 {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return denial{http.StatusUnsupportedMediaType, "want application/json"}
		}
	}
	return denial{}
}

// judgeCaller wants the request to show that it may.
func (a Access) judgeCaller(r *http.Request, of route) denial {
	if of.open {
		return denial{}
	}
	if a.Certificate && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return denial{http.StatusForbidden, "want a client's certificate"}
	}
	if a.Token == nil {
		return denial{}
	}
	want, err := a.Token()
	switch shown := shownToken(r); {
	case err != nil || want == "":
		return denial{http.StatusServiceUnavailable, "the token that is wanted is not to be had; the log says why"}
	case shown == "":
		return denial{http.StatusUnauthorized, "want Authorization: Bearer TOKEN"}
	case !isSame(shown, want):
		return denial{http.StatusUnauthorized, "this is not the token"}
	}
	return denial{}
}

// challenges are how a request may show its token (RFC 9110, section 11.6.1). A
// script, which asks for what only programs read, shows a form of its own: Basic
// would have the browser put a window before it.
func challenges(r *http.Request) []string {
	all := []string{`Bearer realm="Ringfence"`, `Basic realm="Ringfence", charset="UTF-8"`}
	if accept := r.Header.Get("Accept"); accept == "application/json" || accept == "text/event-stream" {
		return all[:1]
	}
	return all
}

// shownToken is "" where there is none.
func shownToken(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// isSame takes as long whatever the texts are.
func isSame(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
