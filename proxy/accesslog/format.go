package accesslog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Format is the form of lines. It is immutable. The zero value is of no use.
type Format struct {
	json   bool
	pieces []piece
	end    string // behind the last piece
}

// piece is a field, and what stands before it.
type piece struct {
	before string
	*field
}

// combined is the format that goes by this name, whose second and third field
// nobody fills.
const combined = `{client} - - [{clf_time}] "{method} {target} {protocol}" {status} {bytes} "{referer}" "{user_agent}"`

// The bounds of a template.
const (
	maxTemplate = 4 << 10 // bytes
	maxPieces   = 64
)

// UnknownField is the name of a field that there is not. It is an error of
// [ParseFormat].
type UnknownField string

// Error implements error.
func (u UnknownField) Error() string { return fmt.Sprintf("unknown field {%s}", string(u)) }

// ParseFormat reads the name of a format, json or combined, or a template, in
// which {field} stands for a value and {{ and }} for braces.
//
// In JSON a field without a value is left out. In the other two a - stands for it,
// and quotes, backslashes and all bytes that are not visible ASCII are \xHH. A
// target is cut off after 8 KiB, any other text after 2 KiB.
func ParseFormat(text string) (Format, error) {
	switch text {
	case "json":
		return jsonFormat(), nil
	case "combined":
		text = combined
	}
	var f Format
	if len(text) > maxTemplate {
		return f, fmt.Errorf("a template of more than %d bytes", maxTemplate)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return f, errors.New("a template of more than visible ASCII")
	}
	var before strings.Builder
	for rest := text; rest != ""; {
		at := strings.IndexAny(rest, "{}")
		if at < 0 {
			at = len(rest)
		}
		before.WriteString(rest[:at])
		if rest = rest[at:]; rest == "" {
			break
		}
		if len(rest) > 1 && rest[0] == rest[1] {
			before.WriteByte(rest[0])
			rest = rest[2:]
			continue
		}
		name, after, closed := strings.Cut(rest[1:], "}")
		if rest[0] == '}' || !closed {
			return f, fmt.Errorf("a lone %c; write %c%c for the character itself", rest[0], rest[0], rest[0])
		}
		i := slices.IndexFunc(fields[:], func(f field) bool { return f.name == name })
		if i < 0 {
			return f, UnknownField(name)
		}
		f.pieces = append(f.pieces, piece{before.String(), &fields[i]})
		before.Reset()
		rest = after
	}
	f.end = before.String() + "\n"
	if n := len(f.pieces); n == 0 || n > maxPieces {
		return f, fmt.Errorf("a template of %d fields, where there may be 1 to %d", n, maxPieces)
	}
	return f, nil
}

func jsonFormat() Format {
	f := Format{json: true, end: "}\n"}
	before := "{"
	for i := range fields {
		if !fields[i].templates {
			f.pieces = append(f.pieces, piece{before + `"` + fields[i].name + `":`, &fields[i]})
			before = ","
		}
	}
	return f
}

// Append appends the line of an entry, with its end. It allocates only where dst
// is too small.
func (f Format) Append(dst []byte, e *Entry) []byte {
	for i := range f.pieces {
		if p := &f.pieces[i]; f.json {
			dst = p.appendJSON(dst, e)
		} else {
			dst = p.appendText(dst, e)
		}
	}
	return append(dst, f.end...)
}

// appendJSON appends nothing where there is no value.
func (p *piece) appendJSON(dst []byte, e *Entry) []byte {
	if p.text != nil {
		s := p.text(e)
		if s == "" {
			return dst
		}
		return appendQuoted(append(dst, p.before...), s[:min(len(s), p.limit)])
	}
	was := len(dst)
	dst = append(dst, p.before...)
	if !p.bare {
		dst = append(dst, '"')
	}
	begin := len(dst)
	switch dst = p.plain(dst, e); {
	case len(dst) == begin:
		return dst[:was]
	case p.bare:
		return dst
	}
	return append(dst, '"')
}

func (p *piece) appendText(dst []byte, e *Entry) []byte {
	dst = append(dst, p.before...)
	begin := len(dst)
	if p.text != nil {
		s := p.text(e)
		dst = appendEscaped(dst, s[:min(len(s), p.limit)])
	} else {
		dst = p.plain(dst, e)
	}
	if len(dst) == begin {
		return append(dst, '-')
	}
	return dst
}
