package main_test

import "strings"

// hostRows are about Host (RFC 9110, section 7.2; RFC 9112, section 3.2).
func hostRows() []strictRow {
	const hosted = "GET /{id} HTTP/1.1\r\nHost:{odd}\r\n\r\n"
	return []strictRow{
		{"RFC 9110 §7.2: Host", passed, 200, hosted, []string{" h", "h", "\th \t", " H", " h:80", " h:080"}, []string{
			"Host: h",
			"X-Forwarded-Host: h"}},
		{"RFC 9110 §7.2: Host with a port", passed, 200, hosted, []string{" h:8080", " H:8080"}, []string{"Host: h:8080"}},
		{"RFC 3986 §3.2.2: hosts", passed, 200, hosted, []string{" 127.0.0.1", " 127.0.0.1:65535", " [::1]", " [::1]:8080", " [2001:DB8::1]",
			" a-b.c_d.example", " xn--bcher-kva.example"}, nil},
		{"RFC 9112 §3.2: malformed Host", refused, 400, hosted, []string{
			"", " ", " h:0", " h:65536", " h:99999", " h:99999999999999999999", " h:", " h:x", " h:-1", " h:+80", " h:0x50", " h: 80", " h:80:80",
			" :80", " :",
			" user@h", " user:pw@h", " @h", " h@", " h,h", " h, evil", " h h", " h\tevil", " h/", " h/x", " h?x", " h#x", " http://h", " //h",
			` h\evil`, ` "h"`, " h;x", " <h>", " {h}", " h|x", " h^", " h`", " h'x", " h(x)", " h*", " *", " h=x", " h&x", " h!", " h$x", " h~x",
			" %68", " h%00", " h%2eevil", " h%", " [::1", " ::1]", " ::1", " []", " []:80", " [::1]x", " [::1]x:80", " [::1]:", " x[::1]", " [[::1]]",
			" [zz]", " [1.2.3.4]", " [::1%25eth0]", " [::1%eth0]", " [:::1]", " [1:2:3:4:5:6:7:8:9]",
			" h\x00", " \x00h", " h\x01", " h\x7f", " h\xe4", " b\u00fccher", " h\u3002evil", " \u00adh",
		}, nil},
		{"RFC 9112 §3.2: not one Host", refused, 400, "GET /{id} HTTP/1.1\r\n{odd}\r\n\r\n", []string{
			"X: y", "Host: h\r\nHost: h", "Host: h\r\nHost: evil", "Host: h\r\nhost: h", "Host: h\r\nX: y\r\nHOST: h", "Host: \r\nHost: h",
			"Host: h\r\nHost:", "X-Host: h", "Host : h", "Host: h\r\n Host: evil",
		}, nil},
		{"RFC 9112 §3.2: Host in HTTP/1.0", refused, 400, "GET /{id} HTTP/1.0\r\n{odd}\r\n\r\n", []string{
			"Host: h\r\nHost: h", "Host: a b",
			"Host: h:0", "Host: user@h"}, nil},
		{"RFC 9112 §3.2: HTTP/1.0 without Host", last, 200, "GET /{id} HTTP/1.0\r\n{odd}\r\n\r\n", []string{"X: y"}, nil},
	}
}

// targetRows are about the request target (RFC 9112, section 3.2).
func targetRows() []strictRow {
	const (
		asking = "GET {odd} HTTP/1.1\r\nHost: h\r\n\r\n"
		bad    = "GET {odd} HTTP/1.1\r\nHost: h\r\nX-Id: {id}\r\n\r\n"
	)
	return []strictRow{
		{"RFC 9112 §3.2.1: origin-form", passed, 200, asking, []string{
			"/{id}", "/{id}?", "/{id}?a=b&c", "/{id}/../x", "/{id}/%2e%2E/%00", "/{id}//x", "/{id}/./", "/{id};p?q?r", "/{id}/a:b@c",
			"/{id}?http://evil/", "/{id}/" + strings.Repeat("x", 4000),
		}, []string{"Host: h"}},
		{"RFC 9112 §3.2.1: the target is not changed", passed, 200, asking, []string{"/{id}/a/../%7eb//c?d=%20"}, nil},
		{"RFC 9112 §3.2.2: absolute-form", passed, 200, asking, []string{"http://other/{id}", "HTTP://OTHER/{id}", "http://other:80/{id}",
			"http://other?{id}", "http://other/{id}?http://evil"}, []string{"Host: other", "X-Forwarded-Host: other"}},
		{"RFC 9112 §3.2.2: absolute-form without a path", passed, 200, "GET {odd} HTTP/1.1\r\nHost: h\r\nX-Id: {id}\r\n\r\n", []string{
			"http://other",
			"http://other/"}, []string{"GET / HTTP/1.1", "Host: other"}},
		{"RFC 9112 §3.2.2: absolute-form and a Host field", refused, 400, "GET http://other/{id} HTTP/1.1\r\n{odd}\r\n\r\n", []string{
			"X: y",
			"Host: a b", "Host: h\r\nHost: other", "Host: h:0", "Host: other@h"}, nil},
		{"RFC 9112 §3.2.2: malformed absolute-form", refused, 400, bad, []string{
			"http://", "http:///{id}", "http://:80/{id}", "http://other:0/{id}", "http://other:65536/{id}", "http://other:x/{id}",
			"http://user@other/{id}", "http://user:pw@other/{id}", "http://@other/{id}",
			"http://h@other/{id}", "http:/other/{id}", "http:other/{id}", "http//other/{id}", "http://other#{id}", "http://other/{id}#f",
			`http:\\host\{id}`, "http://a,b/{id}", "http://[::1/{id}", "http://h%6Fst/{id}",
			"https://other/{id}", "HTTPS://other/{id}", "ftp://other/{id}", "file:///{id}", "ws://other/{id}", "://other/{id}", "javascript:{id}",
			"http+unix://other/{id}", "xhttp://other/{id}",
		}, nil},
		{"RFC 9112 §3.2.1: a path that looks like an authority", refused, 400, bad, []string{"//other/{id}", "//{id}", "///{id}", "//other:80/{id}",
			"//user@other/{id}"}, nil},
		{"RFC 9112 §3.2.3: authority-form", refused, 400, bad, []string{"other:80", "h:80", "other", "user@other:80", "[::1]:80", "127.0.0.1:80"},
			nil},
		{"RFC 9112 §3.2.4: asterisk-form", refused, 400, "{odd} HTTP/1.1\r\nHost: h\r\nX-Id: {id}\r\n\r\n", []string{
			"GET *", "HEAD *", "POST *",
			"options *", "OPTIONS **", "OPTIONS */{id}", "OPTIONS *?{id}", "OPTIONS *#"}, nil},
		{"RFC 9110 §9.3.7: OPTIONS of the server", local, 204, "OPTIONS * HTTP/1.1\r\nHost: h\r\nX-Id: {id}\r\n{odd}\r\n", []string{
			"",
			"Max-Forwards: 0\r\n", "Origin: http://x\r\n", "Content-Length: 0\r\n"}, nil},
		{"RFC 9110 §9.3.7: OPTIONS of a resource", passed, 200, "OPTIONS /{id}{odd} HTTP/1.1\r\nHost: h\r\n\r\n", []string{"", "/*", "?*"}, nil},
		{"RFC 3986 §3.3: relative targets", refused, 400, bad, []string{"{id}", "./{id}", "../{id}", "?{id}", "#{id}", `\{id}`, "%2f{id}", "@{id}",
			":{id}", ";{id}"}, nil},
		{"RFC 9112 §3.2: bytes that no target has", refused, 400, bad, []string{
			"/{id}#f", "/{id}#", "/{id}?q#f", "/{id} x", "/{id}?q x", "/{id}\t", "/{id}\x00", "/\x00{id}", "/{id}\x01", "/{id}\x0b", "/{id}\x0c",
			"/{id}\x1f", "/{id}\x7f", "/{id}\xe4", "/{id}\u00fc", "/{id}\u2215x", "/{id}\xff", "/{id}?\x80", "/{id} HTTP/1.1\tX",
		}, nil},
		{"RFC 9112 §3: request lines", refused, 400, "{odd}\r\nHost: h\r\nX-Id: {id}\r\n\r\n", []string{
			"GET  /{id} HTTP/1.1", "GET /{id}  HTTP/1.1", "GET\t/{id} HTTP/1.1", "GET /{id}\tHTTP/1.1", "GET /{id} HTTP/1.1 ", "GET /{id} HTTP/1.1\t",
			" GET /{id} HTTP/1.1", "GET/{id} HTTP/1.1", "GET /{id}HTTP/1.1", "GET HTTP/1.1", "GET  HTTP/1.1", "/{id} HTTP/1.1", "GET",
			"GET /{id} x HTTP/1.1", "GET /{id} HTTP/1.1 HTTP/1.1", "GET /{id} HTTP/1.1 x", "GET\v/{id} HTTP/1.1", "GET\u00a0/{id} HTTP/1.1",
		}, nil},
		{"RFC 9110 §15.5.15: too long", refused, 414, "GET /{id}/{odd} HTTP/1.1\r\nHost: h\r\n\r\n", []string{
			strings.Repeat("x", 80<<10),
			"?" + strings.Repeat("x", 80<<10)}, nil},
	}
}

// methodRows are about the method and the version (RFC 9110, section 9; RFC
// 9112, sections 2.3 and 3.1).
func methodRows() []strictRow {
	const (
		method  = "{odd} /{id} HTTP/1.1\r\nHost: h\r\n\r\n"
		version = "GET /{id}{odd}\r\nHost: h\r\n\r\n"
	)
	return []strictRow{
		{"RFC 9110 §9.1: any token is a method", passed, 200, method, []string{"GET", "get", "PROPFIND", "PURGE", "QUERY", "PRI", "M-SEARCH",
			"X!#$%&'*+-.^_`|~9", strings.Repeat("A", 32), "trace", "Connect"}, nil},
		{"RFC 9112 §3.1: a method that is too long", refused, 501, method, []string{strings.Repeat("A", 33), strings.Repeat("A", 1000)}, nil},
		{"RFC 9110 §9.3: methods that no proxy of this kind has", refused, 501, method, []string{"TRACE", "CONNECT"}, nil},
		{"RFC 9110 §9.3.6: CONNECT", refused, 501, "CONNECT {odd} HTTP/1.1\r\nHost: h\r\nX-Id: {id}\r\n\r\n", []string{
			"h:80", "h:443", "[::1]:80",
			"127.0.0.1:22"}, nil},
		{"RFC 9110 §9.1: no token", refused, 400, method, []string{"G@T", "GE(T", "GE,T", "GET:", "\"GET\"", "GE\x00T", "\x01GET", "GET\x7f",
			"G\xc3\x8bT", "{GET}", "GET/x", "G[T]", "G=T", "G;T", "\\GET", "\x16\x03\x01"}, nil},
		{"RFC 9110 §15.6.6: another version", refused, 505, version, []string{" HTTP/1.2", " HTTP/1.9", " HTTP/2.0", " HTTP/0.9", " HTTP/3.0",
			" HTTP/9.9", " HTTP/0.0"}, nil},
		{"RFC 9112 §2.3: no version", refused, 400, version, []string{
			"", " ", " HTTP", " HTTP/", " HTTP/1", " HTTP/1.", " HTTP/11", " HTTP/.1", " HTTP/1.1.1", " HTTP/1.10", " HTTP/01.1", " HTTP/1.01",
			" HTTP/-1.1", " HTTP/+1.1", " HTTP/1,1", " HTTP/1.1x", " HTTP/1.x", " HTTP/x.1",
			" http/1.1", " Http/1.1", " HTTPS/1.1", " HTTP /1.1", " HTTP/ 1.1", " HTTP/1 .1", " HTTP\\1.1", " ICY/1.1", " /1.1", " 1.1",
			" HTTP/1.1\x00", " HTTP/1.\xb1", " SIP/2.0", " RTSP/1.0",
		}, nil},
		{"RFC 9113 §3.4: the preface of HTTP/2", refused, 505, "{odd}", []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, nil},
	}
}
