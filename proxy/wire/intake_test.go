package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lender counts the readers that are lent.
type lender struct {
	pool sync.Pool
	made int
}

func newLender() *lender {
	l := &lender{}
	l.pool.New = func() any {
		l.made++
		return bufio.NewReaderSize(nil, 64)
	}
	return l
}

// intakeOn returns an intake of one end of a connection, the other end, and that
// which lends; eager is without a socket to wait for.
func intakeOn(t *testing.T, eager bool) (*Intake, *net.TCPConn, *lender) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	if err := near.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	raw, err := near.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if eager {
		raw = nil
	}
	in, lent := &Intake{}, newLender()
	in.Init(near, raw, &lent.pool)
	return in, far.(*net.TCPConn), lent
}

// write may be called by any goroutine.
func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Error(err)
	}
}

// What comes is read in order, whatever it is read by, and a buffer is held only
// while it has something.
func TestIntake(t *testing.T) {
	for _, eager := range []bool{false, true} {
		in, far, _ := intakeOn(t, eager)
		text := strings.Repeat("0123456789", 30)
		go write(t, far, text)
		var got strings.Builder
		for p := make([]byte, 7); got.Len() < len(text); {
			var n int
			var err error
			if got.Len()%2 == 0 {
				r := in.Load()
				n, err = r.Read(p)
				in.Unload()
			} else {
				n, err = in.Take(p)
			}
			if got.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
		}
		if in.Buffered() != 0 || in.reader != nil || got.String() != text {
			t.Errorf("eager %t: %d buffered, %v lent, %q", eager, in.Buffered(), in.reader != nil, got.String())
		}
	}
}

// While nothing comes no buffer is held, and once the first byte is there one is.
func TestIntakeWaitsWithoutBuffer(t *testing.T) {
	in, far, lent := intakeOn(t, false)
	lent.pool.Put(bufio.NewReaderSize(nil, 64)) // else the first attempt makes one
	waiting, tried := make(chan struct{}), in.attempt
	var once sync.Once
	in.attempt = func(fd uintptr) bool {
		done := tried(fd)
		if !done && in.reader != nil {
			t.Error("a buffer is held while nothing is there")
		}
		once.Do(func() { close(waiting) })
		return done
	}
	go func() {
		<-waiting
		write(t, far, "x")
	}()
	if b, err := in.Load().Peek(1); string(b) != "x" || err != nil || in.Buffered() != 1 {
		t.Errorf("%q, %v", b, err)
	}
	in.Drop()
	if in.Buffered() != 0 || in.reader != nil {
		t.Error("what was dropped is there")
	}
}

// What ends a connection is what every later read says, although the system says
// it only once; a deadline is not such an end.
func TestIntakeEnds(t *testing.T) {
	for _, eager := range []bool{false, true} {
		for name, tt := range map[string]struct {
			end  func(far *net.TCPConn)
			want error
		}{
			"closed": {func(far *net.TCPConn) { _ = far.Close() }, io.EOF},
			"reset":  {func(far *net.TCPConn) { _, _ = far.SetLinger(0), far.Close() }, syscall.ECONNRESET},
		} {
			in, far, _ := intakeOn(t, eager)
			tt.end(far)
			_, first := in.Load().Peek(1)
			in.Unload()
			_, second := in.Take(make([]byte, 1))
			_, third := in.Load().Peek(1)
			if !errors.Is(first, tt.want) || !eager && (!errors.Is(second, tt.want) || !errors.Is(third, tt.want)) {
				t.Errorf("%s, eager %t: %v, %v, %v", name, eager, first, second, third)
			}
		}
		in, far, _ := intakeOn(t, eager)
		_ = in.conn.SetReadDeadline(time.Unix(1, 0))
		if _, err := in.Load().Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("eager %t: past the deadline: %v", eager, err)
		}
		in.Unload()
		_ = in.conn.SetReadDeadline(time.Time{})
		write(t, far, "x")
		if b, err := in.Load().Peek(1); string(b) != "x" || err != nil {
			t.Errorf("eager %t: after it: %q, %v", eager, b, err)
		}
	}
}

// A chunked body that comes byte by byte is read as well, and between its chunks
// no buffer is held.
func TestChunkedIntake(t *testing.T) {
	for _, eager := range []bool{false, true} {
		in, far, _ := intakeOn(t, eager)
		c := NewChunkedIntake(in)
		p := make([]byte, 100)
		for i := range 3 {
			write(t, far, "3\r\nabc\r\n")
			c.Await()
			for n := 0; n < 3; {
				m, err := c.Read(p[n:3])
				if n += m; err != nil {
					t.Fatal(err)
				}
			}
			if string(p[:3]) != "abc" || in.Buffered() > 0 || in.reader != nil {
				t.Errorf("eager %t: chunk %d: %q, %d buffered, lent %t", eager, i, p[:3], in.Buffered(), in.reader != nil)
			}
		}
		go func() {
			for _, b := range []byte("2;a=b\r\nde\r\n0\r\nA: b\r\n\r\n") {
				write(t, far, string(b))
			}
		}()
		c.Await()
		got, err := io.ReadAll(c)
		if string(got) != "de" || err != nil {
			t.Errorf("eager %t: the end: %q, %v", eager, got, err)
		}
		// At the end nothing is waited for.
		c.Await()
		if n, err := c.Read(p); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("eager %t: at the end: %d, %v", eager, n, err)
		}
		write(t, far, "rest")
		if rest, err := in.Load().Peek(4); string(rest) != "rest" || err != nil {
			t.Errorf("eager %t: behind it: %q, %v", eager, rest, err)
		}
	}
}

// What is wrong behind a chunk is said after its data.
func TestChunkTooLongSaysItsData(t *testing.T) {
	c := NewChunkedReader(bufio.NewReader(strings.NewReader("1\r\nxyz\r\n")))
	p := make([]byte, 10)
	if n, err := c.Read(p); n != 1 || p[0] != 'x' || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
	if n, err := c.Read(p); n != 0 || !errors.Is(err, ErrChunk) {
		t.Errorf("then %q, %v", p[:n], err)
	}
}
