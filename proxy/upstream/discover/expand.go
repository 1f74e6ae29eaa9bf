package discover

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// answer is what a look-up came to: one target for a host, and for a service
// those of its two most preferred priorities, in order of these. It is never
// changed.
type answer []target

// target is a host with all its addresses, in any order.
type target struct {
	host             string
	port             uint16 // 0: the entry's
	priority, weight uint16 // as the SRV record says
	addrs            []netip.Addr
}

// expand returns the servers that entries stand for, given what is known of
// their names: in the order of the entries, those of one name by address, no ID
// twice.
func expand(entries []Entry, known func(query) answer) []Server {
	var servers []Server
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		for _, s := range e.servers(known) {
			if !seen[s.ID] {
				seen[s.ID] = true
				servers = append(servers, s)
			}
		}
	}
	return servers
}

// servers returns the servers of one entry.
func (e Entry) servers(known func(query) answer) []Server {
	server := Server{
		ID: cmp.Or(e.ID, e.Address), Address: e.Address,
		Weight: e.Weight, Backup: e.Backup, MaxRequests: e.MaxRequests,
	}
	q := e.query()
	if q == (query{}) {
		return []Server{server}
	}
	points := e.endpoints(known(q))
	servers := make([]Server, 0, len(points))
	for _, p := range points {
		server.Address, server.Host = p.addr.String(), p.host
		server.Weight, server.Backup = p.weight, p.backup
		switch {
		case e.ID == "" || e.ID == e.Address:
			server.ID = server.Address
		case len(points) == 1:
			server.ID = e.ID
		default:
			server.ID = e.ID + "/" + server.Address
		}
		servers = append(servers, server)
	}
	return servers
}

type endpoint struct {
	addr   netip.AddrPort
	host   string
	weight int
	backup bool
}

// endpoints returns the addresses of an answer in their order, none twice. One
// that two targets have is as the more preferred of them says.
func (e Entry) endpoints(a answer) []endpoint {
	if len(a) == 0 {
		return nil
	}
	second := slices.IndexFunc(a, func(t target) bool { return t.priority != a[0].priority })
	if second < 0 {
		second = len(a)
	}
	points := e.group(a[:second], e.Backup)
	if !e.Backup {
		points = append(points, e.group(a[second:], true)...)
	}
	slices.SortStableFunc(points, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
	return slices.CompactFunc(points, func(a, b endpoint) bool { return a.addr == b.addr })
}

// group returns the addresses of the targets of one priority.
func (e Entry) group(targets []target, backup bool) []endpoint {
	heaviest, equal := 1, true
	for _, t := range targets {
		heaviest = max(heaviest, int(t.weight))
		equal = equal && max(t.weight, 1) == max(targets[0].weight, 1)
	}
	var points []endpoint
	for _, t := range targets {
		weight := e.Weight
		if !equal {
			weight = scaled(e.Weight*max(int(t.weight), 1), e.Weight*heaviest)
		}
		port := t.port
		if port == 0 {
			port = portOf(e.Address)
		}
		for _, addr := range t.addrs {
			points = append(points, endpoint{netip.AddrPortFrom(addr, port), strings.TrimSuffix(t.host, "."), weight, backup})
		}
	}
	return points
}

// scaled returns weight, or where the heaviest is beyond what a weight can be
// the same part of that; what is not 0 is at least 1.
func scaled(weight, heaviest int) int {
	if heaviest <= maxWeight {
		return weight
	}
	return max(weight*maxWeight/heaviest, 1)
}

// portOf returns the port of an address that was validated.
func portOf(address string) uint16 {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}
