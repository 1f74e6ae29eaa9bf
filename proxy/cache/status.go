package cache

import (
	"strconv"
	"time"
)

// Status is what Cache-Status says about one answer (RFC 9211). The zero value
// says nothing but that this cache handled the request.
type Status struct {
	// Hit: the answer came from the cache and the request was not forwarded.
	Hit bool
	// Forward is why the request was forwarded; it is ignored on a hit.
	Forward Reason
	// ForwardStatus is the status the upstream answered with, 0 if none or if
	// it is the answer's own.
	ForwardStatus int
	// Stored: the upstream's answer was put into the cache.
	Stored bool
	// Collapsed: the request was answered by another request's fill.
	Collapsed bool
	// HasTTL: TTL is what remains of the answer's freshness, negative once it
	// is stale. It is written in whole seconds, rounded down.
	HasTTL bool
	TTL    time.Duration
	// Detail is what the answer's fate was; where it is [None], Forward is
	// spelled out if the fwd token does not say it all.
	Detail Reason
}

// Append appends the list member that s is to dst, and name, which must be a
// structured-field token (RFC 9651, section 3.3.4), as the name of this cache.
// It allocates only where dst is too small.
func (s Status) Append(dst []byte, name string) []byte {
	dst = append(dst, name...)
	forward := s.Forward.Forward()
	switch {
	case s.Hit:
		dst = append(dst, "; hit"...)
	case forward != "":
		dst = append(append(dst, "; fwd="...), forward...)
		if s.ForwardStatus != 0 {
			dst = strconv.AppendInt(append(dst, "; fwd-status="...), int64(s.ForwardStatus), 10)
		}
	}
	if s.HasTTL {
		seconds := s.TTL / time.Second
		if s.TTL < 0 && s.TTL%time.Second != 0 {
			seconds--
		}
		dst = strconv.AppendInt(append(dst, "; ttl="...), int64(seconds), 10)
	}
	if s.Stored {
		dst = append(dst, "; stored"...)
	}
	if s.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	detail := s.Detail
	if detail == None && !s.Hit {
		detail = s.Forward
	}
	if detail != None && detail.String() != forward {
		dst = append(append(dst, "; detail="...), detail.String()...)
	}
	return dst
}
