package proxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"ringfence/proxy/cache"
)

// largeBody is the size from which a stored body is streamed, so that a slow
// client's deadline moves on as it reads.
const largeBody = 256 << 10

// deliverEntry answers from a stored object (RFC 9110, section 13.2.2 and 14).
func (c *call) deliverEntry(e *entry, st cache.Status, age time.Duration) {
	meta, head, body := e.choose(&c.rq)
	if err := c.readHeading(meta.Status, head, int64(len(body))); err != nil {
		c.fail(err, st.Forward)
		return
	}
	c.putAnswer(cache.Evaluate(meta, int64(len(body)), c.rq), body)
	c.text = strconv.AppendInt(c.text[:0], int64(age/time.Second), 10)
	c.ctx.Response.Header.AddBytesV("Age", c.text)
	c.putStatus(st)
	c.record.aged(age)
}

// putAnswer sends a whole body, or what of it answers the request. The head is that
// of the whole.
func (c *call) putAnswer(a cache.Answer, body []byte) {
	switch a.Kind {
	case cache.Full:
		c.putBody(body)
	case cache.NotModified:
		c.notModified()
	case cache.Part:
		c.partial(a.Span, int64(len(body)))
		c.putBody(body[a.Offset : a.Offset+a.Length])
	case cache.Parts:
		c.putParts(cache.Spans(c.rq, int64(len(body))), body)
	case cache.NotSatisfiable:
		c.notSatisfiable(int64(len(body)))
	}
}

// notSatisfiable answers 416 for a body of size bytes (RFC 9110, section
// 15.5.17).
func (c *call) notSatisfiable(size int64) {
	c.say(416, "", "the range lies outside the representation")
	c.text = cache.AppendContentRange(c.text[:0], cache.Span{}, size)
	c.ctx.Response.Header.SetBytesV("Content-Range", c.text)
}

// partial makes the header that was read that of a 206 with one part
// (RFC 9110, section 15.3.7.1).
func (c *call) partial(part cache.Span, size int64) {
	c.text = cache.AppendContentRange(c.text[:0], part, size)
	c.ctx.Response.Header.SetBytesV("Content-Range", c.text)
	c.setStatus(206)
}

// putParts sends several parts of a body (RFC 9110, section 15.3.7.2).
func (c *call) putParts(parts []cache.Span, body []byte) {
	h := &c.ctx.Response.Header
	boundary := strconv.FormatUint(rand.Uint64(), 36) + strconv.FormatUint(rand.Uint64(), 36)
	heads, tail, length := cache.Multipart(boundary, string(h.ContentType()), int64(len(body)), parts)
	pieces := make([]io.Reader, 0, 2*len(parts)+1)
	for i, p := range parts {
		pieces = append(pieces, bytes.NewReader(heads[i]), bytes.NewReader(body[p.Offset:p.Offset+p.Length]))
	}
	h.SetContentType("multipart/byteranges; boundary=" + boundary)
	c.setStatus(206)
	c.stream(io.NopCloser(io.MultiReader(append(pieces, bytes.NewReader(tail))...)), length, true)
}

func (c *call) putBody(body []byte) {
	if len(body) > largeBody && !c.ctx.IsHead() {
		c.stream(io.NopCloser(bytes.NewReader(body)), int64(len(body)), true)
		return
	}
	c.ctx.Response.SetBodyRaw(body)
}

// notModified makes the header that was read a 304 (RFC 9110, section
// 15.4.5).
func (c *call) notModified() {
	h := &c.ctx.Response.Header
	c.setStatus(304)
	h.Del("Content-Length")
	h.Del("Transfer-Encoding")
	c.ctx.Response.SkipBody = true
}

// setStatus changes the status of the header that was read, and with it the
// reason phrase, which came with it.
func (c *call) setStatus(status int) {
	c.ctx.Response.Header.SetStatusCode(status)
	c.ctx.Response.Header.SetStatusMessage(nil)
}
