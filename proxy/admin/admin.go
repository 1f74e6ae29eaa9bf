// Package admin is the operator's surface: health for the platform, metrics
// for Prometheus, the state as JSON, and what an operator may do. Nothing of it
// runs on the path of a request.
package admin

import (
	"encoding/json"
	"fmt"
	"io"
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
	// Clients are the clients' connections.
	Clients edge.DoorStats
}

// Options are what the surface shows. All of them are required.
type Options struct {
	// State returns the state at this moment. It is called from several
	// goroutines.
	State func() State
	// Drain keeps new requests away from a server of an upstream, or no longer
	// does. It says whether there is such a server.
	Drain func(upstream, server string, on bool) bool
	// Purge takes something out of the cache, here and in the fleet. It may take
	// seconds; the error says why there is nothing of that name.
	Purge func(proxy.Purge) (proxy.Purged, error)
	// Ready says whether the proxy takes requests.
	Ready func() bool
	// Version is the program's.
	Version string
}

// New returns the surface's handler:
//
//	/healthz     200 while the process lives
//	/readyz      200 while it takes requests, else 503
//	/metrics     Prometheus
//	/api/status  the state as JSON
//	/api/drain   POST ?upstream=NAME&server=ID: new requests stay away from a server
//	/api/restore POST ?upstream=NAME&server=ID: and come back
//	/api/purge   POST JSON: take something out of the cache; see purgeRequest
//
// A page of another origin cannot have a browser post to it.
func New(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{o}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if o.Ready() {
			say(w, http.StatusOK, "ready")
			return
		}
		say(w, http.StatusServiceUnavailable, "not ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, statusOf(o.State(), o.Version))
	})
	mux.HandleFunc("POST /api/drain", o.drain(true))
	mux.HandleFunc("POST /api/restore", o.drain(false))
	mux.HandleFunc("POST /api/purge", o.purge)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, "Ringfence "+o.Version+"\n\n/healthz\n/readyz\n/metrics\n/api/status\n/api/drain\n/api/restore\n/api/purge")
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

func (o Options) drain(on bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		upstream, server := r.FormValue("upstream"), r.FormValue("server")
		if !o.Drain(upstream, server, on) {
			say(w, http.StatusNotFound, fmt.Sprintf("upstream %q has no server %q; /api/status names them all", upstream, server))
			return
		}
		what := map[bool]string{true: "drained", false: "restored"}[on]
		say(w, http.StatusOK, fmt.Sprintf("server %s of upstream %s is %s", server, upstream, what))
	}
}

// answer writes JSON for programs and for people.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	// A write error means that the client has gone.
	_ = enc.Encode(v)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// A write error means that the client has gone.
	_, _ = io.WriteString(w, text+"\n")
}
