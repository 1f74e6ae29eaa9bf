package origin

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"
)

// Limits on what is read and kept of one request.
const (
	maxHead  = 1 << 20
	keptBody = 4 << 10
)

// Field is one field line, byte for byte.
type Field struct{ Name, Value string }

// Body tells what came of a request's body.
type Body struct {
	Length int64  // bytes of content read
	Sum    uint32 // CRC-32C of them; see Sum
	Start  string // at most the first 4 KiB
	// Complete is true once the body has been read to its proper end, and for
	// a request that has none.
	Complete bool
}

// Request is one request as it came over the wire.
type Request struct {
	Method, Target, Proto string
	Head                  string  // the whole head with its empty line, byte for byte
	Fields                []Field // in order, repeated lines and all
	Conn                  int     // which connection of the origin, from 1
	Nth                   int     // which request on that connection, from 1
	Body                  Body
	Done                  bool // the answer has been written, or given up
}

// Get returns the value of the first field line called name, in any case, and
// "" where there is none.
func (r Request) Get(name string) string {
	if v := r.Values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns the values of all field lines called name, in any case.
func (r Request) Values(name string) []string {
	var vs []string
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			vs = append(vs, f.Value)
		}
	}
	return vs
}

// Path returns the target without its query.
func (r Request) Path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

func (r Request) query() string {
	_, query, _ := strings.Cut(r.Target, "?")
	return query
}

// readRequest reads one head. The error is io.EOF where the connection ended
// before its first byte.
func readRequest(br *bufio.Reader) (Request, error) {
	var head strings.Builder
	for {
		line, err := br.ReadString('\n')
		head.WriteString(line)
		switch {
		case err != nil && head.Len() == 0:
			return Request{}, err
		case err != nil:
			return Request{}, fmt.Errorf("request head: %w", io.ErrUnexpectedEOF)
		case head.Len() > maxHead:
			return Request{}, errors.New("request head: too large")
		}
		if line == "\r\n" {
			return parseHead(head.String())
		}
	}
}

func parseHead(head string) (Request, error) {
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	parts := strings.Split(lines[0], " ")
	if len(parts) != 3 {
		return Request{}, fmt.Errorf("request line %q: want three parts", lines[0])
	}
	r := Request{Method: parts[0], Target: parts[1], Proto: parts[2], Head: head}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return Request{}, fmt.Errorf("field line %q: want a colon", line)
		}
		r.Fields = append(r.Fields, Field{name, strings.Trim(value, " \t")})
	}
	return r, nil
}

// content returns a reader of the request's body; it ends with io.EOF only
// where the body is complete.
func (r Request) content(br *bufio.Reader) (io.Reader, error) {
	if strings.EqualFold(r.Get("Transfer-Encoding"), "chunked") {
		return &chunked{Reader: httputil.NewChunkedReader(br), src: br}, nil
	}
	cl := r.Get("Content-Length")
	if cl == "" {
		return strings.NewReader(""), nil
	}
	n, err := strconv.ParseInt(cl, 10, 64)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("Content-Length %q: want a count of bytes", cl)
	}
	return &exactly{src: br, left: n}, nil
}

// exactly reads left bytes; a source that ends early is an error.
type exactly struct {
	src  io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.src.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunked goes on past the last chunk to the end of the trailer section.
type chunked struct {
	io.Reader
	src *bufio.Reader
}

func (c *chunked) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != io.EOF {
		return n, err
	}
	for {
		line, lineErr := c.src.ReadString('\n')
		if lineErr != nil {
			return n, io.ErrUnexpectedEOF
		}
		if line == "\r\n" {
			return n, io.EOF
		}
	}
}

// tally reads from src and keeps account of the body that passes.
type tally struct {
	src  io.Reader
	body Body
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.src.Read(p)
	t.body.Length += int64(n)
	t.body.Sum = crc32.Update(t.body.Sum, castagnoli, p[:n])
	if room := keptBody - len(t.body.Start); room > 0 {
		t.body.Start += string(p[:min(n, room)])
	}
	t.body.Complete = err == io.EOF
	return n, err
}
