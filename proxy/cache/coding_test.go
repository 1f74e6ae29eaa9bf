package cache

import (
	"testing"

	"ringfence/proxy/wire"
)

func TestNegotiate(t *testing.T) {
	all := []Coding{Zstd, Brotli, Gzip}
	const header = "Accept-Encoding: "
	for _, c := range []struct {
		fields  string
		offered []Coding
		want    Coding
	}{
		// RFC 9110, section 12.5.3.
		{"", all, Identity},
		{"Accept: gzip", all, Identity},
		{header, all, Identity},
		{header + "gzip", all, Gzip},
		{header + "gzip, deflate, br, zstd", all, Zstd},
		{header + "gzip, deflate, br, zstd", []Coding{Gzip, Zstd}, Gzip},
		{header + "gzip, deflate, br", []Coding{Zstd}, Identity},
		{header + "gzip", nil, Identity},
		{header + "deflate, compress", all, Identity},
		{header + "GZip", all, Gzip},
		{header + "x-gzip", all, Gzip}, // section 8.4.1.3
		{header + "X-Gzip;q=0.5, br;q=0.4", all, Gzip},
		{header + "gzip|" + header + "br", all, Brotli},
		{"accept-encoding: gzip", all, Gzip},
		{header + " ,, gzip\t, ", all, Gzip},
		// Weights, section 12.4.2.
		{header + "gzip;q=1.0, br;q=0.9", all, Gzip},
		{header + "gzip;q=0.001, br;q=0.002", all, Brotli},
		{header + "gzip;q=0.9, br;q=0.899", all, Gzip},
		{header + "gzip ; Q=0.5 , br\t;\tq=0.4", all, Gzip},
		{header + "gzip;q=1.000, br;q=1.", all, Brotli},
		{header + "gzip;q=0.01, br;q=0.002", all, Gzip},
		{header + "gzip;q=0., br;q=0.000", all, Identity},
		{header + "gzip;q=0", all, Identity},
		{header + "gzip;q=0.000, *;q=0", all, Identity},
		{header + "gzip;q=0, gzip", all, Identity},
		{header + "gzip;q=0.2, gzip, br;q=0.3", all, Brotli},
		// The asterisk.
		{header + "*", all, Zstd},
		{header + "*;q=0", all, Identity},
		{header + "gzip, *;q=0", all, Gzip},
		{header + "*;q=0.5, gzip;q=0.4, zstd;q=0", all, Brotli},
		{header + "*;q=0.5, gzip;q=0.6", all, Gzip},
		{header + "*;q=0.5, *;q=0", all, Identity},
		{header + "*;q=0, *", all, Identity},
		{header + "*;q=0.5, gzip;q=0.4", []Coding{Identity, Gzip}, Gzip},
		// identity.
		{header + "identity", all, Identity},
		{header + "identity, gzip", all, Gzip},
		{header + "identity;q=0.5, gzip;q=0.5", all, Gzip},
		{header + "identity;q=0.6, gzip;q=0.5", all, Identity},
		{header + "identity;q=0.4, gzip;q=0.5", all, Gzip},
		{header + "identity;q=0, gzip;q=0.1", all, Gzip},
		{header + "identity;q=0", all, Identity},
		{header + "identity;q=0, *;q=0", all, Identity},
		{header + "identity;q=0, deflate", all, Identity},
		{header + "identity, gzip", []Coding{Identity, Gzip}, Identity},
		{header + "gzip;q=0.1", []Coding{Identity, Gzip}, Gzip},
		// What cannot be read is not accepted.
		{header + "gzip;q=x, br;q=0.1", all, Brotli},
		{header + "gzip;q=", all, Identity},
		{header + "gzip;q=2", all, Identity},
		{header + "gzip;q=1.001", all, Identity},
		{header + "gzip;q=0.5555", all, Identity},
		{header + "gzip;q=-1", all, Identity},
		{header + "gzip;q=.5", all, Identity},
		{header + "gzip;q=0,5", all, Identity},
		{header + "gzip;q = 1", all, Identity},
		{header + `gzip;q="1"`, all, Identity},
		{header + "gzip;level=9", all, Identity},
		{header + "gzip;", all, Identity},
		{header + "gzip;q=1;q=1", all, Identity},
		{header + "gzip;q=x, *", all, Zstd},
		{header + "gzip;q=x, *", []Coding{Gzip}, Identity},
		{header + "gzip;q=1.001, *", []Coding{Gzip}, Identity},
		{header + "gzip br", all, Identity},
		{header + "gzipp, gzi", all, Identity},
		{header + ";q=1", all, Identity},
	} {
		if got := Negotiate(lines(t, c.fields), c.offered); got != c.want {
			t.Errorf("%q with %v: %v, want %v", c.fields, c.offered, got, c.want)
		}
	}
}

func TestParseCoding(t *testing.T) {
	for name, want := range map[string]Coding{"identity": Identity, "gzip": Gzip, "br": Brotli, "zstd": Zstd, "BR": Brotli, "x-GZIP": Gzip} {
		if c, ok := parseCoding(name); c != want || !ok {
			t.Errorf("%q: %v, %v", name, c, ok)
		}
	}
	for _, name := range []string{"", "*", "deflate", "brotli", "x-br"} {
		if c, ok := parseCoding(name); ok {
			t.Errorf("%q: %v", name, c)
		}
	}
}

// FuzzNegotiate: only what is offered or identity comes out, what a client
// refuses at the end or the front of its list never does, and one line says the
// same as two.
func FuzzNegotiate(f *testing.F) {
	f.Add("gzip, br;q=0.5", "*;q=0.1")
	f.Add("identity;q=0", "zstd ; Q=0.001")
	f.Fuzz(func(t *testing.T, first, second string) {
		offered := []Coding{Brotli, Gzip}
		negotiate := func(values ...string) Coding {
			var fields wire.Fields
			for _, v := range values {
				fields = append(fields, wire.Field{Name: "Accept-Encoding", Value: v})
			}
			return Negotiate(fields, offered)
		}
		got := negotiate(first, second)
		if got == Zstd || got != negotiate(first+","+second) || got != negotiate(second, first) {
			t.Fatalf("%v for %q, %q", got, first, second)
		}
		if c := negotiate(first, "br;q=0", second); c == Brotli {
			t.Fatalf("%q, %q: br in spite of q=0", first, second)
		}
	})
}

func TestNegotiateAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Negotiate(browserHead, []Coding{Zstd, Brotli, Gzip}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNegotiate(b *testing.B) {
	offered := []Coding{Zstd, Brotli, Gzip}
	b.ReportAllocs()
	for b.Loop() {
		if Negotiate(browserHead, offered) != Zstd {
			b.Fatal("not zstd")
		}
	}
}
