package admin

import (
	"fmt"
	"net/http"
)

// drainAnswer is what POST /api/drain and /api/restore say.
type drainAnswer struct {
	Upstream string `json:"upstream"`
	Server   string `json:"server"`
	Drained  bool   `json:"drained"`
}

func (o Options) drain(on bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		a := drainAnswer{q.Get("upstream"), q.Get("server"), on}
		if !o.Drain(a.Upstream, a.Server, on) {
			refuse(w, http.StatusNotFound, fmt.Sprintf("upstream %q has no server %q; /api/status names them all", a.Upstream, a.Server))
			return
		}
		answer(w, http.StatusOK, a)
	}
}
