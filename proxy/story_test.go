package proxy

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// A follower that has waited long enough fetches by itself.
func TestFollowerGoesAlone(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60", "x")
		if r.Get("X-Slow") != "" {
			a.Hold = hold
		}
		return a
	}, func(o *Options) { o.WaitTimeout = 50 * time.Millisecond })
	leader := s.begin("/", "X-Slow: 1")
	s.reached(1)
	if r := s.get("/"); r.status != 200 || r.body != "x" {
		t.Errorf("the follower got %s", r)
	}
	close(hold)
	if r := <-leader; r.status != 200 {
		t.Errorf("the leader got %s", r)
	}
}

// Flights of requests with credentials are not those of all others.
func TestCredentialsFlyApart(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, always(origin.Answer{Hold: hold, Body: []byte("x")}))
	one, two := s.begin("/", "Authorization: Basic YTph"), s.begin("/")
	s.reached(2)
	close(hold)
	for _, r := range []reply{<-one, <-two} {
		if r.status != 200 || r.says("collapsed") {
			t.Errorf("got %s", r)
		}
	}
}

// What a fill brings that began before an invalidation is not served after it.
func TestInvalidationOvertakesFill(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60", fmt.Sprint(r.Method, r.Get("X-N")))
		if r.Get("X-N") == "1" {
			a.Hold = hold
		}
		return a
	})
	old := s.begin("/", "X-N: 1")
	s.reached(1)
	s.do("POST", "/", "Content-Length: 0")
	if r := s.get("/", "X-N: 2"); r.body != "GET2" {
		t.Errorf("joined the fill that was overtaken: %s", r)
	}
	close(hold)
	if r := <-old; r.body != "GET1" {
		t.Errorf("its own client got %s", r)
	}
	waitFor(t, "the fill to end", func() bool { return s.h.View().Flights.Flights == 0 })
	if r := s.get("/", "X-N: 3"); r.body == "GET1" {
		t.Errorf("served what was invalidated: %s", r)
	}
}

// revalidate answers a conditional request with a 304 that has these fields.
func revalidate(first origin.Answer, fields ...string) origin.Script {
	return func(r origin.Request) origin.Answer {
		if r.Get("If-None-Match") == "" {
			return first
		}
		a := origin.Answer{Status: 304}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			a = a.With(name, value)
		}
		return a
	}
}

func TestRevalidation(t *testing.T) {
	first := origin.Text("max-age=60", "x").With("ETag", `"1"`)
	for name, tt := range map[string]struct {
		confirmed []string // fields of the 304
		requests  int      // that reach the origin until the last one
		last      string   // what Cache-Status says of that one
	}{
		"confirmed":          {[]string{`ETag: "1"`, "Cache-Control: max-age=60"}, 2, "hit"},
		"no-store":           {[]string{"Cache-Control: no-store"}, 3, "fwd="},
		"of another version": {[]string{`ETag: "2"`}, 3, "hit"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, revalidate(first, tt.confirmed...))
			s.get("/")
			s.stored(1)
			if r := s.get("/", "Cache-Control: no-cache"); r.status != 200 || r.body != "x" {
				t.Errorf("reload: %s", r)
			}
			waitFor(t, "the fill to end", func() bool { return s.h.View().Flights.Flights == 0 })
			if r := s.get("/"); r.status != 200 || r.body != "x" || !r.says(tt.last) {
				t.Errorf("then %s", r)
			}
			if n := s.o.Record().Total; n != tt.requests {
				t.Errorf("%d requests reached the origin, want %d", n, tt.requests)
			}
		})
	}
}

// One client's odd request neither hides what is stored nor keeps the answers
// to all others from being stored and shared.
func TestOddRequestHarmsNobody(t *testing.T) {
	script := func(r origin.Request) origin.Answer {
		switch {
		case r.Get("X-Bad") != "":
			return origin.Answer{Status: 400, Body: []byte("bad")}
		case r.Get("Cookie") != "":
			return origin.Text("private", "personal").With("Vary", r.Get("X-Vary"))
		}
		a := origin.Text("max-age=60", "public")
		if strings.HasPrefix(r.Target, "/vary") {
			a = a.With("Vary", "Accept-Language")
		}
		return a
	}
	for name, tt := range map[string]struct {
		path   string
		before bool // the public answer is stored before
		odd    []string
	}{
		"reload, refused":              {"/", true, []string{"Cache-Control: no-cache", "X-Bad: 1"}},
		"reload, personal":             {"/", true, []string{"Cache-Control: no-cache", "Cookie: a"}},
		"other variant, personal":      {"/vary", true, []string{"Accept-Language: zz", "Cookie: a"}},
		"cold, refused":                {"/", false, []string{"X-Bad: 1"}},
		"cold, personal":               {"/", false, []string{"Cookie: a"}},
		"cold and it varies, personal": {"/vary", false, []string{"Cookie: a", "X-Vary: Cookie"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, script)
			if tt.before {
				s.get(tt.path)
				s.stored(1)
			}
			if r := s.get(tt.path, tt.odd...); r.err != nil || r.body == "public" {
				t.Fatalf("the odd one got %s", r)
			}
			waitFor(t, "the fill to end", func() bool { return s.h.View().Flights.Flights == 0 })
			if !tt.before {
				s.get(tt.path)
				s.stored(1)
			}
			if r := s.get(tt.path); r.body != "public" || !r.says("hit") {
				t.Errorf("then %s", r)
			}
		})
	}
}

// Requests for what cannot be shared do not wait for one another, once that is
// known.
func TestUncacheableDoesNotWait(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		a := origin.Text("no-store", "x")
		if r.Get("X-Slow") != "" {
			a.Hold = hold
		}
		return a
	})
	s.get("/")
	slow := s.begin("/", "X-Slow: 1")
	s.reached(2)
	if r := s.get("/"); r.status != 200 || !r.says("uncacheable") {
		t.Errorf("got %s", r)
	}
	close(hold)
	<-slow
}

// The length of a HEAD's answer is told only where the origin tells it, and the
// connection goes on either way.
func TestHeadTellsTheOriginsLength(t *testing.T) {
	for framing, want := range map[origin.Framing]int64{origin.Length: 4, origin.Chunked: -1, origin.UntilClose: -1} {
		s := newSite(t, always(origin.Answer{Body: []byte("four"), Framing: framing}))
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(c)
		for range 2 {
			if _, err := c.Write([]byte(request("HEAD", "/"))); err != nil {
				t.Fatal(err)
			}
			if r := readReply(br, "HEAD"); r.status != 200 || r.length != want || len(r.header["Transfer-Encoding"]) > 0 {
				t.Errorf("framing %d: length %d, want %d: %s", framing, r.length, want, r)
			}
		}
		c.Close()
	}
}

// What two readers could understand differently is refused, and nothing that
// follows it on the connection is taken for a request.
func TestGate(t *testing.T) {
	s := newSite(t, nil)
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		head   string
		status int
	}{
		"identity":        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 400},
		"length, chunked": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"bare LF":         {"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\nX-B: c\r\n\r\n", 400},
		"version":         {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
	} {
		if r := s.roundTrip("POST", tt.head+smuggled); r.status != tt.status || !r.closed {
			t.Errorf("%s: %s", name, r)
		}
	}
	if n := s.o.Record().Total; n != 0 {
		t.Errorf("%d requests reached the origin", n)
	}
}

// A GET with a chunked body is never answered from the store, whatever its
// Connection field nominates.
func TestBodyIsSeenDespiteNominations(t *testing.T) {
	s := newSite(t, always(origin.Text("max-age=60", "x")))
	s.get("/")
	s.stored(1)
	r := s.roundTrip("GET", request("GET", "/", "Connection: X-A", "X-A: 1", "Transfer-Encoding: chunked")+"4\r\nbody\r\n0\r\n\r\n")
	if got := s.o.Record().Requests; r.status != 200 || len(got) != 2 || got[1].Body.Start != "body" {
		t.Errorf("%s; the origin got %+v", r, got)
	}
}

// Each answer that is passed on has a Date (RFC 9110, section 6.6.1), and no
// more than one.
func TestAnswersAreDated(t *testing.T) {
	const raw = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n%s\r\nx"
	for _, date := range []string{"", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"} {
		s := newSite(t, always(origin.Answer{Raw: fmt.Appendf(nil, raw, date)}))
		for _, method := range []string{"GET", "POST"} {
			r := s.do(method, "/", "Content-Length: 0")
			if got := r.header["Date"]; len(got) != 1 || date != "" && "Date: "+got[0]+"\r\n" != date {
				t.Errorf("%s, origin's %q: %s", method, date, r)
			}
		}
	}
}

// The bytes of a large stored body are counted once, like those of a small one.
func TestBodyBytesAreCountedOnce(t *testing.T) {
	for _, size := range []int{10, largeBody + 1} {
		s := newSite(t, always(origin.Text("max-age=60", strings.Repeat("x", size))))
		s.get("/")
		s.stored(1)
		if r := s.get("/"); !r.says("hit") || len(r.body) != size {
			t.Fatalf("%d bytes: %.80s", len(r.body), r)
		}
		// An answer's end is counted after its client has it.
		waitFor(t, "two bodies to be counted", func() bool { return s.h.View().Requests.Bytes.Sum() >= 2*uint64(size) })
		waitFor(t, "all requests to end", func() bool { return s.h.View().Requests.InFlight == 0 })
		if n := s.h.View().Requests.Bytes.Sum(); n != 2*uint64(size) {
			t.Errorf("%d bytes counted for two bodies of %d", n, size)
		}
	}
}

// Lines that may not be joined stay lines, in order, and bytes beyond ASCII stay
// as they are, whether passed on or stored.
func TestFieldsStayIntact(t *testing.T) {
	a := origin.Text("public, max-age=60", "x").With("Set-Cookie", "a=1, 2; Path=/").With("Set-Cookie", "b=\xe4").
		With("X-Latin", "\xe4\xf6").With("Content-Encoding", "a").With("Content-Encoding", "b").
		With("Server", "origin/1").With("Cache-Status", "inner; hit").With("Trailer", "X-T").With("Keep-Alive", "timeout=5")
	s := newSite(t, always(a))
	for i, method := range []string{"GET", "GET", "POST"} {
		r := s.do(method, "/", "Content-Length: 0")
		if i == 0 {
			s.stored(1)
		}
		for name, want := range map[string]string{
			"Set-Cookie": "[a=1, 2; Path=/ b=\xe4]", "X-Latin": "[\xe4\xf6]", "Content-Encoding": "[a, b]",
			"Server": "[origin/1]", "Trailer": "[]", "Keep-Alive": "[]", "Cache-Control": "[public, max-age=60]",
		} {
			if got := fmt.Sprint(r.header[name]); got != want {
				t.Errorf("%d: %s: got %q, want %q", i, name, got, want)
			}
		}
		if st := r.header["Cache-Status"]; len(st) != 2 || st[0] != "inner; hit" || !strings.HasPrefix(st[1], "ringfence;") {
			t.Errorf("%d: Cache-Status %q", i, st)
		}
	}
}

// A head that is too large is answered although most of it is never read.
func TestLargeHeadIsAnswered(t *testing.T) {
	s := newSite(t, nil)
	for range 5 {
		if r := s.get("/", "X-Large: "+strings.Repeat("x", 1<<20)); r.status != 431 || !r.closed {
			t.Fatalf("got %s", r)
		}
	}
}

// An answer that comes before the request has ended is the last one on its
// connection, whatever its status: what follows is body, and no request.
func TestEarlyAnswerIsTheLast(t *testing.T) {
	for _, status := range []int{200, 413} {
		s := newSite(t, always(origin.Answer{Status: status, Body: []byte("enough"), Early: true}))
		r := s.roundTrip("POST", request("POST", "/", "Content-Length: 20000")+strings.Repeat("x", 10000))
		if r.status != status || r.body != "enough" || !r.closed {
			t.Errorf("%d: closed %v, %s", status, r.closed, r)
		}
	}
}
