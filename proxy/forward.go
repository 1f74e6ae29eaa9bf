package proxy

import (
	"strings"

	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// pseudonym is this proxy's name in Via, Cache-Status and Proxy-Status.
const pseudonym = "ringfence"

// appendForwarded appends the fields of the request that goes upstream: the
// canonical Host first, the client's end-to-end fields, and who forwards it
// for whom (RFC 9110, section 7.6; RFC 7239). What a client says of its own
// origin is replaced: no peer is trusted to say it. dst and fields may not
// share memory.
func appendForwarded(dst wire.Fields, from edge.Client, minor int, t target, fields wire.Fields) wire.Fields {
	dst = append(dst, wire.Field{Name: "Host", Value: t.authority})
	first := len(dst)
	dst = wire.EndToEnd(dst, fields)
	kept := dst[:first]
	for _, f := range dst[first:] {
		if !isReplaced(f.Name) {
			kept = append(kept, f)
		}
	}
	client := clientAddr(from)
	return append(kept,
		wire.Field{Name: "Via", Value: via(fields, minor > 0)},
		wire.Field{Name: "X-Forwarded-For", Value: client},
		wire.Field{Name: "X-Forwarded-Host", Value: t.authority},
		wire.Field{Name: "X-Forwarded-Proto", Value: t.scheme},
		wire.Field{Name: "Forwarded", Value: forwarded(client, t)},
	)
}

// isReplaced reports whether the proxy writes the field itself, or answers for
// it: who a client says that it is, or was asked for, is not passed on. A name
// with underscores is the same one to a server that follows CGI (RFC 3875,
// section 4.1.18).
func isReplaced(name string) bool {
	const forwardedBy = "X-Forwarded-"
	if len(name) > len(forwardedBy) && isAlias(name[:len(forwardedBy)], forwardedBy) {
		return true
	}
	switch len(name) {
	case 3:
		return wire.EqualFold(name, "Via")
	case 4:
		return wire.EqualFold(name, "Host")
	case 6:
		// It was answered with 100 or 417 already.
		return wire.EqualFold(name, "Expect")
	case 9:
		return wire.EqualFold(name, "Forwarded") || isAlias(name, "X-Real-IP")
	case 14:
		return isAlias(name, "Content-Length")
	case 17:
		return isAlias(name, "Transfer-Encoding")
	}
	return false
}

// isAlias reports whether name is want, which is not made of letters alone, or
// has underscores for its hyphens.
func isAlias(name, want string) bool {
	for i := range len(want) {
		if c := name[i]; c != '_' || want[i] != '-' {
			if !wire.EqualFold(name[i:i+1], want[i:i+1]) {
				return false
			}
		}
	}
	return true
}

// via returns the Via list with this proxy at its end.
func via(fields wire.Fields, http11 bool) string {
	own := "1.1 " + pseudonym
	if !http11 {
		own = "1.0 " + pseudonym
	}
	if before, ok := fields.Joined("Via"); ok && before != "" {
		return before + ", " + own
	}
	return own
}

// forwarded returns the Forwarded element of this hop (RFC 7239, section 4).
func forwarded(client string, t target) string {
	if strings.Contains(client, ":") {
		client = `"[` + client + `]"`
	}
	if t.authority == "" {
		return "for=" + client + ";proto=" + t.scheme
	}
	return "for=" + client + `;host="` + t.authority + `";proto=` + t.scheme
}
