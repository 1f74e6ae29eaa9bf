package drill

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/loadtest/origin"
)

const (
	// host is the authority that all clients ask for: instances listen at
	// different ports, and what they share is named by it.
	host = "drill.example"
	// patience is how long a client waits for its answer.
	patience = 45 * time.Second
	// clientBuffer is the size of each of a client's two buffers.
	clientBuffer = 4 << 10
	// keptText is how much of a body's beginning is kept.
	keptText = 64
)

// ask is one request of a client.
type ask struct {
	to     *instance
	method string // default GET
	target string
	fields []string // further lines of the head
}

// answer is what a client saw.
type answer struct {
	status       int
	text         string // the body's first bytes
	length       int64
	sum          uint32
	first, ended time.Time // its first byte of body, and its last
	err          error
}

// crowd are clients who ask at the same moment, each on a connection of its
// own.
type crowd struct {
	sent    time.Time
	answers []answer // once all has ended
	conns   []net.Conn
	stop    func() bool  // has the end of the context no longer end the clients
	begun   atomic.Int64 // clients who have a part of a body
	all     sync.WaitGroup
}

// send opens a connection for each request and then sends all of them. The
// clients end when they have their answers, are out of patience, or ctx ends.
// The stage waits for those for whom the scene does not.
func (s *stage) send(ctx context.Context, asks ...ask) *crowd {
	c := &crowd{answers: make([]answer, len(asks)), conns: make([]net.Conn, len(asks))}
	s.crowds = append(s.crowds, c)
	d := net.Dialer{Timeout: patience}
	for i, a := range asks {
		conn, err := d.DialContext(ctx, "tcp", a.to.addr)
		if err != nil {
			c.answers[i].err = err
			continue
		}
		c.conns[i] = conn
		_ = conn.SetDeadline(time.Now().Add(patience)) // where it fails the request does
		cl := newClient(conn, a.method, &c.answers[i], &c.begun)
		c.all.Go(cl.receive)
	}
	c.stop = context.AfterFunc(ctx, c.leave)
	c.sent = time.Now()
	for i, a := range asks {
		if c.conns[i] != nil {
			_, _ = io.WriteString(c.conns[i], a.head()) // an error ends the answer, too
		}
	}
	return c
}

func (a ask) head() string {
	method := a.method
	if method == "" {
		method = http.MethodGet
	}
	lines := append([]string{method + " " + a.target + " HTTP/1.1", "Host: " + host}, a.fields...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// client reads one answer. It has its buffers before the requests are sent, and
// looks at the clock when bytes come, not when it has understood them: 300
// clients should do little at the moment that is measured.
type client struct {
	conn   net.Conn
	r      *bufio.Reader // of the client itself
	buf    []byte
	method string
	a      *answer
	begun  *atomic.Int64
	came   time.Time // the last bytes
}

// newClient writes to the buffers once: the system provides memory when it is
// first written to.
func newClient(conn net.Conn, method string, a *answer, begun *atomic.Int64) *client {
	c := &client{conn: conn, method: method, a: a, begun: begun, buf: bytes.Repeat([]byte{1}, clientBuffer)}
	c.r = bufio.NewReaderSize(bytes.NewReader(c.buf), clientBuffer)
	_, _ = c.r.Peek(clientBuffer) // there are as many
	c.r.Reset(c)
	return c
}

// Read implements io.Reader.
func (c *client) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	if n > 0 {
		c.came = time.Now()
	}
	return n, err
}

func (c *client) receive() {
	a := c.a
	resp, err := http.ReadResponse(c.r, &http.Request{Method: c.method})
	if err != nil {
		a.err, a.ended = fmt.Errorf("head: %w", err), time.Now()
		return
	}
	defer func() { _ = resp.Body.Close() }()
	a.status, a.first = resp.StatusCode, c.came
	a.sum, a.length, err = origin.Sum(&body{Reader: resp.Body, client: c})
	a.ended = c.came
	if err != nil {
		a.err, a.ended = fmt.Errorf("body: after %d bytes: %w", a.length, err), time.Now()
	}
}

// body notes when a client's body began, and how.
type body struct {
	io.Reader
	client *client
}

// WriteTo implements io.WriterTo, for the client's buffer to be used.
func (b *body) WriteTo(w io.Writer) (total int64, err error) {
	a := b.client.a
	for {
		n, err := b.Read(b.client.buf)
		if n > 0 && total == 0 {
			a.first = b.client.came
			b.client.begun.Add(1)
		}
		if room := keptText - len(a.text); room > 0 {
			a.text += string(b.client.buf[:min(n, room)])
		}
		total += int64(n)
		_, _ = w.Write(b.client.buf[:n]) // a hash takes all
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// wait returns all answers. The clients keep their connections until then.
func (c *crowd) wait() []answer {
	c.all.Wait()
	c.stop()
	c.leave()
	return c.answers
}

// leave closes the connections, which ends the clients who are waiting.
func (c *crowd) leave() {
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close() // may be closed already
		}
	}
}

// took is the time from the sending to the last answer.
func (c *crowd) took() time.Duration {
	_, last := c.between(func(int) bool { return true })
	return last
}

// between returns the times from the sending to the first and to the last
// answer of some clients.
func (c *crowd) between(of func(client int) bool) (first, last time.Duration) {
	first = patience
	for i, a := range c.wait() {
		if took := a.ended.Sub(c.sent); of(i) {
			first, last = min(first, took), max(last, took)
		}
	}
	return first, last
}

// spread is the time from the first client to the last, by what at says.
func spread(as []answer, at func(answer) time.Time) time.Duration {
	var first, last time.Time
	for _, a := range as {
		t := at(a)
		if first.IsZero() || t.Before(first) {
			first = t
		}
		if t.After(last) {
			last = t
		}
	}
	return last.Sub(first)
}

func firstByte(a answer) time.Time { return a.first }
func lastByte(a answer) time.Time  { return a.ended }

// want is an answer that is right.
type want struct {
	status int
	length int64
	sum    uint32
}

// content is an answer with the origin's content for a target.
func content(target string, size int64) want { return wantOf(origin.Content(target, size)) }

// text is an answer with a body.
func text(body string) want { return wantOf(strings.NewReader(body)) }

func wantOf(r io.Reader) want {
	sum, length, _ := origin.Sum(r) // neither reader fails
	return want{http.StatusOK, length, sum}
}

// fault says what is wrong with an answer.
func (w want) fault(a answer) error {
	switch {
	case a.err != nil:
		return a.err
	case a.status != w.status:
		return fmt.Errorf("status %d", a.status)
	case a.length != w.length:
		return fmt.Errorf("%d of %d bytes", a.length, w.length)
	case a.sum != w.sum:
		return errors.New("other bytes")
	}
	return nil
}

// answers requires that all clients have the answer that is right.
func (r *Report) answers(what string, as []answer, w want) {
	r.each(what, as, w.fault)
}

// each requires that no answer has a fault.
func (r *Report) each(what string, as []answer, fault func(answer) error) {
	good, example := 0, ""
	for _, a := range as {
		if err := fault(a); err == nil {
			good++
		} else if example == "" {
			example = "; " + err.Error()
		}
	}
	r.require(what, fmt.Sprintf("all of %d", len(as)), fmt.Sprintf("%d%s", good, example), good == len(as))
}
