package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// ramp is the factor of each step of a slow start.
func ramp() []float64 {
	factors := []float64{0.01}
	for f := 0.05; f < 1; f += 0.05 {
		factors = append(factors, f)
	}
	return append(factors, 1)
}

// A member that starts slowly gets its keys back and keeps them: no key moves
// twice, and none between the others.
func TestRampMovesEachKeyOnceToTheRampedMember(t *testing.T) {
	eachSet(t, func(t *testing.T, build func([]Member) (*Ring, error), members []Member, rng *rand.Rand) {
		ramped := rng.IntN(len(members))
		id := members[ramped].ID
		hashes := randomHashes(5000, 6)
		r := must(t, build, members)
		last := owners(r.WithFactors(factorsOf(members, ramped, 0)), hashes)
		for _, f := range append([]float64{1e-30}, ramp()...) {
			now := owners(r.WithFactors(factorsOf(members, ramped, f)), hashes)
			for i := range hashes {
				if now[i] != last[i] && now[i] != id {
					t.Fatalf("factor %v: a key moved from %s to %s, not to %s", f, last[i], now[i], id)
				}
			}
			last = now
		}
		if want := owners(r, hashes); differences(want, last) > 0 {
			t.Error("the ramp did not end where it was before the member went")
		}
	})
}

// The share of a ramping member follows its factor. With ketama a member of
// 160 points has its share within some eight per cent, a tenth of its points
// within 25: so many sets are added up.
func TestShareFollowsTheRamp(t *testing.T) {
	for _, c := range constructors {
		const sets, keys, n = 24, 4000, 8
		for _, f := range []float64{0.01, 0.05, 0.2, 0.5, 0.8, 1} {
			got, want := 0, 0.0
			for seed := range uint64(sets) {
				members := randomMembers(rand.New(rand.NewPCG(seed, 4)), n, 4)
				own := f * float64(members[0].Weight)
				r := must(t, c.make, members).WithFactors(factorsOf(members, 0, f))
				got += count(owners(r, randomHashes(keys, seed)))[members[0].ID]
				want += keys * own / (own + totalWeight(members[1:]))
			}
			part := 0.02
			if c.name == "ketama" {
				part = 0.06 + 0.02/math.Sqrt(f)
			}
			near(t, fmt.Sprintf("%s, factor %v", c.name, f), got, want, part)
		}
	}
}

// Where two members ramp at once, keys still move to these only, and those that
// have arrived at their owner of before stay. Between the two a key may move
// once more: where both own it one after the other in its walk, and the farther
// one took it first. That befalls at most the square of their share.
func TestTwoRampsAtOnce(t *testing.T) {
	for _, c := range constructors {
		for _, lag := range []int{0, 5} {
			t.Run(fmt.Sprintf("%s/lag-%d", c.name, lag), func(t *testing.T) {
				members := randomMembers(rand.New(rand.NewPCG(5, uint64(lag))), 10, 3)
				hashes := randomHashes(20_000, 16)
				r := must(t, c.make, members)
				home := owners(r, hashes)
				factors := factorsOf(members, 2, 0)
				factors[7] = 0
				last := owners(r.WithFactors(factors), hashes)
				moves := make([]int, len(hashes))
				steps := ramp()
				for step := range len(steps) + lag {
					factors[2], factors[7] = steps[min(step, len(steps)-1)], 0
					if step >= lag {
						factors[7] = steps[step-lag]
					}
					now := owners(r.WithFactors(factors), hashes)
					for i := range hashes {
						if now[i] == last[i] {
							continue
						}
						if moves[i]++; now[i] != members[2].ID && now[i] != members[7].ID {
							t.Fatalf("step %d: a key moved from %s to %s", step, last[i], now[i])
						}
					}
					last = now
				}
				if differences(home, last) > 0 {
					t.Error("the ramps did not end where they were before the members went")
				}
				again, most := 0, 0
				for _, n := range moves {
					most = max(most, n)
					if n > 1 {
						again++
					}
				}
				share := float64(members[2].Weight+members[7].Weight) / totalWeight(members)
				t.Logf("share %.3f: %.2f %% of the keys moved twice, %d times at most", share, 100*float64(again)/float64(len(hashes)), most)
				if float64(again) > share*share*float64(len(hashes)) || most > 3 {
					t.Errorf("%d of %d keys moved more than once, up to %d times", again, len(hashes), most)
				}
			})
		}
	}
}
