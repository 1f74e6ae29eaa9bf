package wire

import (
	"strings"
)

// RequestHead is a request line and its fields, read so that no two readers can
// differ about them.
type RequestHead struct {
	// Method is a token, as it was sent.
	Method string
	// Target is the request target as it was sent: visible ASCII without "#".
	Target string
	// Minor is 0 or 1, the x of HTTP/1.x.
	Minor int
	// Fields are the field lines, in order.
	Fields Fields
	// Length is the body's length in bytes, 0 for none, or [Chunked].
	Length int64
	// Continue says that the client waits for 100 (Continue) before it sends the
	// body (RFC 9110, section 10.1.1).
	Continue bool
	// Persistent says that the client may send another request on the connection
	// (RFC 9112, section 9.3).
	Persistent bool
}

// RequestLimits bound a request's head; each is above 0.
type RequestLimits struct {
	// MaxTarget bounds the request target in bytes, and MaxFields the number of
	// field lines.
	MaxTarget, MaxFields int
}

// Refusal is why a request is not read any further. It implements error.
type Refusal struct {
	// Status is the status to answer with.
	Status int
	// Why is one line for the client.
	Why string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Why }

func refuse(status int, why string) *Refusal { return &Refusal{Status: status, Why: why} }

// maxMethod bounds a method in bytes; the longest one that is registered has 17.
const maxMethod = 32

// ParseRequestHead parses a whole head, its empty line included, and appends its
// fields to dst. It takes what RFC 9112 lets a client generate and no more, and
// of that only what cannot be framed in two ways: each line ends with CRLF, the
// version is HTTP/1.0 or HTTP/1.1, there is one Host, one decimal Content-Length
// or one Transfer-Encoding that is chunked, and no field whose name is framing or
// identity in the eyes of a server that takes underscores for hyphens. Whether
// the target and Host say clearly what is asked for is for the caller to find
// out. The result points into block.
func ParseRequestHead(dst Fields, block string, limits RequestLimits) (RequestHead, *Refusal) {
	line, rest, ok := cutCRLF(block)
	if !ok {
		return RequestHead{}, refuse(400, "the request line does not end with CRLF")
	}
	h := RequestHead{Fields: dst}
	if err := h.parseLine(line, limits.MaxTarget); err != nil {
		return h, err
	}
	for first := len(dst); ; {
		line, rest, ok = cutCRLF(rest)
		switch {
		case !ok:
			return h, refuse(400, "a line of the head does not end with CRLF")
		case line == "" && rest != "":
			return h, refuse(400, "an empty line inside the head")
		case line == "":
			return h, h.frame()
		case len(h.Fields)-first >= limits.MaxFields:
			return h, refuse(431, "too many header fields")
		}
		f, err := parseField(line)
		if err != nil {
			return h, refuse(400, err.Error())
		}
		if IsAliased(f.Name) {
			return h, refuse(400, "a field with an underscore in place of a hyphen")
		}
		h.Fields = append(h.Fields, f)
	}
}

// cutCRLF takes the first line off block, without its CRLF. A CR or LF of any
// other place stays in the line.
func cutCRLF(block string) (line, rest string, ok bool) {
	lf := strings.IndexByte(block, '\n')
	if lf < 1 || block[lf-1] != '\r' {
		return "", block, false
	}
	return block[:lf-1], block[lf+1:], true
}

// parseLine reads "method SP target SP version" (RFC 9112, section 3).
func (h *RequestHead) parseLine(line string, maxTarget int) *Refusal {
	method, rest, _ := strings.Cut(line, " ")
	target, version, three := strings.Cut(rest, " ")
	if r := judgeLine(method, target, maxTarget); r != nil {
		return r
	}
	switch {
	case !three || !isVersion(version):
		return refuse(400, "the request line does not end with a version of HTTP")
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		return refuse(505, "the version is neither HTTP/1.1 nor HTTP/1.0")
	}
	h.Method, h.Target, h.Minor = method, target, int(version[7]-'0')
	return nil
}

// judgeLine judges a method and a target.
func judgeLine(method, target string, maxTarget int) *Refusal {
	switch {
	case !IsToken(method):
		return refuse(400, "the method is not a token")
	case len(method) > maxMethod:
		return refuse(501, "the method is too long")
	case len(target) > maxTarget:
		return refuse(414, "the request target is too long")
	case target == "" || !IsTargetText(target):
		return refuse(400, "the request target holds bytes that it cannot hold")
	}
	return nil
}

// JudgeRequestHead makes a head of parts that another reader took apart, as it is
// done in HTTP/2 (RFC 9113, section 8.3), and takes what [ParseRequestHead] takes
// of HTTP/1.1, whose fields for the host and the framing it wants. White space
// around a value is no part of it there, and refused here (section 8.2.1). The
// result keeps fields.
func JudgeRequestHead(method, target string, fields Fields, limits RequestLimits) (RequestHead, *Refusal) {
	h := RequestHead{Method: method, Target: target, Minor: 1, Fields: fields}
	if r := judgeLine(method, target, limits.MaxTarget); r != nil {
		return h, r
	}
	if len(fields) > limits.MaxFields {
		return h, refuse(431, "too many header fields")
	}
	for _, f := range fields {
		switch {
		case !IsToken(f.Name), !IsFieldValue(f.Value), TrimSpace(f.Value) != f.Value:
			return h, refuse(400, "a field holds bytes that it cannot hold")
		case IsAliased(f.Name):
			return h, refuse(400, "a field with an underscore in place of a hyphen")
		}
	}
	return h, h.frame()
}

// isVersion reports whether s is an HTTP-version (RFC 9112, section 2.3).
func isVersion(s string) bool {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	return len(s) == 8 && s[:5] == "HTTP/" && digit(s[5]) && s[6] == '.' && digit(s[7])
}

// IsTargetText reports whether s has neither spaces, control bytes, bytes beyond
// ASCII nor a fragment, which no request target has (RFC 9112, section 3.2).
func IsTargetText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// occurrence is how many lines there are of a field, and the last value.
type occurrence struct {
	count int
	value string
}

func (l *occurrence) note(f Field, name string) {
	if EqualFold(f.Name, name) {
		l.count++
		l.value = f.Value
	}
}

// frame judges the fields that say where the message ends and what follows it.
// It goes over them once: most requests have none of those but Host.
func (h *RequestHead) frame() *Refusal {
	var host, length, coding, expect, connection occurrence
	for _, f := range h.Fields {
		switch len(f.Name) {
		case len("Host"):
			host.note(f, "Host")
		case len("Expect"):
			expect.note(f, "Expect")
		case len("Connection"):
			connection.note(f, "Connection")
		case len("Content-Length"):
			length.note(f, "Content-Length")
		case len("Transfer-Encoding"):
			coding.note(f, "Transfer-Encoding")
		}
	}
	http11 := h.Minor > 0
	switch {
	case host.count > 1:
		return refuse(400, "more than one Host")
	case host.value == "" && (http11 || host.count > 0):
		return refuse(400, "no Host")
	case coding.count > 0 && length.count > 0:
		return refuse(400, "Content-Length beside Transfer-Encoding")
	case coding.count > 0 && !http11:
		return refuse(400, "Transfer-Encoding in HTTP/1.0")
	case coding.count > 0 && (coding.count > 1 || !EqualFold(coding.value, "chunked")):
		return refuseCoding(coding)
	case length.count > 1:
		return refuse(400, "more than one Content-Length")
	case expect.count > 0 && http11 && (expect.count > 1 || !EqualFold(expect.value, "100-continue")):
		return refuse(417, "an expectation other than 100-continue")
	}
	if length.count > 0 {
		n, ok := ParseLength(length.value)
		if !ok || length.value[0] == '0' && length.value != "0" {
			return refuse(400, "a Content-Length that is not a plain number")
		}
		h.Length = n
	}
	if coding.count > 0 {
		h.Length = Chunked
	}
	h.Continue = expect.count > 0 && http11 && h.Length != 0
	h.Persistent = http11
	if connection.count > 0 {
		h.Persistent = (http11 || h.Fields.HasToken("Connection", "keep-alive")) && !h.Fields.HasToken("Connection", "close")
	}
	return nil
}

// refuseCoding tells a coding that is not understood, which is 501 (RFC 9112,
// section 6.1), from a list that cannot be framed at all.
func refuseCoding(coding occurrence) *Refusal {
	last, known := "", coding.count == 1
	for rest, item := coding.value, ""; rest != "" && known; {
		item, rest = NextItem(rest)
		known = IsToken(item) && !EqualFold(last, "chunked") && !strings.HasSuffix(coding.value, ",")
		last = item
	}
	if known && EqualFold(last, "chunked") {
		return refuse(501, "a transfer coding other than chunked")
	}
	return refuse(400, "a Transfer-Encoding that is not chunked")
}
