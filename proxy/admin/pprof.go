package admin

import (
	"net/http"
	"net/http/pprof"
	named "runtime/pprof"
)

// profiles names the profiles that there are.
func profiles(w http.ResponseWriter, r *http.Request) { pprof.Index(w, r) }

// profile answers with the profile that the path names.
func profile(w http.ResponseWriter, r *http.Request) {
	switch name := r.PathValue("profile"); {
	case name == "cmdline":
		pprof.Cmdline(w, r)
	case name == "profile":
		pprof.Profile(w, r)
	case name == "symbol":
		pprof.Symbol(w, r)
	case name == "trace":
		pprof.Trace(w, r)
	case named.Lookup(name) == nil:
		refuse(w, http.StatusNotFound, "there is no such profile; /debug/pprof/ names them all")
	default:
		pprof.Handler(name).ServeHTTP(w, r)
	}
}
