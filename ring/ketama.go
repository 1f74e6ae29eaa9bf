package ring

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// MaxKetamaWeight is the greatest sum of weights of a ketama ring. It bounds
// the memory: a unit of weight costs 160 points, about 2 KiB.
const MaxKetamaWeight = 65536

const (
	pointsPerWeight = 160
	// maxPoints bounds the points one walk passes before it falls back to
	// rendezvous. nginx gives up after 20 and goes on round robin.
	maxPoints = 4096
)

// point is one of a member's places on the circle: from the top, 32 bits of
// hash, 16 of the member's index and 16 of the point's rank, which is its
// place among its member's points scaled to 2^16. A factor keeps the lowest
// ranks. So packed, points sort as nginx's do: by hash, and where hashes are
// equal in the order of the list.
type point uint64

func newPoint(hash uint32, member int, rank uint64) point {
	return point(hash)<<32 | point(member)<<16 | point(rank)
}

func (p point) hash() uint32   { return uint32(p >> 32) }
func (p point) member() uint16 { return uint16(p >> 16) }
func (p point) rank() uint32   { return uint32(p & 0xffff) }

// circle is the placement of ketama.
type circle struct {
	// points is sorted by hash, and no two hashes are equal.
	points []point
	// index gives the first point at or past each of equal parts of the hash
	// space, so that a search takes a step or two.
	index []uint32
	shift int
}

// newCircle computes nginx's points, and of several with one hash keeps the
// first, as nginx does where its qsort is stable, which is glibc's.
func newCircle(members []Member, total int) *circle {
	points := make([]point, 0, pointsPerWeight*total)
	for i, m := range members {
		base := crc32.ChecksumIEEE(hostPort(m.ID))
		n := pointsPerWeight * m.Weight
		var prev [4]byte
		for k := range n {
			hash := crc32.Update(base, crc32.IEEETable, prev[:])
			points = append(points, newPoint(hash, i, uint64(k)<<16/uint64(n)))
			binary.LittleEndian.PutUint32(prev[:], hash)
		}
	}
	slices.Sort(points)
	points = slices.CompactFunc(points, func(a, b point) bool { return a.hash() == b.hash() })

	depth := bits.Len(uint(len(points)))
	c := &circle{points: points, index: make([]uint32, 1<<depth), shift: 32 - depth}
	at := 0
	for part := range c.index {
		for at < len(points) && points[at].hash() < uint32(part<<c.shift) {
			at++
		}
		c.index[part] = uint32(at)
	}
	return c
}

// hostPort returns what nginx hashes of a server's name: host, NUL, port. The
// digits after the last colon are the port; a Unix socket has none.
func hostPort(id string) []byte {
	host, port := id, ""
	if len(id) >= 5 && strings.EqualFold(id[:5], "unix:") {
		host = id[5:]
	} else if at := strings.LastIndexByte(id, ':'); at >= 0 && digits(id[at+1:]) {
		host, port = id[:at], id[at+1:]
	}
	return []byte(host + "\x00" + port)
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// thresholds returns how many of the 2^16 ranks of each member count.
func (c *circle) thresholds(factor []float64) []uint32 {
	accept := make([]uint32, len(factor))
	for i, f := range factor {
		accept[i] = uint32(math.Ceil(f * (1 << 16)))
	}
	return accept
}

// find returns the first point at or past hash; the circle wraps.
func (c *circle) find(hash uint32) int {
	at := int(c.index[hash>>c.shift])
	for at < len(c.points) && c.points[at].hash() < hash {
		at++
	}
	if at == len(c.points) {
		return 0
	}
	return at
}

// point returns the next member along the circle, or false when enough points
// were passed, or all.
func (w *Walk) point() (uint16, bool) {
	r, points := w.ring, w.ring.circle.points
	if w.step >= r.limit {
		return 0, false
	}
	at := r.circle.find(uint32(w.hash)) + int(w.step)
	if at >= len(points) {
		at -= len(points)
	}
	for w.step < r.limit {
		p := points[at]
		w.step++
		if at++; at == len(points) {
			at = 0
		}
		if m := p.member(); p.rank() < r.accept[m] && !w.has(m) {
			return m, true
		}
	}
	return 0, false
}
