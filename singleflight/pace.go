package singleflight

import "time"

// pace measures a reader only while it keeps a passing fill waiting: a slow
// source is no reader's fault.
type pace struct {
	holding bool
	held    time.Duration // how long it has kept the fill waiting since mark
	mark    int64         // where it was then
}

// demand is what a reader that keeps the fill waiting has to do: take bytes
// within the time.
type demand struct {
	within time.Duration
	bytes  int64
}

// judge says whether a reader at pos that keeps the fill waiting meets the
// demand, and how long it may go on as it is. Where it has met the demand the
// measure starts afresh.
func (p pace) judge(pos int64, d demand) (next pace, ok bool, patience time.Duration) {
	if p.held == 0 {
		p.mark = pos
	}
	if p.held < d.within {
		return p, true, d.within - p.held
	}
	if pos-p.mark < d.bytes {
		return p, false, 0
	}
	return pace{holding: p.holding, mark: pos}, true, d.within
}

// waitForRoom waits until the readers have made room or the flight has ended,
// cutting off those that hold the others up. The lock is held.
func (w *Writer[H]) waitForRoom() {
	f := w.f
	for w.in(streaming) == nil && f.full() {
		patience, cut := f.judge()
		if cut {
			_ = f.abandonIfIdle() // the loop looks at the phase next
			continue
		}
		if w.patience == nil {
			w.patience = time.NewTimer(patience)
		} else {
			w.patience.Reset(patience)
		}
		began := time.Now()
		f.mu.Unlock()
		select {
		case <-f.room:
		case <-f.ctx.Done():
		case <-w.patience.C:
		}
		f.mu.Lock()
		w.patience.Stop()
		for took, i := time.Since(began), 0; i < len(f.readers); i++ {
			if p := &f.readers[i].pace; p.holding {
				p.held += took
			}
		}
	}
}

// judge looks at the readers in the log's first chunk, those the fill waits
// for. Where another reader has run out of bytes they have Stall to take a
// Window; else nobody is harmed, and they, a lone reader say, have ReadWait to
// take anything. It cuts off those that did not, and says how long until the
// next look.
func (f *flight[H]) judge() (patience time.Duration, cut bool) {
	need := demand{f.o.ReadWait, 1}
	for _, r := range f.readers {
		r.pace.holding = r.at == f.log.head
		if r.asleep {
			need = demand{f.o.Stall, f.o.Window}
		}
	}
	patience = f.o.Stall // by then another reader may have run out
	for i := len(f.readers) - 1; i >= 0; i-- {
		r := f.readers[i]
		if !r.pace.holding {
			continue
		}
		next, ok, left := r.pace.judge(r.pos(), need)
		r.pace = next
		if ok {
			patience = min(patience, left)
			continue
		}
		f.s.n.tooSlow.Add(1)
		r.at.pooled = false // it may be writing from there at this moment
		f.detach(r, cutOff)
		cut = true
	}
	return patience, cut
}
