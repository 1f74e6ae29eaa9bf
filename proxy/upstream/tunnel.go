package upstream

import (
	"slices"
	"time"

	"ringfence/proxy/wire"
)

// Tunnel is the connection to a server that has switched protocols, the Body
// of the 101 that says so (RFC 9110, section 7.8). It holds the place of its
// request at the server until Close, which must be called. It knows no timeout.
// One goroutine may read while another one writes and ends what it writes.
type Tunnel struct {
	x      *exchange
	early  []byte // what came along with the head
	closed bool
}

// switches reports whether a 101 switches to the protocol that was asked for,
// and to that alone. HTTP/1.0 knows no 101.
func switches(head wire.ResponseHead, protocol string) bool {
	to, _ := head.Fields.Joined("Upgrade")
	return protocol != "" && head.Minor > 0 && wire.EqualFold(to, protocol) && head.Fields.HasToken("Connection", "upgrade")
}

// openTunnel gives the connection over. The switch is all that health is told
// of, at once: how long a tunnel lives, and how it ends, is up to its users.
func (x *exchange) openTunnel(head wire.ResponseHead) error {
	// What of a timeout the head has left is none of the tunnel's.
	if err := x.conn.SetDeadline(time.Time{}); err != nil {
		return x.blame(Terminated, false, err)
	}
	t := &Tunnel{x: x}
	in := &x.conn.in
	if n := in.Buffered(); n > 0 {
		early, _ := in.Load().Peek(n) // it is there
		t.early = slices.Clone(early)
	}
	in.Drop()
	x.req = nil
	x.resp = Response{Status: head.Status, Fields: head.Fields, Length: wire.UntilClose, Body: t, Server: x.server.id}
	x.judge(nil)
	return nil
}

// Read implements io.Reader. Over TLS, io.EOF is an end that the server
// declared, and io.ErrUnexpectedEOF one that it did not.
func (t *Tunnel) Read(p []byte) (int, error) {
	if len(t.early) == 0 {
		return t.x.conn.in.Read(p)
	}
	n := copy(p, t.early)
	if t.early = t.early[n:]; len(t.early) == 0 {
		t.early = nil
	}
	return n, nil
}

// Write implements io.Writer.
func (t *Tunnel) Write(p []byte) (int, error) { return t.x.conn.Write(p) }

// CloseWrite tells the server that nothing more will be written. It can still
// be read from.
func (t *Tunnel) CloseWrite() error { return t.x.conn.CloseWrite() }

// Interrupt ends the reads and writes under way, and all later ones. Any
// goroutine may call it before Close.
func (t *Tunnel) Interrupt() { t.x.conn.interrupt() }

// Abort makes the end that Close puts to the connection a reset where it can be
// one, so that the server does not take it for a regular end.
func (t *Tunnel) Abort() {
	if tcp, ok := t.x.conn.socket.Conn.(interface{ SetLinger(int) error }); ok {
		// An error means that the connection has ended.
		_ = tcp.SetLinger(0)
	}
}

// Close implements io.Closer. It closes the connection and leaves the server. It
// must not be called while another goroutine reads or writes.
func (t *Tunnel) Close() error {
	if !t.closed {
		t.closed = true
		t.x.finish(false)
		t.x.server.leave()
	}
	return nil
}
