package singleflight

const (
	firstChunk = 4 << 10
	chunkSize  = 32 << 10
	chunkSizes = 4 // firstChunk, twice that, and so on up to chunkSize
	// minWindow is two chunks: a log that holds this much has a chunk behind
	// its last one, so a reader that moves always frees something.
	minWindow = 2 * chunkSize
	// maxSlice bounds what a reader is handed at once, so that a deadline per
	// write is one over a known amount.
	maxSlice = 64 << 10
)

// chunk is a piece of a log. Bytes below len(buf) never change; the fill alone
// writes between len and cap.
type chunk struct {
	buf     []byte
	start   int64 // place of buf[0] in the body
	next    *chunk
	readers int  // cursors in this chunk
	pooled  bool // goes back to the group's pool
}

// log is a list of chunks. Chunks before head have been dropped.
type log struct {
	first      chunk // empty, so that a cursor has a place before the first byte
	head, tail *chunk
	size       int64
	want       int64 // promised length, -1: unknown
	// thrifty is the log of one reader that may never read: it is given as much
	// room as it has shown to need.
	thrifty bool
}

// cursor is a reader's place in a log.
type cursor struct {
	at  *chunk
	off int
}

func (l *log) init() {
	l.head, l.tail, l.want = &l.first, &l.first, -1
}

// held is how many body bytes lie between the slowest cursor's chunk and the
// end.
func (l *log) held() int64 { return l.size - l.head.start }

// filled says that the promised length has been reached.
func (l *log) filled() bool { return l.want >= 0 && l.size >= l.want }

// nextSize is the size of the chunk to append: up to the promised end where
// there is one, else growing, so that small bodies need little.
func (l *log) nextSize() int {
	switch {
	case l.thrifty && l.want >= 0:
		return int(min(int64(l.unit()), l.want-l.size))
	case l.thrifty:
		return l.unit()
	case l.want >= 0:
		return int(min(chunkSize, l.want-l.size))
	}
	return min(max(2*cap(l.tail.buf), firstChunk), chunkSize)
}

// unit is the size of a thrifty log's next chunk: a thirty-second part of what
// came before, since the system takes a hundred or two of kilobytes for a client
// that reads nothing.
func (l *log) unit() int {
	n := firstChunk
	for n < chunkSize && l.size >= int64(64*n) {
		n *= 2
	}
	return n
}

// earned is how much a thrifty log may hold: an eighth of what its reader has
// taken, at least two chunks, so that one is behind the last one.
func (l *log) earned(most int64) int64 {
	return min(most, max(l.head.start/8, int64(2*l.unit())))
}

func (l *log) push(c *chunk) {
	c.start = l.size
	l.tail.next = c
	l.tail = c
}

// commit makes n bytes, written to the free part of the last chunk, visible.
func (l *log) commit(n int) {
	l.tail.buf = l.tail.buf[:len(l.tail.buf)+n]
	l.size += int64(n)
}

// free is the unwritten part of the last chunk.
func (l *log) free() []byte {
	b := l.tail.buf
	return b[len(b):cap(b)]
}

// shift takes the first chunk off if no cursor needs it, else gives nil. The link
// to the next one goes, or the log's first chunk would hold on to all of them.
func (l *log) shift() *chunk {
	c := l.head
	if c == l.tail || c.readers > 0 {
		return nil
	}
	l.head, c.next = c.next, nil
	return c
}

func (l *log) cursor() cursor {
	l.head.readers++
	return cursor{at: l.head}
}

// advance moves the cursor n bytes on, and into the next chunk when there is
// one and this one is used up.
func (c *cursor) advance(n int) {
	c.off += n
	for c.off == len(c.at.buf) && c.at.next != nil {
		c.at.readers--
		*c = cursor{at: c.at.next}
		c.at.readers++
	}
}

func (c *cursor) peek() []byte {
	b := c.at.buf[c.off:]
	return b[:min(len(b), maxSlice)]
}

func (c *cursor) pos() int64 { return c.at.start + int64(c.off) }
