package edge

import (
	"net/netip"
	"testing"
)

func TestClientOf(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := clientOf(netip.MustParseAddr(a)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s", a, got)
		}
	}
	if got := clientOf(netip.Addr{}); got.IsValid() {
		t.Errorf("of no address: %s", got)
	}
}
