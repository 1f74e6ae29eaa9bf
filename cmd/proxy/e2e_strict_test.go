package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fate is what becomes of a client's bytes and its connection.
type fate uint8

const (
	refused fate = iota // answered here, nothing reaches the origin, the connection ends
	passed              // reaches the origin, whole, and the connection goes on
	last                // reaches the origin, whole, and the connection ends
	broken              // may reach the origin in part, and the connection ends
	local               // answered here, nothing reaches the origin, the connection goes on
	unread              // answered here, nothing reaches the origin, the connection may go on behind the body
)

// strictRow is a line of the table: a text with "{odd}" in it, and what may
// stand there. "{id}" in it tells the requests of one case from all others. It
// is sent with a whole request behind it, which only a connection that goes on
// may answer; "{end}" stands for the end of what the client sends, in its place.
type strictRow struct {
	section string
	fate    fate
	status  int // of the one answer; 0: the connection ends without one
	text    string
	odd     []string
	sent    []string // what the origin must have got, as message.lacks has it
}

// strictCase is one row with one oddity.
type strictCase struct {
	strictRow
	name, id string
	bytewise bool // each byte is written by itself
}

// send is what the case's client sends.
func (c strictCase) send() (text string, ends bool) {
	text, ends = strings.CutSuffix(c.text, "{end}")
	if !ends {
		text += "GET /{id}/next HTTP/1.1\r\nHost: h\r\n\r\n"
	}
	return strings.ReplaceAll(text, "{id}", c.id), ends
}

// strictCases are the cases of all rows, each of them delivered in two ways.
func strictCases(rows ...[]strictRow) (all []strictCase) {
	for _, row := range slices.Concat(rows...) {
		for _, odd := range row.odd {
			for _, bytewise := range []bool{false, true} {
				c := strictCase{strictRow: row, name: fmt.Sprintf("%s %.60q", row.section, odd), bytewise: bytewise}
				c.id = fmt.Sprintf("case/%04d", len(all))
				c.text = strings.ReplaceAll(row.text, "{odd}", odd)
				all = append(all, c)
			}
		}
	}
	return all
}

// TestStrict sends what can be read in more than one way, and what only looks
// like it, to the proxy in front of an origin that records what reaches it.
func TestStrict(t *testing.T) {
	t.Parallel()
	o := newRecorder(t)
	p := runFile(t, fmt.Sprintf("listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\nserver: {max_body_size: 128KiB}\n"+
		"upstreams: {app: {servers: [{address: '%s'}]}}\nroutes: [{upstream: app, path_prefix: /case}, {upstream: app, host: other}]\n", o.Addr()))
	cases := strictCases(lengthRows(), codingRows(), lineRows(), fieldRows(), hostRows(), targetRows(), methodRows(),
		chunkRows(), trailerRows(), connectionRows(), expectRows())
	work := make(chan strictCase)
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for c := range work {
				t.Run(c.name, func(t *testing.T) { c.ask(t, p.addr) })
			}
		})
	}
	for _, c := range cases {
		work <- c
	}
	close(work)
	clients.Wait()
	p.signal(syscall.SIGTERM)
	p.wait(soon)
	judge(t, cases, o.stop())
}

// ask sends the case's bytes and checks the answers.
func (c strictCase) ask(t *testing.T, addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	text, ends := c.send()
	deliver(conn, text, c.bytewise)
	if ends {
		_ = conn.(*net.TCPConn).CloseWrite() // it may be refused already
	}
	br := bufio.NewReader(conn)
	if c.status != 0 {
		got, err := finalAnswer(br, strings.HasPrefix(text, "HEAD "))
		if err != nil || got != c.status {
			t.Fatalf("answer %d, %v; want %d to %.200q", got, err, c.status, text)
		}
	}
	switch c.fate {
	case passed, local:
		if got, err := finalAnswer(br, false); err != nil || got != 200 {
			t.Errorf("the next request on the connection: %d, %v", got, err)
		}
		return
	case unread:
		if got, err := finalAnswer(br, false); err == nil && got != 200 {
			t.Errorf("the next request on the connection: %d", got)
		}
		return
	}
	rest, err := io.ReadAll(br)
	if len(rest) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the answer came %.100q, %v; want the end of the connection", rest, err)
	}
}

// deliver writes text, of which the proxy may refuse to read the end.
func deliver(w io.Writer, text string, bytewise bool) {
	step := max(len(text), 1)
	if bytewise {
		step = 1 + len(text)/512
	}
	for part := range slices.Chunk([]byte(text), step) {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

// finalAnswer reads past the interim answers to one whole final one.
func finalAnswer(br *bufio.Reader, head bool) (status int, err error) {
	req := &http.Request{Method: "GET"}
	if head {
		req.Method = "HEAD"
	}
	for {
		resp, err := http.ReadResponse(br, req)
		if err != nil {
			return 0, err
		}
		if resp.StatusCode < 200 {
			continue
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}
}

// judge compares what reached the origin with what may have.
func judge(t *testing.T, cases []strictCase, seen []message) {
	byID := map[string][]message{}
	for _, m := range seen {
		if at := strings.Index(m.raw, "case/"); at >= 0 && len(m.raw) >= at+9 {
			id := m.raw[at : at+9]
			byID[id] = append(byID[id], m)
		} else {
			t.Errorf("reached the origin, and is nobody's: %.200q", m.raw)
		}
		if faults := m.faults(); len(faults) > 0 {
			t.Errorf("reached the origin with %q: %.300q", faults, m.raw)
		}
	}
	for _, c := range cases {
		for _, fault := range c.judge(byID[c.id]) {
			t.Errorf("%s: %s", c.name, fault)
		}
	}
}

func (c strictCase) judge(seen []message) (faults []string) {
	var whole, next []message
	for _, m := range seen {
		switch {
		case m.target == "/"+c.id+"/next":
			next = append(next, m)
		case m.err == nil:
			whole = append(whole, m)
		case c.fate != broken:
			faults = append(faults, fmt.Sprintf("in part it reached the origin: %.200q", m.raw))
		}
	}
	wantWhole, wantNext := 0, 0
	if c.fate == passed || c.fate == last {
		wantWhole = 1
	}
	if c.fate == passed || c.fate == local {
		wantNext = 1
	}
	if len(whole) != wantWhole {
		faults = append(faults, fmt.Sprintf("it reached the origin %d times", len(whole)))
	}
	if len(next) != wantNext && (c.fate != unread || len(next) != 1) {
		faults = append(faults, fmt.Sprintf("what is behind it reached the origin %d times", len(next)))
	}
	for _, m := range whole {
		if lacks := m.lacks(c.sent); len(lacks) > 0 {
			faults = append(faults, fmt.Sprintf("the origin did not get %q but %.300q", lacks, m.raw))
		}
	}
	return faults
}
