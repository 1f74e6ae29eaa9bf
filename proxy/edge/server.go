package edge

import (
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// stand-ins are all that fasthttp reads, so that it needs next to no buffer; and
// what it writes gathers in the connection, which has one only while it is needed.
const (
	standInBuffer = 128
	noBuffer      = 16
)

// idleWorker is how long a goroutine is kept for another connection: the stacks of
// a crowd go soon after it.
const idleWorker = 2 * time.Second

// NewServer returns a server for the connections of a [Listener]. It writes what
// handle answers as it is, names and defaults included, and leaves all limits to
// the connections. An error of log's is of one connection.
func NewServer(handle fasthttp.RequestHandler, log fasthttp.Logger) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                       handle,
		ReadBufferSize:                standInBuffer,
		WriteBufferSize:               noBuffer,
		Concurrency:                   1 << 30, // a Door is what limits them
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		CloseOnShutdown:               true,
		MaxIdleWorkerDuration:         idleWorker,
		Logger:                        log,
	}
}

// ReadBlank sets h to a response's header as handlers of [NewServer] get it: it
// is empty, and adds no field by itself. fasthttp has no other way to one.
func ReadBlank(h *fasthttp.ResponseHeader) {
	near, far := net.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		// The server reads all of it and closes its end.
		_, _ = io.WriteString(near, standInClose)
		_, _ = io.Copy(io.Discard, near)
	}()
	_ = NewServer(func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.CopyTo(h) }, nil).ServeConn(far)
	_ = far.Close()
	<-read
}
