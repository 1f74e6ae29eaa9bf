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

// appendHead appends a response head. length is the body's: a number of bytes,
// wire.Chunked for one whose end is not known yet, or wire.UntilClose where nothing
// is to be said of it. A Content-Length among fields stays only where the response
// has no body of its own (to HEAD, or 304) and length is 0.
func appendHead(dst []byte, status int, fields wire.Fields, length int64) []byte {
	dst = appendStatus(dst, status)
	i := fields.Index("Content-Length", 0)
	dst = appendLines(dst, fields, length == 0)
	if i < 0 || length != 0 {
		dst = appendFraming(dst, status, length)
	}
	return append(dst, "\r\n"...)
}

func appendStatus(dst []byte, status int) []byte {
	if status == 200 {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	dst = strconv.AppendInt(append(dst, "HTTP/1.1 "...), int64(status), 10)
	return append(append(append(dst, ' '), http.StatusText(status)...), "\r\n"...)
}

// appendLines appends the lines of fields, that of Content-Length if it is wanted.
func appendLines(dst []byte, fields wire.Fields, withLength bool) []byte {
	for i, f := range fields {
		if !withLength && wire.EqualFold(f.Name, "Content-Length") {
			continue
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
	return dst
}

func appendFraming(dst []byte, status int, length int64) []byte {
	switch {
	case !hasContent(status) || length == wire.UntilClose:
		return dst
	case length < 0:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(strconv.AppendInt(append(dst, "Content-Length: "...), length, 10), "\r\n"...)
}

// hasContent reports whether a response with this status has a body, were it
// empty (RFC 9110, section 6.4.1).
func hasContent(status int) bool { return status >= 200 && status != 204 && status != 304 }

// heading is what a kept head says whatever is asked of the content: its lines but
// for the status and the framing, as clients get them, each with its end.
type heading string

// heading makes that of a response.
func (j *job) heading(fields wire.Fields) heading {
	return heading(appendLines(nil, j.route.Policy.TagFields.Strip(fields), false))
}

// append appends the head of an answer but for the empty line. length is as with
// [appendHead].
func (h heading) append(dst []byte, status int, length int64) []byte {
	return appendFraming(append(appendStatus(dst, status), h...), status, length)
}

// headReader parses heads into fasthttp's form. fasthttp leaves no other way to
// set a Date that is not its own. It is not safe for concurrent use.
type headReader struct {
	buf   []byte
	bytes bytes.Reader
	bufio *bufio.Reader
}

// read replaces what h holds with the head in buf. h must come from a server with
// NoDefaultDate.
func (r *headReader) read(h *fasthttp.ResponseHeader, length int64) error {
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
	r := c.h.heads.Get().(*headReader)
	defer c.h.heads.Put(r)
	r.buf = appendHead(r.buf[:0], status, fields, length)
	return r.read(&c.ctx.Response.Header, length)
}

// readHeading is readHead for a head that is kept.
func (c *call) readHeading(status int, h heading, length int64) error {
	r := c.h.heads.Get().(*headReader)
	defer c.h.heads.Put(r)
	r.buf = append(h.append(r.buf[:0], status, length), "\r\n"...)
	return r.read(&c.ctx.Response.Header, length)
}
