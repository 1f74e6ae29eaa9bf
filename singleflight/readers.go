package singleflight

// What a flight does with its readers. f.mu is held unless stated otherwise.

// follow attaches a reader to a flight found in the table. It takes the lock.
func (f *flight[H]) follow(fill Fill[H]) (*Reader[H], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.left:
		return nil, errGone
	case len(f.readers) >= f.o.MaxReaders:
		f.s.n.refusedReaders.Add(1)
		return nil, ErrTooManyReaders
	}
	f.s.n.follows.Add(1)
	if f.phase != leading {
		fill = nil
	}
	return f.attach(fill), nil
}

func (f *flight[H]) attach(fill Fill[H]) *Reader[H] {
	r := &Reader[H]{f: f, fill: fill, index: len(f.readers), cursor: f.log.cursor()}
	f.readers = append(f.readers, r)
	f.s.n.readers.Add(1)
	if f.phase == leading {
		f.s.n.waiting.Add(1)
	}
	return r
}

// detach takes a reader out; its fate says why.
func (f *flight[H]) detach(r *Reader[H], why fate) {
	if f.phase == leading {
		f.s.n.waiting.Add(-1)
	}
	f.s.n.readers.Add(-1)
	last := len(f.readers) - 1
	f.swap(r.index, last)
	f.readers[last] = nil
	f.readers = f.readers[:last]
	r.index, r.fate, r.fill = -1, why, nil
	r.at.readers--
	r.wakeUp()
	f.trim()
	f.recycle()
}

// swap changes the order in which two readers are woken. Each wakes up to a
// client's answer; one that has other processes' clients behind it comes first.
func (f *flight[H]) swap(i, j int) {
	rs := f.readers
	rs[i], rs[j] = rs[j], rs[i]
	rs[i].index, rs[j].index = i, j
}

// release lets all readers but one, which may be nil, go alone.
func (f *flight[H]) release(but *Reader[H]) {
	for i := 0; i < len(f.readers); {
		if r := f.readers[i]; r == but {
			i++
		} else {
			f.s.n.released.Add(1)
			f.detach(r, letGo) // and the last one takes its place
		}
	}
}

// abandonIfIdle cancels a fill that nobody reads and nobody would keep, and
// gives the error the fill is to stop with, if any.
func (f *flight[H]) abandonIfIdle() error {
	if f.phase == streaming && len(f.readers) == 0 && (f.verdict != Store || f.passing) {
		f.s.n.abandoned.Add(1)
		f.end(aborted, ErrAbandoned)
	}
	return f.err
}

// pass turns the flight to passing mode: from now on it holds a window only.
func (f *flight[H]) pass() {
	f.passing = true
	f.leave()
	f.trim()
}

// trim drops what all readers are past, where the flight is passing.
func (f *flight[H]) trim() {
	if !f.passing {
		return
	}
	for c := f.log.shift(); c != nil; c = f.log.shift() {
		f.g.freeChunk(c)
		select {
		case f.room <- struct{}{}:
		default:
		}
	}
}

// recycle gives the log's chunks back once nobody can come to need them.
func (f *flight[H]) recycle() {
	if !f.returned || len(f.readers) > 0 {
		return
	}
	for c := f.log.head; c != nil; {
		next := c.next
		f.g.freeChunk(c)
		c = next
	}
	f.log = log{}
}

// full says that a passing fill has to wait for its readers.
func (f *flight[H]) full() bool {
	if !f.passing {
		return false
	}
	window := f.o.Window
	if f.log.thrifty {
		window = f.log.earned(window)
	}
	if f.g.buffered.Load() >= f.o.MaxBuffered {
		window = minWindow
	}
	return f.log.held() >= window
}
