package cache

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAssess(t *testing.T) {
	const tag = `|ETag: "a"`
	for _, c := range []struct {
		name, request string
		status        int
		response      string
		want          Reason
		lifetime      int64 // seconds; looked at where the response is storable
	}{
		// RFC 9111, section 4.2.1: whence the lifetime comes.
		{"max-age", "", 200, "Cache-Control: max-age=60", None, 60},
		{"name in any case", "", 200, "cache-control: MaX-aGe=60", None, 60},
		{"s-maxage is longer", "", 200, "Cache-Control: max-age=1, s-maxage=60", None, 60},
		{"s-maxage is shorter", "", 200, "Cache-Control: s-maxage=1|Cache-Control: max-age=60", None, 1},
		{"max-age before Expires", "", 200, "Cache-Control: max-age=60|Expires: {-100}|Date: {0}", None, 60},
		{"max-age before bad Expires", "", 200, "Cache-Control: max-age=60|Expires: 0", None, 60},
		{"max-age=0 before Expires", "", 200, "Cache-Control: max-age=0|Expires: {100}" + tag, None, 0},
		{"Expires minus Date", "", 200, "Expires: {90}|Date: {-10}", None, 100},
		{"Expires minus receipt", "", 200, "Expires: {90}", None, 90},
		{"Expires twice the same", "", 200, "Expires: {90}|Expires: {90}", None, 90},
		{"Expires twice", "", 200, "Expires: {90}|Expires: {91}" + tag, None, 0},
		{"Expires invalid", "", 200, "Expires: 0" + tag, None, 0},
		{"Expires invalid, no validator", "", 200, "Expires: 0", NoFreshness, 0},
		{"Expires past", "", 200, "Expires: {-90}|Date: {0}" + tag, None, 0},
		{"Expires far off", "", 200, "Expires: Fri, 31 Dec 9999 23:59:59 GMT", None, 1 << 31},
		{"Expires long ago", "", 200, "Expires: Mon, 01 Jan 0001 00:00:00 GMT" + tag, None, 0},
		{"Expires in the form of RFC 850", "", 200, "Expires: Wednesday, 04-Mar-26 12:01:00 GMT", None, 60},
		{"Expires in the form of asctime", "", 200, "Expires: Wed Mar  4 12:01:00 2026", None, 60},
		{"Expires, other cases", "", 200, "Expires: WED, 04 mAr 2026 12:01:00 gmt", None, 60},
		{"Expires, one-digit day", "", 200, "Expires: Wed, 4 Mar 2026 12:01:00 GMT", NoFreshness, 0},
		{"Expires, two spaces", "", 200, "Expires: Wed, 04 Mar 2026  12:01:00 GMT", NoFreshness, 0},
		{"Expires, other zone", "", 200, "Expires: Wed, 04 Mar 2026 12:01:00 +0000", NoFreshness, 0},
		{"Expires at Date", "", 200, "Expires: {0}|Date: {0}", NoFreshness, 0},
		{"Expires and Date ahead", "", 200, "Expires: {300}|Date: {400}", NoFreshness, 0},
		{"Expires, unreadable Date", "", 200, "Expires: {90}|Date: x", None, 90},
		{"Expires, older than its Age", "", 200, "Expires: {10}|Date: {-10}|Age: 25", NoFreshness, 0},
		{"Expires, then another invalid", "", 200, "Expires: {90}|Expires: 0", NoFreshness, 0},
		{"nothing", "", 200, "", NoFreshness, 0},
		{"Pragma says nothing", "", 200, "Cache-Control: max-age=60|Pragma: no-cache", None, 60},
		{"stale-while-revalidate is no lifetime", "", 200, "Cache-Control: stale-while-revalidate=60", NoFreshness, 0},
		{"only a validator", "", 200, "ETag: \"a\"|Last-Modified: {-1000}", NoFreshness, 0},
		{"only public", "", 200, "Cache-Control: public" + tag, NoFreshness, 0},

		// Numbers, read conservatively.
		{"leading zeros", "", 200, "Cache-Control: max-age=0060", None, 60},
		{"overflow", "", 200, "Cache-Control: max-age=99999999999", None, 1 << 31},
		{"duplicate", "", 200, "Cache-Control: max-age=60, max-age=60", None, 60},
		{"contradiction", "", 200, "Cache-Control: max-age=60, max-age=1" + tag, None, 0},
		{"contradiction on two lines", "", 200, "Cache-Control: max-age=1|Cache-Control: max-age=60" + tag, None, 0},
		{"quoted number", "", 200, "Cache-Control: max-age=\"60\"" + tag, None, 0},
		{"quoted and not, the same", "", 200, `Cache-Control: max-age="60", max-age=60` + tag, None, 0},
		{"quoted and not, another", "", 200, `Cache-Control: max-age="60", max-age=6` + tag, None, 0},
		{"quoted letters", "", 200, `Cache-Control: max-age="6x"`, NoFreshness, 0},
		{"quoted nothing", "", 200, `Cache-Control: max-age=""`, NoFreshness, 0},
		{"quoted, escaped", "", 200, `Cache-Control: max-age="6\0"`, NoFreshness, 0},
		{"single quotes", "", 200, "Cache-Control: max-age='60'", NoFreshness, 0},
		{"letters", "", 200, "Cache-Control: max-age=60a", NoFreshness, 0},
		{"fraction", "", 200, "Cache-Control: max-age=60.5", NoFreshness, 0},
		{"negative", "", 200, "Cache-Control: max-age=-60", NoFreshness, 0},
		{"space before =", "", 200, "Cache-Control: max-age =60", NoFreshness, 0},
		{"space after =", "", 200, "Cache-Control: max-age= 60", NoFreshness, 0},
		{"bad s-maxage", "", 200, "Cache-Control: s-maxage=x, max-age=60", NoFreshness, 0},
		{"s-maxage in letters alone", "", 200, "Cache-Control: s-maxage=x" + tag, None, 0},
		{"negative s-maxage", "", 200, "Cache-Control: s-maxage=-1, max-age=60", NoFreshness, 0},
		{"max-age alone", "", 200, "Cache-Control: max-age" + tag, None, 0},
		{"max-age empty", "", 200, "Cache-Control: max-age=|Expires: {90}", NoFreshness, 0},
		{"sign", "", 200, "Cache-Control: max-age=+60", NoFreshness, 0},
		{"overflow of all digits", "", 200, "Cache-Control: max-age=" + strings.Repeat("9", 400), None, 1 << 31},
		{"an extension with a value", "", 200, "Cache-Control: foo=bar, max-age=60, immutable, a=\"b,c\"", None, 60},
		{"semicolon", "", 200, "Cache-Control: max-age=60; public", NoFreshness, 0},
		{"inside a quoted string", "", 200, `Cache-Control: ext="max-age=60"`, NoFreshness, 0},
		{"after a quoted string", "", 200, `Cache-Control: ext="max-age=1, no-store", max-age=60`, None, 60},
		{"open quotation", "", 200, `Cache-Control: max-age=60, ext="a` + tag, None, 0},
		{"unknown directive", "", 200, "Cache-Control: foo bar, max-age=60", None, 60},

		// Age counts.
		{"stale on arrival", "", 200, "Cache-Control: max-age=60|Age: 60", NoFreshness, 0},
		{"stale on arrival, validator", "", 200, "Cache-Control: max-age=60|Age: 61" + tag, None, 60},
		{"stale on arrival, in its window", "", 200, "Cache-Control: max-age=60, stale-while-revalidate=2|Age: 61", None, 60},
		{"stale on arrival, in the longer window", "", 200, "Cache-Control: max-age=60, stale-while-revalidate=9, stale-if-error=1|Age: 65", None, 60},
		{"stale on arrival, past its window", "", 200, "Cache-Control: max-age=60, stale-if-error=2|Age: 62", NoFreshness, 0},
		{"stale at once, for errors", "", 200, "Cache-Control: max-age=0, stale-if-error=60", None, 0},
		{"stale at once, for errors, forbidden", "", 200, "Cache-Control: max-age=0, stale-if-error=60, must-revalidate", NoFreshness, 0},
		{"old by Date", "", 200, "Cache-Control: max-age=60|Date: {-60}", NoFreshness, 0},

		// Who may have it.
		{"no-store", "", 200, "Cache-Control: max-age=60, No-StOrE", ResponseNoStore, 0},
		{"no-store in an open quotation", "", 200, `Cache-Control: max-age=60, a="b, no-store`, ResponseNoStore, 0},
		{"private", "", 200, "Cache-Control: private, max-age=60", Private, 0},
		{"private field", "", 200, `Cache-Control: max-age=60|Cache-Control: private="x"` + tag, None, 60},
		{"private field, no validator", "", 200, `Cache-Control: max-age=60|Cache-Control: private="x"`, NoFreshness, 0},
		{"private field and private", "", 200, `Cache-Control: private="x", max-age=60, private` + tag, Private, 0},
		{"private, no field", "", 200, `Cache-Control: private="", max-age=60` + tag, Private, 0},
		{"private, only commas", "", 200, `Cache-Control: private=" ,", max-age=60` + tag, Private, 0},
		{"private, no field name", "", 200, `Cache-Control: private="a b", max-age=60` + tag, Private, 0},
		{"private=token", "", 200, "Cache-Control: private=x, max-age=60" + tag, Private, 0},
		{"private, open quotation", "", 200, `Cache-Control: max-age=60, private="x` + tag, Private, 0},
		{"private, what reuse needs", "", 200, `Cache-Control: max-age=60, private="x, content-encoding"` + tag, Private, 0},
		{"private, its own control", "", 200, `Cache-Control: max-age=60, private="Cache-Control"` + tag, Private, 0},
		{"private, many fields", "", 200, `Cache-Control: max-age=60, private="` + strings.Repeat("x,", 33) + `"` + tag, Private, 0},
		{"private and public", "", 200, "Cache-Control: public, private, max-age=60", Private, 0},

		// RFC 9111, section 5.2.2.3.
		{"must-understand", "", 200, "Cache-Control: must-understand, max-age=60, no-store", None, 60},
		{"must-understand, unknown", "", 599, "Cache-Control: must-understand, max-age=60, no-store", MustUnderstand, 0},
		{"must-understand, unknown, no no-store", "", 299, "Cache-Control: must-understand, max-age=60", MustUnderstand, 0},
		{"must-understand, no status", "", 306, "Cache-Control: must-understand, max-age=60", MustUnderstand, 0},
		{"must-understand=1 lifts nothing", "", 200, "Cache-Control: must-understand=1, max-age=60, no-store", ResponseNoStore, 0},
		{"must-understand=1 forbids", "", 418, "Cache-Control: must-understand=1, max-age=60", MustUnderstand, 0},
		{"must-understand, quotes open", "", 200, `Cache-Control: must-understand, no-store, max-age=60, a="` + tag, ResponseNoStore, 0},
		{"must-understand, private", "", 200, "Cache-Control: must-understand, no-store, max-age=60, private", Private, 0},
		{"must-understand, part", "", 206, "Cache-Control: must-understand, no-store, max-age=60", Partial, 0},
		{"no-cache, no validator", "", 200, "Cache-Control: no-cache, max-age=60", NoFreshness, 0},
		{"no-cache", "", 200, "Cache-Control: no-cache" + tag, None, 0},
		{"no-cache, a status that says nothing", "", 201, "Cache-Control: no-cache" + tag, NoFreshness, 0}, // section 3
		{"no-cache and public", "", 201, "Cache-Control: no-cache, public" + tag, None, 0},
		{"no-cache and max-age", "", 201, "Cache-Control: no-cache, max-age=60" + tag, None, 60},
		{"no-cache, an error", "", 403, "Cache-Control: no-cache" + tag, NoFreshness, 0},
		{"no-cache, not found", "", 404, "Cache-Control: no-cache" + tag, None, 0},
		{"no-cache, not found, only a date", "", 404, "Cache-Control: no-cache|Last-Modified: {-9}", NoFreshness, 0},
		{"no-cache field", "", 200, "Cache-Control: no-cache=\"x\", max-age=60|Last-Modified: {-9}", None, 60},
		{"authorized", "Authorization: x", 200, "Cache-Control: max-age=60", Authorization, 0},
		{"authorized, public", "Authorization: x", 200, "Cache-Control: max-age=60, public", None, 60},
		{"authorized, s-maxage", "Authorization: x", 200, "Cache-Control: s-maxage=60", None, 60},
		{"authorized, must-revalidate", "Authorization: x", 200, "Cache-Control: max-age=60, must-revalidate", None, 60},
		{"authorized, proxy-revalidate", "Authorization: x", 200, "Cache-Control: max-age=60, proxy-revalidate", Authorization, 0},
		{"authorized, public in quotes", "Authorization: x", 200, `Cache-Control: max-age=60, a="public"`, Authorization, 0},
		{"authorized, public=1", "Authorization: x", 200, "Cache-Control: max-age=60, public=1", Authorization, 0},
		{"authorized, quotes open", "Authorization: x", 200, `Cache-Control: max-age=60, a="b, public, must-revalidate` + tag, Authorization, 0},
		{"cookie", "", 200, "Cache-Control: max-age=60|Set-Cookie: a=b", SetCookie, 0},
		{"cookie, public", "", 200, "Cache-Control: max-age=60, public|Set-Cookie: a=b", None, 60},
		{"cookie, s-maxage", "", 200, "Cache-Control: s-maxage=60|Set-Cookie: a=b", None, 60},
		{"cookie, bad s-maxage", "", 200, "Cache-Control: s-maxage=x60|Set-Cookie: a=b" + tag, SetCookie, 0},
		{"cookie, must-revalidate", "", 200, "Cache-Control: max-age=60, must-revalidate|Set-Cookie: a=b", SetCookie, 0},
		{"client no-store", "Cache-Control: no-store", 200, "Cache-Control: max-age=60", RequestNoStore, 0},

		// What it is.
		{"vary *", "", 200, "Cache-Control: max-age=60|Vary: a|Vary: , *", VaryStar, 0},
		{"vary after an empty line", "", 200, "Cache-Control: max-age=60|Vary: |Vary: *", VaryStar, 0},
		{"vary on what is no name", "", 200, "Cache-Control: max-age=60|Vary: a b", VaryStar, 0},
		{"vary without end", "", 200, "Cache-Control: max-age=60|Vary: " + strings.Repeat("abc,", 400), VaryTooLong, 0},
		{"204", "", 204, "Cache-Control: max-age=60", None, 60},
		{"redirect", "", 302, "Cache-Control: max-age=60", None, 60},
		{"not found", "", 404, "Expires: {60}", None, 60},
		{"unknown 2xx", "", 299, "Cache-Control: max-age=60", None, 60},
		{"unknown 5xx", "", 599, "Cache-Control: max-age=60", None, 60},
		{"interim", "", 103, "Cache-Control: max-age=60", StatusNotStorable, 0},
		{"partial", "", 206, "Cache-Control: max-age=60", Partial, 0},
		{"not modified", "", 304, "Cache-Control: max-age=60", StatusNotStorable, 0},
		{"range refused", "Range: bytes=9-", 416, "Cache-Control: max-age=60", StatusNotStorable, 0},
		{"condition failed", "If-None-Match: *", 412, "Cache-Control: max-age=60", StatusNotStorable, 0},
		{"condition failed by itself", "", 412, "Cache-Control: max-age=60", None, 60},
	} {
		m, why := Assess(&Policy{}, get(t, c.request), c.status, lines(t, c.response), epoch, epoch)
		if why != c.want || why == None && seconds64(m.Lifetime) != c.lifetime {
			t.Errorf("%s: %v, lifetime %v; want %v, %ds", c.name, why, m.Lifetime, c.want, c.lifetime)
		}
	}
	if _, why := Assess(&Policy{}, NewRequest(&Policy{}, "HEAD", nil), 200, lines(t, "Cache-Control: max-age=60"), epoch, epoch); why != Method {
		t.Errorf("the response to a HEAD: %v", why)
	}
}

func TestInitialAge(t *testing.T) {
	for _, c := range []struct {
		fields string
		delay  time.Duration
		want   time.Duration
	}{
		{"", 0, 0},
		{"Date: {-10}", 0, 10 * time.Second},
		{"Date: {+10}", 0, 0}, // a clock that is ahead makes nothing fresher
		{"Date: nonsense", 0, 0},
		{"Age: 20|Date: {-10}", 0, 20 * time.Second},
		{"Age: 20", 1500 * time.Millisecond, 21500 * time.Millisecond},
		{"Age: 7200, 0", 0, 2 * time.Hour},
		{"Age: 0, 7200", 0, 0},
		{"Age: 7200|Age: 0", 0, 2 * time.Hour},
		{"Age: -7200", 0, 0},
		{"Age: 7200.0", 0, 0},
		{"Age: abc", 0, 0},
		{"Age: 99999999999999999999", 0, maxDelta},
		{"Age: 2147483647", 0, maxDelta - time.Second},
		{"Age: 0, 0", 0, 0},
		{"Age: 0|Age: 7200", 0, 0},
		{"Age: +5", 0, 0},
		{"Age: 7200;a=1", 0, 0},
		{"Age: 007", 0, 7 * time.Second},
	} {
		m, _ := Assess(&Policy{}, get(t, ""), 200, lines(t, c.fields), epoch.Add(-c.delay), epoch)
		if m.InitialAge != c.want {
			t.Errorf("%q after %v: %v, want %v", c.fields, c.delay, m.InitialAge, c.want)
		}
	}
}

func TestStoredFields(t *testing.T) {
	sent := "Via: 1.1 a|Connection: X-Hop|Age: 5|Set-Cookie: a=1|X-Hop: 1|Content-Length: 10|Set-Cookie: b=2|" +
		"Keep-Alive: 1|Transfer-Encoding: chunked|Content-Type: text/plain"
	m, _ := Assess(&Policy{}, get(t, ""), 200, lines(t, sent), epoch, epoch)
	want := lines(t, "Via: 1.1 a|Set-Cookie: a=1|Set-Cookie: b=2|Content-Type: text/plain|Date: {0}")
	if !slices.Equal(m.Fields, want) {
		t.Errorf("kept %v, want %v", m.Fields, want)
	}
	m, _ = Assess(&Policy{}, get(t, ""), 200, lines(t, "Vary: B, a,, A |Date: {-3}|Vary: |Vary: c"), epoch, epoch)
	if want := []string{"a", "b", "c"}; !slices.Equal(m.Vary, want) {
		t.Errorf("vary %v, want %v", m.Vary, want)
	}
	if bad, _ := Assess(&Policy{}, get(t, ""), 200, lines(t, "Date: x"), epoch, epoch); !slices.Equal(bad.Fields, lines(t, "Date: {0}")) {
		t.Errorf("an unreadable Date gave %v", bad.Fields)
	}
	if m.Fields.Get("Date") != lines(t, "Date: {-3}").Get("Date") || m.Fields.Count("Date") != 1 {
		t.Errorf("the origin's Date did not survive: %v", m.Fields)
	}
}

func TestValidators(t *testing.T) {
	for fields, want := range map[string]string{
		"":                   "",
		`ETag: "a"`:          `If-None-Match: "a"`,
		`ETag: W/"a"`:        `If-None-Match: W/"a"`,
		`ETag: ""`:           `If-None-Match: ""`,
		"ETag: a":            "If-None-Match: a",
		"ETag: W/a":          "If-None-Match: W/a",
		`ETag: w/"a"`:        `If-None-Match: w/"a"`,
		`ETag: W\"a"`:        `If-None-Match: W\"a"`,
		"ETag: *":            "",
		"ETag: W/":           "",
		"ETag: a, b":         "",
		"ETag: a,b":          "",
		"ETag: a b":          "",
		`ETag: "a", "b"`:     "",
		`ETag: "a`:           "",
		"ETag: ":             "",
		`ETag: "a|ETag: "a"`: "",
		`ETag: "a"|ETag: "b"|Last-Modified: {-9}`: "If-Modified-Since: {-9}",
		`ETag: "a"|Last-Modified: {-9}`:           `If-None-Match: "a"|If-Modified-Since: {-9}`,
		"Last-Modified: yesterday":                "",
	} {
		m, _ := Assess(&Policy{}, get(t, ""), 200, lines(t, fields), epoch, epoch)
		if got := Conditions(m); !slices.Equal(got, lines(t, want)) || m.hasValidator() != (want != "") {
			t.Errorf("%q asks %v, want %v", fields, got, want)
		}
	}
	for status, want := range map[int]string{
		299: `If-None-Match: "a"|If-Modified-Since: {-9}`, 300: `If-None-Match: "a"`, 404: `If-None-Match: "a"`, 500: `If-None-Match: "a"`,
	} {
		m, _ := Assess(&Policy{}, get(t, ""), status, lines(t, `ETag: "a"|Last-Modified: {-9}`), epoch, epoch)
		if got := Conditions(m); !slices.Equal(got, lines(t, want)) {
			t.Errorf("a stored %d asks %v, want %v", status, got, want)
		}
	}
}

// TestWithheld: what private="names" lists is in no field that others get (RFC
// 9111, section 5.2.2.7).
func TestWithheld(t *testing.T) {
	const head = `Cache-Control: max-age=60, private="X-Me, set-cookie"|ETag: "a"|Set-Cookie: a=1|x-me: 1|Y: 2|Set-Cookie: b=2`
	for _, status := range []int{200, 206} { // stored or not
		m, _ := Assess(&Policy{}, get(t, ""), status, lines(t, head), epoch, epoch)
		if want := lines(t, `Cache-Control: max-age=60, private="X-Me, set-cookie"|ETag: "a"|Y: 2|Date: {0}`); !slices.Equal(m.Fields, want) {
			t.Errorf("%d: everybody gets %v", status, m.Fields)
		}
		if want := lines(t, "Set-Cookie: a=1|x-me: 1|Set-Cookie: b=2"); !slices.Equal(m.Withheld, want) {
			t.Errorf("%d: the requester gets %v besides", status, m.Withheld)
		}
	}
	o := stored(t, head)
	if d := Decide(o, get(t, "Cache-Control: max-stale"), epoch); d.Action != Revalidate || d.Reason != MustRevalidate {
		t.Errorf("used without validation: %v, %v", d.Action, d.Reason)
	}
	fresh, why := Freshen(&Policy{}, o, get(t, ""), lines(t, "X-Me: 2|Y: 3|Date: {9}"), epoch, epoch)
	if why != None || fresh.Fields.Has("X-Me") || fresh.Fields.Get("Y") != "3" || fresh.Withheld.Get("X-Me") != "2" {
		t.Errorf("the 304 left %v and withheld %v (%v)", fresh.Fields, fresh.Withheld, why)
	}
}

func TestStripConditions(t *testing.T) {
	sent := lines(t, "Host: a|if-match: x|If-None-Match: x|If-Modified-Since: x|If-Unmodified-Since: x|If-Range: x|Range: x|Accept: x")
	if got, want := StripConditions(nil, sent), lines(t, "Host: a|Accept: x"); !slices.Equal(got, want) {
		t.Errorf("left %v", got)
	}
	if got := StripConditions(sent[:0], sent); len(got) != 2 {
		t.Errorf("in place left %v", got)
	}
}
