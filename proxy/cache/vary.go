package cache

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"ringfence/proxy/wire"
)

// maxVary is how many bytes the field names in a Vary may take in all. A
// response with more is not stored, so that what is remembered about a URI
// stays small.
const maxVary = 1024

// parseVary returns the field names of all Vary lines in lower case, sorted,
// each once. "*" anywhere, and anything that is no field name, gives
// [VaryStar]: the request's fields alone do not select such a response
// (RFC 9110, section 12.5.5).
func parseVary(fields wire.Fields) ([]string, Reason) {
	var names []string
	size := 0
	for i := fields.Index("Vary", 0); i >= 0; i = fields.Index("Vary", i+1) {
		for item, rest := "", fields[i].Value; rest != ""; {
			item, rest = wire.NextItem(rest)
			switch {
			case item == "":
			case item == "*" || !wire.IsToken(item):
				return nil, VaryStar
			default:
				if size += len(item); size <= maxVary {
					names = append(names, strings.ToLower(item))
				}
			}
		}
	}
	if size > maxVary {
		return nil, VaryTooLong
	}
	slices.Sort(names)
	return slices.Clip(slices.Compact(names)), None
}

// AppendVariant appends to dst what tells the variants of one URI apart: the
// names in vary, and what the request's fields say under each. Two requests
// select the same variant if and only if the bytes are equal (RFC 9111,
// section 4.1). vary must be in the form of [Meta].Vary; an empty list appends
// nothing. It allocates only where dst is too small.
//
// Several lines and one joined line are the same, and so is white space around
// commas outside quoted strings. Accept-Encoding and Accept-Language are
// compared without regard to case, white space, order and the spelling of a
// weight. A field that is absent is not one that is empty.
func AppendVariant(dst []byte, vary []string, f wire.Fields) []byte {
	for _, name := range vary {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(name)))
		dst = append(dst, name...)
		i := f.Index(name, 0)
		if i < 0 {
			dst = append(dst, absentField...)
			continue
		}
		prefix := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		if name == "accept-encoding" || name == "accept-language" {
			dst = appendPreferences(dst, name, f, i)
		} else {
			dst = appendLines(dst, name, f, i)
		}
		binary.BigEndian.PutUint32(dst[prefix:], uint32(len(dst)-prefix-4))
	}
	return dst
}

// VariantField is what one field of a variant says.
type VariantField struct {
	Name, Value string
	// Absent: requests of the variant lack the field.
	Absent bool
}

// ReadVariant is the reverse of [AppendVariant]: what the fields of a variant
// say, in the form in which they are compared. What was not made by it gives the
// fields up to the first fault. They share memory with variant.
func ReadVariant(variant string) (fields []VariantField) {
	for variant != "" {
		name, rest, ok := cutVariant(variant)
		if !ok {
			return fields
		}
		if strings.HasPrefix(rest, absentField) {
			fields, variant = append(fields, VariantField{Name: name, Absent: true}), rest[len(absentField):]
			continue
		}
		var value string
		if value, variant, ok = cutVariant(rest); !ok {
			return fields
		}
		fields = append(fields, VariantField{Name: name, Value: value})
	}
	return fields
}

// absentField stands for the length of a field that is absent.
const absentField = "\xff\xff\xff\xff"

// cutVariant takes a text off s, which its length is before.
func cutVariant(s string) (text, rest string, ok bool) {
	if len(s) < 4 {
		return "", "", false
	}
	n := uint64(s[0])<<24 | uint64(s[1])<<16 | uint64(s[2])<<8 | uint64(s[3])
	if n > uint64(len(s)-4) {
		return "", "", false
	}
	return s[4 : 4+n], s[4+n:], true
}

// appendLines joins the lines called name, the first of which is at first, and
// drops the white space around commas that no quoted string holds.
func appendLines(dst []byte, name string, f wire.Fields, first int) []byte {
	for i := first; i >= 0; i = f.Index(name, i+1) {
		if i > first {
			dst = append(dst, ',')
		}
		dst = appendList(dst, f[i].Value)
	}
	return dst
}

// appendList appends one line. From a quotation mark on that is never closed,
// all commas separate; a line is read once, however many marks it has.
func appendList(dst []byte, list string) []byte {
	from, quotes := 0, true
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == ',':
			dst = append(append(dst, wire.TrimSpace(list[from:i])...), ',')
			from = i + 1
		case c == '"' && quotes:
			n := quotedLen(list[i:])
			if quotes = n > 0; quotes {
				i += n - 1
			}
		}
	}
	return append(dst, wire.TrimSpace(list[from:])...)
}

// maxPreferences is up to how many members of a list of preferences are
// sorted; a longer list keeps its order.
const maxPreferences = 32

// appendPreferences appends the members of a list of weighted preferences
// (RFC 9110, sections 12.5.3 and 12.5.4), whose first line is at first, each in
// its shortest form, sorted. It writes them in the order in which they come,
// then once more sorted, and moves those down.
func appendPreferences(dst []byte, name string, f wire.Fields, first int) []byte {
	start, n := len(dst), 0
	var spans [maxPreferences]struct{ from, end int }
	for i := first; i >= 0; i = f.Index(name, i+1) {
		for item, rest := "", f[i].Value; rest != ""; {
			item, rest = wire.NextItem(rest)
			if item == "" {
				continue
			}
			from := len(dst)
			dst = append(appendPreference(dst, item), ',')
			if n < maxPreferences {
				at := n
				for ; at > 0 && string(dst[from:]) < string(dst[spans[at-1].from:spans[at-1].end]); at-- {
					spans[at] = spans[at-1]
				}
				spans[at].from, spans[at].end = from, len(dst)
			}
			n++
		}
	}
	if n < 2 || n > maxPreferences {
		return dst
	}
	end := len(dst)
	for _, span := range spans[:n] {
		dst = append(dst, dst[span.from:span.end]...)
	}
	return dst[:start+copy(dst[start:], dst[end:])]
}

// appendPreference appends one member in lower case, without the white space
// that may stand around a semicolon, and with the shortest spelling of its
// weight. What breaks the grammar stays as it is: it must not select the
// variant of a well-formed request.
func appendPreference(dst []byte, item string) []byte {
	if isShortest(item) {
		return append(dst, item...)
	}
	start := len(dst)
	for i := 0; i < len(item); i++ {
		switch c := item[i]; {
		case c == ' ' || c == '\t':
			end := i
			for item[end] == ' ' || item[end] == '\t' { // an item ends in neither
				end++
			}
			if item[end] != ';' && dst[len(dst)-1] != ';' {
				dst = append(dst, item[i:end]...)
			}
			i = end - 1
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c|0x20)
		default:
			dst = append(dst, c)
		}
	}
	at := bytes.LastIndex(dst[start:], []byte(";q="))
	if at < 0 {
		return dst
	}
	name, weight := dst[:start+at], dst[start+at+len(";q="):]
	if _, ok := qvalue(weight); !ok {
		return dst
	}
	if len(weight) > 1 {
		weight = bytes.TrimRight(bytes.TrimRight(weight, "0"), ".")
	}
	if string(weight) == "1" {
		return name
	}
	return dst[:len(name)+len(";q=")+max(len(weight), 1)]
}

// isShortest reports whether item is plainly its own shortest form: most are.
func isShortest(item string) bool {
	for i := range len(item) {
		if c := item[i]; c == ' ' || c == '\t' || c == ';' || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}
