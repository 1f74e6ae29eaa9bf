package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"ringfence/proxy/wire"
)

const (
	// readBuffer is what a connection reads ahead; a head may be longer.
	readBuffer = 2 << 10
	// keptHead is the largest buffer for a head that a connection keeps while it
	// waits for the next one.
	keptHead = 4 << 10
	// maxRecord is how much is written to TLS at a time: a write that was cut short
	// cannot go on there, so that what has to leave in time must be bounded.
	maxRecord = 64 << 10
)

// What a connection is at.
const (
	idle    int32 = iota // between two requests, or before the first
	busy                 // a request has begun
	leaving              // closed while it was idle
)

// turn is how far a request has come. The set is closed.
type turn uint8

const (
	awaited  turn = iota
	taken         // its head was read
	passed        // it is not answered at once
	answered      // it was
)

// trusted is how many requests a client has asked one after the other before the
// connection rests after an answer without looking whether it has ended: a client
// may end its side together with its only request, and waits for ours.
const trusted = 4

// Conn is one client's connection that speaks HTTP/1. It implements [Client]. To
// fasthttp's server, which reads and writes it from one goroutine, its requests
// have no bodies and nothing but a method; what they really are is in Request.
//
// It bounds all waiting itself: the server must have no timeouts of its own.
type Conn struct {
	net.Conn // the socket, or TLS on it
	tcp      net.Conn
	door     *Door
	l        *Listener
	opts     *ListenerOptions // of l when it came
	peer     netip.AddrPort
	local    netip.AddrPort
	number   uint64 // among those of the door
	secure   bool

	in    wire.Intake
	head  []byte  // the bytes of the request's head, which its strings point into
	out   *[]byte // what is held back of the answer; nil: nothing
	req   Request
	body  Body
	clock clock
	state atomic.Int32
	// rested is when the last stream of HTTP/2 ended, in nanoseconds since the epoch
	// of Unix; 0 in HTTP/1.
	rested atomic.Int64
	closed atomic.Bool
	// away is why the connection is turned away before it was read from, and heard
	// says that the client has begun to ask all the same.
	away  *wire.Refusal
	heard bool
	// turn is how far the request has come before fasthttp hears of it, and hits how
	// many were answered without.
	turn turn
	hits int
	// last says that no request can follow the one that is being answered.
	last, aborted, raw bool
	// h2c says that it begins with HTTP/2's preface, without TLS.
	h2c bool
	// begun says that the answer has, and broken that a write has failed.
	begun, broken bool
	// answer is what of pieces has not left yet.
	pieces [2][]byte
	answer net.Buffers
}

// Request implements [Client].
func (c *Conn) Request() *Request { return &c.req }

// Peer implements [Client].
func (c *Conn) Peer() netip.AddrPort { return c.peer }

// Local implements [Client].
func (c *Conn) Local() netip.AddrPort { return c.local }

// Site implements [Client].
func (c *Conn) Site() *Site { return &c.opts.Site }

// Secure implements [Client].
func (c *Conn) Secure() bool { return c.secure }

// Context implements [Client].
func (c *Conn) Context() context.Context { return context.Background() }

// Read implements net.Conn for fasthttp: it returns the stand-in of the next
// request, once its head is there, and io.EOF where there is no other.
func (c *Conn) Read(p []byte) (int, error) {
	if c.raw {
		return c.readRaw(p)
	}
	for {
		if c.Flush() != nil || c.broken || c.last || !c.next() {
			return 0, io.EOF
		}
		if c.turn == taken {
			c.ask()
		}
		if c.turn == passed {
			return copy(p, c.standIn()), nil
		}
	}
}

// ask has the request answered, if that can be done at once.
func (c *Conn) ask() {
	if !c.l.hit(c) {
		c.turn = passed
		return
	}
	c.turn = answered
	c.hits++
}

// arrived deals with a whole request that has come while the connection waits, if
// it can be answered at once, and reports whether to go on waiting.
func (c *Conn) arrived() (rests bool) {
	in := c.in.Load()
	head, _ := in.Peek(in.Buffered())
	if c.hits < trusted || headEnd(head, 0) == 0 || head[0] == '\r' || !c.state.CompareAndSwap(idle, busy) {
		return false
	}
	if !c.take() {
		return false
	}
	if c.ask(); c.turn == passed || c.broken || c.last || c.in.Buffered() > 0 {
		return false
	}
	c.reset()
	return c.rest(c.opts.Limits.Idle) == nil
}

// Number tells the connections of a door apart.
func (c *Conn) Number() uint64 { return c.number }

// next reads the next request, or why it is refused. It reports false where there
// is nobody to answer.
func (c *Conn) next() bool {
	if c.away != nil {
		// Clients take an answer that comes before they ask for a broken connection.
		if c.away == errGone || !c.heard && !c.wait(c.opts.Limits.Head) {
			return false
		}
		c.state.Store(busy)
	} else {
		if c.req.Body != nil && (!c.body.Spare() || c.body.finish() != nil) {
			return false
		}
		c.reset()
		if !c.wait(c.opts.Limits.Idle) {
			return false
		}
		if c.turn != awaited { // it was dealt with while we waited
			return c.away != errGone
		}
		return c.take()
	}
	return c.judge()
}

// take reads a head of which there is a byte. It reports false where there is nobody
// to answer.
func (c *Conn) take() bool {
	c.away = c.readHead()
	return c.judge()
}

// judge says what follows from a head, or from what came in its place.
func (c *Conn) judge() bool {
	c.turn = taken
	if c.req.Time.IsZero() {
		c.req.Time = time.Now()
	}
	if c.away == errGone {
		return false
	}
	if c.req.Refusal = c.away; c.away != nil {
		c.clock.read, c.clock.write = c.opts.Limits.Read, c.opts.Limits.Write
		c.clock.begin(time.Time{})
	}
	c.last = c.away != nil || !c.req.Persistent
	c.door.count(c, h1)
	return true
}

// reset forgets the last request.
func (c *Conn) reset() {
	c.begun, c.turn = false, awaited
	clear(c.req.Fields)
	c.req = Request{RequestHead: wire.RequestHead{Fields: c.req.Fields[:0]}}
	if c.head = c.head[:0]; cap(c.head) > keptHead {
		c.head = nil
	}
	c.clock.begin(time.Time{})
}

// wait waits for the first byte of a request, for so long at most.
func (c *Conn) wait(d time.Duration) bool {
	if c.rest(d) != nil {
		return false
	}
	in := c.in.Load()
	if c.turn != awaited {
		c.in.Unload()
		return true
	}
	if _, err := in.Peek(1); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.door.late[lateIdle].Add(1)
		}
		return false
	}
	return c.state.CompareAndSwap(idle, busy)
}

// rest makes the connection one that waits for a request, for so long at most.
func (c *Conn) rest(d time.Duration) error {
	c.state.Store(idle)
	c.clock.read = d
	return c.clock.allowRead()
}

// Broken implements [Client].
func (c *Conn) Broken() bool { return c.broken }

// Interim implements [Client].
func (c *Conn) Interim(status int, fields wire.Fields) error {
	head := strconv.AppendInt([]byte("HTTP/1.1 "), int64(status), 10)
	head = append(append(head, ' '), http.StatusText(status)...)
	head = append(wire.AppendFields(append(head, "\r\n"...), fields), "\r\n"...)
	usual := c.clock.write
	c.clock.write = interimTimeout
	_, err := c.write(head)
	c.clock.write, c.clock.last = usual, time.Time{} // the answer has not begun
	if err != nil {
		// A part of a head may be on its way: nothing can follow it.
		_ = c.tcp.Close()
	}
	return err
}

// interimTimeout bounds the writing of an interim response, which a client's
// receive buffer has room for.
const interimTimeout = time.Second

// Abort implements [Client].
func (c *Conn) Abort() {
	if tcp, ok := c.tcp.(interface{ SetLinger(int) error }); ok {
		c.aborted = true
		_ = tcp.SetLinger(0)
	}
}

// Raw ends HTTP on the connection: from now on Read gives what the client sent
// after the last request, and no deadline is set but the caller's.
func (c *Conn) Raw() {
	c.raw = true
	c.clock = clock{on: c.Conn, made: time.Now()}
	// A deadline that passed shows in what is read or written next.
	_ = c.Conn.SetDeadline(time.Time{})
}

// CloseWrite ends what is sent to the client, and not what comes from it, where
// the connection can do that.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

func (c *Conn) readRaw(p []byte) (int, error) {
	return c.in.Take(p)
}

// SetDeadline implements net.Conn. Before [Conn.Raw] it does nothing, as the other
// two: the connection bounds all waiting by its limits.
func (c *Conn) SetDeadline(t time.Time) error {
	if !c.raw {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn like SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.raw {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn like SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if !c.raw {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// Close implements net.Conn. Where the client has sent what nobody has read, it
// waits for a moment until the client has seen the answer.
func (c *Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	flushed := c.Flush()
	if c.state.Load() == busy && !c.aborted && c.isUnread() {
		c.linger()
	}
	err := c.Conn.Close()
	c.door.leave(c)
	return cmp.Or(flushed, err)
}

// isUnread reports whether there may be bytes of the client's that nobody reads.
func (c *Conn) isUnread() bool {
	return !c.raw && (c.req.Refusal != nil || c.req.Body != nil && !c.body.Whole() || c.in.Buffered() > 0)
}

// lingerTime bounds how long a connection is read from after its last answer.
const lingerTime = 2 * time.Second

// linger lets a client read its answer although it is still sending: a connection
// that is closed with bytes unread is reset, and the reset can overtake the
// answer (RFC 9112, section 9.6).
func (c *Conn) linger() {
	if !c.door.mayLinger() {
		return
	}
	defer c.door.lingering.Add(-1)
	if t, ok := c.Conn.(*tls.Conn); ok {
		// The end of the socket's sending side follows, whatever comes of this.
		_ = t.CloseWrite()
	}
	half, ok := c.tcp.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.tcp.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	var sink [2 << 10]byte
	for {
		if _, err := c.tcp.Read(sink[:]); err != nil {
			return
		}
	}
}
