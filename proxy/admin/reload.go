package admin

import (
	"net/http"
	"strings"
	"time"
)

// ReloadResult is what came of a reload. The set is closed.
type ReloadResult uint8

const (
	// ReloadSuccess: another configuration counts.
	ReloadSuccess ReloadResult = iota
	// ReloadUnchanged: the file says what counts already.
	ReloadUnchanged
	// ReloadFailure: the file could not be taken over, and nothing has changed.
	ReloadFailure
	// ReloadResults is how many there are.
	ReloadResults
)

// String returns the result as a metric's label has it.
func (r ReloadResult) String() string {
	return [ReloadResults]string{"success", "unchanged", "failure"}[r]
}

// Reloaded is what came of one reload.
type Reloaded struct {
	Result ReloadResult
	// Hash is that of the text of the file that counts now.
	Hash string
	// Changes says in a line each what is different.
	Changes []string
	// Err is why it failed; nil where it did not. It may have several lines, each with
	// a place in the file.
	Err error
}

// Reloads are the reloads so far.
type Reloads struct {
	// By counts them.
	By [ReloadResults]uint64
	// LastOK says that the last one did not fail, and LastSuccess when the last one was
	// that did not. The start counts as one.
	LastOK      bool
	LastSuccess time.Time
}

// reloadAnswer is the answer to POST /api/reload: 200, or 422 with the errors.
type reloadAnswer struct {
	Result  string   `json:"result"` // success, unchanged or failure
	Hash    string   `json:"config_hash,omitempty"`
	Changes []string `json:"changes,omitempty"`
	Errors  []string `json:"errors,omitempty"`
}

func (o Options) reload(w http.ResponseWriter, r *http.Request) {
	done := o.Reload(r.Context())
	a := reloadAnswer{Result: done.Result.String(), Hash: done.Hash, Changes: done.Changes}
	status := http.StatusOK
	if done.Err != nil {
		a.Errors, status = strings.Split(done.Err.Error(), "\n"), http.StatusUnprocessableEntity
	}
	answer(w, status, a)
}

func (m metrics) reloads(st State) {
	r := st.Reloads
	for result, n := range r.By {
		m.counter("config_reloads_total", "Readings of the configuration file since the start, by result.", n, label{"result", ReloadResult(result).String()})
	}
	ok := 0.0
	if r.LastOK {
		ok = 1
	}
	m.gauge("config_last_reload_successful", "Whether the last reading of the configuration file was taken over.", ok)
	m.gauge("config_last_reload_success_timestamp_seconds", "When the configuration file was last read without a fault.", float64(r.LastSuccess.UnixMilli())/1000)
}
