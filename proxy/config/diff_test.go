package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const diffBase = `
listen: 127.0.0.1:8080
upstreams:
  app: {servers: [{address: '127.0.0.1:1', id: a}, {address: '127.0.0.1:2'}]}
  db: {servers: [{address: '127.0.0.1:3'}]}
routes: [{upstream: app}, {host: x.com, path_prefix: /api, upstream: db}]
`

func TestDiff(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"listen: 127.0.0.1:8080", "listeners: [{address: '127.0.0.1:8080'}]", ""},
		{"{upstream: app}, {host: x.com, path_prefix: /api, upstream: db}", "{host: x.com, path_prefix: /api, upstream: db}, {upstream: app}", ""},
		{"listen: 127.0.0.1:8080", "listen: ':80'", "~ listen: 127.0.0.1:8080 -> :80; needs a restart"},
		{"listen: 127.0.0.1:8080", "listeners: [{address: ':80'}, {address: ':81'}]", "~ listeners[0].address: 127.0.0.1:8080 -> :80; needs a restart\n+ listeners[1]; needs a restart"},
		{"listen: 127.0.0.1:8080", "listeners: [{address: '127.0.0.1:8080', hsts: {}, tls: {certificates: [{cert_file: a, key_file: b}]}}]", "+ listeners[0].tls\n+ listeners[0].hsts"},
		{"{address: '127.0.0.1:1', id: a}, {address: '127.0.0.1:2'}", "{address: '127.0.0.1:4', id: b}, {address: '127.0.0.1:9', id: a, weight: 3}", "+ upstreams.app.servers[b]\n~ upstreams.app.servers[a].address: 127.0.0.1:1 -> 127.0.0.1:9\n~ upstreams.app.servers[a].weight: 1 -> 3\n- upstreams.app.servers[127.0.0.1:2]"},
		{"  db: {", "  db: {health_check: {}, balance: random, balance_factor: off, ", "~ upstreams.db.balance: hash -> random\n~ upstreams.db.hash_by: key -> \"\"\n~ upstreams.db.balance_factor: 0.5 -> off\n+ upstreams.db.health_check"},
		{"  db: {servers: [{address: '127.0.0.1:3'}]}", "  db: {servers: [{address: '127.0.0.1:3'}], retry: {on: [502, reset]}}\n  db2: {servers: [{address: '127.0.0.1:3'}]}", "~ upstreams.db.retry.on: [connect, reset, timeout, 502, 503, 504] -> [502, reset]\n+ upstreams.db2"},
		{"path_prefix: /api, upstream: db", "path_prefix: /api, upstream: app", "~ routes[x.com/api].upstream: db -> app"},
		{"{upstream: app}", "{upstream: app, cache: observe}", "~ routes[*/].cache: on -> observe"},
		{"{upstream: app}", "{upstream: app, path_prefix: /a, negative_ttl: {404: 10s}}", "+ routes[*/a]\n- routes[*/]"},
		{"{upstream: app}", "{upstream: app, negative_ttl: {404: 10s, 5xx: 90m}, cache_key: [host, path, 'header:X-A'], purge_from: [10.0.0.0/8, 10.1.1.1]}", "~ routes[*/].cache_key: [scheme, host, path, query] -> [host, path, header:X-A]\n~ routes[*/].purge_from: [] -> [10.0.0.0/8, 10.1.1.1]\n~ routes[*/].negative_ttl: {} -> {404: 10s, 5xx: 1h30m}"},
		{"\nlisten", "\ncache: {memory: 512MiB, uncacheable_ttl: 1500ms}\nlog: {level: debug}\nserver: {max_body_size: off, max_head_size: 1500, request_id: off}\nlisten", "~ log.level: info -> debug\n~ server.max_head_size: 16KiB -> 1500\n~ server.max_body_size: 4GiB -> off\n~ server.request_id: X-Request-Id -> off\n~ cache.memory: 256MiB -> 512MiB; needs a restart\n~ cache.uncacheable_ttl: 10s -> 1.5s"},
	} {
		before, after := mustParse(t, diffBase), mustParse(t, strings.Replace(diffBase, tt.old, tt.new, 1))
		var got []string
		for _, c := range Diff(before, after) {
			got = append(got, c.String())
		}
		if strings.Join(got, "\n") != tt.want {
			t.Errorf("%s\n--- got\n%s\n--- want\n%s", tt.new, strings.Join(got, "\n"), tt.want)
		}
		if back := Diff(after, before); len(back) != len(got) {
			t.Errorf("%s: %d changes back, %d there", tt.new, len(back), len(got))
		}
	}
}

// Secrets are told to have changed, and no more.
func TestDiffHidesSecrets(t *testing.T) {
	redis := "cache: {shared: {redis: {addresses: ['127.0.0.1:6379'], password: %s}}}" + diffBase
	changes := Diff(mustParse(t, fmt.Sprintf(redis, "hush")), mustParse(t, fmt.Sprintf(redis, "quiet")))
	if got := fmt.Sprint(changes); !strings.Contains(got, "redis.password: (secret) -> (secret)") || strings.Contains(got, "hush") || strings.Contains(got, "quiet") {
		t.Error(got)
	}
}

// What needs a restart is refused by name, all of it at once, with its place.
func TestRefuse(t *testing.T) {
	doc, err := ParseDocument("f", []byte("cache:\n  memory: 512MiB\n  shared: {redis: {addresses: ['127.0.0.1:6379'], password: x}}\nlisten: ':80'\nlog: {level: debug}"+
		strings.Replace(diffBase, "listen: 127.0.0.1:8080", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `f:2:11: cache.memory: needs a restart (256MiB now, 512MiB in the file)
f:3:11: cache.shared: needs a restart (it is new in the file)
f:4:9: listen: needs a restart (127.0.0.1:8080 now, :80 in the file)`
	err = doc.Refuse(Diff(mustParse(t, diffBase), doc.Config))
	if fs := (Faults)(nil); !errors.As(err, &fs) || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if old, err := ParseDocument("g", []byte(diffBase)); err != nil || len(old.Hash) != 16 || old.Hash == doc.Hash {
		t.Errorf("%v, %q", err, old.Hash)
	} else if got := fmt.Sprint(old.Refuse(Diff(doc.Config, old.Config))); !strings.Contains(got, "g:2:1: cache.shared: needs a restart (it is no longer in the file)") {
		t.Error(got)
	}
	if err := doc.Refuse(Diff(doc.Config, doc.Config)); err != nil {
		t.Error(err)
	}
}

// The table decides for every option there is, and for no other.
func TestEffectsAreClosed(t *testing.T) {
	options := map[string]bool{}
	collectOptions(reflect.TypeFor[Config](), "", options)
	used := map[string]bool{}
	for option := range options {
		path := option
		for path != "" {
			if _, ok := effects[path]; ok {
				break
			}
			path = path[:max(strings.LastIndexByte(path, '.'), 0)]
		}
		if path == "" {
			t.Errorf("%s: neither live nor said to need a restart: add it to effects", option)
		}
		for ; option != ""; option = option[:max(strings.LastIndexByte(option, '.'), 0)] {
			used[option] = true
		}
	}
	for path := range effects {
		if !used[path] {
			t.Errorf("effects knows %s, which is no option", path)
		}
	}
}
