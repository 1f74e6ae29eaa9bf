package cache

import (
	"math"
	"time"
)

// number reads digits, and nothing else; more than fits is as good as the
// largest number.
func number(s string) (int64, bool) {
	const most = (math.MaxInt64 - 9) / 10
	n := int64(0)
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		if n > most {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(d)
	}
	return n, s != ""
}

// maxDelta is what a number of seconds that is too large stands for
// (RFC 9111, section 1.2.2).
const maxDelta = (1 << 31) * time.Second

// deltaSeconds reads a number of seconds.
func deltaSeconds(s string) (time.Duration, bool) {
	n, ok := number(s)
	return time.Duration(min(n, int64(maxDelta/time.Second))) * time.Second, ok
}

// qvalue reads a weight (RFC 9110, section 12.4.2), in thousandths.
func qvalue[T string | []byte](s T) (weight int, ok bool) {
	if len(s) == 0 || len(s) > len("0.000") || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	weight = int(s[0]-'0') * 1000
	for i, place := 2, 100; i < len(s); i, place = i+1, place/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		weight += int(s[i]-'0') * place
	}
	if weight > 1000 {
		return 0, false
	}
	return weight, true
}
