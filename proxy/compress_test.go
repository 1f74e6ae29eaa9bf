package proxy

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

func fieldLines(t testing.TB, s string) wire.Fields {
	t.Helper()
	f, err := wire.ParseFields(nil, strings.ReplaceAll(s, "|", "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEligible(t *testing.T) {
	z := &Compression{Types: []string{"text/*", "application/json", "*/*+json", "Image/SVG*"}, MinSize: 100}
	for _, c := range []struct {
		fields string
		status int
		size   int64
		want   bool
	}{
		{"Content-Type: text/html", 200, 100, true},
		{"Content-Type: text/html", 200, 99, false},
		{"Content-Type: text/html; charset=utf-8", 200, 100, true},
		{"content-type: TEXT/HTML ;charset=utf-8", 200, 100, true},
		{"Content-Type: application/json", 200, 100, true},
		{"Content-Type: application/jsonp", 200, 100, false},
		{"Content-Type: application/problem+json", 200, 100, true},
		{"Content-Type: image/svg+xml", 200, 100, true},
		{"Content-Type: image/png", 200, 100, false},
		{"Content-Type: image/png; a=text/html", 200, 100, false},
		{"Content-Type: ", 200, 100, false},
		{"X: y", 200, 100, false},
		{"Content-Type: text/html|Content-Type: text/html", 200, 100, false},
		// The status and the part: only what is a whole representation.
		{"Content-Type: text/html", 203, 100, true},
		{"Content-Type: text/html", 299, 100, true},
		{"Content-Type: text/html", 206, 100, false},
		{"Content-Type: text/html", 404, 100, false},
		{"Content-Type: text/html", 301, 100, false},
		{"Content-Type: text/html|Content-Range: bytes 0-99/200", 200, 100, false},
		// RFC 9110, sections 7.7 and 8.4.
		{"Content-Type: text/html|Content-Encoding: br", 200, 100, false},
		{"Content-Type: text/html|Content-Encoding: identity", 200, 100, false},
		{"Content-Type: text/html|Cache-Control: max-age=1, No-Transform", 200, 100, false},
		{"Content-Type: text/html|Cache-Control: max-age=1|Cache-Control: no-transform", 200, 100, false},
		{"Content-Type: text/html|Cache-Control: max-age=1", 200, 100, true},
	} {
		m := cache.Meta{Status: c.status, Fields: fieldLines(t, c.fields)}
		if got := z.eligible(m, c.size); got != c.want {
			t.Errorf("%d with %q of %d bytes: %v", c.status, c.fields, c.size, got)
		}
	}
	m := cache.Meta{Status: 200, Fields: fieldLines(t, "Content-Type: text/html")}
	if (*Compression)(nil).eligible(m, 1000) {
		t.Error("eligible without compression")
	}
	if (&Compression{Types: []string{"*"}}).eligible(m, 0) {
		t.Error("an empty body is eligible")
	}
}

func TestCodedFields(t *testing.T) {
	const all = `Date: x|ETag: "a"|Accept-Ranges: bytes|Content-MD5: x|Digest: x|content-digest: x|Repr-Digest: x|Unencoded-Digest: x|X: 1|Vary: Foo|X: 2`
	for _, c := range []struct {
		fields string
		coding cache.Coding
		want   string
	}{
		{all, cache.Gzip, `Date: x|ETag: W/"a"|Unencoded-Digest: x|X: 1|Vary: Foo|X: 2|Content-Encoding: gzip|Vary: Accept-Encoding`},
		{all, cache.Identity, all + `|Vary: Accept-Encoding`},
		{`ETag: W/"a"|vary: Foo, ACCEPT-encoding`, cache.Zstd, `ETag: W/"a"|vary: Foo, ACCEPT-encoding|Content-Encoding: zstd`},
		{`ETag: ""|Vary: Accept-Encodings`, cache.Brotli, `ETag: W/""|Vary: Accept-Encodings|Content-Encoding: br|Vary: Accept-Encoding`},
		{`ETag: a`, cache.Gzip, `ETag: a|Content-Encoding: gzip|Vary: Accept-Encoding`}, // no entity tag
		{`Vary: Accept-Encoding`, cache.Identity, `Vary: Accept-Encoding`},
	} {
		fields := fieldLines(t, c.fields)
		before := slices.Clone(fields)
		if got := codedFields(fields, c.coding); !slices.Equal(got, fieldLines(t, c.want)) {
			t.Errorf("%v of %q:\n%v", c.coding, c.fields, got)
		}
		if !slices.Equal(fields, before) {
			t.Errorf("%v changed %q", c.coding, c.fields)
		}
	}
}

func TestEncode(t *testing.T) {
	page := bytes.Repeat([]byte("<li class=\"item\"><a href=\"/\">One of many</a></li>\n"), 400)
	noise := make([]byte, 20000)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	decode := map[cache.Coding]func(dst, src []byte) ([]byte, error){
		cache.Gzip: fasthttp.AppendGunzipBytes, cache.Brotli: fasthttp.AppendUnbrotliBytes, cache.Zstd: fasthttp.AppendUnzstdBytes,
	}
	var n encoder
	encode := func(c cache.Coding, body []byte) []byte {
		t.Helper()
		coded, err := n.encode(c, body)
		if err != nil {
			t.Error(err)
		}
		return coded
	}
	for coding, decode := range decode {
		coded := encode(coding, page)
		if body, err := decode(nil, coded); err != nil || !bytes.Equal(body, page) {
			t.Errorf("%v does not give the body back: %v", coding, err)
		}
		if len(coded) > len(page)/10 || cap(coded) > len(coded)+len(coded)/4+64 {
			t.Errorf("%v: %d bytes in %d of memory for %d", coding, len(coded), cap(coded), len(page))
		}
		// A twentieth that can be compressed, before what cannot, is too little.
		for _, body := range [][]byte{noise, slices.Concat(page[:1000], noise), nil, []byte("a")} {
			if got := encode(coding, body); got != nil {
				t.Errorf("%v kept: %d bytes for %d", coding, len(got), len(body))
			}
		}
		if encode(coding, slices.Concat(page[:3000], noise)) == nil {
			t.Errorf("%v not kept where it saves a tenth", coding)
		}
	}
	if encode(cache.Identity, page) != nil {
		t.Error("identity is a coding")
	}
}

func BenchmarkEncode(b *testing.B) {
	page := bytes.Repeat([]byte("<li class=\"item\"><a href=\"/\">One of many</a></li>\n"), 2000)
	for _, c := range []cache.Coding{cache.Gzip, cache.Brotli, cache.Zstd} {
		b.Run(c.String(), func(b *testing.B) {
			var n encoder
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				if _, err := n.encode(c, page); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A fill does not wait for an encoder forever, and does without.
func TestEncoderIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, began := &Handler{encoders: make(chan *encoder, 1)}, time.Now()
		body, err := h.compress(cache.Gzip, make([]byte, 1000))
		if body != nil || err != nil || time.Since(began) != encoderWait {
			t.Errorf("%d bytes, %v after %v", len(body), err, time.Since(began))
		}
		h.encoders <- new(encoder)
		for range 2 { // it is given back
			if body, err := h.compress(cache.Gzip, make([]byte, 1000)); body == nil || err != nil {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		}
	})
}
