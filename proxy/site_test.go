package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// site is a handler behind a real listener, before a scripted origin.
type site struct {
	t    testing.TB
	h    *Handler
	o    *origin.Origin
	addr string
}

func newSite(t *testing.T, script origin.Script, change ...func(*Options)) *site {
	t.Helper()
	o, err := origin.Start(origin.Options{Script: script})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	h := newHandlerFor(t, o.Addr(), change...)
	return &site{t: t, h: h, o: o, addr: serveOn(t, testFront(h))}
}

// always answers every request alike.
func always(a origin.Answer) origin.Script { return func(origin.Request) origin.Answer { return a } }

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	length int64 // as announced, -1 for none
	body   string
	closed bool // the connection ends with it
	err    error
}

func (r reply) String() string {
	return fmt.Sprintf("%d %v %q %v", r.status, r.header, r.body, r.err)
}

// says is what the proxy's own Cache-Status says.
func (r reply) says(what string) bool {
	lines := r.header["Cache-Status"]
	return len(lines) > 0 && strings.Contains(lines[len(lines)-1], what)
}

// roundTrip sends text as it is on a connection of its own, and reads the
// answer to a request with that method.
func (s *site) roundTrip(method, text string) reply {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return reply{err: err}
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return reply{err: err}
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return readReply(bufio.NewReader(c), method)
}

func readReply(br *bufio.Reader, method string) reply {
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		return reply{err: err}
	}
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, resp.ContentLength, string(body), resp.Close, err}
}

// do sends one request without a body.
func (s *site) do(method, path string, fields ...string) reply {
	return s.roundTrip(method, request(method, path, fields...))
}

func (s *site) get(path string, fields ...string) reply { return s.do("GET", path, fields...) }

func request(method, path string, fields ...string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: x\r\n", method, path)
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// begin sends a GET whose answer comes through the channel.
func (s *site) begin(path string, fields ...string) <-chan reply {
	ch := make(chan reply, 1)
	go func() { ch <- s.get(path, fields...) }()
	return ch
}

// reached waits until n requests have reached the origin.
func (s *site) reached(n int) {
	s.t.Helper()
	if err := s.o.WaitFor(func(r origin.Record) bool { return r.Total >= n }, 10*time.Second); err != nil {
		s.t.Fatal(err)
	}
}

// stored waits until n fills are in the store and none is under way, which a
// request to come could join.
func (s *site) stored(n uint64) {
	s.t.Helper()
	s.storedBeside(0, n)
}

// storedBeside is stored while others are under way.
func (s *site) storedBeside(others int64, n uint64) {
	s.t.Helper()
	waitFor(s.t, "the answer to be stored", func() bool {
		v := s.h.View()
		return v.Requests.Stored >= n && v.Flights.Flights <= others
	})
}

// waiting waits until n requests wait for a fill, its leader among them.
func (s *site) waiting(n int64) {
	s.t.Helper()
	waitFor(s.t, "requests to wait", func() bool { return s.h.View().Flights.Waiting >= n })
}
