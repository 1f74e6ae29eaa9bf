package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"
)

// TestChunked covers RFC 9112, section 7.1.
func TestChunked(t *testing.T) {
	for _, tt := range []struct {
		name, in, body, rest string
		err                  error // nil: the body is complete
	}{
		{"one chunk", "5\r\nhello\r\n0\r\n\r\nrest", "hello", "rest", nil},
		{"several", "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "hello", "", nil},
		{"no data", "0\r\n\r\nrest", "", "rest", nil},
		{"hexadecimal of both cases", "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", "", nil},
		{"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello", "", nil},
		{"extensions", "5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n", "hello", "", nil},
		{"bad white space", "5 \t; a =\tb\r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"quoted extension", "5;a=\"b\\\";\xff\t\";c;d=e\r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"trailing space", "5 \r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"space behind an extension", "5;a \r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"nameless extension", "5;\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"nameless value", "5;=a\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"extension without a value", "5;a=\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"extension of two words", "5;a b\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"open quote", "5;a=\"b\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"quote that its line ends", "5;a=\"b\\\r\n\"\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"text behind a quote", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"control byte in a quote", "5;a=\"\x01\"\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"escaped control byte", "5;a=\"\\\x01\"\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"extensions of every byte", strings.Repeat("1;"+strings.Repeat("a", 100)+"\r\nx\r\n", 50) + "0\r\n\r\n", strings.Repeat("x", 40), "", ErrChunk},
		{"extensions of large chunks", strings.Repeat("64;"+strings.Repeat("a", 90)+"\r\n"+strings.Repeat("x", 100)+"\r\n", 50) + "0\r\n\r\n", strings.Repeat("x", 5000), "", nil},
		{"framing in the trailer", "0\r\nA: b\r\ncontent-length: 5\r\n\r\n", "", "", ErrChunk},
		{"target in the trailer", "0\r\nHost: h\r\n\r\n", "", "", ErrChunk},
		{"credentials in the trailer", "0\r\nAuthorization: x\r\n\r\n", "", "", ErrChunk},
		{"trailer", "5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\nrest", "hello", "rest", nil},
		{"data that looks like the end", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", "", nil},
		{"nothing at all", "", "", "", io.ErrUnexpectedEOF},
		{"cut in the size", "5", "", "", io.ErrUnexpectedEOF},
		{"cut in the data", "5\r\nhel", "hel", "", io.ErrUnexpectedEOF},
		{"cut behind the data", "5\r\nhello", "hello", "", io.ErrUnexpectedEOF},
		{"cut between chunks", "5\r\nhello\r\n", "hello", "", io.ErrUnexpectedEOF},
		{"cut in the last chunk", "5\r\nhello\r\n0\r\n", "hello", "", io.ErrUnexpectedEOF},
		{"cut in the trailer", "0\r\nA: b\r\n", "", "", io.ErrUnexpectedEOF},
		{"LF after the size", "5\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"LF after the data", "5\r\nhello\n0\r\n\r\n", "hello", "", ErrChunk},
		{"LF after the last chunk", "0\n\r\n", "", "", ErrChunk},
		{"LF at the end", "0\r\n\n", "", "", ErrChunk},
		{"CR before CRLF", "5\r\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"data too long", "5\r\nhello!\r\n0\r\n\r\n", "hello", "", ErrChunk},
		{"empty size", "\r\nhello\r\n", "", "", ErrChunk},
		{"only an extension", ";a\r\nhello\r\n", "", "", ErrChunk},
		{"sign", "+5\r\nhello\r\n", "", "", ErrChunk},
		{"negative", "-5\r\nhello\r\n", "", "", ErrChunk},
		{"prefix", "0x5\r\nhello\r\n", "", "", ErrChunk},
		{"underscore", "1_0\r\n", "", "", ErrChunk},
		{"leading space", " 5\r\nhello\r\n", "", "", ErrChunk},
		{"two numbers", "5 5\r\nhello\r\n", "", "", ErrChunk},
		{"16 digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"too large for 63 bits", "ffffffffffffffff\r\n", "", "", ErrChunk},
		{"control byte in an extension", "5;a\x00\r\nhello\r\n", "", "", ErrChunk},
		{"long extension", "5;" + strings.Repeat("a", maxTrailer) + "\r\nhello\r\n0\r\n\r\n", "", "", ErrChunk},
		{"malformed trailer", "0\r\nA b\r\n\r\n", "", "", ErrChunk},
		{"CR in the trailer", "0\r\nA: b\r\r\n\r\n", "", "", ErrChunk},
		{"CR for a trailer", "0\r\n\r\r\n\r\n", "", "", ErrChunk},
		{"LF in the trailer", "0\r\nA: b\n\r\n", "", "", ErrChunk},
		{"long trailer", "0\r\n" + strings.Repeat("A: b\r\n", maxTrailer/4+1) + "\r\n", "", "", ErrChunk},
	} {
		for reads, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader,
		} {
			t.Run(tt.name+" "+reads, func(t *testing.T) {
				r := bufio.NewReaderSize(wrap(strings.NewReader(tt.in)), 16<<10)
				c := NewChunkedReader(r)
				got, err := io.ReadAll(c)
				if string(got) != tt.body || !errors.Is(err, tt.err) {
					t.Fatalf("got %q, %v; want %q, %v", got, err, tt.body, tt.err)
				}
				want := tt.err
				if want == nil {
					want = io.EOF
					if rest, _ := io.ReadAll(r); string(rest) != tt.rest {
						t.Errorf("left %q, want %q", rest, tt.rest)
					}
				}
				if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
					t.Errorf("read again: %d, %v; want %v once more", n, err, want)
				}
			})
		}
	}
}

func TestChunkedKeepsTheConnectionsError(t *testing.T) {
	in := io.MultiReader(strings.NewReader("5\r\nhel"), iotest.ErrReader(io.ErrClosedPipe))
	got, err := io.ReadAll(NewChunkedReader(bufio.NewReader(in)))
	if string(got) != "hel" || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestChunkedGivesWhatIsThere is the first byte of a slow body: it must not
// wait for the rest of its chunk.
func TestChunkedGivesWhatIsThere(t *testing.T) {
	in := io.MultiReader(strings.NewReader("5\r\nhel"), iotest.ErrReader(errors.New("asked for more")))
	n, err := NewChunkedReader(bufio.NewReader(in)).Read(make([]byte, 100))
	if n != 3 || err != nil {
		t.Errorf("got %d bytes, %v; want the 3 that are there", n, err)
	}
}

// chunk frames body in random chunks.
func chunk(rnd *rand.Rand, body []byte) []byte {
	var out []byte
	for len(body) > 0 {
		n := 1 + rnd.IntN(len(body))
		out = fmt.Appendf(out, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return append(out, "0\r\n\r\n"...)
}

// TestChunkedProperties: whatever the chunks and the reads, the body comes out
// as it was; and every shortening of it is seen.
func TestChunkedProperties(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 9))
	for range 300 {
		body := make([]byte, rnd.IntN(200))
		for i := range body {
			body[i] = "\r\n0a;"[rnd.IntN(5)]
		}
		in := chunk(rnd, body)
		r := bufio.NewReaderSize(bytes.NewReader(append(bytes.Clone(in), "next"...)), 16+rnd.IntN(100))
		var got []byte
		var err error
		for c, p := NewChunkedReader(r), make([]byte, 1+rnd.IntN(64)); err == nil; {
			var n int
			n, err = c.Read(p[:rnd.IntN(len(p)+1)])
			got = append(got, p[:n]...)
		}
		rest, _ := io.ReadAll(r)
		if !errors.Is(err, io.EOF) || !bytes.Equal(got, body) || string(rest) != "next" {
			t.Fatalf("%q: got %q, %v, left %q", in, got, err, rest)
		}
		cut := rnd.IntN(len(in))
		if got, err := io.ReadAll(NewChunkedReader(bufio.NewReader(bytes.NewReader(in[:cut])))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q cut at %d: got %q, %v", in, cut, got, err)
		}
	}
}

func TestChunkedReadsWithoutAllocating(t *testing.T) {
	in := bytes.NewReader([]byte("5;ext=1\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"))
	r, p := bufio.NewReader(in), make([]byte, 64)
	got := testing.AllocsPerRun(100, func() {
		_, _ = in.Seek(0, io.SeekStart)
		r.Reset(in)
		c := ChunkedReader{r: r}
		for {
			if _, err := c.Read(p); err != nil {
				return
			}
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// FuzzChunked compares with net/http: a body that is complete here is complete
// and the same there, and ends no earlier. What net/http refuses for the sake
// of its own limits alone is out of reach of inputs this short.
func FuzzChunked(f *testing.F) {
	for _, seed := range []string{
		"5\r\nhello\r\n0\r\n\r\nrest", "5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n", "5;a=\"\\\"\" ;b\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n",
		"5\nhello\r\n0\r\n\r\n", "0\r\n\r\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "0000000000000005\r\nhello\r\n0\r\n\r\n", "1;\r\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 8<<10 {
			return
		}
		r := bufio.NewReaderSize(bytes.NewReader(in), 16<<10)
		ours, err := io.ReadAll(NewChunkedReader(r))
		if err != nil {
			if !errors.Is(err, ErrChunk) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%q: %v has no name", in, err)
			}
			return
		}
		rest, _ := io.ReadAll(r)
		tr := bufio.NewReaderSize(bytes.NewReader(in), 16<<10)
		theirs, err := io.ReadAll(httputil.NewChunkedReader(tr))
		if err != nil || !bytes.Equal(ours, theirs) {
			t.Fatalf("%q is %q, to net/http %q, %v", in, ours, theirs, err)
		}
		// net/http's reader leaves the trailer section to its caller.
		if left, _ := io.ReadAll(tr); len(left) < len(rest)+2 {
			t.Fatalf("%q leaves %q, to net/http %q with the trailer", in, rest, left)
		}
	})
}
