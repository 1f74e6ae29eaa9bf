package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder is an origin that keeps each byte that reaches it. It answers every
// whole request with 200.
type recorder struct {
	net.Listener
	peers sync.WaitGroup
	mu    sync.Mutex
	seen  []message
}

// message is what a connection carried from the end of one request to that of
// the next, or to its own end.
type message struct {
	raw    string
	method string
	target string // "" where it is no request
	body   string
	err    error // why it is not a whole request
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Listener: l}
	r.peers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.peers.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() { r.stop() })
	return r
}

// stop closes the listener and returns what arrived, once the other side has
// closed every connection.
func (r *recorder) stop() []message {
	_ = r.Close()
	r.peers.Wait()
	return r.seen
}

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	var raw bytes.Buffer
	br := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		m := readMessage(br)
		if br.Buffered() > 0 && m.err == nil {
			m.err = fmt.Errorf("%d bytes behind a request", br.Buffered())
		}
		m.raw = raw.String()
		raw.Reset()
		if m.raw != "" {
			r.mu.Lock()
			r.seen = append(r.seen, m)
			r.mu.Unlock()
		}
		if m.err != nil {
			return
		}
		body := m.method + " " + m.target
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n", len(body))
		if m.method != "HEAD" {
			answer += body
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// readMessage reads one request, as net/http understands it.
func readMessage(br *bufio.Reader) (m message) {
	req, err := http.ReadRequest(br)
	if err != nil {
		return message{err: err}
	}
	body, err := io.ReadAll(req.Body)
	return message{method: req.Method, target: req.RequestURI, body: string(body), err: err}
}

// faults tells what no request of the proxy's may have, whatever its client
// sent.
func (m message) faults() (all []string) {
	head, _, whole := strings.Cut(m.raw, "\r\n\r\n")
	if !whole {
		return []string{"the head has no end"}
	}
	if strings.Count(head, "\n") != strings.Count(head, "\r\n") || strings.Count(head, "\r") != strings.Count(head, "\r\n") {
		all = append(all, "a line ends in another way than CRLF")
	}
	lines := strings.Split(head, "\r\n")
	if parts := strings.Split(lines[0], " "); len(parts) != 3 || parts[2] != "HTTP/1.1" {
		all = append(all, fmt.Sprintf("request line %q", lines[0]))
	}
	count := map[string]int{}
	for _, line := range lines[1:] {
		name, _, ok := strings.Cut(line, ": ")
		if !ok || name == "" || strings.Trim(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			all = append(all, fmt.Sprintf("line %q", line))
		}
		count[strings.ReplaceAll(strings.ToLower(name), "_", "-")]++
	}
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect", "proxy-authorization"} {
		if count[name] > 0 {
			all = append(all, "a field of one hop: "+name)
		}
	}
	if count["host"] != 1 {
		all = append(all, fmt.Sprintf("%d Host lines", count["host"]))
	}
	if n := count["content-length"] + count["transfer-encoding"]; n > 1 {
		all = append(all, fmt.Sprintf("%d framing fields", n))
	}
	return all
}

// lines are the message's head.
func (m message) lines() []string {
	head, _, _ := strings.Cut(m.raw, "\r\n\r\n")
	return strings.Split(head, "\r\n")
}

// lacks tells which of some expectations the message does not meet: a line of
// the head, "-Name" for no such field, or "=body".
func (m message) lacks(want []string) (all []string) {
	lines := m.lines()
	for _, w := range want {
		met := false
		switch {
		case strings.HasPrefix(w, "="):
			met = m.body == w[1:]
		case strings.HasPrefix(w, "-"):
			met = !slices.ContainsFunc(lines, func(l string) bool {
				return len(l) >= len(w) && l[len(w)-1] == ':' && strings.EqualFold(l[:len(w)-1], w[1:])
			})
		default:
			met = slices.Contains(lines, w)
		}
		if !met {
			all = append(all, w)
		}
	}
	return all
}
