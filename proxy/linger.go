package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// lingerTime bounds how long a connection is read from after its last
	// answer, and lingerStep how late the end of the answer is noticed.
	lingerTime = 2 * time.Second
	lingerStep = 20 * time.Millisecond
	// maxLingering bounds the connections that are read from at a time; those
	// beyond are closed without it.
	maxLingering = 1024
	// smallRest is how much of an unread request body fasthttp may be left to
	// read: it drains up to 256 KiB and goes on with the connection.
	smallRest = 64 << 10
)

// linger lets a client read its answer although it is still sending. A
// connection that is closed with bytes unread is reset, and the reset can
// overtake the answer (RFC 9112, section 9.6). So a second descriptor holds the
// connection open behind fasthttp's, reads what comes, and says that the
// answer is complete once fasthttp has closed its own.
//
// It is for the last answer of a connection, while nobody else reads from it.
func (h *Handler) linger(conn net.Conn) {
	// Where it cannot be had the connection is closed without it.
	if h.lingerers.Add(1) > maxLingering {
		h.lingerers.Add(-1)
		return
	}
	f, err := secondDescriptor(conn)
	if err != nil {
		h.lingerers.Add(-1)
		return
	}
	h.lingering.Go(func() {
		defer h.lingerers.Add(-1)
		buf := h.copies.Get().(*[]byte)
		defer h.copies.Put(buf)
		drain(f, conn, *buf)
		// Nothing was written to it.
		_ = f.Close()
	})
}

// drain reads from f until the peer closes or the time is over. It ends the
// sending side once conn is closed.
func drain(f *os.File, conn net.Conn, buf []byte) {
	ended := false
	for end := time.Now().Add(lingerTime); time.Now().Before(end); {
		if f.SetReadDeadline(time.Now().Add(lingerStep)) != nil {
			return
		}
		_, err := f.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if !ended && errors.Is(conn.SetReadDeadline(longAgo), net.ErrClosed) {
			ended = true
			if shutdownWrite(f) != nil {
				return
			}
		}
	}
}

// secondDescriptor returns another descriptor of a socket.
func secondDescriptor(conn net.Conn) (*os.File, error) {
	var fd int
	err := control(conn, func(first int) (err error) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, err = syscall.Dup(first); err == nil {
			syscall.CloseOnExec(fd)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "lingering connection"), nil
}

func shutdownWrite(f *os.File) error {
	return control(f, func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_WR) })
}

// control runs op on the descriptor of c.
func control(c any, op func(fd int) error) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = op(int(fd)) }); err != nil {
		return err
	}
	return failed
}
