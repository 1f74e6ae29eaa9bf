package wire

import (
	"strings"
	"testing"
)

// roles are the names that are not plain.
var roles = map[Role][]string{
	Framing: {"Host", "Expect", "Content-Length", "Transfer-Encoding"},
	Identity: {"Via", "Forwarded", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		"X-Forwarded-Port"},
	Unkeyed: {
		"Proxy", "X-Host", "X-Scheme", "X-Url-Scheme", "X-Rewrite-URL", "X-Original-URL", "X-Original-URI",
		"X-Original-Host", "X-Original-Method", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override",
		"X-HTTP-Host-Override", "Front-End-Https", "X-ProxyUser-Ip", "True-Client-IP", "X-Client-IP", "Client-IP",
		"X-Cluster-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "Fastly-Client-IP", "Fly-Client-IP",
		"X-Azure-ClientIP", "X-Appengine-User-IP", "X-Remote-IP", "X-Remote-Addr", "X-Originating-IP",
		"Proxy-Client-IP", "WL-Proxy-Client-IP", "X-Original-Forwarded-For", "X-Envoy-External-Address",
		"CloudFront-Forwarded-Proto", "Client-Cert", "Client-Cert-Chain", "X-Middleware-Subrequest",
		"X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Path",
		"X-Forwarded-Client-Cert", "X-Forwarded-F", "X-Forwarded-Fox",
	},
	Plain: {
		"", "_", "-", "Accept", "Cookie", "User-Agent", "Content-Type", "X-Forwarded", "X-Forwarded-", "X-Forwarder-For",
		"XX-Forwarded-For", "Vias", "Hosts", "X-Real-IPs", "XReal-IP", "X--Host", "Content-Lengths", "X-HTTP-Methods",
		"X-Request-Id", "traceparent", "Client", "Forwarded-For", "X-Tenant",
	},
}

// TestRoles covers every name in every spelling: case, and underscores for
// hyphens (RFC 3875, section 4.1.18).
func TestRoles(t *testing.T) {
	for role, names := range roles {
		for _, name := range names {
			under := strings.ReplaceAll(name, "-", "_")
			half := strings.Replace(name, "-", "_", 1)
			for _, spelt := range []string{name, strings.ToUpper(name), strings.ToLower(name), under, half, strings.ToUpper(half)} {
				if got := RoleOf(spelt); got != role {
					t.Errorf("%q has role %d, want %d", spelt, got, role)
				}
				if role != Plain && !IsProtected(spelt) {
					t.Errorf("%q can be nominated", spelt)
				}
				aliased := (role == Framing || role == Identity) && strings.Contains(spelt, "_")
				if got := IsAliased(spelt); got != aliased {
					t.Errorf("%q: aliased is %v", spelt, got)
				}
			}
			// What is not an underscore stands for no hyphen.
			if dotted := strings.ReplaceAll(name, "-", "."); dotted != name && RoleOf(dotted) != Plain && RoleOf(dotted) != Unkeyed {
				t.Errorf("%q has role %d", dotted, RoleOf(dotted))
			}
		}
	}
}

func TestRolesDoNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		for _, names := range roles {
			for _, name := range names {
				RoleOf(name)
				IsAliased(name)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestProtected covers RFC 9110, section 7.6.1: what is meant for all recipients
// cannot be nominated, in whatever case.
func TestProtected(t *testing.T) {
	for want, names := range map[bool][]string{
		true: {
			"Authorization", "Cookie", "Set-Cookie", "WWW-Authenticate", "Origin", "Referer", "Sec-Fetch-Site",
			"Sec-WebSocket-Key", "Sec-GPC", "Cache-Control", "CDN-Cache-Control", "X-CDN-Cache-Control",
			"Surrogate-Control", "Pragma", "Age", "Date", "Expires", "Vary", "ETag", "Last-Modified", "Cache-Status",
			"Cache-Groups", "Cache-Group-Invalidation", "If-Match", "If-None-Match", "If-Modified-Since",
			"If-Unmodified-Since", "If-Range", "Range", "Accept-Ranges", "Content-Type", "Content-Encoding",
			"Content-Range", "Content-Security-Policy", "Strict-Transport-Security", "X-Frame-Options", "Location",
			"Access-Control-Allow-Origin", "Cross-Origin-Opener-Policy", "Clear-Site-Data", "X-Request-Id",
			"traceparent", "tracestate", "Max-Forwards", "Priority", "Early-Data",
		},
		false: {
			"", "close", "keep-alive", "X-Hop", "Sec-", "If-", "Content-", "Accept", "Accept-Encoding", "User-Agent",
			"HTTP2-Settings", "-Control", "Control", "X-Request", "TE", "Upgrade",
		},
	} {
		for _, name := range names {
			if IsProtected(name) != want || IsProtected(strings.ToUpper(name)) != want || IsProtected(strings.ToLower(name)) != want {
				t.Errorf("%q is protected: %v, want %v", name, !want, want)
			}
		}
	}
}

func BenchmarkRoles(b *testing.B) {
	names := []string{"Host", "User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Referer", "Cookie", "X-Own_Name"}
	b.Run("RoleOf", func(b *testing.B) {
		for b.Loop() {
			for _, name := range names {
				RoleOf(name)
			}
		}
	})
	b.Run("IsAliased", func(b *testing.B) {
		for b.Loop() {
			for _, name := range names {
				IsAliased(name)
			}
		}
	})
}
