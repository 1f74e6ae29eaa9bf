package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
)

// SnapshotWritten is what a snapshot came to.
type SnapshotWritten struct {
	Entries, Bytes int64
}

// WriteSnapshot writes what the memory tier holds and could answer with to w, in
// the order of its use, the most used first. It changes nothing, allocates 40 bytes
// or so an object, and keeps no object in memory; requests go on meanwhile. What is
// struck while it writes may be in it: that is for a [Journal] to keep, whose Begin
// comes first. The error is w's or ctx's, which is asked after each object.
func (h *Handler) WriteSnapshot(ctx context.Context, w io.Writer) (SnapshotWritten, error) {
	now := time.Now()
	o := SnapshotOrigin{Written: now}
	if h.fleet != nil {
		o.Positions = h.fleet.engine.Positions()
	}
	f := newFrameWriter(w, o)
	var done SnapshotWritten
	var head []byte
	at := heatAt(now)
	for e := range h.store.Ranked(func(e *entry) uint64 { return heat(e.heat.Load()).rank(at) }) {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if !h.isPreservable(e, time.Now()) {
			continue
		}
		p := preserve(e, now)
		head = p.appendTo(head[:0])
		if len(head) > maxFrameHead {
			continue
		}
		bodies := [][]byte{e.Body}
		for _, form := range e.coded {
			bodies = append(bodies, form.body)
		}
		f.frame(head, bodies...)
		if done.Entries, done.Bytes = done.Entries+1, f.bytes; f.err != nil {
			return done, f.err
		}
	}
	f.end()
	done.Bytes = f.bytes
	return done, f.err
}

// isPreservable reports whether a request could find e, and what a soft purge has
// left of it has been seen to.
func (h *Handler) isPreservable(e *entry, now time.Time) bool {
	n, ok := readName(e.Key, e.variant)
	if !ok || !h.isListed(&n.keys, e.Vary, now) {
		return false
	}
	last := h.struck.last(&n.keys, e.tags)
	if e.Epoch < last.Stale {
		e.expire(time.Unix(0, int64(last.Stale)), now)
	}
	return e.Epoch >= last.Nothing && e.object().KeepFor(now) > 0
}

// isListed reports whether requests for a key look for variants that tell by these
// fields.
func (h *Handler) isListed(k *keys, vary []string, now time.Time) bool {
	rec, _ := h.index.Lookup(k.hash, view(k.bytes), now)
	return slices.Equal(rec.Vary, vary)
}

// Skip is why an object of a snapshot was not stored again. The set is closed.
type Skip uint8

const (
	// SkipExpired: it is too old to be of use.
	SkipExpired Skip = iota
	// SkipStruck: it was invalidated, or may have been.
	SkipStruck
	// SkipUnrouted: no route would look for it.
	SkipUnrouted
	// SkipPolicy: its route no longer stores such a response, or tells its variants
	// apart otherwise.
	SkipPolicy
	// SkipNewer: a request has filled it meanwhile.
	SkipNewer
	// SkipNoRoom: the tier is full.
	SkipNoRoom
	skips

	kept = skips // it was stored
)

// String returns the reason as a metric's label has it.
func (s Skip) String() string {
	return [...]string{"expired", "struck", "unrouted", "policy", "newer", "no_room", ""}[s]
}

// SnapshotLoaded is what became of the objects of a snapshot.
type SnapshotLoaded struct {
	Entries, Bytes uint64 // that are stored again, with their bodies
	Skipped        [skips]uint64
}

// snapshotCounters are those of the last load.
type snapshotCounters struct {
	entries, bytes atomic.Uint64
	skipped        [skips]atomic.Uint64
}

func (c *snapshotCounters) stats() (s SnapshotLoaded) {
	s.Entries, s.Bytes = c.entries.Load(), c.bytes.Load()
	for why := range c.skipped {
		s.Skipped[why] = c.skipped[why].Load()
	}
	return s
}

// ReadSnapshotOrigin reads the beginning of a snapshot of size bytes.
func ReadSnapshotOrigin(r io.Reader, size int64) (SnapshotOrigin, error) {
	_, o, err := newFrameReader(r, size)
	if err != nil {
		err = fmt.Errorf("snapshot: %w", err)
	}
	return o, err
}

// CanLoad reports whether what was invalidated in the fleet since a snapshot was
// written is known by now, and whether that can only be so later, too. An instance
// by itself takes those of its own kind alone.
func (h *Handler) CanLoad(o SnapshotOrigin) (ok, sure bool) {
	if h.fleet == nil {
		return len(o.Positions) == 0, true
	}
	return h.fleet.engine.Covers(o.Positions)
}

// errNoPast says why nothing of a snapshot can be used.
var errNoPast = errors.New("snapshot: its journal is damaged: what was purged since cannot be known")

// LoadSnapshot stores again what a snapshot of size bytes holds, as far as it still
// answers requests by the routes there are now: it is assessed as if its origin had
// just sent it, but for its age, which goes on. CanLoad must have been true, and past
// be what its journal says. What requests fill meanwhile stays, nothing stored gives
// way, and View counts what is done. The error says why the rest was not read; what
// was read by then is stored.
//
// The age of what is in it counts from the clock's time in it. Where the clock was
// set back since, the time between is not counted.
func (h *Handler) LoadSnapshot(ctx context.Context, r io.Reader, size int64, past Past) error {
	if past.struck == nil {
		return errNoPast
	}
	f, o, err := newFrameReader(r, size)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	l := loader{h: h, past: past.struck, away: max(time.Now().Round(0).Sub(o.Written), 0), began: time.Now()}
	defer l.store() // what was read by then
	for ctx.Err() == nil {
		head, err := f.next()
		if err != nil || head == nil {
			return err
		}
		p, ok := readPreserved(head)
		if !ok || p.size() != f.bodies {
			return fmt.Errorf("%w: what frame %d says", errSnapshotDamaged, f.frames)
		}
		why, err := l.restore(f, &p)
		switch {
		case err != nil:
			return err
		case why != kept:
			h.loaded.skipped[why].Add(1)
		case len(l.batch) == batchObjects || l.bytes >= batchBytes:
			l.store()
		}
	}
	return ctx.Err()
}

// loader stores entries again.
type loader struct {
	h     *Handler
	past  *struck       // what was struck after the snapshot, before this process
	away  time.Duration // since the snapshot was begun, at began
	began time.Time
	batch []*entry // to be stored together
	bytes int64    // of their bodies
}

// A batch of objects is stored at once, which costs a fraction of the time that
// they would take one by one.
const (
	batchObjects = 128
	batchBytes   = 4 << 20
)

// store stores the batch.
func (l *loader) store() {
	h, now := l.h, time.Now()
	stored := h.store.Add(l.batch, func(e *entry) time.Duration { return e.object().KeepFor(now) })
	for i, e := range l.batch {
		n, _ := readName(e.Key, e.variant)
		why := kept
		if !stored[i] {
			why = SkipNoRoom
			if _, taken := h.store.Get(e.Key); taken {
				why = SkipNewer
			}
		} else if !h.list(&n.keys, e, now) {
			h.store.Delete(e.Key)
			why = SkipNewer
		}
		if why != kept {
			h.loaded.skipped[why].Add(1)
			continue
		}
		h.loaded.entries.Add(1)
		h.loaded.bytes.Add(uint64(e.bodies()))
	}
	clear(l.batch)
	l.batch, l.bytes = l.batch[:0], 0
}

// restore adds what p says to the batch, and says why it does not. It reads the
// bodies from f where they are wanted.
func (l *loader) restore(f *frameReader, p *preserved) (Skip, error) {
	h, snap := l.h, l.h.snap.Load()
	n, ok := readName(p.key, p.variant)
	if !ok {
		return skips, fmt.Errorf("%w: the key in frame %d", errSnapshotDamaged, f.frames)
	}
	r := snap.routes.routeOf(&n)
	if r == nil {
		return SkipUnrouted, nil
	}
	now := time.Now()
	m, ok := l.assess(snap, r, p, now)
	if !ok {
		return SkipPolicy, nil
	}
	tags := tagsOf(target{}, &m)
	copy(tags, p.groups)
	last := h.struck.last(&n.keys, tags).Later(l.past.last(&n.keys, tags))
	switch name := view(n.bytes); {
	case last.Nothing > 0:
		return SkipStruck, nil
	case m.KeepFor(now) <= 0:
		return SkipExpired, nil
	case h.store.Stats().Bytes+l.bytes+p.size() > snap.Memory:
		return SkipNoRoom, nil
	case !h.mayList(n.hash, name, m.Vary, now):
		return SkipNewer, nil
	}
	e, err := l.entry(f, p, snap, r, m, tags)
	if err != nil {
		return skips, err
	}
	if last.Stale > 0 {
		e.expire(time.Unix(0, int64(last.Stale)), now)
	}
	if e.object().KeepFor(now) <= 0 {
		return SkipExpired, nil
	}
	l.batch = append(l.batch, e)
	l.bytes += e.bodies()
	return kept, nil
}

// assess reads the head of a preserved response by the present policy of its route,
// as of when it came.
func (l *loader) assess(snap *snapshot, r *Route, p *preserved, now time.Time) (cache.Meta, bool) {
	received := now.Add(-(p.age - p.initial) - l.away - now.Sub(l.began))
	rq := cache.NewRequest(&r.Policy, "GET", nil)
	m, why := cache.Assess(&r.Policy, rq, p.status, p.fields, received, received)
	m.InitialAge = p.initial
	ok := why == cache.None && len(m.Groups) == len(p.groups) && variesBy(p.variant, m.Vary) &&
		!variesByIdentity(m.Vary, snap.RequestID) && int64(p.bodies[0].size) <= snap.MaxObject
	return m, ok
}

// entry makes an entry of what is preserved. Nothing of it is compressed anew: it
// has the forms that it had, as far as its route wants them.
func (l *loader) entry(f *frameReader, p *preserved, snap *snapshot, r *Route, m cache.Meta, tags []uint64) (*entry, error) {
	body, err := f.body(p.bodies[0].size, p.bodies[0].sum)
	if err != nil {
		return nil, err
	}
	from := &entry{variant: p.variant}
	for _, b := range p.bodies[1:] {
		coded, err := f.body(b.size, b.sum)
		if err != nil {
			return nil, err
		}
		from.codings, from.coded = append(from.codings, b.coding), append(from.coded, &form{body: coded})
	}
	j := &job{h: l.h, snap: snap, route: r}
	e, err := j.entry(&cache.Object{Meta: m, Key: p.key, Body: body, FillTime: p.fill}, from)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshotDamaged, err)
	}
	e.tags = tags
	e.heat.Store(uint64(p.heat))
	if p.lifetime >= 0 {
		e.expired.Store(cache.Expired(e.Object, p.lifetime))
	}
	return e, nil
}

// mayList reports whether what varies by these fields can be listed.
func (h *Handler) mayList(hash uint64, primary string, vary []string, now time.Time) bool {
	rec, ok := h.index.Lookup(hash, primary, now)
	return !ok || slices.Equal(rec.Vary, vary) && len(rec.Variants) < h.snap.Load().MaxVariants
}

// list has requests look for a stored variant, unless they look for other ones. It
// comes before those that are listed, since it was used less.
func (h *Handler) list(k *keys, e *entry, now time.Time) (ok bool) {
	if len(e.Vary) == 0 {
		return h.mayList(k.hash, view(k.bytes), nil, now)
	}
	hash := xxhash.Sum64String(e.variant)
	h.index.Update(k.hash, view(k.bytes), now, func(r memory.Record, live bool) (memory.Record, bool) {
		switch {
		case live && (!slices.Equal(r.Vary, e.Vary) || len(r.Variants) >= h.snap.Load().MaxVariants):
			return r, live
		case !slices.Contains(r.Variants, hash):
			r.Variants = append([]uint64{hash}, r.Variants...)
		}
		ok = true
		return memory.Record{Vary: cloneNames(e.Vary), Variants: r.Variants}, true
	})
	return ok
}
