package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/wire"
)

// appendHead appends a response head as fasthttp can read it. length is the
// body's: a number of bytes, wire.Chunked for one whose end is not known yet, or
// wire.UntilClose where nothing is to be said of it. A Content-Length among
// fields stays only where the response has no body of its own (to HEAD, or 304)
// and length is 0.
func appendHead(dst []byte, status int, fields wire.Fields, length int64) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, "\r\n"...)
	framed := false
	for i, f := range fields {
		if wire.EqualFold(f.Name, "Content-Length") {
			if length != 0 {
				continue
			}
			framed = true
		}
		if wire.EqualFold(f.Name, "Content-Encoding") {
			// fasthttp keeps one line of it.
			if fields.Index(f.Name, 0) != i {
				continue
			}
			f.Value, _ = fields.Joined(f.Name)
		}
		dst = wire.AppendField(dst, f.Name, f.Value)
	}
	switch {
	case framed || !hasContent(status) || length == wire.UntilClose:
	case length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	default:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, length, 10)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// hasContent reports whether a response with this status has a body, were it
// empty (RFC 9110, section 6.4.1).
func hasContent(status int) bool { return status >= 200 && status != 204 && status != 304 }

// headReader parses heads into fasthttp's form. fasthttp leaves no other way to
// set a Date that is not its own. It is not safe for concurrent use.
type headReader struct {
	buf   []byte
	bytes bytes.Reader
	bufio *bufio.Reader
}

// read replaces what h holds with the head of a response. h must come from a
// server with NoDefaultDate, or be a copy of such a header.
func (r *headReader) read(h *fasthttp.ResponseHeader, status int, fields wire.Fields, length int64) error {
	r.buf = appendHead(r.buf[:0], status, fields, length)
	r.bytes.Reset(r.buf)
	if r.bufio == nil || r.bufio.Size() < len(r.buf) {
		r.bufio = bufio.NewReaderSize(&r.bytes, max(len(r.buf), 4<<10))
	} else {
		r.bufio.Reset(&r.bytes)
	}
	if err := h.Read(r.bufio); err != nil {
		return fmt.Errorf("response head: %w", err)
	}
	if length == wire.UntilClose {
		h.ResetConnectionClose() // which is what fasthttp takes it for
	}
	return nil
}

// readHead sets the head of the answer.
func (c *call) readHead(status int, fields wire.Fields, length int64) error {
	m := c.h.heads.Get().(*headMaker)
	defer c.h.heads.Put(m)
	return m.reader.read(&c.ctx.Response.Header, status, fields, length)
}

// headMaker makes heads that are kept. It is not safe for concurrent use.
type headMaker struct {
	reader  headReader
	scratch fasthttp.ResponseHeader
}

// make writes a head to dst, as [headReader.read] does to a copy of blank. As a
// copy it takes no more memory than it needs, which a head that was read into
// dst itself would.
func (m *headMaker) make(dst, blank *fasthttp.ResponseHeader, status int, fields wire.Fields, length int64) error {
	blank.CopyTo(&m.scratch)
	if err := m.reader.read(&m.scratch, status, fields, length); err != nil {
		return err
	}
	m.scratch.CopyTo(dst)
	return nil
}
