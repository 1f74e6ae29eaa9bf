package cache

import (
	"slices"
	"strings"

	"ringfence/proxy/wire"
)

// TagFields is a set of the fields by which an upstream tags its responses for
// whoever purges them. Beside Cache-Groups, which is for origins and clients
// (RFC 9875), they are between the upstream and its caches: clients do not get
// them.
type TagFields uint8

const (
	// CacheTag is Cache-Tag: tags between commas.
	CacheTag TagFields = 1 << iota
	// SurrogateKey is Surrogate-Key: tags between spaces.
	SurrogateKey
)

// has reports whether a field is one of the set.
func (t TagFields) has(name string) bool {
	return t&CacheTag != 0 && wire.EqualFold(name, "Cache-Tag") || t&SurrogateKey != 0 && wire.EqualFold(name, "Surrogate-Key")
}

// Strip returns fields without those of the set: a copy, where there is one.
func (t TagFields) Strip(fields wire.Fields) wire.Fields {
	isTag := func(f wire.Field) bool { return t.has(f.Name) }
	if !slices.ContainsFunc(fields, isTag) {
		return fields
	}
	return slices.DeleteFunc(slices.Clone(fields), isTag)
}

// read returns the tags in the fields of the set, sorted, each once, byte for
// byte as they are sent, in no other form. They share memory with fields.
func (t TagFields) read(fields wire.Fields) (tags []string) {
	for _, f := range fields {
		if !t.has(f.Name) {
			continue
		}
		between := func(r rune) bool { return r == ' ' || r == '\t' }
		if wire.EqualFold(f.Name, "Cache-Tag") {
			between = func(r rune) bool { return r == ',' }
		}
		for _, tag := range strings.FieldsFunc(f.Value, between) {
			if tag = wire.TrimSpace(tag); tag != "" {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	return slices.Clip(slices.Compact(tags))
}
