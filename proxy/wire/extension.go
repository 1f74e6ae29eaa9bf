package wire

// isExtensions reports whether b is a list of chunk extensions, each of them
// ";name", ";name=token" or `;name="quoted"`. White space before the semicolon
// and around the name is bad and to be accepted; at the end it is not
// (RFC 9112, section 7.1.1).
func isExtensions(b []byte) bool {
	for len(b) > 0 {
		if b = skipSpace(b); len(b) == 0 || b[0] != ';' {
			return false
		}
		b = skipSpace(b[1:])
		name := tokenLength(b)
		if name == 0 {
			return false
		}
		b = b[name:]
		if after := skipSpace(b); len(after) > 0 && after[0] == '=' {
			b = skipSpace(after[1:])
			value := max(tokenLength(b), quotedLength(b))
			if value == 0 {
				return false
			}
			b = b[value:]
		}
	}
	return true
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// tokenLength returns the length of the token that b begins with.
func tokenLength(b []byte) int {
	for i, c := range b {
		if !tokenBytes[c] {
			return i
		}
	}
	return len(b)
}

// quotedLength returns the length of the quoted string that b begins with, or 0
// (RFC 9110, section 5.6.4).
func quotedLength(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(b) || isControl(b[i]) {
				return 0
			}
		case isControl(c):
			return 0
		}
	}
	return 0
}

// isControl reports whether c is a control byte other than a tab.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }
