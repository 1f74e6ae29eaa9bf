package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Warning is something that a configuration may say and that hardly anybody means.
type Warning struct {
	// Kind says what it is about.
	Kind WarningKind
	// Fault has its place and its words. Line and Column are 0 where what is meant is
	// not in a file.
	Fault
}

// WarningKind is what a warning is about. The set is closed.
type WarningKind string

// The kinds.
const (
	// WarnUnmatched: no request can have this route.
	WarnUnmatched WarningKind = "unmatched"
	// WarnCachedCheck: who asks for the path of a health check through the proxy may
	// get a stored answer.
	WarnCachedCheck WarningKind = "cached-check"
	// WarnContradiction: one limit makes another one meaningless.
	WarnContradiction WarningKind = "contradiction"
	// WarnOpenEngine: the shared tier is on another host and asks for no password.
	WarnOpenEngine WarningKind = "open-engine"
	// WarnCertificate: a certificate's file cannot be read, or it is of no use now.
	WarnCertificate WarningKind = "certificate"
	// WarnClearToken: the admin token goes over a network without TLS.
	WarnClearToken WarningKind = "clear-token"
)

// Warnings returns what is doubtful in a valid configuration, sorted by place. now
// is the time that certificates are judged at; read gives the content of a file, by
// its path, as os.ReadFile does. It is pure but for read.
func Warnings(doc Document, now time.Time, read func(path string) ([]byte, error)) []Warning {
	w := &warner{doc: doc}
	w.routes(doc.Config)
	w.checks(doc.Config)
	w.limits(doc.Config)
	w.upstreams(doc.Config)
	w.engine(doc.Config.Cache.Shared.Redis)
	w.token(doc.Config.Admin)
	w.certificates(doc.Config, now, read)
	slices.SortStableFunc(w.list, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return w.list
}

type warner struct {
	doc  Document
	list []Warning
}

// warn is about the option at path, which is written if there is a file.
func (w *warner) warn(kind WarningKind, path, format string, args ...any) {
	at := w.doc.places[path]
	w.list = append(w.list, Warning{kind, Fault{
		File: cmp.Or(w.doc.File, "command line"), Line: at.line, Column: at.column,
		Message: path + ": " + fmt.Sprintf(format, args...),
	}})
}

// routes warns of those that no request has. None is hidden by others: of two that
// match, the one that matches less is taken, and no two are the same.
func (w *warner) routes(c Config) {
	redirects := 0
	for _, l := range c.Listeners {
		if l.RedirectToHTTPS > 0 {
			redirects++
		}
	}
	if redirects == len(c.Listeners) && redirects > 0 {
		w.warn(WarnUnmatched, "routes", "every listener redirects to https, so no request has a route; add a listener with tls, or one for whoever speaks TLS before this one")
		return
	}
	for i, r := range c.Routes {
		prefix := routePath(i) + ".path_prefix"
		switch n := len(r.PathPrefix); {
		case strings.HasPrefix(r.PathPrefix, "//"):
			w.warn(WarnUnmatched, prefix, "a path that begins with two slashes is refused, so nothing matches; write one")
		case strings.Contains(r.PathPrefix, `\`):
			w.warn(WarnUnmatched, prefix, `a path with a \ is refused, so nothing matches; write what clients send, such as %%5C`)
		case Size(n) > c.Server.MaxTargetSize:
			w.warn(WarnUnmatched, prefix, "is longer than server.max_target_size, which is %d, so nothing matches", c.Server.MaxTargetSize)
		}
	}
}

// checks warns of routes that cache a path that is there for checks alone: what asks
// for it through the proxy, such as a balancer in front, hears of the past. / is
// there for others, too.
func (w *warner) checks(c Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		check := c.Upstreams[name].HealthCheck
		path, _, _ := strings.Cut(check.Path, "?")
		if check.Type != CheckHTTP || path == "/" {
			continue
		}
		for i, r := range c.Routes {
			if r.Upstream == name && r.Cache == CacheOn && r.keepsUnasked() && covered(c.Routes, i, path) {
				w.warn(WarnCachedCheck, join("upstreams", name)+".health_check.path", "the route%s caches it even where the answer says nothing of that (default_ttl, negative_ttl); add a route for it with cache: off", w.atLine(routePath(i)))
			}
		}
	}
}

// keepsUnasked reports whether answers are stored that do not say that they may be.
func (r Route) keepsUnasked() bool { return r.DefaultTTL > 0 || len(r.NegativeTTL) > 0 }

// covered reports whether a request for a path, on the host of the route i, has that
// route: no longer prefix of the same host matches.
func covered(routes []Route, i int, path string) bool {
	r := routes[i]
	return under(path, r.PathPrefix) && !slices.ContainsFunc(routes, func(o Route) bool {
		return o.Host == r.Host && len(o.PathPrefix) > len(r.PathPrefix) && under(path, o.PathPrefix)
	})
}

// under reports whether a path has a prefix by whole segments, as the proxy matches.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/"))
}

func (w *warner) atLine(path string) string {
	if n := w.doc.places[path].line; n > 0 {
		return fmt.Sprintf(" at line %d", n)
	}
	return ""
}
