package cache

import (
	"math"
	"strconv"
	"strings"

	"ringfence/proxy/wire"
)

// maxRanges is how many ranges one request may ask for; one that asks for more
// gets the whole (RFC 9110, section 14.2).
const maxRanges = 16

// Span is a run of Length bytes from Offset on.
type Span struct {
	Offset, Length int64
}

func (s Span) end() int64 { return s.Offset + s.Length }

// Spans returns the parts of a body of size bytes that rq asks for, where
// [Evaluate] said [Parts]: two or more in the order in which they were asked
// for, each of them as a [Part] is. No two overlap or touch, so that together
// they are less than the body. They belong to the caller.
func Spans(rq Request, size int64) []Span {
	parts, _ := appendSpans(nil, rq.Fields.Get("Range"), size)
	return parts
}

// parseRange answers a Range field from a body of size bytes.
func parseRange(field string, size int64) Answer {
	var room [maxRanges]Span
	switch parts, ok := appendSpans(room[:0], field, size); {
	case !ok:
		return Answer{Kind: Full}
	case len(parts) == 0:
		return Answer{Kind: NotSatisfiable}
	case len(parts) == 1:
		return Answer{Kind: Part, Span: parts[0]}
	}
	return Answer{Kind: Parts}
}

// appendSpans reads a Range field (RFC 9110, section 14.1.2) for a body of
// size bytes, which may not be negative. Ranges that cannot be satisfied are
// left out, and those that overlap or touch become one in the place of the
// first (section 15.3.7.2): so the parts never add up to more than the body,
// and what an answer carries beyond it is bounded by [maxRanges].
//
// It reports false for another unit than bytes, a set that cannot be read, more
// than maxRanges, and the end of an empty body, which can be satisfied but not
// be written in a Content-Range. White space stands around commas and where the
// set begins, and empty members count for nothing (section 5.6.1). dst must be
// empty.
func appendSpans(dst []Span, field string, size int64) ([]Span, bool) {
	unit, set, ok := strings.Cut(field, "=")
	if !ok || !wire.EqualFold(unit, "bytes") {
		return nil, false
	}
	asked := 0
	for spec := ""; set != ""; {
		if spec, set = wire.NextItem(set); spec == "" {
			continue
		}
		s, ok := parseSpan(spec, size)
		if asked++; !ok || asked > maxRanges {
			return nil, false
		}
		if s.Length > 0 {
			dst = addSpan(dst, s)
		}
	}
	return dst, asked > 0
}

// parseSpan reads one range of a set. A range that cannot be satisfied is
// empty; one that asks for the end of an empty body is refused with those that
// cannot be read.
func parseSpan(spec string, size int64) (Span, bool) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return Span{}, false
	}
	if first == "" {
		n, ok := number(last)
		if n > 0 && size == 0 {
			return Span{}, false
		}
		n = min(n, size)
		return Span{Offset: size - n, Length: n}, ok
	}
	from, ok := number(first)
	to := int64(math.MaxInt64)
	if ok && last != "" {
		to, ok = number(last)
	}
	if !ok || to < from {
		return Span{}, false
	}
	return Span{Offset: from, Length: max(min(to, size-1)-from+1, 0)}, true
}

// addSpan adds s to parts, of which no two overlap or touch, so that this
// still holds: s becomes one with those it meets, in the place of the first.
// One pass is enough, since what s grows by meets no other part.
func addSpan(parts []Span, s Span) []Span {
	kept, at := parts[:0], -1
	for _, p := range parts {
		if p.end() < s.Offset || s.end() < p.Offset {
			kept = append(kept, p)
			continue
		}
		from := min(p.Offset, s.Offset)
		s = Span{Offset: from, Length: max(p.end(), s.end()) - from}
		if at < 0 {
			at = len(kept)
			kept = append(kept, s)
		}
	}
	if at < 0 {
		return append(kept, s)
	}
	kept[at] = s
	return kept
}

// AppendContentRange appends the value of a Content-Range for a part of a body
// of size bytes; for the empty Span it is that of a 416, which names only the
// size (RFC 9110, section 14.4).
func AppendContentRange(dst []byte, s Span, size int64) []byte {
	dst = append(dst, "bytes "...)
	if s.Length == 0 {
		dst = append(dst, '*')
	} else {
		dst = strconv.AppendInt(dst, s.Offset, 10)
		dst = append(dst, '-')
		dst = strconv.AppendInt(dst, s.end()-1, 10)
	}
	dst = append(dst, '/')
	return strconv.AppendInt(dst, size, 10)
}

// Multipart returns what goes around the parts of a body of size bytes in a
// payload of the type multipart/byteranges (RFC 9110, section 14.6): heads[i]
// before parts[i], and tail after the last one. length is that of the whole
// payload. So a caller can send each part from where it is stored.
//
// The boundary is 1 to 70 letters and digits that no part holds, drawn at
// random by the caller, whose Content-Type is "multipart/byteranges;
// boundary=" and the same boundary, and who sends no Content-Range beside it
// (section 15.3.7.2). contentType is that of the body, or "" for none. The
// results belong to the caller.
func Multipart(boundary, contentType string, size int64, parts []Span) (heads [][]byte, tail []byte, length int64) {
	heads = make([][]byte, len(parts))
	for i, p := range parts {
		b := make([]byte, 0, len(boundary)+len(contentType)+100)
		if i > 0 {
			b = append(b, "\r\n"...)
		}
		b = append(append(append(b, "--"...), boundary...), "\r\n"...)
		if contentType != "" {
			b = wire.AppendField(b, "Content-Type", contentType)
		}
		b = AppendContentRange(append(b, "Content-Range: "...), p, size)
		heads[i] = append(b, "\r\n\r\n"...)
		length += int64(len(heads[i])) + p.Length
	}
	tail = []byte("\r\n--" + boundary + "--\r\n")
	return heads, tail, length + int64(len(tail))
}
