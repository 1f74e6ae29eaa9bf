package proxy

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
	"ringfence/proxy/edge"
)

// Whatever Hit answers, Serve would have said the same, and counted it alike; and
// what is for Serve alone Hit leaves to it.
func TestHitSaysWhatServeDoes(t *testing.T) {
	body := strings.Repeat("0123456789", 50)
	s := newSite(t, func(r origin.Request) origin.Answer {
		switch r.Path() {
		case "/empty":
			return origin.Answer{Status: 204}.With("Cache-Control", "max-age=600")
		case "/gone":
			return origin.Answer{Status: 410, Body: []byte("gone")}.With("Cache-Control", "max-age=600")
		case "/sts":
			return origin.Text("max-age=600", "x").With("Strict-Transport-Security", "max-age=1")
		case "/stale":
			return origin.Text("max-age=0, stale-while-revalidate=600", "x")
		case "/large":
			return origin.Answer{Size: largeBody + 1}.With("Cache-Control", "max-age=600")
		}
		return origin.Text("max-age=600", body).With("ETag", `"1"`).With("Vary", "Accept-Language").With("Content-Type", "text/css").With("X-Empty", "")
	}, func(o *Options) {
		o.Routes[0].Compression = &Compression{Codings: []cache.Coding{cache.Gzip}, Types: []string{"text/css"}}
	})
	var fast atomic.Int64
	by := func(hit func(*edge.Conn) bool, hsts string) *site {
		f := testFront(s.h)
		f.hit, f.site.HSTS = hit, hsts
		return &site{t: t, h: s.h, o: s.o, addr: serveOn(t, f)}
	}
	noted := func(c *edge.Conn) bool {
		ok := s.h.Hit(c)
		if ok {
			fast.Add(1)
		}
		return ok
	}
	quick, slow := map[string]*site{}, map[string]*site{}
	for _, hsts := range []string{"", "max-age=5"} {
		quick[hsts], slow[hsts] = by(noted, hsts), by(nil, hsts)
	}
	for _, tt := range []struct {
		line, fields string
		hsts         string
		fast         bool
	}{
		{"GET / HTTP/1.1", "", "", true},
		{"GET / HTTP/1.1", "Accept-Encoding: gzip\r\n", "", true},
		{"HEAD / HTTP/1.1", "", "", true},
		{"HEAD / HTTP/1.1", "Accept-Encoding: gzip\r\n", "", true},
		{"GET / HTTP/1.1", "Connection: close\r\n", "", true},
		{"GET / HTTP/1.1", "If-None-Match: \"1\"\r\n", "", true},
		{"GET / HTTP/1.1", "If-None-Match: \"2\"\r\n", "", true},
		{"HEAD / HTTP/1.1", "If-None-Match: \"1\"\r\n", "", true},
		{"GET / HTTP/1.1", "Range: bytes=10-19\r\n", "", true},
		{"GET / HTTP/1.1", "Range: bytes=-7\r\n", "", true},
		{"GET / HTTP/1.1", "Range: bytes=0-\r\n", "max-age=5", true},
		{"HEAD / HTTP/1.1", "Range: bytes=10-19\r\n", "", true},
		{"GET / HTTP/1.1", "Range: bytes=90000-\r\n", "", false},
		{"GET / HTTP/1.1", "", "max-age=5", true},
		{"GET /sts HTTP/1.1", "", "", true},
		{"GET /sts HTTP/1.1", "", "max-age=5", false},
		{"GET /empty HTTP/1.1", "", "", true},
		{"GET /gone HTTP/1.1", "", "", true},
		{"GET /gone HTTP/1.1", "If-None-Match: \"1\"\r\n", "", true},
		{"GET /large HTTP/1.1", "", "", false},
		{"GET / HTTP/1.0", "", "", false},
		{"GET / HTTP/1.0", "Connection: keep-alive\r\n", "", false},
		{"GET /stale HTTP/1.1", "", "", false},
		{"GET / HTTP/1.1", "Cache-Control: no-cache\r\n", "", false},
		{"POST / HTTP/1.1", "Content-Length: 0\r\n", "", false},
		{"GET / HTTP/1.1", "Content-Length: 1\r\n\r\nx", "", false},
		{"GET / HTTP/1.1", "Accept-Language: x\r\n", "", true},
	} {
		t.Run(tt.line+" "+tt.fields+tt.hsts, func(t *testing.T) {
			method, _, _ := strings.Cut(tt.line, " ")
			text := tt.line + "\r\nHost: x\r\n" + tt.fields
			if !strings.Contains(text, "\r\n\r\n") {
				text += "\r\n"
			}
			ask := func(s *site) string {
				r := s.roundTrip(method, text)
				waitFor(t, "the request to end", func() bool { v := s.h.View(); return v.Requests.InFlight == 0 && v.Flights.Flights == 0 })
				if !tt.fast {
					r.header.Del("Date") // perhaps another second's
				}
				return moving.ReplaceAllString(fmt.Sprint(r, r.length, r.closed), "$1")
			}
			quick, slow := quick[tt.hsts], slow[tt.hsts]
			ask(slow) // so that it is stored
			before := s.h.View().Requests
			want := ask(slow)
			between := s.h.View().Requests
			fast.Store(0)
			got := ask(quick)
			after := s.h.View().Requests
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if is := fast.Load() == 1; is != tt.fast {
				t.Errorf("answered by Hit: %v", is)
			}
			if a, b := counted(before, between), counted(between, after); a != b {
				t.Errorf("counted %s, and by Serve %s", b, a)
			}
		})
	}
}

// counted is what was counted between two moments.
func counted(a, b Stats) string {
	var text strings.Builder
	for name := range b.Routes {
		for o := range b.Routes[name] {
			if n := b.Routes[name][o] - a.Routes[name][o]; n > 0 {
				fmt.Fprintf(&text, "%s %v %d, %d bytes, ", name, Outcome(o), n, b.Bytes[o]-a.Bytes[o])
			}
		}
	}
	for class := range b.Status {
		if n := b.Status[class] - a.Status[class]; n > 0 {
			fmt.Fprintf(&text, "%d %dxx, ", n, class)
		}
	}
	return text.String() + fmt.Sprint(b.InFlight)
}

var moving = regexp.MustCompile(`(ttl=|Age:\[|boundary=|--)-?[\w-]+`)
