package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// reply is one whole answer. err is what cut it short.
type reply struct {
	status  int
	header  http.Header
	body    string
	err     error
	interim []interim // what came before it
}

// interim is the head of a 1xx answer.
type interim struct {
	status int
	header textproto.MIMEHeader
}

// is reports whether Cache-Status has a parameter of this cache, such as "hit"
// or "fwd=uri-miss".
func (r reply) is(param string) bool {
	for _, part := range strings.Split(r.header.Get("Cache-Status"), ";") {
		if strings.TrimSpace(part) == param {
			return true
		}
	}
	return false
}

func (r reply) String() string {
	return fmt.Sprintf("%d %v %.100q %v", r.status, r.header, r.body, r.err)
}

// client has a connection for each request, so that no test depends on what
// net/http does with used ones, and follows no redirect.
var client = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	Timeout:       soon,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// keepingAlive returns the same process for clients who keep their connections.
func (p *process) keepingAlive() *process {
	kept := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	p.t.Cleanup(kept.CloseIdleConnections)
	q := *p
	q.client = &http.Client{Transport: kept, Timeout: soon, CheckRedirect: client.CheckRedirect}
	return &q
}

// get asks with GET. Further fields are given as "Name: value".
func (p *process) get(target string, fields ...string) reply {
	p.t.Helper()
	return p.do("GET", target, "", fields...)
}

func (p *process) do(method, target, body string, fields ...string) reply {
	p.t.Helper()
	var src io.Reader
	if body != "" {
		src = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, "http://"+p.addr+target, src)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	var before []interim
	resp, err := p.client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			before = append(before, interim{status, header})
			return nil
		},
	})))
	if err != nil {
		return reply{err: err}
	}
	r := whole(resp)
	r.interim = before
	return r
}

func whole(resp *http.Response) reply {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: string(body), err: err}
}

// must fails the test where the answer is not a whole one of that status.
func (r reply) must(t *testing.T, status int) reply {
	t.Helper()
	if r.err != nil || r.status != status {
		t.Fatalf("got %s; want %d", r, status)
	}
	return r
}

// conn is a client's connection, for what net/http would not send.
type conn struct {
	t *testing.T
	*net.TCPConn
	br *bufio.Reader
}

func (p *process) dial() conn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		p.t.Fatal(err)
	}
	return conn{p.t, c.(*net.TCPConn), bufio.NewReader(c)}
}

// send writes lines as a head, each with its CRLF, and the empty line.
func (c conn) send(lines ...string) {
	c.t.Helper()
	c.write(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func (c conn) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// head reads one head as it is on the wire, without its empty line.
func (c conn) head() []string {
	c.t.Helper()
	var lines []string
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatalf("head: %v after %q", err, lines)
		}
		if line == "\r\n" {
			return lines
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
	}
}

// response reads the head of a final or interim answer to method.
func (c conn) response(method string) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("response: %v", err)
	}
	return resp
}

// read returns the next n bytes.
func (c conn) read(r io.Reader, n int) string {
	c.t.Helper()
	b := make([]byte, n)
	if m, err := io.ReadFull(r, b); err != nil {
		c.t.Fatalf("read %d of %d bytes: %v", m, n, err)
	}
	return string(b)
}
