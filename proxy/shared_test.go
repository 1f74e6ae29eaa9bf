package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
	"ringfence/singleflight"
)

// What is for the leader's client alone never reaches a follower, and reaches
// that client once.
func TestWithheldFieldsReachTheLeaderOnly(t *testing.T) {
	const control = `public, max-age=60, private="x-secret"`
	for name, tt := range map[string]struct {
		answer origin.Answer
		fields []string
	}{
		"whole":           {origin.Answer{Size: 100}, nil},
		"part":            {origin.Answer{Size: 100}, []string{"Range: bytes=5-9"}},
		"parts":           {origin.Answer{Size: 100}, []string{"Range: bytes=5-9,50-59"}},
		"no part":         {origin.Answer{Size: 100}, []string{"Range: bytes=500-"}},
		"chunked part":    {origin.Answer{Size: 100, Framing: origin.Chunked}, []string{"Range: bytes=5-9"}},
		"too large":       {origin.Answer{Size: 2000}, []string{"Range: bytes=5-9"}},
		"turns too large": {origin.Answer{Size: 2000, Framing: origin.Chunked}, []string{"Range: bytes=5-9"}},
	} {
		t.Run(name, func(t *testing.T) {
			hold := make(chan struct{})
			s := newSite(t, func(r origin.Request) origin.Answer {
				a := tt.answer.With("Cache-Control", control).With("ETag", `"1"`).With("X-Secret", r.Get("X-N"))
				a.Hold = hold
				return a
			}, func(o *Options) { o.Routes[0].RangeFill = 1000 })
			leader := s.begin("/", append(tt.fields, "X-N: 0")...)
			s.waiting(1)
			var followers []<-chan reply
			for i := range 10 {
				followers = append(followers, s.begin("/", append(tt.fields, fmt.Sprintf("X-N: %d", i+1))...))
			}
			s.waiting(11)
			close(hold)
			if r := <-leader; r.err != nil || fmt.Sprint(r.header["X-Secret"]) != "[0]" {
				t.Errorf("the leader got %s", r)
			}
			for i, ch := range followers {
				// Who went alone has an answer of its own, and what comes with that.
				r := <-ch
				own := fmt.Sprintf("[%d]", i+1)
				if got := fmt.Sprint(r.header["X-Secret"]); r.err != nil || got != "[]" && (got != own || r.says("collapsed")) {
					t.Errorf("follower %d got %s", i+1, r)
				}
				if n := len(r.header["Cache-Status"]); n != 1 {
					t.Errorf("%d Cache-Status lines: %s", n, r)
				}
			}
			s.counted(11)
			if r := s.get("/"); len(r.header["X-Secret"]) > 0 && r.says("hit") {
				t.Errorf("stored: %s", r)
			}
		})
	}
}

// Nor does a cookie that comes with a failure, which all who wait share.
func TestCookieOfAFailureIsNotShared(t *testing.T) {
	for _, rule := range []cache.SetCookieRule{cache.SetCookieStore, cache.SetCookieStrip} {
		hold := make(chan struct{})
		s := newSite(t, func(r origin.Request) origin.Answer {
			a := origin.Answer{Status: 503, Hold: hold}
			return a.With("Set-Cookie", "n="+r.Get("X-N"))
		}, func(o *Options) { o.Routes[0].Policy.SetCookie = rule })
		one, two := s.begin("/", "X-N: 1"), s.begin("/", "X-N: 2")
		s.waiting(2)
		close(hold)
		for n, r := range map[string]reply{"[n=1]": <-one, "[n=2]": <-two} {
			if got := fmt.Sprint(r.header["Set-Cookie"]); got != n {
				t.Errorf("got %s, want %s", got, n)
			}
		}
	}
}

// asked is one way to ask for a body, and the bytes that answer it.
type asked struct {
	fields []string
	status int
	parts  []string // the parts of the body
}

// ways are all ways to ask for body, whose entity tag is "1".
func ways(body string) []asked {
	n := len(body)
	return []asked{
		{nil, 200, []string{body}},
		{[]string{`If-None-Match: "0"`}, 200, []string{body}},
		{[]string{`If-None-Match: W/"1"`}, 304, []string{""}},
		{[]string{`If-None-Match: "1"`, "Range: bytes=0-1"}, 304, []string{""}},
		{[]string{"Range: bytes=0-9"}, 206, []string{body[:10]}},
		{[]string{"Range: bytes=100-"}, 206, []string{body[100:]}},
		{[]string{"Range: bytes=-7"}, 206, []string{body[n-7:]}},
		{[]string{"Range: bytes=50-59, 10-19"}, 206, []string{body[50:60], body[10:20]}},
		{[]string{fmt.Sprintf("Range: bytes=%d-", n)}, 416, []string{""}},
		{[]string{"Range: bytes=x"}, 200, []string{body}},
		{[]string{"Range: bytes=0-9", `If-Range: "1"`}, 206, []string{body[:10]}},
		{[]string{"Range: bytes=0-9", `If-Range: "0"`}, 200, []string{body}},
		{[]string{"Range: bytes=0-9", `If-Range: W/"1"`}, 200, []string{body}},
	}
}

// check compares an answer with what was asked for.
func (a asked) check(t *testing.T, r reply) {
	t.Helper()
	got := []string{r.body}
	kind, params, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if kind == "multipart/byteranges" {
		got = nil
		for mr := multipart.NewReader(strings.NewReader(r.body), params["boundary"]); ; {
			p, err := mr.NextPart()
			if err != nil {
				break
			}
			b, _ := io.ReadAll(p)
			got = append(got, string(b))
			if p.Header.Get("Content-Type") != "text/x" || p.Header.Get("Content-Range") == "" {
				t.Errorf("%v: a part has %v", a.fields, p.Header)
			}
		}
	} else if (r.status == 206 || r.status == 416) != (r.header.Get("Content-Range") != "") {
		t.Errorf("%v: %d with Content-Range %q", a.fields, r.status, r.header.Get("Content-Range"))
	}
	if a.status == 416 {
		got = []string{""}
	}
	if r.err != nil || r.status != a.status || fmt.Sprint(got) != fmt.Sprint(a.parts) {
		t.Errorf("%v: %d, %d bytes, %v; want %d", a.fields, r.status, len(r.body), r.err, a.status)
	}
	if len(r.header["Cache-Status"]) != 1 || len(r.header["Age"]) > 1 || len(r.header["Date"]) != 1 || r.status == 304 && len(r.header["Transfer-Encoding"]) > 0 {
		t.Errorf("%v: %v", a.fields, r.header)
	}
}

// However a flight is joined, and for whatever part of its body, each reader
// gets what was asked for, of one request to the origin. Afterwards the store
// gives the same.
func TestReadersOfOneFlight(t *testing.T) {
	for _, framing := range []origin.Framing{origin.Length, origin.Chunked, origin.UntilClose} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%d-%d", framing, seed), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				const size = 100_000
				body, _ := io.ReadAll(origin.Content("/", size))
				gate := make(chan struct{})
				s := newSite(t, always(origin.Answer{Body: body, Framing: framing, Chunk: size / 4, Gate: gate, Fields: []origin.Field{
					{Name: "Cache-Control", Value: "max-age=60"}, {Name: "ETag", Value: `"1"`}, {Name: "Content-Type", Value: "text/x"},
				}}), func(o *Options) { o.Routes[0].RangeFill = 1 << 20 })
				all := ways(string(body))
				all = append(all, all...)
				rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				var answers []<-chan reply
				for i, a := range all {
					if i == len(all)/3 || i == 2*len(all)/3 {
						gate <- struct{}{}
					}
					answers = append(answers, s.begin("/", a.fields...))
					joined := int64(i + 1)
					waitFor(t, "the reader to join", func() bool {
						f := s.h.View().Flights
						return f.Leads+f.Follows >= joined
					})
				}
				close(gate)
				for i, a := range all {
					a.check(t, <-answers[i])
				}
				s.stored(1)
				s.idle()
				for _, a := range ways(string(body)) {
					r := s.get("/", a.fields...)
					if a.check(t, r); !r.says("hit") {
						t.Errorf("%v afterwards: %s", a.fields, r.header)
					}
				}
				if n := s.o.Record().Total; n != 1 {
					t.Errorf("%d requests reached the origin", n)
				}
				s.counted(uint64(len(all) + len(ways(string(body)))))
				if v := s.h.View().Requests; v.Hits != uint64(len(ways(string(body)))) || v.Collapsed != uint64(len(all)-1) {
					t.Errorf("%d hits and %d collapsed", v.Hits, v.Collapsed)
				}
			})
		}
	}
}

// A part whose fill is cut short before it begins is a failure, said once.
func TestPartOfCutFill(t *testing.T) {
	for _, framing := range []origin.Framing{origin.Length, origin.Chunked} {
		s := newSite(t, always(origin.Answer{
			Size: 1000, Framing: framing, Cut: true, CutAfter: 100,
			Fields: []origin.Field{{Name: "Cache-Control", Value: `max-age=60, private="x-secret"`}, {Name: "X-Secret", Value: "1"}, {Name: "Age", Value: "5"}, {Name: "ETag", Value: `"1"`}},
		}), func(o *Options) { o.Routes[0].RangeFill = 1 << 20 })
		r := s.get("/", "Range: bytes=500-")
		if h := r.header; r.status != 502 || len(h["Cache-Status"]) != 1 || len(h["Age"])+len(h["X-Secret"])+len(h["Content-Range"]) > 0 {
			t.Errorf("got %s", r)
		}
		s.counted(1)
	}
}

// A range of what is no 200 is answered like any other request (RFC 9110,
// section 14.2): it does not take another one.
func TestRangeOfOtherStatus(t *testing.T) {
	for _, status := range []int{404, 503} {
		hold := make(chan struct{})
		s := newSite(t, always(origin.Answer{Status: status, Body: []byte("sorry"), Framing: origin.Chunked, Hold: hold}),
			func(o *Options) { o.Routes[0].RangeFill = 3 })
		var all []<-chan reply
		for range 5 {
			all = append(all, s.begin("/", "Range: bytes=0-1"))
		}
		s.waiting(5)
		close(hold)
		for _, ch := range all {
			if r := <-ch; r.status != status || r.body != "sorry" {
				t.Errorf("got %s", r)
			}
		}
		most := 1
		if status == 404 { // nothing says that it may be shared
			most = 5
		}
		if n := s.o.Record().Total; n != most {
			t.Errorf("%d: %d requests reached the origin, want %d", status, n, most)
		}
	}
}

// What a follower gets late is as old as it is (RFC 9111, section 4.2.3).
func TestAgeOfAFill(t *testing.T) {
	s := newSite(t, nil)
	var k keys
	k.build(s.h.snap.Load().routes[0], target{scheme: "http", authority: "x", path: "/"}, nil)
	hd := &head{length: 1, heading: "Date: x\r\n", meta: cache.Meta{
		Status: 200, InitialAge: 5 * time.Second, ResponseTime: time.Now().Add(-10 * time.Second), Lifetime: time.Minute,
	}}
	done := make(chan struct{})
	r, err := s.h.flights.Join(k.flight(0, false), func(_ context.Context, w *singleflight.Writer[*head]) error {
		if err := w.Head(hd, singleflight.Store); err != nil {
			return err
		}
		if _, err := w.Write([]byte("x")); err != nil {
			return err
		}
		<-done
		return w.End()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	follower := s.begin("/")
	waitFor(t, "the follower to join", func() bool { return s.h.View().Flights.Follows == 1 })
	close(done)
	if r := <-follower; r.status != 200 || r.header.Get("Age") != "15" || !r.says("ttl=4") {
		t.Errorf("got %s", r)
	}
}

// Interim responses reach the client whose request led to them, and nobody
// else, without what belongs to the final one. A client that has left keeps
// nobody from the final one.
func TestInterimIsTheLeaders(t *testing.T) {
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\nConnection: X-Hop\r\nX-Hop: 1"
	for _, stays := range []bool{true, false} {
		early, hold := make(chan struct{}), make(chan struct{})
		s := newSite(t, func(origin.Request) origin.Answer {
			<-early
			a := origin.Text("max-age=60", "x")
			a.Interim, a.Hold = []string{hint}, hold
			return a
		})
		dial := func() net.Conn {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := io.WriteString(c, request("GET", "/", "Connection: close")); err != nil {
				t.Fatal(err)
			}
			return c
		}
		leader := dial()
		s.waiting(1)
		follower := dial()
		s.waiting(2)
		br := bufio.NewReader(leader)
		if !stays {
			_ = leader.(*net.TCPConn).SetLinger(0)
			_ = leader.Close()
		}
		close(early)
		if stays {
			first, err := http.ReadResponse(br, nil)
			if err != nil || first.StatusCode != 103 || fmt.Sprint(first.Header) != "map[Link:[</a>]]" {
				t.Errorf("the leader got %v, %v", first, err)
			}
		}
		close(hold)
		if stays {
			if r := readReply(br, "GET"); r.body != "x" || !r.closed {
				t.Errorf("then %s", r)
			}
		}
		all, err := io.ReadAll(follower)
		if err != nil || !bytes.HasPrefix(all, []byte("HTTP/1.1 200 ")) || bytes.Contains(all, []byte("103")) {
			t.Errorf("the follower got %q, %v", all, err)
		}
		s.stored(1)
	}
}
