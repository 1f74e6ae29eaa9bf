package cache

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
)

// TestSpans: sets of ranges, RFC 9110, sections 14.1.1, 14.2 and 15.3.7.2, of
// ten bytes.
func TestSpans(t *testing.T) {
	for _, c := range []struct {
		set  string
		kind AnswerKind
		want []Span // where the kind is Part or Parts
	}{
		{"0-1,3-4", Parts, []Span{{0, 2}, {3, 2}}},
		{" 0-1 ,\t3-4", Parts, []Span{{0, 2}, {3, 2}}},
		{",0-1,, -1,", Parts, []Span{{0, 2}, {9, 1}}},
		{"8-,0-0,3-4", Parts, []Span{{8, 2}, {0, 1}, {3, 2}}},
		{"0-1,99-,3-4,-0", Parts, []Span{{0, 2}, {3, 2}}},
		{"0-1,99-", Part, []Span{{0, 2}}},
		{"99-,10-12,-0", NotSatisfiable, nil},
		{"0-1,2-4", Part, []Span{{0, 5}}},
		{"2-4,0-1", Part, []Span{{0, 5}}},
		{"5-6,0-1,1-5", Part, []Span{{0, 7}}},
		{"8-8,0-0,2-2,-4,1-1", Parts, []Span{{6, 4}, {0, 3}}},
		{"0-,0-,0-,0-", Part, []Span{{0, 10}}},
		{",", Full, nil},
		{"0-1,x", Full, nil},
		{"0-1,4-3", Full, nil},
		{"0-1;3-4", Full, nil},
		{"0-0,0-0" + strings.Repeat(",2-2", 14), Parts, []Span{{0, 1}, {2, 1}}},
		{"0-0" + strings.Repeat(",2-2", 16), Full, nil},
		{"0-1" + strings.Repeat(",99-", 16), Full, nil},
	} {
		a, got := parseRange("bytes="+c.set, 10), Spans(get(t, "Range: bytes="+c.set), 10)
		if a.Kind != c.kind || !slices.Equal(got, c.want) || a.Kind == Part && a.Span != got[0] {
			t.Errorf("%q: %v, %v", c.set, a, got)
		}
	}
}

// FuzzRange: whatever is asked for, a part is never empty and never ends past
// the body, parts are apart from one another, and together they hold what was
// asked for and nothing else, in the order in which it was.
func FuzzRange(f *testing.F) {
	for _, set := range []string{"0-4", "-9223372036854775807", "0-1, 5-6,-1", "8-,4-5,5-8", "9223372036854775807-", "1-1,0-0,3-3,2-2", ",-0"} {
		f.Add("bytes="+set, uint16(10))
	}
	f.Add("lines=0-1", uint16(0))
	f.Fuzz(func(t *testing.T, field string, n uint16) {
		size := int64(n)
		a := parseRange(field, size)
		parts, _ := appendSpans(nil, field, size)
		switch a.Kind {
		case Part:
			if len(parts) != 1 || parts[0] != a.Span {
				t.Fatalf("%q of %d bytes: %v and %v", field, n, a, parts)
			}
		case Parts:
			if len(parts) < 2 || len(parts) > maxRanges {
				t.Fatalf("%q of %d bytes: %d parts", field, n, len(parts))
			}
		default:
			if len(parts) != 0 || a.Span != (Span{}) {
				t.Fatalf("%q of %d bytes: %v", field, n, a)
			}
			return
		}
		for i, p := range parts {
			if p.Offset < 0 || p.Length < 1 || p.Offset > size-p.Length {
				t.Fatalf("%q of %d bytes: %v", field, n, parts)
			}
			for _, q := range parts[:i] {
				if p.Offset <= q.end() && q.Offset <= p.end() {
					t.Fatalf("%q: %v meets %v", field, p, q)
				}
			}
		}
		before, covered := -1, int64(0)
		seen := make([]bool, len(parts))
		for _, spec := range strings.Split(field[len("bytes="):], ",") {
			s, ok := parseSpan(strings.Trim(spec, " \t"), size)
			if !ok || s.Length == 0 {
				continue
			}
			at := 0
			for at < len(parts) && (s.Offset < parts[at].Offset || s.end() > parts[at].end()) {
				at++
			}
			if at == len(parts) {
				t.Fatalf("%q of %d bytes: %v is not in %v", field, n, s, parts)
			}
			if !seen[at] {
				if at < before {
					t.Fatalf("%q of %d bytes: out of order: %v", field, n, parts)
				}
				seen[at], before = true, at
			}
			covered += s.Length
		}
		for i, p := range parts {
			if covered -= p.Length; !seen[i] || covered < 0 {
				t.Fatalf("%q of %d bytes: nobody asked for all of %v", field, n, parts)
			}
		}
	})
}

// TestMultipart reads back, with the parser of the standard library, what a
// caller writes.
func TestMultipart(t *testing.T) {
	body := "0123456789"
	for _, contentType := range []string{"", "text/plain; charset=utf-8"} {
		parts := []Span{{8, 2}, {0, 1}, {3, 4}}
		heads, tail, length := Multipart("b0b1", contentType, int64(len(body)), parts)
		var payload bytes.Buffer
		for i, p := range parts {
			payload.Write(heads[i])
			payload.WriteString(body[p.Offset:p.end()])
		}
		payload.Write(tail)
		if int64(payload.Len()) != length {
			t.Errorf("%d bytes, %d announced", payload.Len(), length)
		}
		r := multipart.NewReader(&payload, "b0b1")
		for _, p := range parts {
			part, err := r.NextRawPart()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(part)
			want := fmt.Sprintf("bytes %d-%d/10", p.Offset, p.end()-1)
			if err != nil || string(text) != body[p.Offset:p.end()] || part.Header.Get("Content-Range") != want ||
				part.Header.Get("Content-Type") != contentType || len(part.Header["Content-Type"]) != min(1, len(contentType)) {
				t.Errorf("%q under %v, %v", text, part.Header, err)
			}
		}
		if _, err := r.NextRawPart(); err != io.EOF {
			t.Errorf("after the last part: %v", err)
		}
	}
}

func TestAppendContentRange(t *testing.T) { // RFC 9110, section 14.4
	for want, s := range map[string]Span{"bytes 0-0/10": {0, 1}, "bytes 2-9/10": {2, 8}, "bytes */10": {}} {
		if got := string(AppendContentRange([]byte("x"), s, 10)); got != "x"+want {
			t.Errorf("%v: %q", s, got)
		}
	}
}
