package accesslog

import (
	"net/netip"
	"strconv"
	"time"
)

// A field is one thing that a line may say.
type field struct {
	name string
	// text gives what may hold any bytes; "" says nothing.
	text func(*Entry) string
	// limit is how much of the text is shown, in bytes.
	limit int
	// plain appends what needs no escaping; nothing says nothing.
	plain func([]byte, *Entry) []byte
	// bare says that JSON needs no quotes around it.
	bare bool
	// templates says that only those have it.
	templates bool
}

// How much is shown of a text, in bytes. In the formats that are built in, what a
// client can send fits into a chunk, however much of it is to be escaped.
const (
	maxTarget = 8 << 10
	maxText   = 2 << 10
)

// fields are all there are, in the order of JSON. The first one is never without
// a value.
var fields = [...]field{
	{name: "time", plain: func(dst []byte, e *Entry) []byte { return appendTime(dst, e.Time) }},
	{name: "clf_time", templates: true, plain: func(dst []byte, e *Entry) []byte {
		return e.Time.UTC().AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	}},
	{name: "request_id", limit: maxText, text: func(e *Entry) string { return e.RequestID }},
	{name: "client", plain: func(dst []byte, e *Entry) []byte { return appendAddr(dst, e.Client) }},
	{name: "peer", plain: func(dst []byte, e *Entry) []byte { return appendPeer(dst, e.Peer) }},
	{name: "protocol", limit: maxText, text: func(e *Entry) string { return e.Protocol }},
	{name: "tls", limit: maxText, text: func(e *Entry) string { return e.TLS }},
	{name: "method", limit: maxText, text: func(e *Entry) string { return e.Method }},
	{name: "scheme", limit: maxText, text: func(e *Entry) string { return e.Scheme }},
	{name: "host", limit: maxText, text: func(e *Entry) string { return e.Host }},
	{name: "target", limit: maxTarget, text: func(e *Entry) string { return e.Target }},
	{name: "status", bare: true, plain: func(dst []byte, e *Entry) []byte { return strconv.AppendInt(dst, int64(e.Status), 10) }},
	{name: "bytes", bare: true, plain: func(dst []byte, e *Entry) []byte { return strconv.AppendInt(dst, e.Bytes, 10) }},
	{name: "complete", bare: true, plain: func(dst []byte, e *Entry) []byte { return strconv.AppendBool(dst, e.Complete) }},
	{name: "first_byte", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendTook(dst, e.FirstByte) }},
	{name: "duration", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendSeconds(dst, e.Duration) }},
	{name: "cache", limit: maxText, text: func(e *Entry) string { return e.Cache }},
	{name: "reason", limit: maxText, text: func(e *Entry) string { return e.Reason }},
	{name: "key", plain: appendKey},
	{name: "ttl", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendWhole(dst, e.TTL, e.HasTTL) }},
	{name: "age", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendWhole(dst, e.Age, e.HasAge) }},
	{name: "stored", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendTrue(dst, e.Stored) }},
	{name: "collapsed", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendTrue(dst, e.Collapsed) }},
	{name: "wait", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendTook(dst, e.Wait) }},
	{name: "route", limit: maxText, text: func(e *Entry) string { return e.Route }},
	{name: "upstream", limit: maxText, text: func(e *Entry) string { return e.Upstream }},
	{name: "server", limit: maxText, text: func(e *Entry) string { return e.Server }},
	{name: "attempts", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendCount(dst, e.Attempts) }},
	{name: "upstream_status", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendCount(dst, e.UpstreamStatus) }},
	{name: "upstream_time", bare: true, plain: func(dst []byte, e *Entry) []byte { return appendTook(dst, e.UpstreamTime) }},
	{name: "error", limit: maxText, text: func(e *Entry) string { return e.Error }},
	{name: "referer", limit: maxText, text: func(e *Entry) string { return e.Referer }},
	{name: "user_agent", limit: maxText, text: func(e *Entry) string { return e.UserAgent }},
}

// FieldNames returns what a template may have between braces.
func FieldNames() []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// appendTime appends a time in UTC, with milliseconds (RFC 3339).
func appendTime(dst []byte, t time.Time) []byte {
	dst = t.UTC().AppendFormat(dst, time.RFC3339)
	dst[len(dst)-1] = '.' // in place of the Z
	return append(appendDigits(dst, t.Nanosecond()/1e6, 3), 'Z')
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return dst
	}
	return a.AppendTo(dst)
}

func appendPeer(dst []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return dst
	}
	return a.AppendTo(dst)
}

// appendKey appends 16 digits.
func appendKey(dst []byte, e *Entry) []byte {
	if !e.HasKey {
		return dst
	}
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[e.Key>>shift&0xf])
	}
	return dst
}

// appendSeconds appends a time in seconds, down to microseconds.
func appendSeconds(dst []byte, d time.Duration) []byte {
	d = max(d, 0)
	dst = strconv.AppendInt(dst, int64(d/time.Second), 10)
	return appendDigits(append(dst, '.'), int(d%time.Second/time.Microsecond), 6)
}

// appendDigits appends the last digits of a number.
func appendDigits(dst []byte, n, digits int) []byte {
	for range digits {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; digits > 0; i, digits = i-1, digits-1 {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// appendTook is appendSeconds for a time that there need not be.
func appendTook(dst []byte, d time.Duration) []byte {
	if d == 0 {
		return dst
	}
	return appendSeconds(dst, d)
}

// appendWhole appends whole seconds, rounded down as in Cache-Status.
func appendWhole(dst []byte, d time.Duration, there bool) []byte {
	if !there {
		return dst
	}
	seconds := d / time.Second
	if d < 0 && d%time.Second != 0 {
		seconds--
	}
	return strconv.AppendInt(dst, int64(seconds), 10)
}

func appendCount(dst []byte, n int) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

func appendTrue(dst []byte, is bool) []byte {
	if !is {
		return dst
	}
	return append(dst, "true"...)
}
