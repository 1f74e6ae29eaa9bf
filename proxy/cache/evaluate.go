package cache

import (
	"strings"
	"time"

	"ringfence/proxy/wire"
)

// AnswerKind is the shape of an answer from a stored response. The set is
// closed.
type AnswerKind uint8

const (
	// Full: the stored status and the whole body.
	Full AnswerKind = iota
	// NotModified: a 304 without a body.
	NotModified
	// Part: a 206 with the bytes of Span.
	Part
	// Parts: a 206 with what [Spans] gives, as [Multipart] frames it.
	Parts
	// NotSatisfiable: a 416, with the size in Content-Range.
	NotSatisfiable
)

// Answer is how to answer a request from a stored response. It is small since
// every hit has one: what [Parts] hold is asked for apart.
type Answer struct {
	Kind AnswerKind
	// Span is what a [Part] holds: never empty, and never ending past the body.
	Span
}

// Evaluate applies the conditions and the ranges of rq to a stored response
// whose body has size bytes, in the order of RFC 9110, section 13.2.2. If-Match
// and If-Unmodified-Since are not the cache's to evaluate: [Decide] passes
// requests with them, and with methods other than GET and HEAD, which are
// answered whole here.
//
// Conditions are ignored unless the stored status is a 2xx, ranges unless it
// is 200 and the method GET. A size below 0 is that of a body which is still
// under way: conditions apply to it, ranges do not, since nobody knows yet
// which of them can be satisfied. Several Range lines, and a set that is not
// for bytes, cannot be read or asks for more than 16 ranges, get the
// whole (section 14.2).
func Evaluate(m *Meta, size int64, rq Request) Answer {
	if rq.traits&(conditional|hasRange) == 0 || !succeeded(m.Status) || rq.traits&(isGet|isHead) == 0 {
		return Answer{Kind: Full}
	}
	if rq.traits&conditional != 0 && notModified(m, rq.Fields) {
		return Answer{Kind: NotModified}
	}
	if !rq.HasRange() || size < 0 || m.Status != 200 || !ifRange(m, rq.Fields) {
		return Answer{Kind: Full}
	}
	i := rq.Fields.Index("Range", 0)
	if rq.Fields[i+1:].Has("Range") {
		return Answer{Kind: Full}
	}
	return parseRange(rq.Fields[i].Value, size)
}

// notModified evaluates If-None-Match, or If-Modified-Since where there is no
// If-None-Match (RFC 9110, sections 13.1.2 and 13.1.3). Without a
// Last-Modified the response's Date stands in for it (RFC 9111, section 4.3.2).
func notModified(m *Meta, f wire.Fields) bool {
	if i := f.Index("If-None-Match", 0); i >= 0 {
		for ; i >= 0; i = f.Index("If-None-Match", i+1) {
			if f[i].Value == "*" || m.ETag != "" && listsETag(f[i].Value, m.ETag) {
				return true
			}
		}
		return false
	}
	i := f.Index("If-Modified-Since", 0)
	if i < 0 || f[i+1:].Has("If-Modified-Since") {
		return false
	}
	since, ok := parseDate(f[i].Value, m.ResponseTime)
	modified := m.Modified
	if m.LastModified == "" {
		modified = m.Date.Truncate(time.Second)
	}
	return ok && !modified.After(since)
}

// ifRange reports whether the range applies: there is no If-Range, or it holds
// a strong validator of the stored response (RFC 9110, section 13.1.5). A date
// is strong if it is at least a second before the response's Date (section
// 8.8.2.2).
func ifRange(m *Meta, f wire.Fields) bool {
	i := f.Index("If-Range", 0)
	if i < 0 {
		return true
	}
	value := f[i].Value
	if f[i+1:].Has("If-Range") {
		return false
	}
	if isETag(value) {
		return value == m.ETag && value[0] == '"'
	}
	t, ok := parseDate(value, m.ResponseTime)
	return ok && m.LastModified != "" && t.Equal(m.Modified) && m.Date.Sub(m.Modified) >= time.Second
}

// identifies reports whether s, sent as an ETag, can be asked about: an entity
// tag, or what some servers send in place of one, such as abc and w/"abc". That
// is sent back and compared byte for byte, and so must not read as more than
// one tag, or as any, in an If-None-Match. It is no strong validator.
func identifies(s string) bool {
	if isETag(s) {
		return true
	}
	bare := strings.TrimPrefix(s, "W/")
	if bare == "" || bare == "*" || bare[0] == '"' {
		return false
	}
	for i := range len(bare) {
		if c := bare[i]; c < '!' || c == ',' || c == 0x7f {
			return false
		}
	}
	return true
}

// isETag reports whether s is an entity tag (RFC 9110, section 8.8.3).
func isETag(s string) bool {
	s = strings.TrimPrefix(s, "W/")
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		if c := s[i]; c < '!' || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

// listsETag reports whether list has a member that is etag by weak comparison
// (RFC 9110, section 8.8.3.2). It gives up at quotation marks out of place.
func listsETag(list, etag string) bool {
	etag = strings.TrimPrefix(etag, "W/")
	for {
		for list != "" && separatesTags(list[0]) {
			list = list[1:]
		}
		list = strings.TrimPrefix(list, "W/")
		end := opaqueLen(list)
		if end == 0 {
			return false
		}
		if list[:end] == etag {
			return true
		}
		list = list[end:]
	}
}

// opaqueLen returns the length of the opaque tag, quoted or not, that list
// begins with; 0 if there is none, or none that ends.
func opaqueLen(list string) int {
	end := 0
	if strings.HasPrefix(list, `"`) {
		end = strings.IndexByte(list[1:], '"') + 2
		if end < 2 || end < len(list) && !separatesTags(list[end]) {
			return 0
		}
		return end
	}
	for end < len(list) && !separatesTags(list[end]) {
		end++
	}
	return end
}

func separatesTags(c byte) bool { return c == ',' || c == ' ' || c == '\t' }
