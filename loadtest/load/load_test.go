package load_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringfence/loadtest/load"
	"ringfence/loadtest/origin"
	"ringfence/loadtest/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, s origin.Script) *origin.Origin {
	t.Helper()
	o, err := origin.Start(origin.Options{Script: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	return o
}

func turns(i int, _ time.Duration, _ *rand.Rand) load.Request {
	return load.Path(fmt.Sprintf("/%d", i%10))
}

func plan(o *origin.Origin, rate float64, d time.Duration) load.Plan {
	return load.Plan{Target: "http://" + o.Addr(), Request: turns, Rate: rate, Duration: d}
}

func run(t *testing.T, p load.Plan) result.Phase {
	t.Helper()
	r, err := load.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRateAndOutcomes(t *testing.T) {
	o := start(t, func(r origin.Request) origin.Answer {
		switch r.Target {
		case "/0":
			return origin.Answer{Status: 503}
		case "/1":
			return origin.Answer{Size: 10, Cut: true, CutAfter: 5}
		case "/2":
			return origin.Answer{Size: 10, Framing: origin.Chunked, Chunk: 3}
		case "/3":
			return origin.Answer{Size: 10, Framing: origin.UntilClose}
		case "/4":
			return origin.Answer{Status: 204, Interim: []string{"HTTP/1.1 103 Early Hints"}}
		case "/5":
			return origin.Answer{Raw: []byte("nonsense\r\n"), Ending: origin.Close}
		case "/6":
			return origin.Answer{Size: 10, Ending: origin.Close}.With("Cache-Status", "a; fwd=miss, b;hit ; ttl=3")
		case "/7":
			return origin.Answer{Size: 10}.With("X-Cache", "MISS from b")
		}
		return origin.Answer{Size: 10}
	})
	var ticks int
	p := plan(o, 500, 400*time.Millisecond)
	p.Progress = func(result.Tick) { ticks++ }
	r := run(t, p)
	if want := map[string]int{"200": 120, "204": 20, "503": 20, load.CutShort: 20, load.Failed: 20}; !maps.Equal(r.Outcomes, want) {
		t.Errorf("outcomes %v, want %v: %s", r.Outcomes, want, r.Example)
	}
	if r.Sent != 200 || r.Due != 200 || r.Lost() != 60 || r.Seconds < 0.39 || r.Bytes != 1200 || !r.Open {
		t.Errorf("%+v", r)
	}
	if r.Hits != 20 || r.Told != 40 {
		t.Errorf("%d hits of %d", r.Hits, r.Told)
	}
	l := r.Latency
	if l.Percentile(0) > l.Percentile(50) || l.Percentile(50) > l.Percentile(100) || l.Percentile(50) == 0 || l.Count() != 160 || r.First.Count() != 160 {
		t.Errorf("percentiles %s %s %s", l.Percentile(0), l.Percentile(50), l.Percentile(100))
	}
	var sum result.Tick
	for _, tick := range r.Series {
		sum.Sent += tick.Sent
		for i, n := range tick.Classes {
			sum.Classes[i] += n
		}
	}
	if want := [6]int{40, 0, 140, 0, 0, 20}; sum.Sent != 200 || sum.Classes != want || ticks < len(r.Series) || ticks < 2 {
		t.Errorf("%d moments come to %+v", ticks, sum)
	}
}

// One worker is busy with each answer for 50 ms, and 10 requests fall due in
// that time: what they wait counts.
func TestLatencyCountsFromTheIntendedStart(t *testing.T) {
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Delay: 50 * time.Millisecond} })
	p := plan(o, 200, 50*time.Millisecond)
	p.Connections = 1
	r := run(t, p)
	if r.Sent != 10 || r.Late < 8 || r.Busy < 8 || r.Latency.Percentile(100) < 400*time.Millisecond {
		t.Errorf("sent %d, late %d, longest %s", r.Sent, r.Late, r.Latency.Percentile(100))
	}
}

// What a server that stands still keeps from being sent is told.
func TestWhatIsNotSentIsDue(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Hold: hold} })
	p := plan(o, 100, 200*time.Millisecond)
	p.Connections, p.Timeout = 1, 100*time.Millisecond
	if r := run(t, p); r.Due != 20 || r.Sent < 1 || r.Sent > 5 || r.Outcomes[load.Timeout] != r.Sent {
		t.Errorf("due %d, sent %d, %v", r.Due, r.Sent, r.Outcomes)
	}
}

func TestArrivals(t *testing.T) {
	o := start(t, nil)
	for name, tt := range map[string]struct {
		change   func(*load.Plan)
		low, top int
	}{
		"even":       {func(*load.Plan) {}, 100, 100},
		"rising":     {func(p *load.Plan) { p.Rate, p.To = 100, 900 }, 100, 100},
		"falling":    {func(p *load.Plan) { p.Rate, p.To = 900, 100 }, 100, 100},
		"by chance":  {func(p *load.Plan) { p.Poisson = true }, 50, 150}, // five standard deviations
		"by count":   {func(p *load.Plan) { p.Count = 7 }, 7, 7},
		"by a list":  {func(p *load.Plan) { p.Rate, p.Duration, p.Times = 0, 0, []time.Duration{0, 0, 5e6, 50e6} }, 4, 4},
		"two":        {func(p *load.Plan) { p.Rate, p.Clients, p.Count, p.Duration = 0, 2, 9, 0 }, 9, 9},
		"they think": {func(p *load.Plan) { p.Rate, p.Clients, p.Think = 0, 10, 20*time.Millisecond }, 10, 160},
	} {
		p := plan(o, 500, 200*time.Millisecond)
		tt.change(&p)
		if r := run(t, p); r.Sent < tt.low || r.Sent > tt.top || r.Lost() > 0 || r.Open && r.Due != r.Sent {
			t.Errorf("%s: %d sent, %d due, %v, %s", name, r.Sent, r.Due, r.Outcomes, r.Example)
		}
	}
}

func TestConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		change    func(*load.Plan)
		low, most int
	}{
		"kept":  {func(*load.Plan) {}, 1, 20},
		"fresh": {func(p *load.Plan) { p.Fresh = true }, 100, 100},
	} {
		o := start(t, nil)
		p := plan(o, 500, 200*time.Millisecond)
		tt.change(&p)
		r := run(t, p)
		if n := o.Record().Connections; r.Outcomes["200"] != 100 || n < tt.low || n > tt.most {
			t.Errorf("%s: %d connections, %v", name, n, r.Outcomes)
		}
	}
	// A server that ends connections unannounced is asked again.
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Size: 1, Ending: origin.Drop} })
	p := load.Plan{Target: "http://" + o.Addr(), Request: turns, Clients: 1, Count: 20}
	if r := run(t, p); r.Outcomes["200"] != 20 || o.Record().Connections != 20 {
		t.Errorf("%v, %s", r.Outcomes, r.Example)
	}
}

func TestChecksAndWhatIsSent(t *testing.T) {
	o := start(t, func(origin.Request) origin.Answer {
		return origin.Text("", "x").With("Content-Type", "text/html; charset=utf-8")
	})
	check := func(c load.Check) result.Phase {
		return run(t, load.Plan{Target: "http://" + o.Addr(), Clients: 1, Count: 1, Request: func(int, time.Duration, *rand.Rand) load.Request {
			return load.Request{
				Method: "POST", Target: "/p?q", Host: "a.example", Body: []byte("body"),
				Fields: []load.Field{{Name: "X-One", Value: "1"}}, Check: &c,
			}
		}})
	}
	if r := check(load.Check{Status: []int{200}, Fields: []load.Field{{Name: "content-type", Value: "html"}}}); r.Outcomes["200"] != 1 {
		t.Errorf("%v, %s", r.Outcomes, r.Example)
	}
	q := o.Record().Requests[0]
	if q.Method != "POST" || q.Target != "/p?q" || q.Get("Host") != "a.example" || q.Get("X-One") != "1" || q.Body.Start != "body" {
		t.Errorf("it sent %+v", q)
	}
	if r := check(load.Check{Status: []int{304, 404}}); r.Outcomes[load.Wrong] != 1 || !strings.Contains(r.Example, "status 200, want 304 or 404") {
		t.Errorf("%v, %s", r.Outcomes, r.Example)
	}
	if r := check(load.Check{Fields: []load.Field{{Name: "content-type", Value: "json"}}}); r.Lost() != 1 || !strings.Contains(r.Example, `no field Content-Type with "json" in it`) {
		t.Errorf("%v, %s", r.Outcomes, r.Example)
	}
}

// 100,000 bytes at a million a second.
func TestReadsSlowly(t *testing.T) {
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Size: 100_000} })
	r := run(t, load.Plan{Target: "http://" + o.Addr(), Request: turns, Clients: 1, Count: 1, ReadRate: 1_000_000})
	if d := r.Latency.Percentile(100); r.Bytes != 100_000 || d < 90*time.Millisecond || r.First.Percentile(100) > d/2 {
		t.Errorf("%d bytes in %s", r.Bytes, d)
	}
}

func TestTLSAndHTTP2(t *testing.T) {
	var protocol string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol = r.Proto
		w.Header().Set("Cache-Status", "x; hit")
		_, _ = w.Write([]byte(r.Method + r.Header.Get("X-One")))
	}))
	s.EnableHTTP2 = true
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.StartTLS()
	t.Cleanup(s.Close)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Config.Serve(plain) // until it is closed
	}()
	t.Cleanup(func() { _ = plain.Close(); <-served })
	insecure := &tls.Config{InsecureSkipVerify: true}
	for _, tt := range []struct {
		target string
		http2  bool
		want   string
	}{
		{s.URL, false, "HTTP/1.1"},
		{s.URL, true, "HTTP/2.0"},
		{"http://" + plain.Addr().String(), true, "HTTP/2.0"},
	} {
		p := load.Plan{Target: tt.target, HTTP2: tt.http2, TLS: insecure, Clients: 1, Count: 1, Request: func(int, time.Duration, *rand.Rand) load.Request {
			return load.Request{Target: "/", Fields: []load.Field{{Name: "X-One", Value: "1"}}, Check: &load.Check{Status: []int{200}, Fields: []load.Field{{Name: "cache-status", Value: "hit"}}}}
		}}
		if r := run(t, p); r.Outcomes["200"] != 1 || r.Hits != 1 || r.Bytes != 4 || protocol != tt.want {
			t.Errorf("%s: %s, %v, %s", tt.target, protocol, r.Outcomes, r.Example)
		}
	}
	if r := run(t, load.Plan{Target: s.URL, Request: turns, Clients: 1, Count: 1}); r.Outcomes[load.Failed] != 1 || !strings.Contains(r.Example, "certificate") {
		t.Errorf("a certificate by nobody known: %v, %s", r.Outcomes, r.Example)
	}
}

func TestEnds(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Hold: hold} })
	p := plan(o, 100, 50*time.Millisecond)
	p.Timeout = 50 * time.Millisecond
	if r := run(t, p); r.Outcomes[load.Timeout] != 5 {
		t.Errorf("outcomes %v", r.Outcomes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_ = o.WaitFor(func(r origin.Record) bool { return r.Total > 5 }, 10*time.Second)
		cancel()
	}()
	r, err := load.Run(ctx, plan(o, 100, time.Hour))
	if err != nil || r.Sent == 0 || r.Outcomes[load.Canceled] != r.Sent {
		t.Errorf("canceled: %+v, %v", r.Outcomes, err)
	}
	o.Stop()
	if r = run(t, plan(o, 100, 50*time.Millisecond)); r.Outcomes[load.Refused] != 5 {
		t.Errorf("outcomes %v", r.Outcomes)
	}
}

func TestRefusesPlans(t *testing.T) {
	good := load.Plan{Target: "http://127.0.0.1:1", Request: turns, Rate: 1, Duration: time.Second}
	for want, change := range map[string]func(*load.Plan){
		"want http://":           func(p *load.Plan) { p.Target = "ftp://127.0.0.1:1" },
		"want requests":          func(p *load.Plan) { p.Request = nil },
		"a rate or clients":      func(p *load.Plan) { p.Clients = 1 },
		"want no number below 0": func(p *load.Plan) { p.Count = -1 },
		"want nothing beside":    func(p *load.Plan) { p.Times = []time.Duration{1} },
		"want a duration":        func(p *load.Plan) { p.Duration = 0 },
		"HTTP/2 shares":          func(p *load.Plan) { p.HTTP2, p.Fresh = true, true },
	} {
		p := good
		change(&p)
		if _, err := load.Run(t.Context(), p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// What one request costs the client: most of it is the system's.
func BenchmarkRequest(b *testing.B) {
	o, err := origin.Start(origin.Options{Keep: 1, Script: func(origin.Request) origin.Answer { return origin.Answer{Size: 1024} }})
	if err != nil {
		b.Fatal(err)
	}
	defer o.Stop()
	b.ReportAllocs()
	r, err := load.Run(b.Context(), load.Plan{Target: "http://" + o.Addr(), Request: turns, Clients: 4, Count: b.N})
	if err != nil || r.Lost() > 0 {
		b.Fatal(err, r.Outcomes)
	}
}
