package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// conn is a connection of HTTP/1.1, used by one goroutine at a time. It does what a
// client must and no more: the load should not cost more than what it is put on.
type conn struct {
	net.Conn
	br       *bufio.Reader
	host     string
	out      []byte
	served   int   // answers so far
	readRate int64 // bytes a second, 0 for no bound
}

func newConn(raw net.Conn, host string, readRate int64) *conn {
	size := 16 << 10
	if readRate > 0 {
		size = 1 << 10
	}
	return &conn{Conn: raw, br: bufio.NewReaderSize(raw, size), host: host, readRate: readRate}
}

// exchange sends a request and reads its answer; keep says that there may be another.
func (c *conn) exchange(r *Request, deadline time.Time) (a answer, keep bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return a, false, err
	}
	c.write(r)
	if _, err := c.Write(c.out); err != nil {
		return a, false, err
	}
	if _, err := c.br.Peek(1); err != nil {
		return a, false, err
	}
	a.first = time.Now()
	h, err := c.head(r.Check)
	for err == nil && h.status < 200 && h.status != 101 {
		h, err = c.head(r.Check)
	}
	if err != nil {
		return a, false, fmt.Errorf("head: %w", atEnd(err))
	}
	a.status, a.cached = h.status, h.cached
	a.bytes, err = c.body(r.Method, h)
	if err != nil {
		return a, false, fmt.Errorf("body: %w", atEnd(err))
	}
	return a, !h.closes && h.status != 101, r.Check.of(h.status, h.met)
}

// atEnd says that a connection ended too early.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// write puts the request together.
func (c *conn) write(r *Request) {
	method, host := r.Method, r.Host
	if method == "" {
		method = "GET"
	}
	if host == "" {
		host = c.host
	}
	b := c.out[:0]
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	for _, f := range r.Fields {
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	if len(r.Body) > 0 || method == "POST" || method == "PUT" || method == "PATCH" {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	b = append(b, r.Body...)
	c.out = b
}

// head is what matters of an answer's head.
type head struct {
	status  int
	length  int64 // -1: not told
	chunked bool
	closes  bool
	cached  cached
	met     uint64 // which of the check's fields are there
}

// mostFields bounds the lines of a head.
const mostFields = 1000

func (c *conn) head(check *Check) (h head, err error) {
	line, err := c.line()
	if err != nil {
		return h, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, fmt.Errorf("an answer begins with %.40q", line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil || h.status < 100 || h.status > 999 {
		return h, fmt.Errorf("an answer begins with %.40q", line)
	}
	h.length, h.closes = -1, line[7] == '0'
	for range mostFields {
		if line, err = c.line(); err != nil || len(line) == 0 {
			return h, err
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return h, fmt.Errorf("field line %.40q: want a colon", line)
		}
		value = bytes.TrimSpace(value)
		if err := h.field(name, value); err != nil {
			return h, err
		}
		h.met |= check.met(name, value)
	}
	return h, fmt.Errorf("more than %d field lines", mostFields)
}

func (c *conn) line() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// field reads a field line that matters here.
func (h *head) field(name, value []byte) (err error) {
	switch {
	case is(name, "content-length"):
		if h.length, err = strconv.ParseInt(string(value), 10, 64); err != nil || h.length < 0 {
			return fmt.Errorf("Content-Length %.40q: want a count of bytes", value)
		}
	case is(name, "transfer-encoding"):
		if !is(value, "chunked") {
			return fmt.Errorf("Transfer-Encoding %.40q: not known here", value)
		}
		h.chunked = true
	case is(name, "connection"):
		h.closes = (h.closes || hasToken(value, "close")) && !hasToken(value, "keep-alive")
	default:
		h.cached = max(h.cached, cachedBy(name, value))
	}
	return nil
}

func is(name []byte, lower string) bool {
	return len(name) == len(lower) && bytes.EqualFold(name, []byte(lower))
}

// hasToken reports whether a list has an element.
func hasToken(list []byte, lower string) bool {
	for element := range bytes.SplitSeq(list, []byte(",")) {
		if is(bytes.TrimSpace(element), lower) {
			return true
		}
	}
	return false
}

// body reads the body to its end, by RFC 9112, section 6.3.
func (c *conn) body(method string, h head) (n int64, err error) {
	switch {
	case method == "HEAD" || h.status == 101 || h.status == 204 || h.status == 304:
		return 0, nil
	case h.chunked:
		return c.chunks()
	case h.length >= 0:
		return h.length, c.skip(h.length)
	}
	for { // until the end of the connection
		read, err := c.piece(maxPiece)
		n += int64(read)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// chunks reads a body in chunks, with its trailer section.
func (c *conn) chunks() (n int64, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return n, err
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseInt(string(bytes.TrimSpace(digits)), 16, 64)
		if err != nil || size < 0 {
			return n, fmt.Errorf("a chunk begins with %.40q", line)
		}
		if size == 0 {
			break
		}
		if err := c.skip(size); err != nil {
			return n, err
		}
		n += size
		if line, err := c.line(); err != nil || len(line) > 0 {
			return n, errOr(err, "a chunk is longer than it says")
		}
	}
	for range mostFields {
		if line, err := c.line(); err != nil || len(line) == 0 {
			return n, err
		}
	}
	return n, fmt.Errorf("more than %d field lines in a trailer", mostFields)
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

const maxPiece = 16 << 10

// skip reads so many bytes.
func (c *conn) skip(n int64) error {
	for n > 0 {
		read, err := c.piece(int(min(n, maxPiece)))
		n -= int64(read)
		if err != nil {
			return err
		}
	}
	return nil
}

// breath is how often a slow reader reads.
const breath = 50 * time.Millisecond

// piece reads at most this many bytes, and as slowly as is wanted.
func (c *conn) piece(most int) (int, error) {
	if c.readRate == 0 {
		return c.br.Discard(most)
	}
	most = min(most, max(int(c.readRate*int64(breath)/int64(time.Second)), 1))
	time.Sleep(time.Duration(most) * time.Second / time.Duration(c.readRate))
	return c.br.Discard(most)
}
