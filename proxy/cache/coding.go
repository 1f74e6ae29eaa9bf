package cache

import (
	"strings"

	"ringfence/proxy/wire"
)

// Coding is a content coding (RFC 9110, section 8.4.1). The set is closed.
type Coding uint8

const (
	// Identity is no coding at all.
	Identity Coding = iota
	// Gzip is gzip (RFC 1952).
	Gzip
	// Brotli is br (RFC 7932).
	Brotli
	// Zstd is zstd (RFC 8878).
	Zstd
)

// String returns the coding's name as Content-Encoding and Accept-Encoding
// have it.
func (c Coding) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Brotli:
		return "br"
	case Zstd:
		return "zstd"
	}
	return "identity"
}

// parseCoding returns the coding of that name, in any case; "x-gzip" is gzip
// (RFC 9110, section 8.4.1.3). Where ok is false the coding means nothing.
func parseCoding(name string) (c Coding, ok bool) {
	switch len(name) {
	case len("br"):
		return Brotli, wire.EqualFold(name, "br")
	case len("gzip"):
		if wire.EqualFold(name, "gzip") {
			return Gzip, true
		}
		return Zstd, wire.EqualFold(name, "zstd")
	case len("x-gzip"):
		return Gzip, wire.EqualFold(name, "x-gzip")
	}
	return Identity, wire.EqualFold(name, "identity")
}

// Negotiate returns which of the codings offered a client with the fields f
// wants most (RFC 9110, section 12.5.3), and [Identity] where it accepts none
// or sent no Accept-Encoding: a client that did not ask may not understand.
//
// The client's weight decides, and between equals the order of offered.
// Identity is preferred only if a weight of its own puts it above the others;
// it is what is left even where the client refuses it. All lines count as one
// list. A coding that "*" stands for has the weight of that, one whose weight
// cannot be read counts as refused, and of several weights the least counts.
func Negotiate(f wire.Fields, offered []Coding) Coding {
	i := f.Index("Accept-Encoding", 0)
	if i < 0 || len(offered) == 0 {
		return Identity
	}
	const unsaid = 1001
	weights, rest := [Zstd + 1]int{unsaid, unsaid, unsaid, unsaid}, unsaid
	for ; i >= 0; i = f.Index("Accept-Encoding", i+1) {
		for item, list := "", f[i].Value; list != ""; {
			item, list = wire.NextItem(list)
			name, w := splitWeight(item)
			if name == "*" {
				rest = min(rest, w)
			} else if c, ok := parseCoding(name); ok {
				weights[c] = min(weights[c], w)
			}
		}
	}
	best, most := Identity, 0
	for _, c := range offered {
		w := weights[c]
		if w == unsaid && c != Identity {
			w = rest
		}
		if w != unsaid && w > most {
			best, most = c, w
		}
	}
	if w := weights[Identity]; w != unsaid && w > most {
		return Identity
	}
	return best
}

// splitWeight splits a member of Accept-Encoding into its name and its weight
// in thousandths, which is 1000 where there is none and 0 where it cannot be
// read.
func splitWeight(item string) (name string, weight int) {
	semicolon := strings.IndexByte(item, ';')
	if semicolon < 0 {
		return item, 1000
	}
	name = wire.TrimSpace(item[:semicolon])
	q := wire.TrimSpace(item[semicolon+1:])
	if len(q) < len("q=0") || q[0]|0x20 != 'q' || q[1] != '=' {
		return name, 0
	}
	weight, _ = qvalue(q[2:])
	return name, weight
}
