package proxy

import (
	"errors"
	"strings"
	"sync"
	"time"

	"ringfence/proxy/upstream"
)

const (
	// maxFailures is how many of the last failures are kept.
	maxFailures = 100
	// failurePause is how long after a failure that is kept the next one may come,
	// so that a flood of one kind leaves others to be seen, and costs little.
	failurePause = 10 * time.Millisecond
	// keptText bounds the texts that are kept of a failure, in bytes.
	keptText = 256
)

// Failure is a request, or a renewal in the background, that the upstream did not
// answer, or that was turned away as one too many.
type Failure struct {
	Time time.Time
	// Route is the route's host and path prefix.
	Route, Method string
	// URL is what was asked for, cut to 256 bytes.
	URL string
	// Status is what the client was told, unless there was a stale answer; Kind is
	// the error type of RFC 9209, section 2.3.
	Status int
	Kind   string
	// Server is the server that failed, "" where there was none.
	Server string
	// Error says more, in up to 256 bytes.
	Error string
	// Skipped counts the failures since the one before that are not kept.
	Skipped uint64
}

// failures are the last ones. They are safe for concurrent use.
type failures struct {
	pause failureLog
	mu    sync.Mutex
	kept  [maxFailures]Failure
	count int // of all that were kept
}

// note keeps a failure, unless there was one a moment ago.
func (f *failures) note(r *Route, method string, t target, err error) {
	now := time.Now()
	skipped, ok := f.pause.admit(now, failurePause)
	if !ok {
		return
	}
	told := failureOf(err)
	kept := Failure{
		Time: now, Route: r.name, Method: strings.Clone(method), URL: cut(t.scheme + "://" + t.authority + t.raw),
		Status: told.status, Kind: told.kind, Error: cut(err.Error()), Skipped: skipped,
	}
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		kept.Server = e.Server
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept[f.count%maxFailures] = kept
	f.count++
}

// cut returns the beginning of a text, which keeps nothing of the rest in memory.
func cut(text string) string { return strings.Clone(text[:min(len(text), keptText)]) }

// list returns them, the newest first.
func (f *failures) list() []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Failure, min(f.count, maxFailures))
	for i := range out {
		out[i] = f.kept[(f.count-1-i)%maxFailures]
	}
	return out
}
