//go:build !race

// The race detector makes pools forget on purpose, so allocations are counted
// without it; make test does both.

package proxy

import (
	"runtime"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
)

// TestHitDoesNotAllocate: the hot path costs no garbage, in none of its shapes.
func TestHitDoesNotAllocate(t *testing.T) {
	for _, x := range hits() {
		t.Run(x.name, func(t *testing.T) {
			s := x.server(t, 1<<10)
			const n = 2000
			perConn := testing.AllocsPerRun(5, func() { serveRequests(t, s, x.request(), 1) })
			many := testing.AllocsPerRun(5, func() { serveRequests(t, s, x.request(), n) })
			if perHit := (many - perConn) / (n - 1); perHit > 0.05 {
				t.Errorf("a hit allocates %.2f times", perHit)
			}
		})
	}
}

// TestCost: what an entry is counted with is what the heap grows by, so that
// the bound on the store bounds memory.
func TestCost(t *testing.T) {
	z := &Compression{Codings: []cache.Coding{cache.Zstd, cache.Brotli, cache.Gzip}, Types: []string{"text/*"}}
	for _, tt := range []struct {
		name, fields string
		lines        int // more of the answer's
		size         int
		compression  *Compression
	}{
		{"empty", "ETag: 1", 0, 0, nil},
		{"plain", "ETag: 1", 0, 4 << 10, nil},
		{"many lines", "ETag: 1", 40, 100, nil},
		{"varied", "Vary: Accept-Encoding, Accept-Language, User-Agent, Cookie", 0, 100, nil},
		{"tagged", `Cache-Groups: "group one", "group two", "group three", "group four"`, 0, 100, nil},
		{"coded", "Content-Type: text/html", 0, 1 << 10, z},
		{"many lines, coded", "Content-Type: text/html", 40, 1 << 10, z},
	} {
		// What one handler holds is let go at the end of the test, not while the
		// next is looked at.
		const warm, n = 200, 1000
		name, value, _ := strings.Cut(tt.fields, ": ")
		addr := serveOn(t, &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("Cache-Control", "max-age=3600")
			ctx.Response.Header.Set(name, value)
			for i := range tt.lines {
				ctx.Response.Header.Add("X-Line", strings.Repeat("x", 10+i%20))
			}
			ctx.SetBody(make([]byte, tt.size))
		}})
		h := newHandlerFor(t, addr, func(o *Options) {
			o.IndexEntries, o.MaxFills, o.Routes[0].Compression = 1<<16, warm+n, tt.compression
		})
		c := &missConn{loopConn{request: []byte(missRequest)}}
		heap, cost := storeMore(t, h, c, warm)
		grown, counted := storeMore(t, h, c, n)
		grown, counted = grown-heap, counted-cost
		t.Logf("%s: %d bytes each, counted as %d", tt.name, grown/n, counted/n)
		if counted < grown*85/100 || counted > grown*115/100 {
			t.Errorf("%s: %d bytes are counted as %d", tt.name, grown/n, counted/n)
		}
	}
}

// storeMore stores n more answers, and returns what the heap takes then and what
// the store counts.
func storeMore(t *testing.T, h *Handler, c *missConn, n int) (heap, counted int64) {
	t.Helper()
	want := h.View().Requests.Stored + uint64(n)
	c.left = n
	if err := testFront(h).ServeConn(c); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the answers to be stored", func() bool { return h.View().Requests.Stored == want })
	for range 3 { // pools keep what they hold for two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), h.View().Memory.Bytes
}
