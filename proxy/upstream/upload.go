package upstream

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	uploadBuffer = 32 << 10
	// chunkPrefix is room for the longest size line of a chunk that fits the
	// buffer: "7fff" and CRLF.
	chunkPrefix = 6
	// lastChunk follows the data of the last chunk, behind its CRLF.
	lastChunk   = "0\r\n\r\n"
	chunkSuffix = len("\r\n" + lastChunk)
	// uploadGrace is how long a request body may go on after the response has
	// ended. It covers the moment between the server's reading the last byte
	// and our learning that it was written.
	uploadGrace = 100 * time.Millisecond
)

// upload sends a request body while the response is read, so that a server
// which answers before it has read everything does not stall. Its goroutine is
// owned by the exchange, which waits for it in end.
type upload struct {
	conn *conn
	body io.ReadCloser
	done chan struct{}

	mu   sync.Mutex
	head bool  // the response head is here
	kind Kind  // what kind of failure err is
	err  error // why the body was not sent whole; set before done closes
}

// startUpload sends req's body on c. While it goes on, the server may take its
// time to answer; once all of it is sent, it has t.response.
func startUpload(c *conn, b *buffers, req *Request, t terms) *upload {
	u := &upload{conn: c, body: req.Body, done: make(chan struct{})}
	// An error means that the connection is closed: the read says so.
	_ = c.SetReadDeadline(time.Time{})
	c.write = deadline{timeout: t.write}
	go func() {
		defer close(u.done)
		u.ended(t.response, send(c, req, &b.uploads))
	}()
	return u
}

// ended takes down how the sending came to its end, and bounds the wait for
// the response head where that is still to come.
func (u *upload) ended(wait time.Duration, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err, u.kind = err, uploadKind(err)
	switch {
	case u.head:
	case err != nil && u.kind != Terminated:
		// The server waits for bytes that will never come.
		u.conn.interrupt()
	default:
		// A server that hung up may have answered before. An error means that
		// the connection is closed: the read says so.
		_ = u.conn.SetReadDeadline(time.Now().Add(wait))
	}
}

// clientError marks a failure to read the request body.
type clientError struct{ error }

func (e clientError) Unwrap() error { return e.error }

// uploadKind names a failure of an upload: the client's or the connection's.
func uploadKind(err error) Kind {
	var client clientError
	if errors.As(err, &client) {
		return RequestIncomplete
	}
	return writeKind(err)
}

// waiter is a body that can be waited for without a buffer to read it into.
type waiter interface {
	// Await blocks until Read does not.
	Await()
}

// dribble is how much a read gives at least of a body whose sender is not slow:
// the next one of less is waited for first.
const dribble = 1 << 10

// send copies the body in the request's framing. While it waits for a slow client
// it holds no buffer.
func send(c io.Writer, req *Request, buffers *sync.Pool) error {
	var buf *[]byte
	giveBack := func() {
		if buf != nil {
			buffers.Put(buf)
			buf = nil
		}
	}
	defer giveBack()
	slow, _ := req.Body.(waiter)
	for left := req.Length; left != 0; {
		if buf == nil {
			if slow != nil {
				slow.Await()
			}
			buf = buffers.Get().(*[]byte)
		}
		piece := (*buf)[chunkPrefix : len(*buf)-chunkSuffix]
		if left > 0 {
			piece = piece[:min(int64(len(piece)), left)]
		}
		n, rerr := req.Body.Read(piece)
		if piece = piece[:n]; left > 0 {
			left -= int64(n)
		} else if last := errors.Is(rerr, io.EOF); n > 0 || last {
			piece = frameChunk(*buf, n, last)
			if last {
				left, rerr = 0, nil
			}
		}
		if len(piece) > 0 {
			if _, err := c.Write(piece); err != nil {
				return err
			}
		}
		if rerr != nil && left != 0 {
			return cutShort(left, rerr)
		}
		if slow != nil && n < dribble {
			giveBack()
		}
	}
	return nil
}

// cutShort says that a request body ended early, with so many bytes left where
// that is known.
func cutShort(left int64, err error) error {
	if left < 0 {
		return clientError{fmt.Errorf("request body: %w", err)}
	}
	return clientError{fmt.Errorf("request body ended %d bytes early: %w", left, err)}
}

// frameChunk puts the size line before the n data bytes that stand at
// chunkPrefix in buf, and CRLF and, where they are the last, the last chunk
// behind them.
func frameChunk(buf []byte, n int, last bool) []byte {
	at, end := chunkPrefix, chunkPrefix+n
	if n > 0 {
		end += copy(buf[end:], "\r\n")
		at -= copy(buf[at-2:], "\r\n")
		for size := n; size > 0; size >>= 4 {
			at--
			buf[at] = "0123456789abcdef"[size&15]
		}
	}
	if last {
		end += copy(buf[end:], lastChunk)
	}
	return buf[at:end]
}

// headArrived ends the wait for the response head.
func (u *upload) headArrived() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.head = true
}

// failure returns why the request could not be completed, nil where it was, is
// still under way, or where the server hung up, of which the read side knows
// more.
func (u *upload) failure() (Kind, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.kind == Terminated {
		return u.kind, nil
	}
	return u.kind, u.err
}

// end waits for the upload, cutting it short where the response is over and
// the body is not, and reports whether all of the body was sent. A response
// that came whole (complete) gives the body a moment to end by itself.
func (u *upload) end(complete bool) bool {
	over := u.over(complete)
	if !over {
		u.conn.interrupt()
	} else if u.err == nil {
		return true
	}
	// Close unblocks a pending Read; its error changes nothing.
	_ = u.body.Close()
	<-u.done
	return false
}

// over reports whether the upload has ended, after a moment's grace if wanted.
func (u *upload) over(grace bool) bool {
	select {
	case <-u.done:
		return true
	default:
	}
	if !grace {
		return false
	}
	timer := time.NewTimer(uploadGrace)
	defer timer.Stop()
	select {
	case <-u.done:
		return true
	case <-timer.C:
		return false
	}
}
