package cache

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"ringfence/proxy/wire"
)

// TestTargeted: CDN-Cache-Control replaces Cache-Control and Expires, or counts
// for nothing (RFC 9213, section 2.2).
func TestTargeted(t *testing.T) {
	const tag, year = `|ETag: "a"`, "|Cache-Control: max-age=31536000|Expires: {31536000}"
	for _, c := range []struct {
		name, request, response string
		want                    Reason
		lifetime                int64
	}{
		{"longer", "", "CDN-Cache-Control: max-age=60|Cache-Control: max-age=1", None, 60},
		{"shorter", "", "CDN-Cache-Control: max-age=1" + year, None, 1},
		{"zero", "", "CDN-Cache-Control: max-age=0" + year, NoFreshness, 0},
		{"over no-store", "", "CDN-Cache-Control: max-age=60|Cache-Control: no-store", None, 60},
		{"over private", "", "CDN-Cache-Control: max-age=60|Cache-Control: private", None, 60},
		{"no-store", "", "CDN-Cache-Control: no-store" + year, ResponseNoStore, 0},
		{"private", "", "CDN-Cache-Control: private" + year, Private, 0},
		{"no-cache", "", "CDN-Cache-Control: no-cache" + year, NoFreshness, 0},
		{"no-cache, validator", "", "CDN-Cache-Control: no-cache" + year + tag, None, 0},
		{"Expires does not count", "", "CDN-Cache-Control: foo" + year, NoFreshness, 0},
		{"Age does", "", "CDN-Cache-Control: max-age=60|Age: 60", NoFreshness, 0},
		{"over a bad Expires", "", "CDN-Cache-Control: max-age=60|Expires: 0", None, 60},
		{"s-maxage", "", "CDN-Cache-Control: s-maxage=60, max-age=1", None, 60},
		{"huge", "", "CDN-Cache-Control: max-age=99999999999", None, 1 << 31},
		{"extension", "", "CDN-Cache-Control: foo=(a b);c, max-age=60;ext=1", None, 60},
		{"two lines", "", "CDN-Cache-Control: foo|CDN-Cache-Control: max-age=60" + year, None, 60},
		{"the last of a name", "", "CDN-Cache-Control: max-age=1, max-age=60", None, 60},

		// What does not parse, or is empty.
		{"no dictionary", "", "CDN-Cache-Control: max-age=60, &&&|Cache-Control: no-store", ResponseNoStore, 0},
		{"no dictionary, second line", "", "CDN-Cache-Control: no-store|CDN-Cache-Control: =|Cache-Control: max-age=9", None, 9},
		{"space before =", "", "CDN-Cache-Control: max-age =60|Cache-Control: max-age=9", None, 9},
		{"space after =", "", "CDN-Cache-Control: max-age= 60|Cache-Control: max-age=9", None, 9},
		{"upper case", "", "CDN-Cache-Control: Max-Age=60|Cache-Control: max-age=9", None, 9},
		{"comma at the end", "", "CDN-Cache-Control: no-store,|Cache-Control: max-age=9", None, 9},
		{"too many digits", "", "CDN-Cache-Control: max-age=1234567890123456|Cache-Control: max-age=9", None, 9},
		{"empty", "", "CDN-Cache-Control: |Cache-Control: max-age=9", None, 9},

		// RFC 9213, section 2.1: wrong types.
		{"max-age string", "", `CDN-Cache-Control: max-age="60"` + year, NoFreshness, 0},
		{"max-age decimal", "", "CDN-Cache-Control: max-age=60.0" + year, NoFreshness, 0},
		{"max-age token", "", "CDN-Cache-Control: max-age=sixty" + year, NoFreshness, 0},
		{"max-age alone", "", "CDN-Cache-Control: max-age" + year, NoFreshness, 0},
		{"max-age negative", "", "CDN-Cache-Control: max-age=-60" + year, NoFreshness, 0},
		{"max-age date", "", "CDN-Cache-Control: max-age=@60" + year, NoFreshness, 0},
		{"max-age list", "", "CDN-Cache-Control: max-age=(60)" + year, NoFreshness, 0},
		{"no-store=?0", "", "CDN-Cache-Control: no-store=?0, max-age=60", None, 60},
		{"no-store=?1", "", "CDN-Cache-Control: no-store=?1, max-age=60", ResponseNoStore, 0},
		{"no-store=0", "", "CDN-Cache-Control: no-store=0, max-age=60", ResponseNoStore, 0},
		{"private as a string", "", `CDN-Cache-Control: private="x", max-age=60` + tag, None, 60},
		{"private as a list", "", "CDN-Cache-Control: private=(x), max-age=60" + tag, Private, 0},

		{"authorized", "Authorization: x", "CDN-Cache-Control: max-age=60|Cache-Control: public", Authorization, 0},
		{"authorized, public", "Authorization: x", "CDN-Cache-Control: max-age=60, public", None, 60},
		{"authorized, public=?0", "Authorization: x", "CDN-Cache-Control: max-age=60, public=?0", Authorization, 0},
		{"authorized, public=1", "Authorization: x", "CDN-Cache-Control: max-age=60, public=1", Authorization, 0},
		{"cookie", "", "CDN-Cache-Control: max-age=60|Set-Cookie: a=b", None, 60},
		{"cookie, elsewhere public", "", "CDN-Cache-Control: foo|Cache-Control: public, max-age=60|Set-Cookie: a=b", SetCookie, 0},
		{"cookie, bad lifetime", "", `CDN-Cache-Control: max-age="60"|Set-Cookie: a=b` + tag, SetCookie, 0},
	} {
		m, why := Assess(&Policy{}, get(t, c.request), 200, lines(t, c.response), epoch, epoch)
		if why != c.want || why == None && seconds64(m.Lifetime) != c.lifetime {
			t.Errorf("%s: %v, lifetime %v; want %v, %ds", c.name, why, m.Lifetime, c.want, c.lifetime)
		}
		if !m.Fields.Has("CDN-Cache-Control") {
			t.Errorf("%s: the field is not sent on", c.name)
		}
	}
	// Without a lifetime of its own, the response is one of which nothing is said.
	m, why := Assess(&Policy{DefaultTTL: time.Minute}, get(t, ""), 200, lines(t, "CDN-Cache-Control: none|Cache-Control: no-store"), epoch, epoch)
	if why != None || m.Lifetime != time.Minute || m.Source.IsExplicit() {
		t.Errorf("an unknown directive alone: %v, %v", why, m.Lifetime)
	}
	if m, _ := Assess(&Policy{}, get(t, ""), 200, lines(t, "CDN-Cache-Control: max-age=1, stale-while-revalidate=5, stale-if-error=7"), epoch, epoch); m.StaleWhileRevalidate != 5*time.Second || m.StaleOnError != 7*time.Second {
		t.Errorf("windows %v and %v", m.StaleWhileRevalidate, m.StaleOnError)
	}
}

func TestGroups(t *testing.T) {
	for in, want := range map[string][]string{ // RFC 9875, section 2
		`Cache-Groups: "b", "a";x=1, "b"`:        {"a", "b"},
		`Cache-Groups: "a"|Cache-Groups: "B, c"`: {"B, c", "a"},
		`Cache-Groups: "a\"\\"`:                  {`a"\`},
		`Cache-Groups: "a", b`:                   nil,
		`Cache-Groups: ("a" "b"), "c"`:           nil,
		`Cache-Groups: "a",`:                     nil,
		`Cache-Groups: `:                         nil,
		"":                                       nil,
	} {
		if got := stored(t, "Cache-Control: max-age=60|"+in).Groups; !slices.Equal(got, want) {
			t.Errorf("%q: %q", in, got)
		}
		in = strings.ReplaceAll(in, "Cache-Groups", "Cache-Group-Invalidation")
		for _, c := range []struct {
			method string
			status int
			obeyed bool
		}{{"POST", 200, true}, {"FOO", 303, true}, {"GET", 200, false}, {"HEAD", 200, false}, {"OPTIONS", 200, false}, {"POST", 400, false}, {"PUT", 500, false}} {
			if got := InvalidatedGroups(c.method, c.status, lines(t, in)); !slices.Equal(got, want[:len(want)*count(c.obeyed)]) {
				t.Errorf("%s, %d with %q: %q", c.method, c.status, in, got)
			}
		}
	}
	for _, c := range []struct {
		groups, most int
		want         Reason
	}{{32, 0, None}, {33, 0, TooManyTags}, {64, 64, None}, {65, 64, TooManyTags}} {
		m, why := Assess(&Policy{MaxTags: c.most}, get(t, ""), 200, lines(t, "Cache-Control: max-age=60|Cache-Groups: "+manyGroups(c.groups)), epoch, epoch)
		if why != c.want || len(m.Groups) != c.groups {
			t.Errorf("%d groups of %d: %v, kept %d", c.groups, c.most, why, len(m.Groups))
		}
	}
	if got := InvalidatedGroups("POST", 200, lines(t, "Cache-Group-Invalidation: "+manyGroups(300))); len(got) != maxInvalidated {
		t.Errorf("%d groups invalidated at once", len(got))
	}
	fresh, _ := Freshen(&Policy{}, stored(t, `Cache-Control: max-age=60|Cache-Groups: "a"|ETag: "a"`), get(t, ""), lines(t, `Cache-Groups: "b"`), epoch, epoch)
	if !slices.Equal(fresh.Groups, []string{"b"}) {
		t.Errorf("after the 304 it belongs to %q", fresh.Groups)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func manyGroups(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `, "g%d"`, i)
	}
	return b.String()[2:]
}

// FuzzGroups: what was written is read again, whatever else is there nothing
// panics, and no group is listed twice.
func FuzzGroups(f *testing.F) {
	f.Add(`"a", "b";q=1`, "c")
	f.Add(`("a" b), ?1`, `\"`)
	f.Add(`"`, "é")
	f.Fuzz(func(t *testing.T, list, name string) {
		got := readGroups(wire.Fields{{Name: "Cache-Groups", Value: list}}, "Cache-Groups")
		for i := 1; i < len(got); i++ {
			if got[i-1] >= got[i] {
				t.Fatalf("%q gave %q", list, got)
			}
		}
		written, err := httpsfv.Marshal(httpsfv.List{httpsfv.NewItem(name)})
		if err != nil {
			return
		}
		got = readGroups(wire.Fields{{Name: "Cache-Groups", Value: written}, {Name: "cache-groups", Value: written}}, "Cache-Groups")
		if !slices.Equal(got, []string{name}) {
			t.Fatalf("%q was read as %q", name, got)
		}
	})
}

// plainMembers are directives alone, or with digits.
var plainMembers = regexp.MustCompile(`^[a-z-]+(=[0-9]+)?( *, *[a-z-]+(=[0-9]+)?)*$`)

// FuzzTargeted: no-store is not lost from what parses, what does not parse
// changes nothing, and no lifetime is out of bounds.
func FuzzTargeted(f *testing.F) {
	f.Add("max-age=60, public")
	f.Add("s-maxage=7, must-revalidate, stale-if-error=9, foo=1, private, no-cache")
	f.Add(`max-age="60", private="a, b"`)
	f.Add("no-store=?0, a=(1 2);b, c=:aGk=:, d=@1, e=%\"x\"")
	f.Fuzz(func(t *testing.T, value string) {
		head := wire.Fields{{Name: "CDN-Cache-Control", Value: value}, {Name: "Cache-Control", Value: "max-age=77"}}
		c := readControl(head)
		if c.maxAge.value < 0 || c.maxAge.value > maxDelta || c.unbalanced {
			t.Fatalf("%q: %+v", value, c)
		}
		if !c.targeted && (c.maxAge.value != 77*time.Second || c.noStore) {
			t.Fatalf("%q does not parse and gave %+v", value, c)
		}
		// As Cache-Control, plain members without repetition mean the same.
		if plainMembers.MatchString(value) && c.targeted {
			names, _ := httpsfv.UnmarshalDictionary([]string{value})
			same := readControl(wire.Fields{{Name: "Cache-Control", Value: value}})
			same.targeted = true
			if len(names.Names()) == strings.Count(value, ",")+1 && !reflect.DeepEqual(same, c) {
				t.Fatalf("%q: %+v, and as Cache-Control %+v", value, c, same)
			}
		}
		head = append(head, wire.Field{Name: "CDN-Cache-Control", Value: "no-store"})
		if c := readControl(head); c.targeted && !c.noStore {
			t.Fatalf("no-store was lost behind %q", value)
		}
	})
}
