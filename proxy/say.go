package proxy

import (
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// fail logs why there is no answer, and tells the client.
func (c *call) fail(err error, why cache.Reason) {
	c.h.logFailure(c.route, "request failed", c.method, c.target, c.id, err)
	c.sayFailure(err, why)
}

// sayFailure tells the client why there is no answer. Of a failure that many
// share one has been logged.
func (c *call) sayFailure(err error, why cache.Reason) {
	f := failureOf(err)
	c.say(f.status, f.kind, f.text)
	c.putID()
	if f.isBusy() {
		c.ctx.Response.Header.Set("Retry-After", "1")
	}
	c.putStatus(cache.Status{Forward: why})
	c.outcome = Failed
}

// sayNothing answers a request that its client has taken back, for the counters:
// 499 is what others count for it, too.
func (c *call) sayNothing(why cache.Reason) {
	c.say(499, "", "the client is gone")
	c.putStatus(cache.Status{Forward: why})
	c.outcome = Gone
}

// refuse answers a request that cannot be taken further.
func (c *call) refuse(status int, why string) {
	c.count.refused.Add(1)
	c.record.refused(why)
	c.say(status, "", why)
	if status != 404 {
		c.ctx.Response.Header.SetConnectionClose()
	}
	if status == 503 || status == 429 { // there are too many connections
		c.ctx.Response.Header.Set("Retry-After", "1")
	}
	c.text = append(c.text[:0], pseudonym+"; detail=refused"...)
	c.ctx.Response.Header.AddBytesV("Cache-Status", c.text)
}

// redirect sends the client to the same place by https.
func (c *call) redirect(port int) {
	location, ok := edge.RedirectToHTTPS(c.target.host, port, c.target.raw)
	if !ok {
		c.refuse(400, "the request names no host to be redirected to")
		return
	}
	c.say(308, "", "this is to be had by https alone")
	c.ctx.Response.Header.Set("Location", location)
}

// options answers OPTIONS * for the proxy itself (RFC 9110, section 9.3.7): which
// methods a resource allows is for its upstream to say.
func (c *call) options() {
	fields := wire.Fields{
		{Name: "Date", Value: string(cache.AppendDate(nil, c.now))},
		{Name: "Allow", Value: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
	}
	if err := c.readHead(204, fields, 0); err != nil {
		c.say(500, "proxy_internal_error", err.Error())
	}
}

// putHSTS has the answer tell what the listener does of Strict-Transport-Security,
// in place of what an upstream does: there may be one line (RFC 6797, section 7.1).
func putHSTS(h *fasthttp.ResponseHeader, value string) {
	var others []string
	for key := range h.All() {
		if wire.EqualFold(view(key), hstsName) {
			others = append(others, string(key))
		}
	}
	for _, key := range others {
		h.Del(key)
	}
	h.Set(hstsName, value)
}

const hstsName = "Strict-Transport-Security"

// say answers with a short text of the proxy's own. kind is the error type for
// Proxy-Status (RFC 9209), "" for none.
func (c *call) say(status int, kind, text string) {
	resp := &c.ctx.Response
	resp.ResetBody()
	if err := c.readHead(status, ownFields(time.Now(), kind), int64(len(text)+1)); err != nil {
		resp.Header.SetStatusCode(status)
	}
	resp.SetBodyString(text + "\n")
	c.record.failed(kind)
}

// putID tells the client what its request was called on its way, if it was
// forwarded.
func (c *call) putID() {
	if c.id != "" {
		c.ctx.Response.Header.Set(c.snap.RequestID, c.id)
	}
}

// ownFields are the fields of an answer that the proxy makes itself.
func ownFields(now time.Time, kind string) wire.Fields {
	f := wire.Fields{
		{Name: "Date", Value: string(cache.AppendDate(nil, now))},
		{Name: "Content-Type", Value: "text/plain; charset=utf-8"},
		{Name: "Cache-Control", Value: "no-store"},
	}
	if kind != "" {
		f = append(f, wire.Field{Name: "Proxy-Status", Value: pseudonym + "; error=" + kind})
	}
	return f
}

// putStatus adds this cache's member to Cache-Status (RFC 9211), and counts the
// answer by what it says: each request that has a route gets one.
func (c *call) putStatus(st cache.Status) {
	if c.outcome = outcomeOf(st); !st.Hit {
		c.count.forwarded[st.Forward].Add(1)
	}
	c.record.cached(st)
	c.text = st.Append(c.text[:0], pseudonym)
	c.ctx.Response.Header.AddBytesV("Cache-Status", c.text)
}
