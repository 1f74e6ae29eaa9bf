package proxy

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/accesslog"
)

// newAccessLog starts an access log that the test's end closes.
func newAccessLog(tb testing.TB, path string) *accesslog.Log {
	tb.Helper()
	format, err := accesslog.ParseFormat("json")
	if err != nil {
		tb.Fatal(err)
	}
	l, err := accesslog.New(accesslog.Options{Path: path, Format: format, Sample: 1, Buffer: 16 << 20, Flush: 10 * time.Millisecond})
	if err != nil {
		tb.Fatal(err)
	}
	l.Start()
	tb.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// What was stored and did not reach its client is not complete, in one piece or
// streamed.
func TestRecordOfBrokenAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := newAccessLog(t, path)
	for _, size := range []int64{100, largeBody + 1} {
		s := newSite(t, always(origin.Answer{Size: size}.With("Cache-Control", "max-age=60")), func(o *Options) { o.AccessLog = l })
		s.get("/")
		s.stored(1)
		_ = testFront(s.h).ServeConn(&deafConn{loopConn{request: []byte(request("GET", "/")), left: 1}}) // that is what the line is about
	}
	waitFor(t, "the lines", func() bool { return l.Stats().Lines == 4 })
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for line := range strings.Lines(string(text)) {
		var e struct {
			Complete     bool
			Cache, Error string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Complete != (e.Cache != "hit") || e.Error != "" {
			t.Errorf("%v: %s", err, line)
		}
		if !e.Complete {
			broken++
		}
	}
	if broken != 2 {
		t.Errorf("%d of 2 are incomplete", broken)
	}
}

// A request whose answer panics has a line like any other.
func TestRecordOfPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := newAccessLog(t, path)
	s := newSite(t, always(origin.Answer{Raw: []byte{}, Ending: origin.Drop}), func(o *Options) {
		o.AccessLog, o.Log = l, slog.New(panicking{slog.DiscardHandler})
	})
	if r := s.get("/"); r.status != 500 {
		t.Fatal(r)
	}
	waitFor(t, "the line", func() bool { return l.Stats().Lines == 1 })
	text, _ := os.ReadFile(path)
	if line := string(text); !strings.Contains(line, `"status":500`) || !strings.Contains(line, `"error":"proxy_internal_error"`) {
		t.Error(line)
	}
}
