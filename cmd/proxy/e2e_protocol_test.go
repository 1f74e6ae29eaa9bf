package main_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// An HTTP/1.0 client knows no chunks: a body of unknown length ends with the
// connection.
func TestHTTP10Client(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, origin.FromQuery(origin.Text("", "all of it")))
	for _, framing := range []string{"length", "chunked", "close"} {
		for _, control := range []string{"max-age=60", "no-store"} {
			c := p.dial()
			c.send("GET /?framing="+framing+"&h=Cache-Control:"+control+" HTTP/1.0", "Host: x")
			got, err := io.ReadAll(c.br)
			head, body, _ := strings.Cut(string(got), "\r\n\r\n")
			if err != nil || !strings.HasPrefix(head, "HTTP/1.") || body != "all of it" {
				t.Errorf("framing %s, %s: %q, %v", framing, control, got, err)
			}
			if strings.Contains(strings.ToLower(head), "transfer-encoding") {
				t.Errorf("framing %s, %s: chunked to HTTP/1.0: %q", framing, control, head)
			}
		}
	}
}

// A HEAD is answered as the GET would be, without a body, and the connection
// serves the next request.
func TestHead(t *testing.T) {
	t.Parallel()
	p, o := behind(t, always(origin.Text("max-age=60", "content")))
	c := p.dial()
	for i, method := range []string{"HEAD", "GET", "HEAD", "GET"} {
		c.send(method+" / HTTP/1.1", "Host: x")
		resp := c.response(method)
		body, err := io.ReadAll(resp.Body)
		want := ""
		if method == "GET" {
			want = "content"
		}
		if err != nil || string(body) != want || resp.Header.Get("Content-Length") != "7" {
			t.Errorf("%d: %s: %q, %v, %v", i, method, body, err, resp.Header)
		}
		p.settle()
	}
	if r := o.Record(); r.Total > 2 || r.Requests[r.Total-1].Method != "GET" {
		t.Errorf("%d requests reached the origin; one GET answers all", r.Total)
	}
}

func TestPipelinedRequests(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, func(r origin.Request) origin.Answer {
		return origin.Text("max-age=60", "answer to "+r.Target)
	})
	c := p.dial()
	var all strings.Builder
	for i := range 10 {
		fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i%4)
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 100+i)
	}
	c.write(all.String())
	for i := range 10 {
		for _, n := range []int{i % 4, 100 + i} {
			resp := c.response("GET")
			body, err := io.ReadAll(resp.Body)
			if want := fmt.Sprintf("answer to /%d", n); err != nil || string(body) != want {
				t.Fatalf("got %q, %v; want %q", body, err, want)
			}
		}
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	p, o := behind(t, nil)
	c := p.dial()
	c.send("POST /a HTTP/1.1", "Host: x", "Content-Length: 5", "Expect: 100-continue")
	if resp := c.response("POST"); resp.StatusCode != 100 {
		t.Fatalf("got %s before the body", resp.Status)
	}
	c.write("hello")
	if resp := c.response("POST"); resp.StatusCode != 200 {
		t.Errorf("got %s", resp.Status)
	}
	if b := o.Record().Requests[0].Body; b.Start != "hello" || !b.Complete {
		t.Errorf("origin got %+v", b)
	}
	c.send("POST /b HTTP/1.1", "Host: x", "Content-Length: 5", "Expect: a-miracle")
	c.write("hello")
	if resp := c.response("POST"); resp.StatusCode != 417 {
		t.Errorf("unknown expectation: %s", resp.Status)
	}
}

// A GET with a body is forwarded with it, and neither stored nor collapsed.
func TestGetWithBody(t *testing.T) {
	t.Parallel()
	p, o := behind(t, always(origin.Text("max-age=60", "x")))
	for i := range 2 {
		body := fmt.Sprintf("query %d", i)
		if r := p.do("GET", "/", body).must(t, 200); r.is("hit") {
			t.Errorf("a hit: %s", r)
		}
		if b := o.Record().Requests[i].Body; b.Start != body || !b.Complete {
			t.Errorf("origin got %+v", b)
		}
	}
}

// An origin that refuses a large upload at its head is heard, although the
// client is still sending.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{64 << 20, -1} {
		p, o := behind(t, always(origin.Answer{Status: 413, Body: []byte("too large\n"), Early: true}))
		req, err := http.NewRequest("POST", "http://"+p.addr+"/", origin.Content("/", 64<<20))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("length %d: %v", length, err)
		}
		if r := whole(resp); r.err != nil || r.status != 413 || r.body != "too large\n" {
			t.Errorf("length %d: %s", length, r)
		}
		reaches(t, o, func(r origin.Record) bool { return r.Open == 0 })
		if n := o.Record().Total; n != 1 {
			t.Errorf("origin was asked %d times", n)
		}
	}
}

// An upload that its client cuts off is never complete for the origin.
func TestCutUpload(t *testing.T) {
	t.Parallel()
	p, o := behind(t, nil)
	for name, tt := range map[string]struct{ framing, body string }{
		"between chunks":      {"Transfer-Encoding: chunked", "5\r\nhello\r\n"},
		"within a chunk":      {"Transfer-Encoding: chunked", "9\r\nhello"},
		"within a chunk line": {"Transfer-Encoding: chunked", "5\r\nhello\r\n5"},
		"bad chunk":           {"Transfer-Encoding: chunked", "5\r\nhello\r\nzz\r\n"},
		"by length":           {"Content-Length: 9", "hello"},
	} {
		for _, end := range []string{"closed", "reset"} {
			upload := target(name + ", " + end)
			c := p.dial()
			c.send("POST "+upload+" HTTP/1.1", "Host: x", tt.framing)
			c.write(tt.body)
			reaches(t, o, func(r origin.Record) bool { return len(r.To(upload)) == 1 })
			if end == "reset" {
				_ = c.SetLinger(0)
			}
			_ = c.Close()
			reaches(t, o, func(r origin.Record) bool { return r.To(upload)[0].Done })
			if rs := o.Record().To(upload); len(rs) != 1 || rs[0].Body.Complete {
				t.Errorf("%s: %d requests; the first has %+v", upload, len(rs), rs[0].Body)
			}
		}
	}
}

// What a front must refuse is refused, and nothing of it reaches the origin.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	t.Parallel()
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	tests := map[string]string{
		"length and chunks":     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"chunked not last":      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
		"space before colon":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 0\r\n\r\n",
		"folded line":           "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
		"no Host":               "GET / HTTP/1.1\r\n\r\n",
		"two Hosts":             "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"odd Host":              "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
		"signed length":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
		"control in a value":    "GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
		"connect":               "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
		"trace":                 "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
		"chunked from HTTP/1.0": "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	}
	shared, o := behind(t, nil)
	for name, request := range tests {
		t.Run(name, func(t *testing.T) {
			c := shared.with(t).dial()
			c.write(request + smuggled)
			resp := c.response("GET")
			if resp.StatusCode < 400 || resp.StatusCode > 599 {
				t.Errorf("answered with %s", resp.Status)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if rest, _ := io.ReadAll(c.br); len(rest) > 0 {
				t.Errorf("the connection went on: %q", rest)
			}
		})
	}
	if r := o.Record(); r.Total+r.Malformed > 0 {
		t.Errorf("reached the origin: %+v", r.Requests)
	}
}
