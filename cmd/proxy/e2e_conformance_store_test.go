package main_test

import (
	"fmt"
	"strings"
	"time"

	"ringfence/loadtest/origin"
)

// explicit are final statuses, known and unknown ones, that are stored where
// the origin says how long they are fresh.
var explicit = []int{200, 201, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 418, 451, 499, 500, 501, 502, 503, 504, 599}

// storingCases say what is stored (RFC 9111, section 3).
func storingCases() []conformanceCase {
	var cases []conformanceCase
	for _, status := range explicit {
		fresh := coded(status, "Cache-Control: max-age=60")
		stale := coded(status, "Cache-Control: max-age=60", "Age: 60", `ETag: "v"`)
		cases = append(cases,
			conformanceCase{section: "RFC 9111 §3", name: fmt.Sprintf("a fresh %d is reused", status), script: inTurn(fresh), steps: []step{
				{status: status}, {status: status, cached: true, says: "hit"}}},
			conformanceCase{section: "RFC 9111 §4.2", name: fmt.Sprintf("a stale %d is asked about", status), script: inTurn(stale), steps: []step{
				{status: status}, {status: status, sent: lines{`If-None-Match: "v"`}}}},
			conformanceCase{section: "RFC 9111 §4.3.4", name: fmt.Sprintf("a stale %d is freshened by a 304", status),
				script: validating(stale, ok200("Cache-Control: max-age=60", `ETag: "v"`)), steps: []step{
					{status: status}, {status: status}, {status: status, cached: true}}})
	}
	return append(cases, sections(map[string][]conformanceCase{
		"RFC 9111 §3": {
			{name: "a GET is stored", script: each200("Cache-Control: max-age=60"), steps: []step{
				{says: "fwd=uri-miss"}, {cached: true, says: "hit", body: "1"}}},
			{name: "a HEAD's answer is no GET's", script: each200("Cache-Control: max-age=60"), steps: []step{
				{method: "HEAD"}, {body: "2"}, {cached: true}}},
			{name: "a POST's answer is not stored", script: each200("Cache-Control: max-age=60"), steps: []step{
				{method: "POST"}, {method: "POST", says: "fwd=method"}, {body: "3"}, {cached: true}}},
			{name: "a POST's answer about itself is not reused for a GET", script: func(_ int, r origin.Request) origin.Answer {
				return ok200("Cache-Control: max-age=60", "Content-Location: "+r.Target)
			}, steps: []step{{method: "POST", upload: "x"}, {body: "2"}}},
			{name: "an unknown method's answer is not stored", script: each200("Cache-Control: max-age=60"), steps: []step{
				{method: "FROB"}, {body: "2"}}},
			{name: "an OPTIONS' answer is not stored", script: each200("Cache-Control: max-age=60"), steps: []step{
				{method: "OPTIONS"}, {method: "OPTIONS"}, {body: "3"}}},
			{name: "a GET with a body is passed on", script: each200("Cache-Control: max-age=60"), steps: []step{
				{upload: "x"}, {upload: "x"}, {body: "3"}}},
			{name: "nothing said is not stored", script: each200(), steps: []step{{}, {}}},
			{name: "an ETag alone says nothing of freshness", script: each200(`ETag: "v"`), steps: []step{{}, {}}},
			{name: "public alone says nothing of freshness", script: each200("Cache-Control: public"), steps: []step{{}, {}}},
			{name: "no-cache does not keep a status that says nothing", script: inTurn(coded(201, "Cache-Control: no-cache", `ETag: "v"`)), steps: []step{
				{status: 201}, {status: 201, unsent: lines{"If-None-Match"}}}},
			{name: "public and no-cache keep it", script: inTurn(coded(201, "Cache-Control: public, no-cache", `ETag: "v"`)), steps: []step{
				{status: 201}, {status: 201, sent: lines{`If-None-Match: "v"`}}}},
			{name: "a Cookie in the request changes nothing", script: each200("Cache-Control: max-age=60"), steps: []step{
				{fields: lines{"Cookie: a=1"}}, {cached: true}, {fields: lines{"Cookie: a=2"}, cached: true}}},
			{name: "Content-Disposition changes nothing", script: each200("Cache-Control: max-age=60", "Content-Disposition: attachment; filename=a.txt"), steps: []step{
				{}, {cached: true, has: lines{"Content-Disposition: attachment; filename=a.txt"}}}},
			{name: "a chunked body is stored", script: inTurn(chunked("Cache-Control: max-age=60")), steps: []step{
				{body: ten}, {cached: true, body: ten}}},
			{name: "an empty body is stored", script: inTurn(filled(ok200("Cache-Control: max-age=60"), "")), steps: []step{
				{}, {cached: true, has: lines{"Content-Length: 0"}}}},
			{name: "a large body is stored", script: inTurn(filled(ok200("Cache-Control: max-age=60"), strings.Repeat(ten, 50_000))), steps: []step{
				{}, {cached: true, body: strings.Repeat(ten, 50_000)}}},
		},
		"RFC 9111 §2": {
			{name: "another query is another resource", script: each200("Cache-Control: max-age=60"), steps: []step{
				{at: "?q=1", body: "1"}, {at: "?q=2", body: "2"}, {at: "?q=1", cached: true, body: "1"}, {body: "3"}}},
			{name: "a query does not hinder", script: each200("Cache-Control: max-age=60"), steps: []step{
				{at: "?a=1&b=2"}, {at: "?a=1&b=2", cached: true}}},
			{name: "the order of the query counts", script: each200("Cache-Control: max-age=60"), steps: []step{
				{at: "?a=1&b=2"}, {at: "?b=2&a=1", body: "2"}}},
			{name: "paths differ by case", script: each200("Cache-Control: max-age=60"), steps: []step{
				{at: "/a"}, {at: "/A", body: "2"}}},
		},
		"RFC 9111 §3.3": {
			{name: "a body that is cut short is not stored", script: func(n int, _ origin.Request) origin.Answer {
				a := filled(ok200("Cache-Control: max-age=60"), ten)
				a.Cut, a.CutAfter = n == 1, 4
				return a
			}, steps: []step{{cut: true}, {body: ten}, {cached: true, body: ten}}},
		},
	})...)
}

// chunked is an answer whose length nobody knows beforehand.
func chunked(fields ...string) origin.Answer {
	a := filled(ok200(fields...), ten)
	a.Framing = origin.Chunked
	return a
}

// directiveCases say what the origin's directives do (RFC 9111, section 5.2.2).
func directiveCases() []conformanceCase {
	validated := func(control string) conformanceCase {
		return conformanceCase{name: control, script: validating(ok200("Cache-Control: "+control, `ETag: "v"`), ok200()), steps: []step{
			{body: "1"}, {body: "1", sent: lines{`If-None-Match: "v"`}}, {body: "1", sent: lines{`If-None-Match: "v"`}}}}
	}
	secret := func(fields304 ...string) script {
		return validating(ok200("Cache-Control: max-age=60, private=\"X-Secret, X-Other\"", `ETag: "v"`, "X-Secret: 1", "X-Other: 1", "X-Open: 1"), ok200(fields304...))
	}
	return sections(map[string][]conformanceCase{
		"RFC 9111 §5.2.2.2": {
			{name: "must-revalidate is reused while fresh", script: each200("Cache-Control: max-age=60, must-revalidate"), steps: []step{{}, {cached: true}}},
			{name: "must-revalidate is validated once stale", script: validating(ok200("Cache-Control: max-age=60, must-revalidate", "Age: 60", `ETag: "v"`), ok200("Cache-Control: max-age=60")),
				steps: []step{{}, {body: "1", sent: lines{`If-None-Match: "v"`}}, {cached: true}}},
		},
		"RFC 9111 §5.2.2.3": {
			{name: "must-understand lifts no-store from a status that is understood", script: each200("Cache-Control: no-store, must-understand, max-age=60"), steps: []step{{}, {cached: true}}},
			{name: "must-understand lifts no-store from a 404", script: inTurn(coded(404, "Cache-Control: must-understand, no-store, max-age=60")), steps: []step{{status: 404}, {status: 404, cached: true}}},
			{name: "no-store stands for an unknown status", script: inTurn(coded(299, "Cache-Control: no-store, must-understand, max-age=60")), steps: []step{{status: 299}, {status: 299}}},
			{name: "must-understand keeps an unknown status out", script: inTurn(coded(499, "Cache-Control: must-understand, max-age=60")), steps: []step{{status: 499}, {status: 499}}},
			{name: "must-understand lets a known status in", script: each200("Cache-Control: must-understand, max-age=60"), steps: []step{{}, {cached: true}}},
		},
		"RFC 9111 §5.2.2.4": {
			validated("no-cache"), validated("No-Cache, max-age=60"), validated("max-age=60, no-cache, public"),
			validated("no-cache, s-maxage=60"), validated("max-age=60, no-cache=\"X-A\""), validated("max-age=60, no-cache=X-A"),
			{name: "no-cache without a validator is fetched", script: each200("Cache-Control: max-age=60, no-cache"), steps: []step{{body: "1"}, {body: "2"}}},
			{name: "no-cache with Expires", script: each200("Cache-Control: no-cache", "Date: "+date(0), "Expires: "+date(100*time.Second)), steps: []step{{}, {body: "2"}}},
		},
		"RFC 9111 §5.2.2.5": {
			twice("no-store", false, "Cache-Control: no-store"),
			twice("no-store in any case", false, "Cache-Control: max-age=60, nO-sToRe"),
			twice("no-store over max-age and Expires", false, "Cache-Control: max-age=60, no-store", "Date: "+date(0), "Expires: "+date(100*time.Second)),
			twice("no-store on a line of its own", false, "Cache-Control: max-age=60", "Cache-Control: no-store"),
			twice("no-store with an argument", false, "Cache-Control: max-age=60, no-store=1"),
			twice("no-store in a quoted string is none", true, `Cache-Control: max-age=60, ext="no-store"`),
			{name: "no-store is said in Cache-Status", script: each200("Cache-Control: no-store"), steps: []step{{}, {says: "detail=uncacheable"}}},
		},
		"RFC 9111 §5.2.2.6": {
			twice("no-transform does not hinder", true, "Cache-Control: max-age=60, no-transform"),
		},
		"RFC 9111 §5.2.2.7": {
			twice("private", false, "Cache-Control: private, max-age=60"),
			twice("private in any case", false, "Cache-Control: max-age=60, PrIvAtE"),
			twice("private over public", false, "Cache-Control: max-age=60, public, private"),
			twice("private over s-maxage", false, "Cache-Control: s-maxage=60, private"),
			twice("private of no field is private", false, `Cache-Control: max-age=60, private=""`),
			twice("private without and with fields is private", false, `Cache-Control: max-age=60, private, private="X-A"`),
			{name: "private fields are for the one who asked", script: secret(), steps: []step{
				{has: lines{"X-Secret: 1", "X-Other: 1", "X-Open: 1"}},
				{body: "1", has: lines{"X-Open: 1"}, lacks: lines{"X-Secret", "X-Other"}, sent: lines{`If-None-Match: "v"`}},
				{body: "1", has: lines{"X-Open: 1"}, lacks: lines{"X-Secret", "X-Other"}}}},
			{name: "private fields of a 304 are for the one who asked", script: func(n int, r origin.Request) origin.Answer {
				if n == 2 {
					return secret("X-Secret: 2")(n, r)
				}
				return secret()(n, r)
			}, steps: []step{
				{has: lines{"X-Secret: 1"}}, {body: "1", has: lines{"X-Secret: 2"}, lacks: lines{"X-Other"}}, {body: "1", lacks: lines{"X-Secret"}}}},
		},
		"RFC 9111 §5.2.2.8": {
			{name: "proxy-revalidate is reused while fresh", script: each200("Cache-Control: max-age=60, proxy-revalidate"), steps: []step{{}, {cached: true}}},
			{name: "proxy-revalidate is validated once stale", script: each200("Cache-Control: max-age=60, proxy-revalidate", "Age: 60", `ETag: "v"`),
				steps: []step{{}, {sent: lines{`If-None-Match: "v"`}}}},
		},
		"RFC 9111 §5.2.2.9": {
			twice("public with a lifetime", true, "Cache-Control: public, max-age=60"),
		},
		"RFC 8246 §2": {
			twice("immutable is reused while fresh", true, "Cache-Control: max-age=60, immutable"),
			{name: "immutable is validated once stale", script: each200("Cache-Control: max-age=60, immutable", "Age: 60", `ETag: "v"`),
				steps: []step{{}, {sent: lines{`If-None-Match: "v"`}}}},
		},
		"RFC 9111 §5.4": {
			twice("Pragma in an answer means nothing", true, "Cache-Control: max-age=60", "Pragma: no-cache"),
			twice("Pragma in an answer means nothing to a guess", true, "Last-Modified: "+old, "Pragma: no-cache"),
			twice("an unknown Pragma in an answer means nothing", true, "Cache-Control: max-age=60", "Pragma: frob"),
		},
	})
}
