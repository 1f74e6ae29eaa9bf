package cache

import (
	"strings"
	"time"
)

// form says how a directive was written.
type form uint8

const (
	// bare: a name alone.
	bare form = iota
	// token: name=token.
	token
	// quoted: name="string".
	quoted
	// malformed: the member follows no rule; the next one is not affected.
	malformed
	// unbalanced: a quotation mark stands where none may, so that what follows
	// could be meant as text or as directives.
	unbalanced
)

// directive is one member of a Cache-Control list (RFC 9111, section 5.2).
type directive struct {
	name, arg string
	form      form
}

// nextDirective takes the first member off list, and reports false at its end.
// Commas inside quoted strings do not separate. What follows a quotation mark
// that is never closed is read as directives again: a restriction in it must
// not be lost, and [unbalanced] tells the caller to grant nothing.
func nextDirective(list string) (d directive, rest string, ok bool) {
	for list != "" && (list[0] == ',' || list[0] == ' ' || list[0] == '\t') {
		list = list[1:]
	}
	if list == "" {
		return directive{}, "", false
	}
	n := tokenLen(list)
	d.name, list = list[:n], list[n:]
	if strings.HasPrefix(list, `="`) {
		end := quotedLen(list[1:])
		if end < 0 {
			d.form = unbalanced
			return d, list[2:], true
		}
		d.form, d.arg, list = quoted, list[2:end], list[end+1:]
	} else if strings.HasPrefix(list, "=") {
		n = tokenLen(list[1:])
		d.form, d.arg, list = token, list[1:n+1], list[n+1:]
	}
	junk, rest, _ := strings.Cut(list, ",")
	for i := range len(junk) {
		switch junk[i] {
		case ' ', '\t':
		case '"':
			d.form = unbalanced
		default:
			d.form = max(d.form, malformed)
		}
	}
	return d, rest, true
}

func tokenLen(s string) int {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return i
		}
	}
	return len(s)
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// quotedLen returns the length of the quoted string that s begins with, marks
// included, or -1 if it is not closed.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// seconds reads the argument of a directive that takes a number of seconds. The
// quoted form, which no sender may write (RFC 9111, section 5.2.2.1), is not a
// number: that is the conservative one of two readings.
func seconds(d directive) (time.Duration, bool) {
	if d.form != token {
		return 0, false
	}
	return deltaSeconds(d.arg)
}
