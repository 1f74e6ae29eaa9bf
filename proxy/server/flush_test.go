package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// No answer waits for the next one: when a request of a pipelining client is
// handled, the client has all earlier answers in full. What is written to the
// connection meanwhile (an interim response) can thus never land inside one.
func TestAnswersDoNotWaitForEachOther(t *testing.T) {
	const end = " HTTP/1.1\r\nHost: x\r\n"
	get := func(target string) string { return "GET " + target + end + "\r\n" }
	post := func(target, body string) string {
		return "POST " + target + end + "Content-Length: 3\r\n\r\n" + body
	}
	chunks := "POST /c" + end + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	etag := get("/stored")[:len(get("/stored"))-2] + "If-None-Match: \"1\"\r\n\r\n"
	// Each text is one write of the client; where it stands before another one,
	// the answers to the requests that it completes are read between the two.
	// The request for /last is answered when all others are.
	for name, writes := range map[string][]string{
		"miss":                 {get("/a") + get("/last")},
		"hit":                  {get("/stored") + get("/last")},
		"hits":                 {get("/stored") + get("/stored") + get("/stored") + get("/last")},
		"304":                  {etag + get("/last")},
		"HEAD":                 {"HEAD /stored" + end + "\r\n" + get("/last")},
		"large":                {get("/large") + get("/last")},
		"very large":           {get("/very-large") + get("/last")},
		"chunked":              {get("/chunked") + get("/last")},
		"no content":           {get("/204") + get("/last")},
		"own answer":           {get("/stored")[:len(get("/stored"))-2] + "Cache-Control: only-if-cached\r\n\r\n" + "GET /none" + end + "Cache-Control: only-if-cached\r\n\r\n" + get("/last")},
		"with a body":          {post("/b", "abc") + get("/last")},
		"in chunks":            {chunks + get("/last")},
		"unread body":          {get("/stored")[:len(get("/stored"))-2] + "Content-Length: 3\r\n\r\nabc" + get("/last")},
		"before a body":        {get("/stored") + post("/last", "abc")},
		"before a split body":  {get("/stored") + post("/last", "a"), "bc"},
		"before a split head":  {get("/stored") + get("/last")[:9], get("/last")[9:]},
		"split in the body":    {post("/b", "a"), "bc" + get("/stored") + get("/last")},
		"split everywhere":     {get("/stored") + get("/a") + "G", "ET /chunked" + end, "\r\n" + chunks + get("/last")},
		"empty line between":   {get("/stored") + "\r\n" + get("/last")},
		"1.0 that is kept":     {"GET /stored HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n" + get("/last")},
		"alone, then together": {get("/stored"), get("/stored") + get("/a") + get("/last")},
	} {
		t.Run(name, func(t *testing.T) {
			hold := make(chan struct{})
			o, err := origin.Start(origin.Options{Script: func(r origin.Request) origin.Answer {
				a := origin.Text("no-store", "answer")
				switch r.Target {
				case "/stored":
					a = origin.Text("max-age=60", "answer")
					a.Fields = append(a.Fields, origin.Field{Name: "ETag", Value: `"1"`})
				case "/large":
					a.Body, a.Size = nil, 10<<10
				case "/very-large":
					a = origin.Text("max-age=60", "")
					a.Body, a.Size = nil, 300<<10
				case "/chunked":
					a.Framing = origin.Chunked
				case "/204":
					a.Status, a.Body = 204, nil
				case "/last":
					a.Hold = hold
				}
				return a
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer o.Stop()
			s := newServer(t, o.Addr())
			stop := run(t, s)
			c := dial(t, s)
			c.send(get("/stored"))
			c.answers("GET")
			asked := 0
			for i, text := range writes {
				c.send(text)
				methods := completed(strings.Join(writes[:i+1], ""))
				if i == len(writes)-1 {
					methods = methods[:len(methods)-1]
				}
				c.answers(methods[asked:]...)
				asked = len(methods)
			}
			close(hold)
			all := completed(strings.Join(writes, ""))
			c.answers(all[asked:]...)
			c.Close()
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// client is a connection to a server whose answers are read one by one.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	return &client{Conn: c, t: t, r: bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answers reads an answer in full for each method, in a time that is ample on
// a busy machine.
func (c *client) answers(methods ...string) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	for i, method := range methods {
		resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		if err != nil {
			c.t.Fatalf("answer %d of %d: %v", i+1, len(methods), err)
		}
	}
}

// completed returns the methods of the requests that text holds in full.
func completed(text string) (methods []string) {
	for r := bufio.NewReader(strings.NewReader(text)); ; {
		req, err := http.ReadRequest(r)
		if err == nil {
			_, err = io.Copy(io.Discard, req.Body)
		}
		if err != nil {
			return methods
		}
		methods = append(methods, req.Method)
	}
}
