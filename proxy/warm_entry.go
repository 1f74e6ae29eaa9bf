package proxy

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

// preserved is an entry in a snapshot: what cannot be computed from anything else.
// Times are spans, so that it is as old when it is read as its own and the
// snapshot's clock make it.
type preserved struct {
	heat         heat
	key, variant string // of the store
	status       int
	fields       wire.Fields
	initial, age time.Duration // when the response came, and when the snapshot was begun
	fill         time.Duration
	// lifetime is what a soft purge has left of it; negative where there was none.
	lifetime time.Duration
	groups   []uint64 // of its origin, in the order of Meta.Groups
	bodies   []preservedBody
}

// preservedBody is the content in one coding; the first one is as it was stored.
type preservedBody struct {
	coding    cache.Coding
	size, sum uint64
}

// preserve returns what a snapshot says of e at now, apart from its bodies.
func preserve(e *entry, now time.Time) preserved {
	p := preserved{
		heat: heat(e.heat.Load()), key: e.Key, variant: e.variant, status: e.Status, fields: e.Fields,
		initial: e.InitialAge, age: e.Age(now), fill: e.FillTime, lifetime: -1, groups: e.tags[:len(e.Groups)],
		bodies: []preservedBody{{cache.Identity, uint64(len(e.Body)), xxhash.Sum64(e.Body)}},
	}
	if o := e.expired.Load(); o != nil {
		p.lifetime = o.Lifetime
	}
	for i, f := range e.coded {
		p.bodies = append(p.bodies, preservedBody{e.codings[i], uint64(len(f.body)), xxhash.Sum64(f.body)})
	}
	return p
}

// appendTo appends p in the form of a frame's head.
func (p preserved) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.heat))
	dst = appendPart(dst, p.key)
	for _, d := range [...]time.Duration{p.initial, p.fill, p.lifetime + 1} {
		dst = binary.AppendUvarint(dst, uint64(max(d, 0)))
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.groups)))
	for _, g := range p.groups {
		dst = binary.AppendUvarint(dst, g)
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.bodies)))
	for _, b := range p.bodies {
		dst = append(dst, byte(b.coding))
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, b.size), b.sum)
	}
	return append(dst, encodeHead(p.status, p.age, p.variant, p.fields)...)
}

// maxSpan bounds the times in a snapshot, so that no sum of some overflows.
const maxSpan = 100 * 365 * 24 * time.Hour

// readPreserved is the reverse of appendTo. It shares no memory with b.
func readPreserved(b []byte) (p preserved, ok bool) {
	r := parts{rest: string(b)}
	p.heat, p.key = heat(r.number()), r.text()
	ok = p.heat.valid()
	for _, d := range [...]*time.Duration{&p.initial, &p.fill, &p.lifetime} {
		n := r.number()
		ok = ok && n <= uint64(maxSpan)
		*d = time.Duration(n)
	}
	p.lifetime--
	for n := r.number(); n > 0 && !r.bad; n-- {
		p.groups = append(p.groups, r.number())
	}
	for n := r.number(); n > 0 && !r.bad; n-- {
		p.bodies = append(p.bodies, preservedBody{cache.Coding(r.byte()), r.number(), r.number()})
	}
	if r.bad || !ok || len(p.bodies) == 0 {
		return preserved{}, false
	}
	var err error
	p.status, p.age, p.variant, p.fields, err = decodeHead(r.rest)
	return p, err == nil && p.initial <= p.age
}

// size is what its bodies take.
func (p *preserved) size() (n int64) {
	for _, b := range p.bodies {
		n += int64(b.size)
	}
	return n
}

func (p *parts) byte() byte {
	if p.rest == "" {
		p.bad = true
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

// named is what a store's name says of what is stored under it.
type named struct {
	keys
	scope string // of the route that stored it
	host  string // "" where it is not in the key
}

// readName reads the name of a variant in the store, which keys.build and
// keys.storeName have made: a key says itself what its parts are.
func readName(name, variant string) (n named, ok bool) {
	primary := name
	if variant != "" {
		var hashed string
		if len(name) < 8 {
			return named{}, false
		}
		primary, hashed = name[:len(name)-8], name[len(name)-8:]
		if binary.BigEndian.Uint64([]byte(hashed)) != xxhash.Sum64String(variant) {
			return named{}, false
		}
	}
	r := parts{rest: primary}
	at := func() int { return len(primary) - len(r.rest) }
	_ = r.text() // the upstream
	var kinds []keyKind
	for left := r.number(); left > 0 && !r.bad; left-- {
		kind := keyKind(r.byte())
		if kind >= keyHeader {
			_ = r.text()
		}
		kinds = append(kinds, kind)
	}
	n.scope = primary[:at()]
	scheme, authority, path, resource := "http", "", "", -1
	for _, kind := range kinds {
		if kind >= keyHeader && resource < 0 {
			resource = at()
		}
		switch kind {
		case keyScheme:
			scheme = r.text()
		case keyHost:
			authority = r.text()
		case keyPath:
			n.path = at()
			path = r.text()
		case keyHeader:
			for lines := r.number(); lines > 0 && !r.bad; lines-- {
				_ = r.text()
			}
		default:
			_ = r.text()
		}
	}
	if r.bad || r.rest != "" || path == "" || !slices.IsSorted(kinds) {
		return named{}, false
	}
	if authority != "" {
		var err error
		if _, n.host, err = canonicalAuthority(scheme, authority); err != nil {
			return named{}, false
		}
	}
	n.bytes, n.primary, n.hash = []byte(primary), len(primary), xxhash.Sum64String(primary)
	n.resource = n.hash
	if resource >= 0 {
		n.resource = xxhash.Sum64String(primary[:resource])
	}
	return n, true
}

// routeOf returns the route by which what n names would be looked for, or nil. Where
// the host is not in the key there may be several, which share what is stored.
func (rs routes) routeOf(n *named) *Route {
	if n.host != "" {
		if r := rs.match(n.host, n.pathText()); r != nil && r.Cache == CacheOn && string(r.scope) == n.scope {
			return r
		}
		return nil
	}
	for _, r := range rs {
		if r.Cache == CacheOn && string(r.scope) == n.scope && matchPath(r.PathPrefix, n.pathText()) {
			return r
		}
	}
	return nil
}

// variesBy reports whether a variant, as cache.AppendVariant has made it, tells by
// these fields.
func variesBy(variant string, vary []string) bool {
	const absent = 1<<32 - 1
	next := func() (n uint32) {
		if len(variant) < 4 {
			return absent
		}
		n = binary.BigEndian.Uint32([]byte(variant))
		variant = variant[4:]
		return n
	}
	for _, name := range vary {
		n := next()
		if n != uint32(len(name)) || !strings.HasPrefix(variant, name) {
			return false
		}
		variant = variant[n:]
		if n = next(); n != absent && int64(n) > int64(len(variant)) {
			return false
		} else if n != absent {
			variant = variant[n:]
		}
	}
	return variant == ""
}
