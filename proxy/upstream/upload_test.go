package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"ringfence/proxy/wire"
)

// clientBody is a request body that counts its closing.
type clientBody struct {
	io.Reader
	closed atomic.Int64
	stop   func() error // ends a Read under way; may be nil
}

func (b *clientBody) Close() error {
	b.closed.Add(1)
	if b.stop != nil {
		return b.stop()
	}
	return nil
}

// stuck is a client that sends first and then nothing more.
func stuck(first string) *clientBody {
	r, w := io.Pipe()
	go func() { _, _ = io.WriteString(w, first) }()
	return &clientBody{Reader: r, stop: r.Close}
}

func post(b io.ReadCloser, length int64) *Request {
	return &Request{Method: "POST", Target: "/", Body: b, Length: length}
}

// TestUploads is what becomes of a request with a body.
func TestUploads(t *testing.T) {
	whole := func(s string) func() *clientBody {
		return func() *clientBody { return &clientBody{Reader: strings.NewReader(s)} }
	}
	broken := errors.New("client broke")
	breaks := func() *clientBody {
		return &clientBody{Reader: io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(broken))}
	}
	sends := func(s string) func() *clientBody { return func() *clientBody { return stuck(s) } }
	floods := func() *clientBody { return &clientBody{Reader: zeros{}} }
	// echo answers a request when all of it is there.
	echo := func(p *peer) {
		for {
			r, ok := p.request()
			if !ok || r.err != nil {
				return
			}
			p.send(text(r.body))
		}
	}
	early := func(answer string, end func(*peer)) func(*peer) {
		return func(p *peer) {
			p.head()
			p.send(answer)
			end(p)
		}
	}
	const tooLarge = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!"
	hold, hangUp := (*peer).hold, func(*peer) {}
	// halfClose ends the answer without the reset that unread bytes cause.
	halfClose := func(p *peer) {
		if p.CloseWrite() == nil {
			p.hold()
		}
	}
	for _, tt := range []struct {
		name   string
		body   func() *clientBody
		length int64
		script func(*peer)
		want   string
		kind   Kind
		kept   bool
		closed int64 // how often the client's body is closed
	}{
		{"length", whole("hello"), 5, echo, "hello", none, true, 0},
		{"chunked", whole("hello"), wire.Chunked, echo, "hello", none, true, 0},
		{"empty chunked", whole(""), wire.Chunked, echo, "", none, true, 0},
		{"long", whole(long(1 << 20)), 1 << 20, echo, long(1 << 20), none, true, 0},
		{"long chunked", whole(long(1 << 20)), wire.Chunked, echo, long(1 << 20), none, true, 0},
		{"more than the length", whole("hello!"), 5, echo, "hello", none, true, 0},
		{"less than the length", whole("hell"), 5, hold, "", RequestIncomplete, false, 1},
		{"client breaks", breaks, 5, hold, "", RequestIncomplete, false, 1},
		{"client breaks in chunks", breaks, wire.Chunked, hold, "", RequestIncomplete, false, 1},
		{"client breaks, server echoes", breaks, 5, echo, "", RequestIncomplete, false, 1},
		{"early answer", sends("hel"), 5, early(tooLarge, hold), "no!", none, false, 1},
		{"early answer, chunked", sends("hel"), wire.Chunked, early(tooLarge, hold), "no!", none, false, 1},
		{"early answer without a body", sends("hel"), 5, early("HTTP/1.1 204 No\r\n\r\n", hold), "", none, false, 1},
		{"early answer and closes", sends("hel"), 5, early("HTTP/1.1 413 No\r\nConnection: close\r\n\r\nno!", halfClose), "no!", none, false, 1},
		{"early answer while the client floods", floods, 1 << 40,
			early(tooLarge, hangUp), "no!", none, false, 1},
		{"early answer while the client floods, nobody reads", floods, 1 << 40,
			early(tooLarge, func(p *peer) { <-p.o.ended }), "no!", none, false, 1},
		{"early answer is cut while the client floods", floods, 1 << 40,
			early("HTTP/1.1 413 No\r\nContent-Length: 9\r\n\r\nno!", hangUp), "no!", Incomplete, false, 1},
		{"early answer is cut", sends("hel"), 5, early("HTTP/1.1 413 No\r\nContent-Length: 9\r\n\r\nno!", hangUp), "no!", Incomplete, false, 1},
		{"server hangs up", sends("hel"), 5, early("", hangUp), "", Terminated, false, 1},
		{"server resets", sends("hel"), 5, early("", (*peer).reset), "", Terminated, false, 1},
		{"server resets while the client floods", floods, 1 << 40,
			early("", (*peer).reset), "", Terminated, false, 1},
		{"server talks nonsense", sends("hel"), 5, early("nonsense\r\n\r\n", hold), "", Protocol, false, 1},
		{"all sent, no answer", whole("hello"), 5, func(p *peer) { p.request(); p.hold() }, "", ReadTimeout, false, 0},
		{"server does not read", floods, 1 << 40, func(p *peer) {
			<-p.o.ended
		}, "", WriteTimeout, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOrigin(t, tt.script)
			p := pool(t, func(o *Options) {
				switch tt.kind {
				case ReadTimeout:
					o.ResponseTimeout = 50 * time.Millisecond
				case WriteTimeout:
					o.WriteTimeout = 50 * time.Millisecond
				}
			}, o.addr())
			body := tt.body()
			soon(t, func() {
				_, got, err := roundTrip(t.Context(), p, post(body, tt.length))
				if got != tt.want {
					t.Errorf("got %.40q, want %.40q", got, tt.want)
				}
				if tt.kind != none {
					wantKind(t, err, tt.kind)
				} else if err != nil {
					t.Error(err)
				}
				if _, unsent := kindOf(err); unsent {
					t.Error("it counts as unsent")
				}
			})
			if st := p.Stats().Servers[0]; st.Idle == 1 != tt.kept || st.Requests != 1 {
				t.Errorf("kept %v, want %v; %d exchanges", st.Idle == 1, tt.kept, st.Requests)
			}
			if body.closed.Load() != tt.closed {
				t.Errorf("the client's body was closed %d times, want %d", body.closed.Load(), tt.closed)
			}
		})
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestFullDuplex: request and response bodies flow at the same time, past the
// response timeout, which bounds the wait for the head alone.
func TestFullDuplex(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		r, ok := p.head()
		if !ok {
			return
		}
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		w := httputil.NewChunkedWriter(p)
		_, _ = io.Copy(w, r.Body)
		w.Close()
		p.send("\r\n")
		p.hold()
	})
	p := pool(t, nil, o.addr())
	r, w := io.Pipe()
	resp, err := p.Do(t.Context(), post(r, wire.Chunked))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	soon(t, func() {
		for i := range 100 {
			piece := []byte(long(1 + 97*i))
			go func() { _, _ = w.Write(piece) }()
			got := make([]byte, len(piece))
			if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, piece) {
				t.Errorf("piece %d: %v", i, err)
				return
			}
		}
		w.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
			t.Errorf("%q, %v", rest, err)
		}
	})
	if p.Stats().Servers[0].Idle != 1 {
		t.Error("the connection was not kept")
	}
}

// TestClientBreaksAfterTheHead: an answer that is under way is not the worse for
// it; only its connection is, and where it breaks off the client is to blame.
func TestClientBreaksAfterTheHead(t *testing.T) {
	for _, tt := range []struct {
		rest string
		kind Kind
	}{{"lo", none}, {"l", RequestIncomplete}} {
		broke := make(chan struct{})
		o := newOrigin(t, func(p *peer) {
			p.head()
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
			<-broke
			p.send(tt.rest)
			if tt.kind == none {
				p.hold()
			}
		})
		p := pool(t, nil, o.addr())
		r, w := io.Pipe()
		resp, err := p.Do(t.Context(), post(r, 5))
		if err != nil {
			t.Fatal(err)
		}
		w.CloseWithError(io.ErrUnexpectedEOF)
		soon(t, func() { <-resp.Body.(*body).x.upload.done })
		close(broke)
		got, err := io.ReadAll(resp.Body)
		if string(got) != "hel"+tt.rest {
			t.Errorf("got %q", got)
		}
		if tt.kind != none {
			wantKind(t, err, tt.kind)
		} else if err != nil {
			t.Error(err)
		}
		if p.Stats().Servers[0].Open != 0 {
			t.Error("the connection was kept")
		}
	}
}

// TestSlowUpload: the response timeout does not run while the body does.
func TestSlowUpload(t *testing.T) {
	const timeout = 30 * time.Millisecond
	o := newOrigin(t, always(text("done")))
	p := pool(t, func(o *Options) { o.ResponseTimeout = timeout }, o.addr())
	body := &clientBody{Reader: io.MultiReader(late(2*timeout), strings.NewReader("x"))}
	if _, got, err := roundTrip(t.Context(), p, post(body, 1)); err != nil || got != "done" {
		t.Errorf("got %q, %v", got, err)
	}
}

// late is a client that takes its time and then has nothing to say.
type late time.Duration

func (l late) Read([]byte) (int, error) {
	<-time.After(time.Duration(l))
	return 0, io.EOF
}

// TestCanceledUpload: the end of the context ends a wait for the client, too.
func TestCanceledUpload(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := newOrigin(t, func(p *peer) {
		r, _ := p.head()
		_, _ = r.Body.Read(make([]byte, 3))
		cancel()
		p.hold()
	})
	p := pool(t, nil, o.addr())
	body := stuck("hel")
	soon(t, func() {
		_, _, err := roundTrip(ctx, p, post(body, 5))
		wantKind(t, err, Canceled)
	})
	if body.closed.Load() != 1 {
		t.Errorf("closed %d times", body.closed.Load())
	}
}

// TestFrameChunk: all sizes fit the room they are given.
func TestFrameChunk(t *testing.T) {
	buf := make([]byte, uploadBuffer)
	for _, n := range []int{1, 9, 15, 16, 255, 256, 4095, 4096, uploadBuffer - chunkPrefix - chunkSuffix} {
		data := copy(buf[chunkPrefix:], long(n))
		framed := append([]byte(nil), frameChunk(buf, data, true)...)
		got, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(framed)))
		if err != nil || string(got) != long(n) || !bytes.HasSuffix(framed, []byte("\r\n0\r\n\r\n")) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
