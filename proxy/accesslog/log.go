package accesslog

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// stripes is how many chunks are filled at a time, so that cores do not wait for
	// one another.
	stripes = 16
	// chunkSize is how many bytes are written at a time. It bounds a line: a longer
	// one is dropped.
	chunkSize = 64 << 10
	// MinBuffer is the least that Options.Buffer may be, in bytes: two chunks for
	// each stripe.
	MinBuffer = 2 * stripes * chunkSize
	// reportPause is how long after a warning the next one may come.
	reportPause = 10 * time.Second
)

// Options describe a log. All are required but for OnlyErrors and Log.
type Options struct {
	// Path is a file, which is created where there is none, or a named pipe, stdout
	// or stderr.
	Path string
	// Format is the form of lines.
	Format Format
	// OnlyErrors leaves all requests out but those that failed: with a status of 500
	// or above, or an answer that broke off, for whatever reason.
	OnlyErrors bool
	// Sample is the part of the requests, above 0 and up to 1, that have a line.
	// Those that failed always have one. Requests with an id are chosen by it, so
	// that proxies behind one another choose the same.
	Sample float64
	// Buffer bounds the lines that wait to be written, in bytes; at least MinBuffer.
	Buffer int
	// Flush is how long a line waits for others at most.
	Flush time.Duration
	// Log is told where lines are lost. Default: nothing is logged.
	Log *slog.Logger
}

// Stats are a log's counters.
type Stats struct {
	// Lines counts those written, and Dropped those lost: because the file did not
	// keep up, or because writing failed.
	Lines, Dropped uint64
}

// Log takes entries and has them written by a goroutine of its own, between
// Start and Close. It is safe for concurrent use.
type Log struct {
	o       Options
	file    *file
	stripes [stripes]stripe
	lines   sync.Pool // *[]byte, room to format a line in

	full   chan *chunk   // to be written; there is room for all
	free   chan *chunk   // written; likewise
	made   atomic.Int64  // chunks
	reopen chan struct{} // holds one, which stands for many
	stop   chan struct{}
	done   chan struct{} // nil before Start

	written, failed atomic.Uint64 // lines

	// What has been reported, by the goroutine alone.
	err      error
	dropped  uint64
	reported time.Time
}

// chunk is a number of whole lines.
type chunk struct {
	bytes []byte
	lines int
}

// stripe is a chunk that some connections fill.
type stripe struct {
	mu      sync.Mutex
	chunk   *chunk // nil before the first line after a flush
	dropped uint64
	closed  bool
	_       [24]byte
}

// New opens the file. It starts no goroutine; the caller must call Close.
func New(o Options) (*Log, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f, err := openFile(o.Path)
	if err != nil {
		return nil, err
	}
	chunks := max(o.Buffer, MinBuffer) / chunkSize
	return &Log{
		o: o, file: f, lines: sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }},
		full: make(chan *chunk, chunks), free: make(chan *chunk, chunks),
		reopen: make(chan struct{}, 1), stop: make(chan struct{}),
	}, nil
}

// Start begins to write. It is called at most once, and before Close.
func (l *Log) Start() {
	l.done = make(chan struct{})
	go l.run()
}

// Write takes an entry, of which it keeps nothing. It never waits for the file.
// Lines that are written under one number come in their order.
func (l *Log) Write(number uint64, e *Entry) {
	if !l.wants(e) {
		return
	}
	line := l.lines.Get().(*[]byte)
	*line = l.o.Format.Append((*line)[:0], e)
	l.add(&l.stripes[number%stripes], *line)
	l.lines.Put(line)
}

// wants reports whether an entry has a line.
func (l *Log) wants(e *Entry) bool {
	switch {
	case e.failed():
		return true
	case l.o.OnlyErrors:
		return false
	}
	return l.o.Sample >= 1 || draw(e.RequestID) < l.o.Sample
}

// draw returns a number from 0 up to 1: always the same for an id, and any for
// none.
func draw(id string) float64 {
	if id == "" {
		return rand.Float64()
	}
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	// Its high bits hardly depend on the last bytes: Murmur3's finalizer mixes them.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return float64((h^h>>33)>>11) / (1 << 53)
}

func (l *Log) add(s *stripe, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chunk != nil && len(s.chunk.bytes)+len(line) > chunkSize {
		l.full <- s.chunk
		s.chunk = nil
	}
	if s.chunk == nil && !s.closed {
		s.chunk = l.take()
	}
	if s.chunk == nil || len(line) > chunkSize {
		s.dropped++
		return
	}
	s.chunk.bytes = append(s.chunk.bytes, line...)
	s.chunk.lines++
}

// take returns an empty chunk, or nil where all are taken.
func (l *Log) take() *chunk {
	select {
	case c := <-l.free:
		return c
	default:
	}
	if l.made.Add(1) > int64(cap(l.free)) {
		l.made.Add(-1)
		return nil
	}
	return &chunk{bytes: make([]byte, 0, chunkSize)}
}

// run writes what there is to write. All chunks go through one queue, so that the
// lines of a stripe stay in their order.
func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(l.o.Flush)
	defer tick.Stop()
	for {
		select {
		case c := <-l.full:
			l.write(c)
		case <-tick.C:
			l.flush(false)
			l.report()
		case <-l.reopen:
			l.flush(false)
			l.writeQueued()
			if err := l.file.reopen(); err != nil {
				l.o.Log.Warn("the access log goes on as before", "error", err)
			}
		case <-l.stop:
			l.flush(true)
			l.writeQueued()
			return
		}
	}
}

// flush queues what the stripes have.
func (l *Log) flush(last bool) {
	for i := range l.stripes {
		s := &l.stripes[i]
		s.mu.Lock()
		if s.chunk != nil {
			l.full <- s.chunk
			s.chunk = nil
		}
		s.closed = last
		s.mu.Unlock()
	}
}

// writeQueued writes what is queued at this moment.
func (l *Log) writeQueued() {
	for range len(l.full) {
		l.write(<-l.full)
	}
}

// write writes a chunk, and gives it back.
func (l *Log) write(c *chunk) {
	n, err := l.file.write(c.bytes)
	l.written.Add(uint64(n))
	l.failed.Add(uint64(c.lines - n))
	if err != nil && l.err == nil {
		l.o.Log.Error("the access log cannot be written", "error", err)
	}
	if err == nil && l.err != nil {
		l.o.Log.Info("the access log can be written again")
	}
	l.err = err
	c.bytes, c.lines = c.bytes[:0], 0
	l.free <- c
}

// report tells the log of lines lost.
func (l *Log) report() {
	dropped := l.Stats().Dropped
	if now := time.Now(); dropped > l.dropped && now.Sub(l.reported) >= reportPause {
		l.o.Log.Warn("lines of the access log were lost", "lines", dropped-l.dropped)
		l.dropped, l.reported = dropped, now
	}
}

// Reopen has the goroutine write what there is and then open the path anew: what
// was renamed has all lines up to then, and the file that has the name now those
// after it. It does not wait for that.
func (l *Log) Reopen() {
	select {
	case l.reopen <- struct{}{}:
	default: // it is about to
	}
}

// Stats returns the counters at this moment.
func (l *Log) Stats() Stats {
	st := Stats{Lines: l.written.Load(), Dropped: l.failed.Load()}
	for i := range l.stripes {
		s := &l.stripes[i]
		s.mu.Lock()
		st.Dropped += s.dropped
		s.mu.Unlock()
	}
	return st
}

var errUnwritten = errors.New("the last lines of the access log are not written")

// Close writes what there is and closes the file. When ctx ends it gives up; a
// write to a file that hangs cannot be broken off, and its goroutine stays then.
// It is called once. Lines that come later are dropped.
func (l *Log) Close(ctx context.Context) error {
	if l.done == nil {
		return l.file.close()
	}
	close(l.stop)
	select {
	case <-l.done:
		return l.file.close()
	case <-ctx.Done():
	}
	if !l.file.interrupt() {
		return errUnwritten
	}
	<-l.done
	return errors.Join(errUnwritten, l.file.close())
}
