package ring

import (
	"fmt"
	"testing"
)

// mixed returns n members of weights 1 to 4 in turn.
func mixed(n int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{ID: fmt.Sprintf("10.0.%d.%d:8080", i/256, i%256), Weight: 1 + i%4}
	}
	return members
}

// tenthEjected returns r with every tenth member, of all weights, ejected.
func tenthEjected(r *Ring) *Ring {
	factors := make([]float64, len(r.Members()))
	for i := range factors {
		if (i+i/10)%10 != 3 {
			factors[i] = 1
		}
	}
	return r.WithFactors(factors)
}

// BenchmarkLookup finds the owner of a hash among members of weights 1 to 4,
// a tenth of them ejected.
func BenchmarkLookup(b *testing.B) {
	for _, c := range constructors {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				r := tenthEjected(must(b, c.make, mixed(n)))
				b.ReportAllocs()
				sum, i := 0, uint64(0)
				for b.Loop() {
					w := r.Walk(mix(i))
					m, _ := w.Next()
					sum += m
					i += gamma
				}
				_ = sum
			})
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, c := range constructors {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				members := mixed(n)
				b.ReportAllocs()
				for b.Loop() {
					must(b, c.make, members)
				}
			})
		}
	}
}

func BenchmarkWithFactors(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := must(b, New, mixed(n))
			b.ReportAllocs()
			for b.Loop() {
				tenthEjected(r)
			}
		})
	}
}
