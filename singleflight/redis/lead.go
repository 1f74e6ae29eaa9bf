package redis

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/singleflight"
)

const (
	// chunkSize is the most that one entry holds, and one call writes.
	chunkSize   = 64 << 10
	firstBuffer = 4 << 10
	// pace is how long bytes may wait for more to go with them, unless they
	// come so fast that they fill a chunk.
	pace = 10 * time.Millisecond
	// linger is the same for what comes with the head: a small body is whole
	// then, and worth one call.
	linger = time.Millisecond
)

// lead runs a fill under a lease and publishes what it writes. It returns when
// the fill has and the log is ended: all calls to the engine are bounded.
func lead[H any](ctx context.Context, ls *lease, w *singleflight.Writer[H], fill singleflight.Fill[H], codec Codec[H]) (err error) {
	after := context.WithoutCancel(ctx)
	r, err := w.Follow()
	if err != nil {
		ls.drop(after)
		return fill(ctx, w)
	}
	ls.n.hold(ls)
	p := &publisher[H]{ls: ls, r: r, codec: codec, e: ls.n.e}
	waiting, cancel := context.WithCancel(ctx)
	published := make(chan struct{})
	go func() {
		defer close(published)
		p.run(waiting, after)
	}()
	err = errors.New("redis: the fill ended its goroutine") // or panicked
	defer func() {
		if err == nil {
			_ = w.End() // a fill without a verdict has nothing to end: its group says so
		} else {
			w.Abort(err)
		}
		cancel()
		<-published
		if !p.decided {
			p.fail(after, err, errors.Is(context.Cause(ctx), singleflight.ErrClosed))
		}
		ls.n.letGo(ls)
	}()
	err = fill(context.WithValue(ctx, leaseKey{}, ls), w)
	return err
}

// publisher is a reader of the flight that writes what it reads to the log.
type publisher[H any] struct {
	e       *Engine
	ls      *lease
	r       *singleflight.Reader[H]
	codec   Codec[H]
	decided bool // the verdict has fallen
	seq     uint64
}

func (p *publisher[H]) run(waiting, after context.Context) {
	defer p.r.Close()
	head, outcome, _ := p.r.Wait(waiting)
	p.seq = 1
	switch outcome {
	case singleflight.Released:
		p.decided = true
		p.stop(after, stopPrivate, p.e.privateMemory())
	case singleflight.Ready:
		p.decided = true
		p.ship(after, p.codec.Encode(head))
	}
}

// stop ends the log without a whole body.
func (p *publisher[H]) stop(ctx context.Context, why stop, ttl time.Duration, before ...entry) {
	p.write(ctx, ttl, append(before, entry{kindStop, seal(p.ls.key, kindStop, []byte{byte(why)})})...)
}

// fail ends the log of a fill that came to no verdict.
func (p *publisher[H]) fail(ctx context.Context, err error, closing bool) {
	p.seq = 1
	switch {
	case closing || errors.Is(err, singleflight.ErrClosed):
		p.ls.drop(ctx) // the instance is ending, the response is not to blame
	case errors.Is(err, singleflight.ErrRelease):
		p.stop(ctx, stopPrivate, p.e.o.FailureMemory)
	case singleflight.IsFinal(err):
		p.stop(ctx, stopFinal, p.e.o.FailureMemory)
	default:
		p.stop(ctx, stopFailed, p.e.o.FailureMemory)
	}
}

// write appends entries and says whether the log is still ours.
func (p *publisher[H]) write(ctx context.Context, ttl time.Duration, entries ...entry) bool {
	ok, err := p.ls.append(ctx, p.seq, ttl, entries...)
	p.seq += uint64(len(entries))
	if err != nil {
		p.ls.drop(ctx) // those who follow need not wait for the lease to run out
	}
	return ok
}

// ship writes head and body.
func (p *publisher[H]) ship(ctx context.Context, head Head) {
	if head.Body != nil {
		head.Length = int64(len(head.Body))
	}
	h := heading{
		after: time.Since(p.ls.took), keep: head.Keep, length: max(head.Length, -1), identity: head.Identity,
		variant: variantTag(head.Variant), tooLarge: head.Length > p.e.o.MaxObject, bytes: head.Bytes,
	}
	first := entry{kindHead, seal(p.ls.key, kindHead, h.encode())}
	switch {
	case h.tooLarge:
		p.write(ctx, p.e.privateMemory(), first)
	case head.Body != nil:
		p.shipBody(ctx, first, h.keep, &stock{head.Body})
	default:
		p.shipBody(ctx, first, h.keep, p.r)
	}
}

// source is where a body comes from. See singleflight.Reader.
type source interface {
	ReadWithin(p []byte, d time.Duration) (int, error)
	Arrived() int64
}

// stock is a source that is there already.
type stock struct{ rest []byte }

// ReadWithin implements source.
func (s *stock) ReadWithin(p []byte, _ time.Duration) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Arrived implements source.
func (s *stock) Arrived() int64 { return int64(len(s.rest)) }

// shipBody writes the first entry with what has arrived, then each chunk that
// is full, or that has waited for more as long as pace says, and the end with
// the last of them.
func (p *publisher[H]) shipBody(ctx context.Context, first entry, keep time.Duration, src source) {
	batch, total, sum := []entry{first}, int64(0), xxhash.New()
	for due := time.Now().Add(linger); ; due = time.Now().Add(pace) {
		buf, err := p.gather(src, due, len(batch) > 0)
		if errors.Is(err, errOverloaded) {
			p.ls.drop(ctx)
			return
		}
		total += int64(len(buf))
		_, _ = sum.Write(buf)
		if len(buf) > 0 && total <= p.e.o.MaxObject {
			batch = append(batch, entry{kindChunk, seal(p.ls.key, kindChunk, buf)})
		}
		p.e.release(int64(cap(buf)))
		switch {
		case total > p.e.o.MaxObject:
			p.stop(ctx, stopTooLarge, p.e.privateMemory(), batch...)
			return
		case errors.Is(err, io.EOF):
			end := ending{length: total, sum: sum.Sum64()}
			batch = append(batch, entry{kindEnd, seal(p.ls.key, kindEnd, end.encode())})
			p.write(ctx, p.keepFor(keep), batch...)
			return
		case err != nil:
			p.cutShort(ctx, err)
			return
		case !p.write(ctx, p.e.o.LeaseTTL, batch...):
			return
		}
		batch = batch[:0]
	}
}

// keepFor is for how long a whole object is there. Those who wait for one that
// is not kept need some time to read it.
func (p *publisher[H]) keepFor(keep time.Duration) time.Duration {
	if keep < time.Millisecond {
		return 2 * p.e.o.LeaseTTL
	}
	return keep
}

// gather reads until a chunk is full, the time has come with something to
// write, or the body ends. The buffer's capacity is counted as reserved.
func (p *publisher[H]) gather(src source, due time.Time, waiting bool) (buf []byte, err error) {
	for {
		if len(buf) == cap(buf) {
			if buf, err = p.grow(buf, src.Arrived()); err != nil {
				return buf, err
			}
		}
		wait := p.e.o.Silence
		if waiting || len(buf) > 0 {
			wait = max(time.Until(due), 0)
		}
		n, err := src.ReadWithin(buf[len(buf):min(cap(buf), chunkSize)], wait)
		buf = buf[:len(buf)+n]
		switch {
		case err != nil, len(buf) == chunkSize, n == 0 && (waiting || len(buf) > 0):
			return buf, err
		}
	}
}

// grow makes room for what has arrived.
func (p *publisher[H]) grow(buf []byte, arrived int64) ([]byte, error) {
	more := int(min(max(arrived, firstBuffer, int64(3*len(buf))), int64(chunkSize-len(buf))))
	bigger := slices.Grow(buf, more)
	if extra := int64(cap(bigger) - cap(buf)); p.e.buffered.Add(extra) > p.e.o.MaxBuffered {
		p.e.buffered.Add(-extra)
		p.e.n.overloads.Add(1)
		p.e.release(int64(cap(buf)))
		return nil, errOverloaded
	}
	return bigger, nil
}

// cutShort ends the log of a body that did not come whole.
func (p *publisher[H]) cutShort(ctx context.Context, err error) {
	switch {
	case errors.Is(err, singleflight.ErrTooSlow), errors.Is(err, singleflight.ErrSilent),
		errors.Is(err, singleflight.ErrOrder), errors.Is(err, singleflight.ErrClosed):
		// The publisher was cut off, or the instance is ending: another may get
		// the body whole.
		p.ls.drop(ctx)
	default:
		p.stop(ctx, stopAborted, p.e.o.FailureMemory)
	}
}
