package config

import (
	"net/netip"
	"slices"
	"testing"
)

func TestTrustedProxies(t *testing.T) {
	got := mustParse(t, "server: {trusted_proxies: [10.0.0.1, 10.0.0.0/8, '2001:db8::/32', '::1', '::ffff:192.0.2.1', 0.0.0.0/0]}"+rest).Server.TrustedProxies
	var want []netip.Prefix
	for _, s := range []string{"10.0.0.1/32", "10.0.0.0/8", "2001:db8::/32", "::1/128", "192.0.2.1/32", "0.0.0.0/0"} {
		want = append(want, netip.MustParsePrefix(s))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestRequestIDField(t *testing.T) {
	for text, want := range map[string]string{
		"off": "", "''": "", "x-correlation-id": "X-Correlation-Id", "Request-ID": "Request-Id", "X-REQUEST-ID": "X-Request-Id",
	} {
		if got := mustParse(t, "server: {request_id: "+text+"}"+rest).Server.RequestID; got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}
