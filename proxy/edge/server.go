package edge

import "github.com/valyala/fasthttp"

// stand-ins are all that fasthttp reads, so that it needs next to no buffer.
const standInBuffer = 128

// NewServer returns a server for the connections of a [Listener]. It writes what
// handle answers as it is, names and defaults included, and leaves all limits to
// the connections. An error of log's is of one connection.
func NewServer(handle fasthttp.RequestHandler, log fasthttp.Logger) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                       handle,
		ReadBufferSize:                standInBuffer,
		Concurrency:                   1 << 30, // a Door is what limits them
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		CloseOnShutdown:               true,
		Logger:                        log,
	}
}
