package cache

import (
	"math"
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
	// Part: a 206 with the bytes from Offset, Length of them.
	Part
	// NotSatisfiable: a 416, with the size in Content-Range.
	NotSatisfiable
)

// Answer is how to answer a request from a stored response. Offset and Length
// are in bytes and mean something for a [Part] only, which is never empty and
// never ends past the body.
type Answer struct {
	Kind           AnswerKind
	Offset, Length int64
}

// Evaluate applies the conditions and the range of rq to a stored response
// whose body has size bytes, in the order of RFC 9110, section 13.2.2. If-Match
// and If-Unmodified-Since are not the cache's to evaluate: [Decide] passes
// requests with them.
//
// Conditions are ignored unless the stored status is a 2xx, ranges unless it
// is 200 and the method GET. A request for several ranges, or for one that
// cannot be read, gets the whole (RFC 9110, section 14.2).
func Evaluate(m Meta, size int64, rq Request) Answer {
	if rq.traits&(conditional|hasRange) == 0 || m.Status < 200 || m.Status > 299 {
		return Answer{Kind: Full}
	}
	if rq.traits&conditional != 0 && notModified(m, rq.Fields) {
		return Answer{Kind: NotModified}
	}
	if !rq.HasRange() || m.Status != 200 || !ifRange(m, rq.Fields) {
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
func notModified(m Meta, f wire.Fields) bool {
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
	since, ok := ParseDate(f[i].Value, m.ResponseTime)
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
func ifRange(m Meta, f wire.Fields) bool {
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
	t, ok := ParseDate(value, m.ResponseTime)
	return ok && m.LastModified != "" && t.Equal(m.Modified) && m.Date.Sub(m.Modified) >= time.Second
}

// parseRange reads a Range field with one range of bytes (RFC 9110, section
// 14.1.2).
func parseRange(s string, size int64) Answer {
	full := Answer{Kind: Full}
	unit, set, ok := strings.Cut(s, "=")
	if !ok || !wire.EqualFold(unit, "bytes") {
		return full
	}
	set = wire.TrimSpace(set)
	first, last, ok := strings.Cut(set, "-")
	if !ok {
		return full
	}
	if first == "" {
		n, ok := position(last)
		switch n = min(n, size); {
		case !ok:
			return full
		case last != "" && n == 0 && size > 0:
			return Answer{Kind: NotSatisfiable}
		case n == 0:
			// No range of an empty body can be written in a Content-Range.
			return full
		}
		return Answer{Kind: Part, Offset: size - n, Length: n}
	}
	from, ok := position(first)
	to := int64(math.MaxInt64)
	if ok && last != "" {
		to, ok = position(last)
	}
	switch {
	case !ok || to < from:
		return full
	case from >= size:
		return Answer{Kind: NotSatisfiable}
	}
	return Answer{Kind: Part, Offset: from, Length: min(to, size-1) - from + 1}
}

// position reads a byte position; one past all bodies is as good as the
// largest.
func position(s string) (int64, bool) {
	n := int64(0)
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, s != ""
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
// (RFC 9110, section 8.8.3.2). It gives up at the first member that breaks the
// grammar.
func listsETag(list, etag string) bool {
	etag = strings.TrimPrefix(etag, "W/")
	for {
		for list != "" && (list[0] == ',' || list[0] == ' ' || list[0] == '\t') {
			list = list[1:]
		}
		list = strings.TrimPrefix(list, "W/")
		if list == "" || list[0] != '"' {
			return false
		}
		end := strings.IndexByte(list[1:], '"') + 2
		if end < 2 || end < len(list) && list[end] != ',' && list[end] != ' ' && list[end] != '\t' {
			return false
		}
		if list[:end] == etag {
			return true
		}
		list = list[end:]
	}
}
