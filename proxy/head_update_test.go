package proxy

import (
	"fmt"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
)

// compressed has the only route compress text.
func compressed(o *Options) {
	o.Routes[0].Compression = &Compression{Codings: []cache.Coding{cache.Zstd, cache.Gzip}, Types: []string{"text/*"}, MinSize: 10}
}

// RFC 9111, section 4.3.5: what the answer to a HEAD leaves of the stored GET.
func TestHeadUpdates(t *testing.T) {
	page := strings.Repeat("page ", 100)
	for name, tt := range map[string]struct {
		answer []string // fields of the answer to HEAD
		fields []string // of the HEAD
		hit    bool
		has    string // a field line of the hit
	}{
		"confirms":                 {[]string{`ETag: "1"`, "Cache-Control: max-age=600"}, nil, true, "Cache-Control: max-age=600"},
		"another Vary line":        {[]string{`ETag: "1"`, "Cache-Control: max-age=60", "Vary: X-V"}, nil, true, "Vary: X-V,Accept-Encoding"},
		"contradicts":              {[]string{`ETag: "2"`, "Cache-Control: max-age=60"}, nil, false, ""},
		"contradicts, credentials": {[]string{`ETag: "2"`, "Cache-Control: max-age=60"}, []string{"Cookie: a=1"}, true, ""},
		"personal":                 {[]string{`ETag: "1"`, "Cache-Control: private"}, []string{"Cookie: a=1"}, true, ""},
		"in a coding":              {[]string{`ETag: "1-gzip"`, "Content-Encoding: gzip", "Vary: Accept-Encoding"}, []string{"Accept-Encoding: gzip"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(r origin.Request) origin.Answer {
				a := origin.Answer{Body: []byte(page)}.With("Content-Type", "text/html")
				lines := []string{"Cache-Control: max-age=60", `ETag: "1"`, "Vary: X-V"}
				if r.Method == "HEAD" {
					lines = tt.answer
				}
				for _, line := range lines {
					name, value, _ := strings.Cut(line, ": ")
					a = a.With(name, value)
				}
				return a
			}, compressed)
			s.get("/")
			s.stored(1)
			if r := s.do("HEAD", "/", append(tt.fields, "Cache-Control: no-cache")...); r.status != 200 || !r.says("fwd=request") {
				t.Fatalf("HEAD: %s", r)
			}
			for _, coding := range []string{"identity", "gzip"} {
				r := s.get("/", "Accept-Encoding: "+coding, "Cache-Control: only-if-cached")
				if (r.status == 200 && r.says("hit")) != tt.hit {
					t.Errorf("%s: %d %v", coding, r.status, r.header)
				}
				if name, value, ok := strings.Cut(tt.has, ": "); ok && strings.Join(r.header[name], ",") != value {
					t.Errorf("%s: %s: %q, want %q", coding, name, r.header[name], value)
				}
			}
		})
	}
}

// A route that compresses asks for no coding, says of each form of a response
// that there are others, and leaves alone what has one already.
func TestCompressingRoute(t *testing.T) {
	page := strings.Repeat("page ", 200)
	var asked []string
	s := newSite(t, func(r origin.Request) origin.Answer {
		asked = append(asked, fmt.Sprint(r.Values("Accept-Encoding")))
		if r.Get("If-None-Match") != "" {
			return origin.Answer{Status: 304}.With("X-New", "1").With("Vary", "Accept-Encoding")
		}
		a := origin.Text("max-age=60", page).With("ETag", `"1"`).With("Content-Type", "text/html")
		switch r.Target {
		case "/coded": // whatever it was asked for
			a = a.With("Content-Encoding", "br").With("Vary", "Accept-Encoding")
		case "/always-coded":
			a = a.With("Content-Encoding", "br")
		}
		return a
	}, compressed)
	expect := func(what, path string, fields []string, status int, coding, etag, vary string) reply {
		t.Helper()
		r := s.get(path, fields...)
		h := r.header
		if r.status != status || h.Get("Content-Encoding") != coding || h.Get("ETag") != etag || strings.Join(h["Vary"], ",") != vary {
			t.Errorf("%s: %d %v", what, r.status, h)
		}
		return r
	}
	const gzip, identity = "Accept-Encoding: gzip", "Accept-Encoding: identity"
	both := []string{gzip, "Range: bytes=0-3"}
	expect("cold", "/", []string{gzip}, 200, "", `"1"`, "Accept-Encoding")
	s.stored(1)
	for range 2 { // before and after a 304
		expect("gzip", "/", []string{gzip}, 200, "gzip", `W/"1"`, "Accept-Encoding")
		expect("identity", "/", []string{identity}, 200, "", `"1"`, "Accept-Encoding")
		expect("zstd", "/", []string{"Accept-Encoding: gzip, zstd"}, 200, "zstd", `W/"1"`, "Accept-Encoding")
		if r := expect("range", "/", both, 206, "", `"1"`, "Accept-Encoding"); r.body != "page" {
			t.Errorf("range: %q", r.body)
		}
		expect("range of what was coded", "/", append(both, `If-Range: W/"1"`), 200, "", `"1"`, "Accept-Encoding")
		expect("gzip, not modified", "/", []string{gzip, `If-None-Match: W/"1"`}, 304, "gzip", `W/"1"`, "Accept-Encoding")
		if r := s.do("HEAD", "/", gzip); r.length <= 0 || r.length >= int64(len(page)) {
			t.Errorf("HEAD: length %d", r.length)
		}
		r := expect("reload", "/", []string{identity, "Cache-Control: no-cache"}, 200, "", `"1"`, "Accept-Encoding")
		if r.header.Get("X-New") == "" {
			t.Errorf("not validated: %s", r)
		}
		s.idle()
	}
	if got := fmt.Sprint(asked); got != "[[identity] [identity] [identity]]" {
		t.Errorf("asked for %s", got)
	}
	expect("coded", "/coded", []string{gzip}, 200, "br", `"1"`, "Accept-Encoding")
	s.idle()
	if r := expect("coded, to another", "/coded", []string{identity}, 200, "br", `"1"`, "Accept-Encoding"); r.says("hit") {
		t.Errorf("the variant of another: %s", r)
	}
	expect("always coded", "/always-coded", []string{gzip}, 200, "br", `"1"`, "")
	s.idle()
	if r := expect("always coded, to another", "/always-coded", []string{identity}, 200, "br", `"1"`, ""); !r.says("hit") {
		t.Errorf("got %s", r)
	}
}
