package proxy

import (
	"encoding/binary"
	"fmt"
	"strings"

	"ringfence/proxy/wire"
)

// KeyPart is one part of a cache key: a part of the request line, or a field
// or cookie of the request.
type KeyPart struct {
	kind keyKind
	name string // of a field or cookie
}

type keyKind uint8

const (
	keyScheme keyKind = iota
	keyHost
	keyPath
	keyQuery
	keyHeader
	keyCookie
)

// ParseKeyPart reads the name of a key part: scheme, host, path, query,
// header:NAME or cookie:NAME.
func ParseKeyPart(s string) (KeyPart, error) {
	switch s {
	case "scheme":
		return KeyPart{kind: keyScheme}, nil
	case "host":
		return KeyPart{kind: keyHost}, nil
	case "path":
		return KeyPart{kind: keyPath}, nil
	case "query":
		return KeyPart{kind: keyQuery}, nil
	}
	switch kind, name, _ := strings.Cut(s, ":"); {
	case kind == "header" && wire.IsToken(name):
		return KeyPart{kind: keyHeader, name: name}, nil
	case kind == "cookie" && wire.IsToken(name):
		return KeyPart{kind: keyCookie, name: name}, nil
	}
	return KeyPart{}, fmt.Errorf("%q is not a key part: want scheme, host, path, query, header:NAME or cookie:NAME", s)
}

// keyScope returns what the keys of a route begin with, so that two requests
// share an object only if one upstream is asked by the same parts.
func keyScope(upstream string, parts []KeyPart) []byte {
	b := appendPart(nil, upstream)
	b = binary.AppendUvarint(b, uint64(len(parts)))
	for _, p := range parts {
		b = append(b, byte(p.kind))
		if p.name != "" {
			b = appendPart(b, p.name)
		}
	}
	return b
}

// appendKey appends the canonical key of a request: each part behind its
// length, so that no two lists of parts give the same bytes.
func appendKey(dst []byte, parts []KeyPart, t target, fields wire.Fields) []byte {
	for _, p := range parts {
		switch p.kind {
		case keyScheme:
			dst = appendPart(dst, t.scheme)
		case keyHost:
			dst = appendPart(dst, t.authority)
		case keyPath:
			dst = appendPart(dst, t.path)
		case keyQuery:
			dst = appendPart(dst, t.query)
		case keyHeader:
			dst = binary.AppendUvarint(dst, uint64(fields.Count(p.name)))
			for i := fields.Index(p.name, 0); i >= 0; i = fields.Index(p.name, i+1) {
				dst = appendPart(dst, fields[i].Value)
			}
		case keyCookie:
			dst = appendPart(dst, cookie(fields, p.name))
		}
	}
	return dst
}

func appendPart(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// cookie returns the value of the first cookie called name (RFC 6265, section
// 4.2), or "".
func cookie(fields wire.Fields, name string) string {
	for i := fields.Index("Cookie", 0); i >= 0; i = fields.Index("Cookie", i+1) {
		for rest := fields[i].Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			if k, v, ok := strings.Cut(wire.TrimSpace(pair), "="); ok && k == name {
				return v
			}
		}
	}
	return ""
}

// String returns the part as [ParseKeyPart] reads it.
func (p KeyPart) String() string {
	return [...]string{"scheme", "host", "path", "query", "header:", "cookie:"}[p.kind] + p.name
}
