package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// ErrChunk says that a chunked body breaks the grammar of RFC 9112, section
// 7.1.
var ErrChunk = errors.New("malformed chunked body")

// maxTrailer bounds the bytes of the trailer section, of one size line with its
// extensions, and of all extensions beyond the bytes of data.
const maxTrailer = 4 << 10

// ChunkedReader reads the data of a chunked body, strictly: every line ends
// with CRLF, sizes are at most 15 hexadecimal digits, extensions are checked and
// skipped (RFC 9112, section 7.1.1), and a body that stops before its end gives
// io.ErrUnexpectedEOF, never io.EOF; what breaks the grammar gives [ErrChunk].
// The trailer section is read, checked and dropped, as RFC 9110, section 6.5.1
// allows; one with a field that only a head may have is malformed. Not one byte
// past the body's end is consumed. It is not safe for concurrent use.
type ChunkedReader struct {
	in     *Intake // where r is from, for as long as it has something; nil: r stays
	r      *bufio.Reader
	left   int64 // data bytes left in the current chunk
	excess int64 // bytes of extensions beyond those of data
	open   bool  // the current chunk's closing CRLF is still to come
	err    error // what ended the body, io.EOF after the last chunk
}

// NewChunkedReader returns a reader of the chunked body that r stands at.
func NewChunkedReader(r *bufio.Reader) *ChunkedReader { return &ChunkedReader{r: r} }

// NewChunkedIntake returns a reader of the chunked body that in stands at. While
// it waits for a chunk, in holds no buffer.
func NewChunkedIntake(in *Intake) *ChunkedReader { return &ChunkedReader{in: in} }

// Read implements io.Reader.
func (c *ChunkedReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	defer c.unload()
	if c.toData(); c.err != nil {
		return 0, c.err
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if err != nil {
		c.err = unexpected(err)
		return n, c.err
	}
	if c.left == 0 && c.r.Buffered() >= len("\r\n") {
		// So nothing is buffered where no other chunk has come. What is wrong with
		// it is said behind the data.
		c.err = c.expectCRLF()
	}
	return n, nil
}

// Await blocks until Read does not. What ends the wait otherwise is what Read
// gives.
func (c *ChunkedReader) Await() {
	if c.toData(); c.err == nil {
		c.load() // which lets go of a buffer that has nothing more
		_, _ = c.r.Peek(1)
	}
}

func (c *ChunkedReader) load() {
	if c.in != nil {
		c.r = c.in.Load()
	}
}

func (c *ChunkedReader) unload() {
	if c.in != nil {
		c.in.Unload()
	}
}

// toData reads up to some data, or the end of the body. At the end it waits for
// nothing.
func (c *ChunkedReader) toData() {
	if c.err != nil {
		return
	}
	c.load()
	for c.err == nil && c.left == 0 {
		c.err = c.nextChunk()
	}
}

// nextChunk reads up to the data of the next chunk, or the end of the body.
func (c *ChunkedReader) nextChunk() error {
	if c.open {
		if err := c.expectCRLF(); err != nil {
			return err
		}
	}
	size, err := c.chunkSize()
	if err != nil {
		return err
	}
	if size == 0 {
		return c.trailer()
	}
	c.left, c.open = size, true
	return nil
}

// chunkSize reads "1a;name=value CRLF".
func (c *ChunkedReader) chunkSize() (int64, error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	var size int64
	digits := 0
	for ; digits < len(line); digits++ {
		d, ok := hexDigit(line[digits])
		if !ok {
			break
		}
		if digits == 15 {
			return 0, fmt.Errorf("%w: size too large", ErrChunk)
		}
		size = size<<4 | int64(d)
	}
	extensions := line[digits:]
	if digits == 0 || !isExtensions(extensions) {
		return 0, fmt.Errorf("%w: size line %.40q", ErrChunk, line)
	}
	if c.excess = max(c.excess+int64(len(extensions))-size, 0); c.excess > maxTrailer {
		return 0, fmt.Errorf("%w: more extensions than data", ErrChunk)
	}
	return size, nil
}

// trailer reads the trailer section and answers io.EOF at its end.
func (c *ChunkedReader) trailer() error {
	for total := 0; ; {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		if total += len(line); total > maxTrailer {
			return fmt.Errorf("%w: trailer section too large", ErrChunk)
		}
		fields, err := ParseFields(nil, string(line))
		if err != nil {
			return fmt.Errorf("%w: trailer: %w", ErrChunk, err)
		}
		if name := fields[0].Name; belongsInHead(name) {
			return fmt.Errorf("%w: %.40s in the trailer section", ErrChunk, name)
		}
	}
}

// line reads one line and returns it without its CRLF; it is valid until the
// next read.
func (c *ChunkedReader) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: line too long", ErrChunk)
	case err != nil:
		return nil, unexpected(err)
	case len(line) < 2 || line[len(line)-2] != '\r' || len(line) > maxTrailer:
		return nil, fmt.Errorf("%w: line %.40q", ErrChunk, line)
	}
	return line[:len(line)-2], nil
}

func (c *ChunkedReader) expectCRLF() error {
	var crlf [2]byte
	for i := range crlf {
		b, err := c.r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		crlf[i] = b
	}
	if crlf != [2]byte{'\r', '\n'} {
		return fmt.Errorf("%w: chunk data longer than its size", ErrChunk)
	}
	c.open = false
	return nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unexpected turns the end of the connection into the truncation it is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
