package memory

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Record is what is known about a key beside its objects.
type Record struct {
	// Vary names the request fields that select the responses under the key, in
	// the form of cache.Meta.Vary. It is shared and must not be changed. A
	// record without it says what its key says.
	Vary []string
	// Variants are the hashes of the variants that are stored under the key,
	// oldest first: what bounds their number. It is shared and must not be
	// changed; see [AddVariant].
	Variants []uint64
	// Until is when the record stops counting; the zero time is never.
	Until time.Time
	// Why is a note of the caller's, who says what it means.
	Why uint8
}

const ways = 4

// Index is a bounded table of a [Record] per key. It has a fixed number of
// places, in buckets of four; where a bucket is full, the oldest record that
// was not looked up since the last such search gives way. A look-up takes no
// lock.
//
// A key is known by the caller's hash and by a second one of 64 bits under a
// secret seed, so that a record takes the same memory (about 130 bytes, the
// names in Vary and 8 bytes a variant) however long its key is. Should two keys
// agree in both, which no client can bring about, one has the other's record:
// it is fetched without need, or looks for its object under another variant and
// does not find it.
type Index struct {
	buckets []bucket
	locks   [stripes]sync.Mutex
	seed    maphash.Seed
	clock   atomic.Uint64
	entries atomic.Int64
	evicted atomic.Uint64
}

// bucket is the places of the keys whose hashes end alike: half a cache line.
type bucket [ways]atomic.Pointer[entry]

// entry is immutable but for used.
type entry struct {
	hash, digest uint64
	record       Record
	born         uint64      // place in the order of all writes
	used         atomic.Bool // looked up since the last search for a victim
}

// NewIndex makes an empty index of at least limit places, rounded up to a power
// of two, of 8 bytes each while empty; 0 is the default of 65536.
func NewIndex(limit int) *Index {
	if limit <= 0 {
		limit = 1 << 16
	}
	return &Index{buckets: make([]bucket, ceilPowerOfTwo((limit+ways-1)/ways)), seed: maphash.MakeSeed()}
}

// Lookup returns the record of the key, whose hash is given, unless it has
// expired at now. key may point into memory that is used again after the call.
// It does not allocate.
func (x *Index) Lookup(hash uint64, key string, now time.Time) (Record, bool) {
	b := x.bucket(hash)
	for i := range b {
		e := b[i].Load()
		if e == nil || e.hash != hash || e.digest != maphash.String(x.seed, key) {
			continue
		}
		if e.record.expired(now) {
			break
		}
		if !e.used.Load() { // no write, and so no contention, on a hot record
			e.used.Store(true)
		}
		return e.record, true
	}
	return Record{}, false
}

// Put sets the record of the key. It keeps r and forgets key.
func (x *Index) Put(hash uint64, key string, r Record, now time.Time) {
	x.Update(hash, key, now, func(Record, bool) (Record, bool) { return r, true })
}

// Update replaces the record of the key by what f makes of it, in one step that
// no other write of the key comes between. f is given the record, unless there
// is none or it has expired at now, and whether there is one; it returns the one
// to keep and whether to keep any. It may keep parts of the old record but must
// not change them: whoever looked it up has them, too. f runs under a lock: it
// must be quick, and must not call the index. Update forgets key.
func (x *Index) Update(hash uint64, key string, now time.Time, f func(old Record, ok bool) (next Record, keep bool)) {
	digest := maphash.String(x.seed, key)
	b, lock := x.bucket(hash), x.lock(hash)
	lock.Lock()
	defer lock.Unlock()
	at := b.find(hash, digest)
	var old Record
	live := at >= 0 && !b[at].Load().record.expired(now)
	if live {
		old = b[at].Load().record
	}
	switch next, keep := f(old, live); {
	case keep:
		x.put(b, &entry{hash: hash, digest: digest, record: next, born: x.clock.Add(1)}, now)
	case at >= 0:
		b[at].Store(nil)
		x.entries.Add(-1)
	}
}

// put stores e in its bucket, whose lock the caller holds.
func (x *Index) put(b *bucket, e *entry, now time.Time) {
	at, fate := b.place(e, now)
	b[at].Store(e)
	switch fate {
	case filled:
		x.entries.Add(1)
	case evictedOther:
		x.evicted.Add(1)
	}
}

// AddVariant adds v to the variants of a [Record], of which there are at most
// limit, 1 or more. It returns list itself where v is in it. Else it returns a
// fresh list that ends with v; where list was full, its oldest variant is
// dropped from it and returned, for the caller to delete what is stored under it.
func AddVariant(list []uint64, v uint64, limit int) (next []uint64, dropped uint64, full bool) {
	if slices.Contains(list, v) {
		return list, 0, false
	}
	if full = len(list) >= limit; full {
		dropped, list = list[0], list[1:]
	}
	next = make([]uint64, len(list), len(list)+1)
	copy(next, list)
	return append(next, v), dropped, full
}

// IndexStats are the figures of an [Index].
type IndexStats struct {
	// Entries is how many records are kept, expired ones included, and Limit
	// how many there can be.
	Entries, Limit int64
	// Evicted is how many records gave way before they expired. It only grows.
	Evicted uint64
}

// Stats returns the present figures. It takes no lock.
func (x *Index) Stats() IndexStats {
	return IndexStats{Entries: x.entries.Load(), Limit: int64(len(x.buckets) * ways), Evicted: x.evicted.Load()}
}

func (x *Index) bucket(hash uint64) *bucket { return &x.buckets[hash&uint64(len(x.buckets)-1)] }

func (x *Index) lock(hash uint64) *sync.Mutex {
	return &x.locks[hash&uint64(len(x.buckets)-1)%stripes]
}

func (r Record) expired(now time.Time) bool { return !r.Until.IsZero() && !now.Before(r.Until) }

// fate says what became of the place that a new entry takes.
type fate uint8

const (
	filled   fate = iota // it was empty
	replaced             // it held the same key, or what had expired
	evictedOther
)

// find returns the place of the key, or -1.
func (b *bucket) find(hash, digest uint64) int {
	for i := range b {
		if e := b[i].Load(); e != nil && e.hash == hash && e.digest == digest {
			return i
		}
	}
	return -1
}

// place chooses where e goes: over the same key, else into an empty place, else
// over an expired record, else over the oldest of those not lately used.
func (b *bucket) place(e *entry, now time.Time) (at int, f fate) {
	empty, stale, idle, oldest := -1, -1, -1, 0
	for i := range b {
		switch old := b[i].Load(); {
		case old == nil:
			empty = i
		case old.hash == e.hash && old.digest == e.digest:
			return i, replaced
		case old.record.expired(now):
			stale = i
		default:
			if !old.used.Load() && (idle < 0 || old.born < b[idle].Load().born) {
				idle = i
			}
			if first := b[oldest].Load(); first == nil || old.born < first.born {
				oldest = i
			}
		}
	}
	switch {
	case empty >= 0:
		return empty, filled
	case stale >= 0:
		return stale, replaced
	case idle >= 0:
		return idle, evictedOther
	}
	for i := range b {
		b[i].Load().used.Store(false)
	}
	return oldest, evictedOther
}
