package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"ringfence/loadtest/origin"
	"ringfence/proxy/edge"
)

// The limits of HTTP/1 hold for each stream, with the same statuses.
func TestH2Limits(t *testing.T) {
	s := newH2Site(t, always(origin.Text("no-store", "ok")), func(s *setup) {
		s.Limits.MaxHead, s.Limits.MaxTarget, s.Limits.MaxFields, s.Limits.MaxBody = 4<<10, 1<<10, 20, 1000
		s.Limits.Read = 100 * time.Millisecond
	})
	many := func(n int) (fs []string) {
		for i := range n {
			fs = append(fs, fmt.Sprintf("X-%d: 1", i))
		}
		return fs
	}
	silent, _ := io.Pipe()
	for _, tt := range []struct {
		name   string
		status int
		method string
		path   string
		fields []string
		body   io.Reader
	}{
		{"head within", 200, "GET", "/", []string{"A: " + strings.Repeat("a", 3<<10)}, nil},
		{"head", 431, "GET", "/", []string{"A: " + strings.Repeat("a", 4<<10)}, nil},
		{"head twice as long", 431, "GET", "/", []string{"A: " + strings.Repeat("a", 8<<10)}, nil},
		{"fields within", 200, "GET", "/", many(15), nil},
		{"fields", 431, "GET", "/", many(20), nil},
		{"target", 414, "GET", "/" + strings.Repeat("a", 1<<10), nil, nil},
		{"body within", 200, "POST", "/", nil, strings.NewReader(strings.Repeat("a", 1000))},
		{"body", 413, "POST", "/declared", nil, strings.NewReader(strings.Repeat("a", 1001))},
		{"body of unknown length", 413, "POST", "/", nil, io.MultiReader(strings.NewReader(strings.Repeat("a", 1001)))},
		{"silent body", 408, "POST", "/", nil, silent},
	} {
		r := s.do(tt.method, tt.path, tt.body, tt.fields...)
		if r.status != tt.status {
			t.Errorf("%s: %s, want %d", tt.name, r, tt.status)
		}
	}
	if n := s.o.Count("/declared").Total; n != 0 {
		t.Errorf("%d requests with a body that was too large from the beginning reached the origin", n)
	}
	if st := s.door.Stats(); st.Accepted != 1 {
		t.Errorf("a limit of a stream ended its connection: %+v", st)
	}
	for want, fields := range map[string][]string{
		"431":                      strings.Split(strings.ToLower(strings.Join(many(400), "\n")), "\n"),
		"GOAWAY COMPRESSION_ERROR": {"a: " + strings.Repeat("a", 12<<10)},
	} {
		r := s.dialRaw()
		if err := r.request(1, true, fields...); err != nil {
			t.Fatal(err)
		}
		if got := r.next(1); got != want {
			t.Errorf("a head that is not kept: %s, want %s", got, want)
		}
	}
}

// A client that takes nothing of an answer holds it up for so long, and no other
// stream at all.
func TestH2ClientThatTakesNothing(t *testing.T) {
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		return origin.Answer{Size: 1 << 20}.With("Cache-Control", "max-age=60").With("ETag", r.Path())
	}, func(s *setup) { s.Limits.Write = 300 * time.Millisecond })
	for _, path := range []string{"/hit", "/hit", "/miss"} { // small ones are one write, large ones many
		r := s.dialRaw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		if err := r.request(1, true, ":path: "+path); err != nil {
			t.Fatal(err)
		}
		if got := r.next(1); got != "200" {
			t.Errorf("%s: %s", path, got)
		}
		if err := r.request(3, true, ":method: HEAD", ":path: "+path); err != nil {
			t.Fatal(err)
		}
		if got := r.until(3, "200"); got != "200 end" {
			t.Errorf("beside %s: %s", path, got)
		}
		if got := r.until(1, "RST", "\""); !strings.HasPrefix(got, "RST") {
			t.Errorf("%s: %s", path, got)
		}
	}
	waitFor(t, "the requests to end", func() bool { return s.h.View().Requests.InFlight == 0 })
}

// A client that takes its requests back as soon as they are made gets neither us
// nor an origin to do more than a few of them (CVE-2023-44487).
func TestH2RapidReset(t *testing.T) {
	const resets = 10_000
	hold := make(chan struct{})
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		if r.Path() == "/other" {
			return origin.Text("no-store", "ok")
		}
		return origin.Answer{Hold: hold}.With("Cache-Control", "no-store")
	})
	defer close(hold)
	before := runtime.NumGoroutine()
	r := s.dialRaw()
	go func() { // so that the server can write
		for {
			if _, err := r.ReadFrame(); err != nil {
				return
			}
		}
	}()
	sent, most := 0, 0
	for ; sent < resets; sent++ {
		id := uint32(2*sent + 1)
		if r.request(id, true, ":method: DELETE") != nil || r.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
		if sent%100 == 0 {
			most = max(most, runtime.NumGoroutine()-before)
			if r := s.get("/other"); r.status != 200 {
				t.Errorf("another connection: %s", r)
			}
		}
	}
	waitFor(t, "the connection to be closed", func() bool { return s.door.Stats().Open == 1 })
	if sent == resets || s.door.Stats().H2Abusive != 1 {
		t.Errorf("%d of %d resets were taken: %+v", sent, resets, s.door.Stats())
	}
	rec := s.o.Record()
	if n := rec.Total - len(rec.To("/other")); n > 1000 {
		t.Errorf("%d requests reached the origin", n)
	}
	if most > 2000 {
		t.Errorf("%d goroutines", most)
	}
	if r := s.get("/other"); r.status != 200 {
		t.Errorf("another connection, after it: %s", r)
	}
}

// A client may leave what it no longer wants, now and then.
func TestH2ResetsNowAndThen(t *testing.T) {
	hold := make(chan struct{})
	s := newH2Site(t, func(r origin.Request) origin.Answer {
		if r.Method == "DELETE" {
			return origin.Answer{Hold: hold}
		}
		return origin.Text("max-age=60", "ok")
	})
	defer close(hold)
	for range 600 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if resp, err := s.open(ctx, "DELETE", "/", nil); err == nil {
			_ = resp.Body.Close()
		}
		for range 2 {
			if r := s.get("/"); r.status != 200 {
				t.Fatal(r)
			}
		}
	}
	if st := s.door.Stats(); st.H2Abusive != 0 {
		t.Errorf("%+v", st)
	}
}

// Frames that cost more to answer than to send, and heads without an end, end a
// connection and no other.
func TestH2Floods(t *testing.T) {
	s := newH2Site(t, always(origin.Text("max-age=60", "ok")))
	if r := s.get("/"); r.status != 200 { // later it is a hit, whatever goes on upstream
		t.Fatal(r)
	}
	s.stored(1)
	for name, flood := range map[string]func(r *rawH2, i int) error{
		"pings that nobody reads":    func(r *rawH2, i int) error { return r.WritePing(false, [8]byte{byte(i)}) },
		"settings that nobody reads": func(r *rawH2, _ int) error { return r.WriteSettings() },
		"a head without an end": func(r *rawH2, i int) error {
			if i == 0 {
				return r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true})
			}
			return r.WriteContinuation(1, false, []byte(strings.Repeat("\x00\x01a\x01b", 1000)))
		},
		"streams beyond the limit": func(r *rawH2, i int) error { return r.request(uint32(2*i+1), false, ":method: POST") },
	} {
		r := s.dialRaw()
		_ = r.conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n := 0
		for ; n < 200_000 && flood(r, n) == nil; n++ {
		}
		if n == 200_000 {
			t.Errorf("%s: all of it was taken", name)
		}
		_ = r.conn.Close()
		if r := s.get("/"); r.status != 200 {
			t.Errorf("after %s: %s", name, r)
		}
	}
}

// Who comes when there are too many connections is sent away in the terms of
// HTTP/2.
func TestH2Crowd(t *testing.T) {
	s := newH2Site(t, always(origin.Text("max-age=60", "ok")), func(s *setup) { s.door = edge.Capacity{PerClient: 1} })
	if r := s.get("/"); r.status != 200 {
		t.Fatal(r)
	}
	r := s.dialRaw()
	if got := r.next(0); got != "GOAWAY NO_ERROR" {
		t.Error(got)
	}
	if got := r.next(0); got != "closed" {
		t.Error(got)
	}
	if st := s.door.Stats(); st.Crowded != 1 || st.H2Accepted != 1 {
		t.Errorf("%+v", st)
	}
}

// At the end clients are told to open no more streams; those that are open end,
// and a connection without any does not hold up the end.
func TestH2Drain(t *testing.T) {
	hold := make(chan struct{})
	s := newH2Site(t, always(origin.Answer{Body: []byte("body"), Hold: hold}.With("Cache-Control", "no-store")))
	busy, idle := s.dialRaw(), s.dialRaw()
	for _, r := range []*rawH2{busy, idle} {
		r.ack(must(r.ReadFrame()))
	}
	if err := busy.request(1, true); err != nil {
		t.Fatal(err)
	}
	s.reached(1)
	s.h.Drain()
	s.h2.Drain()
	for name, r := range map[string]*rawH2{"busy": busy, "idle": idle} {
		if got := r.next(1); got != "GOAWAY NO_ERROR" {
			t.Errorf("%s: %s", name, got)
		}
	}
	began := time.Now()
	waitFor(t, "what is idle to end", func() bool { s.door.CloseIdle(); return s.door.Stats().Open == 1 })
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("an idle connection was closed after %v", took)
	}
	if err := busy.request(3, true); err != nil { // it crossed the GOAWAY: nobody answers
		t.Fatal(err)
	}
	late := s.dialRaw()
	if got := late.next(0); got != "GOAWAY NO_ERROR" {
		t.Errorf("who comes late: %s", got)
	}
	_ = late.conn.Close()
	close(hold)
	if got := busy.next(1) + " " + busy.next(1); got != `200 "body" end` {
		t.Errorf("what was under way: %s", got)
	}
	waitFor(t, "all to end", func() bool { s.door.CloseIdle(); return s.door.Stats().Open == 0 })
	if n := s.o.Record().Total; n != 1 {
		t.Errorf("%d requests at the origin", n)
	}
}

// What fails to shake hands is not spoken to in plain.
func TestH2NoTLS(t *testing.T) {
	s := newH2Site(t, always(origin.Text("max-age=60", "ok")))
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "12345GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, _ := io.ReadAll(c); strings.Contains(string(b), "HTTP") {
		t.Errorf("%q", b)
	}
	c, err = tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("a prohibited cipher suite: %q", b)
	}
	if st := s.door.Stats(); st.Failed != 2 || st.Requests != 0 || s.o.Record().Total != 0 {
		t.Errorf("%+v", st)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
