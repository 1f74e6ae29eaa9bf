package edge

import (
	"errors"
	"net"
	"os"
	"strconv"
	"time"
)

// outBuffer is what the head of an answer waits in for what follows it: with most
// bodies that are there it leaves in one piece.
const outBuffer = 4 << 10

// Write implements net.Conn. What is written first of an answer is its head. It is
// held back until more of the answer comes, the next request is wanted, the
// connection is closed, or [Conn.Flush] is called; all else leaves at once.
//
// It bounds the silence of a client, not what it takes for all of p: a write goes
// on as long as the client takes some of it.
func (c *Conn) Write(p []byte) (n int, err error) {
	head := !c.begun
	c.begun = true
	switch {
	case c.raw, c.out == nil && (!head || len(p) >= outBuffer):
		return c.write(p)
	case head:
		err = c.gather(p)
	default:
		err = c.send(p)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Answer writes a whole answer: its head, empty line included, and its body, nil for
// none. What it fails of shows in Broken.
func (c *Conn) Answer(head, body []byte) error {
	c.begun = true
	if _, plain := c.Conn.(*net.TCPConn); !plain || len(head)+len(body) <= outBuffer {
		if err := c.gather(head); err != nil {
			return err
		}
		return c.send(body)
	}
	c.pieces = [2][]byte{head, body}
	c.answer = c.pieces[:]
	defer clear(c.pieces[:])
	for {
		if err := c.clock.allowWrite(); err != nil {
			return err
		}
		m, err := c.answer.WriteTo(c.Conn)
		if err == nil || !c.goesOn(m > 0, err) {
			return err
		}
	}
}

// WriteChunk implements [Client].
func (c *Conn) WriteChunk(p []byte) error {
	var line [16 + len(lineEnd)]byte
	size := append(strconv.AppendUint(line[:0], uint64(len(p)), 16), lineEnd...)
	if err := c.gather(size); err != nil {
		return err
	}
	if err := c.gather(p); err != nil {
		return err
	}
	return c.send([]byte(lineEnd))
}

const lineEnd = "\r\n"

// send sends what is held back, and p.
func (c *Conn) send(p []byte) error {
	if err := c.gather(p); err != nil {
		return err
	}
	return c.Flush()
}

// gather holds p back, as far as there is room, and sends what comes before.
func (c *Conn) gather(p []byte) error {
	for {
		if c.out == nil {
			if len(p) >= outBuffer {
				_, err := c.write(p)
				return err
			}
			c.out = c.l.outs.Get().(*[]byte)
		}
		n := min(len(p), outBuffer-len(*c.out))
		*c.out = append(*c.out, p[:n]...)
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		if err := c.Flush(); err != nil {
			return err
		}
	}
}

// Flush implements [Client].
func (c *Conn) Flush() error {
	if c.out == nil {
		return nil
	}
	_, err := c.write(*c.out)
	*c.out = (*c.out)[:0]
	c.l.outs.Put(c.out)
	c.out = nil
	return err
}

// write sends p. It goes on as long as the client takes some of it.
func (c *Conn) write(p []byte) (n int, err error) {
	for {
		if err := c.clock.allowWrite(); err != nil {
			return n, err
		}
		piece := p[n:]
		if c.secure && len(piece) > maxRecord {
			piece = piece[:maxRecord]
		}
		m, err := c.Conn.Write(piece)
		n += m
		if err == nil && n == len(p) || err != nil && !c.goesOn(m > 0, err) {
			return n, err
		}
	}
}

// goesOn reports whether to go on after a write that was not done in time: the
// client has taken some of it.
func (c *Conn) goesOn(some bool, err error) bool {
	late := errors.Is(err, os.ErrDeadlineExceeded)
	if late && some && !c.secure && !c.clock.over() {
		c.clock.writing = time.Time{} // what is set has passed
		return true
	}
	if late {
		c.door.late[lateWrite].Add(1)
	}
	c.broken = true
	return false
}
