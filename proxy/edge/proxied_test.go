package edge

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"ringfence/proxy/wire"
)

const rest = "\x16\x03\x01 or GET / HTTP/1.1\r\n\r\n"

// counted counts the reads.
type counted struct {
	io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// TestReadProxyHeader: what follows the header stays for the next reader, in
// however many pieces it comes.
func TestReadProxyHeader(t *testing.T) {
	end := netip.MustParseAddrPort
	over4 := wire.ProxyHeader{Source: end("192.0.2.10:40000"), Destination: end("198.51.100.20:443")}
	over6 := wire.ProxyHeader{Source: end("[2001:db8::1]:40000"), Destination: end("[2001:db8::2]:443")}
	for _, tt := range []struct {
		name  string
		in    string
		want  wire.ProxyHeader
		reads int
	}{
		{"v1, IPv4", string(wire.AppendProxyHeader(nil, wire.ProxyV1, over4)), over4, 7},
		{"v1, IPv6", string(wire.AppendProxyHeader(nil, wire.ProxyV1, over6)), over6, 7},
		{"v1, unknown", "PROXY UNKNOWN\r\n", wire.ProxyHeader{}, 1},
		{"v1, unknown with a text", "PROXY UNKNOWN " + strings.Repeat("x", 90) + "\r\n", wire.ProxyHeader{}, 50},
		{"v2, IPv4", string(wire.AppendProxyHeader(nil, wire.ProxyV2, over4)), over4, 2},
		{"v2, IPv6", string(wire.AppendProxyHeader(nil, wire.ProxyV2, over6)), over6, 2},
		{"v2, local", string(wire.AppendProxyHeader(nil, wire.ProxyV2, wire.ProxyHeader{})), wire.ProxyHeader{}, 2},
		{"v2, TLVs", "\r\n\r\n\x00\r\nQUIT\n\x21\x00\x0f\x00" + strings.Repeat("x", 0xf00), wire.ProxyHeader{}, 3},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(tt.in + rest), "in pieces": iotest.OneByteReader(strings.NewReader(tt.in + rest)),
		} {
			h, err := ReadProxyHeader(r)
			behind, _ := io.ReadAll(r)
			if h != tt.want || err != nil || string(behind) != rest {
				t.Errorf("%s, %s: got %v, %v; left %q", tt.name, name, h, err, behind)
			}
		}
		c := &counted{Reader: strings.NewReader(tt.in + rest)}
		if _, _ = ReadProxyHeader(c); c.reads > tt.reads {
			t.Errorf("%s: %d reads, want %d at most", tt.name, c.reads, tt.reads)
		}
	}
}

func TestReadProxyHeaderFails(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want error
	}{
		{"", io.EOF},
		{"P", io.ErrUnexpectedEOF},
		{"PROXY TCP4 192.0.", io.ErrUnexpectedEOF},
		{"PROXY TCP4 192.0.2.10 198.51.100.20 40000 443\r", io.ErrUnexpectedEOF},
		{"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00", io.ErrUnexpectedEOF},
		{"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x09 too few", io.ErrUnexpectedEOF},
		{"GET / HTTP/1.1\r\n\r\n", wire.ErrProxyHeader},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on", wire.ErrProxyHeader},
		{"PROXY TCP4 192.0.2.10 198.51.100.20 40000 65536\r\n", wire.ErrProxyHeader},
	} {
		h, err := ReadProxyHeader(strings.NewReader(tt.in))
		if !errors.Is(err, tt.want) || h != (wire.ProxyHeader{}) {
			t.Errorf("%q: got %v, %v; want %v", tt.in, h, err, tt.want)
		}
	}
}

// TestReadProxyHeaderEndsAtTheDeadline: whoever says little or nothing holds
// nobody past it.
func TestReadProxyHeaderEndsAtTheDeadline(t *testing.T) {
	for _, said := range []string{"", "PROXY TCP4", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f"} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			go func() { _, _ = io.WriteString(theirs, said) }()
			began := time.Now()
			_ = ours.SetReadDeadline(began.Add(3 * time.Second))
			_, err := ReadProxyHeader(ours)
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != 3*time.Second {
				t.Errorf("%q: %v after %v", said, err, took)
			}
		})
	}
}
