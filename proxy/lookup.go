package proxy

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/wire"
)

// keys are the names of a request in the tables: its primary key, and what is
// made from it.
type keys struct {
	bytes    []byte // the primary key, then the variant where there is one
	name     []byte // of the variant in the store
	primary  int    // length of the primary key
	hash     uint64 // of the primary key: its place in the index and on the ring
	resource uint64 // of what the key says of the URI alone: what an invalidation is about
	path     int    // where the path is in bytes, behind what the key says of scheme and host
}

func (k *keys) build(r *Route, t target, fields wire.Fields) {
	k.bytes = appendKey(append(k.bytes[:0], r.scope...), r.Key[:r.ofOrigin], t, nil)
	k.path = len(k.bytes)
	k.bytes = appendKey(k.bytes, r.Key[r.ofOrigin:r.ofTarget], t, nil)
	k.resource = xxhash.Sum64(k.bytes)
	k.hash = k.resource
	if ofFields := r.Key[r.ofTarget:]; len(ofFields) > 0 {
		k.bytes = appendKey(k.bytes, ofFields, t, fields)
		k.hash = xxhash.Sum64(k.bytes)
	}
	k.primary = len(k.bytes)
}

// origin is the hash of what the key says before the path.
func (k *keys) origin() uint64 { return xxhash.Sum64(k.bytes[:k.path]) }

// pathText is the path in the key.
func (k *keys) pathText() string {
	n, width := binary.Uvarint(k.bytes[k.path:])
	from := k.path + width
	return view(k.bytes[from : from+int(n)])
}

// clone returns a copy that shares no memory with k.
func (k *keys) clone() keys {
	c := *k
	c.bytes, c.name = append([]byte(nil), k.bytes...), nil
	return c
}

// variant is what tells the variant apart from others of the primary key.
func (k *keys) variant() []byte { return k.bytes[k.primary:] }

// storeName returns the name of the request's variant in the store: the primary
// key, and the hash of the variant where there is one, so that a variant can be
// dropped by its hash alone. Whoever finds an object by it compares the variant.
func (k *keys) storeName() []byte {
	if len(k.bytes) == k.primary {
		return k.bytes
	}
	k.name = appendVariantName(k.name[:0], k.bytes[:k.primary], xxhash.Sum64(k.variant()))
	return k.name
}

func appendVariantName(dst, primary []byte, variant uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, primary...), variant)
}

// flight returns the name of a key's flight. Requests with credentials fly
// apart from those without, lest one that turns out to be personal holds up
// all; and none joins a flight that an invalidation has overtaken.
func (k *keys) flight(epoch uint64, authorized bool) string {
	b := make([]byte, 0, len(k.bytes)+9)
	b = append(b, classOf(authorized))
	b = binary.BigEndian.AppendUint64(b, epoch)
	return string(append(b, k.bytes...))
}

func classOf(authorized bool) byte {
	if authorized {
		return 'a'
	}
	return 'p'
}

// tables are where a cache is: objects, what is known of keys beside them, and
// what has struck both.
type tables struct {
	store  *memory.Store[*entry]
	index  *memory.Index
	struck *struck
}

// find looks for what answers a request: the Vary record of its key, which is
// the only record under a key's own name, then the object of its variant. Where
// there is none it says why. k keeps the variant.
func (t *tables) find(k *keys, fields wire.Fields, now time.Time) (*entry, cache.Reason) {
	why := cache.Miss
	k.bytes = k.bytes[:k.primary]
	if rec, ok := t.index.Lookup(k.hash, view(k.bytes), now); ok {
		k.bytes = cache.AppendVariant(k.bytes, rec.Vary, fields)
		why = cache.VaryMiss
	}
	e, ok := t.store.Get(view(k.storeName()))
	if !ok || e.variant != view(k.variant()) {
		return nil, why
	}
	if settled := t.struck.Settled(); settled != e.checked.Load() {
		last := t.struck.last(k, e.tags)
		if e.Epoch < last.Nothing {
			return nil, cache.Invalidated
		}
		if e.Epoch < last.Stale {
			e.expire(time.Unix(0, int64(last.Stale)), now)
		}
		e.checked.Store(settled)
	}
	e.touch(now)
	return e, cache.None
}

// isOutdated reports whether something that a fill's response is tagged with was
// struck since the fill began, perhaps before a request that came at that tick.
// What its key says is in the name of the flight.
func (h *Handler) isOutdated(hd *head, came uint64) bool {
	return came != hd.born && slices.ContainsFunc(hd.tags, func(tag uint64) bool { return hd.born < h.struck.Last(tag).Latest() })
}

// rememberVary notes by which fields a key's variants are told apart, or that
// they no longer are.
func (t *tables) rememberVary(k *keys, vary []string) {
	now, primary := time.Now(), string(k.bytes[:k.primary])
	// Most often it says nothing new, which costs no lock.
	if rec, _ := t.index.Lookup(k.hash, primary, now); slices.Equal(rec.Vary, vary) {
		return
	}
	vary = cloneNames(vary)
	t.index.Update(k.hash, primary, now, func(r memory.Record, _ bool) (memory.Record, bool) {
		return memory.Record{Vary: vary, Variants: r.Variants}, len(vary) > 0
	})
}

// cloneNames returns a copy that keeps nothing else in memory: names are parts
// of the head that they came in.
func cloneNames(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strings.Clone(name)
	}
	return out
}

// admitVariant counts a stored variant among those of its key, and drops the
// oldest where there are more than most. It reports whether it did.
func (t *tables) admitVariant(k *keys, e *entry, most int) (full bool) {
	primary := k.bytes[:k.primary]
	hash := xxhash.Sum64String(e.variant)
	var dropped uint64
	t.index.Update(k.hash, string(primary), time.Now(), func(r memory.Record, _ bool) (memory.Record, bool) {
		if !slices.Equal(r.Vary, e.Vary) {
			r.Vary = cloneNames(e.Vary)
		}
		r.Variants, dropped, full = memory.AddVariant(r.Variants, hash, most)
		return r, true
	})
	if full {
		t.store.Delete(string(appendVariantName(nil, primary, dropped)))
	}
	return full
}

// mark is something that is known of a key's variant for a while, under a name
// of its own beside the Vary record. It spares waiting or asking in vain, and
// hides no object from anybody.
type mark byte

const (
	// unshared: answers could not be shared.
	unshared mark = 'u'
	// personal: nor could those to requests with credentials, which is all that
	// such a request's answer says.
	personal mark = 'c'
	// large: it is too large to be fetched whole for the sake of a range.
	large mark = 'r'
)

func appendMark(dst, key []byte, m mark) []byte {
	return append(append(dst, key...), 0, byte(m))
}

// mark writes a mark down, for so long. why is what [call.marked] says of it.
func (t *tables) mark(key []byte, m mark, why cache.Reason, ttl time.Duration) {
	name, now := appendMark(nil, key, m), time.Now()
	t.index.Put(xxhash.Sum64(name), view(name), memory.Record{Until: now.Add(ttl), Why: uint8(why)}, now)
}

// marked returns what the key's variant is marked with: until when, and why.
func (c *call) marked(m mark) (memory.Record, bool) {
	c.text = appendMark(c.text[:0], c.key.bytes, m)
	return c.tables.index.Lookup(xxhash.Sum64(c.text), view(c.text), c.now)
}

func (c *call) isMarked(m mark) bool {
	_, ok := c.marked(m)
	return ok
}

// isUncacheable reports whether an answer to such a request could not be shared
// of late: then requests for it do not wait for one another.
func (c *call) isUncacheable() bool {
	return c.isMarked(unshared) || hasCredentials(c.fields) && c.isMarked(personal)
}

func hasCredentials(fields wire.Fields) bool {
	return fields.Has("Authorization") || fields.Has("Cookie")
}
