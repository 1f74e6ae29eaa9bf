package handover

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func variables(of map[string]string) func(string) string {
	return func(name string) string { return of[name] }
}

// What the environment says is for this process, or is disregarded; what is wrong
// about it is said.
func TestParseOffer(t *testing.T) {
	for _, tt := range []struct {
		pid, from, fds, names string
		want                  string
	}{
		{"", "", "", "", "{0 []}"},
		{"7", "", "2", "", "{0 [{<nil>  true} {<nil>  true}]}"},
		{"7", "", "2", "web.socket:admin", "{0 [{<nil> web.socket true} {<nil> admin true}]}"},
		{"8", "", "2", "", "{0 []}"},
		{"8", "3", "x", "", `LISTEN_FDS: want a number up to 1024, got "x"`},
		{"", "5", "2", "", "{0 []}"},
		{"", "3", "2", "bound@127.0.0.1%3A80:web.socket", "{3 [{<nil> 127.0.0.1:80 false} {<nil> web.socket true}]}"},
		{"7", "", "1", "bound@127.0.0.1%3A80", "{0 [{<nil> bound@127.0.0.1%3A80 true}]}"},
		{"", "3", "1", "bound@%zz", `LISTEN_FDNAMES: invalid URL escape "%zz"`},
		{"7", "", "2", "one", "LISTEN_FDNAMES: want 2 names, got 1"},
		{"7", "", "1025", "", `LISTEN_FDS: want a number up to 1024, got "1025"`},
		{"7", "", "-1", "", `LISTEN_FDS: want a number up to 1024, got "-1"`},
		{"7", "", "0", "", "{0 []}"},
	} {
		env := map[string]string{envPID: tt.pid, envPredecessor: tt.from, envCount: tt.fds, envNames: tt.names}
		o, err := parseOffer(variables(env), 7, 3)
		got := fmt.Sprint(plain(o))
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%v: got %s, want %s", env, got, tt.want)
		}
	}
}

// plain is what of an offer is shown.
func plain(o offer) any {
	type socket struct {
		listener  any
		name      string
		activated bool
	}
	all := []socket{}
	for _, s := range o.sockets {
		all = append(all, socket{nil, s.Name, s.Activated})
	}
	return struct {
		predecessor int
		sockets     []socket
	}{o.predecessor, all}
}

// Names come out as they went in, whatever addresses they are.
func FuzzNames(f *testing.F) {
	f.Add("127.0.0.1:80", "unix:/run/a b:c", "web.socket")
	f.Add("[::1]:80", "%3A", "")
	f.Fuzz(func(t *testing.T, a, b, activated string) {
		if strings.Contains(activated, ":") || strings.HasPrefix(activated, boundPrefix) {
			return // no name that a service manager gives
		}
		sockets := []Socket{{Name: a}, {Name: b}, {Name: activated, Activated: true}}
		names := make([]string, len(sockets))
		for i, s := range sockets {
			names[i] = nameOf(s)
		}
		o, err := parseOffer(variables(map[string]string{
			envPredecessor: "3", envCount: fmt.Sprint(len(names)), envNames: strings.Join(names, ":"),
		}), 7, 3)
		if err != nil || !slices.Equal(o.sockets, sockets) {
			t.Errorf("got %v, %v, want %v", o.sockets, err, sockets)
		}
	})
}

// A socket is found by what the configuration calls its address, and all ways to say
// all interfaces are one.
func TestListensAt(t *testing.T) {
	tcp := func(text string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	unix := &net.UnixAddr{Name: "/run/a", Net: "unix"}
	for _, tt := range []struct {
		a    net.Addr
		text string
		want bool
	}{
		{tcp("127.0.0.1:80"), "127.0.0.1:80", true},
		{tcp("127.0.0.1:80"), "localhost:80", true},
		{tcp("127.0.0.1:80"), "127.0.0.1:81", false},
		{tcp("127.0.0.1:80"), "127.0.0.2:80", false},
		{tcp("127.0.0.1:80"), ":80", false},
		{tcp("[::]:80"), ":80", true},
		{tcp("[::]:80"), "0.0.0.0:80", true},
		{tcp("0.0.0.0:80"), "[::]:80", true},
		{tcp("[::1]:80"), "[::1]:80", true},
		{tcp("[::ffff:127.0.0.1]:80"), "127.0.0.1:80", true},
		{tcp("127.0.0.1:80"), "127.0.0.1:0", false},
		{tcp("127.0.0.1:80"), "unix:/run/a", false},
		{unix, "unix:/run/a", true},
		{unix, "unix:/run/b", false},
		{unix, "/run/a:80", false},
		{&net.UDPAddr{Port: 80}, ":80", false},
	} {
		if got := listensAt(tt.a, tt.text); got != tt.want {
			t.Errorf("%v for %s: %v", tt.a, tt.text, got)
		}
	}
}

// Sockets are taken once each: first those of the same text, in their order, which
// keeps free ports apart.
func TestTake(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	a, b, c, d := listen(), listen(), listen(), listen()
	in := &Inherited{sockets: []Socket{{a, "127.0.0.1:0", false}, {b, "127.0.0.1:0", false}, {c, "localhost:0", false}, {d, "web", true}}}
	for i, tt := range []struct {
		address string
		want    net.Listener
	}{
		{"127.0.0.1:0", a}, {d.Addr().String(), d}, {d.Addr().String(), nil}, {c.Addr().String(), c}, {"localhost:0", nil}, {"127.0.0.1:0", b}, {"127.0.0.1:0", nil},
	} {
		s, ok := in.Take(tt.address)
		if ok != (tt.want != nil) || ok && s.Listener != tt.want {
			t.Errorf("%d: %s gives %v, %v", i, tt.address, s, ok)
		}
		if ok && !s.Activated && s.Name != tt.address {
			t.Errorf("%s keeps the name %s", tt.address, s.Name)
		}
	}
	if err := in.Rest(); err != nil || in.dropped != nil {
		t.Errorf("nothing is left: %v, %v", err, in.dropped)
	}
	in = &Inherited{sockets: []Socket{{a, "127.0.0.1:0", false}, {d, "web", true}}}
	err := in.Rest()
	if err == nil || !strings.Contains(err.Error(), "the socket web ("+d.Addr().String()+")") || strings.Contains(err.Error(), a.Addr().String()) || !slices.Equal(in.dropped, []int{0, 1}) {
		t.Errorf("%v, %v", err, in.dropped)
	}
	if _, err := a.Accept(); err == nil {
		t.Error("it is open still")
	}
}

func TestWatchdog(t *testing.T) {
	for want, env := range map[time.Duration]map[string]string{
		0:                      {},
		2 * time.Second:        {envWatchdog: "2000000"},
		time.Microsecond:       {envWatchdog: "1", envWatchdogPID: "7"},
		-1:                     {envWatchdog: "1", envWatchdogPID: "8"},
		-2:                     {envWatchdog: "-1"},
		-3:                     {envWatchdog: "x"},
		100 * time.Microsecond: {envWatchdog: "100", envWatchdogPID: ""},
	} {
		if got := watchdogOf(variables(env), 7); got != max(want, 0) {
			t.Errorf("%v: %v, want %v", env, got, want)
		}
	}
}

// A name in the abstract namespace is no file.
func TestNotifyAbstract(t *testing.T) {
	name := fmt.Sprintf("@ringfence-%d", time.Now().UnixNano())
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := (Notifier{socket: name}).Notify("READY=1", "STATUS=x"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "READY=1\nSTATUS=x" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if err := (Notifier{}).Notify("READY=1"); err != nil || (Notifier{watchdog: 1}).Watchdog() != 0 {
		t.Error("nobody is told", err)
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=1", "LISTEN_PID=7", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b", "RINGFENCE_PREDECESSOR=3", "WATCHDOG_PID=7", "WATCHDOG_USEC=5", "NOTIFY_SOCKET=@a"})
	if want := []string{"A=1", "WATCHDOG_USEC=5", "NOTIFY_SOCKET=@a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
