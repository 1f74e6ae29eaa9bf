package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"ringfence/loadtest/origin"
)

// A request means by HTTP/2 what it means by HTTP/1, and its answer is the same.
func TestH2Answers(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 40<<10)
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		switch r.Path() {
		case "/small":
			return origin.Text("max-age=60", "small").With("X-B", "1").With("A", "").With("x-b", "2")
		case "/cookies":
			return origin.Text("", "c").With("Set-Cookie", "b=1").With("X-A", "1").With("Set-Cookie", "a=2")
		case "/big":
			return origin.Text("max-age=60", big).With("Content-Type", "text/plain")
		case "/chunked":
			return origin.Answer{Body: []byte(big), Framing: origin.Chunked}.With("Content-Type", "a/b")
		case "/empty":
			return origin.Answer{Framing: origin.Chunked, Body: []byte{}}
		case "/none":
			return origin.Answer{Status: 204}
		case "/coded":
			return origin.Text("", "\x1f\x8b").With("Content-Encoding", "br, gzip")
		case "/moved":
			return origin.Answer{Status: 302}.With("Location", "/small").With("Connection", "X-Hop").With("X-Hop", "1").With("Keep-Alive", "timeout=5")
		}
		return origin.Text("no-store", r.Head)
	})
	for _, tt := range []struct {
		method, path string
		fields       []string
		status       int
		length       int64
		body         string
		says         string
		head         map[string]string // "": none
	}{
		{"GET", "/small", nil, 200, 5, "small", "fwd=uri-miss", map[string]string{"Content-Type": "", "X-B": "1|2"}},
		{"GET", "/small", nil, 200, 5, "small", "hit", map[string]string{"Content-Type": "", "X-B": "1|2", "Age": "0"}},
		{"GET", "/cookies", nil, 200, 1, "c", "fwd=uri-miss", map[string]string{"Set-Cookie": "b=1|a=2"}},
		{"HEAD", "/small", nil, 200, 5, "", "hit", nil},
		{"GET", "/small", []string{"Range: bytes=1-2"}, 206, 2, "ma", "hit", map[string]string{"Content-Range": "bytes 1-2/5"}},
		{"GET", "/small", []string{"Range: bytes=9-"}, 416, 42, "the range lies outside the representation\n", "hit", nil},
		{"GET", "/big", nil, 200, int64(len(big)), big, "fwd=uri-miss", map[string]string{"Content-Type": "text/plain"}},
		{"GET", "/big", nil, 200, int64(len(big)), big, "hit", map[string]string{"Content-Type": "text/plain"}},
		{"HEAD", "/big", nil, 200, int64(len(big)), "", "hit", nil},
		{"GET", "/chunked", nil, 200, -1, big, "fwd=uri-miss", map[string]string{"Content-Type": "a/b", "Transfer-Encoding": ""}},
		{"HEAD", "/chunked", nil, 200, -1, "", "fwd=uri-miss", nil},
		{"GET", "/empty", nil, 200, -1, "", "fwd=uri-miss", nil},
		{"GET", "/none", nil, 204, 0, "", "fwd=uri-miss", map[string]string{"Content-Length": ""}},
		{"GET", "/coded", nil, 200, 2, "\x1f\x8b", "fwd=uri-miss", map[string]string{"Content-Encoding": "br, gzip", "Content-Type": ""}},
		{"GET", "/moved", nil, 302, 0, "", "fwd=uri-miss", map[string]string{"Location": "/small", "X-Hop": "", "Connection": "", "Keep-Alive": ""}},
		{"TRACE", "/", nil, 501, 23, "TRACE is not supported\n", "refused", nil},
		{"GET", "/small", []string{"If-None-Match: *"}, 304, -1, "", "hit", map[string]string{"Content-Length": ""}},
		{"GET", "/small", []string{"Host: a b"}, 400, -1, "", "", nil},
	} {
		r := s.do(tt.method, tt.path, nil, tt.fields...)
		if r.err != nil && tt.status == 400 {
			continue // it does not leave this client
		}
		if r.status != tt.status || r.body != tt.body || r.err != nil || tt.says != "" && !r.says(tt.says) {
			t.Errorf("%s %s %v: %.300s", tt.method, tt.path, tt.fields, r)
		}
		if tt.status != 304 && tt.method != "HEAD" && r.length != tt.length {
			t.Errorf("%s %s: %d bytes announced, want %d", tt.method, tt.path, r.length, tt.length)
		}
		if tt.method == "HEAD" && tt.length >= 0 && r.header.Get("Content-Length") != strconv.FormatInt(tt.length, 10) {
			t.Errorf("%s %s: Content-Length %s", tt.method, tt.path, r.header.Get("Content-Length"))
		}
		if len(r.header["Date"]) != 1 {
			t.Errorf("%s %s: Date %q", tt.method, tt.path, r.header["Date"])
		}
		for name, want := range tt.head {
			if got := strings.Join(r.header[textproto.CanonicalMIMEHeaderKey(name)], "|"); got != want {
				t.Errorf("%s %s: %s: %q, want %q", tt.method, tt.path, name, got, want)
			}
		}
	}
	st := s.door.Stats()
	if st.H2Accepted != 1 || st.H2Open != 1 || st.H2Requests < 16 || st.Requests != 0 {
		t.Errorf("%+v", st)
	}
}

// What goes upstream is a request of HTTP/1.1 that says how it came.
func TestH2Forwarded(t *testing.T) {
	s := newH2Site(t, func(r origin.Request) origin.Answer { return origin.Text("no-store", r.Head) })
	r := s.do("POST", "/a?b=c", strings.NewReader("body"), "Cookie: a=1", "Cookie: b=2", "X-A: 2", "X-A: 1", "TE: trailers", "Host: Example.com:443")
	for _, want := range []string{
		"POST /a?b=c HTTP/1.1\r\nHost: example.com\r\n", "\r\nCookie: a=1; b=2\r\n", "\r\nX-A: 2\r\nX-A: 1\r\n",
		"\r\nVia: 2.0 ringfence\r\n", "\r\nX-Forwarded-Proto: https\r\n", "\r\nX-Forwarded-For: 127.0.0.1\r\n", "\r\nContent-Length: 4\r\n",
	} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %q in %s", want, r)
		}
	}
	if strings.Contains(strings.ToLower(r.body), "\r\nte:") {
		t.Errorf("TE is the connection's: %s", r)
	}
}

// What a client makes of the framing of HTTP/1, and of where a request goes, is
// refused before anybody else has to read it.
func TestH2Refusals(t *testing.T) {
	s := newH2Site(t, always(origin.Text("no-store", "reached")))
	for _, tt := range []struct {
		name, want string
		fields     []string
		data       string // "": the head ends the stream
	}{
		{"RFC 9113 8.3.1 two hosts that differ", "400", []string{"host: y"}, ""},
		{"RFC 9113 8.3.1 two hosts alike", "200", []string{"host: x"}, ""},
		{"RFC 9113 8.3.1 repeated Host", "400", []string{":authority: y", "host: y", "host: y"}, ""},
		{"RFC 9113 8.3.1 no host", "400", []string{":authority: "}, ""},
		{"RFC 9113 8.3.1 host alone", "200", []string{":authority: ", "host: x"}, ""},
		{"RFC 9113 8.3.1 userinfo", "RST PROTOCOL_ERROR", []string{":authority: u@x"}, ""},
		{"RFC 9113 8.3.1 absolute path", "400", []string{":path: https://y/"}, ""},
		{"RFC 9113 8.3.1 empty path", "RST PROTOCOL_ERROR", []string{":path: "}, ""},
		{"RFC 9113 8.3.1 path without slash", "RST PROTOCOL_ERROR", []string{":path: a"}, ""},
		{"RFC 9113 8.3.1 asterisk", "400", []string{":path: *"}, ""},
		{"RFC 9113 8.3.1 scheme", "RST PROTOCOL_ERROR", []string{":scheme: ftp"}, ""},
		{"RFC 9112 3.2 fragment", "400", []string{":path: /#a"}, ""},
		{"RFC 9112 3.2 raw bytes", "400", []string{":path: /\xff"}, ""},
		{"RFC 9112 3.2 space in the target", "400", []string{":path: /a b"}, ""},
		{"RFC 9110 9.1 method", "400", []string{":method: G(T"}, ""},
		{"RFC 9110 9.1 method too long", "501", []string{":method: " + strings.Repeat("A", 33)}, ""},
		{"RFC 9113 8.5 CONNECT", "501", []string{":method: CONNECT", ":path: ", ":scheme: "}, ""},
		{"RFC 9113 8.2.1 space around a value", "400", []string{"a:  b"}, ""},
		{"RFC 9113 8.2.1 upper case", "RST PROTOCOL_ERROR", []string{"A: b"}, ""},
		{"RFC 9113 8.2.1 control byte", "RST PROTOCOL_ERROR", []string{"a: b\x00"}, ""},
		{"RFC 9113 8.2.1 CRLF", "RST PROTOCOL_ERROR", []string{"a: b\r\nhost: y"}, ""},
		{"RFC 9113 8.2.2 Connection", "400", []string{"connection: close"}, ""},
		{"RFC 9113 8.2.2 Transfer-Encoding", "400", []string{"transfer-encoding: chunked"}, "abc"},
		{"RFC 9113 8.2.2 Upgrade", "400", []string{"upgrade: websocket"}, ""},
		{"RFC 9113 8.2.2 TE", "400", []string{"te: gzip"}, ""},
		{"RFC 9113 8.1.1 length without a body", "400", []string{"content-length: 3"}, ""},
		{"RFC 9113 8.1.1 length too short", "RST PROTOCOL_ERROR", []string{":method: POST", "content-length: 2"}, "abc"},
		{"RFC 9113 8.1.1 length too long", "400", []string{":method: POST", "content-length: 4"}, "abc"},
		{"RFC 9112 6.3 two lengths", "400", []string{":method: POST", "content-length: 3", "content-length: 3"}, "abc"},
		{"RFC 9112 6.3 signed length", "400 or RST PROTOCOL_ERROR", []string{":method: POST", "content-length: +3"}, "abc"},
		{"RFC 9110 10.1.1 expectation", "417", []string{":method: POST", "expect: x"}, "abc"},
		{"underscore", "400", []string{"content_length: 3"}, ""},
		{"a body", "200", []string{":method: POST", "content-length: 3"}, "abc"},
		{"a body of unknown length", "200", []string{":method: POST"}, "abc"},
	} {
		r := s.dialRaw()
		before := s.o.Record().Total
		if err := r.request(1, tt.data == "", tt.fields...); err != nil {
			t.Fatal(err)
		}
		if tt.data != "" {
			if err := r.WriteData(1, true, []byte(tt.data)); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.next(1); !strings.HasPrefix(tt.want, got) && !strings.HasSuffix(tt.want, got) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		reached := s.o.Record().Total - before
		if whole := tt.name == "RFC 9113 8.1.1 length too long"; reached > 0 != (tt.want == "200") && !whole && tt.name != "RFC 9113 8.1.1 length too short" {
			t.Errorf("%s: %d requests reached the origin", tt.name, reached)
		}
		_ = r.conn.Close()
	}
}

// The first bytes are there before the last ones are, and what goes both ways at a
// time does so.
func TestH2Streams(t *testing.T) {
	gate := make(chan struct{})
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		if r.Method == "POST" {
			return origin.Answer{Echo: true}
		}
		return origin.Answer{Size: 20, Chunk: 10, Gate: gate, Framing: map[bool]origin.Framing{true: origin.Chunked}[r.Path() == "/chunked"]}.With("Cache-Control", "max-age=60")
	})
	for _, path := range []string{"/fixed", "/chunked"} {
		resp, err := s.open(t.Context(), "GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			t.Fatalf("%s: the first half: %v", path, err)
		}
		gate <- struct{}{}
		if rest, err := io.ReadAll(resp.Body); len(rest) != 10 || err != nil {
			t.Errorf("%s: the second half: %q, %v", path, rest, err)
		}
		_ = resp.Body.Close()
	}
	pr, pw := io.Pipe()
	go func() { _, _ = io.WriteString(pw, "ping") }()
	resp, err := s.open(t.Context(), "POST", "/", pr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for i := range 3 {
		b := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "ping" {
			t.Fatalf("turn %d: %q, %v", i, b, err)
		}
		if i < 2 {
			_, _ = io.WriteString(pw, "ping")
		}
	}
	_ = pw.Close()
	if b, err := io.ReadAll(resp.Body); len(b) > 0 || err != nil {
		t.Errorf("the end: %q, %v", b, err)
	}
}

// A body that was cut short never looks complete, and harms no other stream.
func TestH2Truncated(t *testing.T) {
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		if r.Path() == "/ok" {
			return origin.Text("max-age=60", "ok")
		}
		a := origin.Answer{Size: 100 << 10, Cut: true, CutAfter: 70 << 10}.With("Cache-Control", "max-age=60")
		if r.Path() == "/chunked" {
			a.Framing = origin.Chunked
		}
		return a
	})
	for _, path := range []string{"/fixed", "/chunked"} {
		for _, method := range []string{"GET", "POST"} {
			r := s.do(method, path, nil)
			var reset http2.StreamError
			if r.status != 200 || !errors.As(r.err, &reset) && !strings.Contains(r.err.Error(), "stream error") || len(r.body) > 70<<10 {
				t.Errorf("%s %s: %d, %d bytes, %v", method, path, r.status, len(r.body), r.err)
			}
		}
	}
	if r := s.get("/ok"); r.status != 200 || r.body != "ok" || s.door.Stats().Accepted != 1 {
		t.Errorf("another stream: %s, %+v", r, s.door.Stats())
	}
}

// Interim responses come through, and 100 (Continue) when the body is wanted.
func TestH2Interim(t *testing.T) {
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		a := origin.Text("no-store", r.Body.Start)
		a.Interim = []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5"}
		return a
	})
	var seen []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			seen = append(seen, strconv.Itoa(code)+h.Get("Link")+h.Get("Content-Length"))
			return nil
		},
		Got100Continue: func() { seen = append(seen, "continue") },
	})
	resp, err := s.open(ctx, "POST", "/", strings.NewReader("body"), "Expect: 100-continue")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := strings.Join(seen, " "); !strings.Contains(got, "103</a>") || !strings.Contains(got, "continue") || resp.Header.Get("Link") != "" {
		t.Errorf("%s, then %v", got, resp.Header)
	}
}

// The streams of one connection share a fill like any other requests.
func TestH2Collapses(t *testing.T) {
	hold := make(chan struct{})
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		if r.Path() == "/first" { // this client opens a connection for each request until it knows what is spoken
			return origin.Text("no-store", "")
		}
		return origin.Answer{Body: []byte("one"), Hold: hold}.With("Cache-Control", "max-age=60")
	})
	s.get("/first")
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if r := s.get("/a"); r.status != 200 || r.body != "one" {
				t.Error(r)
			}
		})
	}
	s.waiting(200)
	close(hold)
	all.Wait()
	if n, st := s.o.Record().Total, s.door.Stats(); n != 2 || st.Accepted != 1 {
		t.Errorf("%d requests at the origin, %+v", n, st)
	}
}

// A client that takes its request back frees what it held upstream, unless others
// share it or it can be stored.
func TestH2Cancels(t *testing.T) {
	hold := make(chan struct{})
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		a := origin.Answer{Body: []byte("body"), Hold: hold}
		if r.Path() == "/stored" {
			a = a.With("Cache-Control", "max-age=60")
		}
		return a
	})
	for i, tt := range []struct{ method, path string }{{"POST", "/a"}, {"GET", "/stored"}} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := s.open(ctx, tt.method, tt.path, nil)
			ended <- err
		}()
		s.reached(i + 1)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		waitFor(t, "the request to end", func() bool { return s.h.View().Requests.InFlight == 0 })
		if tt.method == "POST" {
			if st := s.h.snap.Load().routes[0].Upstream.Stats().Servers[0]; st.Open != 0 || st.InFlight != 0 {
				t.Errorf("upstream there are %d connections and %d exchanges", st.Open, st.InFlight)
			}
		}
	}
	close(hold)
	s.stored(1)
	if r := s.get("/stored"); !r.says("hit") || s.o.Record().Total != 2 {
		t.Errorf("%s, %d requests at the origin", r, s.o.Record().Total)
	}
	if n := s.h.View().Requests.Status[4]; n != 2 {
		t.Errorf("%d answers to clients that were gone", n)
	}
}

// That a client does not wait says nothing of the upstream.
func TestH2CancelIsNoFailure(t *testing.T) {
	hold := make(chan struct{})
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		a := stale("body")
		if r.Get("If-None-Match") != "" {
			a.Hold = hold
		}
		return a
	}, withoutTLS)
	defer close(hold)
	if r := s.get("/", "Host: x"); r.status != 200 {
		t.Fatal(r)
	}
	s.stored(1)
	ctx, cancel := context.WithCancel(t.Context())
	var client sync.WaitGroup
	client.Go(func() { _, _ = s.open(ctx, "GET", "/", nil, "Host: x") })
	s.reached(2)
	cancel()
	client.Wait()
	waitFor(t, "the request to end", func() bool { return s.h.View().Requests.InFlight == 0 })
	if s.entry("/").failing.Load() {
		t.Error("the upstream is taken for failing")
	}
}

// One listener speaks to each client as that begins, and what one of them had
// stored answers the other alike.
func TestH2BesideHTTP1(t *testing.T) {
	const date = "Sun, 06 Nov 1994 08:49:37 GMT"
	for name, change := range map[string]func(*setup){"TLS": func(*setup) {}, "plain": withoutTLS} {
		s := newH2Site(t, always(origin.Answer{Raw: []byte("HTTP/1.1 200 OK\r\nDate: " + date + "\r\nCache-Control: max-age=2000000000\r\nContent-Length: 2\r\n\r\nok")}), change)
		old := s.newClient()
		p := old.Transport.(*http.Transport).Protocols
		*p = http.Protocols{}
		p.SetHTTP1(true)
		for major, client := range map[int]*http.Client{2: s.client, 1: old} {
			s.client = client
			for range 2 {
				resp, err := s.open(t.Context(), "GET", "/"+strconv.Itoa(major%2), nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if d := resp.Header["Date"]; resp.StatusCode != 200 || resp.ProtoMajor != major || len(d) != 1 || d[0] != date || resp.Header["Content-Type"] != nil {
					t.Errorf("%s, HTTP/%d: %v", name, major, resp)
				}
			}
		}
		s.stored(2)
		for path, client := range map[string]*http.Client{"/0": old, "/1": s.client} { // what the other one had filled
			s.client = client
			resp, err := s.open(t.Context(), "GET", path, nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if d := resp.Header["Date"]; len(d) != 1 || d[0] != date || resp.Header["Content-Type"] != nil || resp.Header.Get("Age") == "" {
				t.Errorf("%s, %s: %v", name, resp.Proto, resp)
			}
		}
		if st := s.door.Stats(); st.H2Accepted != 1 || st.Requests+st.H2Requests != 6 || st.H2Requests < 2 {
			t.Errorf("%s: %+v", name, st)
		}
	}
}
