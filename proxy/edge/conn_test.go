package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/wire"
)

const host = " HTTP/1.1\r\nHost: x\r\n"

// What a client sends in whatever pieces are the same requests.
func TestRequestsInPieces(t *testing.T) {
	text := "\r\nGET /a" + host + "\r\n" +
		"POST /body" + host + "Content-Length: 3\r\n\r\nabc" +
		"POST /body" + host + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\n" +
		"POST /unread" + host + "Content-Length: 4\r\n\r\nGET " +
		"HEAD /h" + host + "\r\n" +
		"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" +
		"GET /last" + host + "Connection: close\r\n\r\nGET /never" + host + "\r\n"
	for _, n := range []int{1, 2, 3, 5, 7, 64, len(text)} {
		p := connect(t, limits(), echo)
		go p.sent(text, n)
		for _, want := range []string{
			`GET 200 GET /a "" <nil>`, `POST 200 POST /body "abc" <nil>`, `POST 200 POST /body "abc" <nil>`,
			`POST 200 POST /unread "" <nil>`, `HEAD 200 `, `GET 200 GET /old "" <nil>`, `GET 200 GET /last "" <nil> close`,
		} {
			method, want, _ := strings.Cut(want, " ")
			if got := p.answer(method); got != want {
				t.Errorf("in pieces of %d: %s, want %s", n, got, want)
			}
		}
		if !p.ended() {
			t.Errorf("in pieces of %d: there is another answer", n)
		}
	}
}

// What cannot become a request is answered as soon as that is clear, and nothing
// follows it.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"bare LF", "GET / HTTP/1.1\nHost: x\n", "400"},
		{"bare LF after a line", "GET /" + host + "A: b\n", "400"},
		{"TLS", "\x16\x03\x01\x02\x00", "400"},
		{"two empty lines", "\r\n\r\nGET /" + host + "\r\n", "400"},
		{"field line too long", "GET /" + host + "A: " + strings.Repeat("x", 5000), "431"},
		{"too many fields", "GET /" + host + strings.Repeat("A: b\r\n", 20) + "\r\n", "431"},
		{"head too large in one piece", "GET /" + host + strings.Repeat("A: "+strings.Repeat("x", 512)+"\r\n", 8) + "\r\n", "431"},
		{"request line too long", "GET /" + strings.Repeat("x", 5000), "414"},
		{"target too long", "GET /" + strings.Repeat("x", 1024) + host + "\r\n", "414"},
		{"version", "GET / HTTP/3.0\r\n\r\n", "505"},
		{"body too large", "POST /" + host + "Content-Length: 1048577\r\n\r\n", "413"},
		{"coding", "POST /" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", "501"},
	} {
		p := connect(t, limits(), echo)
		p.send(tt.text + "GET /smuggled" + host + "\r\n")
		if got := p.answer("GET"); !strings.HasPrefix(got, tt.want+" ") || !strings.HasSuffix(got, " close") {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if !p.ended() {
			t.Errorf("%s: there is another answer", tt.name)
		}
	}
}

// A body at fault says so to who reads it, and no request follows.
func TestBodiesAtFault(t *testing.T) {
	chunks := "POST /body" + host + "Transfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct{ name, text, want string }{
		{"bad chunk", chunks + "x\r\n", wire.ErrChunk.Error()},
		{"too large", chunks + strings.Repeat("10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", 17), ErrBodyTooLarge.Error()},
	} {
		p := connect(t, limits(), echo)
		p.send(tt.text + "GET /smuggled" + host + "\r\n")
		if got := p.answer("POST"); !strings.Contains(got, tt.want) || !strings.HasSuffix(got, " close") {
			t.Errorf("%s: %.300s, want %s", tt.name, got, tt.want)
		}
		if !p.ended() {
			t.Errorf("%s: there is another answer", tt.name)
		}
	}
	for _, text := range []string{chunks + "5\r\nab", "POST /body" + host + "Content-Length: 3\r\n\r\nab"} {
		failed := make(chan error, 1)
		p := connect(t, limits(), func(ctx *fasthttp.RequestCtx) {
			_, err := io.ReadAll(ctx.Conn().(Client).Request().Body)
			failed <- err
		})
		p.sent(text, len(text))
		_ = p.Close()
		if err := <-failed; err == nil {
			t.Errorf("%q, cut off, looks whole", text)
		}
	}
}

// Every wait for a client has an end.
func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		takes      time.Duration
		want       string // "" for no answer
	}{
		{"nothing", "", time.Minute, ""},
		{"an empty line", "\r\n", 10 * time.Second, ""},
		{"half a head", "GET /" + host, 10 * time.Second, "408 the request head did not arrive in time close"},
		{"half a body", "POST /body" + host + "Content-Length: 3\r\n\r\nab", 5 * time.Second, `200 POST /body "ab" ` + ErrBodyTimeout.Error() + " close"},
		{"no body", "POST /body" + host + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", 5 * time.Second, "100 "},
		{"the next request", "GET /" + host + "\r\n", time.Minute, `200 GET / "" <nil>`},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, limits(), echo)
			began := time.Now()
			p.send(tt.text)
			if got := p.answer("GET"); tt.want != "" && got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			_, _ = io.Copy(io.Discard, p.br)
			if took := time.Since(began); took != tt.takes {
				t.Errorf("%s: closed after %v, want %v", tt.name, took, tt.takes)
			}
		})
	}
}

// A head or a body that trickles in is bounded as a whole, and its client is told.
func TestTrickle(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		every      time.Duration
		takes      time.Duration
		says       string
	}{
		{"head", "GET /" + host + "A: ", time.Second, 10 * time.Second, "408 "},
		{"body", "POST /body" + host + "Content-Length: 1000000\r\n\r\n", 4 * time.Second, time.Hour, ErrBodyTimeout.Error()},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, limits(), echo)
			began := time.Now()
			p.sent(tt.head, len(tt.head))
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					if _, err := io.WriteString(p.Conn, "x"); err != nil {
						return
					}
					time.Sleep(tt.every)
				}
			}()
			if got := p.answer("POST"); !strings.Contains(got, tt.says) {
				t.Errorf("%s: %.100s, want %s", tt.name, got, tt.says)
			}
			if took := time.Since(began); took < tt.takes-tt.every || took > tt.takes+tt.every {
				t.Errorf("%s: %v, want %v", tt.name, took, tt.takes)
			}
			_ = p.Close()
			<-done
		})
	}
}

// slowly takes so long over each kilobyte, and heeds its write deadline, after
// which it says how much it has taken.
type slowly struct {
	net.Conn
	perKB time.Duration
	until time.Time
	took  int
}

func (c *slowly) SetWriteDeadline(t time.Time) error { c.until = t; return nil }

func (c *slowly) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if wait := time.Until(c.until); wait < c.perKB {
			time.Sleep(wait)
			return n, os.ErrDeadlineExceeded
		}
		time.Sleep(c.perKB)
		m := min(1<<10, len(p)-n)
		n += m
		c.took += m
	}
	return len(p), nil
}

// A client may take its time over an answer: what is bounded is its silence, and
// the whole.
func TestSlowReaders(t *testing.T) {
	for _, tt := range []struct {
		perKB time.Duration
		size  int
		err   error
	}{
		{10 * time.Millisecond, 4 << 20, nil}, // 41 s in all
		{4 * time.Second, 100 << 10, nil},
		{6 * time.Second, 4 << 20, os.ErrDeadlineExceeded},
		{4 * time.Second, 2 << 20, os.ErrDeadlineExceeded}, // more than an hour
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &slowly{perKB: tt.perKB}
			c := NewListener(nil, NewDoor(Capacity{}), nil, ListenerOptions{Limits: limits()}).Wrap(&loop{})
			c.Conn, c.clock.on = s, s
			c.head = []byte("GET /" + host + "\r\n")
			if r := c.parse(time.Time{}); r != nil {
				t.Fatal(r)
			}
			if n, err := c.Write(make([]byte, tt.size)); !errors.Is(err, tt.err) || n != s.took || err == nil && n != tt.size {
				t.Errorf("%v per KB of %d: %d bytes, %v", tt.perKB, tt.size, n, err)
			}
		})
	}
}

// loop is a connection without a peer.
type loop struct{ net.Conn }

func (*loop) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*loop) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*loop) SetReadDeadline(time.Time) error  { return nil }
func (*loop) SetWriteDeadline(time.Time) error { return nil }
func (*loop) Read([]byte) (int, error)         { return 0, io.EOF }
func (*loop) Write(p []byte) (int, error)      { return len(p), nil }
func (*loop) Close() error                     { return nil }

// 100 (Continue) is sent when the body is wanted, and not before.
func TestContinue(t *testing.T) {
	p := connect(t, limits(), echo)
	p.send("POST /body" + host + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	if got := p.answer("POST"); got != "100 " {
		t.Fatal(got)
	}
	p.send("abc")
	if got := p.answer("POST"); got != `200 POST /body "abc" <nil>` {
		t.Error(got)
	}
	p.send("POST /unread" + host + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	if got := p.answer("POST"); got != `200 POST /unread "" <nil> close` {
		t.Error(got)
	}
}

// A client that is still sending sees the answer that ends its connection.
func TestAnswerReachesSender(t *testing.T) {
	d := NewDoor(Capacity{})
	addr, _ := listen(t, d, ListenerOptions{Limits: limits()}, echo)
	for range 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(c, "POST /x"+host+"Content-Length: 1000000\r\n\r\n")
			_, _ = c.Write(make([]byte, 1000000))
		}()
		p := &peer{Conn: c, t: t, br: bufio.NewReader(c)}
		if got := p.answer("POST"); got != `200 POST /x "" <nil> close` {
			t.Error(got)
		}
		_ = c.Close()
	}
	waitFor(t, "the connections to end", func() bool { return d.Stats().Open == 0 })
}

// Connections that are too many are told so; one that ends makes room.
func TestTooManyConnections(t *testing.T) {
	for _, tt := range []struct {
		name     string
		capacity Capacity
		want     string // for the third
	}{
		{"in all", Capacity{Connections: 2}, "503 too many connections close"},
		{"of one client", Capacity{PerClient: 2}, "429 too many connections from one address close"},
		{"of an exempt one", Capacity{PerClient: 2, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, `200 GET / "" <nil>`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDoor(tt.capacity)
			addr, _ := listen(t, d, ListenerOptions{Limits: limits()}, echo)
			get := func() (*peer, string) {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				p := &peer{Conn: c, t: t, br: bufio.NewReader(c)}
				p.send("GET /" + host + "\r\n")
				return p, p.answer("GET")
			}
			first, got := get()
			if got != `200 GET / "" <nil>` {
				t.Fatal(got)
			}
			get()
			if _, got := get(); got != tt.want {
				t.Errorf("the third: %s, want %s", got, tt.want)
			}
			_ = first.Close()
			waitFor(t, "the first to end", func() bool { return d.Stats().Open < 3 })
			waitFor(t, "room", func() bool {
				p, got := get()
				_ = p.Close()
				return strings.HasPrefix(got, "200")
			})
		})
	}
}

// CloseIdle ends the connections between two requests and no others.
func TestCloseIdle(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	d := NewDoor(Capacity{})
	addr, _ := listen(t, d, ListenerOptions{Limits: limits()}, func(ctx *fasthttp.RequestCtx) {
		if ctx.Conn().(Client).Request().Target == "/held" {
			close(arrived)
			<-release
		}
	})
	dial := func(text string) *peer {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		p := &peer{Conn: c, t: t, br: bufio.NewReader(c)}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return p
	}
	silent, begun, between, held := dial(""), dial("G"), dial("GET /"+host+"\r\n"), dial("GET /held"+host+"\r\n")
	between.answer("GET")
	<-arrived
	states := func() (n int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for c := range d.conns {
			if c.state.Load() == busy {
				n++
			}
		}
		return n
	}
	waitFor(t, "two to be busy", func() bool { return d.Stats().Open == 4 && states() == 2 })
	d.CloseIdle()
	if !silent.ended() || !between.ended() {
		t.Error("an idle connection is open")
	}
	close(release)
	begun.send("ET /" + host + "\r\n")
	if a, b := begun.answer("GET"), held.answer("GET"); a != "200 " || b != "200 " {
		t.Errorf("%s and %s", a, b)
	}
}

// FuzzConn: whatever a client sends in whatever pieces, the same requests are
// read of it, and it ends.
func FuzzConn(f *testing.F) {
	f.Add([]byte("GET /body"+host+"Content-Length: 1\r\n\r\nxGET /"+host+"\r\n"), uint8(3))
	f.Add([]byte("\r\nPOST /body"+host+"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /"+host+"\r\n"), uint8(1))
	f.Add([]byte("GET / HTTP/1.1\nHost: x\n\n"), uint8(200))
	f.Fuzz(func(t *testing.T, text []byte, n uint8) {
		whole, pieces := replay(t, text, len(text)+1), replay(t, text, int(n)+1)
		if whole != pieces {
			t.Errorf("%q:\n%s\nin pieces of %d:\n%s", text, whole, int(n)+1, pieces)
		}
	})
}

// tape is a client that has sent a text in pieces, and is gone.
type tape struct {
	loop
	text []byte
	n    int
	out  bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.text[:min(c.n, len(c.text))])
	c.text = c.text[n:]
	return n, nil
}

func (c *tape) Write(p []byte) (int, error) { return c.out.Write(p) }

func replay(t *testing.T, text []byte, n int) string {
	c := &tape{text: text, n: n}
	conn := NewListener(nil, NewDoor(Capacity{}), nil, ListenerOptions{Limits: limits()}).Wrap(c)
	if err := NewServer(echo, quiet{}).ServeConn(conn); err != nil {
		t.Errorf("%q: %v", text, err)
	}
	var seen []string
	for _, line := range strings.Split(c.out.String(), "\r\n") {
		if strings.HasPrefix(line, "HTTP/1.1 4") || strings.HasPrefix(line, "HTTP/1.1 5") {
			line = "refused" // why may depend on how much of it was there
		}
		if strings.HasPrefix(line, "HTTP/1.1") || strings.Contains(line, "<nil>") || line == "refused" {
			seen = append(seen, line)
		}
	}
	return strings.Join(seen, "\n")
}

// A body can be waited for before it is read, and the wait tells the client to
// send; what ends it is what the read says.
func TestBodyIsWaitedFor(t *testing.T) {
	awaits := func(ctx *fasthttp.RequestCtx) {
		c := ctx.Conn().(Client)
		b := c.Request().Body
		b.Start = func() { _ = c.Interim(100, nil) }
		var got []byte
		var err error
		for n, p := 0, make([]byte, 10); err == nil; got = append(got, p[:n]...) {
			b.Await()
			n, err = b.Read(p)
		}
		ctx.SetBodyString(fmt.Sprintf("%q %v", got, err))
		if !b.Spare() {
			ctx.Response.Header.SetConnectionClose()
		}
	}
	for _, tt := range []struct{ head, body, want string }{
		{"Content-Length: 3\r\n", "abc", `200 "abc" EOF`},
		{"Transfer-Encoding: chunked\r\n", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", `200 "abc" EOF`},
		{"Content-Length: 3\r\n", "ab", `200 "ab" ` + ErrBodyTimeout.Error() + " close"},
		{"Transfer-Encoding: chunked\r\n", "1\r\na\r\n2", `200 "a" ` + ErrBodyTimeout.Error() + " close"},
		{"Transfer-Encoding: chunked\r\n", "1\r\na\r\nx", `200 "a" ` + ErrBodyTimeout.Error() + " close"},
		{"Transfer-Encoding: chunked\r\n", "1\r\naxx", `200 "a" ` + wire.ErrChunk.Error() + ": chunk data longer than its size close"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, limits(), awaits)
			p.send("POST /" + host + "Expect: 100-continue\r\n" + tt.head + "\r\n")
			if got := p.answer("POST"); got != "100 " {
				t.Fatal(got)
			}
			p.sent(tt.body, 1)
			if got := p.answer("POST"); got != tt.want {
				t.Errorf("%q: %s, want %s", tt.body, got, tt.want)
			}
		})
	}
}

// starving is a listener that fails a few times for want of descriptors, and then
// for good.
type starving struct {
	net.Listener
	errs []error
}

func (s *starving) Accept() (net.Conn, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	if err != nil {
		return nil, err
	}
	return &loop{}, nil
}

// Where there is no descriptor left clients wait: no listener ends for that.
func TestAcceptWaitsForDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, gone := NewDoor(Capacity{}), errors.New("gone")
		full := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		l := NewListener(&starving{errs: []error{full, full, syscall.ENFILE, nil, syscall.ENOBUFS, gone}}, d, nil, ListenerOptions{Limits: limits()})
		began := time.Now()
		c, err := l.Accept()
		if err != nil || time.Since(began) != 3*acceptPause {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if _, err := l.Accept(); !errors.Is(err, gone) {
			t.Errorf("a failure for good: %v", err)
		}
		if st := d.Stats(); st.Starved != 4 || st.Accepted != 1 {
			t.Errorf("%+v", st)
		}
		_ = c.Close()
	})
}
