package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// lines makes fields of "Name: value" strings.
func lines(all ...string) Fields {
	var f Fields
	for _, line := range all {
		name, value, _ := strings.Cut(line, ": ")
		f = append(f, Field{Name: name, Value: value})
	}
	return f
}

// TestParseFields covers RFC 9112, section 5, and the line endings of section 2.2.
func TestParseFields(t *testing.T) {
	for _, tt := range []struct {
		name, block string
		want        Fields // nil: refused
	}{
		{"one", "A: b\r\n", lines("A: b")},
		{"order, case and repetition", "b: 2\r\nA: 1\r\nB: 3\r\n", lines("b: 2", "A: 1", "B: 3")},
		{"closing empty line", "A: b\r\n\r\n", lines("A: b")},
		{"no fields", "\r\n", Fields{}},
		{"nothing", "", Fields{}},
		{"bare LF", "A: b\nC: d\n\n", lines("A: b", "C: d")},
		{"last line open", "A: b\r\nC: d", lines("A: b", "C: d")},
		{"white space around a value", "A: \t b c \t\r\nD:e\r\n", lines("A: b c", "D: e")},
		{"empty value", "A:\r\nB: \t\r\n", lines("A: ", "B: ")},
		{"colons in a value", "A: b:c: d\r\n", lines("A: b:c: d")},
		{"every token byte", "!#$%&'*+-.^_`|~09azAZ: v\r\n", lines("!#$%&'*+-.^_`|~09azAZ: v")},
		{"obs-text and tab in a value", "A: \xe4\tb\xff\r\n", lines("A: \xe4\tb\xff")},
		{"space before the colon", "A : b\r\n", nil},
		{"space before the name", " A: b\r\n", nil},
		{"folded line", "A: b\r\n c\r\n", nil},
		{"folded with tab", "A: b\r\n\tc\r\n", nil},
		{"no colon", "A\r\n", nil},
		{"no name", ": b\r\n", nil},
		{"name with a space", "A B: c\r\n", nil},
		{"name with a slash", "A/B: c\r\n", nil},
		{"name outside ASCII", "\xc3\xa4: c\r\n", nil},
		{"NUL", "A: b\x00c\r\n", nil},
		{"DEL", "A: b\x7f\r\n", nil},
		{"bare CR", "A: b\rC: d\r\n", nil},
		{"CR before CRLF", "A: b\r\r\n", nil},
		{"CR at the open end", "A: b\r", nil},
		{"CR alone", "\r", nil},
		{"empty line inside", "A: b\r\n\r\nC: d\r\n", nil},
		{"empty line first", "\nC: d\r\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseFields(nil, tt.block)
			switch {
			case tt.want == nil && !errors.Is(err, ErrField):
				t.Errorf("got %q, %v; want it refused", got, err)
			case tt.want != nil && (err != nil || !slices.Equal(got, tt.want)):
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestParseFieldsAppends(t *testing.T) {
	first := lines("A: 1")
	got, err := ParseFields(first, "B: 2\r\n")
	if want := lines("A: 1", "B: 2"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestFieldsLookup(t *testing.T) {
	f := lines("Accept: a", "X: 1", "ACCEPT: b, c", "Empty: ", "accept: d")
	for _, tt := range []struct {
		name, get, joined string
		count             int
	}{
		{"accept", "a", "a, b, c, d", 3},
		{"x", "1", "1", 1},
		{"EMPTY", "", "", 1},
		{"absent", "", "", 0},
		{"accep", "", "", 0},
		{"", "", "", 0},
	} {
		joined, ok := f.Joined(tt.name)
		if f.Get(tt.name) != tt.get || joined != tt.joined || f.Count(tt.name) != tt.count ||
			ok != (tt.count > 0) || f.Has(tt.name) != (tt.count > 0) {
			t.Errorf("%q: get %q, joined %q (%v), has %v, count %d; want %+v",
				tt.name, f.Get(tt.name), joined, ok, f.Has(tt.name), f.Count(tt.name), tt)
		}
	}
}

// TestHasToken covers the lists of RFC 9110, section 5.6.1.
func TestHasToken(t *testing.T) {
	for _, tt := range []struct {
		list []string
		want bool
	}{
		{[]string{"C: close"}, true},
		{[]string{"C: CLOSE"}, true},
		{[]string{"C: a,close"}, true},
		{[]string{"C: ,, \t close\t ,"}, true},
		{[]string{"C: a", "X: y", "c: b, close"}, true},
		{[]string{"C: closed"}, false},
		{[]string{"C: clos e"}, false},
		{[]string{"C: a;close"}, false},
		{[]string{"D: close"}, false},
		{[]string{"C: "}, false},
		{nil, false},
	} {
		if got := lines(tt.list...).HasToken("C", "close"); got != tt.want {
			t.Errorf("%q: got %v", tt.list, got)
		}
	}
}

func TestEqualFoldKnowsOnlyASCII(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"aZ-09", "Az-09", true}, {"a", "b", false}, {"a", "aa", false},
		{"@", "`", false}, {"[", "{", false}, {"k", "\u212a", false}, {"\xc4", "\xe4", false},
	} {
		if got := EqualFold(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: got %v", tt.a, tt.b, got)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	block := []byte("A: 1\r\nB: \r\nLonger-Name: a longer value\r\n")
	f, err := ParseFields(nil, string(block))
	if err != nil {
		t.Fatal(err)
	}
	c := f.Clone(2)
	if !slices.Equal(c, f) {
		t.Fatalf("got %q, want %q", c, f)
	}
	if cap(c)-len(c) < 2 {
		t.Errorf("room for %d more lines, want 2", cap(c)-len(c))
	}
	f[0] = Field{"changed", "changed"}
	if c[0] != (Field{"A", "1"}) {
		t.Errorf("the copy changed with the original: %q", c[0])
	}
	if got := (Fields)(nil).Clone(0); len(got) != 0 {
		t.Errorf("clone of nothing: %q", got)
	}
}

func FuzzParseFields(f *testing.F) {
	for _, seed := range []string{"A: b\r\nC: d\r\n\r\n", "A:\n", "A: b\r\n c\r\n", "A : b\r\n", "a: \xff\r\r\n", "\r", "\n\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, block string) {
		fields, err := ParseFields(nil, block)
		if err != nil {
			return
		}
		for _, line := range fields {
			if !IsToken(line.Name) || TrimSpace(line.Value) != line.Value || strings.ContainsAny(line.Value, "\r\n\x00") {
				t.Fatalf("accepted %q", line)
			}
		}
		again, err := ParseFields(nil, string(AppendFields(nil, fields)))
		if err != nil || !slices.Equal(again, fields) {
			t.Fatalf("%q written and read again: %q, %v", fields, again, err)
		}
	})
}

// TestFieldValueByteByByte: where a byte stands makes no difference.
func TestFieldValueByteByByte(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				b := []byte(strings.Repeat("\xff", size))
				b[at] = byte(c)
				want := c >= ' ' && c != 0x7f || c == '\t'
				if got := IsFieldValue(string(b)); got != want {
					t.Fatalf("%q: got %v", b, got)
				}
			}
		}
	}
}
