package proxy

import (
	"strings"
	"testing"
)

func TestKeptIDs(t *testing.T) {
	for text, want := range map[string]string{
		"X-Id: a": "a", "x-id: ~!(),;\"": "~!(),;\"", "X-Id: " + strings.Repeat("x", 128): strings.Repeat("x", 128),
		"": "", "X-Id:": "", "X-Id: a b": "", "X-Id: a\tb": "", "X-Id: ü": "", "X-Id: a|X-Id: a": "",
		"X-Id: " + strings.Repeat("x", 129): "", "X-Idd: a": "",
	} {
		if got := keptID(fieldLines(t, text), "X-Id"); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestNewIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := newID()
		if len(id) != 32 || !isLowerHex(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

// TestTraceparent covers W3C Trace Context, section 3.2.
func TestTraceparent(t *testing.T) {
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for text, want := range map[string]bool{
		"00-" + trace + "-" + parent + "-01": true, "00-" + trace + "-" + parent + "-ff": true,
		"01-" + trace + "-" + parent + "-01": true, "cc-" + trace + "-" + parent + "-01-what": true,
		"": false, "00": false, "ff-" + trace + "-" + parent + "-01": false, "0x-" + trace + "-" + parent + "-01": false,
		"00-" + trace + "-" + parent + "-01-what": false, "01-" + trace + "-" + parent + "-01what": false,
		"00-" + trace + "-" + parent + "-0": false, "00-" + trace + "-" + parent + "-0G": false,
		"00-" + trace + "-" + parent: false, "00_" + trace + "-" + parent + "-01": false, "00-" + trace + "_" + parent + "-01": false,
		"00-" + trace + "-" + parent + "_01":                      false,
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01":     false,
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01":    false,
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01":     false,
		"00-" + trace + "-" + strings.ToUpper(parent) + "-01":     false,
		"00-" + trace[1:] + "-" + parent + "0-01":                 false,
		" 00-" + trace + "-" + parent + "-01":                     false,
		"00-" + trace + "-" + parent + "-01,00-" + trace + parent: false,
	} {
		if got := isTraceparent(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	one := "traceparent: 00-" + trace + "-" + parent + "-01"
	if !hasTrace(fieldLines(t, one)) || hasTrace(fieldLines(t, one+"|"+one)) || hasTrace(nil) {
		t.Error("not one line is wanted")
	}
}
