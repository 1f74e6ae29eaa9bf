package cache

import (
	"fmt"
	"strings"
	"testing"
)

func TestEvaluate(t *testing.T) {
	const (
		both    = `Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|Date: {0}`
		weak    = `Cache-Control: max-age=60|ETag: W/"a"`
		bare    = "Cache-Control: max-age=60|ETag: a"
		lower   = `Cache-Control: max-age=60|ETag: w/"a"`
		dated   = `Cache-Control: max-age=60|Date: {-10}`
		undated = `Cache-Control: max-age=60`
		recent  = `Cache-Control: max-age=60|Last-Modified: {0}|Date: {0}`
	)
	full, notModified, refused := Answer{Kind: Full}, Answer{Kind: NotModified}, Answer{Kind: NotSatisfiable}
	part := func(offset, length int64) Answer { return Answer{Kind: Part, Span: Span{offset, length}} }
	parts := Answer{Kind: Parts}
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
		{both, `If-None-Match: W/"c",, W/"a"`, notModified},
		{both, `If-None-Match: "a" "b"`, notModified},
		{both, `If-None-Match: w/"a"`, full},
		{both, `If-None-Match: W/ "a"`, full},
		{both, `If-None-Match: "A"`, full},
		{both, `If-None-Match: x, "a"`, notModified},
		{both, `If-None-Match: x "a`, full},
		// What stands in for a tag is compared byte for byte.
		{bare, "If-None-Match: a", notModified},
		{bare, `If-None-Match: "b", W/"c",a`, notModified},
		{bare, "If-None-Match: W/a", notModified},
		{bare, `If-None-Match: "a"`, full},
		{bare, "If-None-Match: A", full},
		{bare, "If-None-Match: aa", full},
		{bare, `If-None-Match: "b"a`, full},
		{lower, `If-None-Match: w/"a"`, notModified},
		{lower, `If-None-Match: W/"a"`, full},
		{lower, `If-None-Match: "a"`, full},
		{bare, "Range: bytes=0-4|If-Range: a", full},
		{both, `If-None-Match:`, full},
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
		{undated, "If-Modified-Since: {0}", notModified}, // what was received stands in for Date
		{undated, "If-Modified-Since: {-1}", full},
		{both, "If-Modified-Since: Wed Mar  4 12:00:00 2026", notModified},
		{both, "If-Modified-Since: {999}", notModified},
		// All of them, in the order of section 13.2.2.
		{both, `If-None-Match: "b"|If-Modified-Since: {0}|Range: bytes=0-4|If-Range: "a"`, part(0, 5)},
		{both, `If-None-Match: "a"|Range: bytes=99-|If-Range: "a"`, notModified},
		{both, `If-Modified-Since: {0}|Range: bytes=99-`, notModified},
		{both, `If-Modified-Since: {-101}|Range: bytes=99-`, refused},
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
		{both, "Range: bytes = 0-1", full},
		{both, "Range: bytes=0 - 1", full},
		{both, "Range: bytes", full},
		{both, "Range: 0-4", full},
		{both, "Range: bytes=0-1,3-4", parts},
		{both, "Range: bytes=0-1,99-", part(0, 2)},
		{both, `Range: bytes=0-1,3-4|If-Range: "b"`, full},
		{both, `Range: bytes=0-1,3-4|If-Range: "a"`, parts},
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
		{both, "Range: bytes=0-4|If-Range: *", full},
		{both, `Range: bytes=0-4|If-Range: "a", "b"`, full},
		{both, `Range: bytes=0-4|If-Range: "a"|If-Range: "a"`, full},
		{both, "Range: bytes=0-4|If-Range: {-101}", full},
		{both, "Range: bytes=0-4|If-Range: Wed Mar  4 11:58:20 2026", part(0, 5)}, // the same instant
		{dated, `Range: bytes=0-4|If-Range: "a"`, full},
		{dated, "Range: bytes=0-4|If-Range: {-10}", full}, // no Date stands in here
		{both, `Range: bytes=99-|If-Range: "b"`, full},
		{both, `If-Range: "b"`, full},
	} {
		o := stored(t, c.response)
		if got := Evaluate(&o.Meta, 10, get(t, c.request)); got != c.want {
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
		{"POST has no conditions", "POST", 200, `If-None-Match: "a"`, 10, Full},
		{"an error has no ranges", "GET", 404, "Range: bytes=0-1", 10, Full},
		{"nothing of nothing", "GET", 200, "Range: bytes=0-", 0, NotSatisfiable},
		{"the end of nothing", "GET", 200, "Range: bytes=-1", 0, Full},
		{"the end of nothing, among others", "GET", 200, "Range: bytes=0-,-1", 0, Full},
		{"no end of nothing", "GET", 200, "Range: bytes=-0", 0, NotSatisfiable},
		{"conditions of what is under way", "GET", 200, `If-None-Match: "a"|Range: bytes=0-1`, -1, NotModified},
		{"no range of what is under way", "GET", 200, "Range: bytes=0-1", -1, Full},
		{"nor a refusal", "GET", 200, "Range: bytes=99-,-0", -2, Full},
	} {
		m.Status = c.status
		if got := Evaluate(&m, c.size, NewRequest(&Policy{}, c.method, lines(t, c.request))); got.Kind != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestSingleRangeAllocatesNothing(t *testing.T) {
	m, rq := stored(t, `Cache-Control: max-age=60|ETag: "a"`).Meta, get(t, `Range: bytes=2-5, 4-7|If-Range: "a"`)
	if n := testing.AllocsPerRun(100, func() { Evaluate(&m, 10, rq) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	m := stored(b, `Cache-Control: max-age=60|ETag: "a"`).Meta
	for name, fields := range map[string]string{
		"plain": "Accept: */*", "conditional": `If-None-Match: "b", "a"`, "range": "Range: bytes=2-5", "ranges": "Range: bytes=2-5,8-9",
	} {
		rq := get(b, fields)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Evaluate(&m, 10, rq)
			}
		})
	}
}

// FuzzEntityTags: what identifies a response is found wherever it stands in a
// list, and what is not in a list of such is not.
func FuzzEntityTags(f *testing.F) {
	f.Add(`"a"`, `W/"b"`, `W/"b", "a"`)
	f.Add(`"`, `W/`, `"a`)
	f.Add("a", `w/"a"`, "*, a b")
	f.Fuzz(func(t *testing.T, tag, other, list string) {
		listsETag(list, tag)
		if !identifies(tag) || !identifies(other) {
			return
		}
		if isETag(tag) && !strings.HasSuffix(tag, `"`) || strings.HasPrefix(tag, `"`) && !isETag(tag) {
			t.Fatalf("%q identifies a response", tag)
		}
		same := strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(other, "W/")
		for _, c := range []struct {
			list string
			want bool
		}{
			{tag, true}, {other, same}, {other + "," + tag, true}, {tag + " ,, " + list, true},
			{fmt.Sprintf(`W/"x" , %s,`, other), same || strings.TrimPrefix(tag, "W/") == `"x"`},
		} {
			if listsETag(c.list, tag) != c.want {
				t.Fatalf("%q in %q: %v", tag, c.list, !c.want)
			}
		}
	})
}
