package proxy

import (
	"net"

	"ringfence/proxy/cache"
	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
)

// offers returns the list of protocols that a request would switch to (RFC
// 9110, section 7.8), "" for none. HTTP/1.0 knows no switch, and that of a
// request with a body would have to wait for its end: such a one goes on as if
// it had not asked.
func offers(h wire.RequestHead) string {
	if h.Minor == 0 || h.Length != 0 || !h.Fields.HasToken("Connection", "upgrade") {
		return ""
	}
	list, _ := h.Fields.Joined("Upgrade")
	return list
}

// protocol returns the first of the client's offers that the route allows, in
// the route's spelling, or "".
func (r *Route) protocol(offers string) string {
	for offer := ""; offers != ""; {
		offer, offers = wire.NextItem(offers)
		for _, allowed := range r.Upgrade {
			if wire.EqualFold(offer, allowed) {
				return allowed
			}
		}
	}
	return ""
}

// upgrade passes on a request to switch protocols, where there is room for one
// more tunnel. What else the upstream answers than a 101 is an answer like any
// other.
func (c *call) upgrade() {
	if !c.h.tunnels.reserve() {
		c.h.failed.note(c.route, c.method, c.target, errTooManyTunnels)
		c.sayFailure(errTooManyTunnels, cache.Upgrade)
		return
	}
	defer func() {
		if !c.ctx.Hijacked() {
			c.h.tunnels.release()
		}
	}()
	c.pass(cache.Upgrade)
}

// handOver makes a tunnel of the client's connection and the server's, which
// has answered 101. The client hears of it behind the answers before, from the
// goroutine of the tunnel, which fasthttp begins when the call has ended.
func (c *call) handOver(server *upstream.Tunnel, answer wire.Fields) {
	conn, h, r := c.conn.(*edge.Conn), c.h, c.keepRecord() // no other client can ask for it
	c.putStatus(cache.Status{Forward: cache.Upgrade})
	c.outcome = Passed
	head := appendSwitch(nil, c.switchTo, view(c.text), answer)
	c.ctx.Response.SetStatusCode(101) // for the counters
	c.src = nil
	c.ctx.HijackSetNoResponse(true)
	c.ctx.Hijack(func(net.Conn) { h.tunnel(conn, server, head, r) })
}

// appendSwitch appends the head of a 101 to this protocol, with the end-to-end
// fields of the server's. A 101 has no body that they could frame.
func appendSwitch(dst []byte, protocol, status string, answer wire.Fields) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"...)
	dst = wire.AppendField(dst, "Upgrade", protocol)
	for _, f := range wire.EndToEnd(nil, answer) {
		if !wire.EqualFold(f.Name, "Content-Length") {
			dst = wire.AppendField(dst, f.Name, f.Value)
		}
	}
	dst = wire.AppendField(dst, "Cache-Status", status)
	return append(dst, "\r\n"...)
}
