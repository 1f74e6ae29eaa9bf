package logs

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestRead(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for line, want := range map[string]Entry{
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET /a?b=c HTTP/1.1" 200 12 "-" "x y"`:                                           {at, "GET", "", "/a?b=c", 200, 12},
		`1.2.3.4 - me [04/Mar/2026:06:06:07 +0100] "HEAD http://h.example/a HTTP/1.1" 304 -`:                                        {at, "HEAD", "h.example", "/a", 304, -1},
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET /\" 5 HTTP/1.1" 200 12`:                                                      {at, "GET", "", `/\"`, 200, 12},
		`{"time":"2026-03-04T05:06:07Z","method":"PUT","host":"h","target":"/a","status":201,"bytes":0}`:                            {at, "PUT", "h", "/a", 201, 0},
		`{"msec":1772600767.000,"request_uri":"/a","http_host":"h","request_method":"GET","status":"200","body_bytes_sent":"1500"}`: {at, "GET", "h", "/a", 200, 1500},
		`{"ts":"04/Mar/2026:05:06:07 +0000","uri":"/a"}`:                                                                            {at, "GET", "", "/a", -1, -1},
	} {
		l, err := Read(strings.NewReader("\n"+line+"\n"), 10)
		if err != nil || len(l.Entries) != 1 {
			t.Errorf("%s: %v", line, err)
			continue
		}
		got := l.Entries[0]
		if !got.At.Equal(want.At) {
			t.Errorf("%s: at %s", line, got.At)
		}
		if got.At = want.At; got != want {
			t.Errorf("%s: %+v, want %+v", line, got, want)
		}
	}
}

func TestReadSkipsAndSorts(t *testing.T) {
	const line = `c - - [04/Mar/2026:05:06:0%s +0000] "GET /%s HTTP/1.1" 200 1`
	text := "nonsense\n" + strings.ReplaceAll(line, "%s", "7") + "\n{\n" + strings.ReplaceAll(line, "%s", "3") + "\n" + strings.ReplaceAll(line, "%s", "9")
	l, err := Read(strings.NewReader(text), 2)
	if err != nil || len(l.Entries) != 2 || l.Skipped != 2 || !strings.HasPrefix(l.Example, "line 1: want client") || l.Entries[0].Target != "/3" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":  "no request in it",
		"x": "line 1: want client",
		`c - - [04/Mar/2026:05:06:07 +0000] "GET" 200 1`:      "want a method and a target",
		`c - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP`:      "the request has no end",
		`c - - [04/Mar/2026:05:06:07 +0000] "GET /\" HTTP`:    "the request has no end",
		`c - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP/1" `:  "the request has no end",
		`c - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP/1" x`: "status",
		`c - - [yesterday] "GET / HTTP/1" 200 1`:              "time",
		`{"target":"/"}`:                                      "time",
		`{"time":"nan","target":"/"}`:                         "time",
		`{"time":1,"target":"*"}`:                             "want a path",
		strings.Repeat("x", mostLine+1):                       "too long",
	} {
		if _, err := Read(strings.NewReader(text), 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %q", text, err, want)
		}
	}
	broken := errors.New("broken")
	if _, err := Read(iotest.ErrReader(broken), 10); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET /a?b=c HTTP/1.1" 200 12 "-" "x y"`)
	f.Add(`{"time":1.5,"target":"http://h/a","status":200}`)
	f.Fuzz(func(t *testing.T, line string) {
		if e, err := parse(line); err == nil && (e.Target[0] != '/' || strings.ContainsAny(e.Method+e.Host+e.Target, " \r\n")) {
			t.Errorf("%q is %+v", line, e)
		}
	})
}
