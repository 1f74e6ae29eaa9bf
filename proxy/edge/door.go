package edge

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/proxy/wire"
)

// maxAway bounds the connections that are told why they are turned away, and
// those that are read from for a moment after their last answer; those beyond
// are closed without it.
const maxAway = 1024

// Capacity bounds the connections of all listeners.
type Capacity struct {
	// Connections bounds all of them, PerClient those of one IPv4 address or one
	// IPv6 network of 64 bits. 0: no limit.
	Connections, PerClient int
	// Exempt are the addresses for which PerClient does not count: those of
	// proxies that speak for many clients.
	Exempt []netip.Prefix
}

// Door counts the clients' connections and turns away those that are too many.
// It is safe for concurrent use.
type Door struct {
	mu        sync.Mutex
	capacity  Capacity
	conns     map[*Conn]bool // and whether each is counted among those of its client
	perClient map[netip.Addr]int

	requests [stripes]requests

	lingering atomic.Int64
	accepted  atomic.Uint64
	full      atomic.Uint64
	crowded   atomic.Uint64
	failed    atomic.Uint64
	starved   atomic.Uint64
	late      [lateKinds]atomic.Uint64

	h2Open     atomic.Int64
	h2Accepted atomic.Uint64
	h2Abusive  atomic.Uint64
}

// late is what a client took too long over.
type late int

const (
	lateIdle  late = iota // to ask for something
	lateHead              // to send a head
	lateBody              // or a body
	lateWrite             // to take an answer
	lateKinds int  = iota
)

// protocol is what a client speaks.
type protocol int

const (
	h1 protocol = iota
	h2
)

// stripes is how many copies there are of what each request counts in, so that
// cores do not take one cache line from each other.
const stripes = 16

// requests count those of some connections by protocol.
type requests struct {
	by [2]atomic.Uint64
	_  [48]byte
}

// count counts a request.
func (d *Door) count(c *Conn, p protocol) { d.requests[c.number%stripes].by[p].Add(1) }

// NewDoor returns a door that nobody has come through.
func NewDoor(c Capacity) *Door {
	return &Door{capacity: c, conns: make(map[*Conn]bool), perClient: make(map[netip.Addr]int)}
}

// SetCapacity has another capacity hold for those who come from now on. Whoever
// is in stays, and counts, but for the connections of one client where these were
// not bounded before.
func (d *Door) SetCapacity(c Capacity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = c
}

// DoorStats are a door's counters.
type DoorStats struct {
	// Open are the connections there are, and Lingering those of them that are
	// read from for another moment, so that their clients see the answer.
	Open, Lingering int
	// Accepted counts all connections; Full those turned away because there were
	// too many, Crowded because there were too many of one client, and Failed
	// those that failed to say who they are: by TLS or the PROXY protocol.
	Accepted, Full, Crowded, Failed uint64
	// Idle counts the connections that were closed since nothing was asked for on
	// them, SlowHeads and SlowBodies the requests that did not arrive in time, and
	// SlowReads the answers that were not taken in time, by Limits. Of HTTP/2 only
	// SlowBodies are counted.
	Idle, SlowHeads, SlowBodies, SlowReads uint64
	// Starved counts the attempts to accept a connection for which the system had
	// no file descriptor or memory.
	Starved uint64
	// Requests counts those of HTTP/1, read or refused, and H2Requests those of
	// HTTP/2.
	Requests, H2Requests uint64
	// H2Open are the connections that speak HTTP/2, of which there were H2Accepted so
	// far. H2Abusive of them were closed because their clients took back what they had
	// asked for.
	H2Open                int
	H2Accepted, H2Abusive uint64
}

// Stats returns the counters at this moment.
func (d *Door) Stats() DoorStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := DoorStats{
		Open: len(d.conns), Lingering: int(d.lingering.Load()), Accepted: d.accepted.Load(),
		Full: d.full.Load(), Crowded: d.crowded.Load(), Failed: d.failed.Load(),
		Starved: d.starved.Load(),
		Idle:    d.late[lateIdle].Load(), SlowHeads: d.late[lateHead].Load(), SlowBodies: d.late[lateBody].Load(), SlowReads: d.late[lateWrite].Load(),
		H2Open: int(d.h2Open.Load()), H2Accepted: d.h2Accepted.Load(), H2Abusive: d.h2Abusive.Load(),
	}
	for i := range d.requests {
		s.Requests += d.requests[i].by[h1].Load()
		s.H2Requests += d.requests[i].by[h2].Load()
	}
	return s
}

// enter lets a connection in, perhaps only to hear why it is turned away. It
// reports false where it had better be closed at once.
func (d *Door) enter(c *Conn) bool {
	c.number = d.accepted.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if limit := d.capacity.Connections; limit > 0 && len(d.conns) >= limit {
		d.full.Add(1)
		if len(d.conns) >= limit+maxAway {
			return false
		}
		c.away = &wire.Refusal{Status: 503, Why: "too many connections"}
	}
	d.conns[c] = false
	return true
}

// identify counts a connection among those of its client, once that is known.
func (d *Door) identify(c *Conn) {
	if c.away != nil {
		return
	}
	client := clientOf(c.peer.Addr())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.capacity.PerClient == 0 || within(d.capacity.Exempt, c.peer.Addr()) {
		return
	}
	if d.perClient[client] >= d.capacity.PerClient {
		d.crowded.Add(1)
		c.away = &wire.Refusal{Status: 429, Why: "too many connections from one address"}
		return
	}
	d.perClient[client]++
	d.conns[c] = true
}

// leave is called when a connection is closed.
func (d *Door) leave(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns[c] {
		client := clientOf(c.peer.Addr())
		if d.perClient[client]--; d.perClient[client] == 0 {
			delete(d.perClient, client)
		}
	}
	delete(d.conns, c)
}

// clientOf returns what the connections of one client have in common: an IPv4
// address, or the 64 bits of an IPv6 one that say whose network it is.
func clientOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64) // there is one of every IPv6 address
		return p.Addr()
	}
	return a
}

// mayLinger takes one of the places for connections that linger.
func (d *Door) mayLinger() bool {
	if d.lingering.Add(1) > maxAway {
		d.lingering.Add(-1)
		return false
	}
	return true
}

// CloseIdle closes the connections that wait for a request of which nothing has
// come. It may be called while they are served; a request whose first byte has
// arrived is not touched, nor is a connection of HTTP/2 whose last stream ended a
// moment ago: the end may not have left yet, and [H2.Drain] closes it as well.
func (d *Door) CloseIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	ended := time.Now().Add(-h2Rest).UnixNano()
	for c := range d.conns {
		if c.rested.Load() <= ended && c.state.CompareAndSwap(idle, leaving) {
			// Whoever reads from it finds out, and closes it for good.
			_ = c.tcp.Close()
		}
	}
}

// h2Rest is how long the end of a stream may take from net/http to the socket.
const h2Rest = 50 * time.Millisecond

// CloseAll breaks all connections off.
func (d *Door) CloseAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		_ = c.tcp.Close()
	}
}

// within reports whether one of the prefixes holds the address.
func within(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
