package load

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// cached is what an answer says of where it comes from.
type cached uint8

const (
	untold cached = iota
	miss
	hit // the last one, and the strongest
)

// cachedBy is what a field line says of that: Cache-Status (RFC 9211), of which one
// cache on the way is enough, or X-Cache, as many caches are made to send it.
func cachedBy(name, value []byte) cached {
	switch {
	case is(name, "cache-status"):
		for member := range bytes.SplitSeq(value, []byte(",")) {
			for i, parameter := range slices.Collect(bytes.SplitSeq(member, []byte(";"))) {
				if i > 0 && string(bytes.TrimSpace(parameter)) == "hit" {
					return hit
				}
			}
		}
		return miss
	case is(name, "x-cache"):
		if len(value) >= 3 && bytes.EqualFold(value[:3], []byte("hit")) {
			return hit
		}
		return miss
	}
	return untold
}

// MostCheckFields is how many fields a Check may have.
const MostCheckFields = 64

// met are the check's fields that a field line satisfies, a bit for each.
func (c *Check) met(name, value []byte) (bits uint64) {
	if c == nil {
		return 0
	}
	for i, f := range c.Fields[:min(len(c.Fields), MostCheckFields)] {
		if len(name) == len(f.Name) && bytes.EqualFold(name, []byte(f.Name)) && bytes.Contains(value, []byte(f.Value)) {
			bits |= 1 << i
		}
	}
	return bits
}

// of says what is wrong about an answer that has this status and these of the fields.
func (c *Check) of(status int, met uint64) error {
	if c == nil {
		return nil
	}
	if len(c.Status) > 0 && !slices.Contains(c.Status, status) {
		return wrong("status %d, want %s", status, anyOf(c.Status))
	}
	for i, f := range c.Fields {
		if met&(1<<i) == 0 {
			return wrong("no field %s with %q in it", http.CanonicalHeaderKey(f.Name), f.Value)
		}
	}
	return nil
}

func anyOf(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, " or ")
}
