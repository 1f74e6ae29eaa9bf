package accesslog

import (
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// isPlain reports whether a byte may stand in a line as it is, in every format.
func isPlain(c byte) bool { return ' ' <= c && c < 0x7f && c != '"' && c != '\\' }

// appendQuoted appends s as a JSON string (RFC 8259, section 7) of ASCII alone, so
// that no reader sees the end of a line in it, nor a terminal a command. A byte
// that is not part of UTF-8 becomes U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if isPlain(c) {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c < utf8.RuneSelf:
			dst = appendUnit(dst, rune(c))
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if high, low := utf16.EncodeRune(r); r > 0xffff {
				dst = appendUnit(appendUnit(dst, high), low)
			} else {
				dst = appendUnit(dst, r)
			}
			i += size
		}
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// appendUnit appends a unit of UTF-16.
func appendUnit(dst []byte, u rune) []byte {
	return append(dst, '\\', 'u', hexDigits[u>>12&0xf], hexDigits[u>>8&0xf], hexDigits[u>>4&0xf], hexDigits[u&0xf])
}

// appendEscaped appends s with \xHH in place of quotes, backslashes and all that
// is not visible ASCII, which is what most readers of the combined format know.
func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		if c := s[i]; !isPlain(c) {
			dst = append(dst, s[start:i]...)
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&0xf])
			start = i + 1
		}
	}
	return append(dst, s[start:]...)
}
