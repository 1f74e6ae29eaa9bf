package cache

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNextDirective(t *testing.T) {
	type list []directive
	b := directive{name: "b"}
	for in, want := range map[string]list{
		"":                           nil,
		" , ,, ":                     nil,
		"no-store":                   {{name: "no-store"}},
		"a, b ,c":                    {{name: "a"}, b, {name: "c"}},
		"max-age=60 , b":             {{"max-age", "60", token}, b},
		"max-age='60'":               {{"max-age", "'60'", token}},
		"max-age=":                   {{"max-age", "", token}},
		"=5, b":                      {{"", "5", token}, b},
		`ext="a, max-age=1", b`:      {{"ext", "a, max-age=1", quoted}, b},
		`ext="a\", no-store", b`:     {{"ext", `a\", no-store`, quoted}, b},
		"max-age =60, b":             {{"max-age", "", malformed}, b},
		"max-age= 60, b":             {{"max-age", "", malformed}, b},
		"max-age=60; public, b":      {{"max-age", "60", malformed}, b},
		"stale while revalidate, b":  {{"stale", "", malformed}, b},
		"no-store\x80, b":            {{"no-store", "", malformed}, b},
		`ext="a"no-store, b`:         {{"ext", "a", malformed}, b},
		`ext="a, no-store`:           {{"ext", "", unbalanced}, {name: "a"}, {name: "no-store"}},
		`"a, no-store", b`:           {{"", "", unbalanced}, {"no-store", "", unbalanced}, b},
		`max-age=1"no-store, x", b`:  {{"max-age", "1", unbalanced}, {"x", "", unbalanced}, b},
		`ext="a, no-store, c="d", b`: {{"ext", "a, no-store, c=", unbalanced}, b},
	} {
		var got list
		for d, rest, ok := nextDirective(in); ok; d, rest, ok = nextDirective(rest) {
			got = append(got, d)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q reads as %v, want %v", in, got, want)
		}
	}
}

func TestDeltaSeconds(t *testing.T) {
	for in, want := range map[string]int64{ // -1: refused
		"0": 0, "60": 60, "003600": 3600, "2147483647": 1<<31 - 1, "2147483648": 1 << 31,
		"99999999999": 1 << 31, "99999999999999999999999999": 1 << 31,
		"": -1, "-1": -1, "+1": -1, "1.0": -1, "1a": -1, "a1": -1, "'60'": -1, " 1": -1,
	} {
		d, ok := deltaSeconds(in)
		if ok != (want >= 0) || ok && d != time.Duration(want)*time.Second {
			t.Errorf("deltaSeconds(%q) = %v, %v", in, d, ok)
		}
	}
}

// FuzzDirectives: the tokenizer always moves on, and a restriction that stands
// as a member of its own, at the front or at the end, is never lost.
func FuzzDirectives(f *testing.F) {
	f.Add(`public, max-age=60`)
	f.Add(`ext="a, no-store`)
	f.Add(`a="\`)
	f.Fuzz(func(t *testing.T, list string) {
		for rest := list; ; {
			_, tail, ok := nextDirective(rest)
			if !ok {
				break
			}
			if len(tail) >= len(rest) {
				t.Fatalf("%q was not shortened: %q", rest, tail)
			}
			rest = tail
		}
		for _, s := range []string{"no-store, " + list, list + "\n, no-store"} {
			c := control{}
			for _, line := range strings.Split(s, "\n") {
				for d, rest, ok := nextDirective(line); ok; d, rest, ok = nextDirective(rest) {
					c = withDirective(c, d)
				}
			}
			if !c.noStore {
				t.Fatalf("no-store was lost from %q", s)
			}
		}
	})
}
