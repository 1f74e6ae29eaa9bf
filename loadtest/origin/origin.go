package origin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrStopped says that an answer was given up because the origin was stopped.
var ErrStopped = errors.New("origin stopped")

// HealthPath answers 200, or 503 while the origin is unhealthy. No script is
// asked.
const HealthPath = "/healthz"

// linger is how long an early answer's connection still takes what the client
// sends, so that the answer is not lost to a reset.
const linger = 2 * time.Second

// Script decides the answer to a request from its head. It is called from many
// goroutines at once and must not block; an Answer can say what to wait for.
type Script func(Request) Answer

// Options describe an origin.
type Options struct {
	Name   string // sent as X-Served-By; default the address
	Listen string // host:port; default 127.0.0.1:0
	Script Script // default: an empty 200
	// Keep bounds the requests whose details are kept; default 10,000. Counts
	// are not bounded by it.
	Keep int
}

// Origin is a running server. Its methods may be called concurrently, except
// that Stop and Restart take turns.
type Origin struct {
	name, addr string
	script     Script
	book       *book
	unhealthy  atomic.Bool
	run        *run
}

// run is the time between a start and a stop.
type run struct {
	listener net.Listener
	stop     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
}

// Start listens and serves until Stop.
func Start(o Options) (*Origin, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Script == nil {
		o.Script = func(Request) Answer { return Answer{} }
	}
	if o.Keep == 0 {
		o.Keep = 10_000
	}
	or := &Origin{name: o.Name, addr: o.Listen, script: o.Script, book: newBook(o.Keep)}
	if err := or.Restart(); err != nil {
		return nil, err
	}
	or.addr = or.run.listener.Addr().String()
	if or.name == "" {
		or.name = or.addr
	}
	return or, nil
}

// Restart serves again, on the same port, after Stop.
func (o *Origin) Restart() error {
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	r := &run{listener: l, stop: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	o.run = r
	r.wg.Go(func() { o.accept(r) })
	return nil
}

// Stop resets every connection, as the end of a process does, and waits for
// all answers to be given up. Stopping twice does nothing.
func (o *Origin) Stop() {
	r := o.run
	if r == nil {
		return
	}
	o.run = nil
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.conns {
		reset(c) // before any answer is given up and closes in good order
	}
	close(r.stop)
	r.mu.Unlock()
	r.wg.Wait()
}

// Addr is the host:port the origin serves at.
func (o *Origin) Addr() string { return o.addr }

// Name is what the origin sends as X-Served-By.
func (o *Origin) Name() string { return o.name }

// SetHealthy decides what the health path answers from now on.
func (o *Origin) SetHealthy(healthy bool) { o.unhealthy.Store(!healthy) }

func (o *Origin) accept(r *run) {
	for {
		c, err := r.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return // by Stop: there is nobody to tell
		case err != nil: // there is no file left; those who wait have another try
			select {
			case <-r.stop:
				return
			case <-time.After(5 * time.Millisecond):
				continue
			}
		}
		if !r.add(c) {
			continue
		}
		var id int
		o.book.note(func(rec *Record) { rec.Connections++; rec.Open++; id = rec.Connections })
		r.wg.Go(func() {
			defer r.remove(c)
			defer o.book.note(func(rec *Record) { rec.Open-- })
			o.serve(r, c, id)
		})
	}
}

// add enters a connection, or closes it where the origin was stopped.
func (r *run) add(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.stop:
		_ = c.Close()
		return false
	default:
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *run) remove(c net.Conn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close()
}

// serve answers the requests of one connection.
func (o *Origin) serve(r *run, c net.Conn, id int) {
	br, w := bufio.NewReader(c), bufio.NewWriter(c) // what is larger goes past them
	for nth := 1; ; nth++ {
		req, err := readRequest(br)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				o.book.note(func(rec *Record) { rec.Malformed++ })
			}
			return
		}
		req.Conn, req.Nth = id, nth
		if !o.one(r, c, br, w, req) {
			return
		}
	}
}

// one answers one request and reports whether the connection may serve
// another.
func (o *Origin) one(r *run, c net.Conn, br *bufio.Reader, w *bufio.Writer, req Request) bool {
	x := exchange{w: w, stop: r.stop, server: o.name, req: req}
	if req.Path() == HealthPath {
		o.book.note(func(rec *Record) { rec.Checks++ })
		if o.unhealthy.Load() {
			x.a.Status = 503
		}
		return x.answer(nil) == nil && !wantsClose(req)
	}
	at := o.book.begin(req)
	complete := false
	defer func() { o.book.end(at, req.Target, complete) }()

	x.a = o.script(req)
	defer x.done()
	src, err := req.content(br)
	if err != nil {
		return false
	}
	upload := &tally{src: src}
	defer func() { o.book.received(at, upload.body) }()
	if !x.a.Early {
		if err := greet(w, req); err != nil {
			return false
		}
		if !x.a.Echo {
			if _, err := io.Copy(io.Discard, upload); err != nil {
				return false
			}
			o.book.received(at, upload.body)
		}
	}
	if err := x.answer(upload); err != nil {
		return false
	}
	complete = !x.a.Cut
	if x.a.Early {
		drain(c, upload)
		return false
	}
	return end(c, x) && !wantsClose(req)
}

// greet asks for a body that waits to be asked for (RFC 9110, section 10.1.1).
func greet(w *bufio.Writer, req Request) error {
	if !strings.EqualFold(req.Get("Expect"), "100-continue") {
		return nil
	}
	_, _ = w.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
	return w.Flush()
}

// end does to the connection what the answer says, and reports whether it
// lives on.
func end(c net.Conn, x exchange) bool {
	if x.a.Ending == Reset {
		reset(c)
	}
	untilClose := x.a.Framing == UntilClose && x.a.Raw == nil && !x.a.Echo
	return x.a.Ending == KeepAlive && !x.a.Cut && !untilClose
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// drain closes the sending side and takes in the rest for a while.
func drain(c net.Conn, upload io.Reader) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, upload)
}

func wantsClose(req Request) bool {
	return strings.EqualFold(req.Get("Connection"), "close") ||
		req.Proto == "HTTP/1.0" && !strings.EqualFold(req.Get("Connection"), "keep-alive")
}
