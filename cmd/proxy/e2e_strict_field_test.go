package main_test

import "strings"

// lineRows are about where lines end (RFC 9112, section 2.2).
func lineRows() []strictRow {
	const whole = "{odd}"
	return []strictRow{
		{"RFC 9112 §2.2: an empty line before the request", passed, 200, "{odd}GET /{id} HTTP/1.1\r\nHost: h\r\n\r\n", []string{"", "\r\n"}, nil},
		{"RFC 9112 §2.2: an empty line behind a body", passed, 200, "POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello{odd}",
			[]string{"", "\r\n"}, []string{"=hello"}},
		{"RFC 9112 §2.2: other things before the request", refused, 400, "{odd}GET /{id} HTTP/1.1\r\nHost: h\r\n\r\n", []string{
			"\n", "\r", "\r\r\n", "\n\r\n", " ", "\t", " \r\n", "\x00", "\v", "\ufeff", "\xff",
		}, nil},
		{"RFC 9112 §2.2: lines without CR", refused, 400, whole, []string{
			"GET /{id} HTTP/1.1\nHost: h\n\n", "GET /{id} HTTP/1.1\nHost: h\r\n\r\n", "GET /{id} HTTP/1.1\r\nHost: h\n\r\n",
			"GET /{id} HTTP/1.1\r\nHost: h\r\n\n",
			"GET /{id} HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "GET /{id} HTTP/1.1\r\nX: y\nHost: h\r\n\r\n", "GET /{id} HTTP/1.1\r\nHost: h\r\nX: y\n\n",
			"GET /{id} HTTP/1.1\r\nHost: h\r\nX: y\n\r\n", "POST /{id} HTTP/1.1\r\nHost: h\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\n\r\nhello",
			"GET /{id} HTTP/1.1\r\nHost: h\r\n\nGET /{id}/smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
		}, nil},
		{"RFC 9112 §2.2: CR without LF", refused, 400, whole, []string{
			"GET /{id} HTTP/1.1\rHost: h\r\n\r\n", "GET /{id} HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", "GET /{id} HTTP/1.1\r\nX: \ry\r\nHost: h\r\n\r\n",
			"GET /{id} HTTP/1.1\r\nHost: h\r\nX\r: y\r\n\r\n", "GET /{id} HTTP/1.1\r\nHost: h\r\nX:\ry\r\n\r\n",
			"GET /{id} HTTP/1.1\r\nHost: h\r\r\n\r\n",
			"GET /{id} HTTP/1.1\r\r\nHost: h\r\n\r\n", "GET /{id} HTTP/1.1\r\nHost: h\r\n\r\r\n\r\n",
			"GET /{id} HTTP/1.1\r\nHost: h\r\n\rX: y\r\n\r\n",
			"GET\r/{id} HTTP/1.1\r\nHost: h\r\n\r\n", "GET /{id}\rHTTP/1.1\r\nHost: h\r\n\r\n", "GET /{id}\r HTTP/1.1\r\nHost: h\r\n\r\n",
			"POST /{id} HTTP/1.1\r\nHost: h\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		}, nil},
		{"RFC 9112 §5.2: folded lines", refused, 400, "POST /{id} HTTP/1.1\r\n{odd}\r\n\r\nhello", []string{
			"Host: h\r\nX: y\r\n z\r\nContent-Length: 5", "Host: h\r\nX: y\r\n\tz\r\nContent-Length: 5", "Host: h\r\nX:\r\n y\r\nContent-Length: 5",
			"Host: h\r\nContent-Length:\r\n 5", "Host: h\r\nContent-Length: 5\r\n ", "Host: h\r\nX: y\r\n Content-Length: 5",
			"Host: h\r\nX: y\r\n \r\nContent-Length: 5",
			"Host: h\r\nContent-Length: 5\r\nX: y\r\n Transfer-Encoding: chunked", " Host: h\r\nContent-Length: 5", "\tHost: h\r\nContent-Length: 5",
			" X: y\r\nHost: h\r\nContent-Length: 5", " \r\nHost: h\r\nContent-Length: 5", "Host:\r\n h\r\nContent-Length: 5",
		}, nil},
		{"RFC 6585 §5: too large", refused, 431, "GET /{id} HTTP/1.1\r\nHost: h\r\n{odd}\r\n\r\n", []string{
			"X: " + strings.Repeat("x", 80<<10), strings.Repeat("x", 80<<10) + ": y", strings.TrimSuffix(strings.Repeat("X: y\r\n", 12<<10), "\r\n"),
		}, nil},
		{"RFC 9112 §8: a head that ends early", refused, 0, whole + "{end}", []string{"", "\r\n", "G", "GET /{id} HTTP/1.1",
			"GET /{id} HTTP/1.1\r\nHost: h\r\n", "GET /{id} HTTP/1.1\r\nHost: h\r\n\r"}, nil},
	}
}

// fieldRows are about names and values (RFC 9112, section 5; RFC 9110, section
// 5.5).
func fieldRows() []strictRow {
	return []strictRow{
		{"RFC 9110 §5: fields pass", passed, 200, getting, []string{"X-A: b", "X-A:b", "x-a: \t b \t ", "X-A: ", "X-A: b\r\nX-A: c", "X-A: \xe4\xff",
			"X-A: a\tb", "!#$%&'*+-.^_`|~09azAZ: b", "X_A: b", `X: "q\"`, "X: ,;=()<>@[]{}?/\\"}, nil},
		{"RFC 9112 §5.1: space around names", refused, 400, posting + "hello", []string{
			"Content-Length : 5", "Content-Length\t: 5", "X : y\r\nContent-Length: 5", "Content Length: 5", "Content-Length X: 5",
			"X Y: z\r\nContent-Length: 5",
			"Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "Transfer Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked",
			"Host : h",
			"Content-Length\v: 5", "Content-Length\f: 5", "Content-Length\u00a0: 5",
		}, nil},
		{"RFC 9110 §5.1: no name", refused, 400, getting, []string{
			": y", ":", "X", "X y", "\"X\": y", "X(: y", "X/Y: z", "X@Y: z", "X,Y: z", "X;Y: z", "X=Y: z", "{X}: y", "[X]: y", "X\\Y: z", "<X>: y",
			"X?: y",
			"X\x00: y", "\x00X: y", "X\x01: y", "X\x7f: y", "X\xe4: y", "X\u00fc: y", "Transfer\u2010Encoding: chunked", "\ufeffX: y", "X\x1b: y",
			"X\x08: y",
		}, nil},
		{"RFC 9110 §5.5: control bytes in values", refused, 400, getting, []string{
			"X: \x00", "X: a\x00b", "X: \x01", "X: a\x08", "X: \x0b", "X: \x0c", "X: \x1b[0m", "X: \x7f", "X: \x1f", "X: aaaaaaaa\x00aaaaaaaa",
			"X: \x00\r\nY: z",
		}, nil},
		{"RFC 3875 §4.1.18: underscores that spell framing or identity", refused, 400, posting + "hello", []string{
			"Content_Length: 5", "Content-Length: 5\r\ncontent_length: 6", "Transfer_Encoding: chunked", "TRANSFER_ENCODING: chunked",
			"Content-Length: 5\r\nTransfer_Encoding: chunked",
			"Content-Length: 5\r\nX_Forwarded_For: 127.0.0.1", "Content-Length: 5\r\nX-Forwarded_For: 127.0.0.1",
			"Content-Length: 5\r\nX_Forwarded-Host: evil",
			"Content-Length: 5\r\nX_Forwarded_Proto: https", "Content-Length: 5\r\nX_Real_IP: 127.0.0.1",
			"Content-Length: 5\r\nProxy_Authorization: x", "Content-Length: 5\r\nContent_length: 5",
		}, nil},
		{"RFC 9110 §7.6.1: Connection strips what is end-to-end", passed, 200,
			"POST /{id} HTTP/1.1\r\nHost: h\r\nX-Keep: 1\r\nX-Drop: 1\r\nContent-Length: 5\r\nConnection: {odd}\r\n\r\nhello",
			[]string{"X-Drop", "x-drop, Content-Length", "Host, X-Drop", "X-Drop\r\nConnection: Content-Length",
				"keep-alive, X-Drop, Transfer-Encoding", ", X-Drop,,"},
			[]string{"=hello", "Host: h", "Content-Length: 5", "X-Keep: 1", "-X-Drop", "-Connection"}},
		{"RFC 9110 §7.6.1: Connection strips no identity", passed, 200,
			"GET /{id} HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nCookie: b=c\r\nCache-Control: no-cache\r\nConnection: {odd}\r\n\r\n",
			[]string{"Authorization, Cookie", "Cache-Control", "Host, authorization, cookie, cache-control",
				"X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Via, Forwarded"},
			[]string{"Host: h", "Authorization: a", "Cookie: b=c", "Cache-Control: no-cache", "X-Forwarded-Host: h"}},
		{"RFC 9110 §7.6.1: fields of one hop", passed, 200, getting, []string{
			"TE: trailers", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Trailer: X", "Proxy-Authorization: x", "Connection: keep-alive",
			"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "Upgrade: h2c",
		}, []string{"-Upgrade", "-HTTP2-Settings"}},
		{"RFC 7239 §8: what a client says of itself", passed, 200, getting,
			[]string{"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4"},
			[]string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: h", "X-Forwarded-Proto: http", "-X-Real-IP",
				`Forwarded: for=127.0.0.1;host="h";proto=http`}},
		{"unkeyed inputs that applications obey", passed, 200, getting, []string{
			"X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE",
			"X-Forwarded-Server: evil", "X-Forwarded-Scheme: https", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil",
		}, []string{"-X-Original-URL", "-X-Rewrite-URL", "-X-HTTP-Method-Override", "-X-HTTP-Method", "-X-Method-Override", "-X-Forwarded-Server",
			"-X-Forwarded-Scheme", "-X-Forwarded-Port", "-X-Forwarded-Prefix"}},
	}
}
