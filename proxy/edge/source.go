package edge

import (
	"crypto/sha256"
	"fmt"
	"os"
)

// source is something that is read from files.
type source struct {
	what  string // in words
	files []string
	// use puts what the files hold, text by text, in its place.
	use  func(texts [][]byte, in *credentials) error
	seen [sha256.Size]byte // of the texts that were read last; zero: none
	// fault is what is wrong with the files; nil: nothing.
	fault error
}

// pairSource is the certificate of one pair, the i-th.
func pairSource(i int, p KeyPair) source {
	return source{
		what: fmt.Sprintf("certificate %s with key %s", p.CertFile, p.KeyFile), files: []string{p.CertFile, p.KeyFile},
		use: func(texts [][]byte, in *credentials) error {
			cert, err := parsePair(texts[0], texts[1])
			if err == nil {
				in.all[i] = cert
			}
			return err
		},
	}
}

// rootsSource is the roots that vouch for clients.
func rootsSource(file string) source {
	return source{
		what: "client authorities " + file, files: []string{file},
		use: func(texts [][]byte, in *credentials) error {
			roots, err := parseRoots(texts[0])
			if err == nil {
				in.roots = roots
			}
			return err
		},
	}
}

// load reads the files and puts what they hold in its place, where it is
// another than at the last time. On an error, in is as it was.
func (s *source) load(in *credentials) (changed bool, err error) {
	texts := make([][]byte, len(s.files))
	var sum [sha256.Size]byte
	for i, file := range s.files {
		if texts[i], err = os.ReadFile(file); err != nil {
			s.seen, s.fault = [sha256.Size]byte{}, fmt.Errorf("%s: %w", s.what, err)
			return false, s.fault
		}
		sum = sha256.Sum256(append(sum[:], texts[i]...))
	}
	if sum == s.seen {
		return false, s.fault
	}
	s.seen, s.fault = sum, nil
	if err := s.use(texts, in); err != nil {
		s.fault = fmt.Errorf("%s: %w", s.what, err)
	}
	return s.fault == nil, s.fault
}
