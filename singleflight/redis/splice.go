package redis

import (
	"io"

	"github.com/cespare/xxhash/v2"
)

// splice passes a body on that may come from several fills, one after another:
// a later one has to begin with the bytes passed on already.
type splice struct {
	w      io.Writer
	passed int64         // bytes given to w
	had    xxhash.Digest // of those
	at     int64         // bytes that the present fill gave
	sum    xxhash.Digest // of those
}

// restart is to be called before each fill.
func (s *splice) restart() {
	s.at = 0
	s.sum.Reset()
}

// Write takes the fill's next bytes. ErrChanged says that they, or those
// before, are not what was passed on.
func (s *splice) Write(p []byte) (int, error) {
	total := len(p)
	if s.at < s.passed {
		k := min(int64(len(p)), s.passed-s.at)
		_, _ = s.sum.Write(p[:k])
		s.at += k
		p = p[k:]
		if s.at == s.passed && s.sum.Sum64() != s.had.Sum64() {
			return 0, ErrChanged
		}
	}
	if len(p) == 0 {
		return total, nil
	}
	n, err := s.w.Write(p)
	_, _ = s.sum.Write(p[:n])
	s.at += int64(n)
	s.passed, s.had = s.at, s.sum
	return total - len(p) + n, err
}

// caughtUp says that the fill gave at least what was passed on.
func (s *splice) caughtUp() bool { return s.at >= s.passed }

// is says that the fill gave a body of that length and checksum.
func (s *splice) is(e ending) bool { return s.at == e.length && s.sum.Sum64() == e.sum }
