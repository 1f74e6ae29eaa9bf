package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ResponseHead is a status line and its fields.
type ResponseHead struct {
	// Minor is the x of HTTP/1.x.
	Minor int
	// Status is the status code, 100 to 999.
	Status int
	// Fields are the field lines, in order.
	Fields Fields
}

// Errors of heads and framing. All of them make the connection unusable.
var (
	// ErrHead says that a status line or the end of a head is malformed.
	ErrHead = errors.New("malformed response head")
	// ErrHeadTooLarge says that a head did not fit into the read buffer.
	ErrHeadTooLarge = errors.New("response head too large")
	// ErrFraming says that the fields leave it open, or dispute, where the
	// body ends (RFC 9112, section 6.3).
	ErrFraming = errors.New("ambiguous message framing")
)

// ReadResponseHead reads one response head, interim ones (1xx) included. The
// head must fit into the reader's buffer, else it fails with
// [ErrHeadTooLarge]. A connection that ends before the first byte gives
// io.EOF, and one that ends inside the head io.ErrUnexpectedEOF.
func ReadResponseHead(r *bufio.Reader) (ResponseHead, error) {
	block, err := readHead(r)
	if err != nil {
		return ResponseHead{}, err
	}
	return ParseResponseHead(block)
}

// readHead takes the bytes up to and with the empty line off r.
func readHead(r *bufio.Reader) (string, error) {
	for scanned := 0; ; {
		buf, _ := r.Peek(r.Buffered())
		if end := headEnd(buf, scanned); end > 0 {
			block := string(buf[:end])
			_, err := r.Discard(end)
			return block, err
		}
		scanned = len(buf)
		if _, err := r.Peek(len(buf) + 1); err != nil {
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				return "", ErrHeadTooLarge
			case errors.Is(err, io.EOF) && len(buf) > 0:
				return "", io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// headEnd returns the length of the head that buf begins with, or 0 while its
// empty line is missing, which may be a bare LF: such a head has ended, too, and
// is refused. The first scanned bytes were looked at before.
func headEnd(buf []byte, scanned int) int {
	for at := max(scanned-2, 0); ; {
		lf := bytes.IndexByte(buf[at:], '\n')
		if lf < 0 {
			return 0
		}
		at += lf + 1
		switch rest := buf[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// ParseResponseHead parses a whole head. Every line ends with CRLF: a recipient
// may accept LF alone (RFC 9112, section 2.2), but then two of them could see
// different lines. The result points into block.
func ParseResponseHead(block string) (ResponseHead, error) {
	if strings.Count(block, "\n") != strings.Count(block, "\r") {
		// No line holds a CR of its own, so one ends without.
		return ResponseHead{}, fmt.Errorf("%w: a line ends without CR", ErrHead)
	}
	line, rest := cutLine(block)
	head, err := parseStatusLine(line)
	if err != nil {
		return ResponseHead{}, err
	}
	head.Fields, err = ParseFields(make(Fields, 0, strings.Count(rest, "\n")), rest)
	if err != nil {
		return ResponseHead{}, err
	}
	return head, nil
}

func parseStatusLine(line string) (ResponseHead, error) {
	const proto = "HTTP/1."
	if len(line) < len(proto)+5 || line[:len(proto)] != proto || line[len(proto)+1] != ' ' {
		return ResponseHead{}, fmt.Errorf("%w: status line %.60q", ErrHead, line)
	}
	minor, code, reason := line[len(proto)], line[len(proto)+2:len(proto)+5], line[len(proto)+5:]
	status := 0
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return ResponseHead{}, fmt.Errorf("%w: status %q", ErrHead, code)
		}
		status = status*10 + int(code[i]-'0')
	}
	if minor < '0' || minor > '9' || status < 100 || reason != "" && reason[0] != ' ' || !IsFieldValue(reason) {
		return ResponseHead{}, fmt.Errorf("%w: status line %.60q", ErrHead, line)
	}
	return ResponseHead{Minor: int(minor - '0'), Status: status}, nil
}

// Lengths that [BodyLength] gives beside the byte counts.
const (
	// Chunked: the body ends with the last chunk.
	Chunked int64 = -1
	// UntilClose: the body ends where the connection does.
	UntilClose int64 = -2
)

// BodyLength says how long the body is of a response with this head to a
// request with this method: a number of bytes, [Chunked] or [UntilClose]
// (RFC 9112, section 6.3; the method is not CONNECT). It fails with [ErrFraming] where two readers could
// disagree: Content-Length beside Transfer-Encoding, several unequal or
// malformed Content-Lengths, or any transfer coding but one "chunked".
func BodyLength(head ResponseHead, method string) (int64, error) {
	length, hasLength, err := contentLength(head.Fields)
	if err != nil {
		return 0, err
	}
	hasCoding := head.Fields.Has("Transfer-Encoding")
	if hasCoding {
		coding, _ := head.Fields.Joined("Transfer-Encoding")
		if hasLength || head.Minor == 0 || !EqualFold(coding, "chunked") {
			return 0, fmt.Errorf("%w: Transfer-Encoding %.40q", ErrFraming, coding)
		}
	}
	switch {
	case method == "HEAD", head.Status < 200, head.Status == 204, head.Status == 304:
		return 0, nil
	case hasCoding:
		return Chunked, nil
	case hasLength:
		return length, nil
	}
	return UntilClose, nil
}

// contentLength reads the one Content-Length line. Repeated lines are refused
// even where they agree: what was sent twice was tampered with once.
func contentLength(f Fields) (length int64, present bool, err error) {
	i := f.Index("Content-Length", 0)
	if i < 0 {
		return 0, false, nil
	}
	n, ok := ParseLength(f[i].Value)
	if !ok || f.Index("Content-Length", i+1) >= 0 {
		return 0, true, fmt.Errorf("%w: Content-Length %.40q", ErrFraming, f[i].Value)
	}
	return n, true, nil
}

// ParseLength reads a decimal count of bytes: digits only, below 2^63.
func ParseLength(s string) (int64, bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
		if n < 0 {
			return 0, false
		}
	}
	return n, true
}
