package proxy

import (
	"strings"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

// Compression says which of a route's responses are stored in coded forms
// beside their own. A nil one means none. It is immutable and safe for
// concurrent use.
type Compression struct {
	// Codings are the forms to make, most wanted first. Identity means nothing
	// here.
	Codings []cache.Coding
	// Types are patterns of media types, such as "text/*" or "*/*+json", in
	// which each "*" stands for any bytes, or none. Case does not count.
	Types []string
	// MinSize is how many bytes a body must have. Empty ones never qualify.
	MinSize int64
}

// eligible reports whether a response with a body of size bytes may have coded
// forms, by what the origin sent: a 2xx that is the whole of a representation,
// of one of the types, without a coding, and not under no-transform (RFC 9110,
// section 7.7). Every form of such a response, identity among them, is sent
// with the fields of [codedFields].
func (z *Compression) eligible(m cache.Meta, size int64) bool {
	if z == nil || size < max(z.MinSize, 1) || m.Status < 200 || m.Status > 299 || m.Status == 206 ||
		m.Fields.Has("Content-Encoding") || m.Fields.Has("Content-Range") ||
		m.Fields.HasToken("Cache-Control", "no-transform") || m.Fields.Count("Content-Type") != 1 {
		return false
	}
	mediaType, _, _ := strings.Cut(m.Fields.Get("Content-Type"), ";")
	mediaType = strings.ToLower(wire.TrimSpace(mediaType))
	for _, pattern := range z.Types {
		if glob(strings.ToLower(pattern), mediaType) {
			return true
		}
	}
	return false
}

// codedFields returns the fields of an eligible response for one of its forms;
// fields stay as they are. Each form says that it was selected by
// Accept-Encoding (RFC 9110, section 12.5.5). A coded one has other bytes than
// the origin's: its entity tag is weak (section 8.8.1), it has no ranges, and
// the origin's digests, of content and representation alike, which RFC 9530
// computes after coding, are gone.
func codedFields(fields wire.Fields, c cache.Coding) wire.Fields {
	out := make(wire.Fields, 0, len(fields)+2)
	for _, f := range fields {
		if c != cache.Identity {
			switch {
			case describesBytes(f.Name):
				continue
			case wire.EqualFold(f.Name, "ETag") && strings.HasPrefix(f.Value, `"`):
				f.Value = "W/" + f.Value
			}
		}
		out = append(out, f)
	}
	if c != cache.Identity {
		out = append(out, wire.Field{Name: "Content-Encoding", Value: c.String()})
	}
	if !fields.HasToken("Vary", "Accept-Encoding") {
		out = append(out, wire.Field{Name: "Vary", Value: "Accept-Encoding"})
	}
	return out
}

// describesBytes reports whether a field says something of a representation
// that holds for the origin's bytes only: RFC 9110, section 14.3; RFC 9530,
// sections 2 and 3; RFC 3230 and RFC 1864 before it.
func describesBytes(name string) bool {
	for _, n := range [...]string{"Accept-Ranges", "Content-Digest", "Repr-Digest", "Digest", "Content-MD5"} {
		if wire.EqualFold(name, n) {
			return true
		}
	}
	return false
}
