package main_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/loadtest/origin"
)

// optionCases say what a route's options change where the RFCs leave a choice.
func optionCases() []conformanceCase {
	const control = "Cache-Control: max-age=60"
	// under is a case of an option: a request that is repeated.
	under := func(route, name string, cached bool, status int, fields ...string) conformanceCase {
		return conformanceCase{section: "route", name: route + ": " + name, route: route, script: inTurn(coded(status, fields...)), steps: []step{
			{status: status}, {status: status, cached: cached}}}
	}
	ttl := func(name string, cached bool, status int, fields ...string) conformanceCase {
		return under("default_ttl: 1m", name, cached, status, fields...)
	}
	guess := func(route, name string, cached bool, age string) conformanceCase {
		return under(route, name, cached, 200, "Last-Modified: "+date(-240*time.Hour), "Age: "+age)
	}
	negative := func(name string, cached bool, status int, fields ...string) conformanceCase {
		return under("negative_ttl: {404: 10s, 4xx: 1m, 5xx: 1m}", name, cached, status, fields...)
	}
	stands := func(route, name string, age string, stored string, failure origin.Answer, then step) conformanceCase {
		return conformanceCase{section: "route", name: route + ": " + name, route: route, script: inTurn(ok200("Cache-Control: max-age=60"+stored, "Age: "+age, `ETag: "v"`), failure), steps: []step{{}, then}}
	}
	const off, short = "serve_stale_on_error: off", "serve_stale_on_error: 1m"
	const deaf = "ignore_request_directives: [no-cache, no-store, max-age, min-fresh, max-stale, stale-if-error, only-if-cached, pragma]"
	ignores := func(field string) conformanceCase {
		return conformanceCase{section: "route", name: deaf[:25] + ": " + field, route: deaf, script: each200("Cache-Control: max-age=60", "Age: 30"), steps: []step{
			{}, {fields: lines{field}, cached: true, body: "1"}}}
	}
	cases := []conformanceCase{
		ttl("nothing said", true, 200), ttl("a 404", true, 404), ttl("a 403", false, 403), ttl("a 503", false, 503), ttl("a 302", false, 302), ttl("older than that", false, 200, "Age: 90"),
		ttl("younger than that", true, 200, "Age: 30"), ttl("no-store", false, 200, "Cache-Control: no-store"), ttl("private", false, 200, "Cache-Control: private"),
		ttl("max-age=0", false, 200, "Cache-Control: max-age=0"), ttl("Expires: 0", false, 200, "Expires: 0"), ttl("Set-Cookie", false, 200, "Set-Cookie: a=b"), ttl("Vary: *", false, 200, "Vary: *"),
		ttl("Last-Modified is a better guess", true, 200, "Last-Modified: "+date(-240*time.Hour), "Age: 90"), ttl("max-age is none", true, 200, "Cache-Control: max-age=600", "Age: 90"),
		guess("heuristic_max: off", "nothing is guessed", false, "0"), guess("heuristic_max: 1m", "below", true, "30"), guess("heuristic_max: 1m", "above", false, "90"),
		under("heuristic_max: off", "max-age", true, 200, control),
		negative("its status", true, 404), negative("its status before its class", false, 404, "Age: 30"), negative("its class", true, 403, "Age: 30"), negative("its class, unknown", true, 499), negative("the other class", true, 503),
		negative("a 500", true, 500), negative("a 599", true, 599), negative("not a 200", false, 200), negative("not a 302", false, 302), negative("too old", false, 403, "Age: 90"),
		negative("what the origin says goes first", false, 404, "Cache-Control: max-age=0"), negative("more, too", true, 404, control, "Age: 30"), negative("Expires goes first", false, 503, "Expires: 0"),
		negative("no-store", false, 404, "Cache-Control: no-store"), negative("private", false, 404, "Cache-Control: private"), negative("before a guess", false, 404, "Last-Modified: "+date(-240*time.Hour), "Age: 30"),
		stands(off, "a 503", "90", "", coded(503), step{status: 503}), stands(off, "a hang-up", "90", "", hangUp(), step{status: failed, asked: -1}),
		stands(off, "stale-if-error", "90", ", stale-if-error=60", coded(503), step{body: "1"}),
		stands(short, "within", "90", "", coded(503), step{body: "1"}), stands(short, "past", "150", "", coded(503), step{status: 503}),
		ignores("Cache-Control: no-cache"), ignores("Cache-Control: no-store"), ignores("Cache-Control: max-age=0"), ignores("Cache-Control: min-fresh=50"), ignores("Pragma: no-cache"),
		{section: "route", name: "ignore_request_directives: max-stale", route: deaf, script: each200(control, "Age: 90"), steps: []step{{}, {fields: lines{"Cache-Control: max-stale"}, body: "2"}}},
		{section: "route", name: "ignore_request_directives: only-if-cached", route: deaf, script: each200(control), steps: []step{{fields: lines{"Cache-Control: only-if-cached"}}, {cached: true}}},
		{section: "route", name: "ignore_request_directives: no-store, stored", route: deaf, script: each200(control), steps: []step{{fields: lines{"Cache-Control: no-store"}}, {cached: true}}},
		{section: "route", name: "ignore_request_directives: one alone", route: "ignore_request_directives: [no-cache]", script: each200(control), steps: []step{
			{}, {fields: lines{"Cache-Control: no-cache"}, cached: true}, {fields: lines{"Cache-Control: max-age=0, no-cache"}, asked: -1}, {fields: lines{"Cache-Control: no-store"}}}},
		{section: "route", name: "range_fill_limit: off passes a range on", route: "range_fill_limit: off", script: ranged(filled(ok200(control), ten), ten), steps: []step{
			{fields: lines{"Range: bytes=2-4"}, status: 206, body: "234", sent: lines{"Range: bytes=2-4"}}, {body: ten}, {fields: lines{"Range: bytes=2-4"}, status: 206, cached: true, body: "234"}}},
		{section: "route", name: "range_fill_limit: a 206 is never the whole", route: "range_fill_limit: off", script: inTurn(filled(coded(206, control, "Content-Range: bytes 0-4/10"), "01234"), filled(ok200(control), ten)), steps: []step{
			{fields: lines{"Range: bytes=0-4"}, status: 206, body: "01234"}, {body: ten}, {cached: true, body: ten}}},
		{section: "route", name: "range_fill_limit: 5B passes on what is larger", route: "range_fill_limit: 5B", script: ranged(filled(ok200(control), ten), ten), steps: []step{
			{fields: lines{"Range: bytes=2-4"}, asked: -1, status: 206, body: "234"}}},
		{section: "route", name: "max_variants: the oldest gives way", route: "cache: on", script: each200(control, "Vary: X-A"), steps: []step{
			{fields: lines{"X-A: 1"}}, {fields: lines{"X-A: 2"}}, {fields: lines{"X-A: 3"}}, {fields: lines{"X-A: 4"}}, {fields: lines{"X-A: 1"}, cached: true, body: "1"},
			{fields: lines{"X-A: 5"}}, {fields: lines{"X-A: 5"}, cached: true, body: "5"}, {fields: lines{"X-A: 4"}, cached: true, body: "4"}, {fields: lines{"X-A: 1"}, body: "6"}}},
		{section: "route", name: "cache: off stores nothing", route: "cache: off", script: each200(control), steps: []step{{says: "fwd=bypass"}, {body: "2"}}},
		{section: "route", name: "cache_key: a cookie", route: "cache_key: [scheme, host, path, query, 'cookie:lang']", script: each200(control), steps: []step{
			{fields: lines{"Cookie: lang=en; a=1"}}, {fields: lines{"Cookie: a=2; lang=en"}, cached: true}, {fields: lines{"Cookie: lang=de"}, body: "2"}, {body: "3"}}},
		{section: "route", name: "cache_key: a header", route: "cache_key: [scheme, host, path, query, 'header:X-A']", script: each200(control), steps: []step{
			{fields: lines{"X-A: 1"}}, {fields: lines{"X-A: 1"}, cached: true}, {fields: lines{"X-A: 2"}, body: "2"}, {body: "3"}}},
	}
	return cases
}

// queryCases say what a route's rules make of the query, in the key and in the
// request to the origin alike.
func queryCases() []conformanceCase {
	const dropping, keeping, sorting = "query: {drop: ['utm_*', '*_id', gclid]}", "query: {keep: [a, 'b*'], drop: [bad]}", "query: {sort: on}"
	// as asks with two queries, the second of which is the first to the cache.
	as := func(route, one, target, other string, cached bool) conformanceCase {
		echo := func(_ int, r origin.Request) origin.Answer {
			return filled(ok200("Cache-Control: max-age=60"), "query "+below(r))
		}
		return conformanceCase{section: "route", name: route + ": " + one + " and " + other, route: route, script: echo, steps: []step{
			{at: one, body: "query " + target}, {at: other, cached: cached}}}
	}
	return []conformanceCase{
		as(dropping, "?a=1&utm_source=x", "?a=1", "?a=1", true), as(dropping, "?utm_source=x", "", "", true), as(dropping, "?utm_source=x&a=1&utm_medium=y", "?a=1", "?gclid=1&a=1&my_id=2", true),
		as(dropping, "?a=1", "?a=1", "?a=2", false), as(dropping, "?utm=1", "?utm=1", "", false), as(dropping, "?%75tm_source=x&a=1", "?a=1", "?a=1", true),
		as(dropping, "?a=utm_x", "?a=utm_x", "", false), as(dropping, "?a=%7Eb+c&gclid", "?a=%7Eb+c", "?a=%7Eb+c", true), as(dropping, "?b=1&a=1", "?b=1&a=1", "?a=1&b=1", false),
		as(keeping, "?a=1&c=2&b1=3&bad=4", "?a=1&b1=3", "?x=9&a=1&b1=3", true), as(keeping, "?c=1", "", "", true), as(keeping, "?a=1&a=2", "?a=1&a=2", "?a=2&a=1", false), as(keeping, "?A=1", "", "", true),
		as(sorting, "?b=1&a=2", "?a=2&b=1", "?a=2&b=1", true), as(sorting, "?b=2&a=1&b=1", "?a=1&b=2&b=1", "?b=2&b=1&a=1", true), as(sorting, "?b=1&b=2", "?b=1&b=2", "?b=2&b=1", false), as(sorting, "", "", "", true),
		{section: "route", name: "query: an unsafe request ends what its canonical query names", route: dropping, script: each200("Cache-Control: max-age=60"), steps: []step{
			{at: "?a=1"}, {method: "POST", at: "?a=1&utm_source=x"}, {at: "?a=1", body: "3"}}},
	}
}

// compressionCases say what a route that compresses answers, and to whom.
func compressionCases() []conformanceCase {
	const route = "compress: {codings: [zstd, br, gzip], types: ['text/*', '*/*+json'], min_size: 100B}"
	text := strings.Repeat("all work and no play makes jack a dull boy\n", 100)
	answer := func(fields ...string) origin.Answer {
		return filled(ok200(append(fields, "Content-Type: text/plain; charset=utf-8")...), text)
	}
	plain := answer("Cache-Control: max-age=60", `ETag: "v"`)
	// wants has an answer stored, and asks for it with an Accept-Encoding.
	wants := func(accept, coding string) conformanceCase {
		then := step{fields: lines{"Accept-Encoding: " + accept}, cached: true, check: decodes(text), lacks: lines{"Content-Encoding"}, has: lines{`ETag: "v"`}}
		if coding != "" {
			then.lacks, then.has = nil, lines{"Content-Encoding: " + coding, `ETag: W/"v"`}
		}
		return conformanceCase{section: "RFC 9110 §12.5.3", name: "Accept-Encoding: " + accept, route: route, script: inTurn(plain), steps: []step{{check: decodes(text)}, then}}
	}
	all := lines{"Accept-Encoding: gzip, br, zstd"}
	untouched := func(name string, a origin.Answer) conformanceCase {
		kept := lines{}
		for _, f := range a.Fields {
			if f.Name != "Cache-Control" {
				kept = append(kept, f.Name+": "+f.Value)
			}
		}
		second := step{fields: all, cached: true, body: string(a.Body), has: kept}
		if !strings.Contains(strings.Join(kept, "\n"), "Content-Encoding") {
			second.lacks = lines{"Content-Encoding"}
		}
		return conformanceCase{section: "RFC 9110 §8.4", name: "untouched: " + name, route: route, script: inTurn(a), steps: []step{{fields: all, body: string(a.Body)}, second}}
	}
	const fresh = "Cache-Control: max-age=60"
	cases := []conformanceCase{
		wants("gzip", "gzip"), wants("br", "br"), wants("zstd", "zstd"), wants("gzip, br, zstd", "zstd"), wants("gzip, br", "br"), wants("GZIP", "gzip"), wants("x-gzip", "gzip"),
		wants("gzip;q=0.5, br;q=0.4", "gzip"), wants("br;q=0, gzip;q=0.1", "gzip"), wants("*", "zstd"), wants("zstd;q=0, *", "br"), wants("gzip;q=0", ""), wants("identity", ""), wants("", ""),
		wants("deflate", ""), wants("*;q=0", ""), wants("identity;q=0.5, gzip;q=0.2", ""), wants("gzip;q=x", ""),
		untouched("a coding of the origin's", filled(ok200(fresh, "Content-Type: text/plain", "Content-Encoding: gzip", `ETag: "v"`), text)),
		untouched("no-transform", answer(fresh+", no-transform", `ETag: "v"`)), untouched("no-transform on another line", answer(fresh, "X-A: 1", "Cache-Control: no-transform")),
		untouched("another type", filled(ok200(fresh, "Content-Type: image/png", `ETag: "v"`), text)), untouched("no type", filled(ok200(fresh, `ETag: "v"`), text)),
		untouched("too small", filled(ok200(fresh, "Content-Type: text/plain", `ETag: "v"`), text[:90])),
		{section: "RFC 9110 §8.4", name: "a structured type", script: inTurn(filled(ok200(fresh, "Content-Type: application/hal+json"), text)), steps: []step{
			{}, {fields: lines{"Accept-Encoding: gzip"}, cached: true, has: lines{"Content-Encoding: gzip"}, check: decodes(text)}}},
		{section: "RFC 9110 §8.4", name: "the origin is asked for no coding", script: func(_ int, r origin.Request) origin.Answer {
			if accept := r.Values("Accept-Encoding"); len(accept) > 0 && !slices.Equal(accept, lines{"identity"}) {
				return coded(406)
			}
			return plain
		}, steps: []step{{fields: all, check: decodes(text)}}},
		{section: "RFC 9110 §12.5.5", name: "each form says that it varies", script: inTurn(plain), steps: []step{
			{check: varies}, {cached: true, check: varies}, {fields: all, cached: true, check: varies}, {fields: lines{"Accept-Encoding: gzip"}, cached: true, check: varies}}},
		{section: "RFC 9110 §12.5.5", name: "an answer that varies by more", script: inTurn(answer(fresh, "Vary: X-A")), steps: []step{
			{fields: lines{"X-A: 1"}}, {fields: append(all, "X-A: 1"), cached: true, check: varies}, {fields: append(all, "X-A: 2"), check: varies}}},
		{section: "RFC 9110 §8.8.3", name: "a condition on a coded form", script: inTurn(plain), steps: []step{
			{}, {fields: append(all, `If-None-Match: W/"v"`), cached: true, status: 304, check: varies}, {fields: append(all, `If-None-Match: "w"`), cached: true, check: decodes(text)}}},
		{section: "RFC 9110 §14.2", name: "a range is of the plain form", script: inTurn(plain), steps: []step{
			{}, {fields: append(all, "Range: bytes=4-7"), cached: true, status: 206, body: "work", lacks: lines{"Content-Encoding"}}}},
		{section: "RFC 9110 §9.3.2", name: "a HEAD of a coded form", script: inTurn(plain), steps: []step{
			{}, {method: "HEAD", fields: lines{"Accept-Encoding: gzip"}, cached: true, has: lines{"Content-Encoding: gzip", `ETag: W/"v"`}}}},
		{section: "RFC 9111 §4.3.4", name: "a coded form is freshened", script: validating(answer(fresh, "Age: 60", `ETag: "v"`), ok200(fresh)), steps: []step{
			{}, {fields: all, sent: lines{`If-None-Match: "v"`}, check: decodes(text)}, {fields: all, cached: true, has: lines{"Content-Encoding: zstd"}, check: decodes(text)}, {cached: true, body: text}}},
	}
	for i := range cases {
		cases[i].route = route
	}
	return cases
}

// varies fails where the answer does not say that it varies by Accept-Encoding.
func varies(t *testing.T, r reply) {
	if v := strings.Join(r.header.Values("Vary"), ","); !strings.Contains(strings.ToLower(v), "accept-encoding") {
		t.Errorf("Vary is %q", v)
	}
}

// decodes fails where the body, decoded as it says, is not text.
func decodes(text string) func(*testing.T, reply) {
	return func(t *testing.T, r reply) {
		var got []byte
		var err error
		coding := r.header.Get("Content-Encoding")
		switch coding {
		case "":
			got = []byte(r.body)
		case "gzip":
			var z *gzip.Reader
			if z, err = gzip.NewReader(strings.NewReader(r.body)); err == nil {
				got, err = io.ReadAll(z)
			}
		case "br":
			got, err = fasthttp.AppendUnbrotliBytes(nil, []byte(r.body))
		case "zstd":
			got, err = fasthttp.AppendUnzstdBytes(nil, []byte(r.body))
		default:
			t.Errorf("Content-Encoding is %q", coding)
		}
		if err != nil || !bytes.Equal(got, []byte(text)) {
			t.Errorf("%s: %d bytes decode to %d, want %d: %v", coding, len(r.body), len(got), len(text), err)
		}
	}
}
