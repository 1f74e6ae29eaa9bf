package main_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"ringfence/loadtest/origin"
)

// asking opens a connection for each request and sends them.
func (p *process) asking(n int, head func(i int) []string) []conn {
	p.t.Helper()
	cs := make([]conn, n)
	for i := range cs {
		cs[i] = p.dial()
		cs[i].send(head(i)...)
	}
	return cs
}

// floods is how many variants are a flood: a hundred times what may be stored,
// and as many as the tests' own build carries in a few seconds.
func floods() int {
	if raceOn {
		return 2_500
	}
	return 10_000
}

// A flood of variants of one URL stays within the bounds of the cache, and takes
// nobody else's place.
func TestFloodOfVariants(t *testing.T) {
	t.Parallel()
	const others, clients, size, bound = 50, 8, 4 << 10, 16
	variants := floods()
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=600", strings.Repeat("x", size))
		if r.Target == "/flood" {
			a = a.With("Vary", "X-V")
		}
		return a
	})
	p := startProxy(t, setup{top: fmt.Sprintf("cache: {memory: 8MiB, max_variants: %d}", bound), origins: []*origin.Origin{o}}).keepingAlive()
	other := func(i int) string { return "/other/" + strconv.Itoa(i) }
	variant := func(i int) string { return "X-V: " + strconv.Itoa(i) }
	for i := range others {
		p.get(other(i)).must(t, 200)
	}
	p.settle()
	before := p.status()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; i < variants; i += clients {
				if r := p.get("/flood", variant(i)); r.err != nil || r.status != 200 || len(r.body) != size {
					t.Errorf("variant %d: %s", i, r)
					return
				}
			}
		})
	}
	wg.Wait()
	p.settle()
	s := p.status()
	if kept := s.Memory.Entries - before.Memory.Entries; kept < 1 || kept > 2*bound || s.Memory.Bytes > s.Memory.MaxBytes {
		t.Errorf("%d variants are stored, and %d of %d bytes", kept, s.Memory.Bytes, s.Memory.MaxBytes)
	}
	if more := s.Index.Entries - before.Index.Entries; more > bound {
		t.Errorf("%d entries more in the index", more)
	}
	for i := range others {
		if r := p.get(other(i)).must(t, 200); !r.is("hit") {
			t.Errorf("%s: %s", other(i), r)
		}
	}
	p.get("/flood", variant(variants)).must(t, 200)
	p.settle()
	if last := p.get("/flood", variant(variants)).must(t, 200); !last.is("hit") {
		t.Errorf("the last variant: %s", last)
	}
}

// inParts answers a request for one range as asked, else with all.
func inParts(all []byte, framing origin.Framing) origin.Script {
	return func(r origin.Request) origin.Answer {
		a := origin.Answer{Body: all, Framing: framing}
		var from, to int
		if n, _ := fmt.Sscanf(r.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 {
			a = coded(206, fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, to, len(all)))
			a.Body = all[from : to+1]
		}
		return a.With("Cache-Control", "max-age=60").With("ETag", `"v"`)
	}
}

// 200 clients ask for different ranges of what is not stored. Where it is
// small enough they are answered from one fetch of the whole; else each range
// is fetched, and the whole is not, over and over.
func TestStormOfRanges(t *testing.T) {
	t.Parallel()
	const n, length = 200, 1000
	for name, tt := range map[string]struct {
		size    int64
		framing origin.Framing
		wholes  int // fetches of the whole, at most
		parts   int // of parts, at most
	}{
		"a small one":          {900 << 10, origin.Length, 1, 0},
		"a small one, chunked": {900 << 10, origin.Chunked, 1, 0},
		"a large one":          {3 << 20, origin.Length, 3, n},
		"a large one, chunked": {3 << 20, origin.Chunked, 3, n},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, _ := io.ReadAll(origin.Content("/whole", tt.size)) // it cannot fail
			p, o := behind(t, inParts(all, tt.framing))
			step := tt.size / n
			for i, r := range replies(p.asking(n, func(i int) []string {
				from := int64(i) * step
				return []string{"GET /whole HTTP/1.1", "Host: x", fmt.Sprintf("Range: bytes=%d-%d", from, from+length-1)}
			})) {
				from := int64(i) * step
				where := fmt.Sprintf("bytes %d-%d/%d", from, from+length-1, tt.size)
				if r.must(t, 206); r.body != string(all[from:from+length]) || r.header.Get("Content-Range") != where {
					t.Fatalf("%s: %d bytes of %q", where, len(r.body), r.header.Get("Content-Range"))
				}
			}
			wholes, parts := 0, 0
			for _, r := range o.Record().Requests {
				if r.Get("Range") == "" {
					wholes++
				} else {
					parts++
				}
			}
			if wholes > tt.wholes || parts > tt.parts {
				t.Errorf("%d requests for the whole and %d for parts reached the origin", wholes, parts)
			}
		})
	}
}

// 300 clients with other wishes for the coding of one cold key are one request
// for the origin. From then on each has the coding it likes best, and what it
// may do with an answer holds for each coding.
func TestCodingsOfAColdKey(t *testing.T) {
	t.Parallel()
	const n = 300
	text := strings.Repeat("A line of text that takes less when it is repeated.\n", 400)
	hold := make(chan struct{})
	o := newOrigin(t, "one", func(origin.Request) origin.Answer {
		a := filled(ok200("Cache-Control: max-age=60", "Content-Type: text/plain", `ETag: "v"`), text)
		a.Hold = hold
		return a
	})
	p := startProxy(t, setup{route: "compress: {min_size: 100B}", origins: []*origin.Origin{o}})
	wishes := map[string]string{ // the coding of each
		"": "", "gzip": "gzip", "br": "br", "zstd": "zstd", "gzip, br": "br", "br;q=0.5, gzip": "gzip", "*": "zstd", "identity": "",
	}
	var fields []string
	for wish := range wishes {
		fields = append(fields, "Accept-Encoding: "+wish)
	}
	cs := p.asking(n, func(i int) []string { return []string{"GET /text HTTP/1.1", "Host: " + p.addr, fields[i%len(fields)]} })
	p.inFlight(n)
	close(hold)
	for _, r := range replies(cs) {
		decodes(text)(t, r.must(t, 200))
	}
	p.settle()
	for wish, coding := range wishes {
		field := "Accept-Encoding: " + wish
		r := p.get("/text", field).must(t, 200)
		if decodes(text)(t, r); !r.is("hit") || r.header.Get("Content-Encoding") != coding {
			t.Errorf("for %q: %s", wish, r)
		}
		head := p.do("HEAD", "/text", "", field).must(t, 200)
		for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Vary"} {
			if head.header.Get(name) != r.header.Get(name) {
				t.Errorf("for %q, HEAD says %s: %q, GET %q", wish, name, head.header.Get(name), r.header.Get(name))
			}
		}
		if length := head.header.Get("Content-Length"); length != strconv.Itoa(len(r.body)) {
			t.Errorf("for %q, HEAD says %s bytes of %d", wish, length, len(r.body))
		}
		for _, tag := range []string{r.header.Get("ETag"), `W/"v"`, `"v"`} {
			if not := p.get("/text", field, "If-None-Match: "+tag); not.err != nil || not.status != 304 || not.header.Get("ETag") != r.header.Get("ETag") {
				t.Errorf("for %q, If-None-Match %s: %s", wish, tag, not)
			}
		}
	}
	if asked := o.Count("/text").Total; asked != 1 {
		t.Errorf("the origin was asked %d times", asked)
	}
}

// An interim answer goes to the client whose request it answers. Those who
// wait for the same key have the final one.
func TestEarlyHintsAreTheLeaders(t *testing.T) {
	t.Parallel()
	const n = 50
	await, hold := make(chan struct{}), make(chan struct{})
	a := origin.Text("max-age=60", "final")
	a.Interim, a.Await, a.Hold = []string{"HTTP/1.1 103 Early Hints\r\nLink: </s>; rel=preload"}, await, hold
	p, o := behind(t, always(a))
	leader := p.crowd(1)[0]
	reaches(t, o, func(r origin.Record) bool { return r.Total == 1 })
	followers := p.crowd(n)
	p.inFlight(n + 1)
	close(await)
	if early := leader.response("GET"); early.StatusCode != 103 || early.Header.Get("Link") != "</s>; rel=preload" {
		t.Errorf("the first of the two has first %d %v", early.StatusCode, early.Header)
	}
	close(hold)
	for i, c := range append(followers, leader) {
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r := whole(resp).must(t, 200); r.body != "final" {
			t.Errorf("client %d: %s", i, r)
		}
	}
	if asked := o.Count("/cold").Total; asked != 1 {
		t.Errorf("the origin was asked %d times", asked)
	}
}
