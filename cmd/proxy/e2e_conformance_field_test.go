package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// fieldCases say which fields are stored and passed on, and how (RFC 9111,
// section 3.1, and RFC 9110, sections 5, 7.6 and 15.2).
func fieldCases() []conformanceCase {
	const control = "Cache-Control: max-age=60"
	var cases []conformanceCase
	for _, line := range []string{
		"X-Frob: 1", "Frob: a, b", "Content-Type: text/plain", "Content-Language: en", "Content-Location: /a", "X-Frame-Options: deny",
		"X-XSS-Protection: 1", "Clear-Site-Data: cookies", "Public-Key-Pins: x", "Set-Cookie2: a=b", "Strict-Transport-Security: max-age=60",
		"WWW-Authenticate: Basic realm=\"a, b\"", "Content-Security-Policy: default-src 'self'; img-src *", "Link: </a>; rel=next, </b>; rel=prev",
		"Content-MD5: rL0Y20zC+Fzt72VPzMSk2A==", "Allow: GET,HEAD", "Retry-After: 7", "Accept-Ranges: none", "Server: frob/1", "P3P: CP=\"x\"",
		"Expires: 0", "Pragma: no-cache", "Warning: 199 - \"x\"", "Last-Modified: " + old, `ETag: W/"a b"`, "X-Empty: ", "X-Spaces: a  b\t c",
		"X-Bytes: \xc3\xa9\xff", "X-Quotes: \"a\\\"b\" (c)", "X-Long: " + strings.Repeat("x", 4000),
	} {
		name, _, _ := strings.Cut(line, ":")
		cases = append(cases, conformanceCase{section: "RFC 9111 §3.1", name: name + " is stored and reused", script: each200(control, line), steps: []step{
			{has: lines{line}}, {cached: true, has: lines{line}}}})
	}
	for _, line := range []string{
		"Connection: X-A", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Upgrade: frob/1", "Proxy-Authenticate: Basic",
		"Proxy-Authentication-Info: x", "Proxy-Authorization: x",
	} {
		name, _, _ := strings.Cut(line, ":")
		cases = append(cases, conformanceCase{section: "RFC 9111 §3.1", name: name + " is not stored", script: each200(control, line, "X-B: 2"), steps: []step{
			{}, {cached: true, lacks: lines{name}, has: lines{"X-B: 2"}}}})
	}
	return append(cases, sections(map[string][]conformanceCase{
		"RFC 9110 §7.6.1": {
			{name: "fields that Connection names stay here", script: each200(control, "Connection: X-A, x-b", "X-A: 1", "X-B: 2", "X-C: 3"), steps: []step{
				{lacks: lines{"X-A", "X-B"}, has: lines{"X-C: 3"}}, {cached: true, lacks: lines{"X-A", "X-B"}, has: lines{"X-C: 3"}}}},
			{name: "fields that any line of Connection names stay here", script: each200(control, "Connection: X-A", "Connection: X-B", "X-A: 1", "X-B: 2"), steps: []step{
				{lacks: lines{"X-A", "X-B"}}, {cached: true, lacks: lines{"X-A", "X-B"}}}},
			{name: "fields that the client's Connection names stay here", script: each200(control), steps: []step{
				{fields: lines{"Connection: X-A", "X-A: 1", "X-B: 2"}, unsent: lines{"X-A"}, sent: lines{"X-B: 2"}}}},
			{name: "the client's fields for this connection stay here", script: each200(control), steps: []step{
				{fields: lines{"Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "X-B: 2"}, unsent: lines{"Keep-Alive", "Proxy-Connection"}, sent: lines{"X-B: 2"}}}},
		},
		"RFC 9110 §5.3": {
			{name: "repeated lines stay, in order", script: each200(control, "X-A: 1", "X-B: b", "X-A: 3, 4", "X-A: 2", "X-A: 1"), steps: []step{
				{has: lines{"X-A: 1", "X-A: 3, 4", "X-A: 2", "X-A: 1", "X-B: b"}}, {cached: true, has: lines{"X-A: 1", "X-A: 3, 4", "X-A: 2", "X-A: 1", "X-B: b"}}}},
			{name: "repeated lines of a request stay, in order", script: each200(control), steps: []step{
				{fields: lines{"X-A: 2", "X-A: 1", "X-A: 3"}, sent: lines{"X-A: 2", "X-A: 1", "X-A: 3"}}}},
		},
		"RFC 9110 §6.6.1": {
			{name: "the origin's Date stays", script: each200("Date: "+date(-10*time.Second), control), steps: []step{{age: 10}, {cached: true, age: 10}}},
		},
		"RFC 9110 §15.2": {
			{name: "a 103 goes before the answer", script: hinting("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-A: 1"), steps: []step{
				{check: hinted(103, "Link: </a.css>; rel=preload", "X-A: 1")}, {cached: true, check: hinted()}}},
			{name: "a 102 goes before the answer", script: hinting("HTTP/1.1 102 Processing"), steps: []step{{check: hinted(102)}, {cached: true, check: hinted()}}},
			{name: "several go before the answer", script: hinting("HTTP/1.1 103 Early Hints\r\nLink: </a>", "HTTP/1.1 103 Early Hints\r\nLink: </b>"), steps: []step{
				{check: hinted(103, "Link: </a>", 103, "Link: </b>")}}},
			{name: "a 100 is for us", script: hinting("HTTP/1.1 100 Continue"), steps: []step{{check: hinted()}, {cached: true}}},
			{name: "fields for this connection only stay out of a 103", script: hinting("HTTP/1.1 103 Early Hints\r\nConnection: X-A\r\nX-A: 1\r\nLink: </a>"), steps: []step{
				{check: func(t *testing.T, r reply) {
					if len(r.interim) != 1 || r.interim[0].header.Get("X-A") != "" || r.interim[0].header.Get("Link") != "</a>" {
						t.Errorf("interim answers: %v", r.interim)
					}
				}}}},
			{name: "a 103 before what is passed on", script: func(int, origin.Request) origin.Answer {
				return origin.Answer{Interim: []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>"}}
			}, steps: []step{{method: "POST", upload: "x", check: hinted(103, "Link: </a>")}}},
			{name: "a 103 says nothing of the answer", script: func(int, origin.Request) origin.Answer {
				return origin.Answer{Interim: []string{"HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=60"}}
			}, steps: []step{{lacks: lines{"Cache-Control"}}, {body: "2"}}},
		},
		"RFC 9110 §5.4": {
			{name: "a head that is too large is a 502", script: each200(control, "X-Long: "+strings.Repeat("x", 70_000)), steps: []step{{status: 502, asked: -1}}},
			{name: "so is one that is longer than the upstream's bound", route: "cache: on", script: each200(control, "X-Long: "+strings.Repeat("x", 9_000)), steps: []step{{status: 502, asked: -1}}},
			{name: "one below the upstream's bound is none", route: "cache: on", script: each200(control, "X-Long: "+strings.Repeat("x", 7_000)), steps: []step{{}, {cached: true}}},
		},
	})...)
}

// hinting answers with interim heads first.
func hinting(heads ...string) script {
	a := ok200("Cache-Control: max-age=60")
	a.Interim = heads
	return inTurn(a)
}

// hinted fails where not these interim answers came first: each a status and
// the lines it has.
func hinted(want ...any) func(*testing.T, reply) {
	return func(t *testing.T, r reply) {
		var got []any
		for _, before := range r.interim {
			got = append(got, before.status)
			for _, name := range []string{"Link", "X-A"} {
				for _, v := range before.header.Values(name) {
					got = append(got, name+": "+v)
				}
			}
		}
		if fmt.Sprint(got...) != fmt.Sprint(want...) {
			t.Errorf("interim answers %v, want %v", got, want)
		}
	}
}

// credentialCases say what is kept apart by Authorization (RFC 9111, section
// 3.5) and Set-Cookie (section 7.3).
func credentialCases() []conformanceCase {
	basic := lines{"Authorization: Basic eA=="}
	first := func(name string, fields ...string) conformanceCase {
		return conformanceCase{section: "RFC 9111 §3.5", name: name, script: each200(fields...), steps: []step{
			{fields: basic, sent: basic}, {cached: true, body: "1"}, {fields: lines{"Authorization: Basic eQ=="}, cached: true}}}
	}
	const cookie = "Set-Cookie: id=1; Path=/"
	cookies := func(name, route string, cached bool, has lines, fields ...string) conformanceCase {
		c := conformanceCase{section: "RFC 9111 §7.3", name: name, route: route, script: each200(append(fields, cookie, "X-A: 1")...),
			steps: []step{{has: has}, {cached: cached, has: has}}}
		if has == nil {
			c.steps[0].lacks, c.steps[1].lacks = lines{"Set-Cookie"}, lines{"Set-Cookie"}
		}
		return c
	}
	yes := lines{cookie}
	cases := []conformanceCase{
		first("public", "Cache-Control: max-age=60, public"), first("s-maxage", "Cache-Control: s-maxage=60"),
		first("must-revalidate", "Cache-Control: max-age=60, must-revalidate"),
		first("CDN-Cache-Control that is public", "CDN-Cache-Control: max-age=60, public", "Cache-Control: no-store"),
		cookies("not for everybody by max-age", "", false, yes, "Cache-Control: max-age=60"), cookies("not by Expires", "", false, yes, "Expires: "+date(time.Hour)),
		cookies("not by a guess", "", false, yes, "Last-Modified: "+old), cookies("by public", "", true, yes, "Cache-Control: max-age=60, public"),
		cookies("by s-maxage", "", true, yes, "Cache-Control: s-maxage=60"), cookies("by CDN-Cache-Control", "", true, yes, "CDN-Cache-Control: max-age=60"),
		cookies("not by public without a lifetime", "", false, yes, "Cache-Control: public"),
		cookies("not where private", "", false, yes, "Cache-Control: private, max-age=60"),
		cookies("not by s-maxage that is none", "", false, yes, "Cache-Control: max-age=60, s-maxage=x"),
		cookies("store: by max-age", "set_cookie: store", true, yes, "Cache-Control: max-age=60"),
		cookies("store: not where private", "set_cookie: store", false, yes, "Cache-Control: private, max-age=60"),
		cookies("strip: gone for all", "set_cookie: strip", true, nil, "Cache-Control: max-age=60"),
		cookies("strip: stays in what is not stored", "set_cookie: strip", false, yes, "Cache-Control: no-store"),
		cookies("bypass: never", "set_cookie: bypass", false, yes, "Cache-Control: max-age=60, public"),
		{section: "RFC 9111 §7.3", name: "bypass: others are stored", route: "set_cookie: bypass", script: each200("Cache-Control: max-age=60"), steps: []step{{}, {cached: true}}},
		{section: "RFC 9111 §7.3", name: "several cookies stay, in order", script: each200("Cache-Control: public, max-age=60", "Set-Cookie: b=1", "Set-Cookie: a=2, x"), steps: []step{
			{}, {cached: true, has: lines{"Set-Cookie: b=1", "Set-Cookie: a=2, x"}}}},
		{section: "RFC 9111 §7.3", name: `no-cache="Set-Cookie" is validated each time`, script: validating(ok200(`Cache-Control: public, max-age=60, no-cache="Set-Cookie"`, `ETag: "v"`, cookie), ok200()), steps: []step{
			{}, {body: "1", sent: lines{`If-None-Match: "v"`}}}},
		{section: "RFC 9111 §7.3", name: `private="Set-Cookie" keeps it from the others`, script: validating(ok200(`Cache-Control: public, max-age=60, private="Set-Cookie"`, `ETag: "v"`, cookie), ok200()), steps: []step{
			{has: lines{cookie}}, {body: "1", lacks: lines{"Set-Cookie"}}}},
	}
	for name, fields := range map[string]lines{
		"max-age": {"Cache-Control: max-age=60"}, "Expires": {"Expires: " + date(time.Hour), "X-A: 1"}, "a guess": {"Last-Modified: " + old},
		"proxy-revalidate": {"Cache-Control: max-age=60, proxy-revalidate"}, "private": {"Cache-Control: private, max-age=60"},
		"must-revalidate in a quoted string": {`Cache-Control: max-age=60, ext="must-revalidate"`},
		"CDN-Cache-Control":                  {"CDN-Cache-Control: max-age=60", "Cache-Control: public, max-age=60"},
	} {
		cases = append(cases, conformanceCase{section: "RFC 9111 §3.5", name: "not by " + name, script: each200(fields...), steps: []step{{fields: basic}, {body: "2"}}},
			conformanceCase{section: "RFC 9111 §3.5", name: "not for the same credentials by " + name, script: each200(fields...), steps: []step{{fields: basic}, {fields: basic, body: "2"}}})
	}
	return cases
}

// targetedCases say what CDN-Cache-Control does (RFC 9213).
func targetedCases() []conformanceCase {
	cdn := func(value string, cached bool, more ...string) conformanceCase {
		name := value
		for _, line := range more {
			if strings.HasSuffix(line, "GMT") { // a name says no more than the field
				line, _, _ = strings.Cut(line, ":")
			}
			name += "; " + line
		}
		return twice(name, cached, append(more, "CDN-Cache-Control: "+strings.ReplaceAll(value, " and ", "\r\nCDN-Cache-Control: "))...)
	}
	const forbid, allow = "Cache-Control: no-store", "Cache-Control: max-age=60"
	later := "Expires: " + date(time.Hour)
	return sections(map[string][]conformanceCase{
		"RFC 9213 §2.1": {
			cdn("max-age=60", true), cdn("max-age=2147483648", true), cdn("max-age=99999999999", true), cdn("max-age=0", false), cdn("frob, max-age=60", true),
			cdn("max-age=60, public;x=1", true), cdn("max-age=60;x=1", true), cdn("max-age=60 and public", true), cdn("max-age=60 and no-store", false),
			cdn("max-age=0, max-age=60", true), cdn("max-age=60, max-age=0", false),
			cdn("max-age =60", false), cdn("max-age= 60", false), cdn("max-age =60", true, allow), cdn("max-age= 0", true, allow),
			cdn("MaX-aGe=60", false), cdn("MaX-aGe=0", true, allow),
			cdn("max-age=60, &&&", false, forbid), cdn("max-age=60,", false, forbid), cdn("no-store, &&&", true, allow), cdn("no-store;", true, allow), cdn("", true, allow), cdn("", false, forbid),
			cdn(`max-age="60"`, false, forbid), cdn("max-age=60.5", false, forbid), cdn("max-age=x", false, forbid), cdn("max-age", false, forbid), cdn("max-age=-60", false, forbid), cdn("max-age=(60)", false, forbid),
			cdn(`max-age="60"`, false), cdn("max-age=60.0", false),
		},
		"RFC 9213 §2.2": {
			cdn("max-age=60", true, forbid), cdn("max-age=60", true, "Cache-Control: private"), cdn("max-age=60", true, "Cache-Control: no-cache"), cdn("max-age=60", true, "Cache-Control: max-age=0"),
			cdn("max-age=60", true, "Cache-Control: s-maxage=0"), cdn("max-age=60", true, "Date: "+date(0), "Expires: "+date(-time.Hour)), cdn("max-age=60", true, "Expires: 0"), cdn("max-age=60", true, "Pragma: no-cache"),
			cdn("max-age=0", false, allow), cdn("max-age=0", false, "Cache-Control: s-maxage=60"), cdn("max-age=0", false, later), cdn("private", false, allow), cdn("no-store", false, allow, later), cdn("no-cache", false, allow),
			cdn("frob", false, allow), cdn("frob", false, later), cdn("public", false, allow),
			cdn("max-age=60", false, "Age: 60"), cdn("max-age=60", true, "Age: 30"),
			{name: "no-cache is validated each time", script: validating(ok200("CDN-Cache-Control: no-cache", allow, `ETag: "v"`), ok200()), steps: []step{{}, {body: "1"}, {body: "1", sent: lines{`If-None-Match: "v"`}}}},
			{name: "must-revalidate lets nothing stand in", script: inTurn(ok200("CDN-Cache-Control: max-age=60, must-revalidate", "Age: 90", `ETag: "v"`), coded(503)), steps: []step{{}, {status: 503}}},
			{name: "it lets stand in what Cache-Control does not", script: inTurn(ok200("CDN-Cache-Control: max-age=60", "Cache-Control: no-cache, must-revalidate", "Age: 90", `ETag: "v"`), coded(503)), steps: []step{{}, {body: "1"}}},
			{name: "stale-while-revalidate", script: inTurn(ok200("CDN-Cache-Control: max-age=60, stale-while-revalidate=60", "Age: 90"), ok200("CDN-Cache-Control: max-age=60")), steps: []step{
				{}, {behind: true, body: "1"}, {cached: true, body: "2"}}},
			{name: "stale-while-revalidate of Cache-Control is not heard", script: each200("CDN-Cache-Control: max-age=60", "Cache-Control: max-age=60, stale-while-revalidate=60", "Age: 90"), steps: []step{{}, {body: "2"}}},
			{name: "a 304 updates it", script: validating(ok200("CDN-Cache-Control: max-age=0", `ETag: "v"`), ok200("CDN-Cache-Control: max-age=60")), steps: []step{{}, {body: "1"}, {cached: true, body: "1"}}},
		},
		"RFC 9213 §3.1": {
			{name: "it reaches the client", script: each200("CDN-Cache-Control: frob", allow), steps: []step{{has: lines{"CDN-Cache-Control: frob", allow}}}},
			{name: "it reaches the client on a hit", script: each200("CDN-Cache-Control: max-age=60", forbid), steps: []step{{}, {cached: true, has: lines{"CDN-Cache-Control: max-age=60", forbid}}}},
			twice("Surrogate-Control is not heard", false, "Surrogate-Control: max-age=60"), twice("Surrogate-Control forbids nothing", true, allow, "Surrogate-Control: no-store"),
		},
	})
}
