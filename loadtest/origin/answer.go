package origin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Framing is how an answer tells the length of its body.
type Framing uint8

// The framings of RFC 9112, section 6.
const (
	Length     Framing = iota // Content-Length
	Chunked                   // Transfer-Encoding: chunked
	UntilClose                // neither: the body ends with the connection
)

// Ending is what becomes of the connection after the answer.
type Ending uint8

// The endings.
const (
	KeepAlive Ending = iota // it serves the next request
	Close                   // it is closed, as Connection: close announced
	Drop                    // it is closed unannounced
	Reset                   // it is reset (RST)
)

// Answer says what is sent in answer to a request. The zero value is an empty
// 200 over a connection that is kept.
type Answer struct {
	Status  int     // default 200
	Fields  []Field // in this order, after Date and X-Served-By
	Body    []byte  // the body; nil for Size bytes of the target's Content
	Size    int64   // length of the body where Body is nil
	Framing Framing
	// Interim are the 1xx heads sent first, such as "HTTP/1.1 103 Early Hints".
	Interim []string
	// Raw is sent in place of head and body where it is not nil; an empty one
	// hangs up without a word, given an Ending other than KeepAlive.
	Raw []byte

	Await <-chan struct{} // the first of Interim waits for a receive or the closing of it
	Hold  <-chan struct{} // the head waits as Interim does for Await
	Delay time.Duration   // the head waits this long
	// Spread has the delay differ from one answer to the next by a log-normal law:
	// Delay is its median, and Spread the standard deviation of its logarithm. At 1
	// one answer in a hundred takes ten times the median. No delay passes a minute.
	Spread float64
	Chunk  int             // bytes of body in each write; default 64 KiB
	Gate   <-chan struct{} // each write but the first waits likewise
	Pause  time.Duration   // time before each write but the first

	// Early answers before the request's body has been read, and then closes.
	Early bool
	// Echo sends the request's body back while it arrives, chunked. Body and
	// Size are ignored.
	Echo bool
	// Cut ends the body after CutAfter bytes of content, before the last
	// chunk, in the way that Ending says (KeepAlive as Drop).
	Cut      bool
	CutAfter int64
	Ending   Ending

	// Done is called, unless it is nil, when the last byte of the answer is about to be
	// sent, or the answer has been given up; it may be called again.
	Done func()
}

// Text is a plain answer: 200, with that Cache-Control ("" for none) and body.
func Text(cacheControl, body string) Answer {
	a := Answer{Body: []byte(body)}
	if cacheControl != "" {
		a.Fields = []Field{{"Cache-Control", cacheControl}}
	}
	return a
}

// With returns the answer with one more field line.
func (a Answer) With(name, value string) Answer {
	a.Fields = append(a.Fields[:len(a.Fields):len(a.Fields)], Field{name, value})
	return a
}

// longestDelay bounds what chance makes of a delay.
const longestDelay = time.Minute

// delay draws how long the head waits.
func (a Answer) delay() time.Duration {
	if a.Spread == 0 {
		return a.Delay
	}
	return time.Duration(min(float64(a.Delay)*math.Exp(a.Spread*rand.NormFloat64()), float64(longestDelay)))
}

// exchange is the writing of one answer.
type exchange struct {
	w      *bufio.Writer
	stop   <-chan struct{} // the origin is stopped
	server string
	req    Request
	a      Answer
}

// answer writes the answer. upload is the request's body, for an echo. The
// error says why it was given up.
func (x exchange) answer(upload io.Reader) error {
	if err := x.wait(x.a.Await, 0); err != nil {
		return err
	}
	for _, head := range x.a.Interim {
		if _, err := x.w.WriteString(head + "\r\n\r\n"); err != nil {
			return err
		}
	}
	if len(x.a.Interim) > 0 {
		if err := x.w.Flush(); err != nil {
			return err
		}
	}
	if err := x.wait(x.a.Hold, x.a.delay()); err != nil {
		return err
	}
	if x.a.Raw != nil {
		_, _ = x.w.Write(x.a.Raw)
		x.done()
		return x.w.Flush()
	}
	body, size, framing := x.body(upload)
	if err := x.head(size, framing); err != nil {
		return err
	}
	if !x.hasBody() {
		x.done()
		return x.w.Flush()
	}
	return x.send(body, framing)
}

// done says that nothing of the answer is held back any more.
func (x exchange) done() {
	if x.a.Done != nil {
		x.a.Done()
	}
}

func (x exchange) body(upload io.Reader) (io.Reader, int64, Framing) {
	switch {
	case x.a.Echo:
		return upload, -1, Chunked
	case x.a.Body != nil:
		return bytes.NewReader(x.a.Body), int64(len(x.a.Body)), x.a.Framing
	}
	return Content(x.req.Target, x.a.Size), x.a.Size, x.a.Framing
}

func (x exchange) status() int {
	if x.a.Status == 0 {
		return 200
	}
	return x.a.Status
}

func (x exchange) hasBody() bool {
	s := x.status()
	return x.req.Method != "HEAD" && s != 204 && s != 304
}

// closes reports whether the connection is announced to end.
func (x exchange) closes() bool { return x.a.Ending == Close || x.a.Early }

func (x exchange) head(size int64, framing Framing) error {
	fields := []Field{
		{"Date", time.Now().UTC().Format(http.TimeFormat)},
		{"X-Served-By", x.server},
	}
	if has(x.a.Fields, "Date") {
		fields = fields[1:]
	}
	fields = append(fields, x.a.Fields...)
	if s := x.status(); s != 204 && s != 304 {
		switch framing {
		case Length:
			fields = append(fields, Field{"Content-Length", strconv.FormatInt(size, 10)})
		case Chunked:
			fields = append(fields, Field{"Transfer-Encoding", "chunked"})
		case UntilClose:
		}
	}
	if x.closes() {
		fields = append(fields, Field{"Connection", "close"})
	}
	_, _ = fmt.Fprintf(x.w, "HTTP/1.1 %d %s\r\n", x.status(), http.StatusText(x.status()))
	for _, f := range fields {
		_, _ = fmt.Fprintf(x.w, "%s: %s\r\n", f.Name, f.Value)
	}
	_, err := x.w.WriteString("\r\n")
	return err
}

func has(fields []Field, name string) bool {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// send writes the body piece by piece, each flushed, and its end.
func (x exchange) send(body io.Reader, framing Framing) error {
	if x.a.Cut {
		body = io.LimitReader(body, x.a.CutAfter)
	}
	piece := make([]byte, max(x.a.Chunk, 1))
	if x.a.Chunk == 0 {
		piece = make([]byte, 64<<10)
	}
	if err := x.w.Flush(); err != nil { // an echo has no byte yet
		return err
	}
	for first := true; ; first = false {
		n, err := x.fill(body, piece)
		if n > 0 && !first {
			if err := x.wait(x.a.Gate, x.a.Pause); err != nil {
				return err
			}
		}
		if n > 0 {
			x.write(piece[:n], framing)
		}
		if errors.Is(err, io.EOF) && !x.a.Cut && framing == Chunked {
			_, _ = x.w.WriteString("0\r\n\r\n")
		}
		if err != nil {
			x.done()
		}
		if flushErr := x.w.Flush(); flushErr != nil {
			return flushErr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill reads the next piece: a whole one, except that an echo takes what is
// there.
func (x exchange) fill(body io.Reader, piece []byte) (int, error) {
	if x.a.Echo {
		return body.Read(piece)
	}
	n, err := io.ReadFull(body, piece)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// write buffers one piece; an error shows at the flush.
func (x exchange) write(p []byte, framing Framing) {
	if framing != Chunked {
		_, _ = x.w.Write(p)
		return
	}
	_, _ = fmt.Fprintf(x.w, "%x\r\n", len(p))
	_, _ = x.w.Write(p)
	_, _ = x.w.WriteString("\r\n")
}

// wait blocks for a channel (nil: not at all) and then for a time.
func (x exchange) wait(c <-chan struct{}, d time.Duration) error {
	if c != nil {
		select {
		case <-c:
		case <-x.stop:
			return ErrStopped
		}
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-x.stop:
		return ErrStopped
	}
}
