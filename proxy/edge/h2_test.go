package edge

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"ringfence/proxy/wire"
)

// connectH2 is connect for a listener that lets clients speak HTTP/2.
func connectH2(t *testing.T, l Limits, handle fasthttp.RequestHandler) *peer {
	t.Helper()
	near, far := net.Pipe()
	d := NewDoor(Capacity{})
	c := NewListener(nil, d, nil, ListenerOptions{Limits: l, H2C: true}).Wrap(far)
	d.enter(c)
	p := &peer{Conn: near, t: t, br: bufio.NewReader(near), door: d, served: make(chan error, 1)}
	s := NewServer(handle, quiet{})
	s.NextProto("h2", NewH2(handle, H2Options{Limits: l, MaxStreams: 10, Log: log.New(io.Discard, "", 0)}).Serve)
	go func() { p.served <- s.ServeConn(c) }()
	t.Cleanup(func() {
		_ = near.Close()
		<-p.served
		if st := d.Stats(); st.Open+st.H2Open != 0 {
			t.Errorf("connections are left: %+v", st)
		}
	})
	return p
}

// open begins a connection of HTTP/2, and opens stream 1 with these fields.
func open(fields ...string) string {
	var b, text bytes.Buffer
	b.WriteString(h2Preface)
	fr, enc := http2.NewFramer(&b, nil), hpack.NewEncoder(&text)
	_ = fr.WriteSettings()
	_ = fr.WriteSettingsAck()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		_ = enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	if len(fields) > 0 {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: fields[0] != ":method=POST", EndHeaders: true, BlockFragment: text.Bytes()})
	}
	return b.String()
}

// frames reads what the server sends, up to its end or that of stream 1.
func (p *peer) frames() string {
	fr := http2.NewFramer(io.Discard, p.Conn)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var seen []string
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return strings.Join(append(seen, "closed"), ", ")
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			seen = append(seen, f.PseudoValue("status"))
			for _, field := range f.RegularFields() {
				if field.Name == "link" {
					seen = append(seen, field.Value)
				}
			}
		case *http2.DataFrame:
			seen = append(seen, string(f.Data()))
		case *http2.RSTStreamFrame:
			seen = append(seen, f.ErrCode.String())
		case *http2.GoAwayFrame:
			seen = append(seen, "GOAWAY "+f.ErrCode.String())
		}
		if h := f.Header(); h.StreamID == 1 && (h.Flags.Has(http2.FlagDataEndStream) || h.Type == http2.FrameRSTStream) {
			return strings.Join(seen, ", ")
		}
	}
}

// What a client begins with decides what it is spoken to, in whatever pieces it
// comes, and none of it is lost.
func TestH2CBegins(t *testing.T) {
	get := []string{":method=GET", ":scheme=http", ":path=/a", ":authority=x"}
	for _, n := range []int{1, 2, 13, 24, 25, 1 << 10} {
		p := connectH2(t, limits(), echo)
		go p.sent(open(get...), n)
		if got := p.frames(); got != `200, GET /a "" <nil>` {
			t.Errorf("HTTP/2 in pieces of %d: %s", n, got)
		}
		for text, want := range map[string]string{
			"GET /a" + host + "\r\n":                          `200 GET /a "" <nil>`,
			"PUT /body" + host + "Content-Length: 1\r\n\r\nx": `200 PUT /body "x" <nil>`,
			"PRI /a" + host + "\r\n":                          `200 PRI /a "" <nil>`,
			"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n":                "505 ",
			"\r\nGET /a" + host + "\r\n":                      `200 GET /a "" <nil>`,
		} {
			p := connectH2(t, limits(), echo)
			go p.sent(text, n)
			if got := p.answer("GET"); !strings.HasPrefix(got, want) {
				t.Errorf("%q in pieces of %d: %s, want %s", text, n, got, want)
			}
		}
	}
}

// Each silence of a client ends after its time.
func TestH2Silence(t *testing.T) {
	post := open(":method=POST", ":scheme=http", ":path=/body", ":authority=x")
	for _, tt := range []struct {
		name, text string
		after      time.Duration
		want       string
	}{
		{"nothing", "", time.Minute, "closed"},
		{"half a preface", h2Preface[:9], 10 * time.Second, "closed"},
		{"a preface", h2Preface, 2 * time.Second, "closed"},
		{"no request", open(), time.Minute + time.Second, "GOAWAY NO_ERROR, closed"},
		{"no body", post, 5 * time.Second, fmt.Sprintf("200, POST /body \"\" %v", ErrBodyTimeout)},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := connectH2(t, limits(), echo)
			began := time.Now()
			go p.sent(tt.text, len(tt.text))
			got := p.frames()
			if took := time.Since(began); got != tt.want || took != tt.after {
				t.Errorf("%s: %s after %v, want %s after %v", tt.name, got, took, tt.want, tt.after)
			}
		})
	}
}

// The whole of a request has its time, too.
func TestH2RequestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits()
		l.Request = time.Minute
		p := connectH2(t, l, func(ctx *fasthttp.RequestCtx) {
			<-time.After(2 * time.Minute)
			ctx.SetBodyString("late")
		})
		go p.sent(open(":method=GET", ":scheme=http", ":path=/", ":authority=x"), 1<<10)
		if got := p.frames(); got != "INTERNAL_ERROR" {
			t.Error(got)
		}
	})
}

// An interim response for a client that reads nothing does not hold up who brings
// it, and the answer comes once the client reads.
func TestH2LateInterim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		var errs []error
		p := connectH2(t, limits(), func(ctx *fasthttp.RequestCtx) {
			c, began := ctx.Conn().(Client), time.Now()
			for range 2 {
				errs = append(errs, c.Interim(103, wire.Fields{{Name: "Link", Value: "</a>"}}))
			}
			took = time.Since(began)
			ctx.SetBodyString("answer")
		})
		p.sent(open(":method=GET", ":scheme=http", ":path=/", ":authority=x"), 1<<10)
		time.Sleep(3 * time.Second)
		if got := p.frames(); got != "103, </a>, 200, answer" {
			t.Error(got)
		}
		if took != interimTimeout || errs[0] == nil || errs[1] == nil {
			t.Errorf("it took %v: %v", took, errs)
		}
	})
}

// A stream's context ends with it, and its body can be closed at any time.
func TestH2StreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body *Body
		var ctx context.Context
		p := connectH2(t, limits(), func(rc *fasthttp.RequestCtx) {
			c := rc.Conn().(Client)
			body, ctx = c.Request().Body, c.Context()
			go func() {
				<-time.After(time.Second)
				_ = body.Close()
			}()
			_, err := io.ReadAll(body)
			rc.SetBodyString(err.Error())
		})
		go p.sent(open(":method=POST", ":scheme=http", ":path=/", ":authority=x"), 1<<10)
		if got := p.frames(); got != "200, "+ErrBodyTimeout.Error() {
			t.Error(got)
		}
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("the context goes on")
		}
	})
}

// A client that is slow is not one that takes nothing.
func TestH2SlowClient(t *testing.T) {
	const size, step = 240 << 10, 32 << 10
	synctest.Test(t, func(t *testing.T) {
		p := connectH2(t, limits(), func(ctx *fasthttp.RequestCtx) { ctx.Response.SetBodyRaw(make([]byte, size)) })
		var client sync.WaitGroup
		defer client.Wait()
		client.Go(func() {
			p.sent(open(":method=GET", ":scheme=http", ":path=/", ":authority=x"), 1<<10)
			fr := http2.NewFramer(p.Conn, nil)
			for range size / step {
				<-time.After(2 * time.Second) // of the five that it has for each write
				_ = fr.WriteWindowUpdate(0, step)
				_ = fr.WriteWindowUpdate(1, step)
			}
		})
		began := time.Now()
		if got := p.frames(); len(got) < size || strings.HasSuffix(got, "ERROR") || time.Since(began) < 10*time.Second {
			t.Errorf("%d bytes in %v, %s", len(got), time.Since(began), strings.Trim(got, "\x00"))
		}
	})
}

// A body that ends before its announced length does not look complete.
func TestH2ShortBody(t *testing.T) {
	for length, want := range map[int]string{4: "200, body", 5: "200, body, INTERNAL_ERROR", -1: "200, body"} {
		p := connectH2(t, limits(), func(ctx *fasthttp.RequestCtx) {
			ctx.Response.SetBodyStream(strings.NewReader("body"), length)
		})
		go p.sent(open(":method=GET", ":scheme=http", ":path=/", ":authority=x"), 1<<10)
		if got := strings.TrimSuffix(p.frames(), ", "); got != want {
			t.Errorf("%d bytes announced: %s, want %s", length, got, want)
		}
	}
}
