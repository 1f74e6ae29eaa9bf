package proxy

import (
	"cmp"
	"net/netip"
	"slices"

	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// trust is the set of peers that are believed when they say for whom they ask:
// sorted prefixes, none of which lies within another. It is immutable.
type trust []netip.Prefix

func newTrust(list []netip.Prefix) trust {
	t := slices.Clone(list)
	for i, p := range t {
		t[i] = p.Masked()
	}
	slices.SortFunc(t, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	kept := t[:0]
	for _, p := range t {
		if len(kept) == 0 || !kept[len(kept)-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return kept
}

// has reports whether an address, which is not an IPv4 one in IPv6 form, is
// trusted.
func (t trust) has(a netip.Addr) bool {
	i, found := slices.BinarySearchFunc(t, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && t[i-1].Contains(a)
}

// peerOf returns the address at the other end of the connection, or the zero
// address where there is none.
func peerOf(conn edge.Client) netip.Addr { return conn.Peer().Addr().Unmap().WithZone("") }

// maxHops bounds how far a request is followed back. The last hop counts as the
// client then.
const maxHops = 32

// walk follows a request back from its peer through the proxies that are
// trusted, and appends the addresses to hops: the peer's first, the client's
// last. An address is looked at only where the hop after it, which named it, is
// trusted; so the client's is the first one that is not, and whatever stands
// left of it, which is what the client itself has written, counts for nothing.
// An entry that is no address ends the walk: the last good one counts.
//
// Where there is any line of X-Forwarded-For, Forwarded (RFC 7239) is not looked
// at: many proxies write the one and pass the other through as their client sent
// it. proto is what Forwarded says beside the client's address, or "".
func (t trust) walk(hops []netip.Addr, peer netip.Addr, fields wire.Fields) (_ []netip.Addr, proto string) {
	hops = append(hops, peer)
	name, read := "X-Forwarded-For", readAddress
	if !fields.Has(name) {
		name, read = "Forwarded", readElement
	}
	for i := len(fields) - 1; i >= 0; i-- {
		if !wire.EqualFold(fields[i].Name, name) {
			continue
		}
		for rest, more := fields[i].Value, true; more; {
			if len(hops) == maxHops || !t.has(hops[len(hops)-1]) {
				return hops, proto
			}
			var item string
			item, rest, more = cutLast(rest)
			addr, said, ok := read(item)
			if !ok {
				return hops, proto
			}
			hops, proto = append(hops, addr), said
		}
	}
	return hops, proto
}

// cutLast splits the last member off a comma-separated list, without the white
// space around it. It reads from the right, where commas in quoted strings part
// nothing: what was appended last is read as it was meant, whatever stands
// before it.
func cutLast(list string) (item, rest string, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch {
		case list[i] == '"' && !isEscaped(list, i):
			quoted = !quoted
		case list[i] == ',' && !quoted:
			return wire.TrimSpace(list[i+1:]), list[:i], true
		}
	}
	return wire.TrimSpace(list), "", false
}

// isEscaped reports whether an odd number of backslashes is before the byte at i.
func isEscaped(s string, i int) bool {
	n := 0
	for n < i && s[i-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// readAddress reads a member of X-Forwarded-For: an address, as some write it
// with a port or in brackets.
func readAddress(item string) (_ netip.Addr, proto string, ok bool) {
	if a, err := netip.ParseAddr(item); err == nil {
		return a.Unmap(), "", a.Zone() == ""
	}
	a, ok := parseNode(item)
	return a, "", ok
}

// readElement reads a member of Forwarded.
func readElement(item string) (_ netip.Addr, proto string, ok bool) {
	e, ok := parseElement(item)
	if !ok {
		return netip.Addr{}, "", false
	}
	a, ok := parseNode(e.node)
	return a, e.proto, ok
}

// trustedScheme is the scheme in which a trusted proxy's client has asked. The
// proxy says it in the one line of X-Forwarded-Proto. Without such a line, and
// without X-Forwarded-For, Forwarded says it; else it is own, the scheme of the
// connection. hops are as with walk, and empty where it was not needed.
func (t trust) trustedScheme(hops []netip.Addr, own string, peer netip.Addr, fields wire.Fields) (scheme string, _ []netip.Addr) {
	said := ""
	switch i := fields.Index("X-Forwarded-Proto", 0); {
	case i < 0 && fields.Has("Forwarded"):
		hops, said = t.walk(hops, peer, fields)
	case i >= 0 && fields.Index("X-Forwarded-Proto", i+1) < 0:
		said = fields[i].Value
	}
	switch {
	case wire.EqualFold(said, "http"):
		return "http", hops
	case wire.EqualFold(said, "https"):
		return "https", hops
	}
	return own, hops
}

// readPeer finds out whether the peer is trusted, and the scheme of the request.
// A listener that trusts nobody pays nothing for it.
func (c *call) readPeer() (scheme string) {
	scheme = "http"
	if c.conn.Secure() {
		scheme = "https"
	}
	if len(c.snap.trusted) == 0 {
		return scheme
	}
	peer := peerOf(c.conn)
	if c.peerTrusted = c.snap.trusted.has(peer); c.peerTrusted {
		scheme, c.hops = c.snap.trusted.trustedScheme(c.hops, scheme, peer, c.fields)
	}
	return scheme
}

// identify finds out for whom the request is, and what it is called. It comes
// before a request is forwarded: a hit asks nobody.
func (c *call) identify() {
	c.findHops()
	if name := c.snap.RequestID; name != "" && c.id == "" {
		c.id = requestID(c.fields, name, c.peerTrusted)
	}
}

// findHops finds out for whom the request is.
func (c *call) findHops() {
	if len(c.hops) == 0 {
		c.hops, _ = c.snap.trusted.walk(c.hops, peerOf(c.conn), c.fields)
	}
}

// sender says for whom the request is forwarded. identify comes before it.
func (c *call) sender() sender {
	return sender{
		version: versionOf(c.req), hops: c.hops,
		idName: c.snap.RequestID, id: c.id, unkeyed: c.route.ForwardFields,
	}
}

// client is the address of who asks, as far as can be believed. findHops comes
// before it.
func (c *call) client() netip.Addr { return c.hops[len(c.hops)-1] }
