package proxy

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestRewrite(t *testing.T) {
	none, sorted := &QueryRules{}, &QueryRules{Sort: true}
	drop := &QueryRules{Drop: []string{"utm_*", "fbclid"}}
	keep := &QueryRules{Keep: []string{"id", "p*"}}
	both := &QueryRules{Keep: []string{"a*"}, Drop: []string{"ab*", "*c"}, Sort: true}
	for _, c := range []struct {
		rules    *QueryRules
		in, want string
	}{
		{nil, "?b&&a", "?b&&a"},
		{none, "", ""},
		{none, "?", "?"},
		{none, "?b&&a&", "?b&&a&"},

		{drop, "", ""},
		{drop, "?", "?"},
		{drop, "?a=1&&b=2&", "?a=1&&b=2&"},
		{drop, "?a=1&utm_source=x", "?a=1"},
		{drop, "?utm_source=x&a=1", "?a=1"},
		{drop, "?b=2&utm_x&a=1&fbclid=&b=1", "?b=2&a=1&b=1"},
		{drop, "?utm_x=1", ""},
		{drop, "?&utm_x=1&", ""},
		{drop, "?&&a&utm_x=1&", "?a"},
		{drop, "?fbclid2=1&xfbclid=1&Fbclid=1", "?fbclid2=1&xfbclid=1&Fbclid=1"},
		{drop, "?a=utm_x&=utm_x&a==fbclid", "?a=utm_x&=utm_x&a==fbclid"},
		{drop, "?%75tm_source=x&f%62clid&%55tm_y=1", "?%55tm_y=1"},
		{drop, "?utm%5Fx=1&utm%5fx=1", ""},
		{drop, "?utm%255Fx=1&utm%5=1&%=1&%u=1", "?utm%255Fx=1&utm%5=1&%=1&%u=1"},
		{drop, "?a=1;utm_x=1&b?utm_x", "?a=1;utm_x=1&b?utm_x"},
		{&QueryRules{Drop: []string{"a b"}}, "?a+b=1&a%20b=2&a%2Bb=3", "?a%2Bb=3"},
		{&QueryRules{Drop: []string{"*"}}, "?a&&b", ""},
		{&QueryRules{Drop: []string{""}}, "?a&&b&=1", "?a&b"},
		{&QueryRules{Drop: []string{"a*z"}}, "?az&abz&abzy&a&zaz", "?abzy&a&zaz"},
		{&QueryRules{Drop: []string{"a*a"}}, "?a&aa", "?a"},
		{&QueryRules{Drop: []string{"a"}}, "?*=1&a%2A", "?*=1&a%2A"},
		{&QueryRules{Drop: []string{"3", "m"}}, "?%zz=1&%6G=1&%G6", "?%zz=1&%6G=1&%G6"}, // no encodings

		{keep, "?page=2&x=1&id=%41&id=+", "?page=2&id=%41&id=+"},
		{keep, "?%69d=1&ID=2", "?%69d=1"},
		{keep, "?x", ""},
		{keep, "?", ""},
		{keep, "?id&", "?id"},

		{sorted, "?", ""},
		{sorted, "?b=2&a=2&b=1&a=1", "?a=2&a=1&b=2&b=1"},
		{sorted, "?b&&a&", "?a&b"},
		{sorted, "?a=1&%61=0&a%3D=1&aa&a", "?a=1&%61=0&a&a%3D=1&aa"},
		{sorted, "?a-=1&a=2", "?a=2&a-=1"}, // by name, not by the whole
		{sorted, "?b" + many("&a", 40), "?" + many("&a", 40)[1:] + "&b"},
		{sorted, "?%C3%A9&z&%ff", "?z&%C3%A9&%ff"},

		{both, "?ad=2&ab=1&x=1&aa=1&ac=1&ad=1", "?aa=1&ad=2&ad=1"},
	} {
		if got := string(c.rules.rewrite([]byte("/path"), c.in)); got != "/path"+c.want {
			t.Errorf("%+v of %q: %q, want %q", c.rules, c.in, got[len("/path"):], c.want)
		}
	}
}

// many repeats a parameter with values that tell the repetitions apart.
func many(param string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(param + "=" + strconv.Itoa(i*7%n))
	}
	return b.String()
}

func TestRewriteAllocatesNothing(t *testing.T) {
	rules := &QueryRules{Keep: []string{"*"}, Drop: []string{"utm_*"}, Sort: true}
	dst := make([]byte, 0, 256)
	for _, query := range []string{"?b=2&%75tm_source=news&a=1&c", "?a=1", "?" + strings.Repeat("b&a&", 15)} {
		if n := testing.AllocsPerRun(100, func() { rules.rewrite(dst, query) }); n != 0 {
			t.Errorf("%q: %v allocations", query, n)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"**", "", true},
		{"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"ab", "a", false},
		{"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false},
		{"a*c", "ac", true}, {"a*c", "abcbc", true}, {"a*c", "abcb", false}, {"a*a", "a", false},
		{"*ab", "aab", true}, {"*ab*", "xaabx", true}, {"*a*b", "bab", true}, {"*a*b", "ba", false},
		{"*/*+json", "application/ld+json", true}, {"*/*+json", "application/json", false},
		{"a?", "ab", false}, {"*", "*", true}, {"a*", "a*b", true}, {"a", "*", false},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("%q of %q: %v", c.pattern, c.s, got)
		}
	}
}

// FuzzRewrite: a canonical query is its own canonical form; a query that the
// rules do not touch keeps its bytes; and parameters are judged by nothing but
// their names, as anybody else decodes them, and keep their bytes.
func FuzzRewrite(f *testing.F) {
	f.Add("a=1&utm_x=2", "", "utm_*", false)
	f.Add("b&%75tm_x&&a=1&", "*a", "b*b", true)
	f.Add("%=1&%zz&+", "%", " ", true)
	f.Fuzz(func(t *testing.T, query, keep, drop string, sorted bool) {
		rules := &QueryRules{Drop: []string{drop}, Sort: sorted}
		if keep != "" {
			rules.Keep = []string{keep}
		}
		query = "?" + query
		got := string(rules.rewrite(nil, query))
		if again := string(rules.rewrite(nil, got)); again != got {
			t.Fatalf("%+v of %q: %q, then %q", rules, query, got, again)
		}
		var want []string
		all := strings.Split(query[1:], "&")
		touched := false
		for _, param := range all {
			name, _, _ := strings.Cut(param, "=")
			keeps := (keep == "" || matches(keep, decoded(name))) && !matches(drop, decoded(name))
			touched = touched || !keeps
			if keeps && param != "" {
				want = append(want, param)
			}
		}
		if !touched && !sorted {
			if got != query {
				t.Fatalf("%+v changed %q to %q", rules, query, got)
			}
			return
		}
		if sorted {
			slices.SortStableFunc(want, func(a, b string) int {
				a, _, _ = strings.Cut(a, "=")
				b, _, _ = strings.Cut(b, "=")
				return strings.Compare(decoded(a), decoded(b))
			})
		}
		text := ""
		if len(want) > 0 {
			text = "?" + strings.Join(want, "&")
		}
		if got != text {
			t.Fatalf("%+v of %q: %q, want %q", rules, query, got, text)
		}
	})
}

// decoded decodes a name by pieces that are certainly encodings.
func decoded(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			if _, err := strconv.ParseUint(name[i+1:i+3], 16, 8); err == nil && name[i+1] != '_' && name[i+2] != '_' {
				s, _ := url.QueryUnescape(name[i : i+3])
				b.WriteString(s)
				i += 2
				continue
			}
		}
		b.WriteString(strings.ReplaceAll(name[i:i+1], "+", " "))
	}
	return b.String()
}

// matches compares with a pattern by trying every place for each "*".
func matches(pattern, s string) bool {
	before, rest, star := strings.Cut(pattern, "*")
	if !star || !strings.HasPrefix(s, before) {
		return s == pattern && !star
	}
	if strings.Count(rest, "*") > 3 {
		return glob(pattern, s) // too many to try
	}
	for i := len(before); i <= len(s); i++ {
		if matches(rest, s[i:]) {
			return true
		}
	}
	return false
}

func BenchmarkRewrite(b *testing.B) {
	dst := make([]byte, 0, 256)
	for name, rules := range map[string]*QueryRules{
		"drop": {Drop: []string{"utm_*", "fbclid"}}, "sort": {Sort: true},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst = rules.rewrite(dst[:0], "?page=2&utm_source=news&id=17&utm_medium=mail")
			}
		})
	}
}
