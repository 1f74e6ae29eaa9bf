package proxy

import (
	"net/netip"
	"slices"

	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// pseudonym is this proxy's name in Via, Cache-Status and Proxy-Status.
const pseudonym = "ringfence"

// sender says for whom a request is forwarded, and how.
type sender struct {
	// version is that of the protocol by which it came, as Via has it.
	version string
	hops    []netip.Addr // as trust.walk gives them
	// idName is the field of request ids, "" for none, and id what goes into it.
	idName, id string
	// unkeyed are the unkeyed fields that the route passes on.
	unkeyed []string
}

// appendForwarded appends the fields of the request that goes upstream: the
// canonical Host first, the client's end-to-end fields, and who forwards it
// for whom (RFC 9110, section 7.6; RFC 7239). dst and fields may not share
// memory.
func appendForwarded(dst wire.Fields, s sender, t target, fields wire.Fields) wire.Fields {
	dst = append(dst, wire.Field{Name: "Host", Value: t.authority})
	first := len(dst)
	dst = wire.EndToEnd(dst, fields)
	kept, traced := dst[:first], hasTrace(fields)
	for _, f := range dst[first:] {
		if s.passes(f.Name, traced) {
			kept = append(kept, f)
		}
	}
	forwardedFor, forwarded := chains(s.hops, t)
	kept = append(kept,
		wire.Field{Name: "Via", Value: via(fields, s.version)},
		wire.Field{Name: "X-Forwarded-For", Value: forwardedFor},
		wire.Field{Name: "X-Forwarded-Host", Value: t.authority},
		wire.Field{Name: "X-Forwarded-Proto", Value: t.scheme},
		wire.Field{Name: "Forwarded", Value: forwarded},
	)
	if s.idName != "" {
		kept = append(kept, wire.Field{Name: s.idName, Value: s.id})
	}
	return kept
}

// passes reports whether a field goes upstream as it came. What the proxy writes
// itself does not, nor what applications obey and no key has, but for what the
// route wants; nor a trace that cannot be read.
func (s *sender) passes(name string, traced bool) bool {
	switch wire.RoleOf(name) {
	case wire.Framing, wire.Identity:
		return false
	case wire.Unkeyed:
		return slices.ContainsFunc(s.unkeyed, func(want string) bool { return wire.EqualFold(name, want) })
	}
	if wire.EqualFold(name, "traceparent") || wire.EqualFold(name, "tracestate") {
		return traced
	}
	return !wire.IsSpelling(name, s.idName)
}

// versionOf returns the version by which a request came, as Via has it.
func versionOf(r *edge.Request) string {
	switch {
	case r.HTTP2:
		return "2.0"
	case r.Minor == 0:
		return "1.0"
	}
	return "1.1"
}

// via returns the Via list with this proxy at its end, and how the request came
// to it.
func via(fields wire.Fields, version string) string {
	own := version + " " + pseudonym
	if before, ok := fields.Joined("Via"); ok && before != "" {
		return before + ", " + own
	}
	return own
}
