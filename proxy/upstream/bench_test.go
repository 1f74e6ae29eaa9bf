package upstream

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

// bulk answers every request head with answer, as cheaply as a server can.
func bulk(answer string) func(*peer) {
	out := []byte(answer)
	return func(p *peer) {
		buf := make([]byte, 4<<10)
		for {
			if _, err := p.Read(buf); err != nil {
				return
			}
			if _, err := p.Write(out); err != nil {
				return
			}
		}
	}
}

const benchHead = "HTTP/1.1 200 OK\r\nServer: x\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n" +
	"Content-Type: text/html\r\nETag: \"abc\"\r\nCache-Control: max-age=60\r\n"

// BenchmarkRoundTrip is one GET for 1 KiB over a kept loopback connection, with
// the context that a fill has, and with none.
func BenchmarkRoundTrip(b *testing.B) {
	length := benchHead + "Content-Length: 1024\r\n\r\n" + long(1024)
	chunked := benchHead + "Transfer-Encoding: chunked\r\n\r\n400\r\n" + long(1024) + "\r\n0\r\n\r\n"
	canceled, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, bb := range []struct {
		name, answer string
		ctx          context.Context
	}{
		{"length", length, context.Background()},
		{"length,cancelable", length, canceled},
		{"chunked", chunked, context.Background()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := pool(b, nil, newOrigin(b, bulk(bb.answer)).addr())
			req, buf := get("GET"), make([]byte, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				exchangeOnce(b, p, bb.ctx, req, buf)
			}
		})
	}
}

// exchangeOnce sends req and reads the 1 KiB of the answer into buf.
func exchangeOnce(tb testing.TB, p *Pool, ctx context.Context, req *Request, buf []byte) {
	resp, err := p.Do(ctx, req)
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for err == nil {
		var m int
		m, err = resp.Body.Read(buf)
		n += m
	}
	if n != 1024 || err != io.EOF {
		tb.Fatalf("%d bytes, %v", n, err)
	}
}

// BenchmarkQuiet is the look at a kept connection before it is used.
func BenchmarkQuiet(b *testing.B) {
	s := newServer(serverOptions{address: newOrigin(b, (*peer).hold).addr(), connectTimeout: time.Minute, maxConnections: 1})
	c, _, err := s.take(b.Context(), wire.ProxyHeader{}, false)
	if err != nil {
		b.Fatal(err)
	}
	defer s.discard(c)
	b.ReportAllocs()
	for b.Loop() {
		if !c.quiet() {
			b.Fatal("not quiet")
		}
	}
}

// BenchmarkUpload is a POST of 1 MiB.
func BenchmarkUpload(b *testing.B) {
	p := pool(b, nil, newOrigin(b, func(p *peer) {
		for {
			r, ok := p.head()
			if !ok {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			p.send(text(long(1024)))
		}
	}).addr())
	body, buf := long(1<<20), make([]byte, 4<<10)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		exchangeOnce(b, p, context.Background(), post(io.NopCloser(strings.NewReader(body)), 1<<20), buf)
	}
}

// TestRoundTripAllocates bounds what the benchmark shows: the exchange, the
// head's text and its fields, and now and then a pooled buffer.
func TestRoundTripAllocates(t *testing.T) {
	p := pool(t, nil, newOrigin(t, bulk(benchHead+"Content-Length: 1024\r\n\r\n"+long(1024))).addr())
	req, buf := get("GET"), make([]byte, 4<<10)
	got := testing.AllocsPerRun(200, func() { exchangeOnce(t, p, context.Background(), req, buf) })
	if got > 5 {
		t.Errorf("%v allocations, want 3", got)
	}
}
