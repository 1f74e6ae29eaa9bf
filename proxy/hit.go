package proxy

import (
	"runtime/debug"
	"strconv"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// Hit answers a request of HTTP/1.1 with what is stored, past fasthttp, and reports
// whether it did: all else is for Serve, which finds nothing changed. So the most
// frequent answer takes a lookup, a few lines behind those that are kept, and one
// write. It is for an [edge.Listener], and may be called concurrently.
func (h *Handler) Hit(conn *edge.Conn) (answered bool) {
	req := conn.Request()
	if req.Refusal != nil || req.Minor != 1 || req.Body != nil || h.draining.Load() {
		return false
	}
	c := h.calls.Get().(*call)
	c.begin(h, conn, conn.Number())
	defer func() {
		if p := recover(); p != nil {
			// Serve does the same, and says so to the client.
			h.log.Error("panic while answering from the store", "panic", p, "stack", string(debug.Stack()))
		}
		c.reset()
		h.calls.Put(c)
	}()
	return c.hit(conn)
}

func (c *call) hit(conn *edge.Conn) bool {
	if to, _, _ := c.chart(); to != cacheable {
		return false
	}
	p, d := c.decide()
	if e := c.found; p != fromStore || d.Action != cache.Serve || d.TTL < e.early {
		return false // it may have to be renewed, too
	}
	meta, lines, body := c.found.choose(&c.rq)
	size := int64(len(body))
	a := cache.Evaluate(meta, size, c.rq)
	status := meta.Status
	switch {
	case len(body) > largeBody:
		return false
	case a.Kind == cache.NotModified:
		status, body = 304, nil
	case a.Kind == cache.Part:
		status, size, body = 206, a.Length, body[a.Offset:a.Offset+a.Length]
	case a.Kind != cache.Full:
		return false
	}
	if c.method == "HEAD" {
		body = nil
	}
	site := conn.Site()
	if site.HSTS != "" && c.found.Fields.Has(hstsName) {
		return false // which gives way to the site's
	}
	c.count.inFlight.Add(1)
	defer c.count.inFlight.Add(-1)
	c.h.hot.see(c)
	b := lines.append(c.text[:0], status, size)
	if a.Kind == cache.Part {
		b = append(cache.AppendContentRange(append(b, "Content-Range: "...), a.Span, int64(len(c.found.Body))), "\r\n"...)
	}
	b = append(strconv.AppendInt(append(b, "Age: "...), int64(d.Age/time.Second), 10), "\r\n"...)
	st := cache.Status{Hit: true, HasTTL: true, TTL: d.TTL, Detail: d.Reason}
	b = append(st.Append(append(b, "Cache-Status: "...), pseudonym), "\r\n"...)
	if site.HSTS != "" {
		b = wire.AppendField(b, hstsName, site.HSTS)
	}
	if !c.req.Persistent {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	c.text = b
	c.outcome = outcomeOf(st)
	took := time.Since(c.req.Time)
	c.countAnswer(status, int64(len(body)), took)
	var r *record
	if c.snap.AccessLog != nil {
		r = c.openRecord(conn.Number())
		r.cached(st)
		r.aged(d.Age)
		r.answered(c, status, int64(len(body)), took)
	}
	// What it fails of ends the connection, and shows in the record.
	_ = conn.Answer(c.text, body)
	_ = r.Close()
	return true
}
