package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ringfence/proxy/wire"
)

func prefixes(list ...string) (ps []netip.Prefix) {
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func addrs(list string) (as []netip.Addr) {
	for _, s := range strings.Fields(list) {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// A trusted set is what its prefixes say one by one, nested or not.
func TestTrust(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		if random.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(random.IntN(3)), byte(random.IntN(3)), byte(random.IntN(256))})
		}
		a := [16]byte{0: 0x20, 1: byte(random.IntN(3)), 15: byte(random.IntN(256))}
		return netip.AddrFrom16(a)
	}
	for range 500 {
		var list []netip.Prefix
		for range random.IntN(8) {
			a := address()
			list = append(list, netip.PrefixFrom(a, random.IntN(a.BitLen()+1)))
		}
		set := newTrust(list)
		for range 50 {
			a := address()
			if want := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) }); set.has(a) != want {
				t.Fatalf("%v has %v: %v", list, a, !want)
			}
		}
		if set.has(netip.Addr{}) {
			t.Fatalf("%v trusts nobody in particular", list)
		}
	}
}

// TestWalk: the peer is 10.0.0.1; 10.0.0.0/8 and 2001:db8::/32 are trusted.
func TestWalk(t *testing.T) {
	set := newTrust(prefixes("10.0.0.0/8", "2001:db8::/32"))
	for _, tt := range []struct {
		name, fields, want string // addresses from the peer to the client
		proto              string
	}{
		{"no word", "", "10.0.0.1", ""},
		{"one", "X-Forwarded-For: 192.0.2.1", "10.0.0.1 192.0.2.1", ""},
		{"what the client wrote does not count", "X-Forwarded-For: 6.6.6.6, 192.0.2.1", "10.0.0.1 192.0.2.1", ""},
		{"not even a trusted address", "X-Forwarded-For: 10.6.6.6, 192.0.2.1", "10.0.0.1 192.0.2.1", ""},
		{"over trusted ones", "X-Forwarded-For: 6.6.6.6, 192.0.2.1,10.0.0.3 ,\t10.0.0.2", "10.0.0.1 10.0.0.2 10.0.0.3 192.0.2.1", ""},
		{"over lines", "X-Forwarded-For: 6.6.6.6|A: b|x-forwarded-for: 192.0.2.1, 10.0.0.3|X-FORWARDED-FOR: 2001:db8::7", "10.0.0.1 2001:db8::7 10.0.0.3 192.0.2.1", ""},
		{"the leftmost of trusted ones", "X-Forwarded-For: 10.0.0.3, 10.0.0.2", "10.0.0.1 10.0.0.2 10.0.0.3", ""},
		{"ports and brackets", "X-Forwarded-For: [2001:4:db8::1]:8080, 10.0.0.2:80", "10.0.0.1 10.0.0.2 2001:4:db8::1", ""},
		{"brackets alone", "X-Forwarded-For: [2001:4:db8::1]", "10.0.0.1 2001:4:db8::1", ""},
		{"IPv4 in IPv6 form", "X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:10.0.0.2", "10.0.0.1 10.0.0.2 192.0.2.1", ""},
		{"a malformed one ends it", "X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.2", "10.0.0.1 10.0.0.2", ""},
		{"a missing one, too", "X-Forwarded-For: 192.0.2.1, , 10.0.0.2", "10.0.0.1 10.0.0.2", ""},
		{"and an empty line", "X-Forwarded-For: 192.0.2.1|X-Forwarded-For:", "10.0.0.1", ""},
		{"and a zone", "X-Forwarded-For: 192.0.2.1, fe80::1%a", "10.0.0.1", ""},
		{"and half an address", "X-Forwarded-For: 192.0.2.1, 10.0.0", "10.0.0.1", ""},
		{"X-Forwarded-For before Forwarded", "Forwarded: for=6.6.6.6;proto=https|X-Forwarded-For: 192.0.2.1", "10.0.0.1 192.0.2.1", ""},
		{"even where it says nothing", "Forwarded: for=6.6.6.6;proto=https|X-Forwarded-For: x", "10.0.0.1", ""},
		{"RFC 7239, section 4: one element", `Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43`, "10.0.0.1 192.0.2.60", "http"},
		{"section 4: a list", `Forwarded: for=192.0.2.43, for=10.0.0.7`, "10.0.0.1 10.0.0.7 192.0.2.43", ""},
		{"section 4: any case, quoted IPv6 and port", `forwarded: For="[2001:4:db8:cafe::17]:4711"`, "10.0.0.1 2001:4:db8:cafe::17", ""},
		{"section 7.1: several lines", `Forwarded: for=6.6.6.6, for=192.0.2.43;proto=https|Forwarded: for="[2001:db8::17]";proto=http`, "10.0.0.1 2001:db8::17 192.0.2.43", "https"},
		{"section 6.1 and 6.2: a hidden node ends it", `Forwarded: for=192.0.2.43, for=unknown`, "10.0.0.1", ""},
		{"section 6.3: so does a name", `Forwarded: for=192.0.2.43, for=_gazonk;proto=https, for=10.0.0.2;proto=http`, "10.0.0.1 10.0.0.2", "http"},
		{"what was left open does not swallow what follows", `Forwarded: for="6.6.6.6, for=192.0.2.43`, "10.0.0.1 192.0.2.43", ""},
		{"nor what was escaped", `Forwarded: for="6.6.6.6\, for="192.0.2.43:80"`, "10.0.0.1 192.0.2.43", ""},
		{"a comma in quotes parts nothing", `Forwarded: for=6.6.6.6, for=192.0.2.43;ext="a, for=6.6.6.6, \"b\\"`, "10.0.0.1 192.0.2.43", ""},
		{"no address at all", `Forwarded: for=192.0.2.43, proto=https`, "10.0.0.1", ""},
		{"a chain without end", "X-Forwarded-For: " + strings.Repeat("10.0.0.9,", 100) + "10.0.0.9", "10.0.0.1" + strings.Repeat(" 10.0.0.9", maxHops-1), ""},
	} {
		got, proto := set.walk(nil, netip.MustParseAddr("10.0.0.1"), fieldLines(t, tt.fields))
		if !slices.Equal(got, addrs(tt.want)) || proto != tt.proto {
			t.Errorf("%s: %v %q, want %s %q", tt.name, got, proto, tt.want, tt.proto)
		}
	}
	if got, _ := set.walk(nil, netip.MustParseAddr("192.0.2.1"), fieldLines(t, "X-Forwarded-For: 6.6.6.6")); len(got) != 1 {
		t.Errorf("a peer that is not trusted is believed: %v", got)
	}
}

// FuzzWalk: whatever a client writes, behind proxies that add to it what they
// know, its own address is what is found.
func FuzzWalk(f *testing.F) {
	f.Add("6.6.6.6", "for=6.6.6.6", uint8(0))
	f.Add("10.0.0.9, 10.0.0.8,", `for="`, uint8(1))
	f.Add(`"`, `for=a;b="\`, uint8(2))
	f.Add("", `for="a\\`, uint8(7))
	f.Add(",,", `,"`, uint8(13))
	set := newTrust(prefixes("10.0.0.0/8", "2001:db8::/32"))
	client := netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, forwardedFor, forwarded string, how uint8) {
		if !wire.IsFieldValue(forwardedFor) || !wire.IsFieldValue(forwarded) {
			return
		}
		writes, ownLine, length := "X-Forwarded-For", how&1 != 0, int(how>>2%4)+1
		fields := wire.Fields{{Name: "Forwarded", Value: wire.TrimSpace(forwarded)}}
		if how&2 == 0 {
			fields = append(fields, wire.Field{Name: writes, Value: wire.TrimSpace(forwardedFor)})
		} else {
			writes = "Forwarded" // and takes the other one away
		}
		want := []netip.Addr{client}
		for i := range length {
			text := want[0].String()
			if writes == "Forwarded" {
				text = fmt.Sprintf(`by=_p;for="%s";host="a,\"b";proto=https`, node(want[0]))
			}
			if at := fields.Index(writes, 0); ownLine {
				fields = append(fields, wire.Field{Name: writes, Value: text})
			} else {
				fields[at].Value += ", " + text
			}
			next := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			if i%2 == 1 {
				next = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})
			}
			want = slices.Insert(want, 0, next)
		}
		got, proto := set.walk(nil, want[0], fields)
		if !slices.Equal(got, want) || (proto == "https") != (writes == "Forwarded") {
			t.Fatalf("%v: %v %q, want %v", fields, got, proto, want)
		}
	})
}

func node(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]:80"
	}
	return a.String()
}

// TestElements covers RFC 7239, sections 4 and 6. The address is "-" where there
// is none, and the whole "" where the element is malformed.
func TestElements(t *testing.T) {
	for in, want := range map[string]string{
		`for=192.0.2.1`: "192.0.2.1 ", `FOR="192.0.2.1"`: "192.0.2.1 ", `for="192.0.2.1:1"`: "192.0.2.1 ",
		`for="192.0.2.1:65535"`: "192.0.2.1 ", `for="192.0.2.1:_port"`: "192.0.2.1 ", `for="[2001:db8::1]"`: "2001:db8::1 ",
		`for="[2001:db8::1]:_a.b-c_1"`: "2001:db8::1 ", `for="[::ffff:192.0.2.1]"`: "192.0.2.1 ",
		`for=192.0.2.1;proto=https;by=x;host="a:1"`: "192.0.2.1 https", `proto=https`: "- https", `for=unknown`: "- ",
		`for="_hid.den"`: "- ", `for=192.0.2.1;`: "192.0.2.1 ", `;;for=192.0.2.1;;a=b`: "192.0.2.1 ", `for="1\92.0.2.1"`: "192.0.2.1 ",
		`for=192.0.2.1;x="a;b, \"c\\"`: "192.0.2.1 ", `for=192.0.2.1;x=""`: "192.0.2.1 ", `for=""`: "- ",
		// Nodes that are none.
		`for="[192.0.2.1]"`: "- ", `for="2001:db8::1"`: "- ", `for="[2001:db8::1"`: "- ", `for="[fe80::1%a]"`: "- ",
		`for="192.0.2.1:"`: "- ", `for="192.0.2.1:123456"`: "- ", `for="192.0.2.1:x"`: "- ", `for="192.0.2.1:_"`: "- ",
		`for="192.0.2.1:_ü"`: "- ", `for="192.0.2.1 "`: "- ", `for="[2001:db8::1]x"`: "- ", `for=192.0.2`: "- ", `for=192.0.02.1`: "- ",
		// Elements that are none.
		"": "", ";": "", `for`: "", `for=`: "", `=a`: "", `for =a`: "", `for= a`: "", `for=a; proto=http`: "", `for=a ;proto=http`: "",
		`for=192.0.2.1:80`: "", `for=[2001:db8::1]`: "", `for="a`: "", `for="a"b`: "", `for="a"b=c`: "", `for="a\"`: "", `for=a;for=b`: "", `for=a;FOR=b`: "",
		`x=a;X=b`: "", `for=a"b"`: "", `fo(r=a`: "", "for=\"a\x01\"": "", `for=a,proto=b`: "",
		strings.Repeat("a=b;", 2): "", manyParams(maxParams): "- ", manyParams(maxParams + 1): "",
	} {
		got := ""
		if e, ok := parseElement(in); ok {
			got = "- " + e.proto
			if a, ok := parseNode(e.node); ok {
				got = a.String() + " " + e.proto
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func manyParams(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "p%d=x;", i)
	}
	return b.String()
}

// FuzzElement: what is taken for an element, written anew by its parameters, is
// the same; and a list that ends in it is cut before it.
func FuzzElement(f *testing.F) {
	for _, s := range []string{`for=192.0.2.1`, `for="[2001:db8::1]:1";proto=https`, `;a="\"\\,";;b=c`, `for="a`, `a=b;A=c`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := parseElement(s)
		if !ok {
			return
		}
		quote := func(v string) string {
			return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
		}
		if again, ok := parseElement("FOR=" + quote(e.node) + ";proto=" + quote(e.proto)); !ok || again != e {
			t.Errorf("%q: %+v, and written anew %+v %v", s, e, again, ok)
		}
		for _, before := range []string{"", `"`, "for=a, ", `x="\`} {
			if item, rest, more := cutLast(before + "," + s); item != s || rest != before || !more {
				t.Errorf("%q after %q is cut as %q and %q", s, before, item, rest)
			}
		}
	})
}

// The scheme is a trusted proxy's word, if that is clear.
func TestTrustedScheme(t *testing.T) {
	set := newTrust(prefixes("10.0.0.0/8"))
	for _, tt := range []struct{ fields, own, want string }{
		{"", "http", "http"}, {"", "https", "https"},
		{"X-Forwarded-Proto: https", "http", "https"}, {"x-forwarded-proto: HTTP", "https", "http"},
		{"X-Forwarded-Proto: ftp", "http", "http"}, {"X-Forwarded-Proto: https, http", "http", "http"},
		{"X-Forwarded-Proto: https|X-Forwarded-Proto: https", "http", "http"}, {"X-Forwarded-Proto:", "https", "https"},
		{"Forwarded: for=192.0.2.1;proto=https", "http", "https"},
		{"Forwarded: for=192.0.2.1;proto=https, for=10.0.0.2;proto=http", "http", "https"},
		{"Forwarded: for=6.6.6.6;proto=https, for=192.0.2.1", "http", "http"},
		{"Forwarded: for=192.0.2.1;proto=https|X-Forwarded-For: 192.0.2.1", "http", "http"},
		{"Forwarded: for=192.0.2.1;proto=https|X-Forwarded-Proto: http", "http", "http"},
		{"Forwarded: for=192.0.2.1;proto=https|X-Forwarded-Proto: x", "http", "http"},
	} {
		if got, _ := set.trustedScheme(nil, tt.own, netip.MustParseAddr("10.0.0.1"), fieldLines(t, tt.fields)); got != tt.want {
			t.Errorf("%s over %s: %s", tt.fields, tt.own, got)
		}
	}
}

// Both fields say the same way, and read by ourselves they say it again.
func TestChains(t *testing.T) {
	set := newTrust(prefixes("10.0.0.0/8", "2001:db8::/32"))
	for _, tt := range []struct {
		hops, forwardedFor, forwarded string
		t                             target
	}{
		{"192.0.2.1", "192.0.2.1", `for=192.0.2.1;host="a:1";proto=http`, target{scheme: "http", authority: "a:1"}},
		{"10.0.0.1 192.0.2.1", "192.0.2.1, 10.0.0.1", `for=192.0.2.1;proto=https, for=10.0.0.1`, target{scheme: "https"}},
		{"2001:db8::1 10.0.0.1 2001:4::1", "2001:4::1, 10.0.0.1, 2001:db8::1",
			`for="[2001:4::1]";host="a";proto=https, for=10.0.0.1, for="[2001:db8::1]"`, target{scheme: "https", authority: "a"}},
	} {
		hops := addrs(tt.hops)
		forwardedFor, forwarded := chains(hops, tt.t)
		if forwardedFor != tt.forwardedFor || forwarded != tt.forwarded {
			t.Errorf("%s: %q and %q", tt.hops, forwardedFor, forwarded)
		}
		next := netip.MustParseAddr("10.7.7.7")
		for name, value := range map[string]string{"X-Forwarded-For": forwardedFor, "Forwarded": forwarded} {
			if got, _ := set.walk(nil, next, wire.Fields{{Name: name, Value: value}}); !slices.Equal(got[1:], hops) {
				t.Errorf("%s %s is read as %v", name, value, got)
			}
		}
	}
	if f, _ := chains([]netip.Addr{{}}, target{scheme: "http"}); f != "unknown" {
		t.Errorf("a peer without an address is %q", f)
	}
}

// Reading who asks allocates nothing once there is room.
func TestWalkDoesNotAllocate(t *testing.T) {
	set := newTrust(prefixes("10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32"))
	fields := fieldLines(t, `A: b|Forwarded: for=192.0.2.1;proto=https;host="a", for="[2001:db8::1]:80"`)
	room := make([]netip.Addr, 0, maxHops)
	peer := netip.MustParseAddr("10.0.0.1")
	if n := testing.AllocsPerRun(100, func() { set.trustedScheme(room, "http", peer, fields) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The request that goes upstream says who forwards it for whom, whatever the
// client says of that, and in whatever spelling; and has nothing that
// applications obey behind the cache's back.
func TestForwarded(t *testing.T) {
	in := fieldLines(t, "Host: EXAMPLE.com:80|X-Forwarded-For: 6.6.6.6|X_Forwarded_For: 6.6.6.6|x-forwarded_proto: https|"+
		"X_Real_IP: 6.6.6.6|Forwarded: for=6.6.6.6|X-Forwarded-Port: 1|X-Forwarded-Prefix: /a|X_Forwarded_Prefix: /b|"+
		"Content-Length: 9|content_length: 9|Transfer_Encoding: chunked|Expect: 100-continue|"+
		"Connection: close, X-Hop, traceparent|X-Hop: 1|TE: trailers|Via: 1.0 a|Via: 1.1 b|X-Own_Name: kept|"+
		"X-HTTP-Method-Override: DELETE|x-original-url: /admin|Proxy: x|Cookie: a=1|cookie: b=2|"+
		"X-Trace: 1|x_trace: 2|traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|tracestate: a=1|tracestate: b=2")
	conn := testFront(&Handler{}).listener(nil).Wrap(&loopConn{})
	from := sender{version: "1.1", hops: []netip.Addr{peerOf(conn)}, idName: "X-Trace", id: "7", unkeyed: []string{"X-Forwarded-Prefix", "X-Host"}}
	got := appendForwarded(nil, from, target{scheme: "http", authority: "example.com"}, in)
	want := fieldLines(t, "Host: example.com|X-Forwarded-Prefix: /a|X-Own_Name: kept|Cookie: a=1|cookie: b=2|"+
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|tracestate: a=1|tracestate: b=2|"+
		"Via: 1.0 a, 1.1 b, 1.1 ringfence|X-Forwarded-For: 127.0.0.1|X-Forwarded-Host: example.com|X-Forwarded-Proto: http|"+
		`Forwarded: for=127.0.0.1;host="example.com";proto=http|X-Trace: 7`)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	from.idName, from.id = "", ""
	got = appendForwarded(nil, from, target{}, fieldLines(t, "X-Trace: 1|traceparent: 00-1|tracestate: a=1"))
	if got.Get("X-Trace") != "1" || got.Has("traceparent") || got.Has("tracestate") {
		t.Errorf("without ids, and with a broken trace: %v", got)
	}
}
