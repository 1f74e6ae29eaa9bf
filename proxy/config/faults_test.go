package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var faulty = []struct{ text, want string }{
	// The text.
	{"",
		`f:1:1: the file is empty; write at least upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}} and routes: [{upstream: app}]`},
	{"# nothing\n",
		`f:1:1: the file is empty; write at least upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}} and routes: [{upstream: app}]`},
	{"---\n",
		`f:1:1: the file is empty; write at least upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}} and routes: [{upstream: app}]`},
	{"~",
		`f:1:1: the file is empty; write at least upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}} and routes: [{upstream: app}]`},
	{"listen: ':1'" + rest + "---\nlisten: ':2'\n",
		`f:4:1: a second document begins here; a file holds one, remove the --- and what follows or move it to its own file`},
	{"listen: ':1'" + rest + "---\n",
		`f:4:1: a second document begins here; a file holds one, remove the --- and what follows or move it to its own file`},
	{"listen: caf\xe9:1\n",
		`f:1:12: byte 0xe9 is not UTF-8; save the file as UTF-8`},
	{"\uFEFFlisten: caf\xe9:1\n",
		`f:1:12: byte 0xe9 is not UTF-8; save the file as UTF-8`},
	{"\xff\xfel\x00",
		`f:1:1: byte 0xff is not UTF-8; save the file as UTF-8`},
	{"listen: :1\n\tadmin: 2\n",
		`f:2:1: not valid YAML: found a tab character that violates indentation; indent with spaces, not with tabs`},
	{"log:\n  level: info\n\tformat: json\n",
		`f:3:1: not valid YAML: found a tab character that violates indentation; indent with spaces, not with tabs`},
	{"log:\n  level: info\n format: json\nlisten: x\n",
		`f:3:2: not valid YAML: did not find expected key; begin the keys of one mapping, and the dashes of one list, in the same column`},
	{"listen: a: b\n",
		`f:1:1: not valid YAML: mapping values are not allowed in this context; write one key: value a line, and put text that holds a colon and a space in quotes`},
	{"log:\n  level: info\nlisten 8080\nroutes: []\n",
		`f:3:1: not valid YAML: could not find expected ':'; write key: value, with a colon and a space`},
	{"log:\n  level: 'info\nlisten: :1\nroutes: []\n",
		`f:2:3: not valid YAML: found unexpected end of stream; close the quote`},
	{"log: {level: info\nlisten: x\n",
		`f:1:1: not valid YAML: did not find expected ',' or '}'; close the bracket`},
	{"log: @info\n",
		`f:1:1: not valid YAML: found character that cannot start any token; put text that begins with this character in quotes`},
	{"log: *x\n",
		`f:1:1: not valid YAML: unknown anchor 'x' referenced; define the anchor above the place that uses it`},
	{"log: \x01\n",
		`f:1:1: not valid YAML: control characters are not allowed; remove the control character, or write it as an escape in double quotes`},
	{"routes:\n  - upstream: app\n    host: *.example.com\n",
		`f:3:5: not valid YAML: did not find expected alphabetic or numeric character; put text that begins with * or & in quotes, as in "*.example.com"`},
	{"listen: :1" + strings.Repeat("\n", maxFile),
		`f:1:1: the file is too large; want at most 4194304 bytes`},
	{"!x",
		`f:1:1: has the tag !x; remove the tag`},
	{"- a\n",
		`f:1:1: want keys and values (listen, listeners, admin, log, access_log, reload, shutdown_timeout, upgrade_timeout, server, cache, upstreams, routes), got a list`},
	{"listen\n",
		`f:1:1: want keys and values (listen, listeners, admin, log, access_log, reload, shutdown_timeout, upgrade_timeout, server, cache, upstreams, routes), got "listen"`},
	// Keys.
	{"listn: ':1'\ncache: {memry: 1GiB, colour: red}" + rest,
		`f:1:1: unknown key "listn"; did you mean listen?
f:2:9: cache: unknown key "memry"; did you mean memory?
f:2:22: cache: unknown key "colour"; known here: memory, max_object_size, wait_timeout, uncacheable_ttl, max_waiters, max_fills, index_entries, max_variants, max_tags, snapshot, shared`},
	{"listen: ':1'\nlisten: ':2'" + rest,
		`f:2:1: duplicate key "listen", first at line 1; remove one of them`},
	{"? [a]\n: 1" + rest,
		`f:1:3: want a name as key, got a list`},
	{"log: &l {level: info}\nserver: {<<: *l}" + rest,
		`f:2:10: server: merge keys (<<) are not supported; write the keys out, or use an alias for a whole value`},
	{"Listen: ':1'\nshutdown-timeout: 1s" + rest,
		`f:1:1: unknown key "Listen"; did you mean listen?
f:2:1: unknown key "shutdown-timeout"; did you mean shutdown_timeout?`},
	// Kinds.
	{"listen:\nlog: {level: ~}\nadmin: off\ncache: [1]" + rest,
		`f:1:8: listen: has no value; write one, or remove the line
f:2:14: log.level: has no value; write one, or remove the line
f:3:8: admin: want keys and values (listen, hosts, token, token_file, tls, read_only, pprof), got "off"
f:4:8: cache: want keys and values (memory, max_object_size, wait_timeout, uncacheable_ttl, max_waiters, max_fills, index_entries, max_variants, max_tags, snapshot, shared), got a list`},
	{"log: {level: [info], format: {a: b}}\nlisten: !!str a:1\nadmin: !x {}" + rest,
		`f:1:14: log.level: want debug, info, warn or error, got a list
f:1:30: log.format: want auto, text or json, got a mapping
f:2:9: listen: has the tag !!str; remove the tag
f:3:8: admin: has the tag !x; remove the tag`},
	{"server: {max_connections: 1.5}\ncache: {max_waiters: '5', index_entries: 010, memory: [1]}" + rest,
		`f:1:27: server.max_connections: want a whole number, got "1.5"
f:2:22: cache.max_waiters: want a whole number, got the text "5"; remove the quotes
f:2:42: cache.index_entries: want a whole number, got "010"
f:2:55: cache.memory: want a size such as 64KiB, 256MiB or 1GiB, got a list`},
	{"upstreams:\nroutes: [{upstream: app}]\n",
		`f:1:11: upstreams: has no value; write upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}}`},
	{"upstreams:\nroutes:\n",
		`f:1:11: upstreams: has no value; write upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}}
f:2:8: routes: has no value; write routes: [{upstream: app}]`},
	{"listen: ':1'",
		`f:1:1: routes is missing; write routes: [{upstream: app}]
f:1:1: upstreams is missing; write upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}}`},
	{"upstreams:\n  app:\nroutes:\n  -\n  - ~\n  - {upstream: ''}\n",
		`f:2:7: upstreams.app: has no value; write one, or remove the line
f:4:4: routes[0]: has no value; write one, or remove the line
f:5:5: routes[1]: has no value; write one, or remove the line
f:6:16: routes[2].upstream: want a name of 1 to 64 letters, digits, '.', '_' and '-', got ""`},
	{"upstreams: {}\nroutes: []\n",
		`f:1:12: upstreams: is empty; write upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}}
f:2:9: routes: is empty; write routes: [{upstream: app}]`},
	{"upstreams: [app]\nroutes: app\n",
		`f:1:12: upstreams: want names and what they stand for, got a list
f:2:9: routes: want a list, got "app"`},
	{"upstreams:\n  app: {servers: ['a:1']}\n  b: {}\n  'c d': {servers: []}\nroutes:\n  - {}\n",
		`f:2:19: upstreams.app.servers[0]: want keys and values (` + memberOptions + `), got "a:1"
f:3:6: upstreams.b: servers is missing; write servers: [{address: 127.0.0.1:9001}], or servers_file: servers.yaml
f:4:3: upstreams: want a name of 1 to 64 letters, digits, '.', '_' and '-', got "c d"
f:4:20: upstreams."c d".servers: is empty; write servers: [{address: 127.0.0.1:9001}], or servers_file: servers.yaml
f:6:5: routes[0]: upstream is missing; write upstream: app`},
	// Values.
	{"listen: 8080\nadmin: {listen: '::1'}" + rest,
		`f:1:9: listen: want host:port, got "8080"; write 127.0.0.1:8080 or :8080
f:2:17: admin.listen: want host:port, got "::1"; write an IPv6 address in brackets and add the port, as in [::1]:8080`},
	{"listen: ':65536'\nadmin: {listen: 'a b:1'}" + rest,
		`f:1:9: listen: want a port from 1 to 65535, got ":65536"
f:2:17: admin.listen: want host:port, got "a b:1"; write 127.0.0.1:8080 or :8080`},
	{"listen: ':1'\nadmin: {listen: ':1'}" + rest,
		`f:2:17: admin.listen: is the same address as listen; give it its own port`},
	{"listen: 127.0.0.1:9901" + rest,
		`f:1:9: listen: is the default of admin.listen; give one of them another port`},
	{"listen: 127.0.0.1:9901\nadmin: {}\nlgo: {}" + rest,
		`f:1:9: listen: is the default of admin.listen; give one of them another port
f:3:1: unknown key "lgo"; did you mean log?`},
	{"log: {level: loud, format: xml}" + rest,
		`f:1:14: log.level: want debug, info, warn or error, got "loud"
f:1:28: log.format: want auto, text or json, got "xml"`},
	{"shutdown_timeout: 5\nserver:\n  idle_timeout: 0s\n  read_timeout: -1s\n  write_timeout: 25h\n  max_head_size: 2MiB\n  max_connections: 0\n  max_tunnels: 0\n  tunnel_timeout: 721h\n  tunnel_grace: 0s" + rest,
		`f:1:19: shutdown_timeout: want a duration such as 500ms, 5s or 2m, got "5"; write 5s
f:3:17: server.idle_timeout: want 1ms to 24h, got 0s
f:4:17: server.read_timeout: want 1ms to 24h, got -1s
f:5:18: server.write_timeout: want 1ms to 24h, got 25h
f:6:18: server.max_head_size: want 1KiB to 1MiB, got 2MiB
f:7:20: server.max_connections: want 1 to 1048576, got 0
f:8:16: server.max_tunnels: want 1 to 1048576, got 0
f:9:19: server.tunnel_timeout: want 1ms to 720h, got 721h
f:10:17: server.tunnel_grace: want 1ms to 24h, got 0s`},
	{"upgrade_timeout: 61s" + rest, `f:1:18: upgrade_timeout: want 1s to 60s, got 61s`},
	{"shutdown_timeout: 5s\nserver: {tunnel_grace: 6s}" + rest,
		`f:2:24: server.tunnel_grace: is more than shutdown_timeout; write at most that`},
	{"cache:\n  memory: 1023KiB\n  max_object_size: 1.5MiB\n  wait_timeout: soon\n  max_waiters: -1\n  index_entries: 99999999999999999999" + rest,
		`f:2:11: cache.memory: want 1MiB to 1TiB, got 1023KiB
f:3:20: cache.max_object_size: want a size such as 64KiB, 256MiB or 1GiB, got "1.5MiB"
f:4:17: cache.wait_timeout: want a duration such as 500ms, 5s or 2m, got "soon"
f:5:16: cache.max_waiters: want 1 to 1000000, got -1
f:6:18: cache.index_entries: want 1024 to 67108864, got 99999999999999999999`},
	{"server:\n  trusted_proxies: [10.0.0.1/8, 10.0.0.0/33, app, 'fe80::1%a', '::ffff:10.0.0.0/104', 10.0.0.1, 10.0.0.1/32, 10.1, [], '']" + rest,
		`f:2:21: server.trusted_proxies[0]: 10.0.0.1/8 has bits beyond its prefix; write 10.0.0.0/8, or 10.0.0.1 for the one address
f:2:33: server.trusted_proxies[1]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "10.0.0.0/33"
f:2:46: server.trusted_proxies[2]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "app"
f:2:51: server.trusted_proxies[3]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "fe80::1%a"
f:2:64: server.trusted_proxies[4]: want an IPv4 network in its own form, such as 10.0.0.0/8, got "::ffff:10.0.0.0/104"
f:2:97: server.trusted_proxies[6]: 10.0.0.1/32 is in the list already; remove one of them
f:2:110: server.trusted_proxies[7]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got "10.1"
f:2:116: server.trusted_proxies[8]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got a list
f:2:120: server.trusted_proxies[9]: want an address or a network such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, got ""`},
	{"server: {request_id: Cookie}" + rest,
		`f:1:22: server.request_id: want a field for ids alone, such as X-Request-Id or X-Correlation-Id, or off, got "Cookie"`},
	{"server: {request_id: X_Id}" + rest,
		`f:1:22: server.request_id: want a field for ids alone, such as X-Request-Id or X-Correlation-Id, or off, got "X_Id"`},
	{"server: {request_id: Upgrade}" + rest,
		`f:1:22: server.request_id: want a field for ids alone, such as X-Request-Id or X-Correlation-Id, or off, got "Upgrade"`},
	{"server: {request_id: traceparent}" + rest,
		`f:1:22: server.request_id: want a field for ids alone, such as X-Request-Id or X-Correlation-Id, or off, got "traceparent"`},
	{"cache: {memory: 99999999999999999999TiB}" + rest,
		`f:1:17: cache.memory: want 1MiB to 1TiB, got 99999999999999999999TiB`},
	{"cache: {memory: 17179869185GiB}" + rest,
		`f:1:17: cache.memory: want 1MiB to 1TiB, got 17179869185GiB`},
	{"cache:\n  memory: 1MiB\n  max_object_size: 2MiB" + rest,
		`f:3:20: cache.max_object_size: is more than cache.memory; write at most that`},
	{`upstreams:
  app:
    balance: rnd
    servers:
      - address: app
      - {address: 'http://b:1', weight: 1.5}
      - {address: 'c:0', weight: 257, id: ''}
      - address: 'd:1'
        wieght: 1
      - address: 300.1.1.1:80
      - weight: 1
    attempts: 0
    health_check: {type: udp, path: healthz, host: 'a/b', rise: 0, fall: 101}
routes:
  - upstream: app
`,
		`f:3:14: upstreams.app.balance: want hash, ketama, least_requests, round_robin or random, got "rnd"
f:5:18: upstreams.app.servers[0].address: want host:port, got "app"; write 127.0.0.1:9001 or app.internal:9001
f:6:19: upstreams.app.servers[1].address: want host:port, got the URL "http://b:1"; write b:1
f:6:41: upstreams.app.servers[1].weight: want a whole number, got "1.5"
f:7:19: upstreams.app.servers[2].address: want a port from 1 to 65535, got "c:0"
f:7:34: upstreams.app.servers[2].weight: want 0 to 256, got 257
f:7:43: upstreams.app.servers[2].id: want 1 to 255 bytes without control characters, got ""; remove the line to use the address
f:9:9: upstreams.app.servers[3]: unknown key "wieght"; did you mean weight?
f:10:18: upstreams.app.servers[4].address: want host:port, got "300.1.1.1:80"; write 127.0.0.1:9001 or app.internal:9001
f:11:9: upstreams.app.servers[5]: address is missing; write address: 127.0.0.1:9001, or srv: _http._tcp.app.internal
f:12:5: upstreams.app: unknown key "attempts"; did you mean retry.attempts?
f:13:26: upstreams.app.health_check.type: want http, tcp or tls, got "udp"
f:13:37: upstreams.app.health_check.path: want a path, got "healthz"; write /healthz
f:13:52: upstreams.app.health_check.host: want a host with or without a port, got "a/b"; write app.internal or app.internal:8080
f:13:65: upstreams.app.health_check.rise: want 1 to 100, got 0
f:13:74: upstreams.app.health_check.fall: want 1 to 100, got 101`},
	{`upstreams:
  app:
    servers:
      - {address: 'a:1', weight: 0}
      - {address: 'b:1', weight: 0}
      - {address: 'a:1', weight: 0}
      - {address: 'c:1', weight: 0, id: 'b:1'}
    health_check: {interval: 1s, timeout: 1s}
  a.b:
    servers: [{address: 'a:1'}]
    health_check: {type: tcp, path: /, host: a}
  c:
    servers: [{address: 'a:1'}]
    health_check: {interval: 1ms, timeout: 1h}
    max_connections: many
routes:
  - upstream: app
`,
		`f:4:7: upstreams.app.servers: no server has a weight above 0; give one at least weight: 1
f:6:9: upstreams.app.servers[2]: the id "a:1" is taken at line 4; remove this server or give it its own id
f:7:9: upstreams.app.servers[3]: the id "b:1" is taken at line 5; remove this server or give it its own id
f:8:43: upstreams.app.health_check.timeout: want less than interval, which is 1s
f:11:37: upstreams."a.b".health_check.path: means nothing to a tcp check; remove it or write type: http
f:11:46: upstreams."a.b".health_check.host: means nothing to a tcp check; remove it or write type: http
f:14:44: upstreams.c.health_check.timeout: want less than interval, which is 1ms
f:15:22: upstreams.c.max_connections: want a whole number, got "many"`},
	{`upstreams: {app: {servers: [{address: 'a:1'}]}, api: {servers: [{address: 'a:1'}]}}
routes:
  - upstream: ap
  - {upstream: something, path_prefix: api}
  - {host: 'Example.com', upstream: app, cache: maybe}
  - {host: example.com, upstream: app}
  - {host: 'example.com:80', upstream: app}
  - {host: '*', upstream: app}
  - {host: 'a.*.com', upstream: app}
  - {host: 'bücher.example', upstream: app}
  - {host: '*.10.0.0.1', upstream: app}
  - {path_prefix: '/a?b', upstream: app}
  - {path_prefix: /a b, upstream: app}
  - {path_prefix: /1, upstream: app, cache_key: [host, query, host]}
  - {path_prefix: /2, upstream: app, cache_key: [path, 'header:A', 'header:a', 'cookie:', method, 'path:x']}
  - {path_prefix: /3, upstream: app, cache_key: []}
  - {path_prefix: /4, upstream: app, cache_key: path}
  - {upstream: app}
`,
		`f:3:15: routes[0].upstream: there is no upstream "ap"; did you mean api?
f:4:16: routes[1].upstream: there is no upstream "something"; known here: api, app
f:4:40: routes[1].path_prefix: want a path, got "api"; write /api
f:5:49: routes[2].cache: want on, off or observe, got "maybe"
f:6:5: routes[3]: has the same host and path_prefix as the route at line 5; remove one of them, or make them differ
f:7:12: routes[4].host: want a host without a port, got "example.com:80"; write example.com
f:8:12: routes[5].host: want a host, got "*"; remove the line to match every host
f:9:12: routes[6].host: want at most one * and only as the first label, got "a.*.com"; write *.example.com
f:10:12: routes[7].host: want a host name, got "bücher.example"; write example.com, or *.example.com for all names below it
f:11:12: routes[8].host: want a host name, got "*.10.0.0.1"; write example.com, or *.example.com for all names below it
f:12:19: routes[9].path_prefix: want a path without '?', got "/a?"; end it there, or write the character percent-encoded
f:13:19: routes[10].path_prefix: want a path without ' ', got "/a "; end it there, or write the character percent-encoded
f:14:49: routes[11].cache_key: path is missing; add it to the list
f:14:63: routes[11].cache_key[2]: host is in the list already; remove one of them
f:15:68: routes[12].cache_key[2]: header:A is in the list already; remove one of them
f:15:80: routes[12].cache_key[3]: want scheme, host, path, query, header:Name or cookie:Name, got "cookie:"
f:15:91: routes[12].cache_key[4]: want scheme, host, path, query, header:Name or cookie:Name, got "method"
f:15:99: routes[12].cache_key[5]: want scheme, host, path, query, header:Name or cookie:Name, got "path:x"
f:16:49: routes[13].cache_key: path is missing; add it to the list
f:17:49: routes[14].cache_key: want a list, got "path"
f:18:5: routes[15]: has the same host and path_prefix as the route at line 3; remove one of them, or make them differ`},
}

func TestFaults(t *testing.T) { checkFaults(t, faulty) }

func checkFaults(t *testing.T, tests []struct{ text, want string }) {
	t.Helper()
	for _, tt := range tests {
		got := "no fault"
		if _, err := Parse("f", []byte(tt.text)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s\n--- got\n%s\n--- want\n%s", tt.text, got, tt.want)
		}
	}
}

// TestBounds: a short file cannot stand for millions of values, nor fill the
// screen without end.
func TestBounds(t *testing.T) {
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	bomb := "upstreams:\n  u: &u\n    servers:\n" + many(400, "      - address: a%d:1\n") + many(400, "  u%d: *u\n") + "routes: [{upstream: u}]\n"
	if _, err := Parse("f", []byte(bomb)); err == nil || err.Error() != "f:1:1: the file makes more than 131072 values; write fewer aliases" {
		t.Errorf("aliases: got %.300v", err)
	}
	wrong := strings.TrimPrefix(rest, "\n") + many(1200, "x%d: 1\n")
	_, err := Parse("f", []byte(wrong))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 1001 || faults[1000].Message != "200 more faults are not listed; mend these first" {
		t.Errorf("faults: got %d of them, %.300v", len(faults), err)
	}
}
