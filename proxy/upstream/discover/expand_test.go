package discover

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func addrs(texts ...string) []netip.Addr {
	all := make([]netip.Addr, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParseAddr(text)
	}
	return all
}

// show writes servers the short way: ID=address*weight, + for a backup.
func show(servers []Server) string {
	words := make([]string, len(servers))
	for i, s := range servers {
		id, backup := "", ""
		if s.ID != s.Address {
			id = s.ID + "="
		}
		if s.Backup {
			backup = "+"
		}
		words[i] = fmt.Sprintf("%s%s*%d%s", id, s.Address, s.Weight, backup)
	}
	return strings.Join(words, " ")
}

func TestExpand(t *testing.T) {
	const host, service = "app:80", "_http._tcp.app"
	srv := func(weight int) Entry { return Entry{SRV: service, Weight: weight} }
	for name, c := range map[string]struct {
		entries []Entry
		known   answer // to every query
		want    string
	}{
		"fixed": {
			[]Entry{{Address: "10.0.0.2:80", Weight: 2}, {Address: "[::1]:80", Weight: 1, ID: "six"}, {Address: "unix:/run/app", Weight: 0, Backup: true}},
			nil, "10.0.0.2:80*2 six=[::1]:80*1 unix:/run/app*0+",
		},
		"unknown":         {[]Entry{{Address: host, Weight: 1}, {Address: "10.0.0.2:80"}}, nil, "10.0.0.2:80*0"},
		"one address":     {[]Entry{{Address: host, Weight: 3}}, answer{{addrs: addrs("10.0.0.1")}}, "10.0.0.1:80*3"},
		"several":         {[]Entry{{Address: host, Weight: 3, Backup: true}}, answer{{addrs: addrs("10.0.0.1", "fd00::1")}}, "10.0.0.1:80*3+ [fd00::1]:80*3+"},
		"ID of one":       {[]Entry{{Address: host, Weight: 1, ID: "a"}}, answer{{addrs: addrs("10.0.0.1")}}, "a=10.0.0.1:80*1"},
		"ID of several":   {[]Entry{{Address: host, Weight: 1, ID: "a"}}, answer{{addrs: addrs("10.0.0.1", "10.0.0.2")}}, "a/10.0.0.1:80=10.0.0.1:80*1 a/10.0.0.2:80=10.0.0.2:80*1"},
		"ID says nothing": {[]Entry{{Address: host, Weight: 1, ID: host}}, answer{{addrs: addrs("10.0.0.1")}}, "10.0.0.1:80*1"},
		"any order, and twice": {
			[]Entry{{Address: host, Weight: 1}}, answer{{addrs: addrs("fd00::1", "10.0.0.10", "10.0.0.9", "fd00::1")}},
			"10.0.0.9:80*1 10.0.0.10:80*1 [fd00::1]:80*1",
		},
		"one address of two targets": {
			[]Entry{{SRV: service, Weight: 1, ID: "s"}},
			answer{{port: 1, addrs: addrs("10.0.0.1")}, {port: 1, addrs: addrs("10.0.0.1")}}, "s=10.0.0.1:1*1",
		},
		"order of entries": {
			[]Entry{{Address: "z:2", Weight: 1}, {Address: "10.0.0.9:9", Weight: 1}, {Address: "a:1", Weight: 1}},
			answer{{addrs: addrs("10.0.0.1")}}, "10.0.0.1:2*1 10.0.0.9:9*1 10.0.0.1:1*1",
		},
		"first entry decides": {
			[]Entry{{Address: "10.0.0.1:80", Weight: 5}, {Address: host, Weight: 1, Backup: true}},
			answer{{addrs: addrs("10.0.0.1", "10.0.0.2")}}, "10.0.0.1:80*5 10.0.0.2:80*1+",
		},
		// RFC 2782, "Priority", "Weight" and "Port".
		"priorities": {
			[]Entry{srv(1)},
			answer{{port: 1, priority: 5, weight: 2, addrs: addrs("10.0.0.3")}, {port: 2, priority: 7, weight: 9, addrs: addrs("10.0.0.1")}},
			"10.0.0.1:2*1+ 10.0.0.3:1*1",
		},
		"backup of a backup": {
			[]Entry{{SRV: service, Weight: 1, Backup: true}},
			answer{{port: 1, priority: 5, addrs: addrs("10.0.0.3")}, {port: 1, priority: 7, addrs: addrs("10.0.0.1")}},
			"10.0.0.3:1*1+",
		},
		"preferred priority decides": {
			[]Entry{srv(1)},
			answer{{port: 1, priority: 5, addrs: addrs("10.0.0.3")}, {port: 1, priority: 7, addrs: addrs("10.0.0.1", "10.0.0.3")}},
			"10.0.0.1:1*1+ 10.0.0.3:1*1",
		},
		"weights": {
			[]Entry{srv(2)},
			answer{{port: 1, weight: 10, addrs: addrs("10.0.0.1", "10.0.0.4")}, {port: 1, weight: 30, addrs: addrs("10.0.0.2")}, {port: 1, addrs: addrs("10.0.0.3")}},
			"10.0.0.1:1*20 10.0.0.2:1*60 10.0.0.3:1*2 10.0.0.4:1*20",
		},
		"equal weights": {
			[]Entry{srv(2)},
			answer{{port: 1, weight: 33, addrs: addrs("10.0.0.1")}, {port: 1, weight: 33, addrs: addrs("10.0.0.2")}, {port: 1, priority: 1, weight: 1, addrs: addrs("10.0.0.3")}},
			"10.0.0.1:1*2 10.0.0.2:1*2 10.0.0.3:1*2+",
		},
		"zero and one are equal": {
			[]Entry{srv(4)},
			answer{{port: 1, weight: 0, addrs: addrs("10.0.0.1")}, {port: 1, weight: 1, addrs: addrs("10.0.0.2")}},
			"10.0.0.1:1*4 10.0.0.2:1*4",
		},
		"weights beyond bounds": {
			[]Entry{srv(200)},
			answer{{port: 1, weight: 60000, addrs: addrs("10.0.0.1")}, {port: 1, weight: 30000, addrs: addrs("10.0.0.2")}, {port: 1, weight: 0, addrs: addrs("10.0.0.3")}},
			"10.0.0.1:1*65535 10.0.0.2:1*32767 10.0.0.3:1*1",
		},
		"drained": {
			[]Entry{srv(0)},
			answer{{port: 1, weight: 6, addrs: addrs("10.0.0.1")}, {port: 1, weight: 3, addrs: addrs("10.0.0.2")}},
			"10.0.0.1:1*0 10.0.0.2:1*0",
		},
		"ports": {
			[]Entry{{SRV: service, Weight: 1, ID: "s"}},
			answer{{port: 1, addrs: addrs("10.0.0.1")}, {port: 2, addrs: addrs("10.0.0.1")}},
			"s/10.0.0.1:1=10.0.0.1:1*1 s/10.0.0.1:2=10.0.0.1:2*1",
		},
		"target without addresses": {[]Entry{srv(1)}, answer{{port: 1}, {port: 2, addrs: addrs("10.0.0.1")}}, "10.0.0.1:2*1"},
	} {
		got := expand(c.entries, func(query) answer { return c.known })
		if show(got) != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, show(got), c.want)
		}
	}
	got := expand([]Entry{{Address: host, Weight: 1, MaxRequests: 7}}, func(query) answer { return answer{{addrs: addrs("10.0.0.1")}} })
	if len(got) != 1 || got[0].MaxRequests != 7 {
		t.Errorf("got %+v", got)
	}
}

// RFC 2782: whatever order the records come in, the two most preferred
// priorities count, and "." is no target.
func TestPreferred(t *testing.T) {
	records := []*net.SRV{
		{Target: "c.", Port: 1, Priority: 9, Weight: 1}, {Target: "b.", Port: 2, Priority: 4, Weight: 1},
		{Target: "a.", Port: 1, Priority: 4, Weight: 1}, {Target: ".", Port: 1}, {Target: "e.", Port: 1, Priority: 12},
		{Target: "b.", Port: 1, Priority: 4, Weight: 1}, {Target: "d.", Port: 0, Priority: 1},
	}
	for range 20 {
		var got []string
		for _, r := range preferred(records) {
			got = append(got, fmt.Sprintf("%d %s:%d", r.priority, r.host, r.port))
		}
		if want := []string{"4 a.:1", "4 b.:1", "4 b.:2", "9 c.:1"}; !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		records = append(records[1:], records[0])
	}
	if got := preferred(nil); got != nil {
		t.Errorf("got %v of nothing", got)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	ok := Entry{Address: "10.0.0.1:80", Weight: 1}
	load := func(string) ([]Entry, error) { return nil, nil }
	for want, o := range map[string]Options{
		"neither servers nor a file": {},
		"4097 servers, more than":    {Entries: slices.Repeat([]Entry{ok}, MaxServers+1)},
		"nothing to read it with":    {File: "f"},
		"-1s between look-ups":       {Entries: []Entry{ok}, File: "f", Load: load, Resolve: -1e9},
		"server 2: want one of":      {Entries: []Entry{ok, {}}},
		`got "a:1" and "_x._tcp.a"`:  {Entries: []Entry{{Address: "a:1", SRV: "_x._tcp.a"}}},
		"a:1: weight -1 is not in":   {Entries: []Entry{{Address: "a:1", Weight: -1}}},
		"weight 65536 is not in":     {Entries: []Entry{{SRV: "_x._tcp.a", Weight: 65536}}},
		"bound of -2 requests":       {Entries: []Entry{{Address: "a:1", MaxRequests: -2}}},
		"unix: has no path":          {Entries: []Entry{{Address: "unix:"}}},
		`"a" is neither host:port`:   {Entries: []Entry{{Address: "a"}}},
		`":80" is neither`:           {Entries: []Entry{{Address: ":80"}}},
		`"a:0" is neither`:           {Entries: []Entry{{Address: "a:0"}}},
		`"a:http" is neither`:        {Entries: []Entry{{Address: "a:http"}}},
		`"a:65536" is neither`:       {Entries: []Entry{{Address: "a:65536"}}},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "discover: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Whatever is accepted can be expanded, to addresses that can be dialled.
func FuzzEntry(f *testing.F) {
	for _, address := range []string{"a:1", "10.0.0.1:80", "[fe80::1%eth0]:80", "unix:/run/x", "[a]:1", "::1:80", "10.0.0.1:080"} {
		f.Add(address, 1)
	}
	known := func(query) answer { return answer{{addrs: addrs("10.0.0.1", "fd00::1")}} }
	f.Fuzz(func(t *testing.T, address string, weight int) {
		e := Entry{Address: address, Weight: weight}
		if e.validate() != nil {
			return
		}
		want := 1
		if e.query() != (query{}) {
			want = 2
		}
		servers := expand([]Entry{e}, known)
		if len(servers) != want {
			t.Fatalf("%q: %s", address, show(servers))
		}
		for _, s := range servers {
			if strings.HasPrefix(s.Address, unixPrefix) {
				continue
			}
			if a, err := netip.ParseAddrPort(s.Address); err != nil || a.Port() == 0 || s.Weight != weight || s.ID == "" {
				t.Errorf("%q: %+v", address, s)
			}
		}
	})
}

func TestServersKnowTheirHost(t *testing.T) {
	for _, e := range []Entry{{Address: "app:80", Weight: 1}, {SRV: "_http._tcp.app", Weight: 1}} {
		got := expand([]Entry{e}, func(query) answer { return answer{{host: "app.", port: 80, addrs: addrs("10.0.0.1")}} })
		if len(got) != 1 || got[0].Host != "app" {
			t.Errorf("%+v", got)
		}
	}
	if got := expand([]Entry{{Address: "10.0.0.1:80"}}, nil); got[0].Host != "" {
		t.Errorf("%+v", got)
	}
}
