package ring

import (
	"slices"
	"testing"
)

// FuzzWalk builds members from bytes, three for each: the ID, the weight and
// the factor. Whatever New accepts, walks visit every live member once.
func FuzzWalk(f *testing.F) {
	f.Add([]byte("a\x01\xffb\x02\xffc\x03\x00"), uint64(1))
	f.Add([]byte("a\x00\xffb\xff\x01c\xff\x80d\x01\xff"), uint64(0))
	f.Add([]byte("::\xff::\xff"), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, hash uint64) {
		var members []Member
		var factors []float64
		ids := map[string]bool{}
		valid := len(data) >= 3
		for i := 0; i+2 < len(data); i += 3 {
			// Few different first bytes: IDs that repeat, or differ in the tail.
			id := string(data[:i%7]) + string(data[i:i+1])
			valid = valid && !ids[id]
			ids[id] = true
			weight := int(data[i+1])
			if weight > 200 {
				weight *= weight // Large units, too.
			}
			members = append(members, Member{ID: id, Weight: weight})
			factors = append(factors, float64(data[i+2])/255)
		}
		for _, c := range constructors {
			if c.name == "ketama" && totalWeight(members) > 500 {
				continue // It would work, at a second for each.
			}
			r, err := c.make(members)
			if err != nil {
				if valid && len(members) <= MaxMembers {
					t.Fatalf("%s: %v: %v", c.name, members, err)
				}
				continue
			}
			if !valid {
				t.Fatalf("%s accepted %v", c.name, members)
			}
			checkWalk(t, r, slices.Repeat([]float64{1}, len(members)), hash)
			checkWalk(t, r.WithFactors(factors), factors, hash)
		}
	})
}
