package proxy

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
	"ringfence/singleflight/redis"
)

// failure is what a client is told when there is no answer from upstream: a
// status and the error type of RFC 9209, section 2.3.
type failure struct {
	status int
	kind   string
	text   string
}

// errBusy says that there are too many requests under way.
var errBusy = errors.New("too many requests under way")

// failureOf maps an error to what the client is told. It is the one place
// where that is decided.
func failureOf(err error) failure {
	var up *upstream.Error
	switch {
	case errors.As(err, &up) && up.Kind == upstream.ConnectTimeout:
		// It is a deadline exceeded as well, of the connection alone.
		return upstreamFailure(up.Kind)
	case errors.Is(err, singleflight.ErrLeadTime), errors.Is(err, context.DeadlineExceeded):
		// It comes before the rest: the exchange that it broke off has an error, too.
		return failure{504, "http_response_timeout", "the upstream did not answer in time"}
	case errors.As(err, &up) && up.Kind == upstream.RequestIncomplete:
		return requestFailure(up)
	case errors.As(err, &up) && up.Kind != upstream.Canceled:
		return upstreamFailure(up.Kind)
	case errors.Is(err, redis.ErrFailed), errors.Is(err, redis.ErrAborted):
		return failure{502, "connection_terminated", "the upstream could not be reached by another instance"}
	case errors.Is(err, singleflight.ErrTooManyReaders), errors.Is(err, singleflight.ErrTooManyFlights),
		errors.Is(err, singleflight.ErrClosed), errors.Is(err, errBusy),
		errors.Is(err, errTooManyTunnels):
		return failure{503, "http_request_denied", "too much to do at this moment"}
	}
	return failure{502, "proxy_internal_error", "the proxy could not complete the request"}
}

// requestFailure is what is told to a client whose request body was at fault.
func requestFailure(err *upstream.Error) failure {
	f := failure{400, err.Kind.String(), "the request body ended early"}
	switch {
	case errors.Is(err, edge.ErrBodyTooLarge):
		f.status, f.text = 413, edge.ErrBodyTooLarge.Error()
	case errors.Is(err, edge.ErrBodyTimeout):
		f.status, f.text = 408, edge.ErrBodyTimeout.Error()
	case errors.Is(err, wire.ErrChunk):
		f.text = "the request body is not valid chunked coding"
	}
	return f
}

func upstreamFailure(k upstream.Kind) failure {
	f := failure{status: 502, kind: k.String()}
	switch k {
	case upstream.Unavailable:
		f.status, f.text = 503, "no server is there to answer"
	case upstream.ConnectionLimit:
		f.status, f.text = 503, "the upstream is busy"
	case upstream.ConnectTimeout, upstream.ReadTimeout, upstream.WriteTimeout:
		f.status, f.text = 504, "the upstream did not answer in time"
	case upstream.Protocol, upstream.HeadTooLarge, upstream.BadCoding:
		f.text = "the upstream's answer is not valid HTTP/1.1"
	default:
		f.text = "the upstream could not be reached"
	}
	return f
}

// isBusy reports whether trying again soon may help.
func (f failure) isBusy() bool { return f.status == 503 }

const (
	// failureLogPause is how long after a line on a failure the next one may come.
	failureLogPause = time.Second
	// loggedTarget is how much of a target a line has, in bytes.
	loggedTarget = 256
)

// failureLog decides which failures are told of: one in each pause, which says how
// many were not. It is safe for concurrent use.
type failureLog struct {
	next    atomic.Int64 // in nanoseconds since the epoch of Unix
	skipped atomic.Uint64
}

// admit reports whether a failure may be told of at now, and how many were not
// since the last one.
func (f *failureLog) admit(now time.Time, pause time.Duration) (skipped uint64, ok bool) {
	next := f.next.Load()
	if now.UnixNano() < next || !f.next.CompareAndSwap(next, now.Add(pause).UnixNano()) {
		f.skipped.Add(1)
		return 0, false
	}
	return f.skipped.Swap(0), true
}

// logFailure keeps the failure of a request that was not answered from upstream,
// and tells the log of it, unless that was told of another one of the route a
// moment ago. At the debug level it is told of each.
func (h *Handler) logFailure(r *Route, event, method string, t target, id string, err error) {
	h.failed.note(r, method, t, err)
	skipped, ok := r.failures.admit(time.Now(), failureLogPause)
	if !ok && !h.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	h.log.Warn(event, "method", method, "host", t.authority, "target", t.raw[:min(len(t.raw), loggedTarget)],
		"request_id", id, "status", failureOf(err).status, "error", err, "not_logged", skipped)
}
