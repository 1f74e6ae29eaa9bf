package config

import (
	"testing"
	"time"
)

func TestAccessLog(t *testing.T) {
	for text, want := range map[string]AccessLog{
		"": {},
		"access_log: {path: stderr}": {
			Path: "stderr", Format: "json", Only: AccessAll, Sample: 1, Buffer: 4 << 20, Flush: time.Second,
		},
		"access_log: {path: /a b, format: '{status}{{', sample: 0.0001, buffer: 2MiB, flush: 10ms}": {
			Path: "/a b", Format: "{status}{{", Only: AccessAll, Sample: 0.0001, Buffer: 2 << 20, Flush: 10 * time.Millisecond,
		},
		"access_log: {path: a, format: combined, only: errors}": {
			Path: "a", Format: "combined", Only: AccessErrors, Sample: 1, Buffer: 4 << 20, Flush: time.Second,
		},
	} {
		if got := mustParse(t, text+rest).AccessLog; got != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestAccessLogFaults(t *testing.T) {
	checkFaults(t, []struct{ text, want string }{
		{"access_log: {}" + rest, `f:1:13: access_log: path is missing; write path: /var/log/ringfence/access.log, or stdout`},
		{"access_log: {path: ''}" + rest,
			`f:1:20: access_log.path: is empty; write the path of a file, stdout or stderr, or remove the section access_log`},
		{"access_log: {path: a, format: '{clent} {status}'}" + rest,
			`f:1:31: access_log.format: unknown field {clent}; did you mean client?`},
		{"access_log: {path: a, format: jsn, only: failures, sample: 0, buffer: 64KiB, flush: 1ms}" + rest,
			`f:1:31: access_log.format: want json, combined or a template such as '{client} {method} {target} {status}', got "jsn"
f:1:42: access_log.only: want all or errors, got "failures"
f:1:60: access_log.sample: want 0.0001 to 1, got 0
f:1:71: access_log.buffer: want 2MiB to 1GiB, got 64KiB
f:1:85: access_log.flush: want 10ms to 1m, got 1ms`},
		{`access_log: {path: "a\nb", format: '{status', sample: 1.1}` + rest,
			`f:1:20: access_log.path: want a text without control characters, got one after 1 bytes; write it on one line, without | or >
f:1:36: access_log.format: want json, combined or a template, got a lone {; write {{ for the character itself
f:1:55: access_log.sample: want 0.0001 to 1, got 1.1`},
		{"access_log: {path: a, only: errors, sample: 0.5}" + rest,
			`f:1:45: access_log.sample: means nothing to only: errors, which all have a line; remove it or write only: all`},
	})
}
