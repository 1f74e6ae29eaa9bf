package config

import (
	"testing"
	"time"
)

func TestSnapshotOptions(t *testing.T) {
	const rest = "\nupstreams: {app: {servers: [{address: '127.0.0.1:9001'}]}}\nroutes: [{upstream: app}]"
	for text, want := range map[string]Snapshot{
		"{}":                                    {},
		"{snapshot: {file: a/b}}":               {File: "a/b", Interval: 5 * time.Minute},
		"{snapshot: {file: /a, interval: off}}": {File: "/a"},
		"{snapshot: {file: /a, interval: 1s}}":  {File: "/a", Interval: time.Second},
	} {
		if got := mustParse(t, "cache: "+text+rest).Cache.Snapshot; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"{}":                        "f:1:19: cache.snapshot: file is missing; write file: /var/lib/ringfence/cache",
		"{file: ''}":                "f:1:26: cache.snapshot.file: is empty; write the path of a file, or remove the section snapshot",
		"{file: /a/}":               "f:1:26: cache.snapshot.file: is a folder; write the path of a file in it",
		"{file: /a, interval: 1ms}": "f:1:40: cache.snapshot.interval: want 1s to 24h, or off, got 1ms",
	} {
		if _, err := Parse("f", []byte("cache: {snapshot: "+text+"}"+rest)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
