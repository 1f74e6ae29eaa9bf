package proxy

import (
	"context"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
)

// strike is one invalidation: what it leaves of all that it reaches. The zero
// value leaves nothing of everything.
type strike struct {
	left  memory.Left
	reach reach
	hash  uint64 // of what it reaches, if that is not everything
}

// reach is what a strike is about: everything, what belongs to a hash, or, from
// below on, what is below a path of so many segments.
type reach uint8

const (
	everything reach = iota
	oneHash
	below // and how many segments
)

// maxDepth bounds the segments of a path below which all is struck.
const maxDepth = 63

func strikesAt(left memory.Left, hashes []uint64) []strike {
	list := make([]strike, len(hashes))
	for i, hash := range hashes {
		list[i] = strike{left, oneHash, hash}
	}
	return list
}

// encode returns a strike in the form in which instances exchange it.
func (x strike) encode() string {
	return string(binary.BigEndian.AppendUint64([]byte{byte(x.left), byte(x.reach)}, x.hash))
}

// decodeStrike is the reverse.
func decodeStrike(s string) (strike, bool) {
	if len(s) != 10 || s[0] > byte(memory.Stale) || s[1] > byte(below)+maxDepth {
		return strike{}, false
	}
	return strike{memory.Left(s[0]), reach(s[1]), binary.BigEndian.Uint64([]byte(s[2:]))}, true
}

// struck is what strikes have left, here and in the fleet.
type struck struct {
	*memory.Epochs
	// depths has the bit n once something was struck below a path of n segments:
	// as long as it is not set, nobody looks for such a path.
	depths atomic.Uint64
}

// apply carries a strike out: after it has returned, last tells of it.
func (s *struck) apply(x strike, now time.Time) {
	if x.reach == everything {
		s.BumpAll(x.left, now)
		return
	}
	if x.reach >= below {
		s.depths.Or(1 << (x.reach - below))
	}
	s.Bump(x.hash, x.left, now)
}

// last returns the ticks of the last strikes that reach what is stored under a
// key with tags. It does not allocate.
func (s *struck) last(k *keys, tags []uint64) memory.Ticks {
	t := s.Last(k.resource)
	if k.hash != k.resource {
		t = t.Later(s.Last(k.hash))
	}
	for _, tag := range tags {
		t = t.Later(s.Last(tag))
	}
	if depths := s.depths.Load(); depths != 0 {
		t = t.Later(s.lastAbove(k, depths))
	}
	return t
}

// lastAbove is last for the paths above that of the key, and its own, of so many
// segments as depths has bits for.
func (s *struck) lastAbove(k *keys, depths uint64) (t memory.Ticks) {
	origin, path := k.origin(), k.pathText()
	for end := 0; depths != 0; depths >>= 1 {
		if n := strings.IndexByte(path[end:], '/'); n >= 0 {
			end += n
		} else {
			end = len(path)
		}
		if depths&1 != 0 {
			t = t.Later(s.Last(belowHash(origin, path[:end])))
		}
		if end == len(path) {
			break
		}
		end++
	}
	return t
}

// belowHash is where what is below a path, which ends without a slash, is in the
// epochs. origin is the hash of what a key says before the path.
func belowHash(origin uint64, path string) uint64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], origin)
	binary.BigEndian.PutUint64(b[8:], xxhash.Sum64String(path))
	return xxhash.Sum64(b[:])
}

// tagsOf returns where a response's groups and tags are in the epochs: each group
// as its origin's own, which is what origins invalidate, then all of them as the
// operator's.
func tagsOf(t target, m *cache.Meta) []uint64 {
	if len(m.Groups)+len(m.Tags) == 0 {
		return nil
	}
	tags := make([]uint64, 0, 2*len(m.Groups)+len(m.Tags))
	for _, group := range m.Groups {
		tags = append(tags, tagOf(t, group))
	}
	for _, names := range [...][]string{m.Groups, m.Tags} {
		for _, name := range names {
			tags = append(tags, tagOf(target{}, name))
		}
	}
	return tags
}

// tagOf returns the place in the epochs of a group, which is its origin's own
// (RFC 9875, section 2.1), or, with the zero target, of a tag.
func tagOf(t target, group string) uint64 {
	b := appendPart([]byte{0}, t.scheme) // no key begins with an empty upstream
	b = appendPart(b, t.authority)
	return xxhash.Sum64(appendPart(b, group))
}

// strike carries strikes out here and in the fleet, and waits so long for all
// instances to confirm them. It tells how many instances are known to live.
func (h *Handler) strike(list []strike, wait time.Duration) (instances int, err error) {
	h.journal.strike(list, time.Now(), h.struck)
	if h.fleet == nil {
		return 1, nil
	}
	tags := make([]string, len(list))
	for i, x := range list {
		tags[i] = x.encode()
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	instances, err = h.fleet.engine.Invalidate(ctx, tags)
	return max(instances, 1), err
}
