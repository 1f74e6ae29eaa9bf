package singleflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Outcome is how waiting for a flight's verdict ended.
type Outcome uint8

const (
	// Failed: there is no head; the error of Wait says why.
	Failed Outcome = iota
	// Ready: the head is valid and the body can be read.
	Ready
	// Released: the response is another client's; go alone.
	Released
)

// String gives the outcome's name in lower case.
func (o Outcome) String() string {
	switch o {
	case Ready:
		return "ready"
	case Released:
		return "released"
	}
	return "failed"
}

// fate is what became of a reader.
type fate uint8

const (
	attached fate = iota
	letGo         // released by the verdict
	cutOff        // too slow
	closed
)

// Reader is one client's cursor in a flight's log. It is not safe for
// concurrent use, Close included, but for Leader. It must be closed.
type Reader[H any] struct {
	cursor // f.mu guards it, as all but pending and timer
	f      *flight[H]
	fill   Fill[H] // for an election, until the verdict
	index  int     // in f.readers
	fate   fate
	asleep bool
	wake   chan struct{}
	pace   pace

	pending int // bytes handed out and used, told to the log at the next call
	timer   *time.Timer
}

// Leader says whether the flight's fill is this reader's own. An election can
// change it until Wait has returned. It may be called by any goroutine.
func (r *Reader[H]) Leader() bool {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return r.f.leader == r
}

// Wait blocks until the flight's verdict, at most until ctx ends or the
// flight's MaxLead is over. Ready comes with the head, which all readers share;
// Failed with the error of the flight, or with ctx's cause where ctx ended
// first, wrapped: then Wait may be called again. A verdict that has fallen
// goes before an ended ctx.
func (r *Reader[H]) Wait(ctx context.Context) (H, Outcome, error) {
	var none H
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case r.fate == letGo:
			return none, Released, nil
		case r.fate == closed:
			return none, Failed, ErrOrder
		case f.phase == failed:
			return none, Failed, f.err
		case f.phase != leading:
			return f.head, Ready, nil
		case ctx.Err() != nil:
			return none, Failed, fmt.Errorf("singleflight: waiting for the verdict: %w", context.Cause(ctx))
		}
		r.sleep(ctx.Done(), nil)
	}
}

// Arrived says how many bytes of the body are there to be read without waiting.
func (r *Reader[H]) Arrived() int64 {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.fate != attached {
		return 0
	}
	return r.f.log.size - r.pos() - int64(r.pending)
}

// Read gives the next bytes of the body. io.EOF means that the body is
// complete. A body that was cut short ends with the fill's error, after the
// bytes that came. Otherwise: ErrTooSlow when the reader was cut off, ErrSilent
// after Options.ReadWait without bytes (a further Read may find some), ErrOrder
// after a release or Close. To be called when Wait has said Ready.
func (r *Reader[H]) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := r.next(r.f.o.ReadWait)
	if errors.Is(err, ErrSilent) {
		r.f.s.n.silent.Add(1)
	}
	r.pending = copy(p, b)
	return r.pending, err
}

// ReadWithin is Read for who has something else to do while no bytes come: it
// waits at most d for some, and then returns 0 and nil.
func (r *Reader[H]) ReadWithin(p []byte, d time.Duration) (int, error) {
	b, err := r.next(d)
	r.pending = copy(p, b)
	if errors.Is(err, ErrSilent) {
		err = nil
	}
	return r.pending, err
}

// WriteTo writes the rest of the body to w, straight from the log, at most
// 64 KiB at a time, and returns nil when the body was complete, else w's error
// or one that Read gives. No lock is held while w writes; w must not keep what
// it is given.
func (r *Reader[H]) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		b, err := r.next(r.f.o.ReadWait)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if errors.Is(err, ErrSilent) {
			r.f.s.n.silent.Add(1)
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(b)
		if n < 0 || n > len(b) {
			panic("singleflight: writer gave an impossible count")
		}
		r.pending = n
		total += int64(n)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
}

// Close detaches the reader from its flight; where it was the last one, see
// Verdict for what becomes of the fill. Further calls do nothing.
func (r *Reader[H]) Close() {
	if r.timer != nil {
		r.timer.Stop()
	}
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.fate == closed:
	case r.index < 0:
		r.fate = closed
	default:
		f.detach(r, closed)
		_ = f.abandonIfIdle() // the fill learns it from its writer and its ctx
	}
}

// next moves the cursor past what was used and gives the bytes there, waiting
// for some at most the given time.
func (r *Reader[H]) next(wait time.Duration) ([]byte, error) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for late := (<-chan time.Time)(nil); ; {
		switch r.fate {
		case cutOff:
			return nil, ErrTooSlow
		case letGo, closed:
			return nil, ErrOrder
		}
		r.advance(r.pending)
		r.pending = 0
		f.trim()
		if b := r.peek(); len(b) > 0 {
			return b, nil
		}
		if f.phase == complete {
			return nil, io.EOF
		}
		if f.err != nil {
			return nil, f.err
		}
		if late == nil {
			late = r.lateAfter(wait)
		}
		if !r.sleep(nil, late) {
			return nil, ErrSilent
		}
	}
}

func (r *Reader[H]) lateAfter(d time.Duration) <-chan time.Time {
	if r.timer == nil {
		r.timer = time.NewTimer(d)
	} else {
		r.timer.Reset(d)
	}
	return r.timer.C
}

// sleep gives the flight's lock up until the flight wakes the reader or done is
// closed, and says false when it was late that ended it.
func (r *Reader[H]) sleep(done <-chan struct{}, late <-chan time.Time) bool {
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	r.asleep = true
	r.f.mu.Unlock()
	inTime := true
	select {
	case <-r.wake:
	case <-done:
	case <-late:
		inTime = false
	}
	r.f.mu.Lock()
	r.asleep = false
	return inTime
}

// wakeUp ends a sleep. A token left over from a sleep that ended otherwise is
// a wake-up too many at worst.
func (r *Reader[H]) wakeUp() {
	if !r.asleep {
		return
	}
	r.asleep = false
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
