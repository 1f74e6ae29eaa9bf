package redis

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"ringfence/singleflight"
)

const (
	// maxAttempts is how many fills of a key may fail in a row, in the whole
	// fleet, before all who wait are told.
	maxAttempts = 2
	// maxReplaced is how often one flight puts a log out of the way before it
	// does without.
	maxReplaced = 3
	// pollEvery is how often a follower looks without having been woken.
	pollEvery = 250 * time.Millisecond
	// firstRead is how much is asked for together with the lease: a small
	// object whole.
	firstRead = 2 * chunkSize
	// liveRead is how much is asked for while a fill goes on.
	liveRead = 8 * chunkSize
)

// flight is one call of Lead.
type flight[H any] struct {
	l       *Locker[H]
	n       *node
	own     string // log of the key
	plain   string // that of the name alone, where the key is a variant's; else ""
	variant uint64
	w       *singleflight.Writer[H]
	fill    singleflight.Fill[H]
	codec   Codec[H]

	log      string    // the one being read, own or plain
	first    string    // id of its first entry
	expires  time.Time // the earliest that its lease can run out; zero without one
	last     string    // of the last one read
	next     uint64    // number of the next one
	opening  opening
	attempt  int    // of ours, should we lead
	rejected string // log to be replaced
	replaced int
	late     int  // reads in a row that took too long
	waited   bool // something was still to come when we first looked

	headed   bool
	head     H
	heading  heading
	out      splice
	lastByte time.Time // when something new was read
}

// step is what to do after a reply.
type step uint8

const (
	stepWait    step = iota // for more
	stepAgain               // there is more
	stepReplace             // the log is of no use: put an own in its place
	stepAlone               // the log is of no use to us alone
	stepDone                // the flight has ended, with the error given
)

// run asks for the lease until it has it, or has all of another's log.
func (f *flight[H]) run(ctx context.Context) error {
	q := query{own: f.own, plain: f.plain, variant: f.variant, bytes: firstRead}
	var ear *watch
	defer func() {
		if ear != nil {
			ear.stop()
			f.l.e.follows.Add(-1)
		}
	}()
	for f.lastByte = time.Now(); ; {
		link := f.n.link.Load()
		q.rejected, q.last = f.rejected, f.last
		q.opening = opening{attempt: f.attempt, born: f.n.line.position()}
		r, err := f.ask(ctx, q)
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case f.headed && errors.Is(err, context.DeadlineExceeded) && f.late < fall:
			f.late++ // another fill would cost more than asking again
			continue
		case err != nil || link == nil:
			return f.alone(ctx, true)
		case r.lease != nil:
			return f.lead(ctx, r.lease)
		}
		f.late = 0
		next, err := f.take(r)
		switch next {
		case stepDone:
			return err
		case stepAlone:
			return f.alone(ctx, false)
		case stepReplace:
			f.rejected = r.first
			if f.replaced++; f.replaced > maxReplaced {
				return f.alone(ctx, false)
			}
		case stepAgain:
			q.bytes = f.nextRead(r)
		case stepWait:
			f.waited = true
			q.bytes = f.nextRead(r)
			if ear, err = f.attend(ctx, link, ear, r.left); errors.Is(err, errOverloaded) {
				return f.alone(ctx, true)
			} else if err != nil {
				return err
			}
		}
	}
}

// ask joins, the bytes it may bring being reserved.
func (f *flight[H]) ask(ctx context.Context, q query) (reply, error) {
	q.bytes = f.l.e.reserve(q.bytes)
	if q.bytes == 0 {
		return reply{}, errOverloaded
	}
	defer f.l.e.release(q.bytes)
	return f.n.join(ctx, q)
}

// nextRead is how much to ask for next: all there is of what is whole.
func (f *flight[H]) nextRead(r reply) int64 {
	if r.left > f.l.e.o.LeaseTTL {
		return mostRead
	}
	return liveRead
}

// attend returns when there may be more to read, with what it listens by. Where
// it has just begun to listen that is at once: for what came before.
func (f *flight[H]) attend(ctx context.Context, l *link, ear *watch, left time.Duration) (*watch, error) {
	switch {
	case ear == nil:
		f.l.e.n.heldElsewhere.Add(1)
		if f.l.e.follows.Add(1) > int64(f.l.e.o.MaxFollows) {
			f.l.e.follows.Add(-1)
			f.l.e.n.overloads.Add(1)
			return nil, errOverloaded
		}
		return f.n.watch(ctx, l, f.log), nil
	case ear.key == f.log:
		if err := f.wait(ctx, l, ear, left); err != nil || !ear.over() {
			return ear, err
		}
	}
	ear.stop()
	return f.n.watch(ctx, l, f.log), nil
}

// wait ends when the follower is woken, at the next poll, when the lease has
// run out or when the node has gone out of use.
func (f *flight[H]) wait(ctx context.Context, l *link, ear *watch, left time.Duration) error {
	if time.Since(f.lastByte) > f.l.e.o.Silence {
		return ErrSilent
	}
	poll := jitter(pollEvery)
	if left >= 0 {
		poll = min(poll, left+time.Millisecond)
	}
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.down:
	case <-ear.wake:
	case <-t.C:
	}
	return nil
}

// take reads what a reply brought.
func (f *flight[H]) take(r reply) (step, error) {
	another := r.first != f.first || r.log != f.log
	early, before := another && !f.headed && time.Now().Before(f.expires), f.opening
	f.expires = time.Time{}
	if r.left <= f.l.e.o.LeaseTTL {
		f.expires = time.Now().Add(r.left)
	}
	if another {
		f.log, f.first, f.last, f.next, f.opening = r.log, r.first, "", 0, opening{}
		f.out.restart()
	}
	all, err := items(f.log, f.first, f.next, r.entries)
	if err != nil {
		return f.bad()
	}
	if len(all) > 0 {
		f.lastByte = time.Now()
	}
	if early && len(all) > 0 && all[0].kind == kindOpen {
		if o, err := decodeOpening(all[0].payload); err == nil && o.attempt <= before.attempt {
			// The one before gave up, since it could not publish, and so may this
			// one: nobody waits for them one after another.
			return stepAlone, nil
		}
	}
	if !f.headed {
		if next, err := f.foresee(all); next != stepWait {
			return next, err
		}
	}
	for _, it := range all {
		f.l.e.n.read.Add(int64(len(it.payload)))
		next, err := f.read(r, it)
		if next != stepWait {
			return next, err
		}
		f.last = fenceOf(f.first) + "-" + number(f.next)
		f.next++
	}
	if r.more {
		return stepAgain, nil
	}
	return stepWait, nil
}

func fenceOf(first string) string {
	fence, _, _ := strings.Cut(first, "-")
	return fence
}

// bad counts a value that is damaged or foreign.
func (f *flight[H]) bad() (step, error) {
	f.l.e.n.badValues.Add(1)
	return stepReplace, nil
}

// foresee looks at the end of what came before any of it is given to readers,
// who could not be given the rest.
func (f *flight[H]) foresee(all []item) (step, error) {
	if len(all) == 0 || all[len(all)-1].kind != kindStop {
		return stepWait, nil
	}
	switch s, _ := decodeStop(all[len(all)-1].payload); s {
	case stopAborted:
		if all[0].kind == kindOpen {
			f.opening, _ = decodeOpening(all[0].payload)
		}
		return f.failed()
	case stopTooLarge:
		return stepAlone, nil
	}
	return stepWait, nil
}

// failed is what follows a fill that came to nothing: another, or the end for
// all where there were enough.
func (f *flight[H]) failed() (step, error) {
	if f.opening.attempt >= maxAttempts {
		return stepDone, singleflight.Final(ErrFailed)
	}
	f.attempt = f.opening.attempt + 1
	return stepReplace, nil
}

// read takes one entry; stepWait means that the next one may follow.
func (f *flight[H]) read(r reply, it item) (step, error) {
	switch it.kind {
	case kindOpen:
		var err error
		if f.opening, err = decodeOpening(it.payload); err != nil {
			return f.bad()
		}
		return stepWait, nil
	case kindHead:
		h, err := decodeHeading(it.payload)
		if err != nil || f.next != 1 {
			return f.bad()
		}
		return f.readHead(r, h)
	case kindChunk:
		if f.next < 2 {
			return f.bad()
		}
		if _, err := f.out.Write(it.payload); err != nil {
			return stepDone, err
		}
		return stepWait, nil
	case kindEnd:
		e, err := decodeEnding(it.payload)
		if err != nil || f.next < 2 || !f.out.is(e) {
			return f.bad()
		}
		return stepDone, f.end()
	case kindStop:
		s, err := decodeStop(it.payload)
		if err != nil {
			return f.bad()
		}
		return f.stopped(s)
	}
	return f.bad()
}

func (f *flight[H]) readHead(r reply, h heading) (step, error) {
	switch {
	case h.tooLarge:
		return stepAlone, nil
	case f.headed && h.identity != f.heading.identity:
		return stepDone, ErrChanged
	case f.headed:
		return stepWait, nil
	case h.keep <= 0 && !f.waited:
		return stepAlone, nil // it is for those who waited
	}
	born, ok := uint64(math.MaxUint64), true
	if f.l.e.o.Tier != nil {
		born, ok = f.n.line.clock(f.opening.born)
	}
	if !ok && r.left <= f.l.e.o.LeaseTTL {
		return stepAlone, nil // a fill under way that knows of more than we do
	} else if !ok {
		return stepReplace, nil
	}
	hd, err := f.codec.Decode(Stored{Bytes: h.bytes, Length: h.length, Age: max(r.since-h.after, 0), Born: born})
	switch {
	case err != nil && r.left <= f.l.e.o.LeaseTTL:
		return stepAlone, nil // it is of use to those it was begun for
	case err != nil:
		return stepReplace, nil
	}
	v := singleflight.Store
	if h.keep <= 0 {
		v = singleflight.Share
	}
	if err := f.w.Head(hd, v); err != nil {
		return stepDone, err
	}
	f.headed, f.head, f.heading = true, hd, h
	if err := f.w.Grow(h.length); err != nil {
		return stepDone, err
	}
	return stepWait, nil
}

// stopped says what a log that ended without a whole body means.
func (f *flight[H]) stopped(s stop) (step, error) {
	switch {
	case s == stopTooLarge:
		return stepAlone, nil
	case s == stopAborted:
		return stepDone, ErrAborted
	case f.headed: // another fill than the one begun with came to nothing
		return stepDone, ErrChanged
	case s == stopPrivate:
		return stepDone, ErrPrivate
	case s == stopFinal:
		return stepDone, singleflight.Final(ErrFailed)
	}
	return f.failed()
}

// end completes a body that came from the engine.
func (f *flight[H]) end() error {
	if !f.out.caughtUp() {
		return ErrChanged
	}
	if err := f.w.End(); err != nil {
		return err
	}
	if f.waited {
		f.l.e.n.followed.Add(1)
	} else {
		f.l.e.n.hits.Add(1)
	}
	if body := f.w.Body(); f.heading.keep > 0 && body != nil {
		f.codec.Keep(f.head, body)
	}
	return nil
}
