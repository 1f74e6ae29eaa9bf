package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/singleflight/redis"
)

// A snapshot is a file of frames behind a magic number and a version: one that says
// when and where it was made, one for each object, and a last one, which is empty
// and says how many there are.
//
//	file  = magic version frame*
//	frame = lengths of head and bodies, their check; sum of the head; head; bodies
//
// The check is of the lengths, so that a damaged one is never believed. The head
// has the length and the sum of each body, and the last frame the sum of all sums:
// so nothing can be changed, left out or moved unseen. Numbers are little endian,
// sums are of xxhash.
const (
	snapshotMagic   = "\x89RFSNAP\n"
	snapshotVersion = 1

	frameSize = 4 + 8 + 4 + 8
	// maxFrameHead bounds a frame's head: a key and a head of the largest sizes that
	// the configuration knows.
	maxFrameHead = 4 << 20
)

// What is wrong with a file.
var (
	errNoSnapshot      = errors.New("it is no snapshot")
	errSnapshotVersion = errors.New("its format is another version's")
	errSnapshotDamaged = errors.New("it is damaged")
)

// SnapshotOrigin says where a snapshot comes from.
type SnapshotOrigin struct {
	// Written is when the writing began.
	Written time.Time
	// Positions are how far the tier had come on the fleet's lines of invalidations;
	// nil for that of an instance by itself.
	Positions []redis.Position
}

func (o SnapshotOrigin) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(o.Written.UnixNano()))
	for _, p := range o.Positions {
		b = appendPart(b, p.Node)
		b = binary.AppendUvarint(binary.AppendUvarint(b, p.Line), p.At)
	}
	return b
}

func decodeSnapshotOrigin(b []byte) (o SnapshotOrigin, err error) {
	p := parts{rest: string(b)}
	o.Written = time.Unix(0, int64(p.number()&math.MaxInt64))
	for p.rest != "" {
		o.Positions = append(o.Positions, redis.Position{Node: p.text(), Line: p.number(), At: p.number()})
	}
	if p.bad {
		return SnapshotOrigin{}, errSnapshotDamaged
	}
	return o, nil
}

// frameWriter writes a snapshot. The first error ends it.
type frameWriter struct {
	w      io.Writer
	frames uint64
	whole  xxhash.Digest // of the sums
	bytes  int64
	buf    [frameSize]byte
	err    error
}

// newFrameWriter begins a snapshot with its first frame.
func newFrameWriter(w io.Writer, o SnapshotOrigin) *frameWriter {
	f := &frameWriter{w: w}
	f.whole.Reset()
	f.write(binary.LittleEndian.AppendUint32([]byte(snapshotMagic), snapshotVersion))
	f.frame(o.encode())
	return f
}

func (f *frameWriter) write(b []byte) {
	if f.err == nil && len(b) > 0 {
		var n int
		n, f.err = f.w.Write(b)
		f.bytes += int64(n)
	}
}

// frame writes one frame. The head is not empty.
func (f *frameWriter) frame(head []byte, bodies ...[]byte) {
	var size uint64
	for _, b := range bodies {
		size += uint64(len(b))
	}
	sum := xxhash.Sum64(head)
	f.lengths(len(head), size, sum)
	_, _ = f.whole.Write(f.buf[16:]) // a digest's writes do not fail
	f.frames++
	f.write(head)
	for _, b := range bodies {
		f.write(b)
	}
}

// end writes the last frame.
func (f *frameWriter) end() { f.lengths(0, f.frames, f.whole.Sum64()) }

func (f *frameWriter) lengths(head int, bodies, sum uint64) {
	le := binary.LittleEndian
	le.PutUint32(f.buf[:], uint32(head))
	le.PutUint64(f.buf[4:], bodies)
	le.PutUint32(f.buf[12:], uint32(xxhash.Sum64(f.buf[:12])))
	le.PutUint64(f.buf[16:], sum)
	f.write(f.buf[:])
}

// frameReader reads what a frameWriter has written, and allocates nothing for a
// length that is not known to be right.
type frameReader struct {
	r      *bufio.Reader
	left   int64 // of the file
	bodies int64 // of the frame that are not read yet
	frames uint64
	whole  xxhash.Digest
	head   []byte
}

// newFrameReader reads the beginning of a snapshot of so many bytes.
func newFrameReader(r io.Reader, size int64) (*frameReader, SnapshotOrigin, error) {
	f := &frameReader{r: bufio.NewReaderSize(r, 256<<10), left: size}
	f.whole.Reset()
	var start [len(snapshotMagic) + 4]byte
	switch err := f.read(start[:]); {
	case err != nil && !errors.Is(err, errSnapshotDamaged):
		return nil, SnapshotOrigin{}, err
	case err != nil || string(start[:len(snapshotMagic)]) != snapshotMagic:
		return nil, SnapshotOrigin{}, errNoSnapshot
	}
	if v := binary.LittleEndian.Uint32(start[len(snapshotMagic):]); v != snapshotVersion {
		return nil, SnapshotOrigin{}, fmt.Errorf("%w: %d, not %d", errSnapshotVersion, v, snapshotVersion)
	}
	head, err := f.next()
	if err != nil || head == nil {
		return nil, SnapshotOrigin{}, errors.Join(errSnapshotDamaged, err)
	}
	o, err := decodeSnapshotOrigin(head)
	return f, o, err
}

// read fills b. A file that ends too early is damaged.
func (f *frameReader) read(b []byte) error {
	if int64(len(b)) > f.left {
		return fmt.Errorf("%w: it ends too early", errSnapshotDamaged)
	}
	n, err := io.ReadFull(f.r, b)
	f.left -= int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", errSnapshotDamaged)
	}
	return err
}

// next passes over what is left of a frame, and returns the head of the one after
// it, which lasts until the next call; nil where the whole snapshot was read.
func (f *frameReader) next() ([]byte, error) {
	for f.bodies > 0 {
		n, err := f.r.Discard(int(min(f.bodies, 1<<30)))
		f.bodies, f.left = f.bodies-int64(n), f.left-int64(n)
		if err != nil {
			return nil, fmt.Errorf("%w: it ends too early", errSnapshotDamaged)
		}
	}
	var b [frameSize]byte
	if err := f.read(b[:]); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	head, bodies, sum := le.Uint32(b[:]), le.Uint64(b[4:]), le.Uint64(b[16:])
	if le.Uint32(b[12:]) != uint32(xxhash.Sum64(b[:12])) || head > maxFrameHead {
		return nil, fmt.Errorf("%w: frame %d", errSnapshotDamaged, f.frames)
	}
	if head == 0 {
		if bodies != f.frames || sum != f.whole.Sum64() {
			return nil, fmt.Errorf("%w: its parts are not those that were written", errSnapshotDamaged)
		}
		return nil, nil
	}
	if bodies > uint64(f.left) || int64(head) > f.left-int64(bodies) {
		return nil, fmt.Errorf("%w: it ends too early", errSnapshotDamaged)
	}
	if int(head) > cap(f.head) {
		f.head = make([]byte, max(int(head), 4<<10))
	}
	f.head = f.head[:head]
	if err := f.read(f.head); err != nil {
		return nil, err
	}
	if xxhash.Sum64(f.head) != sum {
		return nil, fmt.Errorf("%w: the head of frame %d", errSnapshotDamaged, f.frames)
	}
	_, _ = f.whole.Write(b[16:])
	f.frames++
	f.bodies = int64(bodies)
	return f.head, nil
}

// body reads the next body of a frame, of a length and with a sum that its head
// says, into memory of its own.
func (f *frameReader) body(size, sum uint64) ([]byte, error) {
	if size > uint64(f.bodies) {
		return nil, fmt.Errorf("%w: the lengths in frame %d", errSnapshotDamaged, f.frames)
	}
	b := make([]byte, size)
	f.bodies -= int64(size)
	if err := f.read(b); err != nil {
		return nil, err
	}
	if xxhash.Sum64(b) != sum {
		return nil, fmt.Errorf("%w: a body of frame %d", errSnapshotDamaged, f.frames)
	}
	return b, nil
}
