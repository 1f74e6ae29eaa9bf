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
// (RFC 9110, section 7.6.1). A nomination cannot remove a field that frames
// the message, names its target, proves who asks, or says how it may be
// cached: a client could otherwise make two parties read one message
// differently. dst and src may not share memory.
func EndToEnd(dst, src Fields) Fields {
	nominates := src.Has("Connection")
	for _, f := range src {
		if IsHopByHop(f.Name) || nominates && nominable(f.Name) && src.HasToken("Connection", f.Name) {
			continue
		}
		dst = append(dst, f)
	}
	return dst
}

func nominable(name string) bool {
	for _, keep := range [...]string{
		"Content-Length", "Host", "Authorization", "Cookie", "Set-Cookie", "Forwarded", "Via",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP",
		"Cache-Control", "CDN-Cache-Control", "Age", "Date", "Expires", "Vary", "ETag", "Last-Modified",
		"Content-Type", "Content-Encoding", "Content-Range", "Range", "If-Range",
	} {
		if EqualFold(name, keep) {
			return false
		}
	}
	return true
}

// Nominates reports whether a Connection line names fields of f that [EndToEnd]
// would remove, beside those it always does.
func Nominates(f Fields) bool {
	for i := f.Index("Connection", 0); i >= 0; i = f.Index("Connection", i+1) {
		for rest, item := f[i].Value, ""; rest != ""; {
			item, rest = NextItem(rest)
			if f.Has(item) && !IsHopByHop(item) && nominable(item) {
				return true
			}
		}
	}
	return false
}
