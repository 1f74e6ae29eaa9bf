package cache

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFreshen(t *testing.T) {
	const old = `Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|Date: {0}|X: 1|X: 2|Y: 3|Content-Encoding: gzip|Vary: foo`
	for _, c := range []struct {
		name, before, answer string
		want                 Reason
		fields               string // of the new object, where there is one
	}{
		{"bare", old, "", None,
			`Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|X: 1|X: 2|Y: 3|Content-Encoding: gzip|Vary: foo|Date: {90}`},
		{"replaces all lines of a name", old, `ETag: "a"|x: 4|Date: {89}|Vary: Foo`, None,
			`Cache-Control: max-age=60|Last-Modified: {-100}|Y: 3|Content-Encoding: gzip|ETag: "a"|x: 4|Date: {89}|Vary: Foo`},
		{"keeps what describes the body", `Cache-Control: max-age=60|ETag: "a"|Content-Encoding: gzip`,
			"Content-Encoding: br|Content-Length: 0|Content-Range: bytes */9|Connection: Z|Z: 1|Age: 3|Date: {90}", None,
			`Cache-Control: max-age=60|ETag: "a"|Content-Encoding: gzip|Date: {90}`},
		{"a weak tag stays weak", `Cache-Control: max-age=60|ETag: W/"a"`, `ETag: "a"|Date: {90}`, None,
			`Cache-Control: max-age=60|ETag: W/"a"|Date: {90}`},
		{"a strong tag may weaken", `Cache-Control: max-age=60|ETag: "a"`, `ETag: W/"a"|Date: {90}`, None,
			`Cache-Control: max-age=60|ETag: W/"a"|Date: {90}`},
		{"another tag", old, `ETag: "b"`, ValidatorMismatch, ""},
		{"modified later than asked", `Cache-Control: max-age=60|Last-Modified: {-100}`, "Last-Modified: {-99}", ValidatorMismatch, ""},
		{"modified earlier than asked", `Cache-Control: max-age=60|Last-Modified: {-100}`, "Last-Modified: {-101}|Date: {90}", ValidatorMismatch, ""},
		{"the same date otherwise written", "Cache-Control: max-age=60|Last-Modified: {-100}", "Last-Modified: Wed Mar  4 11:58:20 2026|Date: {90}", None,
			"Cache-Control: max-age=60|Last-Modified: Wed Mar  4 11:58:20 2026|Date: {90}"},
		{"a tag of which nothing was known", "Cache-Control: max-age=60|Last-Modified: {-100}", `ETag: "a"`, ValidatorMismatch, ""},
		{"and the date that was", "Cache-Control: max-age=60|Last-Modified: {-100}", `ETag: "a"|Last-Modified: {-100}|Date: {90}`, None,
			`Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|Date: {90}`},
		{"and another date", "Cache-Control: max-age=60|Last-Modified: {-100}", `ETag: "a"|Last-Modified: {-101}`, ValidatorMismatch, ""},
		{"a weak tag of which nothing was known", "Cache-Control: max-age=60|Last-Modified: {-100}", `ETag: W/"a"|Date: {90}`, None,
			`Cache-Control: max-age=60|Last-Modified: {-100}|ETag: W/"a"|Date: {90}`},
		{"a date of which nothing was known", `Cache-Control: max-age=60|ETag: "a"`, "Last-Modified: {-100}|Date: {90}", None,
			`Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|Date: {90}`},
		{"what stands in for a tag", "Cache-Control: max-age=60|ETag: a", "ETag: a|Date: {90}", None, "Cache-Control: max-age=60|ETag: a|Date: {90}"},
		{"a tag is not what stands in for it", "Cache-Control: max-age=60|ETag: a", `ETag: "a"`, ValidatorMismatch, ""},
		{"now no-store", `ETag: "a"|Cache-Control: max-age=60`, "Cache-Control: no-store|Date: {90}", ResponseNoStore,
			`ETag: "a"|Cache-Control: no-store|Date: {90}`},
		{"now private", `ETag: "a"|Cache-Control: max-age=60`, "Cache-Control: private|Date: {90}", Private,
			`ETag: "a"|Cache-Control: private|Date: {90}`},
		{"now with a cookie", `ETag: "a"|Cache-Control: max-age=60`, "Set-Cookie: a=b|Date: {90}", SetCookie,
			`ETag: "a"|Cache-Control: max-age=60|Set-Cookie: a=b|Date: {90}`},
		{"now varies otherwise", old, "Vary: bar|Date: {90}", VaryChanged,
			`Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|X: 1|X: 2|Y: 3|Content-Encoding: gzip|Vary: bar|Date: {90}`},
	} {
		o := stored(t, c.before)
		before := slices.Clone(o.Fields)
		at := epoch.Add(90 * time.Second)
		fresh, why := Freshen(&Policy{}, o, get(t, ""), lines(t, c.answer), at, at)
		if why != c.want || (fresh == nil) != (c.fields == "") {
			t.Errorf("%s: %v with object %v", c.name, why, fresh != nil)
			continue
		}
		if !slices.Equal(o.Fields, before) {
			t.Errorf("%s: the old object changed", c.name)
		}
		if fresh == nil {
			continue
		}
		if want := lines(t, c.fields); !slices.Equal(fresh.Fields, want) {
			t.Errorf("%s: fields\n%v, want\n%v", c.name, fresh.Fields, want)
		}
		if fresh.Key != o.Key || fresh.Epoch != o.Epoch || &fresh.Body[0] != &o.Body[0] {
			t.Errorf("%s: key, epoch or body changed", c.name)
		}
		served := Decide(fresh, get(t, "Cache-Control: max-stale"), at).Action == Serve
		if served != (why == None || why == VaryChanged) {
			t.Errorf("%s: served afterwards: %v", c.name, served)
		}
	}
}

// TestFreshenAuthorized: what the 304 leaves of the permission counts for the
// request on whose behalf it was asked.
func TestFreshenAuthorized(t *testing.T) {
	o := stored(t, `Cache-Control: max-age=60, public|ETag: "a"`)
	rq := get(t, "Authorization: x")
	for answer, want := range map[string]Reason{"": None, "Cache-Control: max-age=60": Authorization} {
		if _, why := Freshen(&Policy{}, o, rq, lines(t, answer), epoch, epoch); why != want {
			t.Errorf("%q: %v, want %v", answer, why, want)
		}
	}
}

func TestFreshenCountsTheNewAge(t *testing.T) {
	o := stored(t, `Cache-Control: max-age=60|Age: 50|ETag: "a"`)
	at := epoch.Add(time.Hour)
	fresh, _ := Freshen(&Policy{}, o, get(t, ""), lines(t, "Age: 5"), at.Add(-time.Second), at)
	if fresh.InitialAge != 6*time.Second || fresh.FillTime != time.Second {
		t.Errorf("age %v after the 304, which took %v", fresh.InitialAge, fresh.FillTime)
	}
}

func TestSizeCountsWhatGrows(t *testing.T) {
	small := stored(t, "Cache-Control: max-age=60")
	long := strings.Repeat("n", 500)
	big := stored(t, "Cache-Control: max-age=60|Vary: "+long+"|X: "+long)
	big.Key, big.Body, big.Groups = small.Key+long, make([]byte, 1000), make([]string, 100)
	big.Groups[0] = long
	const least = 500 + 2*500 + 500 + 990 + 16*100 + 500 // key, fields, names, body, groups
	if d := big.Size() - small.Size(); d < least || d > least+200 {
		t.Errorf("%d bytes more, at least %d expected", d, least)
	}
}
