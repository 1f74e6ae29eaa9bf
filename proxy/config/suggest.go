package config

import (
	"reflect"
	"slices"
	"strings"
)

// suggestKey says which key of a section the writer of an unknown one may have
// meant: the same in a section within, or else one like it.
func suggestKey(word string, section reflect.Type) string {
	if paths := pathsTo(word, section); len(paths) > 0 {
		return "did you mean " + strings.Join(paths, " or ") + "?"
	}
	return suggest(word, fieldNames(section))
}

// pathsTo returns the paths of the options named word in the sections within
// a section.
func pathsTo(word string, section reflect.Type) []string {
	var paths []string
	for i, name := range fieldNames(section) {
		inner := section.Field(i).Type
		if isLeaf(inner) || inner.Kind() != reflect.Struct {
			continue
		}
		if slices.Contains(fieldNames(inner), word) {
			paths = append(paths, name+"."+word)
		}
		for _, path := range pathsTo(word, inner) {
			paths = append(paths, name+"."+path)
		}
	}
	return paths
}

// suggest says which of the known words a writer of word may have meant, or
// else lists them.
func suggest(word string, known []string) string {
	near, least := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if n := distance(strings.ToLower(word), k); n < least {
			near, least = k, n
		}
	}
	if near != "" {
		return "did you mean " + near + "?"
	}
	return "known here: " + strings.Join(known, ", ")
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours that make b of a (optimal string alignment).
func distance(a, b string) int {
	before := make([]int, len(b)+1) // row i-2
	above := make([]int, len(b)+1)  // row i-1
	row := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
