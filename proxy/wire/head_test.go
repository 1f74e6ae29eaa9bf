package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// TestStatusLine covers RFC 9112, section 4.
func TestStatusLine(t *testing.T) {
	for _, tt := range []struct {
		line          string
		minor, status int // status 0: refused
	}{
		{"HTTP/1.1 200 OK", 1, 200},
		{"HTTP/1.0 404 Not Found", 0, 404},
		{"HTTP/1.1 200 ", 1, 200},
		{"HTTP/1.1 200", 1, 200},
		{"HTTP/1.1 100 Continue", 1, 100},
		{"HTTP/1.1 999 ?", 1, 999},
		{"HTTP/1.9 200 OK", 9, 200},
		{"HTTP/1.1 200 \xe4 \tOK", 1, 200},
		{"HTTP/1.1 099 OK", 0, 0},
		{"HTTP/1.1 20 OK", 0, 0},
		{"HTTP/1.1 2000 OK", 0, 0},
		{"HTTP/1.1 200OK", 0, 0},
		{"HTTP/1.1 +20 OK", 0, 0},
		{"HTTP/1.1  200 OK", 0, 0},
		{"HTTP/1.1\t200 OK", 0, 0},
		{"HTTP/1.x 200 OK", 0, 0},
		{"HTTP/1.11 200 OK", 0, 0},
		{"HTTP/2.0 200 OK", 0, 0},
		{"http/1.1 200 OK", 0, 0},
		{"ICY 200 OK", 0, 0},
		{"HTTP/1.1 200 a\rb", 0, 0},
		{"HTTP/1.1 200 a\x00b", 0, 0},
		{" HTTP/1.1 200 OK", 0, 0},
		{"", 0, 0},
	} {
		head, err := ParseResponseHead(tt.line + "\r\nA: b\r\n\r\n")
		switch {
		case tt.status == 0:
			if !errors.Is(err, ErrHead) {
				t.Errorf("%q: got %+v, %v; want it refused", tt.line, head, err)
			}
		case err != nil || head.Status != tt.status || head.Minor != tt.minor || head.Fields.Get("A") != "b":
			t.Errorf("%q: got %+v, %v", tt.line, head, err)
		}
	}
}

func TestReadResponseHead(t *testing.T) {
	const size = 64
	fits := "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", size-24) + "\r\n\r\n"
	for _, tt := range []struct {
		name, in, rest string
		err            error
	}{
		{"whole", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", "body", nil},
		{"no fields", "HTTP/1.1 204 No Content\r\n\r\nHTTP", "HTTP", nil},
		{"LF only", "HTTP/1.1 200 OK\nA: b\n\nbody", "", ErrHead},
		{"LF behind the status line", "HTTP/1.1 200 OK\nA: b\r\n\r\nbody", "", ErrHead},
		{"LF behind a field", "HTTP/1.1 200 OK\r\nA: b\n\r\nbody", "", ErrHead},
		{"LF at the end", "HTTP/1.1 200 OK\r\nA: b\r\n\nbody", "", ErrHead},
		{"CR at the end", "HTTP/1.1 200 OK\r\nA: b\r\n\r\r\n\r\nbody", "", ErrHead},
		{"as many CR as LF", "HTTP/1.1 200 OK\r\nA: b\rc\nD: e\r\n\r\nbody", "", ErrField},
		{"folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nbody", "", ErrField},
		{"NUL", "HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\nbody", "", ErrField},
		{"fills the buffer", fits + "body", "body", nil},
		{"one byte more", strings.Replace(fits, "A: x", "A: xx", 1), "", ErrHeadTooLarge},
		{"endless line", strings.Repeat("x", 10*size), "", ErrHeadTooLarge},
		{"nothing", "", "", io.EOF},
		{"cut in the status line", "HTTP/1.1 2", "", io.ErrUnexpectedEOF},
		{"cut before the empty line", "HTTP/1.1 200 OK\r\nA: b\r\n", "", io.ErrUnexpectedEOF},
		{"cut inside the empty line", "HTTP/1.1 200 OK\r\nA: b\r\n\r", "", io.ErrUnexpectedEOF},
		{"empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", "", ErrHead},
		{"bad field", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "", ErrField},
	} {
		for reads, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader, "error with data": iotest.DataErrReader,
		} {
			t.Run(tt.name+" "+reads, func(t *testing.T) {
				r := bufio.NewReaderSize(wrap(strings.NewReader(tt.in)), size)
				_, err := ReadResponseHead(r)
				if !errors.Is(err, tt.err) {
					t.Fatalf("got %v, want %v", err, tt.err)
				}
				if tt.err != nil {
					return
				}
				if rest, _ := io.ReadAll(r); string(rest) != tt.rest {
					t.Errorf("left %q, want %q", rest, tt.rest)
				}
			})
		}
	}
	if _, err := ReadResponseHead(bufio.NewReader(iotest.ErrReader(io.ErrClosedPipe))); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection's own error became %v", err)
	}
}

// TestBodyLength covers RFC 9112, section 6.3.
func TestBodyLength(t *testing.T) {
	const refused = -9
	for _, tt := range []struct {
		name   string
		head   string // status line without "HTTP/"
		fields Fields
		method string
		want   int64
	}{
		{"length", "1.1 200", lines("content-length: 5"), "GET", 5},
		{"length 0", "1.1 200", lines("Content-Length: 0"), "GET", 0},
		{"greatest length", "1.1 200", lines("Content-Length: 9223372036854775807"), "GET", 1<<63 - 1},
		{"chunked", "1.1 200", lines("transfer-encoding: Chunked"), "GET", Chunked},
		{"neither", "1.1 200", nil, "GET", UntilClose},
		{"neither, 1.0", "1.0 200", nil, "GET", UntilClose},
		{"to HEAD", "1.1 200", lines("Content-Length: 5"), "HEAD", 0},
		{"chunked to HEAD", "1.1 200", lines("Transfer-Encoding: chunked"), "HEAD", 0},
		{"neither to HEAD", "1.1 200", nil, "HEAD", 0},
		{"head is not HEAD", "1.1 200", nil, "head", UntilClose},
		{"1xx", "1.1 103", nil, "GET", 0},
		{"204", "1.1 204", nil, "GET", 0},
		{"204 with a length", "1.1 204", lines("Content-Length: 5"), "GET", 0},
		{"304 with a length", "1.1 304", lines("Content-Length: 5"), "GET", 0},
		{"205 is like any other", "1.1 205", nil, "GET", UntilClose},
		{"both", "1.1 200", lines("Content-Length: 5", "Transfer-Encoding: chunked"), "GET", refused},
		{"both to HEAD", "1.1 200", lines("Transfer-Encoding: chunked", "Content-Length: 5"), "HEAD", refused},
		{"equal lengths", "1.1 200", lines("Content-Length: 5", "Content-Length: 5"), "GET", refused},
		{"unequal lengths", "1.1 200", lines("Content-Length: 5", "content-length: 6"), "GET", refused},
		{"listed lengths", "1.1 200", lines("Content-Length: 5, 5"), "GET", refused},
		{"malformed length of 304", "1.1 304", lines("Content-Length: x"), "GET", refused},
		{"two codings", "1.1 200", lines("Transfer-Encoding: gzip, chunked"), "GET", refused},
		{"chunked twice", "1.1 200", lines("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "GET", refused},
		{"identity", "1.1 200", lines("Transfer-Encoding: identity"), "GET", refused},
		{"empty coding", "1.1 200", lines("Transfer-Encoding: "), "GET", refused},
		{"chunked and nothing", "1.1 200", lines("Transfer-Encoding: chunked", "Transfer-Encoding: "), "GET", refused},
		{"coding in 1.0", "1.0 200", lines("Transfer-Encoding: chunked"), "GET", refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head, err := parseStatusLine("HTTP/" + tt.head)
			if err != nil {
				t.Fatal(err)
			}
			head.Fields = tt.fields
			got, err := BodyLength(head, tt.method)
			if tt.want == refused {
				if !errors.Is(err, ErrFraming) {
					t.Errorf("got %d, %v; want it refused", got, err)
				}
			} else if err != nil || got != tt.want {
				t.Errorf("got %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

func TestParseLength(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "00": 0, "10": 10, "0000000000000000007": 7, "9223372036854775807": 1<<63 - 1,
		"9223372036854775808": -1, "9999999999999999999": -1, "18446744073709551617": -1, "00000000000000000007": -1,
		"": -1, "-1": -1, "+1": -1, " 1": -1, "1 ": -1, "0x1": -1, "1e3": -1, "1_0": -1, "\u0661": -1, "1,1": -1,
	} {
		if got, ok := ParseLength(s); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: got %d, %v", s, got, ok)
		}
	}
}

func TestHeadAllocatesTwice(t *testing.T) {
	in := bytes.NewReader([]byte("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n"))
	r := bufio.NewReader(in)
	got := testing.AllocsPerRun(100, func() {
		_, _ = in.Seek(0, io.SeekStart)
		r.Reset(in)
		if _, err := ReadResponseHead(r); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 {
		t.Errorf("%v allocations, want 2: the text and the fields", got)
	}
}

// FuzzResponseHead compares with net/http: what both accept means the same to
// both, and net/http finds no body where there is none.
func FuzzResponseHead(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.0 304 Not Modified\r\nA: \t b \r\na: c\r\n\r\n",
		"HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		head, err := ReadResponseHead(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			return
		}
		for _, line := range head.Fields {
			if !IsToken(line.Name) || strings.ContainsAny(line.Value, "\r\n\x00") {
				t.Fatalf("accepted %q", line)
			}
		}
		length, err := BodyLength(head, "GET")
		theirs, theirErr := http.ReadResponse(bufio.NewReader(strings.NewReader(in)), nil)
		if err != nil || theirErr != nil || head.Status < 200 {
			return
		}
		defer theirs.Body.Close()
		if theirs.StatusCode != head.Status || theirs.ProtoMinor != head.Minor {
			t.Fatalf("%q is status %d of 1.%d, to net/http %d of 1.%d",
				in, head.Status, head.Minor, theirs.StatusCode, theirs.ProtoMinor)
		}
		for name, values := range theirs.Header {
			var ours []string
			for i := head.Fields.Index(name, 0); i >= 0; i = head.Fields.Index(name, i+1) {
				ours = append(ours, head.Fields[i].Value)
			}
			if name != "Trailer" && !slices.Equal(ours, values) {
				t.Fatalf("%s is %q, to net/http %q", name, ours, values)
			}
		}
		if head.Status != 204 && head.Status != 304 && theirs.ContentLength != max(length, -1) {
			t.Fatalf("%q has length %d, to net/http %d", in, length, theirs.ContentLength)
		}
	})
}
