package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"ringfence/proxy/wire"
)

// maxID bounds a request id, in bytes.
const maxID = 128

// requestID returns the id of a request: what its peer calls it, if that is
// trusted and has an id for it, or else a new one.
func requestID(fields wire.Fields, name string, trusted bool) string {
	if trusted {
		if id := keptID(fields, name); id != "" {
			return strings.Clone(id)
		}
	}
	return newID()
}

// keptID returns the id that the one line called name has: 1 to 128 visible ASCII
// characters. Without such a line it is "".
func keptID(fields wire.Fields, name string) string {
	i := fields.Index(name, 0)
	if i < 0 || fields.Index(name, i+1) >= 0 || len(fields[i].Value) > maxID {
		return ""
	}
	id := fields[i].Value
	for j := range len(id) {
		if id[j] <= ' ' || id[j] >= 0x7f {
			return ""
		}
	}
	return id
}

// newID makes an id of 128 random bits. It tells requests apart and proves
// nothing.
func newID() string {
	var bits [16]byte
	binary.BigEndian.PutUint64(bits[:8], rand.Uint64())
	binary.BigEndian.PutUint64(bits[8:], rand.Uint64())
	var text [2 * len(bits)]byte
	hex.Encode(text[:], bits[:])
	return string(text[:])
}

// hasTrace reports whether there is one traceparent, and a valid one (W3C Trace
// Context, section 3.2). Without it tracestate means nothing (section 3.3).
func hasTrace(fields wire.Fields) bool {
	i := fields.Index("traceparent", 0)
	return i >= 0 && fields.Index("traceparent", i+1) < 0 && isTraceparent(fields[i].Value)
}

// isTraceparent reads version-traceid-parentid-flags. A version after 00 may
// have more to say behind them (section 3.2.4); ff is none.
func isTraceparent(s string) bool {
	const size = len("00-") + 32 + len("-") + 16 + len("-00")
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' || len(s) > size && (s[:2] == "00" || s[size] != '-') {
		return false
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:size]
	return version != "ff" && isLowerHex(version) && isLowerHex(flags) &&
		isLowerHex(trace) && strings.Trim(trace, "0") != "" && isLowerHex(parent) && strings.Trim(parent, "0") != ""
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
