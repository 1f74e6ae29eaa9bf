package upstream

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// paced is a request body that comes in pieces, and notes how it is read.
type paced struct {
	pieces []int
	log    []string
}

func (p *paced) Await() { p.log = append(p.log, "await") }

func (p *paced) Read(b []byte) (int, error) {
	p.log = append(p.log, "read")
	if len(p.pieces) == 0 {
		return 0, io.EOF
	}
	n := min(p.pieces[0], len(b))
	if p.pieces[0] -= n; p.pieces[0] == 0 {
		p.pieces = p.pieces[1:]
	}
	copy(b, strings.Repeat("x", n))
	return n, nil
}

func (*paced) Close() error { return nil }

// A body that comes little by little is waited for without a buffer; one that
// comes in bulk is read and read.
func TestSlowUploadsAreWaitedFor(t *testing.T) {
	a, r := "await", "read"
	for name, tt := range map[string]struct {
		length int64
		pieces []int
		want   []string
	}{
		"bulk":         {3 << 15, []int{3 << 15}, []string{a, r, r, r, r}}, // a little of each buffer is for chunks
		"dribble":      {3, []int{1, 1, 1}, []string{a, r, a, r, a, r}},
		"first bulk":   {4097, []int{4096, 1}, []string{a, r, r}},
		"chunked":      {-1, []int{1, 4096, 5}, []string{a, r, a, r, r, a, r}},
		"chunked, end": {-1, []int{4096}, []string{a, r, r}},
		"nothing":      {-1, nil, []string{a, r}},
	} {
		body := &paced{pieces: slices.Clone(tt.pieces)}
		buffers := sync.Pool{New: func() any { b := make([]byte, uploadBuffer); return &b }}
		var out bytes.Buffer
		if err := send(&out, post(body, tt.length), &buffers); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(body.log, tt.want) {
			t.Errorf("%s: %v, want %v", name, body.log, tt.want)
		}
		sum := 0
		for _, n := range tt.pieces {
			sum += n
		}
		if n := strings.Count(out.String(), "x"); n != sum {
			t.Errorf("%s: %d bytes were sent, want %d", name, n, sum)
		}
	}
}

// A body can be waited for, and what comes then is read.
func TestBodiesAreWaitedFor(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"close":   "HTTP/1.1 200 OK\r\n\r\n",
	} {
		goOn := make(chan struct{})
		o := newOrigin(t, func(p *peer) {
			if _, ok := p.request(); !ok {
				return
			}
			p.send(answer)
			<-goOn
			if name == "chunked" {
				p.send("3\r\nabc\r\n0\r\n\r\n")
				return
			}
			p.send("abc")
		})
		p := pool(t, nil, o.addr())
		resp, err := p.Do(t.Context(), get("GET"))
		if err != nil {
			t.Fatal(err)
		}
		b := resp.Body.(*body)
		if n := b.x.conn.in.Buffered(); n != 0 || b.arrived() != 0 {
			t.Errorf("%s: %d bytes are there", name, n)
		}
		close(goOn)
		b.Await()
		if b.x.conn.in.Buffered() == 0 {
			t.Errorf("%s: the wait ended for nothing", name)
		}
		if got, err := io.ReadAll(b); string(got) != "abc" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		b.Await() // at its end it waits for nothing
		_ = b.Close()
	}
}
