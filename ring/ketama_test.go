package ring

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// golden is what a real nginx did; testdata/ketama_golden.sh tells how it was
// asked.
type golden struct {
	members []Member
	factors []float64
	walks   []string
}

func readGolden(t *testing.T, path string) (g golden) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#":
		case fields[0] == "server":
			m, factor := Member{ID: fields[1]}, 1.0
			if _, err := fmt.Sscan(fields[2], &m.Weight); err != nil {
				t.Fatalf("%s: %q: %v", path, line, err)
			}
			if fields[len(fields)-1] == "down" {
				factor = 0
			}
			g.members, g.factors = append(g.members, m), append(g.factors, factor)
		default:
			g.walks = append(g.walks, fields...)
		}
	}
	return g
}

func TestKetamaIsNginx(t *testing.T) {
	paths, err := filepath.Glob("testdata/ketama_*.golden")
	if err != nil || len(paths) < 4 {
		t.Fatalf("golden files: %v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			g := readGolden(t, path)
			if len(g.walks) != 4000 {
				t.Fatalf("%d keys, want 4000", len(g.walks))
			}
			r := must(t, NewKetama, g.members).WithFactors(g.factors)
			for i, want := range g.walks {
				w := r.Walk(r.Hash(fmt.Append(nil, "key-", i)))
				got := ""
				for range len(want) {
					m, _ := w.Next()
					got += string(rune('a' + m))
				}
				if got != want {
					t.Fatalf("key-%d walks %s, in nginx %s", i, got, want)
				}
			}
		})
	}
}

// A factor keeps about that part of a member's points, and so of its keys.
func TestKetamaFactorKeepsPartOfTheKeys(t *testing.T) {
	members := mixed(10)
	r := must(t, NewKetama, members)
	hashes := randomHashes(100_000, 15)
	full := count(owners(r, hashes))[members[5].ID]
	for _, f := range []float64{0.25, 0.5, 0.75} {
		got := count(owners(r.WithFactors(factorsOf(members, 5, f)), hashes))[members[5].ID]
		if part := float64(got) / float64(full); part < f-0.1 || part > f+0.1 {
			t.Errorf("factor %v keeps %.2f of the keys", f, part)
		}
	}
}

// nginx drops a point that coincides with one of a server listed before, and
// looks no further at it when that server is down.
func TestKetamaDropsCoincidentPoints(t *testing.T) {
	r := must(t, NewKetama, []Member{{"a", 1}, {"unix:a", 1}, {"b", 1}}).WithFactors([]float64{0, 1, 1})
	if got := count(owners(r, randomHashes(1000, 16))); got["b"] != 1000 {
		t.Errorf("owners %v, want b alone", got)
	}
}
