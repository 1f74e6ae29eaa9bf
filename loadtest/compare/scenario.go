package compare

import (
	"fmt"
	"slices"
	"strings"
)

// Scenario is what is asked for, of every server alike.
type Scenario struct {
	Name string
	Size int  // of a body, in bytes
	Keys int  // of different targets, asked for at random
	Pass bool // what the origin answers may not be stored
}

// Scenarios are those that there are.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "hit-1k", Size: 1 << 10, Keys: 1},
		{Name: "hit-1k-1000", Size: 1 << 10, Keys: 1000},
		{Name: "hit-1k-1m", Size: 1 << 10, Keys: 1_000_000},
		{Name: "hit-100k", Size: 100 << 10, Keys: 1},
		{Name: "pass-1k", Size: 1 << 10, Keys: 1, Pass: true},
	}
}

// String says in words what is asked for.
func (s Scenario) String() string {
	what := "hit"
	if s.Pass {
		what = "pass-through"
	}
	keys := "one key"
	if s.Keys > 1 {
		keys = fmt.Sprintf("%d keys", s.Keys)
	}
	return fmt.Sprintf("%s, %d KiB, %s", what, s.Size>>10, keys)
}

// target is that of the i-th key.
func (s Scenario) target(i int) string { return fmt.Sprintf("/k/%07d", i) }

// memory is how much a cache needs for all keys, in MiB, and some more.
func (s Scenario) memory() int { return max(256, 4*s.Keys*(s.Size+1024)>>20) }

// FindScenarios returns those with these names.
func FindScenarios(names []string) ([]Scenario, error) {
	return find("scenario", names, Scenarios(), func(s Scenario) string { return s.Name })
}

func find[T any](kind string, names []string, all []T, nameOf func(T) string) (found []T, err error) {
	known := make([]string, len(all))
	for i, one := range all {
		known[i] = nameOf(one)
	}
	for _, name := range names {
		i := slices.Index(known, name)
		if i < 0 {
			return nil, fmt.Errorf("no %s is called %q: there are %s", kind, name, strings.Join(known, ", "))
		}
		found = append(found, all[i])
	}
	return found, nil
}
