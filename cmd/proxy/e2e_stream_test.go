package main_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// bigBody is larger than any memory the proxy may take for it.
func bigBody() int64 {
	if raceOn || testing.Short() {
		return 160 << 20
	}
	return 2 << 30
}

// TestLargeBodies moves more bytes than the proxy may hold. It runs before the
// parallel tests, so that its memory is its own.
func TestLargeBodies(t *testing.T) {
	// What the process may take at its peak beyond its start; the race detector
	// takes its own share.
	flat := int64(32 << 20)
	if raceOn {
		flat = 112 << 20
	}
	size := bigBody()
	tests := map[string]struct {
		target string
		send   bool
		answer origin.Answer
		length int64 // of the request's body: -1 for chunked
	}{
		"download by length, shareable":  {target: "/1", answer: origin.Text("max-age=60", "")},
		"download in chunks, shareable":  {target: "/2", answer: origin.Answer{Framing: origin.Chunked}.With("Cache-Control", "max-age=60")},
		"download by length, for one":    {target: "/3", answer: origin.Text("no-store", "")},
		"upload by length":               {target: "/4", send: true, length: size},
		"upload in chunks":               {target: "/5", send: true, length: -1},
		"upload and download, at a time": {target: "/6", send: true, length: -1, answer: origin.Answer{Echo: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if !tt.send {
				tt.answer.Body, tt.answer.Size = nil, size
			}
			p, o := behind(t, always(tt.answer))
			before := p.memory("VmRSS")
			method, body := "GET", io.Reader(nil)
			if tt.send {
				method, body = "POST", origin.Content(tt.target, size)
			}
			req, err := http.NewRequest(method, "http://"+p.addr+tt.target, body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = tt.length
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, n, err := origin.Sum(resp.Body)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("status %d, body ends after %d bytes: %v", resp.StatusCode, n, err)
			}
			grown := p.memory("VmHWM") - before
			t.Logf("memory grew by %d MiB for %d MiB of body", grown>>20, size>>20)
			if grown > flat {
				t.Errorf("that is more than %d MiB", flat>>20)
			}
			want, _, _ := origin.Sum(origin.Content(tt.target, size))
			if (!tt.send || tt.answer.Echo) && (n != size || got != want) {
				t.Errorf("client got %d bytes with sum %x, want %d with %x", n, got, size, want)
			}
			if sent := o.Record().Requests[0].Body; tt.send && (sent.Length != size || sent.Sum != want || !sent.Complete) {
				t.Errorf("origin got %d bytes with sum %x, want %d with %x", sent.Length, sent.Sum, size, want)
			}
		})
	}
}

// memory reads a size of the proxy process, in bytes: VmRSS or VmHWM.
func (p *process) memory(field string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == field+":" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return n << 10
		}
	}
	p.t.Fatalf("no %s in %s", field, text)
	return 0
}

func TestFirstByteLeavesAtOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		request string
		control string
		framing origin.Framing
	}{
		"miss by length":      {"GET", "max-age=60", origin.Length},
		"miss in chunks":      {"GET", "max-age=60", origin.Chunked},
		"miss until close":    {"GET", "max-age=60", origin.UntilClose},
		"no-store by length":  {"GET", "no-store", origin.Length},
		"no-store in chunks":  {"GET", "no-store", origin.Chunked},
		"post by length":      {"POST", "", origin.Length},
		"post in chunks":      {"POST", "", origin.Chunked},
		"post until close":    {"POST", "", origin.UntilClose},
		"no freshness either": {"GET", "", origin.Length},
	}
	type row struct {
		origin.Answer
		gate chan struct{}
	}
	rows := map[string]row{}
	for name, tt := range tests {
		gate := make(chan struct{})
		a := origin.Text(tt.control, "first and the rest")
		a.Framing, a.Chunk, a.Gate = tt.framing, len("first"), gate
		rows[name] = row{a, gate}
	}
	shared, _ := behind(t, each(rows, func(r row, _ origin.Request) origin.Answer { return r.Answer }))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := shared.with(t).dial()
			c.send(tt.request+" "+target(name)+" HTTP/1.1", "Host: x", "Content-Length: 0")
			resp := c.response(tt.request)
			if got := c.read(resp.Body, 5); got != "first" {
				t.Errorf("first bytes %q", got)
			}
			close(rows[name].gate)
			if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != " and the rest" {
				t.Errorf("then %q, %v", rest, err)
			}
		})
	}
}

// Each piece of an upload comes back before the next is sent.
func TestFullDuplex(t *testing.T) {
	t.Parallel()
	shared, _ := behind(t, always(origin.Answer{Echo: true}))
	tests := map[string]struct{ framing, piece, end string }{
		"chunked": {"Transfer-Encoding: chunked", "5\r\nhello\r\n", "0\r\n\r\n"},
		"length":  {"Content-Length: 20", "hello", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := shared.with(t).dial()
			c.send("POST /echo HTTP/1.1", "Host: x", tt.framing)
			c.write(tt.piece)
			resp := c.response("POST")
			for i := range 4 {
				if i > 0 {
					c.write(tt.piece)
				}
				if got := c.read(resp.Body, 5); got != "hello" {
					t.Fatalf("got %q back", got)
				}
			}
			c.write(tt.end)
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
				t.Errorf("then %q, %v", rest, err)
			}
		})
	}
}
