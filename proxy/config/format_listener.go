package config

import (
	"errors"
	"fmt"
	"net/netip"
)

// wordsPrefix is what an address or a network looks like.
const wordsPrefix = "an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32"

// parsePrefix takes an address or a network, in the one form in which it is
// compared with addresses.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("want %s, got %q", wordsPrefix, clip(text))
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("want an IPv4 network in its own form, such as 10.0.0.0/8, got %q", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its prefix; write %s, or %s for the one address", text, p.Masked(), p.Addr())
	}
	return p, nil
}

// checkFile wants the path of a file.
func checkFile(text string) error {
	if text == "" {
		return errors.New("is empty; write the path of a PEM file")
	}
	return checkLine(text)
}
