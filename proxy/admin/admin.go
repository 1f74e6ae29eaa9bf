// Package admin is the operator's surface: health for the platform, metrics
// for Prometheus, the state as JSON and as a page, and what an operator may do.
// Nothing of it runs on the path of a request.
package admin

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ringfence/proxy"
	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
)

// State is what the surface shows: a view of all counters at a moment.
type State struct {
	Proxy     proxy.View
	Upstreams []upstream.Stats
	// Snapshot is nil without one.
	Snapshot *SnapshotState
	// Clients are the clients' connections.
	Clients edge.DoorStats
	// Reloads are those of the configuration, and ConfigHash that of its file's text;
	// "" without a file.
	Reloads    Reloads
	ConfigHash string
	// UpgradesFailed counts the processes that were to take the place of this one, and
	// did not.
	UpgradesFailed uint64
}

// Options are what the surface shows and does. All of them are required, but for
// those of which something else is said. The functions are called from several
// goroutines.
type Options struct {
	// State returns the state at this moment.
	State func() State
	// HotKeys returns the keys that are asked for most often, at most n, and
	// Failures the last failures, the newest first.
	HotKeys  func(n int) proxy.HotKeys
	Failures func() []proxy.Failure
	// Drain keeps new requests away from a server of an upstream, or no longer
	// does. It says whether there is such a server.
	Drain func(upstream, server string, on bool) bool
	// Purge takes something out of the cache, here and in the fleet. It may take
	// seconds; the error says why there is nothing of that name.
	Purge func(proxy.Purge) (proxy.Purged, error)
	// Explain says what would become of a request. It has no effect.
	Explain func(proxy.Question) proxy.Explanation
	// Reload reads the configuration again, and returns once it counts or is refused.
	// It may take ten seconds, and more where others wait.
	Reload func(context.Context) Reloaded
	// Upgrade has a new process take the place of this one, and returns once that
	// serves, or why it does not. It may take a minute.
	Upgrade func() Upgraded
	// Unready says why the proxy takes no requests, "" while it does.
	Unready func() string
	// Version is the program's, and PID the process's.
	Version string
	PID     int
	// Access says who may do what. Default: who can connect.
	Access Access
	// Pprof serves the profiles of the process. Default: it does not.
	Pprof bool
	// Log is told what goes wrong with connections. Default: nothing is logged.
	Log *slog.Logger
}

// route is one thing that can be asked for.
type route struct {
	// path is that of the request and of the description in openapi.yaml; its last
	// segment may be a {name}.
	method, path string
	serve        http.HandlerFunc
	// open routes say nothing that anybody must not know, and are answered without
	// a token or certificate: those who look after processes have none.
	open bool
	// changes says that something is another way afterwards; read-only instances
	// refuse it, and so does a browser's request from another site.
	changes bool
}

// routes are all that there is.
func (s *Server) routes() []route {
	o := s.o
	all := []route{
		{method: "GET", path: "/", open: true, serve: page},
		{method: "GET", path: "/page/{file}", open: true, serve: page},
		{method: "GET", path: "/healthz", open: true, serve: func(w http.ResponseWriter, _ *http.Request) { say(w, "ok") }},
		{method: "GET", path: "/readyz", open: true, serve: o.readyz},
		{method: "GET", path: "/metrics", serve: metricsOf(o).ServeHTTP},
		{method: "GET", path: "/api/openapi.yaml", serve: serveOpenAPI},
		{method: "GET", path: "/api/status", serve: s.status},
		{method: "GET", path: "/api/events", serve: s.hub.serve},
		{method: "GET", path: "/api/explain", serve: o.explain},
		{method: "POST", path: "/api/drain", changes: true, serve: o.drain(true)},
		{method: "POST", path: "/api/restore", changes: true, serve: o.drain(false)},
		{method: "POST", path: "/api/reload", changes: true, serve: o.reload},
		{method: "POST", path: "/api/upgrade", changes: true, serve: o.upgrade},
		{method: "POST", path: "/api/purge", changes: true, serve: o.purge},
	}
	if o.Pprof {
		all = append(all,
			route{method: "GET", path: "/debug/pprof/", serve: profiles},
			route{method: "GET", path: "/debug/pprof/{profile}", serve: profile})
	}
	return all
}

// readyz says whether requests are taken, and why not.
func (o Options) readyz(w http.ResponseWriter, _ *http.Request) {
	if why := o.Unready(); why != "" {
		refuse(w, http.StatusServiceUnavailable, "not ready: "+why)
		return
	}
	say(w, "ready")
}

func metricsOf(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{o}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.statusNow(s.o.State()))
}
