package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// answerRow is what a server says, and what the client is told.
type answerRow struct {
	name, answer string
	ends         bool   // the server hangs up behind it
	status       int    // 0: the client sees the answer break off
	kind         string // the start of an error type (RFC 9209, section 2.3), "" for none
	body         string // of a status of the server's own
}

const (
	okay    = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
	hello   = okay + "Content-Length: 5\r\n\r\nhello"
	inLumps = okay + "Transfer-Encoding: chunked\r\n\r\n"
)

// answerRows are answers that no connection may be used after.
func answerRows() (all []answerRow) {
	malformed := func(name string, answers ...string) {
		for _, answer := range answers {
			all = append(all, answerRow{name: name, answer: answer, status: 502, kind: "http_protocol_error"})
		}
	}
	truncated := func(name string, ends bool, answers ...string) {
		for _, answer := range answers {
			all = append(all, answerRow{name: name, answer: answer, ends: ends})
		}
	}
	fine := func(name string, answers ...string) {
		for _, answer := range answers {
			all = append(all, answerRow{name: name, answer: answer, status: 200, body: "hello"})
		}
	}
	lines := func(fields string) string { return "HTTP/1.1 200 OK\r\n" + fields + "\r\n\r\nhello" }
	malformed("RFC 9112 §6.3: length", lines("Content-Length: 5\r\nContent-Length: 5"), lines("Content-Length: 5\r\nContent-Length: 6"),
		lines("Content-Length: 5, 5"),
		lines("Content-Length: +5"), lines("Content-Length: -5"), lines("Content-Length: 0x5"), lines("Content-Length: "),
		lines("Content-Length: 18446744073709551621"), lines("Content-Length: 5 5"))
	malformed("RFC 9112 §6.3: coding", okay+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		lines("Transfer-Encoding: identity"),
		lines("Transfer-Encoding: gzip, chunked"), lines("Transfer-Encoding: chunked, chunked"),
		lines("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
		lines("Transfer-Encoding: xchunked"), lines("Transfer-Encoding: "),
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	malformed("RFC 9112 §5: fields", lines("Content-Length : 5"), lines("Content-Length: 5\r\nX Y: z"), lines("Content-Length: 5\r\nX: y\r\n z"),
		lines("X: \x00\r\nContent-Length: 5"),
		lines("X: \x7f\r\nContent-Length: 5"), lines(" X: y\r\nContent-Length: 5"), lines("X\r\nContent-Length: 5"),
		lines(": y\r\nContent-Length: 5"), lines("X: y\rContent-Length: 5"))
	malformed("RFC 9112 §2.2: line endings", strings.ReplaceAll(lines("Content-Length: 5"), "\r\n", "\n"),
		"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello",
		"HTTP/1.1 200 OK\r\r\nContent-Length: 5\r\n\r\nhello", "\r\n"+lines("Content-Length: 5"))
	malformed("RFC 9112 §4: status line", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1\r\n\r\n",
		"HTTP/1.1 099 Low\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/11 200 OK\r\n\r\n", " HTTP/1.1 200 OK\r\n\r\n", "200 OK\r\n\r\n",
		"<html>hello</html>\r\n\r\n", "HTTP/1.1 200 \x00\r\n\r\n")
	malformed("RFC 9110 §15.2: interim", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100)+hello,
		"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello"+hello, "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+hello)
	malformed("RFC 9110 §15.4.5: a 304 that nobody asked for", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n")
	all = append(all,
		answerRow{"too large a head", okay + "X: " + strings.Repeat("x", 1<<16) + "\r\n\r\n", false, 502, "http_response_header_section_size", ""},
		answerRow{"nothing", "", true, 502, "connection_terminated", ""},
		answerRow{"half a head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", true, 502, "connection_terminated", ""},
		answerRow{"half an interim head", "HTTP/1.1 103 Early Hints\r\n", true, 502, "connection_terminated", ""},
		answerRow{"a 204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", false, 204, "", ""},
		answerRow{"a 204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false, 204, "", ""})
	truncated("RFC 9112 §8: cut", true, okay+"Content-Length: 6\r\n\r\nhello", inLumps+"5\r\nhello", inLumps+"5\r\nhello\r\n",
		inLumps+"5\r\nhello\r\n0\r\n", inLumps+"5\r\nhello\r\n0\r\nX: y\r\n")
	truncated("RFC 9112 §7.1: chunks", false, inLumps+"5\r\nhello\r\n0x0\r\n\r\n", inLumps+"5\r\nhello!\r\n0\r\n\r\n",
		inLumps+"5\r\nhello\r\n+0\r\n\r\n", inLumps+"5\r\nhello\r\n0\n\r\n", inLumps+"5\r\nhello\n0\r\n\r\n", inLumps+"5\r\nhello\r\n 0\r\n\r\n",
		inLumps+"5\r\nhello\r\n0 \r\n\r\n", inLumps+"5\r\nhello\r\n10000000000000000\r\n\r\n", inLumps+"5\r\nhello\r\n0;\r\n\r\n",
		inLumps+"5\r\nhello\r\n0;a=\"\r\n\r\n", inLumps+"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
		inLumps+"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n")
	fine("RFC 9112 §9.3: more than the answer", strings.ReplaceAll(hello, "max-age=60", "no-store")+"!", strings.ReplaceAll(hello+hello, "max-age=60",
		"no-store"),
		strings.ReplaceAll(inLumps, "max-age=60", "no-store")+"5\r\nhello\r\n0\r\n\r\n\r\n", strings.ReplaceAll(inLumps, "max-age=60",
			"no-store")+"5\r\nhello\r\n0\r\n\r\n"+hello)
	return all
}

// TestStrictAnswers: an answer that can be read in more than one way is none, and
// its connection is not used again.
func TestStrictAnswers(t *testing.T) {
	t.Parallel()
	rows := answerRows()
	o := newOddServer(t, rows)
	shared := runFile(t, fmt.Sprintf("listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n"+
		"upstreams: {app: {retry: {attempts: 1}, servers: [{address: '%s'}]}}\nroutes: [{upstream: app}]\n", o.Addr()))
	for i, row := range rows {
		t.Run(fmt.Sprintf("%s %.60q", row.name, row.answer), func(t *testing.T) {
			p, path := shared.with(t), fmt.Sprintf("/%d", i)
			for _, method := range []string{"GET", "POST"} { // one by a fill, one past the cache
				r := p.do(method, path, "")
				if row.status == 0 {
					if r.err == nil {
						t.Errorf("looks complete: %s", r)
					}
				} else if r.must(t, row.status); row.kind == "" && r.body != row.body {
					t.Errorf("body %q", r.body)
				} else if said := r.header.Get("Proxy-Status"); (said != "") != (row.kind != "") || !strings.HasPrefix(said, prefixOf(row.kind)) {
					t.Errorf("Proxy-Status %q, want %q", said, row.kind)
				}
			}
			eventually(t, "the connections are closed", func() bool { return o.left(path) == 0 })
			if n := o.asked(path); n != 2 {
				t.Errorf("the server was asked %d times", n)
			}
		})
	}
	for _, again := range o.reused() {
		t.Errorf("a connection was used again after %.100q", again)
	}
}

func prefixOf(kind string) string {
	if kind == "" {
		return ""
	}
	return "ringfence; error=" + kind
}

// oddServer gives the answer of a row to each request for its index, and
// watches what becomes of the connection.
type oddServer struct {
	net.Listener
	rows  []answerRow
	peers sync.WaitGroup
	mu    sync.Mutex
	open  map[string]int // connections by the path that they were asked for
	seen  map[string]int // requests by path
	again []string       // answers that a further request followed on their connection
}

func newOddServer(t *testing.T, rows []answerRow) *oddServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &oddServer{Listener: l, rows: rows, open: map[string]int{}, seen: map[string]int{}}
	o.peers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.peers.Go(func() { o.serve(c) })
		}
	})
	// The proxy is gone by then, and all of its connections.
	t.Cleanup(func() {
		_ = l.Close()
		o.peers.Wait()
	})
	return o
}

func (o *oddServer) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	req, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	var i int
	if _, err := fmt.Sscanf(req.RequestURI, "/%d", &i); err != nil {
		return
	}
	row := o.rows[i]
	o.count(req.RequestURI, 1)
	defer o.count(req.RequestURI, -1)
	if _, err := io.WriteString(c, row.answer); err != nil || row.ends {
		return
	}
	if _, err := br.ReadByte(); err == nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.again = append(o.again, row.answer)
	}
}

func (o *oddServer) count(path string, by int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[path] += by
	o.seen[path] += max(by, 0)
}

func (o *oddServer) left(path string) int  { o.mu.Lock(); defer o.mu.Unlock(); return o.open[path] }
func (o *oddServer) asked(path string) int { o.mu.Lock(); defer o.mu.Unlock(); return o.seen[path] }
func (o *oddServer) reused() []string      { o.mu.Lock(); defer o.mu.Unlock(); return o.again }
