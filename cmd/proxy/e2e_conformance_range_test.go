package main_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// rangeCases say how ranges are answered (RFC 9110, section 14).
func rangeCases() []conformanceCase {
	const control, tag = "Cache-Control: max-age=60", `ETag: "v"`
	modified := "Last-Modified: " + old
	stored := filled(ok200(control, tag, modified, "Content-Type: text/plain"), ten)
	// part has a GET that is stored, and one with Range and other fields.
	part := func(name, set string, then step, fields ...string) conformanceCase {
		then.fields, then.cached = append(fields, "Range: "+set), true
		return conformanceCase{name: orElse(name, set), script: inTurn(stored), steps: []step{{body: ten}, then}}
	}
	one := func(set, body, contentRange string) conformanceCase {
		return part("", "bytes="+set, step{status: 206, body: body, has: lines{"Content-Range: bytes " + contentRange, "Content-Length: " + strconv.Itoa(len(body)), tag}, check: hasAge})
	}
	whole := func(set string, fields ...string) conformanceCase {
		return part(strings.Join(append(fields, set), ", "), set, step{body: ten, lacks: lines{"Content-Range"}}, fields...)
	}
	none := func(set string) conformanceCase {
		return part("", set, step{status: 416, has: lines{"Content-Range: bytes */10"}})
	}
	several := func(set string, parts ...string) conformanceCase {
		return part("", set, step{status: 206, lacks: lines{"Content-Range"}, check: hasParts(parts...)})
	}
	when := func(name, validator string, status int, body string) conformanceCase {
		return part(name, "bytes=2-4", step{status: status, body: body}, "If-Range: "+validator)
	}
	var crumbs []string
	for i := range 200 {
		crumbs = append(crumbs, strconv.Itoa(i%10)+"-"+strconv.Itoa(i%10))
	}
	big := strings.Repeat(ten, 200_000)
	return sections(map[string][]conformanceCase{
		"RFC 9110 §14.1.2": {
			one("2-4", "234", "2-4/10"), one("0-0", "0", "0-0/10"), one("9-9", "9", "9-9/10"), one("7-", "789", "7-9/10"), one("0-", ten, "0-9/10"),
			one("-2", "89", "8-9/10"), one("-10", ten, "0-9/10"), one("-20", ten, "0-9/10"), one("5-100", "56789", "5-9/10"), one("002-004", "234", "2-4/10"),
			part("the unit in any case", "BYTES=2-4", step{status: 206, body: "234"}),
			part("empty members", "bytes=,2-4, ,", step{status: 206, body: "234"}),
			none("bytes=10-"), none("bytes=10-20"), none("bytes=-0"), none("bytes=99999999999999999999-"),
			whole("lines=2-4"), whole("bytes=4-2"), whole("bytes=a-b"), whole("bytes="), whole("bytes=2"), whole("bytes 2-4"), whole("bytes=2-4x"), whole("bytes=--2"), whole("bytes=2-4;x"),
			{name: "of a chunked answer", script: inTurn(chunked(control)), steps: []step{{}, {fields: lines{"Range: bytes=-3"}, cached: true, status: 206, body: "789", has: lines{"Content-Range: bytes 7-9/10"}}}},
		},
		"RFC 9110 §14.2": {
			several("bytes=0-1,4-5", "0-1/10 01", "4-5/10 45"), several("bytes=0-0, -1", "0-0/10 0", "9-9/10 9"),
			several("bytes=7-,0-1", "7-9/10 789", "0-1/10 01"), several("bytes=0-0,2-2,4-4,6-6", "0-0/10 0", "2-2/10 2", "4-4/10 4", "6-6/10 6"),
			part("the one that can be satisfied", "bytes=2-4,20-30", step{status: 206, check: hasBytes("234")}),
			none("bytes=10-11,20-30"),
			part("very many ranges are the whole", "bytes="+strings.Join(crumbs, ","), step{body: ten}),
			part("many times the whole is the whole once", "bytes=0-,0-,0-,0-,0-", step{status: whatever, body: ten}),
			{name: "not for HEAD", script: inTurn(stored), steps: []step{{}, {method: "HEAD", fields: lines{"Range: bytes=2-4"}, cached: true, has: lines{"Content-Length: 10"}, lacks: lines{"Content-Range"}}}},
			{name: "not of a 404", script: inTurn(filled(coded(404, control), ten)), steps: []step{{status: 404}, {status: 404, fields: lines{"Range: bytes=2-4"}, cached: true, body: ten}}},
			{name: "not of a 204", script: inTurn(coded(204, control)), steps: []step{{status: 204}, {status: 204, fields: lines{"Range: bytes=2-4"}, cached: true}}},
		},
		"RFC 9110 §13.1.5": {
			when("the same tag", `"v"`, 206, "234"), when("another tag", `"w"`, 200, ten), when("a weak tag", `W/"v"`, 200, ten), when("a list of tags", `"v", "w"`, 200, ten),
			when("the same date", old, 206, "234"), when("a later date", date(-time.Hour), 200, ten), when("an earlier date", "Sun, 06 Nov 1994 08:49:36 GMT", 200, ten), when("what is no date", "yesterday", 200, ten),
			{name: "a weak tag that is the stored one", script: inTurn(filled(ok200(control, `ETag: W/"v"`), ten)), steps: []step{{}, {fields: lines{"Range: bytes=2-4", `If-Range: W/"v"`}, cached: true, body: ten}}},
			{name: "without Range it is nothing", script: inTurn(stored), steps: []step{{}, {fields: lines{`If-Range: "w"`}, cached: true, body: ten}}},
		},
		"RFC 9110 §13.2.2": {
			part("If-None-Match goes before Range", "bytes=2-4", step{status: 304}, `If-None-Match: "v"`),
			part("Range after an If-None-Match that is true", "bytes=2-4", step{status: 206, body: "234"}, `If-None-Match: "w"`),
			part("If-Modified-Since goes before Range", "bytes=2-4", step{status: 304}, "If-Modified-Since: "+old),
		},
		"RFC 9110 §15.3.7": {
			{name: "what a 206 says of the whole", script: inTurn(filled(ok200(control, tag, "Vary: X-A", "Content-Location: /x", "Age: 7"), ten)), steps: []step{
				{}, {fields: lines{"Range: bytes=2-4"}, cached: true, status: 206, age: 7, has: lines{control, tag, "Vary: X-A", "Content-Location: /x"}}}},
			{name: "of what is validated", script: validating(filled(ok200(control, "Age: 60", tag), ten), ok200(control)), steps: []step{
				{}, {fields: lines{"Range: bytes=2-4"}, status: 206, body: "234", sent: lines{`If-None-Match: "v"`}, unsent: lines{"Range"}}, {cached: true, body: ten}}},
		},
		"RFC 9111 §3.4": {
			{name: "a range of a cold key fetches and stores the whole", script: ranged(stored, ten), steps: []step{
				{fields: lines{"Range: bytes=2-4"}, status: 206, body: "234", has: lines{"Content-Range: bytes 2-4/10"}, unsent: lines{"Range"}},
				{cached: true, body: ten}, {fields: lines{"Range: bytes=-2"}, cached: true, status: 206, body: "89"}}},
			{name: "If-Range on a cold key", script: ranged(stored, ten), steps: []step{
				{fields: lines{"Range: bytes=2-4", `If-Range: "v"`}, status: 206, body: "234", unsent: lines{"Range", "If-Range"}}, {cached: true, body: ten}}},
			{name: "If-Range of another version on a cold key", script: ranged(stored, ten), steps: []step{
				{fields: lines{"Range: bytes=2-4", `If-Range: "w"`}, body: ten}, {cached: true, body: ten}}},
			{name: "several ranges of a cold key", script: ranged(stored, ten), steps: []step{
				{fields: lines{"Range: bytes=0-1,4-5"}, status: 206, check: hasParts("0-1/10 01", "4-5/10 45")}, {cached: true, body: ten}}},
			{name: "a range past the end of a cold key", script: ranged(stored, ten), steps: []step{
				{fields: lines{"Range: bytes=20-"}, status: 416}, {cached: true, body: ten}}},
			{name: "a range of what is stale without validator", script: ranged(filled(ok200(control, "Age: 60"), ten), ten), steps: []step{
				{}, {fields: lines{"Range: bytes=2-4"}, status: 206, body: "234"}}},
			{name: "a range of what may not be stored", script: ranged(filled(ok200("Cache-Control: no-store"), ten), ten), steps: []step{
				{fields: lines{"Range: bytes=2-4"}, asked: -1, status: 206, body: "234"}, {body: ten}}},
			{name: "a range of what is too large to fill", script: ranged(filled(ok200(control), big), big), steps: []step{
				{fields: lines{"Range: bytes=1000002-1000004"}, asked: -1, status: 206, body: "234", has: lines{"Content-Range: bytes 1000002-1000004/2000000"}}}},
			{name: "only-if-cached and a range of nothing", script: ranged(stored, ten), steps: []step{
				{fields: lines{"Range: bytes=2-4", "Cache-Control: only-if-cached"}, cached: true, status: 504}}},
		},
	})
}

// ranged answers a range with a 206 of body, and whole otherwise.
func ranged(whole origin.Answer, body string) script {
	return func(_ int, r origin.Request) origin.Answer {
		first, last, ok := strings.Cut(strings.TrimPrefix(r.Get("Range"), "bytes="), "-")
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if !ok || err != nil || err2 != nil || to >= len(body) || strings.Contains(last, ",") {
			return whole
		}
		a := filled(whole, body[from:to+1])
		a.Status = 206
		return a.With("Content-Range", "bytes "+first+"-"+last+"/"+strconv.Itoa(len(body)))
	}
}

// hasParts fails where the answer is not multipart/byteranges of these parts,
// each "first-last/size content".
func hasParts(want ...string) func(*testing.T, reply) {
	return func(t *testing.T, r reply) {
		if got := parts(t, r); !slices.Equal(got, want) {
			t.Errorf("parts %q, want %q", got, want)
		}
		if n := r.header.Get("Content-Length"); n != strconv.Itoa(len(r.body)) {
			t.Errorf("Content-Length is %q of %d bytes", n, len(r.body))
		}
	}
}

// hasBytes fails where the one part is not body, as a 206 of one range or of
// one part.
func hasBytes(body string) func(*testing.T, reply) {
	return func(t *testing.T, r reply) {
		if r.header.Get("Content-Range") != "" {
			if r.body != body {
				t.Errorf("body %q, want %q", r.body, body)
			}
		} else if got := parts(t, r); len(got) != 1 || !strings.HasSuffix(got[0], " "+body) {
			t.Errorf("parts %q, want %q", got, body)
		}
	}
}

func parts(t *testing.T, r reply) (parts []string) {
	kind, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		t.Errorf("Content-Type is %q", r.header.Get("Content-Type"))
		return nil
	}
	for mr := multipart.NewReader(bytes.NewReader([]byte(r.body)), params["boundary"]); ; {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Errorf("parts: %v in %q", err, r.body)
			return nil
		}
		if got := p.Header.Get("Content-Type"); got != "text/plain" {
			t.Errorf("a part's Content-Type is %q", got)
		}
		content, err := io.ReadAll(p)
		if err != nil {
			t.Errorf("part: %v in %q", err, r.body)
		}
		parts = append(parts, strings.TrimPrefix(p.Header.Get("Content-Range"), "bytes ")+" "+string(content))
	}
}
