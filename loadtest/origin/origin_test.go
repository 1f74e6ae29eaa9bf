package origin_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringfence/loadtest/origin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, s origin.Script) *origin.Origin {
	t.Helper()
	o, err := origin.Start(origin.Options{Name: "one", Script: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	return o
}

// talk sends bytes on a connection of its own and returns all that comes back
// until the origin closes, or half a second of silence.
func talk(t *testing.T, o *origin.Origin, send string) string {
	t.Helper()
	c, err := net.Dial("tcp", o.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	got, _ := io.ReadAll(c)
	return string(got)
}

const get = "GET /a HTTP/1.1\r\nHost: o\r\n\r\n"

func TestAnswers(t *testing.T) {
	tests := map[string]struct {
		answer origin.Answer
		send   string
		want   string // with the Date line taken out
	}{
		"empty": {origin.Answer{Ending: origin.Close}, get,
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		"fields in order, repeated": {origin.Text("", "hi").With("b", "1").With("A", "2").With("b", "3"), get,
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nb: 1\r\nA: 2\r\nb: 3\r\nContent-Length: 2\r\n\r\nhi"},
		"chunked in pieces": {origin.Answer{Body: []byte("abcde"), Framing: origin.Chunked, Chunk: 3, Ending: origin.Drop}, get,
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
		"until close": {origin.Answer{Body: []byte("abc"), Framing: origin.UntilClose}, get,
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\n\r\nabc"},
		"cut by length": {origin.Answer{Body: []byte("abc"), Cut: true, CutAfter: 2}, get,
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 3\r\n\r\nab"},
		"cut chunked": {origin.Answer{Body: []byte("abc"), Framing: origin.Chunked, Cut: true, CutAfter: 2}, get,
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"},
		"head has no body": {origin.Answer{Body: []byte("abc"), Ending: origin.Drop}, strings.Replace(get, "GET", "HEAD", 1),
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 3\r\n\r\n"},
		"not modified": {origin.Answer{Status: 304, Body: []byte("abc"), Ending: origin.Drop}, get,
			"HTTP/1.1 304 Not Modified\r\nX-Served-By: one\r\n\r\n"},
		"interim": {origin.Answer{Interim: []string{"HTTP/1.1 103 Early Hints\r\nLink: </x>"}, Ending: origin.Drop}, get,
			"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 0\r\n\r\n"},
		"raw":     {origin.Answer{Raw: []byte("garbage"), Ending: origin.Drop}, get, "garbage"},
		"nothing": {origin.Answer{Raw: []byte{}, Ending: origin.Drop}, get, ""},
		"pipelined": {origin.Answer{}, get + get,
			strings.Repeat("HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 0\r\n\r\n", 2)},
		"expect": {origin.Answer{Ending: origin.Drop},
			"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 0\r\n\r\n"},
		"echo": {origin.Answer{Echo: true, Ending: origin.Drop},
			"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := start(t, func(origin.Request) origin.Answer { return tt.answer })
			if got := withoutDate(talk(t, o, tt.send)); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func withoutDate(s string) string {
	var kept []string
	for line := range strings.SplitSeq(s, "\r\n") {
		if !strings.HasPrefix(line, "Date: ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\r\n")
}

func TestRecordsWhatCame(t *testing.T) {
	o := start(t, nil)
	head := "PUT /a%2F/../b?x=%20 HTTP/1.1\r\nhOST: o\r\nX-A: 1\r\nX-A:\t2 \r\nTransfer-Encoding: chunked\r\n\r\n"
	talk(t, o, head+"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"+get)
	r := o.Record()
	if r.Total != 2 || r.Connections != 1 || r.Complete != 2 || r.Open > 1 {
		t.Fatalf("record: %+v", r)
	}
	q := r.Requests[0]
	sum, _, _ := origin.Sum(strings.NewReader("abc"))
	if want := (origin.Body{Length: 3, Sum: sum, Start: "abc", Complete: true}); q.Body != want {
		t.Errorf("body %+v, want %+v", q.Body, want)
	}
	if q.Head != head || q.Target != "/a%2F/../b?x=%20" || fmt.Sprint(q.Values("x-a")) != "[1 2]" {
		t.Errorf("head not kept as it came: %+v", q)
	}
	if n := r.Requests[1].Nth; n != 2 {
		t.Errorf("second request of the connection has number %d", n)
	}
}

func TestCutUploadIsNotComplete(t *testing.T) {
	for _, framing := range []string{"Content-Length: 9\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		o := start(t, nil)
		c, err := net.Dial("tcp", o.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\n"+framing)
		_ = c.Close()
		if err := o.WaitFor(func(r origin.Record) bool { return r.Total == 1 && r.Requests[0].Done }, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if b := o.Record().Requests[0].Body; b.Complete || b.Length != 3 {
			t.Errorf("%q: body %+v", framing, b)
		}
	}
}

func TestGateHoldsTheRestBack(t *testing.T) {
	gate := make(chan struct{})
	o := start(t, func(origin.Request) origin.Answer {
		return origin.Answer{Body: []byte("abcdef"), Chunk: 3, Gate: gate}
	})
	resp, err := http.Get("http://" + o.Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	if p, err := br.Peek(3); err != nil || br.Buffered() != 3 {
		t.Fatalf("before the gate opens: %q, %v", p, err)
	}
	if c := o.Count("/"); c.InFlight != 1 {
		t.Errorf("in flight: %+v", c)
	}
	close(gate)
	if got, err := io.ReadAll(br); err != nil || string(got) != "abcdef" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestStopAndRestart(t *testing.T) {
	hold := make(chan struct{})
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Hold: hold} })
	failed := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", o.Addr())
		if err == nil {
			defer c.Close()
			_, _ = io.WriteString(c, get)
			_, err = c.Read(make([]byte, 1))
		}
		failed <- err
	}()
	if err := o.WaitFor(func(r origin.Record) bool { return r.Total == 1 }, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	o.Stop()
	if err := <-failed; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("held request ended with %v, want a reset", err)
	}
	if c, err := net.Dial("tcp", o.Addr()); err == nil {
		_ = c.Close()
		t.Error("stopped origin accepts connections")
	}
	if err := o.Restart(); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if got := talk(t, o, get); !strings.HasPrefix(got, "HTTP/1.1 200 OK") {
		t.Errorf("after the restart: %q", got)
	}
}

func TestHealth(t *testing.T) {
	o := start(t, nil)
	for _, want := range []string{"200 OK", "503 Service Unavailable", "200 OK"} {
		o.SetHealthy(want == "200 OK")
		if got := talk(t, o, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"); !strings.Contains(got, want) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	if r := o.Record(); r.Checks != 3 || r.Total != 0 {
		t.Errorf("checks %d, requests %d", r.Checks, r.Total)
	}
}

func TestWaitForGivesUp(t *testing.T) {
	o := start(t, nil)
	if err := o.WaitFor(func(origin.Record) bool { return false }, time.Millisecond); err == nil {
		t.Error("no error")
	}
}

func TestContentDiffersByTarget(t *testing.T) {
	a, n, _ := origin.Sum(origin.Content("/a", 200_000))
	again, _, _ := origin.Sum(origin.Content("/a", 200_000))
	b, _, _ := origin.Sum(origin.Content("/b", 200_000))
	if a != again || a == b || n != 200_000 {
		t.Errorf("sums %x %x %x, length %d", a, again, b, n)
	}
}

func TestFromQuery(t *testing.T) {
	o := start(t, origin.FromQuery(origin.Answer{Size: 3}))
	tests := map[string]string{
		"/a":              "HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 3\r\n",
		"/a?other=1":      "HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 3\r\n",
		"/a?status=404":   "HTTP/1.1 404 Not Found\r\n",
		"/a?size=7":       "HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 7\r\n",
		"/a?h=A:b&h=C:+d": "HTTP/1.1 200 OK\r\nX-Served-By: one\r\nA: b\r\nC: d\r\n",
		"/a?framing=chunked&size=4&chunk=2&cut=2&end=reset&delay=1ms&pause=1ms": "HTTP/1.1 200 OK\r\nX-Served-By: one\r\nTransfer-Encoding: chunked\r\n",
		"/a?status=1":      "HTTP/1.1 400 Bad Request\r\n",
		"/a?size=-1":       "HTTP/1.1 400 Bad Request\r\n",
		"/a?chunk=0":       "HTTP/1.1 400 Bad Request\r\n",
		"/a?framing=other": "HTTP/1.1 400 Bad Request\r\n",
		"/a?h=nocolon":     "HTTP/1.1 400 Bad Request\r\n",
		"/a?x=%zz":         "HTTP/1.1 400 Bad Request\r\n",
	}
	for target, want := range tests {
		got := withoutDate(talk(t, o, "GET "+target+" HTTP/1.1\r\nConnection: close\r\n\r\n"))
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want prefix %q", target, got, want)
		}
	}
}

// A client that is still sending has the whole early answer.
func TestEarlyAnswerArrives(t *testing.T) {
	o := start(t, func(origin.Request) origin.Answer {
		return origin.Answer{Status: 413, Body: []byte("too large"), Early: true}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 5 {
		resp, err := client.Post("http://"+o.Addr(), "", origin.Content("/", 32<<20))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 413 || string(body) != "too large" {
			t.Errorf("%s, %q, %v", resp.Status, body, err)
		}
	}
}
