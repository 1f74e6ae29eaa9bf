package cache

import "testing"

func TestEvaluate(t *testing.T) {
	const (
		both   = `Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|Date: {0}`
		weak   = `Cache-Control: max-age=60|ETag: W/"a"`
		dated  = `Cache-Control: max-age=60|Date: {-10}`
		recent = `Cache-Control: max-age=60|Last-Modified: {0}|Date: {0}`
	)
	full, notModified, refused := Answer{Kind: Full}, Answer{Kind: NotModified}, Answer{Kind: NotSatisfiable}
	part := func(offset, length int64) Answer { return Answer{Part, offset, length} }
	for _, c := range []struct {
		response, request string
		want              Answer
	}{
		{both, "", full},
		// If-None-Match, RFC 9110, section 13.1.2.
		{both, `If-None-Match: "a"`, notModified},
		{both, `If-None-Match: W/"a"`, notModified},
		{weak, `If-None-Match: "a"`, notModified},
		{both, `If-None-Match: "b", "a"`, notModified},
		{both, `If-None-Match: "b"|If-None-Match: ,W/"c" , "a"`, notModified},
		{both, `If-None-Match: "b, \"a\""`, full},
		{both, `If-None-Match: "b"`, full},
		{both, `If-None-Match: a`, full},
		{both, `If-None-Match: "a`, full},
		{both, `If-None-Match: "b""a"`, full},
		{both, `If-None-Match: *`, notModified},
		{dated, `If-None-Match: *`, notModified},
		{dated, `If-None-Match: ""`, full},
		{both, `If-None-Match: "b"|If-Modified-Since: {0}`, full},
		{both, `If-None-Match: "a"|If-Modified-Since: {-200}`, notModified},
		// If-Modified-Since, section 13.1.3, and RFC 9111, section 4.3.2.
		{both, "If-Modified-Since: {-100}", notModified},
		{both, "If-Modified-Since: {-99}", notModified},
		{both, "If-Modified-Since: {-101}", full},
		{both, "If-Modified-Since: now", full},
		{both, "If-Modified-Since: {0}|If-Modified-Since: {0}", full},
		{both, "If-Modified-Since: Wednesday, 04-Mar-26 12:00:00 GMT", notModified},
		{dated, "If-Modified-Since: {-10}", notModified},
		{dated, "If-Modified-Since: {-11}", full},
		// Range, section 14.1.2, of ten bytes.
		{both, "Range: bytes=0-4", part(0, 5)},
		{both, "Range: BYTES= 2-2", part(2, 1)},
		{both, "Range: bytes=5-", part(5, 5)},
		{both, "Range: bytes=5-99", part(5, 5)},
		{both, "Range: bytes=-3", part(7, 3)},
		{both, "Range: bytes=-99", part(0, 10)},
		{both, "Range: bytes=0-99999999999999999999", part(0, 10)},
		{both, "Range: bytes=10-", refused},
		{both, "Range: bytes=99999999999999999999-", refused},
		{both, "Range: bytes=18446744073709551617-", refused}, // 2^64 + 1
		{both, "Range: bytes=-0", refused},
		{both, "Range: bytes=4-3", full},
		{both, "Range: bytes=a-3", full},
		{both, "Range: bytes=0-3a", full},
		{both, "Range: bytes=-", full},
		{both, "Range: bytes=", full},
		{both, "Range: bytes=3", full},
		{both, "Range: bytes=--3", full},
		{both, "Range: bytes=0-1,3-4", full},
		{both, "Range: lines=0-4", full},
		{both, "Range: bytes=0-4|Range: bytes=1-4", full},
		{both, `Range: bytes=0-4|If-None-Match: "a"`, notModified},
		{both, `Range: bytes=0-4|If-None-Match: "b"`, part(0, 5)},
		// If-Range, section 13.1.5.
		{both, `Range: bytes=0-4|If-Range: "a"`, part(0, 5)},
		{both, `Range: bytes=0-4|If-Range: "b"`, full},
		{both, `Range: bytes=0-4|If-Range: W/"a"`, full},
		{weak, `Range: bytes=0-4|If-Range: W/"a"`, full},
		{weak, `Range: bytes=0-4|If-Range: "a"`, full},
		{both, "Range: bytes=0-4|If-Range: {-100}", part(0, 5)},
		{both, "Range: bytes=0-4|If-Range: {-99}", full},
		{recent, "Range: bytes=0-4|If-Range: {0}", full}, // not a strong date
		{both, "Range: bytes=0-4|If-Range: x", full},
		{both, `Range: bytes=99-|If-Range: "b"`, full},
		{both, `If-Range: "b"`, full},
	} {
		o := stored(t, c.response)
		if got := Evaluate(o.Meta, 10, get(t, c.request)); got != c.want {
			t.Errorf("%q of %q: %v, want %v", c.request, c.response, got, c.want)
		}
	}
	m := stored(t, both).Meta
	for _, c := range []struct {
		name, method string
		status       int
		request      string
		size         int64
		want         AnswerKind
	}{
		{"HEAD is conditional", "HEAD", 200, `If-None-Match: "a"`, 10, NotModified},
		{"HEAD has no ranges", "HEAD", 200, "Range: bytes=0-1", 10, Full},
		{"POST is answered whole", "POST", 200, "Range: bytes=0-1", 10, Full},
		{"an error has no conditions", "GET", 404, `If-None-Match: "a"`, 10, Full},
		{"another 2xx has", "GET", 203, `If-None-Match: "a"`, 10, NotModified},
		{"but no ranges", "GET", 203, "Range: bytes=0-1", 10, Full},
		{"nothing of nothing", "GET", 200, "Range: bytes=0-", 0, NotSatisfiable},
		{"the end of nothing", "GET", 200, "Range: bytes=-1", 0, Full},
	} {
		m.Status = c.status
		if got := Evaluate(m, c.size, NewRequest(c.method, lines(t, c.request))); got.Kind != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add("bytes=0-4", `"a"`, `W/"b", "a"`, int64(10))
	f.Add("bytes=-9223372036854775807", `"`, `W/`, int64(0))
	f.Fuzz(func(t *testing.T, set, single, list string, size int64) {
		size = max(size, 0)
		if a := parseRange(set, size); a.Kind == Part && (a.Offset < 0 || a.Length < 1 || a.Length > size-a.Offset) {
			t.Fatalf("%q of %d bytes: %v", set, size, a)
		}
		listsETag(list, single)
		if isETag(single) && !listsETag(`"x", `+single+", "+list, single) {
			t.Fatalf("%q was not found before %q", single, list)
		}
	})
}
