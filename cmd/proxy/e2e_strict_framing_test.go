package main_test

import "strings"

const (
	// posting is a request with a field line or more that may frame its body.
	posting = "POST /{id} HTTP/1.1\r\nHost: h\r\n{odd}\r\n\r\n"
	// sized is one whose Content-Length is odd, with five bytes of body.
	sized = "POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length:{odd}\r\n\r\nhello"
	// inCoding is one whose Transfer-Encoding is odd, with a chunked body.
	inCoding = "POST /{id} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:{odd}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	// getting is a request with an odd field line.
	getting = "GET /{id} HTTP/1.1\r\nHost: h\r\n{odd}\r\n\r\n"
	// inChunks is a request whose chunked body is odd.
	inChunks = "POST /{id} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{odd}"
)

// lengthRows are about Content-Length (RFC 9110, section 8.6; RFC 9112, section
// 6.3).
func lengthRows() []strictRow {
	return []strictRow{
		{"RFC 9110 §8.6: Content-Length", passed, 200, sized, []string{" 5", "5", "\t 5 \t"},
			[]string{"=hello", "Content-Length: 5"}},
		{"RFC 9110 §8.6: Content-Length", refused, 400, sized, []string{
			" 05", " 00", " +5", " -0", " -5", " 0x5", " 5x", " 5 5", " 5;", " 5.0", " 5e0", " 5_0", " 0b101", " 0o5", ` "5"`, " five", " ５",
			"", " ", " 9223372036854775808", " 18446744073709551615", " 18446744073709551616", " 18446744073709551621",
			" 99999999999999999999999999", " 5,5", " 5, 5", " 5,6", " 5,", " ,5", "\v5", " 5\f", " 5\x00", "\u00a05", " 5\r", " 5\r\n 5",
		}, nil},
		{"RFC 9112 §6.3: several Content-Lengths", refused, 400, posting + "hello", []string{
			"Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 6\r\ncontent-length: 5",
			"Content-Length: 0\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: ", "Content-Length: 5\r\nX: y\r\nCONTENT-LENGTH: 5",
		}, nil},
		{"RFC 9112 §6.3: Content-Length beside Transfer-Encoding", refused, 400, posting + "5\r\nhello\r\n0\r\n\r\n", []string{
			"Content-Length: 15\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 15",
			"Transfer-Encoding: chunked\r\nContent-Length: 0", "Content-Length: 15\r\nTransfer-Encoding: identity",
			"content-length: 15\r\nX: y\r\ntransfer-encoding: Chunked", "Content-Length: \r\nTransfer-Encoding: chunked",
		}, nil},
		{"RFC 9112 §6.3: no length is no body", passed, 200, "{odd} /{id} HTTP/1.1\r\nHost: h\r\n\r\n", []string{"POST", "PUT", "DELETE", "GET"},
			[]string{"=", "-Transfer-Encoding"}},
		{"RFC 9112 §8: a body that is too short", broken, 400, "POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n{odd}{end}", []string{
			"",
			"hello"}, nil},
		{"RFC 9110 §9.3.1: content in a GET", passed, 200, "GET /{id} HTTP/1.1\r\nHost: h\r\n{odd}", []string{
			"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"}, []string{"=hello"}},
		{"RFC 9110 §9.3.2: content in a HEAD", passed, 200, "HEAD /{id} HTTP/1.1\r\nHost: h\r\n{odd}", []string{
			"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"}, []string{"=hello"}},
		{"RFC 9110 §9.3.2: content in a GET that looks like a request", passed, 200,
			"GET /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 45\r\n\r\n{odd}",
			[]string{"GET /{id}/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"}, []string{"Content-Length: 45"}},
	}
}

// codingRows are about Transfer-Encoding (RFC 9112, sections 6.1 and 6.3).
func codingRows() []strictRow {
	const http10 = "POST /{id} HTTP/1.0\r\nHost: h\r\nTransfer-Encoding:{odd}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	return []strictRow{
		{"RFC 9112 §6.1: chunked", passed, 200, inCoding, []string{" chunked", "chunked", "\tchunked \t", " Chunked", " CHUNKED"},
			[]string{"=hello", "Transfer-Encoding: chunked", "-Content-Length"}},
		{"RFC 9112 §6.3: the last coding is not chunked", refused, 400, inCoding, []string{
			" identity", " gzip", " xchunked", " chunkedx", " chunk", " chunked, gzip", " chunked, identity", "", " ", " ,", " 1", " cow",
		}, nil},
		{"RFC 9112 §6.1: more than one coding", refused, 400, inCoding, []string{
			" chunked, chunked", " chunked,chunked", " chunked\r\nTransfer-Encoding: chunked",
			" chunked\r\ntransfer-encoding: identity", " gzip\r\nTransfer-Encoding: chunked", " identity\r\nTransfer-Encoding: chunked",
			" chunked\r\nTransfer-Encoding:", " chunked,", " ,chunked", " chunked, ,",
		}, nil},
		{"RFC 9112 §6.1: a coding that is not understood", refused, 501, inCoding, []string{
			" gzip, chunked", " gzip,chunked", " identity, chunked",
			" br, gzip, Chunked"}, nil},
		{"RFC 9112 §7: no such spelling", refused, 400, inCoding, []string{
			" chunked;q=1", " chunked;", ` "chunked"`, " 'chunked'", " chunked chunked", " chun ked", " chunked\v", "\vchunked", " chunked\f",
			" \x00chunked",
			" chunked\x00", " chunked\r", "\r\n chunked", "\n chunked", " \u00a0chunked", " \xffchunked", " ch\u0075nked\u200b", " (comment)chunked",
		}, nil},
		{"RFC 9112 §6.1: Transfer-Encoding in HTTP/1.0", refused, 400, http10, []string{" chunked", " identity", " gzip", ""}, nil},
	}
}

// chunkRows are about the lines between chunks (RFC 9112, section 7.1).
func chunkRows() []strictRow {
	const first = "5\r\nhello\r\n"
	return []strictRow{
		{"RFC 9112 §7.1: sizes", passed, 200, inChunks, []string{
			"5\r\nhello\r\n0\r\n\r\n", "05\r\nhello\r\n000\r\n\r\n", "000000000000005\r\nhello\r\n0\r\n\r\n", "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
		}, []string{"=hello", "Transfer-Encoding: chunked"}},
		{"RFC 9112 §7.1: sizes in hexadecimal", passed, 200, inChunks, []string{"a\r\n0123456789\r\n0\r\n\r\n", "A\r\n0123456789\r\n0\r\n\r\n"},
			[]string{"=0123456789"}},
		{"RFC 9112 §7.1: no data", passed, 200, inChunks, []string{"0\r\n\r\n"}, []string{"="}},
		{"RFC 9112 §7.1: data that looks like the end", passed, 200, inChunks, []string{"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"},
			[]string{"=\r\n0\r\n\r\n"}},
		{"RFC 9112 §7.1: no size", broken, 400, inChunks, []string{
			"0x5\r\nhello\r\n0\r\n\r\n", "0X5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",
			" 5\r\nhello\r\n0\r\n\r\n",
			"5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n", "\t5\r\nhello\r\n0\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n",
			"5h\r\nhello\r\n0\r\n\r\n", "5,\r\nhello\r\n0\r\n\r\n",
			"5_0\r\nhello\r\n0\r\n\r\n", "5\x00\r\nhello\r\n0\r\n\r\n", "\"5\"\r\nhello\r\n0\r\n\r\n", "5.0\r\nhello\r\n0\r\n\r\n",
			"g\r\nhello\r\n0\r\n\r\n", "\r\n\r\n", "-0\r\n\r\n", "00x\r\n\r\n",
			"0 \r\n\r\n", "GET /{id}/smuggled HTTP/1.1\r\nHost: h\r\n\r\n", first + "0 0\r\n\r\n",
		}, nil},
		{"RFC 9112 §7.1: overflow", broken, 400, inChunks, []string{
			"0000000000000005\r\nhello\r\n0\r\n\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
			"8000000000000000\r\nhello\r\n0\r\n\r\n", "100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n", "0000000000000000\r\n\r\n",
		}, nil},
		{"RFC 9112 §7.1.1: extensions", passed, 200, inChunks, []string{
			"5;a\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n", "5;a=\"b;c\"\r\nhello\r\n0;d\r\n\r\n", "5 ;a\r\nhello\r\n0\r\n\r\n",
			"5;a;b=c;d=\"\\\"\"\r\nhello\r\n0\r\n\r\n", "5; a = b\r\nhello\r\n0\r\n\r\n",
		}, []string{"=hello"}},
		{"RFC 9112 §7.1.1: malformed extensions", broken, 400, inChunks, []string{
			"5;\r\nhello\r\n0\r\n\r\n", "5;a=\r\nhello\r\n0\r\n\r\n", "5;=b\r\nhello\r\n0\r\n\r\n", "5;a b\r\nhello\r\n0\r\n\r\n",
			"5;a=\"b\r\nhello\r\n0\r\n\r\n", "5;a=b\"\r\nhello\r\n0\r\n\r\n",
			"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "5;a\x00\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n",
			"5;a\x7f\r\nhello\r\n0\r\n\r\n", "5;a=\"\\\r\n\"\r\nhello\r\n0\r\n\r\n",
			"5;\n\r\nhello\r\n0\r\n\r\n", "5;a\r\r\nhello\r\n0\r\n\r\n", "5;" + strings.Repeat("a", 8<<10) + "\r\nhello\r\n0\r\n\r\n",
			"5;\xe4\r\nhello\r\n0\r\n\r\n",
		}, nil},
		{"RFC 9112 §7.1: extensions that outweigh the data", broken, 400, inChunks,
			[]string{strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100) + "0\r\n\r\n"}, nil},
		{"RFC 9112 §7.1: lines that do not end with CRLF", broken, 400, inChunks, []string{
			"5\nhello\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", first + "0\n\r\n", first + "0\r\n\n",
			first + "0\r\r\n\r\n", first + "0\n\n", "5\n\rhello\r\n0\r\n\r\n", "5\r\r\nhello\r\n0\r\n\r\n",
		}, nil},
		{"RFC 9112 §7.1: more data than the size", broken, 400, inChunks, []string{
			"5\r\nhello!\r\n0\r\n\r\n", "4\r\nhello\r\n0\r\n\r\n",
			"0\r\nhello\r\n", "5\r\nhelloGET /{id}/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"}, nil},
		{"RFC 9112 §7.1: less data than the size", broken, 400, inChunks, []string{
			"6\r\nhello\r\n0\r\n\r\n", "7\r\nhello\r\n0\r\n\r\n",
			"8\r\nhello\r\n0\r\n\r\n"}, nil},
		{"RFC 9112 §8: cut", broken, 400, inChunks + "{end}", []string{"", "5", "5\r\nhel", "5\r\nhello", first, first + "0", first + "0\r\n",
			first + "0\r\nA: b\r\n"}, nil},
	}
}

// trailerRows are about the section behind the last chunk (RFC 9110, section
// 6.5; RFC 9112, section 7.1.2).
func trailerRows() []strictRow {
	const body = "POST /{id} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{odd}\r\n\r\n"
	return []strictRow{
		{"RFC 9110 §6.5.1: trailers are dropped", passed, 200, body, []string{"X-Checksum: 1", "X-A: 1\r\nX-B: 2", "x:"},
			[]string{"=hello", "-X-Checksum", "-X-A", "-X"}},
		{"RFC 9110 §6.5.1: fields of the head alone", broken, 400, body, []string{
			"Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil", "Authorization: Basic eA==", "Cookie: a=b", "content-type: text/html",
			"Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "Expect: 100-continue", "TE: trailers", "Trailer: x", "Connection: close",
			"Cache-Control: no-store", "If-Match: *", "Range: bytes=0-1", "Max-Forwards: 0", "X-A: b\r\nTRANSFER-ENCODING: chunked",
		}, nil},
		{"RFC 9112 §5: malformed trailers", broken, 400, body, []string{
			"X : y", " X: y", "X: y\r\n z", "X", ": y", "X Y: z", "X: \x00", "X: y\rz", "X: y\nZ: a", "X\n: y", "GET /{id}/smuggled HTTP/1.1",
			"X: " + strings.Repeat("x", 8<<10), strings.TrimSuffix(strings.Repeat("X: y\r\n", 2000), "\r\n"),
		}, nil},
	}
}
