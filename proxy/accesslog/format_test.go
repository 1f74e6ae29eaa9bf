package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// full is an entry in which every field has a value.
func full() Entry {
	return Entry{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6789012, time.FixedZone("", 3600)), RequestID: "id-1",
		Client: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddrPort("[2001:db8::1]:4711"),
		Protocol: "HTTP/1.1", TLS: "1.3", Method: "GET", Scheme: "https", Host: "example.com:8443", Target: "/a?b=c",
		Referer: "https://example.com/", UserAgent: "Mozilla/5.0 (X11)", Status: 200, Bytes: 1024, Complete: true,
		FirstByte: 1500 * time.Microsecond, Duration: 62*time.Second + 3*time.Millisecond, Cache: "stale", Reason: "must-revalidate",
		HasKey: true, Key: 0xabc, HasAge: true, Age: 7900 * time.Millisecond, HasTTL: true, TTL: -1100 * time.Millisecond,
		Stored: true, Collapsed: true, Wait: time.Second, Route: "*/", Upstream: "app", Server: "one", Attempts: 2,
		UpstreamTime: 30 * time.Millisecond, UpstreamStatus: 304, Error: "http_response_incomplete",
	}
}

func mustFormat(t testing.TB, text string) Format {
	t.Helper()
	f, err := ParseFormat(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestFormats(t *testing.T) {
	bare := Entry{Time: full().Time, Status: 400, Complete: true}
	odd := full()
	odd.UserAgent, odd.Referer = "a\"b\\c\nd\x00\x7f\xffé\u2028\U0001f600", "\u0085"
	for _, tt := range []struct {
		name, format string
		entry        Entry
		want         string
	}{
		{"all there is", "json", full(), `{"time":"2026-01-02T02:04:05.006Z","request_id":"id-1","client":"192.0.2.1",` +
			`"peer":"[2001:db8::1]:4711","protocol":"HTTP/1.1","tls":"1.3","method":"GET","scheme":"https",` +
			`"host":"example.com:8443","target":"/a?b=c","status":200,"bytes":1024,"complete":true,"first_byte":0.001500,` +
			`"duration":62.003000,"cache":"stale","reason":"must-revalidate","key":"0000000000000abc","ttl":-2,"age":7,` +
			`"stored":true,"collapsed":true,"wait":1.000000,"route":"*/","upstream":"app","server":"one","attempts":2,` +
			`"upstream_status":304,"upstream_time":0.030000,"error":"http_response_incomplete",` +
			`"referer":"https://example.com/","user_agent":"Mozilla/5.0 (X11)"}`},
		{"what does not apply is left out", "json", bare,
			`{"time":"2026-01-02T02:04:05.006Z","status":400,"bytes":0,"complete":true,"duration":0.000000}`},
		{"zero is a value of age and ttl", "json", Entry{Time: bare.Time, HasAge: true, HasTTL: true, HasKey: true},
			`{"time":"2026-01-02T02:04:05.006Z","status":0,"bytes":0,"complete":false,"duration":0.000000,"key":"0000000000000000","ttl":0,"age":0}`},
		{"combined", "combined", full(),
			`192.0.2.1 - - [02/Jan/2026:02:04:05 +0000] "GET /a?b=c HTTP/1.1" 200 1024 "https://example.com/" "Mozilla/5.0 (X11)"`},
		{"combined of nothing", "combined", bare, `- - - [02/Jan/2026:02:04:05 +0000] "- - -" 400 0 "-" "-"`},
		{"a template", "{status}|{ttl} {key}{age}: {host}", full(), `200|-2 0000000000000abc7: example.com:8443`},
		{"a template of nothing", "{peer} {client} {tls} {key} {age} {stored} {complete}", bare, `- - - - - - true`},
		{"braces", "{{{{}} {{{status}}} {{status}}", full(), `{{} {200} {status}`},
		{"odd bytes in a template", "{user_agent}", odd, `a\x22b\x5cc\x0ad\x00\x7f\xff\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80`},
		{"time", "{time}", Entry{Time: time.Unix(0, 999_999_999)}, `1970-01-01T00:00:00.999Z`},
	} {
		if got := string(mustFormat(t, tt.format).Append([]byte("before "), &tt.entry)); got != "before "+tt.want+"\n" {
			t.Errorf("%s:\ngot  %swant before %s", tt.name, got, tt.want)
		}
	}
	line := string(mustFormat(t, "json").Append(nil, &odd))
	if want := `"referer":"\u0085","user_agent":"a\"b\\c\u000ad\u0000\u007f\ufffd\u00e9\u2028\ud83d\ude00"`; !strings.Contains(line, want) {
		t.Errorf("got %swant %s", line, want)
	}
}

func TestParseFormatFaults(t *testing.T) {
	for text, want := range map[string]string{
		"{stauts}":                         "unknown field {stauts}",
		"{}":                               "unknown field {}",
		"{status":                          "a lone {; write {{ for the character itself",
		"{status}}":                        "a lone }; write }} for the character itself",
		"}{status}":                        "a lone }; write }} for the character itself",
		"":                                 "a template of 0 fields, where there may be 1 to 64",
		"jsn":                              "a template of 0 fields, where there may be 1 to 64",
		"{status}\n{status}":               "a template of more than visible ASCII",
		"{status}é":                        "a template of more than visible ASCII",
		strings.Repeat("{status}", 65):     "a template of 65 fields, where there may be 1 to 64",
		strings.Repeat("x", maxTemplate+1): "a template of more than 4096 bytes",
	} {
		if _, err := ParseFormat(text); err == nil || err.Error() != want {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseFormat("{x}"); !errors.As(err, new(UnknownField)) {
		t.Errorf("%v is no UnknownField", err)
	}
	for _, name := range FieldNames() {
		mustFormat(t, "{"+name+"}")
	}
}

// In the formats that are built in, what a client can send fits into a chunk.
func TestLongestLine(t *testing.T) {
	e := full()
	e.Target, e.Host = strings.Repeat(`"`, 1<<20), strings.Repeat(`"`, 1<<20)
	for _, text := range []*string{&e.Referer, &e.UserAgent, &e.RequestID} {
		*text = strings.Repeat("\xff", 1<<20)
	}
	for _, name := range []string{"json", "combined"} {
		if n := len(mustFormat(t, name).Append(nil, &e)); n > chunkSize || n < maxTarget {
			t.Errorf("%s: a line of %d bytes", name, n)
		}
	}
}

// combinedLine is how readers of the combined format take it apart.
var combinedLine = regexp.MustCompile(`^(\S+) - - \[[^\]]+\] "([^"]*)" (\d+) (\d+) "([^"]*)" "([^"]*)"\n$`)

// FuzzAppend: whatever a client sends is one line, which a reader takes apart as
// it was put together.
func FuzzAppend(f *testing.F) {
	for _, seed := range []string{"", "a", "a\"b", "a\\", "\n", "\r\n{\"status\":200}\n", "\x00\x1f\x7f", "\xff\xfe", "é", "\u2028", "\U0001f600", "{status}", "%s", `\x0a`} {
		f.Add(seed, "/"+seed, seed+seed)
	}
	asJSON, asCombined, template := mustFormat(f, "json"), mustFormat(f, "combined"), mustFormat(f, "{user_agent}")
	f.Fuzz(func(t *testing.T, agent, target, referer string) {
		e := full()
		e.UserAgent, e.Target, e.Referer = agent, target, referer
		line := asJSON.Append(nil, &e)
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for name, text := range map[string]string{
			"user_agent": agent[:min(len(agent), maxText)], "target": target[:min(len(target), maxTarget)], "referer": referer[:min(len(referer), maxText)],
		} {
			if s, _ := got[name].(string); s != string([]rune(text)) { // each odd byte is U+FFFD
				t.Errorf("%s: %q of %q", name, s, text)
			}
		}
		checkLine(t, line)
		line = asCombined.Append(nil, &e)
		checkLine(t, line)
		m := combinedLine.FindSubmatch(line)
		if m == nil {
			t.Fatalf("%q is not the combined format", line)
		}
		line = template.Append(nil, &e)
		checkLine(t, line)
		if back := unescape(t, strings.TrimSuffix(string(line), "\n")); agent != "" && back != agent[:min(len(agent), maxText)] {
			t.Errorf("%q of %q", back, agent)
		}
		if string(m[6])+"\n" != string(line) {
			t.Errorf("combined has %q where a template has %q", m[6], line)
		}
	})
}

// checkLine wants one line of visible ASCII.
func checkLine(t *testing.T, line []byte) {
	t.Helper()
	if i := bytes.IndexFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f }); i != len(line)-1 || line[i] != '\n' {
		t.Errorf("%q has an odd byte at %d of %d", line, i, len(line))
	}
}

// unescape is the reverse of appendEscaped.
func unescape(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
		if err != nil || s[i+1] != 'x' {
			t.Fatalf("%q: no escape at %d", s, i)
		}
		b.WriteByte(byte(n))
		i += 3
	}
	return b.String()
}

func FuzzParseFormat(f *testing.F) {
	for _, seed := range []string{"json", "combined", combined, "{status}", "{{{status}}}", "{", "}", "{}", "{{", "a{b}c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		format, err := ParseFormat(text)
		if err != nil {
			return
		}
		e := full()
		checkLine(t, format.Append(nil, &e))
	})
}

func BenchmarkAppend(b *testing.B) {
	e := full()
	for _, name := range []string{"json", "combined"} {
		b.Run(name, func(b *testing.B) {
			f := mustFormat(b, name)
			var line []byte
			b.ReportAllocs()
			for b.Loop() {
				line = f.Append(line[:0], &e)
			}
		})
	}
}
