package health

import (
	"crypto/tls"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNewNamesEveryFault(t *testing.T) {
	ok := Target{ID: "a", Address: "127.0.0.1:80"}
	for _, tt := range []struct {
		name    string
		check   Check
		targets []Target
		wants   []string // none: no fault
	}{
		{"all defaults", Check{}, []Target{ok, {ID: "b", Address: "[::1]:80"}, {ID: "c", Address: "db:5432"}}, nil},
		{"no targets", Check{}, nil, nil},
		{"query in the path", Check{Path: "/ready?full=1"}, nil, nil},
		{"unknown kind", Check{Kind: 7}, nil, []string{"kind 7"}},
		{"kinds without HTTP", Check{Kind: TLS, TLS: &tls.Config{}}, []Target{{ID: "a", Address: "unix:/run/a"}}, nil},
		{"HTTP fields without HTTP", Check{Kind: TCP, Contains: "up"}, nil, []string{"of no use to a check without HTTP"}},
		{"TLS without TLS", Check{TLS: &tls.Config{}}, nil, []string{"of no use to a check without TLS"}},
		{"port", Check{Port: 65536}, nil, []string{"port 65536"}},
		{"port on a socket", Check{Port: 81}, []Target{{ID: "a", Address: "unix:/run/a"}}, []string{"on port 81"}},
		{"socket without a name", Check{}, []Target{{ID: "a", Address: "unix:"}}, []string{"names no socket"}},
		{"method", Check{Method: "CONNECT"}, nil, []string{`method "CONNECT"`}},
		{"text in no body", Check{Method: "HEAD", Contains: "up"}, nil, []string{"HEAD has no body"}},
		{"text beyond reach", Check{Contains: strings.Repeat("x", maxBody+1)}, nil, []string{"longer than what is read"}},
		{"header", Check{Header: http.Header{"X-A": {"b c"}, "user-agent": {"x"}}}, nil, nil},
		{"header that smuggles", Check{Header: http.Header{"X:": {"b"}, "Y": {"a\r\nb"}, "host": {"a"}}}, nil,
			[]string{`header "X:"`, `header Y: value "a\r\nb"`, "header host is not"}},
		{"fast slower than slow", Check{Interval: time.Second, FastInterval: 2 * time.Second}, nil, []string{"fast interval 2s is longer"}},
		{"relative path", Check{Path: "healthz"}, nil, []string{`path "healthz"`}},
		{"path that smuggles", Check{Path: "/ HTTP/1.1\r\nX: y"}, nil, []string{`path "/ HTTP/1.1\r\nX: y"`}},
		{"fragment", Check{Path: "/a#b"}, nil, []string{`path "/a#b"`}},
		{"host that smuggles", Check{Host: "a\r\nX: y"}, nil, []string{`host "a\r\nX: y"`}},
		{"host as URL", Check{Host: "http://a"}, nil, []string{`host "http://a"`}},
		{"statuses reversed", Check{Statuses: []StatusRange{{299, 200}}}, nil, []string{"statuses 299-200"}},
		{"statuses out of range", Check{Statuses: []StatusRange{{0, 200}, {200, 600}}}, nil,
			[]string{"statuses 0-200", "statuses 200-600"}},
		{"timeout over interval", Check{Interval: time.Second, Timeout: 2 * time.Second}, nil,
			[]string{"timeout 2s is longer than the interval 1s"}},
		{"negative", Check{Interval: -1, FastInterval: -1, Timeout: -1, Jitter: -1, Rise: -1, Fall: -1}, nil,
			[]string{"interval", "fast interval", "timeout", "jitter", "rise", "fall"}},
		{"jitter of 1", Check{Jitter: 1}, nil, []string{"jitter 1"}},
		{"jitter not a number", Check{Jitter: math.NaN()}, nil, []string{"jitter NaN"}},
		{"no port", Check{}, []Target{{ID: "a", Address: "127.0.0.1"}, {ID: "b", Address: "127.0.0.1:"}},
			[]string{`target "a": address "127.0.0.1"`, `target "b": address "127.0.0.1:"`}},
		{"address that smuggles", Check{}, []Target{{ID: "a", Address: "a\r\nb:80"}}, []string{`target "a"`}},
		{"same ID", Check{}, []Target{ok, ok}, []string{`target "a" is there twice`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewGroup(Options{Check: &tt.check}, tt.targets)
			if (err == nil) != (len(tt.wants) == 0) {
				t.Fatalf("got %v, want %q", err, tt.wants)
			}
			for _, want := range tt.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to name %q", err, want)
				}
			}
		})
	}
}

func TestHealthyStatuses(t *testing.T) {
	for _, tt := range []struct {
		statuses []StatusRange
		yes, no  []int
	}{
		{nil, []int{200, 204, 299, 301, 399}, []int{100, 101, 199, 400, 404, 500, 503, 599, 999}},
		{[]StatusRange{{200, 200}}, []int{200}, []int{199, 201, 301}},
		{[]StatusRange{{200, 204}, {401, 401}}, []int{200, 202, 204, 401}, []int{205, 400, 402}},
	} {
		c := Check{Statuses: tt.statuses}.withDefaults()
		for _, status := range tt.yes {
			if !c.healthy(status) {
				t.Errorf("%v: %d is not healthy", c.Statuses, status)
			}
		}
		for _, status := range tt.no {
			if c.healthy(status) {
				t.Errorf("%v: %d is healthy", c.Statuses, status)
			}
		}
	}
}

func TestJitterStaysInBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []Check{
		{Interval: time.Second, Jitter: 0.2},
		{Interval: 30 * time.Second, Jitter: 0.5},
		{Interval: 10 * time.Millisecond, Jitter: 0.99},
	} {
		for _, edge := range []struct {
			u    float64
			want float64
		}{{0, 1 - c.Jitter}, {0.5, 1}, {1, 1 + c.Jitter}} {
			got, want := c.spacing(State{}, edge.u), time.Duration(edge.want*float64(c.Interval))
			if (got - want).Abs() > time.Microsecond {
				t.Errorf("%v with jitter %v at %v: got %v, want %v", c.Interval, c.Jitter, edge.u, got, want)
			}
		}
		var sum time.Duration
		const draws = 10000
		for range draws {
			u := rnd.Float64()
			sum += c.spacing(State{}, u)
			if first := c.firstDelay(u); first < 0 || first > maxFirstDelay || first > c.Interval {
				t.Fatalf("first probe of %v after %v", c.Interval, first)
			}
		}
		if mean := float64(sum) / draws / float64(c.Interval); math.Abs(mean-1) > 0.02 {
			t.Errorf("mean spacing is %.3f intervals", mean)
		}
	}
}
