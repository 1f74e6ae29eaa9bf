package config

import (
	"net/textproto"
	"reflect"
	"slices"
	"testing"
	"time"
)

// poolOf is a file with one upstream of these options, which begin at line 4.
func poolOf(options string) string {
	return "routes: [{upstream: app}]\nupstreams:\n app:\n" + options
}

// appOf is one that has a server, and these options at line 4.
func appOf(options string) string {
	return poolOf("  {servers: [{address: 'a:1'}], " + options + "}\n")
}

// defaultUpstream is the upstream of which only the servers are written.
func defaultUpstream(servers ...Member) Upstream {
	return Upstream{
		Balance: BalanceHash, HashBy: HashBy{Kind: HashKey}, BalanceFactor: 0.5, Servers: servers,
		Resolve: 10 * time.Second, PanicThreshold: 50,
		Ejection: Ejection{ConsecutiveFailures: 5, FailurePercentage: 25, MinRequests: 100, Window: 10 * time.Second,
			Statuses: []int{502, 503, 504}, BaseTime: 30 * time.Second, MaxTime: 5 * time.Minute, MaxEjected: 30},
		Retry: Retry{Attempts: 3, On: []RetryCause{{Failure: FailureConnect}, {Failure: FailureReset}, {Failure: FailureTimeout},
			{Status: 502}, {Status: 503}, {Status: 504}}, Budget: 20, BudgetMin: 3, MaxBody: 64 << 10},
		Queue:       Queue{Size: 1024, Timeout: time.Second},
		MaxHeadSize: 16 << 10, ConnectTimeout: time.Second, ResponseTimeout: 30 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second,
		MaxRequests: 1024, MaxConnections: 1024, MaxIdleConnections: 256, ProxyProtocol: ProxyProtocolOff,
	}
}

// defaultCheck is the check of which nothing is written but the section.
func defaultCheck() HealthCheck {
	return HealthCheck{Type: CheckHTTP, Method: "GET", Path: "/", Statuses: []Status{2, 3}, Interval: 2 * time.Second,
		FastInterval: 500 * time.Millisecond, Timeout: time.Second, Rise: 2, Fall: 3}
}

// fullUpstream has no option at its default, except those that exclude another.
const fullUpstream = `  balance: ketama
  hash_by: query:user id
  balance_factor: 0.05
  servers:
  - {address: 'unix:/run/app.sock', weight: 0, id: one, max_requests: 1}
  - {address: 'b.internal:9001', backup: on}
  - {srv: _HTTP._tcp.App-1.internal, backup: on, max_requests: 4096}
  servers_file: my servers.yaml
  resolve: 1h
  slow_start: 1s
  panic_threshold: off
  health_check:
    type: http
    method: OPTIONS
    path: /up?x=1
    host: app.internal:81
    headers: {x-a: b, user-agent: 'c: d', ACCEPT: 1}
    statuses: [200, 4xx, 599, 1xx, 100]
    body: "it's\tup\n"
    interval: 1h
    fast_interval: 1h
    timeout: 59m
    rise: 100
    fall: 1
    wait_for_first_check: on
  ejection:
    consecutive_failures: off
    failure_percentage: 100
    min_requests: 1
    window: 10m
    latency_factor: 1.5
    statuses: [500, 599]
    base_time: 24h
    max_ejected: 100
  retry:
    attempts: 10
    on: [425, timeout, 400, 599]
    per_try_timeout: 59m
    budget: 0
    budget_min: 0
    max_body: off
  hedge_percentile: 99
  adaptive_concurrency: {min: 65536, max: 65536}
  queue: {size: 0, timeout: 1ms}
  max_head_size: 1MiB
  connect_timeout: 1ms
  response_timeout: 1h
  read_timeout: 1ms
  write_timeout: 2ms
  idle_timeout: 3ms
  max_requests: 65536
  max_connections: 65536
  max_idle_connections: 0
  proxy_protocol: v2
  tls: on
  tls_server_name: app.internal
  tls_cert_file: me.crt
  tls_key_file: me.key
  tls_insecure: on
`

func TestFullUpstream(t *testing.T) {
	want := Upstream{
		Balance: BalanceKetama, HashBy: HashBy{HashQuery, "user id"}, BalanceFactor: 0.05,
		Servers: []Member{{Address: "unix:/run/app.sock", ID: "one", MaxRequests: 1},
			{Address: "b.internal:9001", ID: "b.internal:9001", Weight: 1, Backup: true, MaxRequests: 65536},
			{SRV: "_http._tcp.app-1.internal", Weight: 1, Backup: true, MaxRequests: 4096}},
		ServersFile: "my servers.yaml", Resolve: time.Hour, SlowStart: time.Second,
		HealthCheck: HealthCheck{Type: CheckHTTP, Method: "OPTIONS", Path: "/up?x=1", Host: "app.internal:81",
			Headers:  map[string]string{"X-A": "b", "User-Agent": "c: d", "Accept": "1"},
			Statuses: []Status{200, 4, 599, 1, 100}, Body: "it's\tup\n", Interval: time.Hour, FastInterval: time.Hour,
			Timeout: 59 * time.Minute, Rise: 100, Fall: 1, WaitForFirstCheck: true},
		Ejection: Ejection{FailurePercentage: 100, MinRequests: 1, Window: 10 * time.Minute, LatencyFactor: 1.5,
			Statuses: []int{500, 599}, BaseTime: 24 * time.Hour, MaxTime: 24 * time.Hour, MaxEjected: 100},
		Retry: Retry{Attempts: 10, On: []RetryCause{{Status: 425}, {Failure: FailureTimeout}, {Status: 400}, {Status: 599}},
			PerTryTimeout: 59 * time.Minute},
		HedgePercentile: 99, AdaptiveConcurrency: Concurrency{65536, 65536}, Queue: Queue{0, time.Millisecond},
		MaxHeadSize: 1 << 20, ConnectTimeout: time.Millisecond, ResponseTimeout: time.Hour, ReadTimeout: time.Millisecond,
		WriteTimeout: 2 * time.Millisecond, IdleTimeout: 3 * time.Millisecond, MaxRequests: 65536, MaxConnections: 65536,
		ProxyProtocol: ProxyProtocolV2, TLS: true, TLSServerName: "app.internal", TLSCertFile: "me.crt", TLSKeyFile: "me.key", TLSInsecure: true,
	}
	if got := mustParse(t, poolOf(fullUpstream)).Upstreams["app"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestUpstreamAccepted(t *testing.T) {
	type placing struct {
		HashBy
		factor float64
	}
	placed := func(u Upstream) any { return placing{u.HashBy, u.BalanceFactor} }
	timed := func(u Upstream) any {
		c := u.HealthCheck
		return [...]time.Duration{c.Interval, c.FastInterval, c.Timeout}
	}
	limits := func(u Upstream) any {
		return [...]int{u.MaxConnections, u.MaxRequests, u.MaxIdleConnections, u.Servers[0].MaxRequests}
	}
	tests := []struct {
		text string
		got  func(Upstream) any
		want any
	}{
		{poolOf("  servers: [{address: 'a:1'}]\n"), func(u Upstream) any { return u },
			defaultUpstream(Member{Address: "a:1", ID: "a:1", Weight: 1, MaxRequests: 1024})},
		// What requests are placed by follows from the policy.
		{appOf("balance: hash, hash_by: 'header:x-user'"), placed, placing{HashBy{HashHeader, "X-User"}, 0.5}},
		{appOf("balance: hash, hash_by: 'cookie:Sid', balance_factor: 10"), placed, placing{HashBy{HashCookie, "Sid"}, 10}},
		{appOf("balance_factor: off, hash_by: client"), placed, placing{HashBy{Kind: HashClient}, 0}},
		{appOf("balance: ketama"), placed, placing{HashBy{Kind: HashURI}, 0.5}},
		{appOf("balance: ketama, hash_by: key"), placed, placing{HashBy{Kind: HashKey}, 0.5}},
		{appOf("balance: ketama, hash_by: path"), placed, placing{HashBy{Kind: HashPath}, 0.5}},
		{appOf("balance: random"), placed, placing{}},
		{appOf("balance: round_robin"), placed, placing{}},
		{appOf("balance: least_requests, balance_factor: off"), placed, placing{}},
		{appOf("balance_factor: 1.25"), placed, placing{HashBy{Kind: HashKey}, 1.25}},
		// Servers here, in a file, or both.
		{poolOf("  servers_file: f\n"), func(u Upstream) any { return u.Servers == nil && u.ServersFile == "f" }, true},
		{poolOf("  servers_file: f\n  servers: []\n"), func(u Upstream) any { return u.Servers == nil }, true},
		{poolOf("  servers_file: f\n  servers: [{address: 'a:1', weight: 0, backup: on}]\n"), func(u Upstream) any { return len(u.Servers) }, 1},
		{poolOf("  servers: [{srv: _h._t.a}]\n"), func(u Upstream) any { return u.Servers[0] },
			Member{SRV: "_h._t.a", Weight: 1, MaxRequests: 1024}},
		{poolOf("  servers: [{address: 'a:1', weight: 0}, {address: 'b:1', backup: on}]\n"), func(u Upstream) any { return u.Servers[1].Backup }, true},
		// Checks.
		{appOf("retry: {}"), func(u Upstream) any { return u.HealthCheck }, HealthCheck{}},
		{appOf("health_check: {}"), func(u Upstream) any { return u.HealthCheck }, defaultCheck()},
		{appOf("health_check: {interval: 1s}"), timed, [...]time.Duration{time.Second, 250 * time.Millisecond, 500 * time.Millisecond}},
		{appOf("health_check: {interval: 1h}"), timed, [...]time.Duration{time.Hour, 15 * time.Minute, time.Second}},
		{appOf("health_check: {interval: 2ms}"), timed, [...]time.Duration{2 * time.Millisecond, time.Millisecond, time.Millisecond}},
		{appOf("health_check: {interval: 1m, fast_interval: 1m}"), timed, [...]time.Duration{time.Minute, time.Minute, time.Second}},
		{appOf("health_check: {type: tcp, port: 65535}"), func(u Upstream) any { return u.HealthCheck.Port }, 65535},
		{appOf("tls: on, health_check: {type: tls}"), func(u Upstream) any { return u.HealthCheck.Type }, CheckTLS},
		{appOf("health_check: {method: HEAD, body: '', headers: {}, port: 0}"), func(u Upstream) any { return u.HealthCheck.Headers == nil }, true},
		{appOf("health_check: {statuses: ['2xx', '204']}"), func(u Upstream) any { return u.HealthCheck.Statuses }, []Status{2, 204}},
		// Ejection, retries and limits.
		{appOf("ejection: {base_time: 10m}"), func(u Upstream) any { return u.Ejection.MaxTime }, 10 * time.Minute},
		{appOf("ejection: {base_time: 1s, max_time: 1s, latency_factor: off, statuses: []}"), func(u Upstream) any { return u.Ejection.Statuses == nil }, true},
		{appOf("ejection: {latency_factor: 2}"), func(u Upstream) any { return u.Ejection.LatencyFactor }, 2.0},
		{appOf("retry: {on: []}"), func(u Upstream) any { return u.Retry.On == nil }, true},
		{appOf("retry: {per_try_timeout: 29s}"), func(u Upstream) any { return u.Retry.PerTryTimeout }, 29 * time.Second},
		{appOf("response_timeout: 1ms"), func(u Upstream) any { return u.Retry.PerTryTimeout }, time.Duration(0)},
		{appOf("queue: {size: 1}"), func(u Upstream) any { return u.Queue }, Queue{1, time.Second}},
		{appOf("adaptive_concurrency: {}"), func(u Upstream) any { return u.AdaptiveConcurrency }, Concurrency{4, 1000}},
		{appOf("adaptive_concurrency: {max: 2}"), func(u Upstream) any { return u.AdaptiveConcurrency }, Concurrency{2, 2}},
		{appOf("adaptive_concurrency: {min: 2000}"), func(u Upstream) any { return u.AdaptiveConcurrency }, Concurrency{2000, 2000}},
		{appOf("max_connections: 4096"), limits, [...]int{4096, 4096, 256, 4096}},
		{appOf("max_connections: 100"), limits, [...]int{100, 100, 100, 100}},
		{appOf("max_connections: 100, max_requests: 50, max_idle_connections: 0"), limits, [...]int{100, 50, 0, 50}},
		// TLS.
		{appOf("tls: off, tls_ca_file: '', tls_server_name: '', tls_cert_file: '', tls_key_file: '', tls_insecure: off"),
			func(u Upstream) any { return u.TLS }, false},
		{appOf("tls: on, tls_ca_file: ca.pem"), func(u Upstream) any { return u.TLSCAFile }, "ca.pem"},
		{poolOf("  {servers: [{address: 'unix:/a'}], tls: on, tls_insecure: on}\n"), func(u Upstream) any { return u.TLSInsecure }, true},
	}
	for _, tt := range tests {
		if got := tt.got(mustParse(t, tt.text).Upstreams["app"]); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %v\nwant %v", tt.text, got, tt.want)
		}
	}
}

const (
	memberOptions = "address, weight, id, backup, max_requests, srv"
	checkOptions  = "type, method, path, host, headers, statuses, body, port, interval, fast_interval, timeout, rise, fall, wait_for_first_check"
)

// checkUpstream holds what every upstream of a sound file keeps to.
func checkUpstream(t *testing.T, u Upstream) {
	t.Helper()
	checkMembers(t, u.Servers)
	primary := func(m Member) bool { return !m.Backup }
	if u.ServersFile == "" && !slices.ContainsFunc(u.Servers, primary) {
		t.Errorf("nobody to send to: %+v", u.Servers)
	}
	for _, m := range u.Servers {
		if m.MaxRequests < 1 || m.MaxRequests > u.MaxConnections {
			t.Errorf("%+v with %d connections", m, u.MaxConnections)
		}
	}
	hashed := u.Balance == BalanceHash || u.Balance == BalanceKetama
	named := u.HashBy.Kind == HashHeader || u.HashBy.Kind == HashCookie || u.HashBy.Kind == HashQuery
	e, r, c := u.Ejection, u.Retry, u.HealthCheck
	switch {
	case hashed != (u.HashBy.Kind != ""), named != (u.HashBy.Name != ""), !hashed && u.BalanceFactor != 0,
		u.BalanceFactor != 0 && !(u.BalanceFactor >= 0.05 && u.BalanceFactor <= 10):
		t.Errorf("%s by %v, bounded by %v", u.Balance, u.HashBy, u.BalanceFactor)
	case u.MaxRequests < 1, u.MaxRequests > u.MaxConnections, u.MaxIdleConnections < 0, u.MaxIdleConnections > u.MaxConnections:
		t.Errorf("%d requests and %d idle of %d connections", u.MaxRequests, u.MaxIdleConnections, u.MaxConnections)
	case e.BaseTime < time.Second, e.MaxTime < e.BaseTime, e.MaxEjected < 1, e.MaxEjected > 100,
		e.LatencyFactor != 0 && !(e.LatencyFactor >= 1.5 && e.LatencyFactor <= 100):
		t.Errorf("ejection: %+v", e)
	case r.Attempts < 1, r.PerTryTimeout != 0 && r.PerTryTimeout >= u.ResponseTimeout, r.MaxBody < 0:
		t.Errorf("retry: %+v, response_timeout %v", r, u.ResponseTimeout)
	case u.AdaptiveConcurrency.Min > u.AdaptiveConcurrency.Max, (u.AdaptiveConcurrency.Min > 0) != (u.AdaptiveConcurrency.Max > 0):
		t.Errorf("half a limit: %+v", u.AdaptiveConcurrency)
	case !u.TLS && (u.TLSInsecure || u.TLSCAFile+u.TLSServerName+u.TLSCertFile+u.TLSKeyFile != ""),
		(u.TLSCertFile == "") != (u.TLSKeyFile == ""), c.Type == CheckTLS && !u.TLS:
		t.Errorf("half of TLS: %+v", u)
	case c.Type == CheckNone && !reflect.DeepEqual(c, HealthCheck{}):
		t.Errorf("half a check: %+v", c)
	case c.Type != CheckNone && (c.Timeout >= c.Interval || c.FastInterval > c.Interval || len(c.Statuses) == 0 || c.Method == "" || c.Timeout <= 0):
		t.Errorf("check: %+v", c)
	}
	for name := range c.Headers {
		if name == "Host" || name == "Content-Length" || textproto.CanonicalMIMEHeaderKey(name) != name {
			t.Errorf("field %q", name)
		}
	}
}
