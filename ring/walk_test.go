package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// walkIDs returns the whole walk as IDs.
func walkIDs(r *Ring, hash uint64) (ids []string) {
	for w := r.Walk(hash); ; {
		m, ok := w.Next()
		if !ok {
			return ids
		}
		ids = append(ids, r.Members()[m].ID)
	}
}

func ExampleRing_Walk() {
	r, err := New([]Member{{"10.0.0.1:80", 1}, {"10.0.0.2:80", 2}, {"10.0.0.3:80", 1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	r = r.WithFactors([]float64{1, 0, 1}) // The second is ejected.
	for w := r.Walk(r.Hash([]byte("/logo.png"))); ; {
		m, ok := w.Next()
		if !ok {
			break
		}
		fmt.Println(r.Members()[m].ID)
	}
	// Output:
	// 10.0.0.3:80
	// 10.0.0.1:80
}

// The k-th of a walk is the owner once the k-1 before it are ejected, to the
// very end of the walk, also where factors are ramping.
func TestWalkIsTheOrderOfOwners(t *testing.T) {
	eachSet(t, func(t *testing.T, build func([]Member) (*Ring, error), members []Member, rng *rand.Rand) {
		factors := make([]float64, len(members))
		for i := range factors {
			factors[i] = []float64{0.001, 0.3, 1, 1, 1}[rng.IntN(5)]
		}
		r := must(t, build, members).WithFactors(factors)
		for _, h := range randomHashes(300, 10) {
			left := slices.Clone(factors)
			walk := r.Walk(h)
			for k := range members {
				m, ok := walk.Next()
				if !ok {
					t.Fatalf("the walk ended after %d of %d", k, len(members))
				}
				if want := owner(r.WithFactors(left), h); members[m].ID != want {
					t.Fatalf("step %d of the walk is %s, the owner is %s", k, members[m].ID, want)
				}
				left[m] = 0
			}
		}
	})
}

// checkWalk fails unless the walk of hash visits exactly the live members,
// each once.
func checkWalk(t *testing.T, r *Ring, factors []float64, hash uint64) {
	t.Helper()
	visits := make([]int, len(factors))
	for w := r.Walk(hash); ; {
		m, ok := w.Next()
		if !ok {
			if _, again := w.Next(); again {
				t.Fatal("the walk goes on after its end")
			}
			break
		}
		visits[m]++
	}
	for i, m := range r.Members() {
		want := 0
		if m.Weight > 0 && factors[i] > 0 {
			want = 1
		}
		if visits[i] != want {
			t.Fatalf("member %q of weight %d and factor %v was visited %d times", m.ID, m.Weight, factors[i], visits[i])
		}
	}
}

func TestWalkVisitsEveryLiveMemberOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 0))
	sets := map[string][]Member{
		"one":      {{"a", 1}},
		"two":      {{"a", 1}, {"b", 1}},
		"drained":  {{"a", 0}, {"b", 0}},
		"skewed":   {{"a", 3000}, {"b", 1}, {"c", 1}, {"d", 50}},
		"thousand": mixed(1000),
		// nginx gives both of a pair the same points.
		"coincident": {{"a", 1}, {"unix:a", 1}, {"b:1", 1}, {"unix:b\x001", 1}},
	}
	for name, members := range sets {
		for _, c := range constructors {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				r := must(t, c.make, members)
				for _, live := range []float64{0, 0.02, 0.5, 1} {
					factors := make([]float64, len(members))
					for i := range factors {
						if rng.Float64() < live {
							factors[i] = 1 - rng.Float64()
						}
					}
					for _, h := range randomHashes(10, 12) {
						checkWalk(t, r.WithFactors(factors), factors, h)
					}
				}
			})
		}
	}
}

// With nearly all of a large ring ejected probing gives up, and rendezvous
// must spread the keys as evenly and move as few.
func TestFewSurvivorsShareEvenly(t *testing.T) {
	members := mixed(1000)
	factors := make([]float64, len(members))
	want := 0.0
	for _, m := range []int{3, 300, 500, 701, 999} {
		factors[m] = 1
		want += float64(members[m].Weight)
	}
	hashes := randomHashes(20_000, 13)
	r := must(t, New, members).WithFactors(factors)
	before := owners(r, hashes)
	counts := count(before)
	for i, m := range members {
		if factors[i] > 0 {
			near(t, m.ID, counts[m.ID], float64(len(hashes))*float64(m.Weight)/want, 0.05)
		}
	}
	factors[300] = 0
	for i, id := range owners(r.WithFactors(factors), hashes) {
		if before[i] != members[300].ID && before[i] != id {
			t.Fatalf("a key of %s moved to %s", before[i], id)
		}
	}
}

func TestEightStepsDoNotAllocate(t *testing.T) {
	hashes := randomHashes(512, 14)
	for _, c := range constructors {
		for _, n := range []int{3, 10, 100} {
			r := tenthEjected(must(t, c.make, mixed(n)))
			key, i := []byte("GET example.org/logo.png"), 0
			allocs := testing.AllocsPerRun(500, func() {
				w := r.Walk(hashes[i%len(hashes)] ^ r.Hash(key))
				for range 8 {
					w.Next()
				}
				i++
			})
			if allocs != 0 {
				t.Errorf("%s of %d members: %v allocations", c.name, n, allocs)
			}
		}
	}
}
