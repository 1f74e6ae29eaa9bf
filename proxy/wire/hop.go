package wire

// IsHopByHop reports whether name is a field that belongs to one connection
// and must not be passed on (RFC 9110, section 7.6.1), whether or not a
// Connection field names it. Content-Length is not among them: it travels with
// the framing.
func IsHopByHop(name string) bool {
	switch len(name) {
	case 2:
		return EqualFold(name, "TE")
	case 7:
		return EqualFold(name, "Trailer") || EqualFold(name, "Upgrade")
	case 10:
		return EqualFold(name, "Connection") || EqualFold(name, "Keep-Alive")
	case 16:
		return EqualFold(name, "Proxy-Connection")
	case 17:
		return EqualFold(name, "Transfer-Encoding")
	case 18:
		return EqualFold(name, "Proxy-Authenticate")
	case 19:
		return EqualFold(name, "Proxy-Authorization")
	case 25:
		return EqualFold(name, "Proxy-Authentication-Info")
	}
	return false
}

// EndToEnd appends to dst the fields of src that may be passed on: all but
// hop-by-hop fields and those that a Connection line of src nominates
// (RFC 9110, section 7.6.1). A nomination cannot remove an [IsProtected] field.
// dst and src may not share memory.
func EndToEnd(dst, src Fields) Fields {
	nominates := src.Has("Connection")
	for _, f := range src {
		if IsHopByHop(f.Name) || nominates && !IsProtected(f.Name) && src.HasToken("Connection", f.Name) {
			continue
		}
		dst = append(dst, f)
	}
	return dst
}

// IsProtected reports whether name is a field that a Connection line cannot
// nominate, since it is meant for all recipients or, like those of a [Role],
// is the proxy's to judge (RFC 9110, section 7.6.1): one that frames the
// message or names its target, proves who asks or from where, says how the
// message may be cached, what it is about, or what a browser may do with it. A
// client could otherwise take away what somebody in front of us has written, or
// make two parties read one message differently.
func IsProtected(name string) bool {
	if RoleOf(name) != Plain {
		return true
	}
	for _, family := range [...]string{"Sec-", "Content-", "If-", "Access-Control-", "Cross-Origin-", "Cache-"} {
		if len(name) > len(family) && EqualFold(name[:len(family)], family) {
			return true
		}
	}
	// Cache-Control and the targeted ones (RFC 9213).
	if end := len(name) - len("-Control"); end > 0 && EqualFold(name[end:], "-Control") {
		return true
	}
	for _, keep := range [...]string{
		"Authorization", "WWW-Authenticate", "Authentication-Info", "Cookie", "Set-Cookie", "Origin", "Referer",
		"Location", "Strict-Transport-Security", "Clear-Site-Data", "X-Frame-Options", "X-Content-Type-Options",
		"Pragma", "Age", "Date", "Expires", "Vary", "ETag", "Last-Modified", "Range", "Accept-Ranges", "Warning",
		"Max-Forwards", "Priority", "Early-Data", "X-Request-ID", "traceparent", "tracestate", "Proxy-Status",
	} {
		if EqualFold(name, keep) {
			return true
		}
	}
	return false
}

// Nominates reports whether a Connection line names fields of f that [EndToEnd]
// would remove, beside those it always does.
func Nominates(f Fields) bool {
	for i := f.Index("Connection", 0); i >= 0; i = f.Index("Connection", i+1) {
		for rest, item := f[i].Value, ""; rest != ""; {
			item, rest = NextItem(rest)
			if f.Has(item) && !IsHopByHop(item) && !IsProtected(item) {
				return true
			}
		}
	}
	return false
}
