package proxy

import (
	"context"
	"errors"

	"ringfence/proxy/upstream"
	"ringfence/singleflight"
)

// failure is what a client is told when there is no answer from upstream: a
// status and the error type of RFC 9209, section 2.3.
type failure struct {
	status int
	kind   string
	text   string
}

// failureOf maps an error to what the client is told. It is the one place
// where that is decided.
func failureOf(err error) failure {
	var up *upstream.Error
	switch {
	case errors.Is(err, singleflight.ErrLeadTime), errors.Is(err, context.DeadlineExceeded):
		// It comes first: the exchange that it broke off has an error, too.
		return failure{504, "http_response_timeout", "the upstream did not answer in time"}
	case errors.As(err, &up) && up.Kind != upstream.Canceled:
		return upstreamFailure(up.Kind)
	case errors.Is(err, singleflight.ErrTooManyReaders), errors.Is(err, singleflight.ErrTooManyFlights),
		errors.Is(err, singleflight.ErrClosed):
		return failure{503, "http_request_denied", "too much to do at this moment"}
	}
	return failure{502, "proxy_internal_error", "the proxy could not complete the request"}
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
	case upstream.RequestIncomplete:
		f.status, f.text = 400, "the request body ended early"
	default:
		f.text = "the upstream could not be reached"
	}
	return f
}

// isBusy reports whether trying again soon may help.
func (f failure) isBusy() bool { return f.status == 503 }
