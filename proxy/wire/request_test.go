package wire

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

var requestLimits = RequestLimits{MaxTarget: 64, MaxFields: 8}

func TestRequestHead(t *testing.T) {
	const host = "Host: a\r\n"
	get := "GET / HTTP/1.1\r\n" + host
	for _, tt := range []struct {
		head   string
		status int // 0: accepted
		want   RequestHead
	}{
		// RFC 9112, section 3: the request line.
		{get, 0, RequestHead{Method: "GET", Target: "/", Minor: 1, Persistent: true}},
		{"get /a?b HTTP/1.0\r\n", 0, RequestHead{Method: "get", Target: "/a?b"}},
		{"GET / HTTP/1.0\r\nConnection: a, Keep-Alive\r\n", 0, RequestHead{Method: "GET", Target: "/", Persistent: true}},
		{get + "Connection: a,close\r\n", 0, RequestHead{Method: "GET", Target: "/", Minor: 1}},
		{"GET /\r\n" + host, 400, RequestHead{}},
		{"GET  / HTTP/1.1\r\n" + host, 400, RequestHead{}},
		{"GET / HTTP/1.1 \r\n" + host, 400, RequestHead{}},
		{"GET\t/\tHTTP/1.1\r\n" + host, 400, RequestHead{}},
		{" GET / HTTP/1.1\r\n" + host, 400, RequestHead{}},
		{"G\x00T / HTTP/1.1\r\n" + host, 400, RequestHead{}},
		{strings.Repeat("M", 33) + " / HTTP/1.1\r\n" + host, 501, RequestHead{}},
		{"GET /" + strings.Repeat("x", 64) + " HTTP/1.1\r\n" + host, 414, RequestHead{}},
		{"GET /#f HTTP/1.1\r\n" + host, 400, RequestHead{}},
		{"GET /\xc3\xa4 HTTP/1.1\r\n" + host, 400, RequestHead{}},
		{"GET /\x7f HTTP/1.1\r\n" + host, 400, RequestHead{}},
		// Section 2.3: the version.
		{"GET / HTTP/2.0\r\n" + host, 505, RequestHead{}},
		{"GET / HTTP/1.2\r\n" + host, 505, RequestHead{}},
		{"GET / HTTP/0.9\r\n" + host, 505, RequestHead{}},
		{"GET / http/1.1\r\n" + host, 400, RequestHead{}},
		{"GET / HTTP/1.10\r\n" + host, 400, RequestHead{}},
		// Section 3.2: Host.
		{"GET / HTTP/1.1\r\n", 400, RequestHead{}},
		{"GET / HTTP/1.1\r\nHost:\r\n", 400, RequestHead{}},
		{get + "host: a\r\n", 400, RequestHead{}},
		// Section 5: field lines.
		{get + " folded\r\n", 400, RequestHead{}},
		{get + "A : b\r\n", 400, RequestHead{}},
		{get + ": b\r\n", 400, RequestHead{}},
		{get + "A: b\x00\r\n", 400, RequestHead{}},
		{get + "A: b\rc\r\n", 400, RequestHead{}},
		{get + "A: b\n", 400, RequestHead{}},
		{get + strings.Repeat("A: b\r\n", 8), 431, RequestHead{}},
		{get + "Content_Length: 1\r\n", 400, RequestHead{}},
		{get + "x-forwarded_for: 1\r\n", 400, RequestHead{}},
		{get + "Keep_Alive: 1\r\n", 400, RequestHead{}},
		{get + "X_Own: 1\r\n", 0, RequestHead{Method: "GET", Target: "/", Minor: 1, Persistent: true}},
		// Section 6: framing.
		{get + "Content-Length: 12\r\n", 0, RequestHead{Method: "GET", Target: "/", Minor: 1, Persistent: true, Length: 12}},
		{get + "Content-Length: 0\r\n", 0, RequestHead{Method: "GET", Target: "/", Minor: 1, Persistent: true}},
		{get + "Content-Length: 012\r\n", 400, RequestHead{}},
		{get + "Content-Length: +1\r\n", 400, RequestHead{}},
		{get + "Content-Length: 1, 1\r\n", 400, RequestHead{}},
		{get + "Content-Length:\r\n", 400, RequestHead{}},
		{get + "Content-Length: 1\r\nContent-Length: 1\r\n", 400, RequestHead{}},
		{get + "Content-Length: 9223372036854775808\r\n", 400, RequestHead{}},
		{get + "Transfer-Encoding: Chunked\r\n", 0, RequestHead{Method: "GET", Target: "/", Minor: 1, Persistent: true, Length: Chunked}},
		{get + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400, RequestHead{}},
		{get + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, RequestHead{}},
		{get + "Transfer-Encoding: chunked, chunked\r\n", 400, RequestHead{}},
		{get + "Transfer-Encoding: chunked, gzip\r\n", 400, RequestHead{}},
		{get + "Transfer-Encoding: gzip, chunked\r\n", 501, RequestHead{}},
		{get + "Transfer-Encoding: identity\r\n", 400, RequestHead{}},
		{get + "Transfer-Encoding: \x0bchunked\r\n", 400, RequestHead{}},
		{"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400, RequestHead{}},
		// RFC 9110, section 10.1.1.
		{get + "Expect: 100-Continue\r\nContent-Length: 1\r\n", 0, RequestHead{Method: "GET", Target: "/", Minor: 1, Persistent: true, Length: 1, Continue: true}},
		{get + "Expect: 100-continue\r\n", 0, RequestHead{Method: "GET", Target: "/", Minor: 1, Persistent: true}},
		{get + "Expect: more\r\n", 417, RequestHead{}},
		{"GET / HTTP/1.0\r\nExpect: more\r\n", 0, RequestHead{Method: "GET", Target: "/"}},
	} {
		got, refusal := ParseRequestHead(nil, tt.head+"\r\n", requestLimits)
		if refusal != nil {
			if refusal.Status != tt.status {
				t.Errorf("%q: %d %s, want %d", tt.head, refusal.Status, refusal.Why, tt.status)
			}
			continue
		}
		if want := strings.Count(tt.head, "\r\n") - 1; tt.status != 0 || len(got.Fields) != want {
			t.Errorf("%q: accepted with %d fields, want %d and %d", tt.head, len(got.Fields), tt.status, want)
		}
		got.Fields = nil
		if got.Method != tt.want.Method || got.Target != tt.want.Target || got.Minor != tt.want.Minor || got.Length != tt.want.Length ||
			got.Continue != tt.want.Continue || got.Persistent != tt.want.Persistent {
			t.Errorf("%q:\n got %+v\nwant %+v", tt.head, got, tt.want)
		}
	}
	for _, head := range []string{"", "GET / HTTP/1.1", "GET / HTTP/1.1\nHost: a\n\n", get, get + "\r\nA: b\r\n\r\n", get + "\r\n\r\n"} {
		if _, refusal := ParseRequestHead(nil, head, requestLimits); refusal == nil || refusal.Status != 400 {
			t.Errorf("%q: %v", head, refusal)
		}
	}
}

// The reading does not depend on what dst holds already.
func TestRequestHeadAppends(t *testing.T) {
	dst := Fields{{"Host", "x"}, {"Content-Length", "7"}}
	h, refusal := ParseRequestHead(dst[:0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", requestLimits)
	if refusal != nil || len(h.Fields) != 1 || h.Length != 0 || &h.Fields[0] != &dst[0] {
		t.Errorf("%+v, %v", h, refusal)
	}
}

// Parts make the same head as the lines that would say them, or none, and so the
// other way round.
func FuzzJudgeRequestHead(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/", "Host: a"}, {"POST", "/a?b", "Host: a\r\nContent-Length: 3"}, {"POST", "/", "Host: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue"},
		{"G(T", "/", "Host: a"}, {"GET", "/ HTTP/1.1\r\nA: b", "Host: a"}, {"GET", "/#", "Host: a"}, {"", "", ""}, {"GET", "/", "Host: a\r\nhost: a"},
		{"GET", "/", "Host: a\r\nA: b\x00"}, {"GET", "/", "Host: a\r\nA: b\nc"}, {"GET", "/", "Host: a\r\nA:  b"}, {"GET", "/", "Host: a\r\nA:\r\n: b"},
		{"GET", "/", "Host: a\r\nContent_Length: 1"}, {"GET", "/", "Host: a\r\nContent-Length: 1\r\nContent-Length: 1"}, {"GET", "/", "Host: a" + strings.Repeat("\r\nA: b", 8)},
		{strings.Repeat("M", 33), "/", "Host: a"}, {"GET", "/" + strings.Repeat("a", 64), "Host: a"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, target, lines string) {
		var fields Fields
		for line := range strings.SplitSeq(lines, "\r\n") {
			name, value, _ := strings.Cut(line, ": ")
			fields = append(fields, Field{Name: name, Value: value})
		}
		judged, refused := JudgeRequestHead(method, target, fields, requestLimits)
		text := method + " " + target + " HTTP/1.1\r\n" + string(AppendFields(nil, fields)) + "\r\n"
		parsed, unread := ParseRequestHead(nil, text, requestLimits)
		switch {
		case refused == nil && unread != nil:
			t.Fatalf("%q is accepted as parts, and refused: %v", text, unread)
		case refused == nil && !reflect.DeepEqual(judged, parsed):
			t.Fatalf("%q:\n%+v\n%+v", text, judged, parsed)
		case refused != nil && unread == nil && parsed.Method == method && parsed.Target == target && slices.Equal(parsed.Fields, fields):
			t.Fatalf("%q is refused as parts: %v", text, refused)
		}
	})
}
