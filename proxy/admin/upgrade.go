package admin

import "net/http"

// Process is one process of the proxy.
type Process struct {
	PID     int
	Version string
}

// Upgraded is what came of an upgrade.
type Upgraded struct {
	// Old has handed over to New; both are zero where there is an error.
	Old, New Process
	// Err is why nothing has changed; nil where New serves. Refused says that nothing
	// was tried: it is not the time for it.
	Err     error
	Refused bool
}

// upgradeAnswer is the answer to POST /api/upgrade.
type upgradeAnswer struct {
	Old processAnswer `json:"old"`
	New processAnswer `json:"new"`
}

type processAnswer struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

func (o Options) upgrade(w http.ResponseWriter, _ *http.Request) {
	switch done := o.Upgrade(); {
	case done.Refused:
		refuse(w, http.StatusConflict, done.Err.Error())
	case done.Err != nil:
		refuse(w, http.StatusUnprocessableEntity, done.Err.Error())
	default:
		answer(w, http.StatusOK, upgradeAnswer{processAnswer(done.Old), processAnswer(done.New)})
	}
}
