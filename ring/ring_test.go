package ring

import (
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// constructors are the two ways to place members.
var constructors = []struct {
	name string
	make func([]Member) (*Ring, error)
}{{"rejection", New}, {"ketama", NewKetama}}

func must(t testing.TB, build func([]Member) (*Ring, error), members []Member) *Ring {
	t.Helper()
	r, err := build(members)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// eachSet runs f for both constructors on a few random sets of members, from
// which tests may eject one: small and larger weights, few and many members.
func eachSet(t *testing.T, f func(t *testing.T, build func([]Member) (*Ring, error), members []Member, rng *rand.Rand)) {
	for _, c := range constructors {
		for seed, size := range []struct{ members, weight int }{{2, 1}, {3, 3}, {5, 1}, {8, 40}, {10, 8}, {12, 4}} {
			t.Run(fmt.Sprintf("%s/%d-of-%d", c.name, size.members, size.weight), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(seed), 1))
				f(t, c.make, randomMembers(rng, size.members, size.weight), rng)
			})
		}
	}
}

func randomMembers(rng *rand.Rand, n, weight int) []Member {
	members := make([]Member, n)
	for i := range members {
		id := fmt.Sprintf("10.%d.%d.%d:80%02d", i, rng.IntN(256), rng.IntN(256), rng.IntN(100))
		members[i] = Member{ID: id, Weight: 1 + rng.IntN(weight)}
	}
	return members
}

// randomHashes are uniform in all 64 bits, and so in ketama's 32.
func randomHashes(n int, seed uint64) []uint64 {
	rng := rand.New(rand.NewPCG(seed, 2))
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = rng.Uint64()
	}
	return hashes
}

// owner returns the ID of the first member of the walk.
func owner(r *Ring, hash uint64) string {
	w := r.Walk(hash)
	if m, ok := w.Next(); ok {
		return r.Members()[m].ID
	}
	return ""
}

func owners(r *Ring, hashes []uint64) []string {
	ids := make([]string, len(hashes))
	for i, h := range hashes {
		ids[i] = owner(r, h)
	}
	return ids
}

func count(ids []string) map[string]int {
	counts := map[string]int{}
	for _, id := range ids {
		counts[id]++
	}
	return counts
}

// factorsOf returns ones, except for f at member i.
func factorsOf(members []Member, i int, f float64) []float64 {
	factors := slices.Repeat([]float64{1}, len(members))
	factors[i] = f
	return factors
}

// near fails unless got is within part of want, or within four and a half
// standard deviations where the sample is too small to say.
func near(t *testing.T, what string, got int, want, part float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > max(part*want, 4.5*math.Sqrt(want)) {
		t.Errorf("%s: %d keys, want %.0f within %.0f %%", what, got, want, 100*part)
	}
}

func totalWeight(members []Member) (total float64) {
	for _, m := range members {
		total += float64(m.Weight)
	}
	return total
}

func TestMembersAreValidated(t *testing.T) {
	for want, members := range map[string][]Member{
		"no members":                   nil,
		"member 1 has no ID":           {{"a", 1}, {"", 1}},
		`member "b": weight -1`:        {{"a", 1}, {"b", -1}},
		`member "b": weight 65536`:     {{"a", 1}, {"b", 65536}},
		`member "a" is listed twice`:   {{"a", 1}, {"b", 1}, {"a", 2}},
		"4097 members, more than 4096": make([]Member, MaxMembers+1),
	} {
		for _, c := range constructors {
			if _, err := c.make(members); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", c.name, err, want)
			}
		}
	}
	heavy := []Member{{"a", MaxWeight}, {"b", 2}}
	if _, err := New(heavy); err != nil {
		t.Error(err)
	}
	want := "add up to 65537, more than 65536"
	if _, err := NewKetama(heavy); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("NewKetama: %v, want %q", err, want)
	}
}

// Rings of different releases stand side by side during an upgrade: another
// sum here means that it would move everybody's keys.
func TestPlacementIsPinned(t *testing.T) {
	for _, c := range []struct {
		members []Member
		want    uint32
	}{
		{mixed(10), 0x5539db1e},
		{mixed(300), 0xfe2c9620},
		{[]Member{{"a", 100}, {"b", 65535}, {"c", 20000}}, 0xfea3bd},
	} {
		r := must(t, New, c.members)
		sum := crc32.NewIEEE()
		for i := range 2000 {
			fmt.Fprintln(sum, owner(r, r.Hash(fmt.Append(nil, "key-", i))))
		}
		if got := sum.Sum32(); got != c.want {
			t.Errorf("%d members: owners sum up to %#x, want %#x", len(c.members), got, c.want)
		}
	}
}

func TestMembersAreCopied(t *testing.T) {
	members := []Member{{"a", 1}, {"b", 1}}
	r := must(t, New, members)
	members[0].ID = "other"
	if got := r.Members()[0].ID; got != "a" {
		t.Errorf("Members()[0] became %q", got)
	}
}

func TestOrderOfTheListDoesNotMatter(t *testing.T) {
	eachSet(t, func(t *testing.T, build func([]Member) (*Ring, error), members []Member, rng *rand.Rand) {
		hashes := randomHashes(2000, 3)
		r := must(t, build, members)
		shuffled := slices.Clone(members)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		s := must(t, build, shuffled)
		for _, h := range hashes {
			if a, b := walkIDs(r, h), walkIDs(s, h); !slices.Equal(a, b) {
				t.Fatalf("walk of %x: %v, and %v from the shuffled list", h, a, b)
			}
		}
	})
}

func TestWeightsHold(t *testing.T) {
	for name, members := range map[string][]Member{
		"equal":      {{"a", 1}, {"b", 1}, {"c", 1}},
		"small":      {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 8}},
		"fractional": {{"a", 9}, {"b", 30}, {"c", 64}, {"d", 1}},
		"large":      {{"a", 65535}, {"b", 30000}, {"c", 8191}},
		"drained":    {{"a", 0}, {"b", 1}, {"c", 2}},
		"hundred":    mixed(100),
	} {
		t.Run(name, func(t *testing.T) {
			hashes := randomHashes(250_000, 4)
			counts := count(owners(must(t, New, members), hashes))
			for _, m := range members {
				want := float64(len(hashes)) * float64(m.Weight) / totalWeight(members)
				near(t, m.ID, counts[m.ID], want, 0.02)
			}
		})
	}
}

// Pearson's statistic over many members sees a bias of the probes that no
// single count shows. Its mean is n-1 and its variance 2(n-1).
func TestKeysAreSpreadUniformly(t *testing.T) {
	for _, n := range []int{3, 16, 64, 65, 500} {
		members := make([]Member, n)
		for i := range members {
			members[i] = Member{ID: fmt.Sprint("server-", i), Weight: 1}
		}
		hashes := make([]uint64, 200_000)
		for i := range hashes {
			hashes[i] = uint64(i) // Structure in the hashes must not show.
		}
		counts := count(owners(must(t, New, members), hashes))
		want, chi2 := float64(len(hashes))/float64(n), 0.0
		for _, m := range members {
			d := float64(counts[m.ID]) - want
			chi2 += d * d / want
		}
		if dof := float64(n - 1); math.Abs(chi2-dof) > 4.5*math.Sqrt(2*dof)+4 {
			t.Errorf("%d members: chi-square %.0f, want about %.0f", n, chi2, dof)
		}
	}
}

func TestEjectionMovesOnlyTheEjectedKeysAndEvenly(t *testing.T) {
	eachSet(t, func(t *testing.T, build func([]Member) (*Ring, error), members []Member, rng *rand.Rand) {
		out := rng.IntN(len(members))
		hashes := randomHashes(60_000, 5)
		r := must(t, build, members)
		before := owners(r, hashes)
		ejected := r.WithFactors(factorsOf(members, out, 0))
		after := owners(ejected, hashes)
		gained := map[string]int{}
		moved := 0
		for i := range hashes {
			switch {
			case before[i] == members[out].ID:
				gained[after[i]]++
				moved++
			case before[i] != after[i]:
				t.Fatalf("a key of %s moved to %s when %s was ejected", before[i], after[i], members[out].ID)
			}
		}
		if gained[members[out].ID] > 0 {
			t.Errorf("%d keys stayed with the ejected member", gained[members[out].ID])
		}
		if r.circle == nil {
			rest := totalWeight(members) - float64(members[out].Weight)
			for i, m := range members {
				if i != out {
					near(t, m.ID, gained[m.ID], float64(moved)*float64(m.Weight)/rest, 0.1)
				}
			}
		}
		if !slices.Equal(owners(ejected.WithFactors(nil), hashes), before) {
			t.Error("the returned member did not get exactly its keys back")
		}
	})
}

func TestFactorsOutsideTheirRange(t *testing.T) {
	members := []Member{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}}
	hashes := randomHashes(1000, 7)
	for _, c := range constructors {
		r := must(t, c.make, members)
		odd := r.WithFactors([]float64{math.Inf(1), math.NaN(), -1, 5})
		plain := r.WithFactors([]float64{1, 0, 0, 1})
		if !slices.Equal(owners(odd, hashes), owners(plain, hashes)) {
			t.Errorf("%s: factors are not clamped to [0, 1]", c.name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("factors of another length were accepted")
		}
	}()
	must(t, New, members).WithFactors([]float64{1})
}

// A new member takes its share, from all by weight. Cells it displaces may
// move as much again and more where the share is tiny; on average that is
// under a third of the share.
func TestAddingAMemberMovesItsShare(t *testing.T) {
	hashes := randomHashes(20_000, 8)
	for _, n := range []int{2, 5, 15, 40, 60, 250} {
		const trials = 12
		sum := 0.0
		for seed := range uint64(trials) {
			members := randomMembers(rand.New(rand.NewPCG(seed, uint64(n))), n+1, 1)
			before := owners(must(t, New, members[:n]), hashes)
			after := owners(must(t, New, members), hashes)
			moved := float64(differences(before, after)) / float64(len(hashes)) * float64(n+1)
			if moved > 4.5 {
				t.Errorf("adding one to %d members moved %.2f times its share", n, moved)
			}
			sum += moved
		}
		if mean := sum / trials; mean < 0.9 || mean > 1.35 {
			t.Errorf("adding one to %d members moves %.2f times its share on average", n, mean)
		}
	}
}

// The least that a change of one weight can move is the share it changes.
func TestChangingAWeightMovesTheDifference(t *testing.T) {
	hashes := randomHashes(20_000, 9)
	for _, weights := range [][2]int{{1, 2}, {2, 1}, {4, 5}, {8, 1}, {1, 0}, {0, 3}, {30, 40}, {33, 34}} {
		sum := 0.0
		const trials = 8
		for seed := range uint64(trials) {
			members := randomMembers(rand.New(rand.NewPCG(seed, 3)), 8, 4)
			if weights[0] > 8 {
				members[7].Weight = 64 // A unit of weight 8.
			}
			members[3].Weight = weights[0]
			share := float64(weights[0]) / totalWeight(members)
			before := owners(must(t, New, members), hashes)
			members[3].Weight = weights[1]
			share -= float64(weights[1]) / totalWeight(members)
			after := owners(must(t, New, members), hashes)
			sum += float64(differences(before, after)) / float64(len(hashes)) / math.Abs(share)
		}
		if mean := sum / trials; mean < 0.9 || mean > 1.35 {
			t.Errorf("weight %d to %d moves %.2f times the share it changes", weights[0], weights[1], mean)
		}
	}
}

func differences(a, b []string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}
