package upstream

import (
	"errors"
	"io"

	"ringfence/proxy/wire"
)

// body is a response's body. It answers io.EOF only where the body is
// complete. While it has to wait for the server it holds no buffer.
type body struct {
	x      *exchange
	chunks *wire.ChunkedReader // nil where it is not chunked
	left   int64               // bytes still to come, or one of the wire lengths below 0
	err    error               // what ended it; nil while it is open
}

var errBodyClosed = errors.New("read from a closed response body")

// open begins the body that x's connection stands at.
func (b *body) open(x *exchange, length int64) {
	b.x, b.left = x, length
	switch length {
	case 0:
		b.end(io.EOF)
	case wire.Chunked:
		b.chunks = wire.NewChunkedIntake(&x.conn.in)
	}
}

// Await blocks until Read does not. What ends the wait otherwise is what Read
// gives.
func (b *body) Await() {
	if b.err == nil {
		b.x.conn.load()
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	var n int
	var err error
	if b.chunks != nil {
		b.x.conn.allowRead()
		n, err = b.chunks.Read(p)
	} else {
		n, err = b.x.conn.in.Take(p)
	}
	if b.left > 0 {
		b.left -= int64(n)
		switch {
		case b.left == 0:
			err = io.EOF
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		b.end(err)
	}
	return n, b.err
}

// arrived says how many bytes of a body of known length are there to be read
// without waiting.
func (b *body) arrived() int64 {
	if b.err != nil || b.left < 0 {
		return 0
	}
	return min(b.left, int64(b.x.conn.in.Buffered()))
}

// Close implements io.Closer. A body that is closed before its end costs its
// connection.
func (b *body) Close() error {
	if b.err == nil {
		b.end(errBodyClosed)
	}
	return nil
}

func (b *body) end(err error) {
	switch {
	case errors.Is(err, io.EOF):
		b.err = io.EOF
	case errors.Is(err, errBodyClosed):
		b.err = err
	default:
		b.err = b.x.blame(bodyKind(err), false, err)
	}
	b.x.judge(b.err)
	b.x.finish(errors.Is(b.err, io.EOF))
	b.x.server.leave()
}
