package main_test

import (
	"fmt"

	"ringfence/loadtest/origin"
)

// staleCases say when a stale answer stands in (RFC 5861, and RFC 9111,
// section 4.2.4).
func staleCases() []conformanceCase {
	// aged comes stale already, so it is stored for the sake of its validator.
	aged := func(age int, control string, more ...string) origin.Answer {
		return ok200(append(more, "Cache-Control: max-age=100"+control, fmt.Sprintf("Age: %d", age), `ETag: "v"`)...)
	}
	fresh := ok200("Cache-Control: max-age=100")
	// fails has an answer of some age, and then the origin's failure: stands,
	// where the answer stands in for it.
	fails := func(name string, stored, failure origin.Answer, stands bool) conformanceCase {
		second := step{asked: -1, status: failed}
		if stands {
			second = step{asked: -1, body: "1"}
		}
		return conformanceCase{name: name, script: inTurn(stored, failure), steps: []step{{}, second}}
	}
	const swr = ", stale-while-revalidate=60"
	// waits has an answer that stale-while-revalidate does not cover.
	waits := func(name, control string, age int) conformanceCase {
		return conformanceCase{name: name, script: inTurn(aged(age, control), fresh), steps: []step{{}, {body: "2"}}}
	}
	windows := map[string][]conformanceCase{
		"RFC 5861 §3": {
			{name: "within the window one refresh in the background", script: inTurn(aged(110, swr), fresh), steps: []step{
				{}, {behind: true, body: "1", age: 110}, {cached: true, body: "2", check: young}}},
			{name: "the refresh asks with the validator", script: validating(aged(110, swr), ok200("Cache-Control: max-age=100")), steps: []step{
				{}, {behind: true, body: "1", sent: lines{`If-None-Match: "v"`}}, {cached: true, body: "1", check: young}}},
			{name: "a refresh that fails keeps the window", script: inTurn(aged(110, swr), coded(503)), steps: []step{
				{}, {behind: true, body: "1"}, {asked: -1, body: "1", says: "hit"}}},
			{name: "a refresh that may not be stored ends it", script: inTurn(aged(110, swr), ok200("Cache-Control: no-store")), steps: []step{
				{}, {behind: true, body: "1"}, {body: "3"}}},
			{name: "a refresh of a variant", script: inTurn(aged(110, swr, "Vary: X-A"), ok200("Cache-Control: max-age=100", "Vary: X-A")), steps: []step{
				{fields: lines{"X-A: 1"}}, {fields: lines{"X-A: 1"}, behind: true, body: "1", sent: lines{"X-A: 1"}}, {fields: lines{"X-A: 1"}, cached: true, body: "2"}}},
			{name: "a client's condition within the window", script: inTurn(aged(110, swr), fresh), steps: []step{
				{}, {fields: lines{`If-None-Match: "v"`}, behind: true, status: 304}}},
			{name: "a client's range within the window", script: inTurn(filled(aged(110, swr), ten), filled(fresh, "abcdefghij")), steps: []step{
				{}, {fields: lines{"Range: bytes=2-4"}, behind: true, status: 206, body: "234", unsent: lines{"Range"}},
				{fields: lines{"Range: bytes=2-4"}, cached: true, status: 206, body: "cde"}}},
			{name: "while fresh there is no refresh", script: each200("Cache-Control: max-age=100"+swr, "Age: 10"), steps: []step{{}, {cached: true}, {cached: true}}},
			waits("past the window", swr, 200), waits("a window of 0", ", stale-while-revalidate=0", 110),
			waits("a window that is no number", ", stale-while-revalidate=x", 110), waits("no window", "", 110),
			waits("not under must-revalidate", swr+", must-revalidate", 110), waits("not under proxy-revalidate", swr+", proxy-revalidate", 110),
			waits("not under no-cache", swr+", no-cache", 110), waits("not under s-maxage", swr+", s-maxage=100", 110),
			{name: "not for a client's no-cache", script: inTurn(aged(110, swr), fresh), steps: []step{{}, {fields: lines{"Cache-Control: no-cache"}, body: "2"}}},
			{name: "not for a client's max-age", script: inTurn(aged(110, swr), fresh), steps: []step{{}, {fields: lines{"Cache-Control: max-age=50"}, body: "2"}}},
		},
		"RFC 5861 §4": {
			fails("a 503 past the window", aged(200, ", stale-if-error=60"), coded(503), false),
			fails("a hang-up past the window", aged(200, ", stale-if-error=60"), hangUp(), false),
			fails("a window of 0", aged(110, ", stale-if-error=0"), coded(503), false),
			fails("a window longer than the route's", aged(4000, ", stale-if-error=7200"), coded(503), true),
			fails("a hang-up in a window longer than the route's", aged(4000, ", stale-if-error=7200"), hangUp(), true),
		},
		"RFC 9111 §4.2.4": {
			fails("a hang-up, by default", aged(110, ""), hangUp(), true), fails("a hang-up an hour later", aged(3800, ""), hangUp(), false),
			fails("a 503, by default", aged(110, ""), coded(503), true), fails("a 503 an hour later", aged(3800, ""), coded(503), false),
			fails("by Last-Modified", ok200("Cache-Control: max-age=100", "Age: 110", "Last-Modified: "+old), coded(503), true),
			fails("a 503 with a lifetime is an answer", aged(110, ""), coded(503, "Cache-Control: max-age=10"), false),
			fails("a 501 is an answer", aged(110, ""), coded(501), false),
			{name: "a 404 is an answer", script: inTurn(aged(110, ", stale-if-error=60"), coded(404)), steps: []step{{}, {status: 404}}},
			{name: "nothing stands in for nothing", script: inTurn(hangUp()), steps: []step{{status: 502, asked: -1}}},
			{name: "what stands in has its age", script: inTurn(aged(110, ""), coded(503)), steps: []step{{}, {body: "1", age: 110, lacks: lines{"Warning"}}}},
			{name: "it stands in as long as the origin fails", script: inTurn(aged(110, ""), coded(503)), steps: []step{
				{}, {body: "1"}, {asked: -1, body: "1"}, {asked: -1, body: "1"}}},
			{name: "not for a client's no-cache", script: inTurn(aged(110, ""), coded(503)), steps: []step{
				{}, {fields: lines{"Cache-Control: no-cache"}, status: 503}}},
			{name: "a range of what stands in", script: inTurn(filled(aged(110, ""), ten), coded(503)), steps: []step{
				{}, {fields: lines{"Range: bytes=2-4"}, asked: -1, status: 206, body: "234"}}},
		},
	}
	for _, status := range []int{500, 502, 503, 504} {
		windows["RFC 5861 §4"] = append(windows["RFC 5861 §4"],
			fails(fmt.Sprintf("a %d within the window", status), aged(110, ", stale-if-error=60"), coded(status), true))
	}
	for directive, section := range map[string]string{
		"must-revalidate": "RFC 9111 §5.2.2.2", "proxy-revalidate": "RFC 9111 §5.2.2.8", "no-cache": "RFC 9111 §5.2.2.4", "s-maxage=100": "RFC 9111 §5.2.2.10",
	} {
		for _, more := range []string{"", ", stale-if-error=60"} {
			windows[section] = append(windows[section],
				fails(directive+more+" lets nothing stand in for a 503", aged(110, ", "+directive+more), coded(503), false),
				fails(directive+more+" lets nothing stand in for a hang-up", aged(110, ", "+directive+more), hangUp(), false))
		}
	}
	return sections(windows)
}

// invalidationCases say what an unsafe request makes of what is stored
// (RFC 9111, section 4.4).
func invalidationCases() []conformanceCase {
	get := ok200("Cache-Control: max-age=60")
	var cases []conformanceCase
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FROB"} {
		for _, status := range []int{200, 204, 303} {
			cases = append(cases, conformanceCase{name: fmt.Sprintf("a %s with %d", method, status), script: byMethod(get, coded(status)), steps: []step{
				{}, {cached: true}, {method: method, upload: "x", status: status}, {body: "3"}, {cached: true}}})
		}
		for _, status := range []int{400, 404, 500, 503} {
			cases = append(cases, conformanceCase{name: fmt.Sprintf("not a %s with %d", method, status), script: byMethod(get, coded(status)), steps: []step{
				{}, {method: method, upload: "x", status: status}, {cached: true, body: "1"}}})
		}
		for _, field := range []string{"Location", "Content-Location"} {
			cases = append(cases, conformanceCase{name: fmt.Sprintf("a %s with %s", method, field), script: func(_ int, r origin.Request) origin.Answer {
				if r.Method == "GET" {
					return get
				}
				return coded(201, field+": "+r.Path()+"/other?q")
			}, steps: []step{
				{at: "/other?q"}, {at: "/other"}, {method: method, upload: "x", status: 201},
				{at: "/other?q", body: "4"}, {at: "/other", cached: true}}})
		}
	}
	// points has a POST that names a place, and says whether that is fetched
	// afterwards.
	points := func(name string, status int, place func(r origin.Request) string, fetched bool) conformanceCase {
		return conformanceCase{name: name, script: func(_ int, r origin.Request) origin.Answer {
			if r.Method == "GET" {
				return get
			}
			return coded(status, "Location: "+place(r))
		}, steps: []step{{at: "/b"}, {method: "POST", at: "/a", status: status}, {at: "/b", cached: !fetched}}}
	}
	directory := func(r origin.Request) string { return r.Path()[:len(r.Path())-len("/a")] }
	cases = append(cases,
		points("Location as a whole URI", 201, func(r origin.Request) string { return "http://" + r.Get("Host") + directory(r) + "/b" }, true),
		points("Location relative to the request", 201, func(origin.Request) string { return "b" }, true),
		points("Location with dots", 201, func(origin.Request) string { return "./x/../b" }, true),
		points("Location with a fragment", 201, func(origin.Request) string { return "b#here" }, true),
		points("Location of a redirect", 303, func(origin.Request) string { return "b" }, true),
		points("not Location on another host", 201, func(r origin.Request) string { return "http://other.example" + directory(r) + "/b" }, false),
		points("not Location on another port", 201, func(r origin.Request) string { return "http://127.0.0.1:1" + directory(r) + "/b" }, false),
		points("not Location by another scheme", 201, func(r origin.Request) string { return "https://" + r.Get("Host") + directory(r) + "/b" }, false),
		points("not Location of a failure", 500, func(origin.Request) string { return "b" }, false),
		points("Location that is no reference", 201, func(origin.Request) string { return "http://[" }, false),
		conformanceCase{name: "all variants", script: each200("Cache-Control: max-age=60", "Vary: X-A"), steps: []step{
			{fields: lines{"X-A: 1"}}, {fields: lines{"X-A: 2"}}, {method: "POST"},
			{fields: lines{"X-A: 1"}, body: "4"}, {fields: lines{"X-A: 2"}, body: "5"}, {fields: lines{"X-A: 1"}, cached: true}}},
		conformanceCase{name: "not another query", script: each200("Cache-Control: max-age=60"), steps: []step{{at: "?q"}, {method: "POST"}, {at: "?q", cached: true}}},
		conformanceCase{name: "not OPTIONS", script: each200("Cache-Control: max-age=60"), steps: []step{{}, {method: "OPTIONS"}, {cached: true}}},
		conformanceCase{name: "not HEAD", script: each200("Cache-Control: max-age=60"), steps: []step{{}, {method: "HEAD", cached: true}, {cached: true}}},
		conformanceCase{name: "not the Location of a GET", script: each200("Cache-Control: max-age=60", "Location: b"), steps: []step{{at: "/b"}, {at: "/a"}, {at: "/b", cached: true}}},
		conformanceCase{name: "nothing of it stands in afterwards", script: func(n int, r origin.Request) origin.Answer {
			if n == 3 {
				return coded(503)
			}
			return get
		}, steps: []step{{}, {method: "POST"}, {status: 503}}},
	)
	return sections(map[string][]conformanceCase{"RFC 9111 §4.4": cases})
}

// groupCases say what Cache-Groups ties together (RFC 9875).
func groupCases() []conformanceCase {
	grouped := func(value string) script {
		return byMethod(ok200("Cache-Control: max-age=60", "Cache-Groups: "+value), ok200("Cache-Control: max-age=60"))
	}
	// ends has a GET with groups, and a POST elsewhere that ends others.
	ends := func(name, groups, ended string, fetched bool) conformanceCase {
		return conformanceCase{name: name, script: byMethod(ok200("Cache-Control: max-age=60", "Cache-Groups: "+groups), ok200("Cache-Group-Invalidation: "+ended)),
			steps: []step{{at: "/a"}, {at: "/a", cached: true}, {method: "POST", at: "/z"}, {at: "/a", cached: !fetched}}}
	}
	many := func(n int) (list string) {
		for i := range n {
			list += fmt.Sprintf(`, "g%d"`, i)
		}
		return list[2:]
	}
	return sections(map[string][]conformanceCase{
		"RFC 9875 §2": {
			{name: "Cache-Groups reaches the client", script: grouped(`"a", "b"`), steps: []step{{has: lines{`Cache-Groups: "a", "b"`}}, {cached: true, has: lines{`Cache-Groups: "a", "b"`}}}},
			{name: "Cache-Groups that is no list does not hinder", script: grouped(`"a`), steps: []step{{}, {cached: true}}},
			{name: "32 groups are stored", script: grouped(many(32)), steps: []step{{}, {cached: true}}},
			ends("the last of 32 groups", many(32), `"g31"`, true),
			{name: "more groups than may be are not stored", script: grouped(many(65)), steps: []step{{}, {body: "2"}}},
		},
		"RFC 9875 §3": {
			ends("its group", `"frob-1"`, `"frob-1"`, true), ends("another group", `"frob-2"`, `"frob-3"`, false),
			ends("one of its groups", `"frob-4", "frob-5"`, `"frob-5"`, true), ends("one of several ended", `"frob-6"`, `"x", "frob-6"`, true),
			ends("case counts", `"frob-7"`, `"FROB-7"`, false), ends("a part is another", `"frob-8"`, `"frob"`, false),
			ends("parameters do not count", `"frob-9";a=1`, `"frob-9";b`, true), ends("several lines", "\"frob-10\"\r\nCache-Groups: \"frob-11\"", `"frob-11"`, true),
			ends("what is no list ends nothing", `"frob-12"`, `"frob-12`, false), ends("a token is no string", `"frob-13"`, `frob-13`, false),
			ends("an empty list ends nothing", `"frob-14"`, ``, false), ends("an escape is its character", `"frob\"15"`, `"frob\"15"`, true),
			{name: "a safe request ends nothing", script: each200("Cache-Control: max-age=60", `Cache-Groups: "frob-20"`, `Cache-Group-Invalidation: "frob-20"`), steps: []step{
				{at: "/a"}, {at: "/b"}, {at: "/a", cached: true}}},
			{name: "all of a group", script: byMethod(ok200("Cache-Control: max-age=60", `Cache-Groups: "frob-21"`), ok200(`Cache-Group-Invalidation: "frob-21"`)), steps: []step{
				{at: "/a"}, {at: "/b"}, {at: "/c?q"}, {method: "DELETE", at: "/z"}, {at: "/a", body: "5"}, {at: "/b", body: "6"}, {at: "/c?q", body: "7"}, {at: "/a", cached: true}}},
			{name: "Cache-Group-Invalidation reaches the client", script: each200(`Cache-Group-Invalidation: "frob-22"`), steps: []step{
				{method: "POST", has: lines{`Cache-Group-Invalidation: "frob-22"`}}}},
		},
	})
}
