package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

const proxySig = "\r\n\r\n\x00\r\nQUIT\n"

// v2 is a header of version 2 whose length fits.
func v2(command, family byte, block string) string {
	head := append([]byte(proxySig), command, family)
	return string(binary.BigEndian.AppendUint16(head, uint16(len(block)))) + block
}

func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// sealed is a v2 header about TCP over IPv4 with these TLVs before and behind its
// checksum.
func sealed(before, behind string) string {
	b := []byte(v2(0x21, 0x11, four+before+tlv(3, "\x00\x00\x00\x00")+behind))
	at := len(b) - len(behind) - 4
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

// Blocks of addresses, both from port 1000 to port 443.
var (
	four   = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x03\xe8\x01\xbb"
	six    = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x02\x03\xe8\x01\xbb"
	mapped = strings.Repeat(strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x01", 2) + "\x03\xe8\x01\xbb"
)

func header(source, destination string) ProxyHeader {
	return ProxyHeader{netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)}
}

var (
	overFour = header("192.0.2.1:1000", "192.0.2.2:443")
	overSix  = header("[2001:db8::1]:1000", "[2001:db8::2]:443")
)

func TestParseProxyHeader(t *testing.T) {
	nobody := ProxyHeader{}
	for _, tt := range []struct {
		in   string
		want ProxyHeader
	}{
		// Section 2.1.
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", overFour},
		{"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", header("0.0.0.0:0", "255.255.255.255:65535")},
		{"PROXY TCP6 2001:db8::1 2001:DB8:0:0::2 1000 443\r\n", overSix},
		{"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0001 2001:0db8:0000:0000:0000:0000:0000:0002 1000 443\r\n", overSix},
		{"PROXY TCP6 ::ffff:c000:201 ::ffff:192.0.2.2 1000 443\r\n", overFour},
		{"PROXY UNKNOWN\r\n", nobody},
		{"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", nobody},
		{"PROXY UNKNOWN \x00 what ever  it is\r\n", nobody},
		{"PROXY UNKNOWN " + strings.Repeat("x", 107-16) + "\r\n", nobody},
		// Section 2.2.
		{v2(0x21, 0x11, four), overFour},
		{v2(0x21, 0x21, six), overSix},
		{v2(0x21, 0x21, mapped), header("192.0.2.1:1000", "192.0.2.1:443")},
		{v2(0x20, 0, ""), nobody},
		{v2(0x20, 0x11, four), nobody},
		{v2(0x20, 0xff, "what ever it is"), nobody},
		{v2(0x21, 0, ""), nobody},
		{v2(0x21, 0, "what ever it is"), nobody},
		{v2(0x21, 0x12, four), nobody},
		{v2(0x21, 0x22, six), nobody},
		{v2(0x21, 0x31, strings.Repeat("\x00", 216)), nobody},
		{v2(0x21, 0x32, strings.Repeat("/", 216)), nobody},
		// TLVs.
		{v2(0x21, 0x11, four+tlv(4, "")+tlv(0xea, "\x01vpce")), overFour},
		{v2(0x21, 0x21, six+tlv(4, strings.Repeat("x", 4096-16-36-3))), overSix},
		{sealed("", ""), overFour},
		{sealed(tlv(1, "h2"), tlv(2, "example.com")), overFour},
	} {
		h, n, err := ParseProxyHeader([]byte(tt.in + "PROXY or what follows\r\n"))
		if h != tt.want || n != len(tt.in) || err != nil {
			t.Errorf("%.60q: got %v, %d bytes, %v; want %v, %d", tt.in, h, n, err, tt.want, len(tt.in))
		}
		for i := range tt.in {
			if h, n, err := ParseProxyHeader([]byte(tt.in[:i])); h != nobody || n <= i || n > len(tt.in) || err != nil {
				t.Errorf("%d of %d bytes, %.60q: got %v, %d, %v", i, len(tt.in), tt.in, h, n, err)
			}
		}
	}
}

func TestParseProxyHeaderRefuses(t *testing.T) {
	flipped := []byte(sealed(tlv(1, "h2"), ""))
	flipped[20] ^= 1
	for _, in := range []string{
		"GET / HTTP/1.1\r\n", "\x16\x03\x01", "proxy TCP4 ", "P\r", "PROXYTCP4 1.1.1.1", "PROXY\tTCP4 1.1.1.1", "\r\n\r\n\x00\r\nQUIT\r",
		// Section 2.1: the line.
		"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r \n", "PROXY TCP4 192.0.2.1\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1000\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443 \r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443 1\r\n",
		"PROXY TCP4  192.0.2.1 192.0.2.2 1000 443\r\n", "PROXY  TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "PROXY TCP4 192.0.2.1\t192.0.2.2 1000 443\r\n",
		"PROXY TCP4 192.0.2.1\r\n192.0.2.2 1000 443\r\n", "PROXY UNKNOWN\n rest\r\n", "PROXY UNKNOWN a\rb\r\n", "PROXY UNKNOWNS\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", 107-15) + "\r\n", "PROXY TCP4 " + strings.Repeat("1", 200), "PROXY \r\n             ",
		// Protocols.
		"PROXY TCP5 192.0.2.1 192.0.2.2 1000 443\r\n", "PROXY tcp4 192.0.2.1 192.0.2.2 1000 443\r\n", "PROXY UDP4 192.0.2.1 192.0.2.2 1000 443\r\n",
		// Addresses.
		"PROXY TCP4 192.0.2.01 192.0.2.2 1000 443\r\n", "PROXY TCP4 192.0.2 192.0.2.2 1000 443\r\n", "PROXY TCP4 192.0.2.256 192.0.2.2 1000 443\r\n",
		"PROXY TCP4 2001:db8::1 192.0.2.2 1000 443\r\n", "PROXY TCP4 192.0.2.1 2001:db8::2 1000 443\r\n", "PROXY TCP6 192.0.2.1 192.0.2.2 1000 443\r\n",
		"PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1000 443\r\n", "PROXY TCP6 fe80::1%eth0 2001:db8::2 1000 443\r\n", "PROXY TCP6 [2001:db8::1] 2001:db8::2 1000 443\r\n",
		"PROXY TCP6 2001:db8::1::1 2001:db8::2 1000 443\r\n", "PROXY TCP6 2001:00db8::1 2001:db8::2 1000 443\r\n", "PROXY TCP4 localhost 192.0.2.2 1000 443\r\n",
		// Ports.
		"PROXY TCP4 192.0.2.1 192.0.2.2 01000 443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 0443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 00 443\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 -1\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 +1000 443\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 http\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 0x1 443\r\n",
		// Section 2.2: versions, commands, families.
		v2(0x11, 0x11, four), v2(0x31, 0x11, four), v2(0x22, 0x11, four), v2(0x2f, 0x11, four), v2(0x01, 0x11, four),
		v2(0x21, 0x10, four), v2(0x21, 0x01, four), v2(0x21, 0x13, four), v2(0x21, 0x41, six), v2(0x21, 0xf1, six),
		// Lengths.
		v2(0x21, 0x11, four[1:]), v2(0x21, 0x12, four[1:]), v2(0x21, 0x21, six[1:]), v2(0x21, 0x21, four), v2(0x21, 0x31, strings.Repeat("/", 215)),
		v2(0x21, 0x11, ""), v2(0x21, 0x11, four+tlv(4, strings.Repeat("x", 4096-16-12-2))), v2(0x20, 0, strings.Repeat("x", 4096-15)), v2(0x21, 0, strings.Repeat("x", 65535)),
		// TLVs.
		v2(0x21, 0x11, four+"\x04"), v2(0x21, 0x11, four+"\x04\x00"), v2(0x21, 0x11, four+"\x04\x00\x01"), v2(0x21, 0x12, four+"\x04\xff\xff"),
		v2(0x21, 0x11, four+tlv(4, "x")+"\x04\x00\x02x"), v2(0x21, 0x11, four+tlv(3, "\x00\x00\x00\x00")), v2(0x21, 0x11, four+tlv(3, "")), v2(0x21, 0x11, four+tlv(3, "12345")),
		string(flipped),
	} {
		// What follows must not make good what is wrong.
		if h, n, err := ParseProxyHeader([]byte(in + strings.Repeat(" \r\n", 100))); h != (ProxyHeader{}) || n != 0 || !errors.Is(err, ErrProxyHeader) {
			t.Errorf("%.60q: got %v, %d bytes, %v", in, h, n, err)
		}
	}
}

func TestAppendProxyHeader(t *testing.T) {
	nobody := ProxyHeader{}
	for _, tt := range []struct {
		h      ProxyHeader
		v1, v2 string
	}{
		{overFour, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", v2(0x21, 0x11, four)},
		{overSix, "PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n", v2(0x21, 0x21, six)},
		{nobody, "PROXY UNKNOWN\r\n", v2(0x20, 0, "")},
		{ProxyHeader{Source: overFour.Source}, "PROXY UNKNOWN\r\n", v2(0x20, 0, "")},
		{ProxyHeader{Destination: overFour.Source}, "PROXY UNKNOWN\r\n", v2(0x20, 0, "")},
		{header("[::ffff:192.0.2.1]:1000", "[::ffff:192.0.2.2]:443"), "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", v2(0x21, 0x11, four)},
		{header("192.0.2.1:1000", "[::1]:443"), "PROXY TCP6 0000:0000:0000:0000:0000:ffff:c000:0201 ::1 1000 443\r\n",
			v2(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff"+four[:4]+strings.Repeat("\x00", 15)+"\x01"+four[8:])},
		{header("[fe80::1%eth0]:1000", "[fe80::2%eth0]:443"), "PROXY TCP6 fe80::1 fe80::2 1000 443\r\n",
			v2(0x21, 0x21, strings.NewReplacer("\x20\x01\x0d\xb8", "\xfe\x80\x00\x00").Replace(six))},
	} {
		if got := AppendProxyHeader([]byte("x"), ProxyV1, tt.h); string(got) != "x"+tt.v1 {
			t.Errorf("%v: got %q, want %q", tt.h, got, tt.v1)
		}
		if got := AppendProxyHeader([]byte("x"), ProxyV2, tt.h); string(got) != "x"+tt.v2 {
			t.Errorf("%v: got %q, want %q", tt.h, got, tt.v2)
		}
		if got := AppendProxyHeader(nil, NoProxyHeader, tt.h); len(got) != 0 {
			t.Errorf("%v: got %q, want nothing", tt.h, got)
		}
	}
}

// TestProxyHeaderRoundTrip: what is told is what is read, in both versions.
func TestProxyHeaderRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 5))
	addr := func() netip.AddrPort {
		var b [16]byte
		for i := range b {
			b[i] = byte(rnd.Uint32() & rnd.Uint32()) // with some zeros
		}
		a := netip.AddrFrom16(b)
		if rnd.IntN(2) == 0 {
			a = netip.AddrFrom4([4]byte(b[:]))
		}
		return netip.AddrPortFrom(a, uint16(rnd.Uint32()>>rnd.IntN(16)))
	}
	for range 5000 {
		sameAfterAppend(t, ProxyHeader{addr(), addr()})
	}
}

func sameAfterAppend(t *testing.T, h ProxyHeader) {
	t.Helper()
	for _, v := range []ProxyVersion{ProxyV1, ProxyV2} {
		b := AppendProxyHeader(nil, v, h)
		if got, n, err := ParseProxyHeader(append(b, "\r\nGET"...)); got != h || n != len(b) || err != nil {
			t.Fatalf("%v, version %d, %q: got %v, %d bytes, %v", h, v, b, got, n, err)
		}
	}
}

// FuzzProxyHeader: who reads as far as the parser says comes to the header's end
// and no further, bytes behind it change nothing, and what was read can be told.
func FuzzProxyHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\nGET", "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1 2\r\n", "PROXY UNKNOWN a b\r\n", "PROXY UNKNOWN\r\n", "PROXY TCP4 000  ", "PROXY TCP6 0000 ",
		v2(0x20, 0, "x"), v2(0x21, 0x11, four), v2(0x21, 0x21, six+tlv(4, "x")), v2(0x21, 0x31, strings.Repeat("/", 216)), sealed(tlv(1, "h2"), ""),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := ParseProxyHeader(in)
		if err != nil {
			if !errors.Is(err, ErrProxyHeader) || h != (ProxyHeader{}) {
				t.Fatalf("%q: %v, %v", in, h, err)
			}
			return
		}
		if n > maxProxyV2 || n > len(in) && h != (ProxyHeader{}) {
			t.Fatalf("%q: %v of %d bytes", in, h, n)
		}
		have := 0
		for have < min(n, len(in)) {
			h, m, err := ParseProxyHeader(in[:have])
			if err != nil || m <= have || m > n || h != (ProxyHeader{}) {
				t.Fatalf("%q has %d bytes, the first %d of it %d: %v, %v", in, n, have, m, h, err)
			}
			have = m
		}
		if n > len(in) {
			return
		}
		if again, m, err := ParseProxyHeader(bytes.Clone(in[:n])); again != h || m != n || err != nil {
			t.Fatalf("%q: %v, by itself %v, %d bytes, %v", in, h, again, m, err)
		}
		sameAfterAppend(t, h)
	})
}
