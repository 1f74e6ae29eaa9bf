package wire

// belongsInHead reports whether a field takes effect before the body and so must
// not come behind it: one that frames the message, says where it goes, who asks,
// on what terms, or how to read the content (RFC 9110, section 6.5.1). A reader
// that merged it into the head would read another message than one that did not.
func belongsInHead(name string) bool {
	for _, field := range [...]string{
		"Content-Length", "Transfer-Encoding", "Trailer", "TE", "Connection", "Upgrade", "Keep-Alive",
		"Proxy-Connection", "Host", "Expect", "Max-Forwards", "Authorization", "Proxy-Authorization", "Cookie",
		"Cache-Control", "Pragma", "Range", "If-Match", "If-None-Match", "If-Modified-Since",
		"If-Unmodified-Since", "If-Range", "Content-Encoding", "Content-Type", "Content-Range",
	} {
		if EqualFold(name, field) {
			return true
		}
	}
	return false
}
