package wire

import (
	"slices"
	"testing"
)

// TestEndToEnd covers RFC 9110, section 7.6.1.
func TestEndToEnd(t *testing.T) {
	for _, tt := range []struct {
		name      string
		src, want Fields
	}{
		{"nothing to remove", lines("A: 1", "B: 2", "A: 3"), lines("A: 1", "B: 2", "A: 3")},
		{"every hop-by-hop field", lines(
			"Connection: close", "keep-alive: timeout=5", "PROXY-CONNECTION: close", "TE: trailers", "Trailer: X",
			"Transfer-Encoding: chunked", "Upgrade: h2c", "Proxy-Authenticate: Basic",
			"Proxy-Authorization: Basic x", "Proxy-Authentication-Info: x", "A: 1",
		), lines("A: 1")},
		{"nominated", lines("X-Hop: 1", "Connection: close, x-hop", "X-End: 2"), lines("X-End: 2")},
		{"nominated in several lines", lines("Connection: X-A", "X-A: 1", "X-B: 2", "connection: ,\tX-B ", "X-A: 3"), Fields{}},
		{"nominated and absent", lines("Connection: X-Hop", "A: 1"), lines("A: 1")},
		{"nominated in vain", lines(
			"Connection: Host, Content-Length, Cache-Control, Authorization, Cookie, Set-Cookie, Age, Vary, Via, X-Forwarded-For",
			"Host: h", "Content-Length: 5", "Cache-Control: private", "Authorization: x", "Cookie: c", "Set-Cookie: s",
			"Age: 1", "Vary: A", "Via: v", "X-Forwarded-For: f",
		), lines(
			"Host: h", "Content-Length: 5", "Cache-Control: private", "Authorization: x", "Cookie: c", "Set-Cookie: s",
			"Age: 1", "Vary: A", "Via: v", "X-Forwarded-For: f")},
		{"nothing of what others wrote", lines(
			"Connection: traceparent, X-Request-Id, Sec-Fetch-Site, CDN-Cache-Control, X-Original-URL, X-Gone",
			"traceparent: t", "x-request-id: r", "Sec-Fetch-Site: s", "CDN-Cache-Control: c", "X-Original-URL: u", "X-Gone: g",
		), lines(
			"traceparent: t", "x-request-id: r", "Sec-Fetch-Site: s", "CDN-Cache-Control: c", "X-Original-URL: u")},
		{"names that only look alike", lines("Connections: x", "TE2: a", "Upgrades: b", "x: y"),
			lines("Connections: x", "TE2: a", "Upgrades: b", "x: y")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.src)
			if got := EndToEnd(Fields{}, tt.src); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !slices.Equal(tt.src, before) {
				t.Errorf("the source changed to %q", tt.src)
			}
			bare := slices.DeleteFunc(before, func(f Field) bool { return IsHopByHop(f.Name) })
			if got := Nominates(tt.src); got != (len(bare) > len(tt.want)) {
				t.Errorf("Nominates is %v", got)
			}
		})
	}
}
