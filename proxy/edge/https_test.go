package edge

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHSTS is about RFC 6797, section 6.1.
func TestHSTS(t *testing.T) {
	for want, h := range map[string]HSTS{
		"max-age=1":                                    {MaxAge: time.Second},
		"max-age=31536000":                             {MaxAge: 365 * 24 * time.Hour},
		"max-age=300; includeSubDomains":               {MaxAge: 5 * time.Minute, IncludeSubdomains: true},
		"max-age=63072000; includeSubDomains; preload": {MaxAge: 2 * 365 * 24 * time.Hour, IncludeSubdomains: true, Preload: true},
	} {
		if got := h.FieldValue(); got != want {
			t.Errorf("%+v: got %q, want %q", h, got, want)
		}
	}
}

var redirects = []struct {
	host   string
	port   int
	target string
	want   string // "": refused
}{
	{"a.example", 443, "/", "https://a.example/"},
	{"a.example", 8443, "/x?y=1&z", "https://a.example:8443/x?y=1&z"},
	{"a.example.", 443, "/", "https://a.example./"},
	{"a_b.example", 443, "/%0d%0a", "https://a_b.example/%0d%0a"},
	{"10.0.0.1", 443, "/", "https://10.0.0.1/"},
	{"[::1]", 443, "/", "https://[::1]/"},
	{"[2001:db8::1]", 8443, "/", "https://[2001:db8::1]:8443/"},
	// What looks like another host is a path of this one.
	{"a.example", 443, "//b.example/", "https://a.example//b.example/"},
	{"a.example", 443, `/\b.example/`, `https://a.example/\b.example/`},
	{"a.example", 443, "/@b.example", "https://a.example/@b.example"},
	{"a.example", 443, "/http://b.example/", "https://a.example/http://b.example/"},
	// RFC 3986, section 3.2.2: no host.
	{"", 443, "/", ""},
	{".", 443, "/", ""},
	{"a..example", 443, "/", ""},
	{".example", 443, "/", ""},
	{"a.example:8080", 443, "/", ""},
	{"A.example", 443, "/", ""},
	{"b.example/", 443, "/", ""},
	{"b.example?", 443, "/", ""},
	{"b.example#", 443, "/", ""},
	{`b.example\`, 443, "/", ""},
	{"a@b.example", 443, "/", ""},
	{"a.example,b.example", 443, "/", ""},
	{"a.example\r\nx", 443, "/", ""},
	{"a example", 443, "/", ""},
	{"bücher.example", 443, "/", ""},
	{"a%2eexample", 443, "/", ""},
	{"[::1", 443, "/", ""},
	{"::1", 443, "/", ""},
	{"[]", 443, "/", ""},
	{"[10.0.0.1]", 443, "/", ""},
	{"[fe80::1%eth0]", 443, "/", ""},
	{"[::1]x", 443, "/", ""},
	{strings.Repeat("a.", 200), 443, "/", ""},
	// RFC 9112, section 3.2.1: no origin-form.
	{"a.example", 443, "", ""},
	{"a.example", 443, "*", ""},
	{"a.example", 443, "b.example/", ""},
	{"a.example", 443, ".b.example/", ""},
	{"a.example", 443, "@b.example/", ""},
	{"a.example", 443, "http://b.example/", ""},
	{"a.example", 443, "/#x", ""},
	{"a.example", 443, "/a b", ""},
	{"a.example", 443, "/\r\nSet-Cookie:a", ""},
	{"a.example", 443, "/\x00", ""},
	{"a.example", 443, "/\x7f", ""},
	{"a.example", 443, "/ü", ""},
}

func TestRedirectToHTTPS(t *testing.T) {
	for _, tt := range redirects {
		if got, ok := RedirectToHTTPS(tt.host, tt.port, tt.target); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%q %d %q: got %q, %v; want %q", tt.host, tt.port, tt.target, got, ok, tt.want)
		}
	}
}

// Whatever is asked for, a redirect leads to the host that was asked, by https,
// and fits on one line.
func FuzzRedirectToHTTPS(f *testing.F) {
	for _, tt := range redirects {
		f.Add(tt.host, uint16(tt.port), tt.target)
	}
	f.Fuzz(func(t *testing.T, host string, port uint16, target string) {
		location, ok := RedirectToHTTPS(host, int(port), target)
		if !ok {
			return
		}
		authority := host
		if port != 443 {
			authority += ":" + strconv.Itoa(int(port))
		}
		rest, found := strings.CutPrefix(location, "https://"+authority)
		if !found || rest != target || strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%q, %d, %q: %q", host, port, target, location)
		}
		u, err := url.Parse(location)
		if err != nil {
			if !strings.Contains(err.Error(), "invalid URL escape") {
				t.Errorf("%q: %v", location, err)
			}
			return
		}
		if u.Scheme != "https" || u.Host != authority || u.User != nil || u.Fragment != "" {
			t.Errorf("%q: %+v", location, u)
		}
	})
}
