package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/proxy/wire"
)

// Which protocols a request would switch to (RFC 9110, section 7.8), and which
// of them a route lets it.
func TestOffers(t *testing.T) {
	r := &Route{Upgrade: []string{"websocket", "x-chat"}}
	for _, tt := range []struct{ head, offers, protocol string }{
		{"Connection: upgrade|Upgrade: websocket", "websocket", "websocket"},
		{"connection: close, UPGRADE|upgrade: WebSocket", "WebSocket", "websocket"},
		{"Connection: a|Connection: upgrade|Upgrade: h2c, X-Chat|Upgrade: websocket", "h2c, X-Chat, websocket", "x-chat"},
		{"Connection: upgrade|Upgrade: websocket|Content-Length: 0", "websocket", "websocket"},
		{"Connection: upgrade|Upgrade: h2c, websocket/13, , websockets", "h2c, websocket/13, , websockets", ""},
		{"Connection: upgrade|Upgrade: ", "", ""},
		{"Connection: upgrade", "", ""},
		{"Upgrade: websocket", "", ""},
		{"Connection: upgrade2|Upgrade: websocket", "", ""},
		{"Connection: upgrade|Upgrade: websocket|Content-Length: 1", "", ""},
		{"Connection: upgrade|Upgrade: websocket|Transfer-Encoding: chunked", "", ""},
	} {
		fields := "\r\nHost: a\r\n" + strings.ReplaceAll(tt.head, "|", "\r\n") + "\r\n\r\n"
		h, refusal := wire.ParseRequestHead(nil, "GET / HTTP/1.1"+fields, wire.RequestLimits{MaxTarget: 9, MaxFields: 9})
		if refusal != nil {
			t.Fatal(refusal)
		}
		if got := offers(h); got != tt.offers || r.protocol(got) != tt.protocol {
			t.Errorf("%s: offers %q, of which %q; want %q, %q", tt.head, got, r.protocol(got), tt.offers, tt.protocol)
		}
		h.Minor = 0
		if got := offers(h); got != "" {
			t.Errorf("%s: HTTP/1.0 offers %q", tt.head, got)
		}
	}
	if got := new(Route).protocol("websocket"); got != "" {
		t.Errorf("a route that allows nothing lets through %q", got)
	}
}

// A tunnel ends when both directions were silent for the timeout, not before and
// not later, and only once.
func TestTunnelClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := newTunnels(1, time.Minute, time.Second)
		var stopped atomic.Int64
		began := time.Now()
		up, down := newPipe(), newPipe()
		tunnel := ts.begin(func() { // breaks both, which is not why it ends
			stopped.Add(1)
			_, _ = up.feed.CloseWithError(io.ErrClosedPipe), down.feed.CloseWithError(io.ErrClosedPipe)
		})
		var pool = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
		var relays sync.WaitGroup
		var counts [2]atomic.Uint64
		relays.Go(func() { tunnel.relay(up, up.src, &counts[0], &pool) })
		relays.Go(func() { tunnel.relay(down, down.src, &counts[1], &pool) })
		for i := range 10 { // 50 s between two, 100 s between two of a direction
			time.Sleep(50 * time.Second)
			_, _ = io.WriteString([]*pipe{up, down}[i%2].feed, "x")
		}
		synctest.Wait()
		for stopped.Load() == 0 {
			time.Sleep(time.Second)
		}
		if d := time.Since(began); d < 560*time.Second || d > 561*time.Second {
			t.Errorf("ended after %s", d)
		}
		relays.Wait()
		if why := ts.end(tunnel); why != TunnelIdle || stopped.Load() != 1 || counts[0].Load() != 5 || counts[1].Load() != 5 {
			t.Errorf("ended for %v, stopped %d times, moved %d and %d", why, stopped.Load(), counts[0].Load(), counts[1].Load())
		}
	})
}

// pipe is a direction of a tunnel: what is fed to src comes out of it.
type pipe struct {
	bytes.Buffer
	src  *io.PipeReader
	feed *io.PipeWriter
	err  error // of CloseWrite
	ends int
}

func newPipe() *pipe {
	p := new(pipe)
	p.src, p.feed = io.Pipe()
	return p
}

func (p *pipe) CloseWrite() error { p.ends++; return p.err }

// An end is passed on; what cannot be, and any failure, breaks the tunnel.
func TestRelayEnds(t *testing.T) {
	for _, tt := range []struct {
		read, closing error
		ends          int
		why           TunnelEnd
	}{
		{io.EOF, nil, 1, TunnelClosed},
		{io.ErrUnexpectedEOF, nil, 1, TunnelClosed},
		{io.EOF, errors.ErrUnsupported, 1, TunnelBroken},
		{errors.New("reset"), nil, 0, TunnelBroken},
	} {
		ts := newTunnels(1, time.Minute, time.Second)
		stopped := 0
		tunnel := ts.begin(func() { stopped++ })
		p := newPipe()
		p.err = tt.closing
		go func() { _, _ = io.WriteString(p.feed, "x"); _ = p.feed.CloseWithError(tt.read) }()
		var count atomic.Uint64
		tunnel.relay(p, p.src, &count, nil)
		if why := ts.end(tunnel); why != tt.why || p.ends != tt.ends || p.String() != "x" || count.Load() != 1 {
			t.Errorf("%v, %v: %d ends, %v, %q", tt.read, tt.closing, p.ends, why, &p.Buffer)
		}
		tunnel.stop(TunnelDrained) // too late
		if want := int(tt.why - TunnelClosed); stopped != want {
			t.Errorf("%v, %v: stopped %d times", tt.read, tt.closing, stopped)
		}
	}
}

// pieces gives its pieces, each to one or more reads, and tells how large the
// buffers are that wait for the first byte of one.
type pieces struct {
	list [][]byte
	left []byte
	idle int // the largest
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		p.idle = max(p.idle, len(b))
		if len(p.list) == 0 {
			return 0, io.EOF
		}
		p.left, p.list = p.list[0], p.list[1:]
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// What comes goes out, whatever its sizes, and who waits holds a small buffer.
func TestTunnelBuffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []byte
	src := new(pieces)
	for range 200 {
		piece := make([]byte, 1+rng.IntN(1<<rng.IntN(18)))
		// A piece that just fills a buffer looks as if it went on.
		if len(piece)%restBuffer == 0 {
			piece = piece[1:]
		}
		for i := range piece {
			piece[i] = byte(rng.Uint32())
		}
		src.list, all = append(src.list, piece), append(all, piece...)
	}
	ts := newTunnels(1, time.Minute, time.Second)
	tunnel := ts.begin(func() {})
	defer ts.end(tunnel)
	pool := sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}
	var out bytes.Buffer
	var count atomic.Uint64
	moved, err := tunnel.copy(&out, src, &count, &pool)
	if !errors.Is(err, io.EOF) || !bytes.Equal(out.Bytes(), all) || moved != int64(len(all)) || count.Load() != uint64(len(all)) {
		t.Errorf("%v after %d of %d bytes", err, out.Len(), len(all))
	}
	if src.idle > restBuffer {
		t.Errorf("waits with a buffer of %d bytes", src.idle)
	}
}

// Tunnels that are open when the instance stops have the grace, or until the
// context ends; others have no place any more.
func TestTunnelsClose(t *testing.T) {
	for name, tt := range map[string]struct {
		drained, patience time.Duration // before close, and of its context
		ends              time.Duration // by themselves, after the beginning of close
		lasted            time.Duration // from then, too
		why               TunnelEnd
	}{
		"grace":              {0, time.Hour, time.Hour, 10 * time.Second, TunnelDrained},
		"grace begun before": {4 * time.Second, time.Hour, time.Hour, 6 * time.Second, TunnelDrained},
		"grace over before":  {20 * time.Second, time.Hour, time.Hour, 0, TunnelDrained},
		"no patience":        {0, 3 * time.Second, time.Hour, 3 * time.Second, TunnelDrained},
		"by themselves":      {0, time.Hour, 2 * time.Second, 2 * time.Second, TunnelClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ts := newTunnels(2, time.Hour, 10*time.Second)
				for i := range 3 {
					if ts.reserve() != (i < 2) {
						t.Fatal("the limit is not 2")
					}
				}
				ts.release() // the other one was not switched
				stopped := make(chan struct{})
				tunnel := ts.begin(sync.OnceFunc(func() { close(stopped) }))
				if tt.drained > 0 {
					ts.drain()
					time.Sleep(tt.drained)
				}
				go func() {
					select {
					case <-stopped:
					case <-time.After(tt.ends):
					}
					if why := ts.end(tunnel); why != tt.why {
						t.Errorf("ended for %v", why)
					}
					ts.release()
				}()
				ctx, cancel := context.WithTimeout(t.Context(), tt.patience)
				defer cancel()
				began := time.Now()
				ts.close(ctx)
				if d := time.Since(began); d != tt.lasted {
					t.Errorf("close took %s", d)
				}
				st := ts.stats()
				if st.Open != 0 || st.Total != 1 || st.Refused != 1 || st.Ended[tt.why] != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// What is switched when the grace is over ends at once.
func TestLateTunnel(t *testing.T) {
	ts := newTunnels(2, time.Hour, time.Hour)
	if !ts.reserve() {
		t.Fatal("no place")
	}
	ts.cut()
	if ts.reserve() {
		t.Error("a place after the end")
	}
	stopped := false
	tunnel := ts.begin(func() { stopped = true })
	if why := ts.end(tunnel); !stopped || why != TunnelDrained {
		t.Errorf("stopped is %v, %v", stopped, why)
	}
	ts.release()
	ts.close(t.Context())
}
