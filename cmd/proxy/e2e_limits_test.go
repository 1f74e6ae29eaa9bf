package main_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// Every limit on what a client may send has a status of its own, says so at once,
// and costs the connection.
func TestRequestLimits(t *testing.T) {
	o := newOrigin(t, "a", always(origin.Text("no-store", "x")))
	p := startProxy(t, setup{origins: []*origin.Origin{o}, top: "server: {max_head_size: 2KiB, max_target_size: 256, max_header_fields: 9, " +
		"max_body_size: 1000, head_timeout: 200ms, read_timeout: 200ms, idle_timeout: 200ms, request_timeout: 600ms}"})
	const head = "POST /x HTTP/1.1\r\nHost: x\r\n"
	for name, tt := range map[string]struct {
		text string
		want int // 0: the end of the connection without an answer
	}{
		"head size":            {head + "A: " + strings.Repeat("x", 2<<10) + "\r\n\r\n", 431},
		"number of fields":     {head + strings.Repeat("A: b\r\n", 9) + "\r\n", 431},
		"target":               {"GET /" + strings.Repeat("x", 256) + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
		"body of known length": {head + "Content-Length: 1001\r\n\r\n", 413},
		"body in chunks":       {head + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n", 413},
		"slow head":            {head, 408},
		"slow body":            {head + "Content-Length: 9\r\n\r\n123", 408},
		"silence":              {"", 0},
		"silence after":        {"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := p.with(t).dial()
			c.write(tt.text)
			if tt.want != 0 {
				if r := whole(c.response("POST")); r.status != tt.want {
					t.Errorf("got %s, want %d", r, tt.want)
				}
			}
			if rest, err := io.ReadAll(c.br); err != nil || len(rest) > 0 {
				t.Errorf("then %q, %v", rest, err)
			}
		})
	}
	t.Run("a body that trickles", func(t *testing.T) {
		t.Parallel()
		c := p.with(t).dial()
		c.write(head + "Content-Length: 900\r\n\r\n")
		answered := make(chan reply, 1)
		go func() {
			resp, err := http.ReadResponse(c.br, nil)
			if err != nil {
				answered <- reply{err: err}
				return
			}
			answered <- whole(resp)
		}()
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case r := <-answered:
				if r.status != 408 {
					t.Errorf("got %s", r)
				}
				return
			case <-tick.C:
				_, _ = io.WriteString(c, "x") // it may be over
			}
		}
	})
}

// Connections and requests that are too many are turned away, with a word on when
// to come back, and counted; what memory can answer is no request too many.
func TestCrowdsAreTurnedAway(t *testing.T) {
	hold := make(chan struct{})
	o := newOrigin(t, "a", func(r origin.Request) origin.Answer {
		if r.Path() == "/held" {
			return origin.Answer{Hold: hold}
		}
		return origin.Text("max-age=60", "x")
	})
	t.Run("requests", func(t *testing.T) {
		p := startProxy(t, setup{origins: []*origin.Origin{o}, top: "server: {max_requests: 2}"})
		p.get("/stored").must(t, 200)
		done := make(chan reply, 2)
		for range 2 {
			go func() { done <- p.do("POST", "/held", "") }()
		}
		reaches(t, o, func(r origin.Record) bool { return r.Total == 3 })
		if r := p.get("/other"); r.status != 503 || r.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %s", r)
		}
		if r := p.get("/stored"); r.status != 200 {
			t.Errorf("from memory: %s", r)
		}
		close(hold)
		for range 2 {
			(<-done).must(t, 200)
		}
		eventually(t, "room", func() bool { return p.get("/other").status == 200 })
	})
	for limit, want := range map[string]struct {
		status int
		reason string
	}{"max_connections": {503, "full"}, "max_connections_per_client": {429, "client"}} {
		t.Run(limit, func(t *testing.T) {
			p := startProxy(t, setup{origins: []*origin.Origin{o}, top: "server: {" + limit + ": 2}"})
			p.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
			first, second := p.dial(), p.dial()
			for _, c := range []conn{first, second} {
				c.send("GET /stored HTTP/1.1", "Host: x")
				whole(c.response("GET")).must(t, 200)
			}
			if r := p.get("/stored"); r.status != want.status || r.header.Get("Retry-After") == "" {
				t.Errorf("the third: %s", r)
			}
			if n := p.metric(`ringfence_client_connections_rejected_total{reason=` + strconv.Quote(want.reason) + `}`); n != 1 {
				t.Errorf("%v are counted", n)
			}
			_ = first.Close()
			eventually(t, "room", func() bool { return p.get("/stored").status == 200 })
		})
	}
}

// Upstreams that are slow or deaf cost their clients a bounded time.
func TestSlowUpstreams(t *testing.T) {
	o := newOrigin(t, "a", func(r origin.Request) origin.Answer {
		switch r.Path() {
		case "/silent":
			return origin.Answer{Delay: time.Minute}
		case "/drip":
			return origin.Answer{Size: 1000, Chunk: 10, Pause: time.Minute}.With("Cache-Control", "max-age=60")
		}
		return origin.Text("no-store", "x")
	})
	p := startProxy(t, setup{origins: []*origin.Origin{o}, upstream: "response_timeout: 300ms\nread_timeout: 300ms\nwrite_timeout: 300ms\nretry: {attempts: 1}"})
	for _, method := range []string{"GET", "POST"} {
		if r := p.do(method, "/silent", ""); r.status != 504 {
			t.Errorf("%s, no head: %s", method, r)
		}
		if r := p.do(method, "/drip", ""); r.status != 200 || r.err == nil {
			t.Errorf("%s, no more of the body: %s", method, r)
		}
	}
}
