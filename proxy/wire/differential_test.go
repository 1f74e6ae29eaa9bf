package wire

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// accepted are heads that every reader takes, and refused ones that some reader
// would take for another message than the next one.
var (
	accepted = []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /a/../b?c=%20d&e HTTP/1.1\r\nhost:h\r\nX-A: \t b \t\r\nX-A:\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\ncontent-length:0\r\nConnection: close\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: h\r\ntransfer-encoding:\tchunked\r\n\r\n",
		"DELETE http://other:80/x HTTP/1.1\r\nHost: h\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\nContent-Length: 3\r\n\r\n",
		"PROPFIND //x HTTP/1.1\r\nHost: [::1]:80\r\nConnection: x\r\nConnection: Close\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
		"get / HTTP/1.1\r\nHost: h\r\nX_A: \xe4\t\xff\r\nPragma: no-cache\r\n\r\n",
	}
	refused = []string{
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \vchunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551621\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent_Length: 5\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nX: y\nContent-Length: 5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nX: y\rContent-Length: 5\r\n\r\n",
		"POST / HTTP/1.1\nHost: h\r\nContent-Length: 5\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
		"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /#f HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
		"GET /\r\n\r\n",
	}
)

// ample are limits that nothing in these tests exceeds but what is meant to.
var ample = RequestLimits{MaxTarget: 4 << 10, MaxFields: 100}

// behind is what follows each message.
const behind = "GET /next HTTP/1.1\r\nHost: n\r\n\r\n"

// sample returns a body of h's length, as it is sent and as it is read.
func sample(h RequestHead) (sent, read string) {
	if h.Length == Chunked {
		return "5;a=b\r\nhello\r\n3\r\n0\r\n\r\n0\r\nX: y\r\n\r\n", "hello0\r\n"
	}
	read = strings.Repeat("\r\n0\r\n\r\n", int(h.Length)/7+1)[:h.Length]
	return read, read
}

// reading is what a reader makes of a request and of what is behind it.
type reading struct {
	method, target, body, rest string
	length                     int64
	minor                      int
	persistent                 bool
}

func readByNetHTTP(in string) (reading, http.Header, error) {
	br := bufio.NewReaderSize(strings.NewReader(in), 1<<16)
	req, err := http.ReadRequest(br)
	if err != nil {
		return reading{}, nil, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return reading{}, nil, err
	}
	rest, err := io.ReadAll(br)
	return reading{req.Method, req.RequestURI, string(body), string(rest), req.ContentLength, req.ProtoMinor, !req.Close}, req.Header, err
}

// readByFasthttp reads as fasthttp's server does, with the rest of the
// connection in one buffer. That gives no length, nor whether the connection
// goes on in HTTP/1.0.
func readByFasthttp(in string) (reading, error) {
	br := bufio.NewReaderSize(strings.NewReader(in), 1<<16)
	var req fasthttp.Request
	req.Header.DisableNormalizing()
	if err := req.Header.Read(br); err != nil {
		return reading{}, err
	}
	if err := req.ContinueReadBody(br, 0, false); err != nil {
		return reading{}, err
	}
	rest, err := io.ReadAll(br)
	minor := 0
	if req.Header.IsHTTP11() {
		minor = 1
	}
	return reading{method: string(req.Header.Method()), target: string(req.Header.RequestURI()), body: string(req.Body()), rest: string(rest), minor: minor}, err
}

// differ tells what other readers make of a head that is accepted: "" where they
// refuse it or agree. all says that none of them refused.
func differ(h RequestHead, block string) (what string, all bool) {
	sent, read := sample(h)
	ours := reading{h.Method, h.Target, read, behind, h.Length, h.Minor, h.Persistent}
	all = true
	theirs, header, err := readByNetHTTP(block + sent + behind)
	switch {
	case err != nil:
		all = false
	case theirs != ours:
		return "to net/http it is another request", true
	default:
		if name := differingField(h.Fields, header); name != "" {
			return "to net/http it has another " + name, true
		}
	}
	theirs, err = readByFasthttp(block + sent + behind)
	if err != nil {
		return "", false
	}
	theirs.length, theirs.persistent = ours.length, ours.persistent
	if theirs != ours {
		return "to fasthttp it is another request", true
	}
	return "", all
}

// differingField returns the name of a field that net/http has other values of.
func differingField(fields Fields, theirs http.Header) string {
	for name, values := range theirs {
		var ours []string
		for i := fields.Index(name, 0); i >= 0; i = fields.Index(name, i+1) {
			ours = append(ours, fields[i].Value)
		}
		// net/http makes one of Pragma.
		if !slices.Equal(ours, values) && (name != "Cache-Control" || !fields.Has("Pragma")) {
			return name
		}
	}
	return ""
}

func TestReadersAgree(t *testing.T) {
	for _, block := range accepted {
		h, refusal := ParseRequestHead(nil, block, ample)
		if refusal != nil {
			t.Errorf("%q: refused: %v", block, refusal)
		} else if what, all := differ(h, block); what != "" || !all {
			t.Errorf("%q: %s; accepted by all: %v", block, what, all)
		}
	}
	for _, block := range refused {
		if h, refusal := ParseRequestHead(nil, block, ample); refusal == nil {
			t.Errorf("%q: got %+v", block, h)
		}
	}
}

// TestReadersAgreeOnOddHeads puts heads together from parts that go with each
// other or do not.
func TestReadersAgreeOnOddHeads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 12))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	rarely := func(usual string, odd ...string) string {
		if rnd.IntN(12) > 0 {
			return usual
		}
		return pick(odd...)
	}
	end := func() string { return rarely("\r\n", "\n", "\r", "\r\r\n", "\r\n ", " \r\n") }
	counts := map[bool]int{}
	for range 5_000 {
		var b strings.Builder
		b.WriteString(pick("GET", "POST", "HEAD", "PUT", "get", "OPTIONS") + rarely(" ", "  ", "\t") + pick("/", "/a?b", "*", "http://h/", "//x") +
			rarely(" ", "  ", "\t", "\v") + rarely("HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1", "") + end())
		b.WriteString(rarely("Host: h\r\n", "", "Host: h\r\nHost: h\r\n"))
		for range rnd.IntN(4) {
			name := pick("Content-Length", "Transfer-Encoding", "Connection", "Expect", "Trailer", "X")
			value := map[string]string{
				"Content-Length": pick("5", "0", "05", "+5", "5,5", "0x5", "5 5", "-0", "18446744073709551621"), "Transfer-Encoding": pick("chunked", "Chunked", "identity", "gzip, chunked", "chunked;q=1", "\vchunked"),
				"Connection": pick("close", "keep-alive", "x, Close", "Content-Length", "Transfer-Encoding"), "Expect": pick("100-continue", "x"), "Trailer": pick("X", "Content-Length"), "X": pick("y", "", "a\x00b", "\xff"),
			}[name]
			name = rarely(name, strings.ToLower(name), strings.ReplaceAll(name, "-", "_"), name+" ", " "+name, name+"\v")
			b.WriteString(name + rarely(": ", ":", ":\t", " : ") + value + rarely("", " ", "\t", "\f") + end())
		}
		block := b.String() + "\r\n"
		h, refusal := ParseRequestHead(nil, block, ample)
		counts[refusal == nil]++
		if refusal != nil {
			continue
		}
		if what, _ := differ(h, block); what != "" {
			t.Fatalf("%q is %+v, but %s", block, h, what)
		}
	}
	if counts[true] < 250 || counts[false] < 250 {
		t.Errorf("%d heads were accepted and %d refused: too few to tell", counts[true], counts[false])
	}
}

// FuzzRequestHead compares with net/http and fasthttp: what is accepted here is
// the same request to both, with the same body and the same bytes behind it, or
// they refuse it.
func FuzzRequestHead(f *testing.F) {
	for _, seed := range slices.Concat(accepted, refused) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		end := strings.Index(in, "\r\n\r\n")
		if end < 0 {
			return
		}
		block := in[:end+4]
		h, refusal := ParseRequestHead(nil, block, ample)
		if refusal != nil {
			if refusal.Status < 400 || refusal.Status > 599 || refusal.Why == "" || !IsFieldValue(refusal.Why) {
				t.Fatalf("%q is refused with %+v", block, refusal)
			}
			return
		}
		if h.Length > 1<<12 {
			return // too much to send
		}
		if what, _ := differ(h, block); what != "" {
			t.Fatalf("%q is %+v, but %s", block, h, what)
		}
	})
}
