package admin

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	theToken = "0123456789abcdef"
	drainA   = "POST /api/drain?upstream=app&server=a"
	purgeAll = "POST /api/purge"
)

// request is "METHOD PATH", with the lines of its head behind it.
func request(text string) *http.Request {
	what, lines, _ := strings.Cut(text, "|")
	method, path, _ := strings.Cut(what, " ")
	body := ""
	if path == "/api/purge" {
		body = `{"everything": true}`
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:9901"
	for line := range strings.SplitSeq(lines, "|") {
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "":
		case "Host":
			r.Host = value
		default:
			r.Header.Add(name, value)
		}
	}
	return r
}

// Each row is a rule; the requests go by what is written in the configuration.
func TestAccess(t *testing.T) {
	const status = "GET /api/status"
	named := Access{Hosts: []string{"proxy.internal"}}
	token := Access{Token: func() (string, error) { return theToken, nil }}
	lost := Access{Token: func() (string, error) { return "", errors.New("no file") }}
	empty := Access{Token: func() (string, error) { return "", nil }}
	readOnly := Access{ReadOnly: true}
	for _, tt := range []struct {
		access  Access
		request string
		status  int
		says    string
	}{
		// DNS rebinding.
		{Access{}, status, 200, ""},
		{Access{}, status + "|Host: localhost:9901", 200, ""},
		{Access{}, status + "|Host: LOCALHOST", 200, ""},
		{Access{}, status + "|Host: [::1]:9901", 200, ""},
		{Access{}, status + "|Host: [::1]", 200, ""},
		{Access{}, status + "|Host: 10.0.0.1", 200, ""},
		{Access{}, "GET /healthz|Host: ", 200, ""}, // HTTP/1.0
		{Access{}, status + "|Host: evil.example:9901", 421, "admin.hosts"},
		{Access{}, "GET /healthz|Host: evil.example", 421, ""},
		{Access{}, "GET /nothing|Host: evil.example", 421, ""},
		{Access{}, status + "|Host: localhost.evil.example", 421, ""},
		{Access{}, status + "|Host: 127.0.0.1.evil.example", 421, ""},
		{named, status + "|Host: proxy.internal:9901", 200, ""},
		{named, status + "|Host: Proxy.Internal", 200, ""},
		{named, status + "|Host: other.internal", 421, ""},
		{Access{Socket: true}, status + "|Host: anything", 200, ""},
		// Other sites.
		{Access{}, drainA, 200, ""},
		{Access{}, drainA + "|Origin: http://127.0.0.1:9901", 200, ""},
		{Access{}, drainA + "|Origin: http://127.0.0.1:9901|Sec-Fetch-Site: same-origin", 200, ""},
		{Access{}, drainA + "|Origin: https://other.example", 403, "other.example"},
		{Access{}, drainA + "|Origin: http://127.0.0.1:3000", 403, ""},
		{Access{}, drainA + "|Origin: null", 403, ""},
		{Access{}, drainA + "|Origin: http://%", 403, ""},
		{Access{}, status + "|Origin: https://other.example", 403, ""},
		{Access{}, drainA + "|Sec-Fetch-Site: none", 200, ""},
		{Access{}, drainA + "|Sec-Fetch-Site: cross-site", 403, "another site"},
		{Access{}, drainA + "|Sec-Fetch-Site: same-site", 403, ""},
		{Access{}, drainA + "|Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate", 403, ""},
		{Access{}, "GET /|Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate", 200, ""},
		{Access{}, status + "|Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: no-cors", 403, ""},
		// What a form of another site could send, and what curl -d does.
		{Access{}, purgeAll + "|Content-Type: application/x-www-form-urlencoded", 200, ""},
		{Access{}, purgeAll + "|Content-Type: application/json; charset=utf-8|Sec-Fetch-Site: same-origin", 200, ""},
		{Access{}, purgeAll + "|Content-Type: text/plain|Origin: http://127.0.0.1:9901", 415, "application/json"},
		{Access{}, purgeAll + "|Sec-Fetch-Site: none", 415, ""},
		// RFC 6750, section 2.1, and RFC 7617.
		{token, status, 401, "Bearer TOKEN"},
		{token, "GET /nothing", 401, ""},
		{token, "GET /", 200, ""}, // which asks for the token
		{token, "GET /page/app.js", 200, ""},
		{Access{Certificate: true}, "GET /", 200, ""},
		{token, "GET /metrics", 401, ""},
		{token, "GET /healthz", 200, ""},
		{token, "GET /readyz", 200, ""},
		{token, status + "|Authorization: Bearer " + theToken, 200, ""},
		{token, status + "|Authorization: bearer  " + theToken, 200, ""},
		{token, status + "|Authorization: Bearer " + theToken[1:], 401, "not the token"},
		{token, status + "|Authorization: Bearer", 401, ""},
		{token, status + "|Authorization: " + theToken, 401, ""},
		{token, status + "|Authorization: Basic OjAxMjM0NTY3ODlhYmNkZWY=", 200, ""}, // ":" and the token
		{token, status + "|Authorization: Basic MDEyMzQ1Njc4OWFiY2RlZjo=", 401, ""}, // the token and ":"
		{token, drainA, 401, ""},
		{lost, status + "|Authorization: Bearer x", 503, "the log says why"},
		{lost, status + "|Authorization: Bearer", 503, ""},
		{empty, status, 503, ""},
		{lost, "GET /healthz", 200, ""},
		// Certificates; see below for the others.
		{Access{Certificate: true}, status, 403, "certificate"},
		{Access{Certificate: true}, "GET /readyz", 200, ""},
		// Read-only.
		{readOnly, status, 200, ""},
		{readOnly, "GET /metrics", 200, ""},
		{readOnly, drainA, 403, "read-only (admin.read_only)"},
		{readOnly, "POST /api/restore?upstream=app&server=a", 403, ""},
		{readOnly, purgeAll, 403, "read-only"},
		{readOnly, "GET /api/purge", 405, ""},
	} {
		o := options(true)
		o.Access = tt.access
		did := 0
		drain := o.Drain
		o.Drain = func(u, s string, on bool) bool { did++; return drain(u, s, on) }
		w := httptest.NewRecorder()
		New(o).ServeHTTP(w, request(tt.request))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) || did > 0 && w.Code != 200 {
			t.Errorf("%s: %d %s, want %d %s", tt.request, w.Code, w.Body, tt.status, tt.says)
		}
		kind := cmp.Or(w.Header().Get("Content-Type"), "none")
		if w.Code >= 400 != (kind == "application/problem+json") {
			t.Errorf("%s: %d is %s", tt.request, w.Code, kind)
		}
		if asks := w.Header().Values("WWW-Authenticate"); w.Code == 401 != (len(asks) == 2) {
			t.Errorf("%s: WWW-Authenticate %q", tt.request, asks)
		}
	}
}

// Only a certificate that was verified counts.
func TestClientCertificate(t *testing.T) {
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	token := func() (string, error) { return theToken, nil }
	for _, tt := range []struct {
		access Access
		shown  *tls.ConnectionState
		status int
	}{
		{Access{Certificate: true}, verified, 0},
		{Access{Certificate: true}, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, 403},
		{Access{Certificate: true}, nil, 403},
		{Access{Certificate: true, Token: token}, verified, 401}, // both are wanted
	} {
		r := request("GET /api/status")
		r.TLS = tt.shown
		if d := tt.access.judge(r, route{}); d.status != tt.status {
			t.Errorf("%+v: %+v, want %d", tt.shown, d, tt.status)
		}
	}
}

// A browser asks for a password where somebody has followed a link, and not in
// place of the page's own form.
func TestChallenges(t *testing.T) {
	o := options(true)
	o.Access.Token = func() (string, error) { return theToken, nil }
	for accept, want := range map[string]int{
		"": 2, "text/html,application/xhtml+xml,*/*;q=0.8": 2, "*/*": 2, "application/json": 1, "text/event-stream": 1,
	} {
		w := httptest.NewRecorder()
		New(o).ServeHTTP(w, request("GET /api/events|Accept: "+accept))
		asks := w.Header().Values("WWW-Authenticate")
		if w.Code != 401 || len(asks) != want || !strings.HasPrefix(asks[0], "Bearer ") {
			t.Errorf("Accept: %s: %d, %q", accept, w.Code, asks)
		}
	}
}
