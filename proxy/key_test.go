package proxy

import (
	"strings"
	"testing"

	"ringfence/proxy/wire"
)

// keyOf is the key of a request under the parts named.
func keyOf(t *testing.T, parts string, tg target, fields wire.Fields) string {
	t.Helper()
	var list []KeyPart
	for _, name := range strings.Fields(parts) {
		p, err := ParseKeyPart(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return string(appendKey(nil, list, tg, fields))
}

func TestKeyTellsRequestsApart(t *testing.T) {
	cookies := func(v string) wire.Fields { return wire.Fields{{Name: "cookie", Value: v}} }
	tenant := func(vs ...string) (f wire.Fields) {
		for _, v := range vs {
			f = append(f, wire.Field{Name: "X-Tenant", Value: v})
		}
		return f
	}
	for _, tt := range []struct {
		name, parts string
		a, b        target
		af, bf      wire.Fields
		same        bool
	}{
		{"no parts run together", "host path", target{authority: "ab", path: "/c"}, target{authority: "a", path: "b/c"}, nil, nil, false},
		{"query counts", "path query", target{path: "/", query: "?"}, target{path: "/"}, nil, nil, false},
		{"query left out", "path", target{path: "/", query: "?a"}, target{path: "/", query: "?b"}, nil, nil, true},
		{"header", "path header:x-tenant", target{}, target{}, tenant("1"), tenant("2"), false},
		{"header lines are not their join", "path header:x-tenant", target{}, target{}, tenant("1", "2"), tenant("1, 2"), false},
		{"absent header is not an empty one", "path header:x-tenant", target{}, target{}, nil, tenant(""), false},
		{"cookie", "path cookie:lang", target{}, target{}, cookies("a=1; lang=de"), cookies("lang=de;b=2"), true},
		{"other cookie", "path cookie:lang", target{}, target{}, cookies("lang=de"), cookies("lang=fr"), false},
	} {
		if got := keyOf(t, tt.parts, tt.a, tt.af) == keyOf(t, tt.parts, tt.b, tt.bf); got != tt.same {
			t.Errorf("%s: same key is %v, want %v", tt.name, got, tt.same)
		}
	}
}

func TestParseKeyPartRefuses(t *testing.T) {
	for _, s := range []string{"", "method", "header:", "header:a b", "cookie:", "Host"} {
		if p, err := ParseKeyPart(s); err == nil {
			t.Errorf("%q was accepted as %+v", s, p)
		}
	}
}
