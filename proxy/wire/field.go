// Package wire reads and writes the parts of HTTP/1.1 messages (RFC 9112) that
// a proxy must keep byte for byte: field lines in order, response heads,
// message framing and chunked bodies.
//
// Everything here is a pure function of its arguments, or a reader that owns
// nothing but its own cursor.
package wire

import (
	"errors"
	"fmt"
	"strings"
)

// Field is one field line: a name as it was sent and a value without the
// optional white space around it (RFC 9110, section 5).
type Field struct {
	Name, Value string
}

// Fields is a list of field lines in the order in which they were sent;
// repeated names stay repeated lines. Names are compared without regard to
// case. A Fields value is safe for concurrent reading.
type Fields []Field

// ErrField says that a field line breaks the grammar of RFC 9112, section 5.
var ErrField = errors.New("malformed field line")

// Index returns the place of the first line called name at or after from, or
// -1. A loop over all lines of one name needs no allocation:
//
//	for i := f.Index(name, 0); i >= 0; i = f.Index(name, i+1) { ... }
func (f Fields) Index(name string, from int) int {
	for i := from; i < len(f); i++ {
		if EqualFold(f[i].Name, name) {
			return i
		}
	}
	return -1
}

// Has reports whether there is a line called name.
func (f Fields) Has(name string) bool { return f.Index(name, 0) >= 0 }

// Get returns the value of the first line called name, or "".
func (f Fields) Get(name string) string {
	if i := f.Index(name, 0); i >= 0 {
		return f[i].Value
	}
	return ""
}

// Count returns how many lines are called name.
func (f Fields) Count(name string) int {
	n := 0
	for i := f.Index(name, 0); i >= 0; i = f.Index(name, i+1) {
		n++
	}
	return n
}

// Joined returns the values of all lines called name as the one list they
// stand for (RFC 9110, section 5.3), and whether there was any line. It
// allocates only where there are several lines.
func (f Fields) Joined(name string) (string, bool) {
	i := f.Index(name, 0)
	if i < 0 {
		return "", false
	}
	next := f.Index(name, i+1)
	if next < 0 {
		return f[i].Value, true
	}
	var b strings.Builder
	b.WriteString(f[i].Value)
	for ; next >= 0; next = f.Index(name, next+1) {
		b.WriteString(", ")
		b.WriteString(f[next].Value)
	}
	return b.String(), true
}

// HasToken reports whether one of the lines called name lists token, compared
// without regard to case (RFC 9110, section 5.6.1).
func (f Fields) HasToken(name, token string) bool {
	for i := f.Index(name, 0); i >= 0; i = f.Index(name, i+1) {
		for rest, item := f[i].Value, ""; rest != ""; {
			item, rest = NextItem(rest)
			if EqualFold(item, token) {
				return true
			}
		}
	}
	return false
}

// Clone returns a copy of f that shares no memory with it, with room for extra
// more lines.
func (f Fields) Clone(extra int) Fields {
	size := 0
	for _, line := range f {
		size += len(line.Name) + len(line.Value)
	}
	var b strings.Builder
	b.Grow(size)
	for _, line := range f {
		b.WriteString(line.Name)
		b.WriteString(line.Value)
	}
	all, at := b.String(), 0
	cut := func(n int) string {
		s := all[at : at+n]
		at += n
		return s
	}
	out := make(Fields, len(f), len(f)+extra)
	for i, line := range f {
		out[i] = Field{Name: cut(len(line.Name)), Value: cut(len(line.Value))}
	}
	return out
}

// NextItem splits the first member off a comma-separated list that holds no
// quoted strings, without the white space around it. Empty members come back
// as "".
func NextItem(list string) (item, rest string) {
	item, rest, _ = strings.Cut(list, ",")
	return TrimSpace(item), rest
}

// TrimSpace cuts optional white space, which is spaces and tabs only
// (RFC 9110, section 5.6.3), from both ends.
func TrimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// EqualFold reports whether a and b are the same but for the case of ASCII
// letters.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// ParseFields appends the field lines of block to dst. The block ends each
// line with CRLF or LF, the last one with nothing at will, and may end with
// the empty line that closes a head. The fields point into block. Refused with
// [ErrField], in responses too, where a proxy might mend them: a name that is
// not a token, white space around a name, line folding, and control bytes in a
// value, a CR of its own among them (RFC 9112, sections 2.2, 5.1 and 5.2).
func ParseFields(dst Fields, block string) (Fields, error) {
	for block != "" {
		var line string
		line, block = cutLine(block)
		if line == "" {
			if block != "" {
				return dst, fmt.Errorf("%w: an empty line inside the head", ErrField)
			}
			break
		}
		f, err := parseField(line)
		if err != nil {
			return dst, err
		}
		dst = append(dst, f)
	}
	return dst, nil
}

// parseField reads one field line.
func parseField(line string) (Field, error) {
	colon := strings.IndexByte(line, ':')
	if colon < 0 || !IsToken(line[:colon]) {
		return Field{}, fmt.Errorf("%w: %.60q has no valid name", ErrField, line)
	}
	value := TrimSpace(line[colon+1:])
	if !IsFieldValue(value) {
		return Field{}, fmt.Errorf("%w: control byte in the value of %.60q", ErrField, line[:colon])
	}
	return Field{Name: line[:colon], Value: value}, nil
}

// cutLine takes the first line off block, without its CRLF or LF.
func cutLine(block string) (line, rest string) {
	line, rest, ended := strings.Cut(block, "\n")
	if ended {
		line = strings.TrimSuffix(line, "\r")
	}
	return line, rest
}

// IsToken reports whether s is a token (RFC 9110, section 5.6.2).
func IsToken(s string) bool {
	for i := range len(s) {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

// IsFieldValue reports whether s has no control bytes but tabs, as a field's
// value must not (RFC 9110, section 5.5). It looks at
// eight bytes at a time and slows down where one of them looks like one.
func IsFieldValue(s string) bool {
	for len(s) >= 8 {
		if mayHoldControl(word(s)) {
			break
		}
		s = s[8:]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// word returns the first eight bytes of s.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// mayHoldControl reports whether one of the eight bytes of x is below a space
// or DEL. A borrow from such a byte can make its neighbour look like one, never
// hide it.
func mayHoldControl(x uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	del := x ^ 0x7f*ones
	return ((x-' '*ones)&^x|(del-ones)&^del)&highs != 0
}

// AppendFields appends the lines to dst, each closed with CRLF.
func AppendFields(dst []byte, fields Fields) []byte {
	for _, f := range fields {
		dst = AppendField(dst, f.Name, f.Value)
	}
	return dst
}

// AppendField appends one line, closed with CRLF, to dst.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// tokenBytes marks the bytes a token may hold.
var tokenBytes = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()
