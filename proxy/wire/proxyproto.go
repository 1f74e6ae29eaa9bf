package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// ProxyVersion is a version of the PROXY protocol, as it is described in "The
// PROXY protocol, versions 1 & 2" (HAProxy). The zero value is none.
type ProxyVersion uint8

// The versions: ProxyV1 is a line of text, ProxyV2 is binary.
const (
	NoProxyHeader ProxyVersion = iota
	ProxyV1
	ProxyV2
)

// ProxyHeader is what a proxy says, before all else on a connection, of the
// client's connection that it relays. The zero value tells of none: the ends of
// the connection itself are what counts then. As PROXY headers it is LOCAL in
// version 2 and UNKNOWN in version 1, and so are read those about anything but
// TCP over IP.
type ProxyHeader struct {
	// Source and Destination are the client's end of its connection, and the end
	// that it connected to. IPv4 addresses are in no IPv6 form, and none has a
	// zone.
	Source, Destination netip.AddrPort
}

// ErrProxyHeader says that the bytes are not a PROXY header, or not a sound one.
var ErrProxyHeader = errors.New("malformed PROXY header")

const (
	proxySignature1 = "PROXY "
	proxySignature2 = "\r\n\r\n\x00\r\nQUIT\n"

	minProxyHeader = len("PROXY UNKNOWN\r\n") // no header is shorter
	maxProxyV1     = 107                      // bytes of the line, by the specification
	minProxyV2     = 16
	maxProxyV2     = 4 << 10 // bytes of a header with its TLVs
)

// ParseProxyHeader reads the PROXY header that b begins with. n is the header's
// length; where it is more than len(b) the header is incomplete and h is zero,
// and n is a length that it has at least. So who reads b up to n, and again
// while n grows, takes nothing of what follows the header. The error is an
// [ErrProxyHeader]; it comes before n passes 107 bytes (version 1) or 4 KiB
// (version 2).
func ParseProxyHeader(b []byte) (h ProxyHeader, n int, err error) {
	switch {
	case bytes.HasPrefix(b, []byte(proxySignature1)) && len(b) >= minProxyHeader:
		return parseProxyV1(b)
	case bytes.HasPrefix(b, []byte(proxySignature2)) && len(b) >= minProxyHeader:
		return parseProxyV2(b)
	case strings.HasPrefix(proxySignature1, string(b[:min(len(b), len(proxySignature1))])),
		strings.HasPrefix(proxySignature2, string(b[:min(len(b), len(proxySignature2))])):
		return h, minProxyHeader, nil
	}
	return h, 0, fmt.Errorf("%w: %.40q", ErrProxyHeader, b)
}

// parseProxyV1 reads a line: a protocol, two addresses and two ports, or UNKNOWN
// and whatever follows it (section 2.1).
func parseProxyV1(b []byte) (h ProxyHeader, n int, err error) {
	line, _, ended := strings.Cut(string(b[:min(len(b), maxProxyV1)]), "\n")
	text, returned := strings.CutSuffix(line, "\r")
	parts := strings.Split(text, " ")
	protocol, rest := parts[1], parts[2:]
	ip := protocol == "TCP4" || protocol == "TCP6"
	switch {
	case !ip && protocol != "UNKNOWN", ip && (len(rest) > 4 || strings.Contains(text, "  ")),
		strings.Contains(text, "\r"), // another reader could end the line there
		ended && (!returned || ip && len(rest) < 4):
		return h, 0, fmt.Errorf("%w: %.120q", ErrProxyHeader, line)
	case ended && !ip:
		return h, len(line) + 1, nil
	case ended:
		source, ok := parseEnd(protocol, rest[0], rest[2])
		destination, ok2 := parseEnd(protocol, rest[1], rest[3])
		if !ok || !ok2 {
			return h, 0, fmt.Errorf("%w: %.120q", ErrProxyHeader, line)
		}
		return ProxyHeader{source, destination}, len(line) + 1, nil
	}
	n = len(text) + len("\r\n")
	if ip { // each part still to come has a space, and each a byte at least
		n += 2 * (4 - len(rest))
		if strings.HasSuffix(text, " ") {
			n++
		}
	}
	if n > maxProxyV1 {
		return h, 0, fmt.Errorf("%w: longer than %d bytes: %.120q", ErrProxyHeader, maxProxyV1, line)
	}
	return h, n, nil
}

// parseEnd reads an address of the protocol and a port in decimal digits
// without leading zeros.
func parseEnd(protocol, address, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(address)
	p, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil || a.Zone() != "" || a.Is4() != (protocol == "TCP4") || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

// Parts of version 2 (section 2.2).
const (
	proxyLocal, proxyRelayed = 0x20, 0x21 // version and command
	proxyTCP4, proxyTCP6     = 0x11, 0x21 // family and transport
	proxyTLVCRC              = 0x03
)

// proxyAddresses is how many bytes the addresses of a family and transport
// have; it is false where there is no such pair.
func proxyAddresses(family byte) (int, bool) {
	switch family {
	case 0x00: // unspecified
		return 0, true
	case proxyTCP4, 0x12: // UDP
		return 2 * (4 + 2), true
	case proxyTCP6, 0x22:
		return 2 * (16 + 2), true
	case 0x31, 0x32: // Unix
		return 2 * 108, true
	}
	return 0, false
}

// parseProxyV2 reads 16 bytes and the addresses and TLVs whose length they tell.
// LOCAL, and a family that is unspecified, leave open what follows: it is
// skipped.
func parseProxyV2(b []byte) (h ProxyHeader, n int, err error) {
	command, family := b[12], b[13]
	size, known := proxyAddresses(family)
	if command == proxyLocal {
		size, known, family = 0, true, 0
	}
	if !known || command != proxyLocal && command != proxyRelayed {
		return h, 0, fmt.Errorf("%w: version and command %#x, family %#x", ErrProxyHeader, command, family)
	}
	if len(b) < minProxyV2 {
		return h, minProxyV2 + size, nil
	}
	n = minProxyV2 + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case n < minProxyV2+size || n > maxProxyV2:
		return h, 0, fmt.Errorf("%w: %d bytes with family %#x", ErrProxyHeader, n, family)
	case len(b) < n:
		return h, n, nil
	case family == 0:
		return h, n, nil
	}
	addresses := b[minProxyV2:]
	switch family {
	case proxyTCP4:
		h = ProxyHeader{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte(addresses)), binary.BigEndian.Uint16(addresses[8:])),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte(addresses[4:])), binary.BigEndian.Uint16(addresses[10:])),
		}
	case proxyTCP6:
		h = ProxyHeader{
			netip.AddrPortFrom(netip.AddrFrom16([16]byte(addresses)).Unmap(), binary.BigEndian.Uint16(addresses[32:])),
			netip.AddrPortFrom(netip.AddrFrom16([16]byte(addresses[16:])).Unmap(), binary.BigEndian.Uint16(addresses[34:])),
		}
	}
	if err := checkTLVs(b[:n], minProxyV2+size); err != nil {
		return ProxyHeader{}, 0, err
	}
	return h, n, nil
}

// checkTLVs walks over the TLVs of a header, which begin at at, and holds the
// header against its CRC32C, where it has one (section 2.2.4).
func checkTLVs(header []byte, at int) error {
	for at < len(header) {
		value := at + 3
		if value > len(header) || value+int(binary.BigEndian.Uint16(header[at+1:])) > len(header) {
			return fmt.Errorf("%w: a TLV is cut off", ErrProxyHeader)
		}
		end := value + int(binary.BigEndian.Uint16(header[at+1:]))
		if header[at] == proxyTLVCRC {
			table := crc32.MakeTable(crc32.Castagnoli)
			sum := crc32.Update(0, table, header[:value])
			sum = crc32.Update(sum, table, make([]byte, end-value))
			sum = crc32.Update(sum, table, header[end:])
			if end-value != 4 || binary.BigEndian.Uint32(header[value:]) != sum {
				return fmt.Errorf("%w: the checksum does not match", ErrProxyHeader)
			}
		}
		at = end
	}
	return nil
}

// AppendProxyHeader appends h as a header of version v, at most 107 bytes, and
// nothing where that is [NoProxyHeader]. An h with one end alone tells of none;
// ends of two families are both told as IPv6 addresses, and zones are left out.
func AppendProxyHeader(dst []byte, v ProxyVersion, h ProxyHeader) []byte {
	source, destination := h.Source.Addr().Unmap(), h.Destination.Addr().Unmap()
	known, v4 := source.IsValid() && destination.IsValid(), source.Is4() && destination.Is4()
	switch {
	case v == ProxyV1 && !known:
		return append(dst, "PROXY UNKNOWN\r\n"...)
	case v == ProxyV1:
		dst = append(dst, "PROXY TCP"...)
		if v4 {
			dst = append(source.AppendTo(append(dst, "4 "...)), ' ')
			dst = destination.AppendTo(dst)
		} else {
			dst = append(appendHex(append(dst, "6 "...), source), ' ')
			dst = appendHex(dst, destination)
		}
		dst = strconv.AppendUint(append(dst, ' '), uint64(h.Source.Port()), 10)
		dst = strconv.AppendUint(append(dst, ' '), uint64(h.Destination.Port()), 10)
		return append(dst, "\r\n"...)
	case v == ProxyV2 && !known:
		return append(append(dst, proxySignature2...), proxyLocal, 0, 0, 0)
	case v == ProxyV2:
		dst = append(append(dst, proxySignature2...), proxyRelayed)
		if v4 {
			s, d := source.As4(), destination.As4()
			dst = append(append(append(dst, proxyTCP4, 0, 2*(4+2)), s[:]...), d[:]...)
		} else {
			s, d := source.As16(), destination.As16()
			dst = append(append(append(dst, proxyTCP6, 0, 2*(16+2)), s[:]...), d[:]...)
		}
		dst = binary.BigEndian.AppendUint16(dst, h.Source.Port())
		return binary.BigEndian.AppendUint16(dst, h.Destination.Port())
	}
	return dst
}

// appendHex appends an address as IPv6 groups of hexadecimal digits, as
// version 1 has them: there are no dots for the IPv4 address in one.
func appendHex(dst []byte, a netip.Addr) []byte {
	a = netip.AddrFrom16(a.As16())
	if a.Is4In6() {
		return append(dst, a.StringExpanded()...)
	}
	return a.AppendTo(dst)
}
