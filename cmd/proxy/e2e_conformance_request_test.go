package main_test

import (
	"fmt"
	"time"

	"ringfence/loadtest/origin"
)

// requestCases say what the client's directives do (RFC 9111, sections 5.2.1
// and 5.4).
func requestCases() []conformanceCase {
	fresh, aged := each200("Cache-Control: max-age=60"), each200("Cache-Control: max-age=60", "Age: 30")
	stale := func(more string) script { return each200("Cache-Control: max-age=60"+more, "Age: 90", `ETag: "v"`) }
	// second asks once, and then with a field.
	second := func(field string, cached bool, s script) conformanceCase {
		return conformanceCase{name: field, script: s, steps: []step{{}, {fields: lines{field}, cached: cached}}}
	}
	named := func(name string, c conformanceCase) conformanceCase {
		c.name = name
		return c
	}
	return sections(map[string][]conformanceCase{
		"RFC 9111 §5.2.1.1": {
			second("Cache-Control: max-age=0", false, aged), second("Cache-Control: max-age=10", false, aged),
			second("Cache-Control: max-age=1000", true, aged), second("Cache-Control: MAX-AGE=10", false, aged),
			named("max-age=0 validates", conformanceCase{script: validating(ok200("Cache-Control: max-age=60", "Age: 30", `ETag: "v"`), ok200("Cache-Control: max-age=60")), steps: []step{
				{}, {fields: lines{"Cache-Control: max-age=0"}, body: "1", sent: lines{`If-None-Match: "v"`}}, {cached: true, body: "1"}}}),
			named("max-age does not make a stale one fresh", second("Cache-Control: max-age=1000", false, stale(""))),
		},
		"RFC 9111 §5.2.1.2": {
			second("Cache-Control: max-stale=100", true, stale("")), second("Cache-Control: max-stale=10", false, stale("")),
			second("Cache-Control: max-stale", true, stale("")),
			named("max-stale yields to must-revalidate", second("Cache-Control: max-stale", false, stale(", must-revalidate"))),
			named("max-stale yields to proxy-revalidate", second("Cache-Control: max-stale", false, stale(", proxy-revalidate"))),
			named("max-stale yields to s-maxage", second("Cache-Control: max-stale", false, stale(", s-maxage=60"))),
			named("max-stale yields to no-cache", second("Cache-Control: max-stale", false, stale(", no-cache"))),
			{name: "max-stale says how stale", script: stale(""), steps: []step{{}, {fields: lines{"Cache-Control: max-stale=100"}, cached: true, age: 90}}},
			{name: "max-stale with max-age", script: stale(""), steps: []step{{}, {fields: lines{"Cache-Control: max-stale=100, max-age=80"}, body: "2"}}},
		},
		"RFC 9111 §5.2.1.3": {
			second("Cache-Control: min-fresh=20", true, aged), second("Cache-Control: min-fresh=40", false, aged),
			second("Cache-Control: min-fresh=100", false, fresh),
		},
		"RFC 9111 §5.2.1.4": {
			{name: "no-cache asks the origin, and its answer is stored", script: fresh, steps: []step{
				{}, {fields: lines{"Cache-Control: no-cache"}, says: "fwd=request", body: "2"}, {cached: true, body: "2"}}},
			{name: "no-cache validates by ETag", script: validating(ok200("Cache-Control: max-age=60", `ETag: "v"`), ok200()), steps: []step{
				{}, {fields: lines{"Cache-Control: no-cache"}, body: "1", sent: lines{`If-None-Match: "v"`}}}},
			{name: "no-cache validates by Last-Modified", script: validating(ok200("Cache-Control: max-age=60", "Last-Modified: "+old), ok200()), steps: []step{
				{}, {fields: lines{"Cache-Control: no-cache"}, body: "1", sent: lines{"If-Modified-Since: " + old}}}},
			second("Cache-Control: No-Cache", false, fresh), second(`Cache-Control: frob="no-cache"`, true, fresh),
			second("Cache-Control: frob", true, fresh),
		},
		"RFC 9111 §5.2.1.5": {
			{name: "no-store is neither stored", script: fresh, steps: []step{{fields: lines{"Cache-Control: no-store"}}, {body: "2"}}},
			{name: "nor served, and harms nothing", script: fresh, steps: []step{{}, {fields: lines{"Cache-Control: no-store"}, body: "2"}, {cached: true, body: "1"}}},
		},
		"RFC 9111 §5.2.1.7": {
			{name: "only-if-cached without an answer", script: fresh, steps: []step{{fields: lines{"Cache-Control: only-if-cached"}, status: 504, cached: true}}},
			{name: "only-if-cached with a fresh answer", script: fresh, steps: []step{{}, {fields: lines{"Cache-Control: only-if-cached"}, cached: true, body: "1"}}},
			{name: "only-if-cached with a stale answer", script: stale(""), steps: []step{{}, {fields: lines{"Cache-Control: only-if-cached"}, status: 504, cached: true}}},
			{name: "only-if-cached with a stale answer and max-stale", script: stale(""), steps: []step{
				{}, {fields: lines{"Cache-Control: only-if-cached, max-stale=100"}, cached: true, body: "1"}}},
		},
		"RFC 9111 §5.4": {
			second("Pragma: no-cache", false, fresh), second("Pragma: No-Cache", false, fresh), second("Pragma: frob", true, fresh),
			{name: "Cache-Control in a request silences Pragma", script: fresh, steps: []step{
				{}, {fields: lines{"Pragma: no-cache", "Cache-Control: max-age=1000"}, cached: true}}},
		},
	})
}

// varyCases say which requests an answer with Vary is for (RFC 9111, section
// 4.1).
func varyCases() []conformanceCase {
	// vary asks once with some fields, and then with others.
	vary := func(name, value string, first, then lines, cached bool) conformanceCase {
		return conformanceCase{section: "RFC 9111 §4.1", name: name,
			script: each200("Cache-Control: max-age=60", "Vary: "+value),
			steps:  []step{{fields: first}, {fields: then, cached: cached}}}
	}
	same := func(name, field, one, other string, cached bool) conformanceCase {
		return vary(name, field, lines{field + ": " + one}, lines{field + ": " + other}, cached)
	}
	abc := lines{"X-A: 1", "X-B: b", "X-C: c"}
	star := func(value string) conformanceCase {
		return vary("Vary: "+value, value, abc, abc, false)
	}
	const languages, codings, x = "Accept-Language", "Accept-Encoding", "X-A"
	return append([]conformanceCase{
		vary("the same value", x, lines{"X-A: 1"}, lines{"X-A: 1"}, true),
		vary("another value", x, lines{"X-A: 1"}, lines{"X-A: 2"}, false),
		vary("absent then", x, lines{"X-A: 1"}, nil, false),
		vary("absent first", x, nil, lines{"X-A: 1"}, false),
		vary("absent both times", x, nil, nil, true),
		vary("absent is not empty", x, nil, lines{"X-A: "}, false),
		vary("other fields do not count", x, lines{"X-A: 1", "X-B: b"}, lines{"X-A: 1", "X-B: c"}, true),
		vary("two fields, the same", "X-A, X-B", abc, abc, true),
		vary("two fields, the first differs", "X-A, X-B", abc, lines{"X-A: 2", "X-B: b"}, false),
		vary("two fields, the second is absent", "X-A, X-B", abc, lines{"X-A: 1"}, false),
		vary("three fields, the same in another order", "X-A, X-B, X-C", abc, lines{"X-C: c", "X-A: 1", "X-B: b"}, true),
		vary("three fields, the middle differs", "X-A, X-B, X-C", abc, lines{"X-A: 1", "X-B: bb", "X-C: c"}, false),
		vary("three fields, one absent both times", "X-A, X-D, X-C", abc, abc, true),
		vary("values do not run together", "X-A, X-B", lines{"X-A: 1", "X-B: 23"}, lines{"X-A: 12", "X-B: 3"}, false),
		vary("names in any case", "x-a", lines{"X-A: 1"}, lines{"X-A: 2"}, false),
		vary("two lines of Vary", "X-B\r\nVary: X-A", abc, lines{"X-A: 2", "X-B: b"}, false),
		vary("an empty first line hides nothing", "\r\nVary: X-A", abc, lines{"X-A: 2"}, false),
		vary("an empty member hides nothing", " , X-A", abc, lines{"X-A: 2"}, false),
		vary("an empty Vary is none", "", abc, lines{"X-A: 2"}, true),
		star("*"), star("*, *"), star("*\r\nVary: *"), star(", *"), star("\r\nVary: *"), star("*, X-A"), star("X-A, *"),
		star("X-A\r\nVary: *"), star("X-A\r\nVary: X-B\r\nVary:  * "), star("X A"),
		same("white space around commas", x, "1,2", "1 ,  2", true),
		vary("lines and members are the same", x, lines{"X-A: 1, 2"}, lines{"X-A: 1", "X-A: 2"}, true),
		same("the order of an unknown field counts", x, "1, 2", "2, 1", false),
		same("the case of an unknown field counts", x, "a", "A", false),
		same("the order of cookies counts", "Cookie", "a=1; b=2", "b=2; a=1", false),
		same("the order of languages does not count", languages, "en, de", "de, en", true),
		same("the case of languages does not count", languages, "en-GB", "EN-gb", true),
		same("white space of languages does not count", languages, "en;q=0.5,de", "de , en ; q=0.5", true),
		same("the spelling of weights does not count", languages, "en;q=0.50, de;q=1.0", "en;q=0.5, de", true),
		same("weights of languages count", languages, "en;q=0.5, de", "en, de;q=0.5", false),
		same("languages count", languages, "en", "de", false),
		same("the order of codings does not count", codings, "gzip, br", "br, gzip", true),
		same("the case of codings does not count", codings, "gzip", "GZIP", true),
		same("codings count", codings, "gzip", "br", false),
	}, sections(map[string][]conformanceCase{
		"RFC 9111 §4.1": {
			{name: "each variant is kept", script: each200("Cache-Control: max-age=60", "Vary: X-A"), steps: []step{
				{fields: lines{"X-A: 1"}, body: "1"}, {fields: lines{"X-A: 2"}, body: "2"}, {body: "3"},
				{fields: lines{"X-A: 1"}, cached: true, body: "1"}, {fields: lines{"X-A: 2"}, cached: true, body: "2"}, {cached: true, body: "3"}}},
			{name: "a stale variant is validated with its own ETag and fields", script: func(n int, r origin.Request) origin.Answer {
				if r.Get("If-None-Match") != "" {
					return coded(304, "Cache-Control: max-age=60")
				}
				return ok200("Cache-Control: max-age=60", "Age: 60", "Vary: X-A", fmt.Sprintf(`ETag: "%d"`, n))
			}, steps: []step{{fields: lines{"X-A: 1"}}, {fields: lines{"X-A: 2"}},
				{fields: lines{"X-A: 1"}, body: "1", sent: lines{"X-A: 1", `If-None-Match: "1"`}},
				{fields: lines{"X-A: 1"}, cached: true, body: "1"},
				{fields: lines{"X-A: 2"}, body: "2", sent: lines{"X-A: 2", `If-None-Match: "2"`}}}},
			{name: "another variant's ETag is not sent", script: each200("Cache-Control: max-age=60", "Vary: X-A", `ETag: "v"`), steps: []step{
				{fields: lines{"X-A: 1"}}, {fields: lines{"X-A: 2"}, unsent: lines{"If-None-Match"}}}},
			{name: "an answer that varies by more", script: inTurn(ok200("Cache-Control: max-age=60", "Vary: X-A"), ok200("Cache-Control: max-age=60", "Vary: X-A, X-B")), steps: []step{
				{fields: lines{"X-A: 1", "X-B: 1"}}, {fields: lines{"X-A: 2", "X-B: 1"}, body: "2"},
				{fields: lines{"X-A: 2", "X-B: 1"}, cached: true, body: "2"}, {fields: lines{"X-A: 2", "X-B: 2"}, body: "3"}}},
			{name: "an answer that varies no more", script: inTurn(ok200("Cache-Control: max-age=60", "Vary: X-A"), ok200("Cache-Control: max-age=60")), steps: []step{
				{fields: lines{"X-A: 1"}}, {fields: lines{"X-A: 2"}, body: "2"}, {fields: lines{"X-A: 2"}, cached: true, body: "2"}}},
			{name: "Vary reaches the client", script: each200("Cache-Control: max-age=60", "Vary: X-A, X-B", "Vary: X-C"), steps: []step{
				{has: lines{"Vary: X-A, X-B", "Vary: X-C"}}, {cached: true, has: lines{"Vary: X-A, X-B", "Vary: X-C"}}}},
		},
	})...)
}

// headCases say what HEAD takes from what is stored, and changes in it
// (RFC 9110, section 9.3.2, and RFC 9111, section 4.3.5).
func headCases() []conformanceCase {
	get := func(fields ...string) origin.Answer {
		return filled(ok200(append(fields, "Last-Modified: "+old)...), ten)
	}
	fresh, stale := get("Cache-Control: max-age=60", `ETag: "v"`), get("Cache-Control: max-age=60", "Age: 60", `ETag: "v"`, "X-A: 1")
	head := func(fields ...string) origin.Answer { return filled(ok200(fields...), ten) }
	// updates has a HEAD between the GET that is stored and one more.
	updates := func(name string, get, head origin.Answer, then step) conformanceCase {
		return conformanceCase{name: name, script: byMethod(get, head), steps: []step{{}, {method: "HEAD", fields: lines{"Cache-Control: no-cache"}}, then}}
	}
	return sections(map[string][]conformanceCase{
		"RFC 9110 §9.3.2": {
			{name: "a HEAD is answered from a fresh GET", script: inTurn(fresh), steps: []step{
				{}, {method: "HEAD", cached: true, has: lines{"Content-Length: 10", `ETag: "v"`}, check: hasAge}}},
			{name: "a HEAD with a condition", script: inTurn(fresh), steps: []step{
				{}, {method: "HEAD", fields: lines{`If-None-Match: "v"`}, status: 304, cached: true}}},
			{name: "a HEAD of a stale GET asks", script: inTurn(stale), steps: []step{{}, {method: "HEAD"}}},
			{name: "a HEAD of nothing is passed on", script: inTurn(fresh), steps: []step{
				{method: "HEAD", has: lines{"Content-Length: 10"}}, {method: "HEAD"}}},
		},
		"RFC 9111 §4.3.5": {
			updates("a HEAD freshens the GET", stale, head("Cache-Control: max-age=60", `ETag: "v"`), step{cached: true, body: ten}),
			updates("a HEAD's fields replace the GET's", stale, head("Cache-Control: max-age=60", `ETag: "v"`, "X-A: 2"), step{cached: true, has: lines{"X-A: 2"}}),
			updates("fields that a HEAD lacks stay", stale, head("Cache-Control: max-age=60", `ETag: "v"`), step{cached: true, has: lines{"X-A: 1"}}),
			updates("a HEAD with another ETag ends the GET", fresh, head("Cache-Control: max-age=60", `ETag: "w"`), step{body: ten}),
			updates("a HEAD with another Last-Modified ends the GET", fresh, head("Cache-Control: max-age=60", "Last-Modified: "+date(-time.Hour)), step{body: ten}),
			updates("a HEAD with another length ends the GET", fresh, filled(ok200("Cache-Control: max-age=60", `ETag: "v"`), "12345"), step{body: ten}),
			{name: "a HEAD that fails changes nothing", script: byMethod(fresh, coded(500)), steps: []step{
				{}, {method: "HEAD", fields: lines{"Cache-Control: no-cache"}, status: 500}, {cached: true, body: ten}}},
		},
	})
}
