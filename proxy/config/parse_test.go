package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// minimalFile is the file of the README: it must work as it stands.
const minimalFile = `listen: 127.0.0.1:8080
admin:
  listen: 127.0.0.1:9901
cache:
  memory: 256MiB
upstreams:
  app:
    servers:
      - address: 127.0.0.1:9001
      - address: 127.0.0.1:9002
        weight: 2
    health_check:
      path: /healthz
      interval: 1s
      timeout: 500ms
routes:
  - upstream: app
`

// rest is what a file needs beside the option under test.
const rest = "\nupstreams: {app: {servers: [{address: 'a:1'}]}}\nroutes: [{upstream: app}]\n"

func mustParse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse(%q):\n%v", text, err)
	}
	return c
}

func TestMinimalFile(t *testing.T) {
	want := Default()
	app := defaultUpstream(
		Member{Address: "127.0.0.1:9001", ID: "127.0.0.1:9001", Weight: 1, MaxRequests: 1024},
		Member{Address: "127.0.0.1:9002", ID: "127.0.0.1:9002", Weight: 2, MaxRequests: 1024})
	app.HealthCheck = defaultCheck()
	app.HealthCheck.Path = "/healthz"
	app.HealthCheck.Interval, app.HealthCheck.FastInterval = time.Second, 250*time.Millisecond
	app.HealthCheck.Timeout = 500 * time.Millisecond
	want.Upstreams = map[string]Upstream{"app": app}
	want.Routes = []Route{{PathPrefix: "/", Upstream: "app", Upgrade: []string{"websocket"}, Cache: CacheOn,
		CacheKey:     []KeyPart{{Kind: PartScheme}, {Kind: PartHost}, {Kind: PartPath}, {Kind: PartQuery}},
		TagsFrom:     []TagField{TagsCacheTag, TagsSurrogateKey},
		HeuristicMax: 24 * time.Hour, ServeStaleOnError: time.Hour, EarlyRefresh: true, SetCookie: SetCookieExplicit, RangeFillLimit: 1 << 20}}
	if got := mustParse(t, minimalFile); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefault(t *testing.T) {
	want := Config{
		Listen:          "127.0.0.1:8080",
		Listeners:       []Listener{{Address: "127.0.0.1:8080"}},
		Admin:           Admin{Listen: "127.0.0.1:9901"},
		Log:             Log{Level: slog.LevelInfo, Format: LogAuto},
		Reload:          Reload{Watch: true},
		ShutdownTimeout: 30 * time.Second,
		UpgradeTimeout:  30 * time.Second,
		Server: Server{IdleTimeout: 75 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
			MaxHeadSize: 16 << 10, MaxConnections: 65536,
			HeadTimeout: 10 * time.Second, RequestTimeout: 6 * time.Hour, MaxTargetSize: 8 << 10, MaxHeaderFields: 100,
			MaxBodySize: 4 << 30, MaxConnectionsPerClient: 16384, MaxStreams: 250, MaxRequests: 65536, RequestID: "X-Request-Id",
			MaxTunnels: 10000, TunnelTimeout: time.Hour, TunnelGrace: 10 * time.Second},
		Cache: Cache{Memory: 256 << 20, MaxObjectSize: 8 << 20, WaitTimeout: 10 * time.Second,
			UncacheableTTL: 10 * time.Second, MaxWaiters: 10000, MaxFills: 16384, IndexEntries: 1 << 20, MaxVariants: 64, MaxTags: 64},
	}
	if got := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestAccepted shows the ways to write a value, and what each comes to.
func TestAccepted(t *testing.T) {
	parts := func(c Config) string {
		var words []string
		for _, p := range c.Routes[0].CacheKey {
			words = append(words, p.String())
		}
		return strings.Join(words, " ")
	}
	route := func(options string) string {
		return "upstreams: {app: {servers: [{address: 'a:1'}]}}\nroutes: [{upstream: app, " + options + "}]\n"
	}
	tests := []struct {
		text string
		got  func(Config) any
		want any
	}{
		{"cache: {memory: 64MB}" + rest, func(c Config) any { return c.Cache.Memory }, Size(64e6)},
		{"cache: {memory: 2 GiB}" + rest, func(c Config) any { return c.Cache.Memory }, Size(2 << 30)},
		{"cache: {memory: '3145728'}" + rest, func(c Config) any { return c.Cache.Memory }, Size(3 << 20)},
		{"cache: {memory: 2MiB}" + rest, func(c Config) any { return c.Cache.MaxObjectSize }, Size(2 << 20)},
		{"shutdown_timeout: 1m30s" + rest, func(c Config) any { return c.ShutdownTimeout }, 90 * time.Second},
		{"upgrade_timeout: 1s" + rest, func(c Config) any { return c.UpgradeTimeout }, time.Second},
		{"shutdown_timeout: 24h" + rest, func(c Config) any { return c.ShutdownTimeout }, 24 * time.Hour},
		{"shutdown_timeout: 5s" + rest, func(c Config) any { return c.Server.TunnelGrace }, 5 * time.Second},
		{"shutdown_timeout: 5s\nserver: {tunnel_grace: 5s}" + rest, func(c Config) any { return c.Server.TunnelGrace }, 5 * time.Second},
		{"listen: ':0'" + rest, func(c Config) any { return c.Listen }, ":0"},
		{"listen: '[::1]:80'" + rest, func(c Config) any { return c.Listen }, "[::1]:80"},
		{"admin: {listen: off}" + rest, func(c Config) any { return c.Admin.Listen }, ""},
		{"admin: {listen: ''}" + rest, func(c Config) any { return c.Admin.Listen }, ""},
		{"{listen: ':0', admin: {listen: 'localhost:0'}, upstreams: {app: {servers: [{address: 'a:1'}]}}, routes: [{upstream: app}]}",
			func(c Config) any { return c.Admin.Listen }, "localhost:0"},
		{"log: {level: warn, format: json}" + rest, func(c Config) any { return c.Log }, Log{slog.LevelWarn, LogJSON}},
		{"log: {level: 'warn', format: \"json\"}" + rest, func(c Config) any { return c.Log }, Log{slog.LevelWarn, LogJSON}},
		{"\uFEFFlisten: ':1'" + rest, func(c Config) any { return c.Listen }, ":1"},
		{"listen: ':1'\r" + strings.ReplaceAll(rest, "\n", "\r\n"), func(c Config) any { return c.Listen }, ":1"},
		{"---\nlisten: ':1'" + rest + "...\n", func(c Config) any { return c.Listen }, ":1"},
		{"upstreams: {a.b: {servers: [{address: 'a_1:1', weight: 0, id: 1}, {address: '[::1]:1', weight: 256}]}}\nroutes: [{upstream: a.b}]",
			func(c Config) any { return c.Upstreams["a.b"].Servers }, []Member{{Address: "a_1:1", ID: "1", MaxRequests: 1024}, {Address: "[::1]:1", ID: "[::1]:1", Weight: 256, MaxRequests: 1024}}},
		{"upstreams: {a: &u {servers: [{address: 'a:1'}]}, b: *u}\nroutes: [{upstream: b}]",
			func(c Config) any { return c.Upstreams["a"].Servers[0] == c.Upstreams["b"].Servers[0] }, true},
		{route("cache: off"), func(c Config) any { return c.Routes[0].Cache }, CacheOff},
		{route("cache: false"), func(c Config) any { return c.Routes[0].Cache }, CacheOff},
		{route("cache: 'on'"), func(c Config) any { return c.Routes[0].Cache }, CacheOn},
		{route("cache: observe"), func(c Config) any { return c.Routes[0].Cache }, CacheObserve},
		{route("host: '*.Example.COM'"), func(c Config) any { return c.Routes[0].Host }, "*.example.com"},
		{route("host: '[::1]'"), func(c Config) any { return c.Routes[0].Host }, "[::1]"},
		{route("host: 10.0.0.1"), func(c Config) any { return c.Routes[0].Host }, "10.0.0.1"},
		{route("cache_key: [path]"), func(c Config) any { return parts(c) }, "path"},
		{route("cache_key: ['cookie:B', 'header:x-a', path, 'cookie:A', host]"), func(c Config) any { return parts(c) },
			"host path header:X-A cookie:A cookie:B"},
		{"upstreams: {app: {servers: [{address: 'a:1'}]}}\nroutes: [{upstream: app}, {upstream: app, path_prefix: /a}, {upstream: app, host: a}]",
			func(c Config) any { return len(c.Routes) }, 3},
	}
	for _, tt := range tests {
		if got := tt.got(mustParse(t, tt.text)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %v\nwant %v", tt.text, got, tt.want)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proxy.yaml")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want one that is %v", err, os.ErrNotExist)
	}
	if err := os.WriteFile(path, []byte(minimalFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || !reflect.DeepEqual(c, mustParse(t, minimalFile)) {
		t.Errorf("got %+v, %v; want what Parse returns", c, err)
	}
	if err := os.WriteFile(path, []byte("listen: 8080"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	var faults Faults
	if _, err := Load(path); !errors.As(err, &faults) || faults[0].File != path {
		t.Errorf("got %v, want faults of %s", err, path)
	}
}

func TestQuick(t *testing.T) {
	servers := []string{"127.0.0.1:9001", "127.0.0.1:9002"}
	want := mustParse(t, `listen: ":8080"
admin: {listen: off}
upstreams: {app: {servers: [{address: "127.0.0.1:9001"}, {address: "127.0.0.1:9002"}]}}
routes: [{upstream: app}]`)
	if got, err := Quick(":8080", "", servers); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}

	tests := []struct {
		listen, admin string
		servers       []string
		want          string
	}{
		{":1", ":2", nil, "command line: --upstream: is missing; write --upstream 127.0.0.1:9001"},
		{"8080", "x", []string{"http://a:1/", "b:0"}, `command line: --admin: want host:port, got "x"; write 127.0.0.1:8080 or :8080
command line: --listen: want host:port, got "8080"; write 127.0.0.1:8080 or :8080
command line: --upstream: want a port from 1 to 65535, got "b:0"
command line: --upstream: want host:port, got the URL "http://a:1/"; write a:1`},
		{":1", ":1", []string{"a:1", "a:1"}, `command line: --admin: is the same address as listen; give it its own port
command line: --upstream: the id "a:1" is taken; remove this server or give it its own id`},
	}
	for _, tt := range tests {
		if _, err := Quick(tt.listen, tt.admin, tt.servers); err == nil || err.Error() != tt.want {
			t.Errorf("Quick(%q, %q, %q):\ngot\n%v\nwant\n%s", tt.listen, tt.admin, tt.servers, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte(minimalFile))
	f.Add([]byte(fullListeners + rest))
	f.Add([]byte(routeOf(fullRoute)))
	f.Add([]byte(sharedOf(fullShared)))
	f.Add([]byte(poolOf(fullUpstream)))
	for _, tt := range slices.Concat(faulty, faultyListeners, faultyRoutes, faultyShared, faultyUpstreams) {
		if len(tt.text) < maxFile {
			f.Add([]byte(tt.text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err == nil {
			if len(c.Upstreams) == 0 || len(c.Routes) == 0 || c.Cache.MaxObjectSize > c.Cache.Memory {
				t.Errorf("valid, but %+v", c)
			}
			checkListeners(t, c)
			checkShared(t, c.Cache)
			for _, u := range c.Upstreams {
				checkUpstream(t, u)
			}
			for _, r := range c.Routes {
				if u := c.Upstreams[r.Upstream]; len(u.Servers) == 0 && u.ServersFile == "" {
					t.Errorf("route to nowhere: %+v", r)
				}
				checkRoute(t, r, c.Cache)
			}
			return
		}
		var faults Faults
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("got %#v, want faults", err)
		}
		lines := strings.Count(string(data), "\n") + 1
		for i, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Message == "" || i > 0 && faults[i-1].Line > fault.Line {
				t.Errorf("fault %d of %q: %v", i, data, faults)
			}
			if fault.Line > lines && !strings.ContainsAny(string(data), "\r\u0085\u2028\u2029") {
				t.Errorf("%v is past line %d of %q", fault, lines, data)
			}
		}
	})
}
