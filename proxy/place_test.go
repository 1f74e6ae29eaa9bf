package proxy

import (
	"net/netip"
	"testing"

	"ringfence/proxy/wire"
)

func TestPlaceBy(t *testing.T) {
	tg := target{raw: "/a/b?x=1&na%6De=v%20w", path: "/a/b", query: "?x=1&na%6De=v%20w"}
	fields := wire.Fields{{Name: "x-tenant", Value: "blue"}, {Name: "cookie", Value: "a=1; sid=77"}}
	client := netip.MustParseAddr("192.0.2.7")
	for by, want := range map[string]string{
		"key": "", "uri": tg.raw, "path": "/a/b", "client": "192.0.2.7",
		"header:X-Tenant": "blue", "header:Absent": "", "cookie:sid": "77", "cookie:x": "",
		"query:x": "1", "query:name": "v w", "query:y": "",
	} {
		p, err := ParsePlaceBy(by)
		if got := p.of(tg, fields, client); err != nil || got != want {
			t.Errorf("%s: %q, %v", by, got, err)
		}
	}
	if p, _ := ParsePlaceBy("client"); p.of(tg, fields, netip.Addr{}) != "" {
		t.Error("those without an address all go to one member")
	}
	for _, s := range []string{"", "Key", "header:", "header:a b", "cookie:", "query:", "host"} {
		if p, err := ParsePlaceBy(s); err == nil {
			t.Errorf("%q was accepted as %+v", s, p)
		}
	}
}
