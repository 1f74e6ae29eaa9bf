package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	uploadBuffer = 32 << 10
	// chunkPrefix is room for the longest size line of a chunk that fits the
	// buffer: "7fff" and CRLF.
	chunkPrefix = 6
	chunkSuffix = 2
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
	err  error // why the body was not sent whole; set before done closes
	ours bool  // err came from the client's side
}

// startUpload sends req's body on c. Once all of it is sent, the server has
// wait to answer.
func startUpload(c *conn, b *buffers, req *Request, wait time.Duration) *upload {
	u := &upload{conn: c, body: req.Body, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		buf := b.uploads.Get().(*[]byte)
		defer b.uploads.Put(buf)
		ours, err := send(c, req, *buf)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.err, u.ours = err, ours
		switch {
		case err != nil && ours:
			// The server waits for bytes that will never come.
			c.interrupt()
		case !u.head:
			// Also where the server stopped reading: it may have answered.
			// An error means that the connection is closed: the read says so.
			_ = c.SetReadDeadline(time.Now().Add(wait))
		}
	}()
	return u
}

// send copies the body in the request's framing. ours tells a failure of the
// client's body from one of the server's connection.
func send(c *conn, req *Request, buf []byte) (ours bool, err error) {
	if req.Length >= 0 {
		return sendFixed(c, req.Body, req.Length, buf)
	}
	return sendChunked(c, req.Body, buf)
}

func sendFixed(c *conn, body io.Reader, left int64, buf []byte) (ours bool, err error) {
	for left > 0 {
		n, rerr := body.Read(buf[:min(int64(len(buf)), left)])
		if n > 0 {
			if _, err := c.Write(buf[:n]); err != nil {
				return false, err
			}
			left -= int64(n)
		}
		if rerr != nil && left > 0 {
			return true, fmt.Errorf("request body ended %d bytes early: %w", left, rerr)
		}
	}
	return false, nil
}

func sendChunked(c *conn, body io.Reader, buf []byte) (ours bool, err error) {
	data := buf[chunkPrefix : len(buf)-chunkSuffix]
	for {
		n, rerr := body.Read(data)
		if n > 0 {
			if _, err := c.Write(frameChunk(buf, n)); err != nil {
				return false, err
			}
		}
		switch {
		case errors.Is(rerr, io.EOF):
			_, err := c.Write([]byte("0\r\n\r\n"))
			return false, err
		case rerr != nil:
			return true, fmt.Errorf("request body: %w", rerr)
		}
	}
}

// frameChunk puts the size line before the n data bytes that stand at
// chunkPrefix in buf, and CRLF behind them.
func frameChunk(buf []byte, n int) []byte {
	copy(buf[chunkPrefix+n:], "\r\n")
	at := chunkPrefix - 2
	copy(buf[at:], "\r\n")
	for size := n; size > 0; size >>= 4 {
		at--
		buf[at] = "0123456789abcdef"[size&15]
	}
	return buf[at : chunkPrefix+n+chunkSuffix]
}

// headArrived ends the wait for the response head.
func (u *upload) headArrived() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.head = true
}

// clientErr returns why the client's body could not be read, or nil.
func (u *upload) clientErr() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ours {
		return u.err
	}
	return nil
}

// end waits for the upload, cutting it short where the response is over and
// the body is not, and reports whether all of the body was sent. A response
// that came whole (complete) gives the body a moment to end by itself.
func (u *upload) end(complete bool) bool {
	if complete {
		select {
		case <-u.done:
		case <-time.After(uploadGrace):
		}
	}
	select {
	case <-u.done:
	default:
		u.conn.interrupt()
		// Close unblocks a pending Read; its error changes nothing.
		_ = u.body.Close()
		<-u.done
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err == nil
}

// isIdempotent reports whether a request with this method may be sent again
// where its fate is unknown (RFC 9110, section 9.2.2).
func isIdempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
