package edge

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"ringfence/proxy/wire"
)

// Errors of a request's body, which its client is to blame for.
var (
	// ErrBodyTooLarge says that the body is longer than Limits.MaxBody.
	ErrBodyTooLarge = errors.New("the request body is too large")
	// ErrBodyTimeout says that nothing of the body came for Limits.Read, or that
	// the request has taken longer than Limits.Request.
	ErrBodyTimeout = errors.New("the request body did not arrive in time")
)

// Body is a request's body. It is read by one goroutine; Close may be called by
// another.
type Body struct {
	// Length is its length in bytes, or [wire.Chunked] where that is not known.
	Length int64
	// Start is called before the first read where the client waits for 100
	// (Continue). Default: the client is left to wait.
	Start func()

	src    io.Reader // gives io.EOF at the end and nowhere else
	waits  bool      // the client does not send before it is told to
	clock  *clock
	missed *atomic.Uint64 // counts that it did not arrive in time
	read   int64
	max    int64 // 0: no limit
	failed bool
	whole  atomic.Bool
	closed atomic.Bool
}

// Await blocks until Read does not, so that who reads needs no buffer meanwhile,
// as far as the source can do that. What ends the wait otherwise is what Read
// gives.
func (b *Body) Await() {
	b.begin()
	src, ok := b.src.(interface{ Await() })
	if ok && b.allow() == nil {
		src.Await()
	}
}

// Read implements io.Reader. It gives io.EOF where the body is complete,
// io.ErrUnexpectedEOF where the client went away before, [wire.ErrChunk] where
// it breaks the grammar, [ErrBodyTooLarge] and [ErrBodyTimeout].
func (b *Body) Read(p []byte) (int, error) {
	b.begin()
	if err := b.allow(); err != nil {
		return 0, err
	}
	n, err := b.src.Read(p)
	b.read += int64(n)
	b.failed = err != nil
	switch {
	case b.max > 0 && b.read > b.max:
		b.failed = true
		return 0, ErrBodyTooLarge
	case errors.Is(err, io.EOF), b.Length >= 0 && b.read == b.Length:
		b.whole.Store(true)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = ErrBodyTimeout
		b.clock.late.Store(true)
		if !b.closed.Load() {
			b.missed.Add(1)
		}
	}
	return n, err
}

// begin lets a client send that waits to be told to.
func (b *Body) begin() {
	if !b.waits {
		return
	}
	b.waits = false
	if b.Start != nil {
		b.Start()
	}
}

// allow bounds the next read, unless Close has cut the body off.
func (b *Body) allow() error {
	if err := b.clock.allowRead(); err != nil {
		return err
	}
	if b.closed.Load() {
		return b.clock.cut()
	}
	return nil
}

// Whole reports whether the body was read to its end. It may be called by any
// goroutine.
func (b *Body) Whole() bool { return b.whole.Load() }

// Close ends a Read under way and all later ones. What follows on the connection
// is no request.
func (b *Body) Close() error {
	b.closed.Store(true)
	return b.clock.cut()
}

// smallRest is how much of an unread body is read rather than the connection
// closed.
const smallRest = 64 << 10

// Spare reports whether the rest of the body is worth reading for the sake of
// the connection. It must not be called while the body is read.
func (b *Body) Spare() bool {
	return b.Whole() || !b.waits && !b.failed && !b.closed.Load() && b.Length >= 0 && b.Length-b.read <= smallRest
}

// finish reads the rest of a body that is spared.
func (b *Body) finish() error {
	if b.Whole() {
		return nil
	}
	_, err := io.Copy(io.Discard, b)
	return err
}

// exactly reads n bytes of r.
type exactly struct {
	in   *wire.Intake
	left int64
}

// Await blocks until Read does not.
func (e *exactly) Await() {
	if e.left > 0 {
		e.in.Load()
	}
}

// Read implements io.Reader.
func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > e.left {
		p = p[:e.left]
	}
	n, err := e.in.Take(p)
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// deadlines are those of a connection or a stream.
type deadlines interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// clock bounds the silence of a client, and all of a request. Deadlines are moved
// only once an eighth of their time has passed: looking at the time is cheaper
// than setting a timer.
type clock struct {
	on          deadlines
	read, write time.Duration // 0: no bound
	end         time.Time     // of the request; zero: none
	last        time.Time     // of its answer, once that has begun
	late        atomic.Bool   // the body did not arrive in time
	reading     time.Time     // the deadlines as they are set
	writing     time.Time
	made        time.Time // nobody changes it
}

// now is the present time. It costs half of [time.Now], since only the monotonic
// clock is read.
func (k *clock) now() time.Time { return k.made.Add(time.Since(k.made)) }

// answerGrace is what the answer may take at least that says that the request has
// taken too long.
const answerGrace = time.Second

// begin gives a request its time; a zero end is no bound.
func (k *clock) begin(end time.Time) {
	k.end, k.last = end, time.Time{}
	k.late.Store(false)
}

// allowRead gives the next read its time.
func (k *clock) allowRead() error { return k.move(k.on.SetReadDeadline, &k.reading, k.read, k.end) }

// allowWrite gives the next write its time.
func (k *clock) allowWrite() error {
	if k.last.IsZero() && !k.end.IsZero() {
		k.last = k.end
		if k.late.Load() {
			k.last = later(k.last, k.now().Add(answerGrace))
		}
	}
	return k.move(k.on.SetWriteDeadline, &k.writing, k.write, k.last)
}

// cut ends a read under way and those to come. Any goroutine may call it.
func (k *clock) cut() error { return k.on.SetReadDeadline(longAgo) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (k *clock) move(set func(time.Time) error, is *time.Time, allowed time.Duration, end time.Time) error {
	if allowed == 0 && end.IsZero() && is.IsZero() {
		return nil
	}
	var want time.Time
	if allowed > 0 {
		want = k.now().Add(allowed)
	}
	if !end.IsZero() && (want.IsZero() || end.Before(want)) {
		want = end
	}
	if late := want.Sub(*is); !is.IsZero() && late >= 0 && late < allowed/8 {
		return nil
	}
	*is = want
	return set(want)
}

var longAgo = time.Unix(1, 0)

// over reports whether the answer has taken its time.
func (k *clock) over() bool { return !k.last.IsZero() && !k.now().Before(k.last) }
