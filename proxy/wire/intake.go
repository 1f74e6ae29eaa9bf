package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Intake reads a connection, and borrows a buffer to do so no earlier than there
// is something to read: one on which nothing comes holds none. Call Init before
// use. It is for one goroutine.
type Intake struct {
	conn    net.Conn
	raw     syscall.RawConn // nil: a buffer comes first
	readers *sync.Pool      // of *bufio.Reader
	reader  *bufio.Reader   // nil: none is borrowed
	attempt func(fd uintptr) bool
	arrival func() (rests bool) // nil: whoever called Load deals with what has come
	trying  bool
	fd      uintptr // while trying
	err     error   // what ended the connection: the system says it only once
}

// Init has the intake read conn by readers of the pool, which it gives back. raw
// is the socket that conn is, or nil where conn is something on it, such as TLS:
// then there are other buffers in any case.
func (in *Intake) Init(conn net.Conn, raw syscall.RawConn, readers *sync.Pool) {
	in.conn, in.raw, in.readers = conn, raw, readers
	if in.attempt == nil {
		in.attempt = in.try
	}
}

// OnArrival has f deal with what comes while Load waits for a socket: Load goes on
// waiting where f has taken all of it, and reports so. Then it does not look whether
// there is more, which costs a call of the system for each arrival, but relies on
// the system to say so: it does, but for an end that was there before. f may ask for
// the reader, by Load, and must not wait for more than what is in it.
func (in *Intake) OnArrival(f func() (rests bool)) { in.arrival = f }

// Load waits until there is something to read, or nothing more will come, and
// gives a reader that goes on there; it is valid until Load, Unload or Drop. The
// connection's read deadline bounds the wait; what ends it otherwise is what the
// reader gives.
func (in *Intake) Load() *bufio.Reader {
	in.Unload()
	if in.reader == nil && in.raw != nil && in.err == nil {
		// What it fails of, a read fails of, too.
		_ = in.raw.Read(in.attempt)
	}
	if in.reader == nil {
		in.borrow()
	}
	return in.reader
}

func (in *Intake) borrow() {
	in.reader = in.readers.Get().(*bufio.Reader)
	in.reader.Reset(in)
}

// Unload gives the reader back where it has nothing more.
func (in *Intake) Unload() {
	if in.Buffered() == 0 {
		in.Drop()
	}
}

// Drop gives the reader back, and what it has is lost.
func (in *Intake) Drop() {
	if in.reader == nil {
		return
	}
	in.reader.Reset(nil)
	in.readers.Put(in.reader)
	in.reader = nil
}

// Buffered is how many bytes there are that were read and not taken.
func (in *Intake) Buffered() int {
	if in.reader == nil {
		return 0
	}
	return in.reader.Buffered()
}

// Take reads into p: what is buffered, else straight from the connection. A
// reader that has nothing more then is given back.
func (in *Intake) Take(p []byte) (int, error) {
	if in.reader == nil {
		return in.Read(p)
	}
	n, err := in.reader.Read(p)
	in.Unload()
	return n, err
}

// try reads what is there, and reports whether there is nothing to wait for.
func (in *Intake) try(fd uintptr) bool {
	for {
		in.borrow()
		in.trying, in.fd = true, fd
		_, err := in.reader.Peek(1)
		in.trying = false
		if errors.Is(err, syscall.EAGAIN) {
			in.Drop()
			return false
		}
		in.err = err
		isFull := in.reader.Buffered() == in.reader.Size()
		if err != nil || in.arrival == nil || !in.arrival() {
			return true
		}
		in.Drop()
		if !isFull { // else there was no room for more
			return false
		}
	}
}

// Read implements io.Reader for the reader: it is the connection's, with nothing
// between.
func (in *Intake) Read(p []byte) (int, error) {
	switch {
	case in.trying:
		return in.readNow(p)
	case in.err != nil:
		return 0, in.err
	}
	return in.conn.Read(p)
}

func (in *Intake) readNow(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(in.fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, err
		case err != nil:
			local := in.conn.LocalAddr()
			return 0, &net.OpError{Op: "read", Net: local.Network(), Source: local, Addr: in.conn.RemoteAddr(), Err: os.NewSyscallError("read", err)}
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
