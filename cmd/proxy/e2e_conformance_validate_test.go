package main_test

import (
	"time"

	"ringfence/loadtest/origin"
)

// conditionCases say what a client's conditions get from what is stored
// (RFC 9110, section 13, and RFC 9111, section 4.3.2).
func conditionCases() []conformanceCase {
	control := "Cache-Control: max-age=60"
	ago := func(d time.Duration) string { return date(-d) }
	// asks has a GET that is stored, and one with fields.
	asks := func(name string, status int, stored, fields lines) conformanceCase {
		return conformanceCase{name: name, script: inTurn(filled(ok200(append(stored, control)...), ten)), steps: []step{
			{body: ten}, {fields: fields, status: status, cached: true}}}
	}
	tag := func(name string, status int, etag string, ifNoneMatch ...string) conformanceCase {
		var fields lines
		for _, v := range ifNoneMatch {
			fields = append(fields, "If-None-Match: "+v)
		}
		return asks(name, status, lines{"ETag: " + etag}, fields)
	}
	modified := func(name string, status int, stored lines, since string) conformanceCase {
		return asks(name, status, stored, lines{"If-Modified-Since: " + since})
	}
	hour := ago(time.Hour)
	parsed := time.Now().Add(-time.Hour).UTC()
	return sections(map[string][]conformanceCase{
		"RFC 9110 §13.1.2": {
			tag("strong", 304, `"v"`, `"v"`), tag("weak", 304, `W/"v"`, `W/"v"`),
			tag("a weak question about a strong tag", 304, `"v"`, `W/"v"`), tag("a strong question about a weak tag", 304, `W/"v"`, `"v"`),
			tag("another", 200, `"v"`, `"w"`), tag("case counts", 200, `"v"`, `"V"`),
			tag("first of a list", 304, `"v"`, `"v", "w", "x"`), tag("middle of a list", 304, `"v"`, `"w", "v", "x"`), tag("last of a list", 304, `"v"`, `"w", "x", "v"`),
			tag("none of a list", 200, `"v"`, `"w", "x"`), tag("on a second line", 304, `"v"`, `"w"`, `"v"`), tag("a list without spaces", 304, `"v"`, `"w","v"`),
			tag("a comma within a tag", 304, `"a,b"`, `"a,b"`), tag("part of a tag with a comma", 200, `"a,b"`, `"a`, `b"`), tag("the empty tag", 304, `""`, `""`),
			tag("a tag beyond ASCII", 304, "\"v\xfc\"", "\"v\xfc\""), tag("without quotes", 200, `"v"`, "v"),
			tag("what stands for a tag", 304, "v", "v"), tag("what stands for a tag, in a list", 304, `w/"v"`, `"x", w/"v"`),
			tag("what stands for a tag is none", 200, `w/"v"`, `W/"v"`), tag("behind what stands for a tag", 304, `"v"`, `x, "v"`),
			tag("a star", 304, `"v"`, "*"),
			asks("a star without a tag", 304, nil, lines{"If-None-Match: *"}), asks("a tag without one stored", 200, nil, lines{`If-None-Match: "v"`}),
			asks("over If-Modified-Since that is true", 200, lines{`ETag: "v"`, "Last-Modified: " + old}, lines{`If-None-Match: "w"`, "If-Modified-Since: " + old}),
			asks("over If-Modified-Since that is false", 304, lines{`ETag: "v"`, "Last-Modified: " + hour}, lines{`If-None-Match: "v"`, "If-Modified-Since: " + old}),
		},
		"RFC 9110 §13.1.3": {
			modified("the same date", 304, lines{"Last-Modified: " + hour}, hour), modified("a later date", 304, lines{"Last-Modified: " + hour}, ago(time.Minute)),
			modified("an earlier date", 200, lines{"Last-Modified: " + hour}, ago(2*time.Hour)),
			modified("the same date as of RFC 850", 304, lines{"Last-Modified: " + hour}, parsed.Format("Monday, 02-Jan-06 15:04:05 GMT")),
			modified("the same date as asctime", 304, lines{"Last-Modified: " + hour}, parsed.Format(time.ANSIC)),
			modified("what is no date", 200, lines{"Last-Modified: " + hour}, "yesterday"), modified("no date of this calendar", 200, lines{"Last-Modified: " + hour}, "Thu, 18-Aug-2050 02:01:18 GMT"),
		},
		"RFC 9111 §4.3.2": {
			modified("since Date, without Last-Modified", 304, lines{"Date: " + ago(20*time.Second)}, ago(10*time.Second)),
			modified("before Date, without Last-Modified", 200, lines{"Date: " + ago(20*time.Second)}, ago(30*time.Second)),
			{name: "a condition on a cold key is ours to answer", script: each200(control, `ETag: "v"`), steps: []step{
				{fields: lines{`If-None-Match: "v"`}, status: 304, unsent: lines{"If-None-Match"}}, {cached: true, body: "1"}}},
			{name: "a condition once it is stale", script: validating(ok200(control, "Age: 60", `ETag: "v"`), ok200(control)), steps: []step{
				{}, {fields: lines{`If-None-Match: "v"`}, status: 304, sent: lines{`If-None-Match: "v"`}}, {cached: true, body: "1"}}},
			{name: "a date once it is stale", script: validating(ok200(control, "Age: 60", "Last-Modified: "+hour), ok200(control)), steps: []step{
				{}, {fields: lines{"If-Modified-Since: " + hour}, status: 304, sent: lines{"If-Modified-Since: " + hour}}, {cached: true, body: "1"}}},
			{name: "another condition once it is stale", script: validating(ok200(control, "Age: 60", `ETag: "v"`), ok200(control)), steps: []step{
				{}, {fields: lines{`If-None-Match: "w"`}, body: "1", sent: lines{`If-None-Match: "v"`}}}},
			{name: "the new version of what is stale", script: inTurn(ok200(control, "Age: 60", `ETag: "v"`), ok200(control, `ETag: "w"`)), steps: []step{
				{}, {fields: lines{`If-None-Match: "v"`}, body: "2"}, {fields: lines{`If-None-Match: "w"`}, status: 304, cached: true}}},
			{name: "If-Match is the origin's to answer", script: func(_ int, r origin.Request) origin.Answer {
				if r.Get("If-Match") != "" {
					return coded(412)
				}
				return ok200(control, `ETag: "v"`)
			}, steps: []step{{}, {fields: lines{`If-Match: "w"`}, status: 412, sent: lines{`If-Match: "w"`}}, {cached: true}}},
			{name: "If-Unmodified-Since is the origin's to answer", script: each200(control, "Last-Modified: "+hour), steps: []step{
				{}, {fields: lines{"If-Unmodified-Since: " + old}, sent: lines{"If-Unmodified-Since: " + old}}, {cached: true}}},
		},
		"RFC 9110 §13.2.1": {
			{name: "conditions do not apply to a 404", script: inTurn(coded(404, control, `ETag: "v"`)), steps: []step{
				{status: 404}, {fields: lines{`If-None-Match: "v"`}, status: 404, cached: true}}},
			{name: "conditions do not apply to a 301", script: inTurn(coded(301, control, "Last-Modified: "+old)), steps: []step{
				{status: 301}, {fields: lines{"If-Modified-Since: " + hour}, status: 301, cached: true}}},
		},
		"RFC 9110 §15.4.5": {
			{name: "a 304 says what it is about", script: each200(control, `ETag: "v"`, "Vary: X-A", "Content-Location: /x", "Age: 7"), steps: []step{
				{}, {fields: lines{`If-None-Match: "v"`}, cached: true, status: 304, age: 7, has: lines{`ETag: "v"`, control, "Vary: X-A", "Content-Location: /x"}, lacks: lines{"Transfer-Encoding"}}}},
			{name: "a 304 has the stored Date and an Age", script: each200("Cache-Control: max-age=7200", `ETag: "v"`, "Date: "+hour), steps: []step{
				{}, {fields: lines{`If-None-Match: "v"`}, cached: true, status: 304, age: 3600, has: lines{"Date: " + hour}}}},
			{name: "a 304 nobody asked for", script: inTurn(coded(304, control, `ETag: "v"`)), steps: []step{{status: 502, asked: -1}, {status: 502, asked: -1}}},
			{name: "a 304 the client asked for", script: inTurn(coded(304, `ETag: "v"`)), steps: []step{
				{fields: lines{"Cache-Control: no-store", `If-None-Match: "v"`}, status: 304, sent: lines{`If-None-Match: "v"`}}}},
		},
	})
}

// validationCases say how a stale answer is asked about, and what a 304 makes
// of it (RFC 9111, sections 4.3.1, 4.3.3, 4.3.4 and 3.2).
func validationCases() []conformanceCase {
	const control = "Cache-Control: max-age=60"
	anHourAgo := date(-time.Hour)
	stale := func(fields ...string) origin.Answer {
		return filled(ok200(append(fields, control, "Age: 60", `ETag: "v"`)...), ten)
	}
	both := validating(stale("Last-Modified: "+old), ok200(control))
	var cases []conformanceCase
	for _, tt := range [][3]string{
		{"X-Frob", "1", "2"}, {"Content-Frob", "1", "2"}, {"Content-Type", "text/plain", "text/plain;charset=utf-8"},
		{"Content-Location", "/a", "/b"}, {"Content-Language", "en", "de"}, {"Content-Security-Policy", "default-src 'self'", "default-src 'none'"},
		{"X-Frame-Options", "deny", "sameorigin"}, {"Clear-Site-Data", "cache", "cookies"}, {"Expires", date(time.Hour), date(2 * time.Hour)},
		{"Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A==", "N7UdGUp1E+RbVvZSTy1R8g=="},
		{"Set-Cookie2", "a=1", "a=2"}, {"Link", "</a>; rel=next", "</b>; rel=next"}, {"Allow", "GET", "GET, HEAD"},
	} {
		name, one, two := tt[0], tt[0]+": "+tt[1], tt[0]+": "+tt[2]
		cases = append(cases, conformanceCase{section: "RFC 9111 §3.2", name: "a 304 updates " + name,
			script: validating(stale(one), ok200(control, two)), steps: []step{
				{has: lines{one}}, {body: ten, has: lines{two}}, {cached: true, body: ten, has: lines{two}}}})
	}
	for _, tt := range [][3]string{{"Content-Encoding", "gzip", "br"}, {"Content-Range", "bytes 0-9/10", "bytes 0-4/10"}, {"Content-Length", "", "5"}} {
		name, two, kept := tt[0], tt[0]+": "+tt[2], lines{tt[0] + ": " + tt[1]}
		stored := kept
		if name == "Content-Length" {
			stored, kept = nil, lines{"Content-Length: 10"}
		}
		cases = append(cases, conformanceCase{section: "RFC 9111 §3.2", name: "a 304 leaves " + name + " alone",
			script: validating(stale(stored...), ok200(control, two)), steps: []step{
				{has: kept}, {body: ten, has: kept}, {cached: true, body: ten, has: kept}}})
	}
	return append(cases, sections(map[string][]conformanceCase{
		"RFC 9111 §4.3.1": {
			{name: "by both validators", script: both, steps: []step{{}, {body: ten, sent: lines{`If-None-Match: "v"`, "If-Modified-Since: " + old}}}},
			{name: "by a weak ETag", script: validating(ok200(control, "Age: 60", `ETag: W/"v"`), ok200(control)), steps: []step{{}, {body: "1", sent: lines{`If-None-Match: W/"v"`}}}},
			{name: "by Last-Modified, byte for byte", script: validating(ok200(control, "Age: 60", "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT"), ok200(control)), steps: []step{
				{}, {body: "1", sent: lines{"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"}, unsent: lines{"If-None-Match"}}}},
			{name: "by what stands for an ETag, byte for byte", script: validating(ok200(control, "Age: 60", `ETag: w/"v"`), ok200(control)), steps: []step{
				{}, {body: "1", sent: lines{`If-None-Match: w/"v"`}}, {cached: true, body: "1"}}},
			{name: "not by a star for an ETag", script: each200(control, "Age: 60", "ETag: *"), steps: []step{{}, {body: "2", unsent: lines{"If-None-Match"}}}},
			{name: "not by the date of an error", script: inTurn(coded(404, control, "Age: 60", "Last-Modified: "+old)), steps: []step{
				{status: 404}, {status: 404, unsent: lines{"If-Modified-Since"}}}},
			{name: "by nothing where there is no validator", script: each200(control, "Age: 60"), steps: []step{{}, {body: "2", unsent: lines{"If-None-Match", "If-Modified-Since"}}}},
			{name: "not by the client's validators", script: both, steps: []step{
				{}, {fields: lines{`If-None-Match: "mine"`, "If-Modified-Since: " + date(0)}, body: ten, sent: lines{`If-None-Match: "v"`, "If-Modified-Since: " + old}}}},
		},
		"RFC 9111 §4.3.3": {
			{name: "a full answer replaces what was stored", script: inTurn(stale("X-A: 1"), ok200(control, `ETag: "w"`)), steps: []step{
				{}, {body: "2", lacks: lines{"X-A"}}, {cached: true, body: "2", lacks: lines{"X-A"}, has: lines{`ETag: "w"`}}}},
			{name: "a 404 is an answer", script: inTurn(stale(), coded(404, control)), steps: []step{{}, {status: 404}, {status: 404, cached: true}}},
			{name: "a 500 with a lifetime is an answer", script: inTurn(stale(), coded(500, control)), steps: []step{{}, {status: 500}, {status: 500, cached: true}}},
			{name: "what may not be stored any more is not", script: inTurn(stale(), ok200("Cache-Control: no-store")), steps: []step{{}, {body: "2"}, {body: "3"}}},
		},
		"RFC 9111 §4.3.4": {
			{name: "a 304 freshens", script: validating(stale(), ok200(control)), steps: []step{{}, {body: ten, says: "fwd-status=304"}, {cached: true, body: ten, says: "hit"}}},
			{name: "a 304 without a lifetime keeps the old one", script: validating(stale(), ok200()), steps: []step{{}, {body: ten}, {cached: true, body: ten}}},
			{name: "a 304 may shorten the lifetime", script: validating(stale(), ok200("Cache-Control: max-age=0")), steps: []step{{}, {body: ten}, {body: ten}}},
			{name: "a 304 may forbid to store", script: validating(stale(), ok200("Cache-Control: no-store")), steps: []step{{}, {body: ten}, {body: ten, unsent: lines{"If-None-Match"}}}},
			{name: "the Age of a 304 counts", script: validating(stale(), ok200("Cache-Control: max-age=100", "Age: 50")), steps: []step{{}, {}, {cached: true, age: 50}}},
			{name: "the old Age does not", script: validating(stale(), ok200("Cache-Control: max-age=200")), steps: []step{{}, {body: ten}, {cached: true, check: young}}},
			{name: "the Date of a 304 counts", script: validating(stale("Date: "+old), ok200("Cache-Control: max-age=7200", "Date: "+anHourAgo)), steps: []step{
				{has: lines{"Date: " + old}}, {has: lines{"Date: " + anHourAgo}}, {cached: true, age: 3600, has: lines{"Date: " + anHourAgo}}}},
			{name: "fields that a 304 lacks stay", script: validating(stale("X-A: 1", "X-A: 2"), ok200(control)), steps: []step{
				{}, {has: lines{"X-A: 1", "X-A: 2"}}, {cached: true, has: lines{"X-A: 1", "X-A: 2"}}}},
			{name: "all lines of a field are replaced", script: validating(stale("X-A: 1", "X-A: 2"), ok200(control, "X-A: 3")), steps: []step{
				{}, {has: lines{"X-A: 3"}}, {cached: true, has: lines{"X-A: 3"}}}},
			{name: "fields for this connection only stay out", script: validating(stale(), ok200(control, "Connection: X-A", "X-A: 1", "X-B: 2")), steps: []step{
				{}, {lacks: lines{"X-A"}, has: lines{"X-B: 2"}}, {cached: true, lacks: lines{"X-A"}, has: lines{"X-B: 2"}}}},
			{name: "a guess begins anew", script: validating(ok200("Last-Modified: "+date(-1000*time.Second), "Age: 150"), ok200()), steps: []step{
				{}, {body: "1"}, {cached: true, body: "1", check: young}}},
			{name: "a 304 about an earlier date speaks of another answer", script: inTurn(ok200(control, "Age: 60", "Last-Modified: "+anHourAgo),
				coded(304, control, "Last-Modified: "+old), ok200(control, "Last-Modified: "+old)), steps: []step{
				{}, {asked: 2, body: "3", unsent: lines{"If-Modified-Since"}}, {cached: true, body: "3"}}},
			{name: "a 304 about an unknown ETag speaks of another answer", script: inTurn(ok200(control, "Age: 60", "Last-Modified: "+old),
				coded(304, control, `ETag: "w"`), ok200(control, `ETag: "w"`)), steps: []step{
				{}, {asked: 2, body: "3", unsent: lines{"If-Modified-Since"}}, {cached: true, body: "3", has: lines{`ETag: "w"`}}}},
			{name: "a 304 about another ETag speaks of another answer", script: inTurn(stale("X-A: 1"), coded(304, control, `ETag: "w"`), ok200(control, `ETag: "w"`)), steps: []step{
				{}, {asked: 2, body: "3", lacks: lines{"X-A"}, unsent: lines{"If-None-Match"}}, {cached: true, body: "3"}}},
		},
	})...)
}
