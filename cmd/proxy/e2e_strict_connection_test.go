package main_test

import (
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// connectionRows are about what becomes of a connection (RFC 9112, section 9).
func connectionRows() []strictRow {
	const unrouted = "POST /none/{id} HTTP/1.1\r\nHost: h\r\n{odd}"
	smuggled := "GET /{id}/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	return []strictRow{
		{"RFC 9112 §9.3: the connection goes on", passed, 200, "GET /{id} HTTP/1.1\r\nHost: h\r\n{odd}\r\n", []string{
			"",
			"Connection: keep-alive\r\n", "Connection: x\r\n", "Connection: closed\r\n", "Connection:\r\n"}, nil},
		{"RFC 9112 §9.6: the client ends it", last, 200, "GET /{id} HTTP/1.1\r\nHost: h\r\n{odd}\r\n", []string{
			"Connection: close\r\n",
			"Connection: Close\r\n", "Connection: keep-alive, close\r\n", "Connection: x\r\nConnection: close\r\n", "connection: close,x\r\n"}, nil},
		{"RFC 9112 §9.3: HTTP/1.0", last, 200, "GET /{id} HTTP/1.0\r\nHost: h\r\n{odd}\r\n", []string{
			"", "Connection: close\r\n",
			"Connection: x\r\n"}, nil},
		{"RFC 9112 §9.3: HTTP/1.0 that is kept alive", passed, 200, "GET /{id} HTTP/1.0\r\nHost: h\r\n{odd}\r\n",
			[]string{"Connection: keep-alive\r\n", "Connection: Keep-Alive\r\n", "Connection: x, keep-alive\r\n"}, nil},
		{"RFC 9112 §9.3: HTTP/1.0 with a body", last, 200, "POST /{id} HTTP/1.0\r\nHost: h\r\n{odd}", []string{"Content-Length: 5\r\n\r\nhello"},
			[]string{"=hello", "Content-Length: 5"}},
		{"RFC 9112 §9.3: a body that nobody reads, whole", unread, 404, unrouted, []string{
			"\r\n", "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"Content-Length: 45\r\n\r\n" + smuggled,
		}, nil},
		{"RFC 9112 §9.3: a body that nobody reads, endless", refused, 404, unrouted, []string{
			"Content-Length: 131072\r\n\r\n" + smuggled,
			"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" + smuggled, "Content-Length: 131072\r\n\r\n" + strings.Repeat(smuggled, 20),
		}, nil},
		{"RFC 9110 §10.1.1: a body that nobody asks for", unread, 404, unrouted, []string{
			"Expect: 100-continue\r\nContent-Length: 45\r\n\r\n" + smuggled,
			"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n2d\r\n" + smuggled + "\r\n0\r\n\r\n",
		}, nil},
		{"RFC 9110 §15.5.14: a length that is too large", refused, 413, "POST /{id} HTTP/1.1\r\nHost: h\r\n{odd}", []string{
			"Content-Length: 131073\r\n\r\n" + smuggled, "Content-Length: 9223372036854775807\r\n\r\n" + smuggled,
			"Expect: 100-continue\r\nContent-Length: 131073\r\n\r\n" + smuggled,
		}, nil},
		{"RFC 9110 §15.5.14: chunks that are too large", broken, 413, "POST /{id} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{odd}",
			[]string{
				"30000\r\n" + strings.Repeat("x", 0x30000) + "\r\n0\r\n\r\n", strings.Repeat("8000\r\n"+strings.Repeat("x", 0x8000)+"\r\n",
					6) + "0\r\n\r\n",
			}, nil},
		{"RFC 9112 §7.1: a body that nobody reads, malformed", refused, 404, unrouted,
			[]string{"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
				"Transfer-Encoding: chunked\r\n\r\n" + smuggled}, nil},
		{"RFC 9112 §9.3: a refused head with more behind it", refused, 400, "{odd}" + smuggled + smuggled, []string{
			"GET /{id} HTTP/1.1\r\n\r\n", "POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
			"POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"GET /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 37\r\nContent-Length: 0\r\n\r\n", "GET /{id} HTTP/1.1\r\nHost: h\r\nX: y\n\r\n",
		}, nil},
	}
}

// expectRows are about Expect (RFC 9110, section 10.1.1).
func expectRows() []strictRow {
	const expecting = "POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect:{odd}\r\n\r\nhello"
	return []strictRow{
		{"RFC 9110 §10.1.1: 100-continue", passed, 200, expecting, []string{" 100-continue", "100-continue", " 100-Continue", " 100-CONTINUE"},
			[]string{"=hello", "-Expect"}},
		{"RFC 9110 §10.1.1: 100-continue without a body", passed, 200, "GET /{id} HTTP/1.1\r\nHost: h\r\nExpect:{odd}\r\n\r\n",
			[]string{" 100-continue"}, []string{"-Expect"}},
		{"RFC 9110 §10.1.1: another expectation", refused, 417, expecting, []string{
			"", " 100-continue, x", " x", " 100", " 100-continuex", " 200-ok", " 100-continue;q=1", ` "100-continue"`, " 100 continue",
			" x\r\nExpect: 100-continue", " 100-continue\r\nExpect: x",
		}, nil},
		{"RFC 9110 §10.1.1: HTTP/1.0 expects nothing", last, 200, "POST /{id} HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nExpect:{odd}\r\n\r\nhello",
			[]string{" 100-continue", " x"}, []string{"=hello", "-Expect"}},
	}
}

// A hit is answered although its request has a body that never comes to its
// end, and what the body holds is no request.
func TestStrictHit(t *testing.T) {
	t.Parallel()
	p, o := behind(t, always(origin.Text("max-age=60", "stored")))
	p.get("/stored").must(t, 200)
	p.settle()
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, rest := range []string{
		"Content-Length: 37\r\n\r\n" + smuggled, "Content-Length: 10000000\r\n\r\n" + smuggled,
		"Transfer-Encoding: chunked\r\n\r\n25\r\n" + smuggled + "\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n" + smuggled,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, control := range []string{"max-age=60", "only-if-cached"} {
				c := p.dial()
				c.write(method + " /stored HTTP/1.1\r\nHost: " + p.addr + "\r\nCache-Control: " + control + "\r\n" + rest)
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
				for answers := 0; ; answers++ {
					if _, err := finalAnswer(c.br, method == "HEAD"); err != nil {
						break
					} else if answers > 0 {
						t.Errorf("%s, %s: a second answer to %q", method, control, rest)
					}
				}
			}
		}
	}
	if n := o.Count("/smuggled").Total; n != 0 {
		t.Errorf("what a body holds reached the origin %d times", n)
	}
}

// The interim answer comes before the body is there, and only to who asks for
// it (RFC 9110, section 10.1.1).
func TestStrictContinue(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, nil)
	for _, tt := range []struct {
		version string
		fields  []string
		early   bool
	}{
		{"1.1", []string{"Content-Length: 5", "Expect: 100-continue"}, true},
		{"1.1", []string{"Transfer-Encoding: chunked", "expect: 100-Continue"}, true},
		{"1.1", []string{"Content-Length: 5"}, false},
		{"1.0", []string{"Content-Length: 5", "Expect: 100-continue"}, false},
	} {
		c := p.dial()
		c.send(append([]string{"POST / HTTP/" + tt.version, "Host: x"}, tt.fields...)...)
		if !tt.early {
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if b, err := c.br.ReadByte(); err == nil {
				t.Errorf("%q: an answer before the body, which begins with %q", tt.fields, b)
			}
			_ = c.SetReadDeadline(time.Now().Add(soon))
		} else if resp := c.response("POST"); resp.StatusCode != 100 {
			t.Errorf("%q: %s before the body", tt.fields, resp.Status)
		}
		if strings.HasPrefix(tt.fields[0], "T") {
			c.write("5\r\nhello\r\n0\r\n\r\n")
		} else {
			c.write("hello")
		}
		if resp := c.response("POST"); resp.StatusCode != 200 {
			t.Errorf("%q: %s", tt.fields, resp.Status)
		}
	}
}
