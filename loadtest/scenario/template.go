package scenario

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// template is a text with places for what differs from one request to the next.
type template struct {
	parts []string // texts and places in turn, a text first
}

var (
	placePattern = regexp.MustCompile(`\{(?:key|n|size|random)\}`)
	bracePattern = regexp.MustCompile(`[{}]`)
)

// Places says what a template may have.
const Places = "{key}, {n} (the request's number), {size} (that of the key), {random}"

func parseTemplate(text string) template {
	var t template
	from := 0
	for _, at := range placePattern.FindAllStringIndex(text, -1) {
		t.parts = append(t.parts, text[from:at[0]], text[at[0]+1:at[1]-1])
		from = at[1]
	}
	return template{append(t.parts, text[from:])}
}

// parseTarget reads the template of a path and query, in which nothing else may be in
// braces.
func parseTarget(text string) (template, error) {
	switch {
	case !strings.HasPrefix(text, "/"):
		return template{}, errors.New("path: want one that begins with /")
	case bracePattern.MatchString(placePattern.ReplaceAllString(text, "")):
		return template{}, errors.New("path: want no braces but of " + Places)
	case strings.ContainsAny(text, " \t\r\n"):
		return template{}, errors.New("path: want no blanks; %20 stands for one")
	}
	return parseTemplate(text), nil
}

// values are what stands in the places.
type values struct {
	key    string
	n      int
	size   int64
	random *rand.Rand
}

func (t template) with(v values) string {
	if len(t.parts) == 1 {
		return t.parts[0]
	}
	var b strings.Builder
	for i, part := range t.parts {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		switch part {
		case "key":
			b.WriteString(v.key)
		case "n":
			b.WriteString(strconv.Itoa(v.n))
		case "size":
			b.WriteString(strconv.FormatInt(v.size, 10))
		case "random":
			b.WriteString(strconv.FormatUint(v.random.Uint64(), 10))
		}
	}
	return b.String()
}
