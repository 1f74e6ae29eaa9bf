package proxy

import (
	"cmp"
	"slices"
	"strings"
)

// QueryRules say which parameters of a route's queries count, and in which
// order: they give the canonical query, from which both the key and the
// forwarded request derive. The zero value changes nothing, and so does a nil
// one. It is immutable and safe for concurrent use.
//
// A pattern is the name of a parameter, or one with a "*" anywhere, which
// stands for any bytes. Names are compared as they are once decoded, "%XX" and
// "+" alike, and with regard to case; a "*" in a name is matched only by one in
// the pattern.
type QueryRules struct {
	// Keep, if it has any pattern, drops all parameters that match none.
	Keep []string
	// Drop drops what matches one of its patterns, whether kept or not.
	Drop []string
	// Sort orders what is left by name. Parameters of one name keep their
	// order, which may mean something.
	Sort bool
}

// rewrite appends the canonical form of a query to dst. query begins with its
// "?", or is "" where there is none, and so is the canonical form.
//
// Parameters are separated by "&" only. Those that are left keep their bytes
// and, without Sort, their order. An empty one has the empty name; it also goes
// where the query is sorted or something else is dropped. So a query that the
// rules do not touch keeps each of its bytes, one of which nothing is left loses
// its "?", and a canonical query is its own canonical form. It allocates only
// where dst is too small, or where there are more than 32 parameters to sort.
func (q *QueryRules) rewrite(dst []byte, query string) []byte {
	if q == nil || query == "" || !q.Sort && len(q.Keep) == 0 && len(q.Drop) == 0 {
		return append(dst, query...)
	}
	var room [32]string
	left, dropped := room[:0], false
	for rest, more := query[1:], true; more; {
		var param string
		param, rest, more = strings.Cut(rest, "&")
		var keeps bool
		if keeps, dst = q.keeps(dst, param); !keeps {
			dropped = true
		} else if param != "" {
			left = append(left, param)
		}
	}
	if q.Sort {
		slices.SortStableFunc(left, compareNames)
	} else if !dropped {
		return append(dst, query...)
	}
	separator := byte('?')
	for _, param := range left {
		dst = append(append(dst, separator), param...)
		separator = '&'
	}
	return dst
}

// keeps reports whether the rules keep a parameter. A name that must be decoded
// is, behind the end of scratch, which comes back as it was, or grown.
func (q *QueryRules) keeps(scratch []byte, param string) (bool, []byte) {
	name := nameOf(param)
	if strings.IndexByte(name, '%') < 0 && strings.IndexByte(name, '+') < 0 {
		return selects(q, name), scratch
	}
	end := len(scratch)
	for name != "" {
		var c byte
		c, name = nextByte(name)
		scratch = append(scratch, c)
	}
	return selects(q, scratch[end:]), scratch[:end]
}

func selects[S ~string | ~[]byte](q *QueryRules, name S) bool {
	return (len(q.Keep) == 0 || matchesAny(q.Keep, name)) && !matchesAny(q.Drop, name)
}

func matchesAny[S ~string | ~[]byte](patterns []string, name S) bool {
	for _, p := range patterns {
		if glob(p, name) {
			return true
		}
	}
	return false
}

// compareNames orders parameters by their decoded names.
func compareNames(a, b string) int {
	a, b = nameOf(a), nameOf(b)
	for a != "" && b != "" {
		var x, y byte
		x, a = nextByte(a)
		y, b = nextByte(b)
		if x != y {
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}

func nameOf(param string) string {
	name, _, _ := strings.Cut(param, "=")
	return name
}

// nextByte takes the first byte off an encoded name, which may not be empty. A
// "%" that begins no encoding stands for itself.
func nextByte(s string) (byte, string) {
	switch {
	case s[0] == '+':
		return ' ', s[1:]
	case s[0] == '%' && len(s) > 2:
		if high, low := hexDigit(s[1]), hexDigit(s[2]); high >= 0 && low >= 0 {
			return byte(high<<4 | low), s[3:]
		}
	}
	return s[0], s[1:]
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// glob reports whether s matches a pattern, in which each "*" stands for any
// bytes, or none. Each "*" takes as little as it can, and is the only one that
// may have to take more: what an earlier one takes more, a later one can take
// as well.
func glob[S ~string | ~[]byte](pattern string, s S) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
