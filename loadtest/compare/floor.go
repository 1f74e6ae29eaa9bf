package compare

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// countTarget is where a floor tells how many other requests it has answered.
const countTarget = "/count"

// ServeFloor answers every request on l with the same body of size bytes, by fasthttp
// and nothing else, until ctx ends: it is the origin behind the servers that are
// measured, and what the least that fasthttp takes is measured by.
func ServeFloor(ctx context.Context, l net.Listener, size int, cacheControl string) error {
	body := bodyOf(size)
	var asked atomic.Int64
	s := &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) {
		if string(c.Path()) == countTarget {
			c.SetBodyString(strconv.FormatInt(asked.Load(), 10))
			return
		}
		asked.Add(1)
		c.Response.Header.SetContentType("text/plain")
		c.Response.Header.Set("Cache-Control", cacheControl)
		c.Response.SetBodyRaw(body)
	}}
	defer context.AfterFunc(ctx, func() { _ = s.Shutdown() })() // Serve says how it ended
	return s.Serve(l)
}

func bodyOf(size int) []byte {
	return []byte(strings.Repeat("0123456789abcdef", size/16+1)[:size])
}
