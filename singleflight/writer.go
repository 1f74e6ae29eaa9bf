package singleflight

import (
	"io"
	"time"
)

// Verdict says, at the head, who may see a response. The zero value is the
// safest.
type Verdict uint8

const (
	// Private: only the leader's reader may see it. All others are released at
	// once, the key's next Join starts a flight of its own, and the fill is
	// abandoned when the leader's reader leaves. A window of the body is held.
	Private Verdict = iota
	// Share: those who wait at the verdict may see it; who joins later starts a
	// flight of its own, since nothing will be kept. The fill is abandoned
	// when the last reader leaves.
	Share
	// Store: everybody may see it, those who join until the fill has returned
	// too, and the fill goes on if all readers leave. A body longer than
	// Options.Keep turns the flight to passing mode: nobody joins any more, a
	// window of the body is held, and the fill is abandoned when the last
	// reader leaves.
	Store
)

// String gives the verdict's name in lower case.
func (v Verdict) String() string {
	switch v {
	case Store:
		return "store"
	case Share:
		return "share"
	}
	return "private"
}

// Writer is the writing end of a flight's log, valid until the fill returns.
// It is used by one goroutine at a time. When the flight has ended otherwise
// (lead time over, abandoned, group closed) its methods return the reason, and
// the fill should return.
type Writer[H any] struct {
	f        *flight[H]
	probe    [1]byte
	patience *time.Timer
}

// linger is how long those who wait are left asleep after a verdict: the first
// bytes of a body come right behind its head, though often in a packet of their
// own, and a crowd that is awake already would be served before they are read.
const linger = time.Millisecond

// Head gives the head and the verdict, once. Those whom it releases are woken
// at once, all others with the first bytes, or a millisecond later. A value that
// is no Verdict counts as Private. h is shared by all readers: it must not
// change any more.
func (w *Writer[H]) Head(h H, v Verdict) error {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := w.in(leading); err != nil {
		return err
	}
	f.verdictFell()
	f.phase, f.head, f.verdict = streaming, h, v
	switch v {
	case Store:
	case Share:
		f.leave()
	default:
		f.verdict = Private
		f.log.thrifty = true
		f.release(f.leader)
		f.pass()
	}
	f.lead.Reset(linger)
	return f.abandonIfIdle()
}

// Grow promises a body of n bytes, before any of them; a negative n promises
// nothing. A body of at most Options.Keep bytes then lies in one buffer of
// exactly that length. A body that turns out longer or shorter ends with
// ErrLength.
func (w *Writer[H]) Grow(n int64) error {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := w.in(streaming); err != nil {
		return err
	}
	if f.log.size > 0 || f.log.want >= 0 {
		return ErrOrder
	}
	if n < 0 {
		return nil
	}
	f.log.want = n
	switch {
	case f.passing || n == 0:
	case n > f.o.Keep || !f.g.reserve(int(n)):
		w.turn()
	default:
		f.mu.Unlock() // clearing megabytes takes a while
		c := f.g.newChunk(int(n))
		f.mu.Lock()
		f.log.push(c)
	}
	return w.in(streaming)
}

// turn puts a shareable flight into passing mode.
func (w *Writer[H]) turn() {
	w.f.s.n.passing.Add(1)
	w.f.pass()
	_ = w.f.abandonIfIdle() // each caller looks at the phase next
}

// Write appends a copy of p, waiting for slow readers in passing mode.
func (w *Writer[H]) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		b, err := w.space()
		if err != nil {
			return total, err
		}
		if len(b) == 0 {
			return total, ErrLength
		}
		n := copy(b, p)
		if err := w.commit(n); err != nil {
			return total, err
		}
		total += n
		p = p[n:]
	}
	return total, nil
}

// ReadFrom appends what r gives until its end, read straight into the log;
// each read wakes the readers. It returns r's error as it is. In passing mode
// it waits for slow readers; it bounds no silence of r's.
func (w *Writer[H]) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for empty := 0; ; {
		b, err := w.space()
		if err != nil {
			return total, err
		}
		over := len(b) == 0
		if over {
			b = w.probe[:] // all that was promised is here: only the end may follow
		}
		n, rerr := r.Read(b)
		switch {
		case n > 0 && over:
			return total, ErrLength
		case n > 0:
			if err := w.commit(n); err != nil {
				return total, err
			}
			total += int64(n)
			empty = 0
		default:
			empty++
		}
		if rerr == io.EOF {
			return total, nil
		}
		if rerr != nil {
			return total, rerr
		}
		if empty == 100 {
			return total, io.ErrNoProgress
		}
	}
}

// End says that the body is complete: readers see its end now, while the
// flight can be joined until the fill returns. A body shorter than promised is
// aborted instead, with ErrLength. A second End does nothing.
func (w *Writer[H]) End() error {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.in(complete) == nil {
		return nil
	}
	if err := w.in(streaming); err != nil {
		return err
	}
	f.endBody(nil)
	return f.err
}

// Abort ends a body that cannot be completed, as the fill's return with err
// does, for who calls a fill from within one. Before Head and after End it does
// nothing.
func (w *Writer[H]) Abort(err error) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.in(streaming) == nil {
		f.endBody(err)
	}
}

// Body gives the whole body in one piece, after End; nil before, and nil where
// the flight passed it on without keeping it. It is a copy unless the body
// fills its buffer exactly, as it does after Grow. The caller may keep it and
// must not change it: readers may still be reading it.
func (w *Writer[H]) Body() []byte {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.in(complete) != nil || f.passing {
		return nil
	}
	if c := f.log.first.next; c != nil && c.next == nil && len(c.buf) == cap(c.buf) {
		c.pooled = false
		return c.buf
	}
	b := make([]byte, 0, f.log.size)
	for c := f.log.head; c != nil; c = c.next {
		b = append(b, c.buf...)
	}
	return b
}

// Follow attaches a reader from within, for a fill that ships the log elsewhere
// while it writes it. It is a reader like any other, released by a Private
// verdict and cut off when it stalls, but does not count against MaxReaders, has
// no fill to be elected and is woken before those who joined. It sees the end at
// End or Abort; before a verdict only its own ctx ends its Wait. ErrOrder in a
// flight that cannot be joined any more.
func (w *Writer[H]) Follow() (*Reader[H], error) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writer != w || f.left {
		return nil, ErrOrder
	}
	r := f.attach(nil)
	f.swap(0, r.index)
	return r, nil
}

// in is nil where the writer is the flight's and the flight is in phase p. The
// lock is held.
func (w *Writer[H]) in(p phase) error {
	f := w.f
	switch {
	case f.writer != w:
		return ErrOrder
	case f.phase == p:
		return nil
	case f.err != nil:
		return f.err
	}
	return ErrOrder
}

// space gives the room to write to next: none when all that was promised has
// come.
func (w *Writer[H]) space() ([]byte, error) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full() {
		w.waitForRoom()
	}
	if err := w.in(streaming); err != nil {
		return nil, err
	}
	if f.log.filled() || len(f.log.free()) > 0 {
		return f.log.free(), nil
	}
	n := f.log.nextSize()
	if !f.g.reserve(n) {
		if !f.passing {
			w.turn()
		}
		if err := w.in(streaming); err != nil {
			return nil, err
		}
		f.g.buffered.Add(int64(n)) // a passing flight holds little, but never nothing
	}
	f.log.push(f.g.newChunk(n))
	return f.log.free(), nil
}

// commit makes n bytes of space visible.
func (w *Writer[H]) commit(n int) error {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := w.in(streaming); err != nil {
		return err
	}
	f.log.commit(n)
	if !f.passing && f.log.size > f.o.Keep {
		w.turn()
	}
	f.wakeAll()
	return w.in(streaming)
}
