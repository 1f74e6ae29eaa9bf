package main_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// A truncated answer never looks complete to its client, and is not stored.
func TestTruncatedAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]origin.Answer{
		"by length":               {Framing: origin.Length, Ending: origin.Drop},
		"by length, reset":        {Framing: origin.Length, Ending: origin.Reset},
		"in chunks":               {Framing: origin.Chunked, Ending: origin.Drop},
		"in chunks, reset":        {Framing: origin.Chunked, Ending: origin.Reset},
		"within a chunk's line":   {Raw: []byte("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n5"), Ending: origin.Drop},
		"a chunk that is no size": {Raw: []byte("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n"), Ending: origin.Drop},
	}
	shared, o := behind(t, each(tests, func(a origin.Answer, r origin.Request) origin.Answer {
		if a.Raw == nil {
			a.Body, a.Cut, a.CutAfter = []byte("half and half"), true, 4
		}
		_, control, _ := strings.Cut(r.Target, "?")
		return a.With("Cache-Control", control)
	}))
	for name := range tests {
		t.Run(name, func(t *testing.T) {
			p := shared.with(t)
			for _, control := range []string{"max-age=60", "no-store"} {
				target := target(name) + "?" + control
				for i := range 2 {
					if r := p.get(target); r.err == nil && r.status < 500 {
						t.Errorf("%s looks complete: %s", control, r)
					}
					p.settle()
					if n := o.Count(target).Total; n != i+1 {
						t.Errorf("%s: origin was asked %d times after %d requests", control, n, i+1)
					}
				}
				// For a client of HTTP/1.0 the end of the connection is the end
				// of a body without a length: it must see a reset.
				c := p.dial()
				c.send("GET "+target+" HTTP/1.0", "Host: x")
				got, err := io.ReadAll(c.br)
				if err == nil && !strings.Contains(string(got), "Content-Length: 13\r\n") && !strings.HasPrefix(string(got), "HTTP/1.1 50") {
					t.Errorf("%s, HTTP/1.0: looks complete: %q", control, got)
				}
			}
		})
	}
}

// A body that ends with its connection is whole, and can be stored.
func TestBodyUntilClose(t *testing.T) {
	t.Parallel()
	a := origin.Text("max-age=60", "all of it")
	a.Framing = origin.UntilClose
	p, o := behind(t, always(a))
	for range 2 {
		if r := p.get("/").must(t, 200); r.body != "all of it" {
			t.Errorf("got %s", r)
		}
		p.settle()
	}
	if n := o.Record().Total; n != 1 {
		t.Errorf("origin was asked %d times", n)
	}
}

// The origin closes a connection that waits for its next request.
func TestIdleConnectionClosedByOrigin(t *testing.T) {
	t.Parallel()
	p, o := behind(t, always(origin.Answer{Size: 3, Ending: origin.Drop}))
	for i, method := range []string{"GET", "GET", "POST", "POST"} {
		p.do(method, fmt.Sprintf("/%d", i), "").must(t, 200)
		reaches(t, o, func(r origin.Record) bool { return r.Total == i+1 && r.Open == 0 })
	}
}

// The origin closes a connection in the moment in which the next request is on
// its way: what may be repeated is, once; what may not is not.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]struct{ status, sent int }{"GET": {200, 2}, "POST": {502, 1}} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p, o := behind(t, func(r origin.Request) origin.Answer {
				if r.Nth > 1 {
					return origin.Answer{Raw: []byte{}, Ending: origin.Drop}
				}
				return origin.Answer{Size: 3}
			})
			p.get("/first").must(t, 200)
			body := ""
			if method == "POST" {
				body = "order"
			}
			p.do(method, "/second", body).must(t, want.status)
			if n := o.Count("/second").Total; n != want.sent {
				t.Errorf("%s reached the origin %d times, want %d", method, n, want.sent)
			}
		})
	}
}

func TestUpstreamFaults(t *testing.T) {
	t.Parallel()
	raw := func(s string) origin.Answer { return origin.Answer{Raw: []byte(s), Ending: origin.Drop} }
	type row struct {
		answer origin.Answer
		status int
		kind   string // the start of an error type of RFC 9209; "": any
	}
	rows := map[string]row{
		"no answer in time": {origin.Answer{Hold: make(chan struct{})}, 504, ""},
		"hangs up":          {raw(""), 502, "connection_terminated"},
		"resets":            {origin.Answer{Raw: []byte{}, Ending: origin.Reset}, 502, "connection_terminated"},
		"half a head":       {raw("HTTP/1.1 200 OK\r\nX: "), 502, ""},
		"not HTTP":          {raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502, "http_protocol_error"},
		"odd status":        {raw("HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"), 502, "http_protocol_error"},
		"odd length":        {raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), 502, "http_protocol_error"},
		"two lengths":       {raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 502, "http_protocol_error"},
		"odd field":         {raw("HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 0\r\n\r\n"), 502, "http_protocol_error"},
		"endless head":      {raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), 502, "http_response_header"},
		"refused":           {origin.Answer{}, 502, "connection_refused"},
	}
	o := newOrigin(t, "one", each(rows, func(r row, _ origin.Request) origin.Answer { return r.answer }))
	shared := startProxy(t, setup{upstream: "response_timeout: 300ms", origins: []*origin.Origin{o}})
	check := func(name string) {
		t.Run(name, func(t *testing.T) {
			p, row := shared.with(t), rows[name]
			for _, method := range []string{"GET", "POST"} {
				start := time.Now()
				r := p.do(method, target(name), "").must(t, row.status)
				if ps := r.header.Get("Proxy-Status"); !strings.HasPrefix(ps, "ringfence; error="+row.kind) {
					t.Errorf("%s: Proxy-Status %q, want error=%s", method, ps, row.kind)
				}
				if len(r.body) == 0 || len(r.body) > 200 || strings.Contains(r.body, o.Addr()) {
					t.Errorf("%s: body %q", method, r.body)
				}
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("%s took %s", method, d)
				}
			}
		})
	}
	for name := range rows {
		if name != "refused" {
			check(name)
		}
	}
	o.Stop()
	check("refused")
}

// Silence within a body ends it, visibly.
func TestSilenceWithinABody(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		a := origin.Answer{Size: 100, Chunk: 50, Gate: gate}
		if r.Target == "/chunked" {
			a.Framing = origin.Chunked
		}
		return a
	})
	p := startProxy(t, setup{upstream: "read_timeout: 300ms", origins: []*origin.Origin{o}})
	for _, target := range []string{"/length", "/chunked"} {
		if r := p.get(target); r.err == nil {
			t.Errorf("%s looks complete: %s", target, r)
		}
	}
}

// With one of two servers away, every request that may be repeated, or was not
// sent, goes to the other.
func TestRefusedServerIsPassedOver(t *testing.T) {
	t.Parallel()
	up, down := newOrigin(t, "up", nil), newOrigin(t, "down", nil)
	down.Stop()
	p := startProxy(t, setup{origins: []*origin.Origin{up, down}})
	for i := range 20 {
		p.get(fmt.Sprintf("/%d", i)).must(t, 200)
		p.do("POST", fmt.Sprintf("/%d", i), "body").must(t, 200)
	}
}

// Bytes that an origin sends unasked are no answer to the next request.
func TestUnsolicitedBytes(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(soon))
			_, _ = c.Read(make([]byte, 4096))
			n := served.Add(1)
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%dHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", n)
			defer c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	p := runFile(t, fmt.Sprintf("listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n"+
		"upstreams: {app: {servers: [{address: '%s'}]}}\nroutes: [{upstream: app}]\n", l.Addr()))
	for i := range 3 {
		if r := p.get(fmt.Sprintf("/%d", i)).must(t, 200); r.body != fmt.Sprint(i+1) {
			t.Errorf("request %d got %q", i+1, r.body)
		}
	}
}
