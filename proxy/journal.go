package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/proxy/cache/memory"
)

// Journal keeps, in a file beside a snapshot of the memory tier, the invalidations
// that the snapshot does not know of, since they came after it: so that a process
// that was killed brings nothing back that it had purged. Each is in the file before
// it is acknowledged, which outlasts the process, and, some seconds later, the
// machine. The same one is written once; past 65536 different ones the journal says
// that everything was struck.
//
// The zero value is not usable; see NewJournal. A nil Journal keeps nothing. Its
// methods may be called concurrently.
type Journal struct {
	path   string
	broken func(error)

	mu   sync.Mutex
	file *os.File // nil while the file is another process's
	// kept are those of the file, and since those that came since the snapshot that
	// is being written was begun; nil while none is.
	kept, since map[strike]time.Time
}

const (
	maxJournal     = 1 << 16
	journalLine    = 10 + 8 + 4
	maxJournalFile = (2*maxJournal + 2) * journalLine // of the last process and of this one
)

// NewJournal makes a journal whose file will be at path. It keeps in memory what
// there is to write until it is opened. broken is told where the file cannot be
// written: then the snapshot must not be used again. It is called under a lock, and
// must not call the journal.
func NewJournal(path string, broken func(error)) *Journal {
	return &Journal{path: path, broken: broken, kept: make(map[strike]time.Time)}
}

// Past are the invalidations that a snapshot lacks.
type Past struct {
	struck *struck // nil where they are not known
}

// Open takes the file into use, which no other process may write any more, and
// returns what it says. Close closes it. The error says that it cannot be written;
// then the snapshot cannot be used either.
func (g *Journal) Open() (Past, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	past, sound := readJournal(g.path)
	mode := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if !sound {
		mode |= os.O_TRUNC
	}
	file, err := os.OpenFile(g.path, mode, 0o600)
	if err != nil {
		return Past{}, fmt.Errorf("journal: %w", err)
	}
	g.file = file
	if !sound {
		g.kept = map[strike]time.Time{{}: time.Now()}
	}
	if err := g.write(g.kept); err != nil {
		return Past{}, err
	}
	return past, nil
}

// Begin says that a snapshot is being written from now on. All that was struck
// before is not in it.
func (g *Journal) Begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since = make(map[strike]time.Time)
}

// Commit says that the snapshot has taken the place of the one before, and leaves
// in the file what was struck since it was begun. Where that fails, the file says
// more than it needs to.
func (g *Journal) Commit() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since == nil || g.file == nil {
		return nil
	}
	kept := g.since
	g.since = nil
	next := g.path + ".tmp"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, err = file.Write(journalLines(kept))
	if err == nil {
		err = os.Rename(next, g.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), file.Close())
	}
	// The old one is gone: what becomes of its descriptor changes nothing.
	_ = g.file.Close()
	g.file, g.kept = file, kept
	return nil
}

// Close ends the use of the file. What is struck later is not written.
func (g *Journal) Close() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file == nil {
		return nil
	}
	err := g.file.Close()
	g.file = nil
	return err
}

// strike carries strikes out once they are written down: a snapshot that is begun
// after one was written has it.
func (g *Journal) strike(list []strike, now time.Time, on *struck) {
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		fresh := keepStrikes(g.kept, list, now)
		if g.since != nil {
			keepStrikes(g.since, list, now)
		}
		if len(fresh) > 0 && g.file != nil {
			_ = g.write(fresh) // broken was told
		}
	}
	for _, x := range list {
		on.apply(x, now)
	}
}

// keepStrikes adds to kept what is not there yet, and returns that.
func keepStrikes(kept map[strike]time.Time, list []strike, now time.Time) map[strike]time.Time {
	fresh := make(map[strike]time.Time)
	for _, x := range list {
		if _, void := kept[strike{}]; void {
			break
		}
		if _, known := kept[x]; known {
			continue
		}
		if len(kept) >= maxJournal {
			x = strike{} // leaves nothing of everything
		}
		kept[x], fresh[x] = now, now
	}
	return fresh
}

// write appends lines to the file.
func (g *Journal) write(list map[strike]time.Time) error {
	if len(list) == 0 {
		return nil
	}
	_, err := g.file.Write(journalLines(list))
	if err != nil {
		err = fmt.Errorf("journal: %w", err)
		g.broken(err)
	}
	return err
}

func journalLines(list map[strike]time.Time) []byte {
	b := make([]byte, 0, len(list)*journalLine)
	inOrder := slices.SortedFunc(maps.Keys(list), func(x, y strike) int { return list[x].Compare(list[y]) })
	for _, x := range inOrder {
		line, at := len(b), list[x]
		b = append(b, x.encode()...)
		b = binary.BigEndian.AppendUint64(b, uint64(at.UnixNano()))
		b = binary.BigEndian.AppendUint32(b, uint32(xxhash.Sum64(b[line:])))
	}
	return b
}

// readJournal reads the file at path. It is sound where all of it could be read, or
// there is none.
func readJournal(path string) (p Past, sound bool) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return parseJournal(nil)
	} else if err != nil {
		return Past{}, false
	}
	defer file.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(file, maxJournalFile+1))
	if err != nil || len(b) > maxJournalFile {
		return Past{}, false
	}
	return parseJournal(b)
}

func parseJournal(b []byte) (Past, bool) {
	p := Past{struck: &struck{Epochs: memory.NewEpochs(max(2*len(b)/journalLine, 1))}}
	for ; len(b) > 0; b = b[journalLine:] {
		if len(b) < journalLine || binary.BigEndian.Uint32(b[journalLine-4:]) != uint32(xxhash.Sum64(b[:journalLine-4])) {
			return Past{}, false
		}
		x, ok := decodeStrike(string(b[:10]))
		if !ok {
			return Past{}, false
		}
		p.struck.apply(x, time.Unix(0, int64(binary.BigEndian.Uint64(b[10:]))))
	}
	return p, true
}
