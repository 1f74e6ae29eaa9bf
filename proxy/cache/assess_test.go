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
		{"nothing", "", 200, "", NoFreshness, 0},
		{"only a validator", "", 200, "ETag: \"a\"|Last-Modified: {-1000}", NoFreshness, 0},
		{"only public", "", 200, "Cache-Control: public" + tag, NoFreshness, 0},

		// Numbers, read conservatively.
		{"leading zeros", "", 200, "Cache-Control: max-age=0060", None, 60},
		{"overflow", "", 200, "Cache-Control: max-age=99999999999", None, 1 << 31},
		{"duplicate", "", 200, "Cache-Control: max-age=60, max-age=60", None, 60},
		{"contradiction", "", 200, "Cache-Control: max-age=60, max-age=1" + tag, None, 0},
		{"contradiction on two lines", "", 200, "Cache-Control: max-age=1|Cache-Control: max-age=60" + tag, None, 0},
		{"quoted number", "", 200, "Cache-Control: max-age=\"60\"" + tag, None, 0},
		{"single quotes", "", 200, "Cache-Control: max-age='60'", NoFreshness, 0},
		{"letters", "", 200, "Cache-Control: max-age=60a", NoFreshness, 0},
		{"fraction", "", 200, "Cache-Control: max-age=60.5", NoFreshness, 0},
		{"negative", "", 200, "Cache-Control: max-age=-60", NoFreshness, 0},
		{"space before =", "", 200, "Cache-Control: max-age =60", NoFreshness, 0},
		{"space after =", "", 200, "Cache-Control: max-age= 60", NoFreshness, 0},
		{"bad s-maxage", "", 200, "Cache-Control: s-maxage=x, max-age=60", NoFreshness, 0},
		{"inside a quoted string", "", 200, `Cache-Control: ext="max-age=60"`, NoFreshness, 0},
		{"after a quoted string", "", 200, `Cache-Control: ext="max-age=1, no-store", max-age=60`, None, 60},
		{"open quotation", "", 200, `Cache-Control: max-age=60, ext="a` + tag, None, 0},
		{"unknown directive", "", 200, "Cache-Control: foo bar, max-age=60", None, 60},

		// Age counts.
		{"stale on arrival", "", 200, "Cache-Control: max-age=60|Age: 60", NoFreshness, 0},
		{"stale on arrival, validator", "", 200, "Cache-Control: max-age=60|Age: 61" + tag, None, 60},

		// Who may have it.
		{"no-store", "", 200, "Cache-Control: max-age=60, No-StOrE", ResponseNoStore, 0},
		{"no-store in an open quotation", "", 200, `Cache-Control: max-age=60, a="b, no-store`, ResponseNoStore, 0},
		{"private", "", 200, "Cache-Control: private, max-age=60", Private, 0},
		{"private field", "", 200, `Cache-Control: max-age=60|Cache-Control: private="x"`, Private, 0},
		{"no-cache, no validator", "", 200, "Cache-Control: no-cache, max-age=60", NoFreshness, 0},
		{"no-cache", "", 200, "Cache-Control: no-cache" + tag, None, 0},
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
		{"cookie, bad s-maxage", "", 200, "Cache-Control: s-maxage=\"60\"|Set-Cookie: a=b" + tag, SetCookie, 0},
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
		m, why := Assess(get(t, c.request), c.status, lines(t, c.response), epoch, epoch)
		if why != c.want || why == None && seconds64(m.Lifetime) != c.lifetime {
			t.Errorf("%s: %v, lifetime %v; want %v, %ds", c.name, why, m.Lifetime, c.want, c.lifetime)
		}
	}
	if _, why := Assess(NewRequest("HEAD", nil), 200, lines(t, "Cache-Control: max-age=60"), epoch, epoch); why != Method {
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
	} {
		m, _ := Assess(get(t, ""), 200, lines(t, c.fields), epoch.Add(-c.delay), epoch)
		if m.InitialAge != c.want {
			t.Errorf("%q after %v: %v, want %v", c.fields, c.delay, m.InitialAge, c.want)
		}
	}
}

func TestStoredFields(t *testing.T) {
	sent := "Via: 1.1 a|Connection: X-Hop|Age: 5|Set-Cookie: a=1|X-Hop: 1|Content-Length: 10|Set-Cookie: b=2|" +
		"Keep-Alive: 1|Transfer-Encoding: chunked|Content-Type: text/plain"
	m, _ := Assess(get(t, ""), 200, lines(t, sent), epoch, epoch)
	want := lines(t, "Via: 1.1 a|Set-Cookie: a=1|Set-Cookie: b=2|Content-Type: text/plain|Date: {0}")
	if !slices.Equal(m.Fields, want) {
		t.Errorf("kept %v, want %v", m.Fields, want)
	}
	m, _ = Assess(get(t, ""), 200, lines(t, "Vary: B, a,, A |Date: {-3}|Vary: |Vary: c"), epoch, epoch)
	if want := []string{"a", "b", "c"}; !slices.Equal(m.Vary, want) {
		t.Errorf("vary %v, want %v", m.Vary, want)
	}
	if bad, _ := Assess(get(t, ""), 200, lines(t, "Date: x"), epoch, epoch); !slices.Equal(bad.Fields, lines(t, "Date: {0}")) {
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
		`ETag: a`:            "",
		`ETag: w/"a"`:        "",
		`ETag: "a|ETag: "a"`: "",
		`ETag: "a"|ETag: "b"|Last-Modified: {-9}`: "If-Modified-Since: {-9}",
		`ETag: "a"|Last-Modified: {-9}`:           `If-None-Match: "a"|If-Modified-Since: {-9}`,
		"Last-Modified: yesterday":                "",
	} {
		m, _ := Assess(get(t, ""), 200, lines(t, fields), epoch, epoch)
		if got := Conditions(m); !slices.Equal(got, lines(t, want)) || m.HasValidator() != (want != "") {
			t.Errorf("%q asks %v, want %v", fields, got, want)
		}
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
