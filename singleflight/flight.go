package singleflight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// phase is where a flight stands. It begins leading; streaming follows a
// verdict; the others are final.
type phase uint8

const (
	leading   phase = iota
	streaming       // verdict given, body under way
	complete        // the whole body is in the log
	aborted         // cut short after the verdict
	failed          // no verdict, err says why
	released        // no verdict, all go alone
)

// flight is one key's log and those who write and read it.
type flight[H any] struct {
	g      *Group[H]
	o      *Options[H] // of the group when it began
	s      *shard[H]
	key    string
	ctx    context.Context
	cancel context.CancelCauseFunc
	room   chan struct{} // wakes a fill that waits for readers
	lead   *time.Timer   // ends the lead time, and then the linger of the head

	mu        sync.Mutex
	phase     phase
	verdict   Verdict
	head      H
	err       error
	left      bool // out of the table, nobody may join
	passing   bool // bytes behind the slowest reader are dropped
	returned  bool // the fill's goroutine is done with the log
	elections int
	leader    *Reader[H]
	writer    *Writer[H] // of the fill that runs now
	readers   []*Reader[H]
	log       log
}

func newFlight[H any](g *Group[H], s *shard[H], key string) *flight[H] {
	f := &flight[H]{g: g, o: g.o.Load(), s: s, key: key, room: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancelCause(s.ctx)
	f.log.init()
	return f
}

// run is the flight's goroutine: the leader's fill, then those elected.
func (f *flight[H]) run(fill Fill[H]) {
	defer f.finish() // also where a fill ends its goroutine
	f.mu.Lock()
	f.lead = time.AfterFunc(f.o.MaxLead, f.overdue)
	f.mu.Unlock()
	for fill != nil {
		w := &Writer[H]{f: f}
		f.mu.Lock()
		f.writer = w
		f.mu.Unlock()
		fill = f.settle(f.call(w, fill))
	}
}

func (f *flight[H]) call(w *Writer[H], fill Fill[H]) (err error) {
	defer f.recoverTo(&err)
	return fill(f.ctx, w)
}

func (f *flight[H]) recoverTo(err *error) {
	v := recover()
	if v == nil {
		return
	}
	p := &PanicError{Value: v, Stack: debug.Stack()}
	f.s.n.panics.Add(1)
	if f.o.OnPanic != nil {
		f.o.OnPanic(f.key, p)
	}
	*err = p
}

// settle takes a fill's result and gives the fill to try next, if any.
func (f *flight[H]) settle(err error) Fill[H] {
	f.conclude(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writer = nil
	if f.phase != leading {
		return nil
	}
	if err == nil {
		err = ErrNoVerdict
	}
	err = f.because(err)
	if errors.Is(err, ErrRelease) {
		f.end(released, err)
		return nil
	}
	if next := f.elect(err); next != nil {
		return next
	}
	f.end(failed, err)
	return nil
}

// conclude ends a log that is past its head as the fill's result says.
func (f *flight[H]) conclude(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == streaming {
		f.endBody(err)
	}
}

func (f *flight[H]) endBody(err error) {
	if err == nil && f.log.want >= 0 && !f.log.filled() {
		err = errShort
	}
	if err == nil {
		f.end(complete, nil)
		return
	}
	f.end(aborted, f.because(err))
}

// because puts the reason for the cancelling, if there was one, before what
// the fill made of it.
func (f *flight[H]) because(err error) error {
	if cause := context.Cause(f.ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// elect makes a waiting reader the leader and gives its fill. Readers whose
// fill has been tried wait on, without one.
func (f *flight[H]) elect(err error) Fill[H] {
	if f.elections >= f.o.Elections || IsFinal(err) || f.ctx.Err() != nil {
		return nil
	}
	for _, r := range f.readers {
		if fill := r.fill; fill != nil {
			f.elections++
			f.s.n.elections.Add(1)
			f.leader, r.fill = r, nil
			return fill
		}
	}
	return nil
}

// overdue fails a flight without a verdict, whether or not its fill heeds the
// cancelling. Of one with a verdict the readers have waited for bytes long
// enough.
func (f *flight[H]) overdue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == leading {
		f.s.n.leadTimeouts.Add(1)
		f.end(failed, ErrLeadTime)
	} else {
		f.wakeAll()
	}
}

// finish is the last thing the flight's goroutine does, even where the fill
// left by runtime.Goexit.
func (f *flight[H]) finish() {
	f.settle(errExited)
	f.mu.Lock()
	f.returned = true
	f.leave()
	f.recycle()
	f.mu.Unlock()
	f.cancel(nil)
	f.g.retire()
}

// end moves the flight to a final phase and wakes all readers. The lock is
// held.
func (f *flight[H]) end(p phase, err error) {
	if f.phase == leading {
		f.verdictFell()
	}
	f.phase, f.err = p, err
	switch p {
	case aborted:
		f.s.n.aborted.Add(1)
		f.leave()
		f.cancel(err)
	case failed:
		f.s.n.failed.Add(1)
		f.leaveFailed(err)
		f.cancel(err)
	case released:
		f.leave()
		f.release(nil)
	}
	f.wakeAll()
}

// verdictFell is for what ends with the leading phase.
func (f *flight[H]) verdictFell() {
	f.s.n.waiting.Add(-int64(len(f.readers)))
	for _, r := range f.readers {
		r.fill = nil // what it holds is its client's, and not needed again
	}
}

func (f *flight[H]) wakeAll() {
	f.lead.Stop()
	for _, r := range f.readers {
		r.wakeUp()
	}
}

// leave takes the flight out of the table, so that the next Join starts one.
func (f *flight[H]) leave() {
	if f.left {
		return
	}
	f.left = true
	f.s.mu.Lock()
	delete(f.s.flights, f.key)
	f.s.mu.Unlock()
}

// leaveFailed does so in one step with remembering the failure, so that no
// Join comes between.
func (f *flight[H]) leaveFailed(err error) {
	f.left = true
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	delete(f.s.flights, f.key)
	f.s.failures.add(f.key, err, time.Now())
}
