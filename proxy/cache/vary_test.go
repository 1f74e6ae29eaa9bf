package cache

import (
	"slices"
	"strings"
	"testing"

	"ringfence/proxy/wire"
)

func TestAppendVariant(t *testing.T) {
	for _, c := range []struct {
		vary, a, b string
		same       bool
	}{
		{"", "Foo: 1", "Foo: 2", true},
		{"foo", "Foo: 1|Bar: 1", "Bar: 2|fOO: 1", true},
		{"foo", "Foo: 1", "Foo: 2", false},
		{"foo", "Foo: a", "Foo: A", false},
		{"foo", "Foo: ", "", false}, // empty is not absent
		{"foo", "", "", true},
		{"foo", "Foo: 1|Foo: 2", "Foo: 1, 2", true},
		{"foo", "Foo: 1,2", "Foo: 1 ,\t2", true},
		{"foo", "Foo: 1, 2", "Foo: 2, 1", false},
		{"foo", "Foo: 12", "Foo: 1 2", false},
		{"foo", `Foo: "1, 2"`, `Foo: "1,2"`, false},
		{"foo", `Foo: "\", 2"`, `Foo: "\",2"`, false},
		{"foo", "Foo: |Foo: 1", "Foo: 1", false},
		{"foo", `Foo: "1", "2, 3"`, `Foo: "1","2, 3"`, true},
		{"foo", `Foo: "\", \", 3`, `Foo: "\",\",3`, true},
		{"foo", `Foo: "1, 2`, `Foo: "1,2`, true}, // quotes nothing
		{"bar,foo", "Foo: 1", "Bar: 1", false},
		{"bar,foo", "Bar: 1|Foo: ", "Bar: |Foo: 1", false},

		{"accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: BR,GZip", true},
		{"accept-encoding", "Accept-Encoding: gzip|Accept-Encoding: br", "Accept-Encoding: br,,gzip", true},
		{"accept-encoding", "Accept-Encoding: gzip;q=1.0", "Accept-Encoding: gzip", true},
		{"accept-encoding", "Accept-Encoding: gzip ; Q=0.500", "Accept-Encoding: gzip;q=0.5", true},
		{"accept-encoding", "Accept-Encoding: gzip;q=0.0", "Accept-Encoding: gzip;q=0", true},
		{"accept-encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip", false},
		{"accept-encoding", "Accept-Encoding: gzip;q=1, br;q=0.5", "Accept-Encoding: gzip;q=0.5, br", false},
		{"accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip, br", false},
		{"accept-encoding", "Accept-Encoding: ", "", false},
		// What breaks the grammar is no other spelling of what keeps it.
		{"accept-encoding", "Accept-Encoding: gz ip", "Accept-Encoding: gzip", false},
		{"accept-encoding", "Accept-Encoding: gzip;q=1.5", "Accept-Encoding: gzip", false},
		{"accept-encoding", "Accept-Encoding: gzip;q=1.", "Accept-Encoding: gzip;q=1..", false},
		{"accept-encoding", "Accept-Encoding: gzip;q=0.0000", "Accept-Encoding: gzip;q=0", false},
		{"accept-encoding", "Accept-Encoding: gzip;q=", "Accept-Encoding: gzip", false},
		{"accept-language", "Accept-Language: en-GB;q=0.8, de", "Accept-Language: DE, EN-gb;q=0.8", true},
		{"accept-language", "Accept-Language: en, de;q=0.8", "Accept-Language: de, en;q=0.8", false},
		{"accept", "Accept: a/b, c/d", "Accept: c/d, a/b", false},
	} {
		vary := strings.FieldsFunc(c.vary, func(r rune) bool { return r == ',' })
		a, b := AppendVariant(nil, vary, lines(t, c.a)), AppendVariant(nil, vary, lines(t, c.b))
		if (string(a) == string(b)) != c.same {
			t.Errorf("%q against %q under %v: same is %v\n%q\n%q", c.a, c.b, vary, !c.same, a, b)
		}
	}
	one := AppendVariant([]byte("key"), []string{"a"}, lines(t, "A: x|B: x"))
	if other := AppendVariant([]byte("key"), []string{"b"}, lines(t, "A: x|B: x")); string(one) == string(other) {
		t.Error("the names do not count")
	}
}

// FuzzAppendVariant: order and lines do not matter to preferences, lines and
// white space not to others, and what stands before the variant stays.
func FuzzAppendVariant(f *testing.F) {
	f.Add("gzip;q=0.5", "br", "deflate, *;q=0")
	f.Add("a \t", " b;q=1.000", ",;q=")
	f.Add(strings.Repeat("x,", 40), "y", `"a`)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		vary := []string{"accept-encoding", "foo"}
		fields := func(values ...string) wire.Fields {
			out := wire.Fields{{Name: "Foo", Value: strings.Join(values, ",")}}
			for _, v := range values {
				out = append(out, wire.Field{Name: "Accept-Encoding", Value: wire.TrimSpace(v)})
			}
			return out
		}
		one := AppendVariant([]byte("key"), vary[:1], fields(a, b, c))
		two := AppendVariant([]byte("key"), vary[:1], fields(c, a, b))
		members := strings.Count(a+b+c, ",") + 3
		if string(one) != string(two) && members <= maxPreferences || string(one[:3]) != "key" {
			t.Fatalf("%q and %q", one, two)
		}
		again := fields(a, b, c)
		slices.Reverse(again[1:])
		again[0].Value = " " + again[0].Value + "\t"
		one, two = AppendVariant(nil, vary, fields(a, b, c)), AppendVariant(nil, vary, again)
		if string(one) != string(two) && members <= maxPreferences {
			t.Fatalf("%q and %q", one, two)
		}
	})
}
