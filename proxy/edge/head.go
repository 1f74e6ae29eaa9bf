package edge

import (
	"bytes"
	"errors"
	"os"
	"time"
	"unsafe"

	"ringfence/proxy/wire"
)

// errGone says that there is nobody to tell of a refusal.
var errGone = &wire.Refusal{}

// readHead reads one head, of which there is a byte, and sets the request.
func (c *Conn) readHead() *wire.Refusal {
	lim := &c.opts.Limits
	var began time.Time
	for skipped := false; ; {
		in := c.in.Load()
		buf, _ := in.Peek(in.Buffered())
		old := len(c.head)
		c.head = append(c.head, buf...)
		if !skipped && len(c.head) >= 2 && c.head[0] == '\r' && c.head[1] == '\n' {
			// An empty line before a request is let pass (RFC 9112, section 2.2).
			skipped = true
			_, _ = in.Discard(2 - old) // they are buffered
			c.head = c.head[:0]
			if c.in.Buffered() > 0 {
				continue
			}
			buf, old = nil, 0
		}
		if end := headEnd(c.head, old); end > 0 {
			_, _ = in.Discard(end - old) // they are buffered
			c.in.Unload()
			c.head = c.head[:end]
			return c.parse(began)
		}
		_, _ = in.Discard(len(buf))
		c.in.Unload()
		if r := doomed(c.head, old, lim.MaxHead); r != nil {
			return r
		}
		if began.IsZero() {
			began = time.Now()
			c.clock.read, c.clock.end = 0, time.Time{}
			if lim.Head > 0 {
				c.clock.end = began.Add(lim.Head)
			}
			if c.clock.allowRead() != nil {
				return errGone
			}
		}
		if _, err := c.in.Load().Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && len(c.head) > 0 {
				c.door.late[lateHead].Add(1)
				return &wire.Refusal{Status: 408, Why: "the request head did not arrive in time"}
			}
			return errGone
		}
	}
}

// headEnd returns the length of the head that buf begins with, its empty line
// included, or 0 while that is missing. The first scanned bytes were looked at
// before.
func headEnd(buf []byte, scanned int) int {
	for at := max(scanned-3, 0); ; {
		i := indexLF(buf[at:])
		if i < 0 {
			return 0
		}
		at += i + 1
		if at >= 4 && buf[at-2] == '\r' && buf[at-3] == '\n' && buf[at-4] == '\r' {
			return at
		}
	}
}

// doomed says of the beginning of a head what cannot become better by more of it.
func doomed(head []byte, scanned, limit int) *wire.Refusal {
	if len(head) > 0 && !wire.IsToken(string(head[:1])) && head[0] != '\r' {
		return &wire.Refusal{Status: 400, Why: "this is not HTTP"}
	}
	for at := scanned; ; {
		i := indexLF(head[at:])
		if i < 0 {
			break
		}
		if at += i; at == 0 || head[at-1] != '\r' {
			return &wire.Refusal{Status: 400, Why: "a line of the head does not end with CRLF"}
		}
		at++
	}
	switch {
	case len(head) < limit:
		return nil
	case indexLF(head) < 0:
		return &wire.Refusal{Status: 414, Why: "the request target is too long"}
	}
	return &wire.Refusal{Status: 431, Why: "the request head is too large"}
}

// parse sets the request from the bytes of its head. began is when it did, zero
// where it came in one piece.
func (c *Conn) parse(began time.Time) *wire.Refusal {
	lim := &c.opts.Limits
	if len(c.head) > lim.MaxHead {
		return &wire.Refusal{Status: 431, Why: "the request head is too large"}
	}
	var r *wire.Refusal
	c.req.RequestHead, r = wire.ParseRequestHead(c.req.Fields, view(c.head), wire.RequestLimits{MaxTarget: lim.MaxTarget, MaxFields: lim.MaxFields})
	if r != nil {
		return r
	}
	c.clock.read, c.clock.write = lim.Read, lim.Write
	c.clock.begin(time.Time{})
	c.req.Time = time.Now()
	if lim.Request > 0 {
		if began.IsZero() {
			began = c.req.Time
		}
		c.clock.begin(began.Add(lim.Request))
	}
	if c.req.Length == 0 {
		return nil
	}
	if lim.MaxBody > 0 && c.req.Length > lim.MaxBody {
		return &wire.Refusal{Status: 413, Why: ErrBodyTooLarge.Error()}
	}
	c.body = Body{Length: c.req.Length, waits: c.req.Continue, max: lim.MaxBody, clock: &c.clock, missed: &c.door.late[lateBody]}
	if c.req.Length == wire.Chunked {
		c.body.src = wire.NewChunkedIntake(&c.in)
	} else {
		c.body.src = &exactly{&c.in, c.req.Length}
	}
	c.req.Body = &c.body
	return nil
}

// The stand-ins of a request: what fasthttp has to know to write an answer.
const (
	standInGet     = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	standInHead    = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
	standInClose   = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	standInEnd     = "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	standInOld     = "GET / HTTP/1.0\r\n\r\n"
	standInOldHead = "HEAD / HTTP/1.0\r\n\r\n"
	standInKept    = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
	standInKeptEnd = "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
)

func (c *Conn) standIn() string {
	head := c.req.Method == "HEAD"
	switch old := c.req.Minor == 0 && c.req.Method != ""; {
	case old && c.last && head:
		return standInOldHead
	case old && c.last:
		return standInOld
	case old && head:
		return standInKeptEnd
	case old:
		return standInKept
	case c.last && head:
		return standInEnd
	case c.last:
		return standInClose
	case head:
		return standInHead
	}
	return standInGet
}

func indexLF(b []byte) int { return bytes.IndexByte(b, '\n') }

// view returns b as a string without copying it. It is valid as long as b is not
// changed.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
