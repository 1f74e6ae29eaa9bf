package config

import (
	"strings"
	"testing"
)

var faultyUpstreams = []struct{ text, want string }{
	// Keys a level too high, and a section in the wrong form.
	{poolOf("  servers: [{address: 'a:1'}]\n  attempts: 2\n  timeout: 1s\n  statuses: [500]\n  hash-by: key\n  rty: {}\n"),
		`f:5:3: upstreams.app: unknown key "attempts"; did you mean retry.attempts?
f:6:3: upstreams.app: unknown key "timeout"; did you mean health_check.timeout or queue.timeout?
f:7:3: upstreams.app: unknown key "statuses"; did you mean health_check.statuses or ejection.statuses?
f:8:3: upstreams.app: unknown key "hash-by"; did you mean hash_by?
f:9:3: upstreams.app: unknown key "rty"; known here: balance, hash_by, balance_factor, servers, servers_file, resolve, slow_start, panic_threshold, health_check, ejection, retry, hedge_percentile, adaptive_concurrency, queue, max_head_size, connect_timeout, response_timeout, read_timeout, write_timeout, idle_timeout, max_requests, max_connections, max_idle_connections, proxy_protocol, tls, tls_ca_file, tls_server_name, tls_cert_file, tls_key_file, tls_insecure`},
	{"cache: {addresses: ['a:1'], timeout: 1s}" + rest,
		`f:1:9: cache: unknown key "addresses"; did you mean shared.redis.addresses?
f:1:29: cache: unknown key "timeout"; did you mean shared.timeout?`},
	{appOf("ejection: off, retry: 3, queue: [1], adaptive_concurrency: on, health_check: {http: {}}"),
		`f:4:43: upstreams.app.ejection: want keys and values (consecutive_failures, failure_percentage, min_requests, window, latency_factor, statuses, base_time, max_time, max_ejected), got "off"
f:4:55: upstreams.app.retry: want keys and values (attempts, on, per_try_timeout, budget, budget_min, max_body), got "3"
f:4:65: upstreams.app.queue: want keys and values (size, timeout), got a list
f:4:92: upstreams.app.adaptive_concurrency: want keys and values (min, max), or {} for the defaults, got "on"
f:4:111: upstreams.app.health_check: unknown key "http"; known here: type, method, path, host, headers, statuses, body, port, interval, fast_interval, timeout, rise, fall, wait_for_first_check`},
	// What requests are placed by.
	{appOf("hash_by: cookie, balance_factor: 0.04"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "cookie"
f:4:66: upstreams.app.balance_factor: want 0.05 to 10, or off, got 0.04`},
	{appOf("hash_by: 'header:', balance_factor: 10.1"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "header:"
f:4:69: upstreams.app.balance_factor: want 0.05 to 10, or off, got 10.1`},
	{appOf("hash_by: 'path:x', balance_factor: '1'"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "path:x"
f:4:68: upstreams.app.balance_factor: want a number such as 2 or 0.5, or off, got the text "1"; remove the quotes`},
	{appOf("hash_by: 'query:a=b', balance_factor: 1e1"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "query:a=b"
f:4:71: upstreams.app.balance_factor: want a number such as 2 or 0.5, or off, got "1e1"`},
	{appOf("hash_by: 'query:a*', balance_factor: .5"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "query:a*"
f:4:70: upstreams.app.balance_factor: want a number such as 2 or 0.5, or off, got ".5"`},
	{appOf("hash_by: 'query:', balance_factor: -1"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "query:"
f:4:68: upstreams.app.balance_factor: want 0.05 to 10, or off, got -1`},
	{appOf("hash_by: 'query:a%62', balance_factor: 1."),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "query:a%62"
f:4:72: upstreams.app.balance_factor: want a number such as 2 or 0.5, or off, got "1."`},
	{appOf("hash_by: [key], balance_factor: on"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got a list
f:4:65: upstreams.app.balance_factor: want a number such as 2 or 0.5, or off, got "on"`},
	{appOf("hash_by: 'cookie:a b', balance_factor: " + strings.Repeat("9", 400)),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "cookie:a b"
f:4:72: upstreams.app.balance_factor: want 0.05 to 10, or off, got 999999999999999999999999999999999999999999999999999999999999...`},
	{appOf("hash_by: uri, balance_factor: 1.2.3"),
		`f:4:63: upstreams.app.balance_factor: want a number such as 2 or 0.5, or off, got "1.2.3"`},
	{appOf("hash_by: Key, balance_factor: .inf"),
		`f:4:42: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "Key"
f:4:63: upstreams.app.balance_factor: want a number such as 2 or 0.5, or off, got ".inf"`},
	{appOf("balance: random, hash_by: key, balance_factor: 0.5"),
		`f:4:59: upstreams.app.hash_by: means nothing to balance: random; remove it or write balance: hash
f:4:80: upstreams.app.balance_factor: means nothing to balance: random; remove it or write balance: hash`},
	{appOf("balance: random, hash_by: keys, balance_factor: 11"),
		`f:4:59: upstreams.app.hash_by: want key, uri, path, client, header:Name, cookie:Name or query:Name, got "keys"
f:4:81: upstreams.app.balance_factor: want 0.05 to 10, or off, got 11`},
	{appOf("balance: round-robin, hash_by: key, balance_factor: 0.5"),
		`f:4:42: upstreams.app.balance: want hash, ketama, least_requests, round_robin or random, got "round-robin"`},
	// Servers.
	{poolOf("  servers:\n  - {}\n  - {address: 'a:1', srv: _h._t.a}\n  - {srv: _h._t.a, id: x, weight: 1}\n  - {srv: _H._T.A}\n  - {address: ''}\n  - {srv: ''}\n  - {srv: _h._t.b}\n"),
		`f:5:5: upstreams.app.servers[0]: address is missing; write address: 127.0.0.1:9001, or srv: _http._tcp.app.internal
f:6:27: upstreams.app.servers[1].srv: address is written, too; remove one of them
f:7:5: upstreams.app.servers[2]: the srv "_h._t.a" is taken at line 6; remove this server
f:7:24: upstreams.app.servers[2].id: means nothing to srv, whose servers are known by their addresses; remove it
f:7:35: upstreams.app.servers[2].weight: means nothing to srv, whose records have weights of their own; remove it
f:8:5: upstreams.app.servers[3]: the srv "_h._t.a" is taken at line 6; remove this server
f:9:15: upstreams.app.servers[4].address: want host:port, got ""; write 127.0.0.1:9001 or app.internal:9001
f:10:11: upstreams.app.servers[5].srv: want _service._protocol.name, without a port, got ""; write _http._tcp.app.internal`},
	{poolOf("  servers:\n  - srv: app.internal\n  - srv: _http.app.internal\n  - srv: _http._tcp.app.internal:80\n  - srv: http._tcp.app\n  - srv: _._tcp.app\n  - srv: _http._tcp.10.0.0.1\n  - srv: _a b._tcp.app\n  - srv: _http._tcp." + strings.Repeat("a.", 125) + "a\n"),
		`f:5:10: upstreams.app.servers[0].srv: want _service._protocol.name, without a port, got "app.internal"; write _http._tcp.app.internal
f:6:10: upstreams.app.servers[1].srv: want _service._protocol.name, without a port, got "_http.app.internal"; write _http._tcp.app.internal
f:7:10: upstreams.app.servers[2].srv: want _service._protocol.name, without a port, got "_http._tcp.app.internal:80"; write _http._tcp.app.internal
f:8:10: upstreams.app.servers[3].srv: want _service._protocol.name, without a port, got "http._tcp.app"; write _http._tcp.app.internal
f:9:10: upstreams.app.servers[4].srv: want _service._protocol.name, without a port, got "_._tcp.app"; write _http._tcp.app.internal
f:10:10: upstreams.app.servers[5].srv: want _service._protocol.name, without a port, got "_http._tcp.10.0.0.1"; write _http._tcp.app.internal
f:11:10: upstreams.app.servers[6].srv: want _service._protocol.name, without a port, got "_a b._tcp.app"; write _http._tcp.app.internal
f:12:10: upstreams.app.servers[7].srv: want _service._protocol.name, without a port, got "_http._tcp.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a..."; write _http._tcp.app.internal`},
	{poolOf("  servers:\n  - address: 'unix:'\n  - address: unix:/\n  - address: unix:run/a\n  - address: unix:/run/../a\n  - address: unix:///a\n  - address: 'unix:/a/'\n  - address: \"unix:/a\\n\"\n  - address: unix:/" + strings.Repeat("a", 107) + "\n  - address: /run/a\n"),
		`f:5:14: upstreams.app.servers[0].address: want unix: and the path of a socket, got "unix:"; write unix:/run/app.sock
f:6:14: upstreams.app.servers[1].address: want unix: and the path of a socket, got "unix:/"; write unix:/run/app.sock
f:7:14: upstreams.app.servers[2].address: want unix: and an absolute path without detours, got "unix:run/a"; write unix:/run/a
f:8:14: upstreams.app.servers[3].address: want unix: and an absolute path without detours, got "unix:/run/../a"; write unix:/a
f:9:14: upstreams.app.servers[4].address: want unix: and an absolute path without detours, got "unix:///a"; write unix:/a
f:10:14: upstreams.app.servers[5].address: want unix: and an absolute path without detours, got "unix:/a/"; write unix:/a
f:11:14: upstreams.app.servers[6].address: want unix: and the path of a socket, got "unix:/a\n"; write unix:/run/app.sock
f:12:14: upstreams.app.servers[7].address: want the path of a socket of at most 107 bytes, got 108
f:13:14: upstreams.app.servers[8].address: want host:port, got "/run/a"; write 127.0.0.1:9001 or app.internal:9001`},
	{poolOf("  servers: [{address: 'unix:/a'}, {address: 'unix:/a'}, {address: 'a:1', max_requests: 0}, {address: 'a:2', backup: yes}]\n"),
		`f:4:35: upstreams.app.servers[1]: the id "unix:/a" is taken at line 4; remove this server or give it its own id
f:4:88: upstreams.app.servers[2].max_requests: want 1 to 65536, got 0
f:4:117: upstreams.app.servers[3].backup: want on or off, got "yes"`},
	{poolOf("  max_connections: 10\n  servers:\n  - {address: 'a:1', max_requests: 10}\n  - {address: 'a:2', max_requests: 11}\n  - {address: 'a:3', max_requests: 65537}\n"),
		`f:7:36: upstreams.app.servers[1].max_requests: is more than max_connections, which is 10; write at most that
f:8:36: upstreams.app.servers[2].max_requests: want 1 to 65536, got 65537`},
	{poolOf("  max_connections: ten\n  servers: [{address: 'a:1', max_requests: 60000}]\n"),
		`f:4:20: upstreams.app.max_connections: want a whole number, got "ten"`},
	{poolOf("  servers_file: ''\n"),
		`f:4:17: upstreams.app.servers_file: is empty, and so is servers; write the path of a file, or servers: [{address: 127.0.0.1:9001}]`},
	{poolOf("  servers_file: ''\n  servers: []\n"),
		`f:4:17: upstreams.app.servers_file: is empty, and so is servers; write the path of a file, or servers: [{address: 127.0.0.1:9001}]`},
	{poolOf("  servers: []\n"),
		`f:4:12: upstreams.app.servers: is empty; write servers: [{address: 127.0.0.1:9001}], or servers_file: servers.yaml`},
	{poolOf("  servers: ~\n  servers_file: \"a\\nb\"\n"),
		`f:4:12: upstreams.app.servers: has no value; write servers: [{address: 127.0.0.1:9001}], or servers_file: servers.yaml
f:5:17: upstreams.app.servers_file: want a text without control characters, got one after 1 bytes; write it on one line, without | or >`},
	{poolOf("  servers_file: f\n  servers: a\n"),
		`f:5:12: upstreams.app.servers: want a list, got "a"`},
	{poolOf("  servers: [{address: 'a:1', backup: on}, {srv: _h._t.a, backup: on}]\n"),
		`f:4:12: upstreams.app.servers: every server is a backup; write backup: off for one`},
	{poolOf("  servers: [{address: 'a:1', backup: on, weight: 0}]\n"),
		`f:4:12: upstreams.app.servers: every server is a backup; write backup: off for one
f:4:12: upstreams.app.servers: no server has a weight above 0; give one at least weight: 1`},
	{appOf("resolve: 999ms, slow_start: 0s, panic_threshold: 0"),
		`f:4:42: upstreams.app.resolve: want 1s to 1h, got 999ms
f:4:61: upstreams.app.slow_start: want 1s to 1h, or off, got 0s
f:4:82: upstreams.app.panic_threshold: want 1 to 100, or off, got 0`},
	{appOf("resolve: off, slow_start: 61m, panic_threshold: 50%"),
		`f:4:42: upstreams.app.resolve: want a duration such as 500ms, 5s or 2m, got "off"
f:4:59: upstreams.app.slow_start: want 1s to 1h, or off, got 61m
f:4:81: upstreams.app.panic_threshold: want a whole number, or off, got "50%"`},
	// Checks.
	{appOf("health_check: {method: get, path: /, headers: [a], statuses: 200, body: , port: 65536, wait_for_first_check: 5s}"),
		`f:4:56: upstreams.app.health_check.method: want a method in capitals, got "get"; write GET
f:4:79: upstreams.app.health_check.headers: want header fields such as {Accept: text/plain}, got a list
f:4:94: upstreams.app.health_check.statuses: want a list, got "200"
f:4:105: upstreams.app.health_check.body: has no value; write one, or remove the line
f:4:113: upstreams.app.health_check.port: want 0 to 65535, got 65536
f:4:142: upstreams.app.health_check.wait_for_first_check: want on or off, got "5s"`},
	{appOf("health_check: {method: CONNECT, headers: {Host: a, content-length: 1, TE: x, 'a b': c, a: ~, A: b, b: \"x\\n\"}, statuses: [2XX, 6xx, 99, 600, '0200', 204, 204, 2xx, 2xx, 200x]}"),
		`f:4:56: upstreams.app.health_check.method: CONNECT asks for a tunnel and not for a path; write type: tcp
f:4:75: upstreams.app.health_check.headers: Host is an option of its own; write host: NAME beside headers
f:4:84: upstreams.app.health_check.headers: Content-Length is for the connection and the framing, which the check sees to; remove it
f:4:103: upstreams.app.health_check.headers: Te is for the connection and the framing, which the check sees to; remove it
f:4:110: upstreams.app.health_check.headers: want the name of a header field, got "a b"
f:4:123: upstreams.app.health_check.headers.a: has no value; write one, or remove the line
f:4:126: upstreams.app.health_check.headers: A is there already; remove one of them
f:4:135: upstreams.app.health_check.headers.b: want a text without control characters, got one after 1 bytes; write it on one line, without | or >
f:4:154: upstreams.app.health_check.statuses[0]: want a status from 100 to 599 or a class (1xx to 5xx), got "2XX"
f:4:159: upstreams.app.health_check.statuses[1]: want a status from 100 to 599 or a class (1xx to 5xx), got "6xx"
f:4:164: upstreams.app.health_check.statuses[2]: want a status from 100 to 599 or a class (1xx to 5xx), got "99"
f:4:168: upstreams.app.health_check.statuses[3]: want a status from 100 to 599 or a class (1xx to 5xx), got "600"
f:4:173: upstreams.app.health_check.statuses[4]: want a status from 100 to 599 or a class (1xx to 5xx), got "0200"
f:4:186: upstreams.app.health_check.statuses[6]: 204 is in the list already; remove one of them
f:4:196: upstreams.app.health_check.statuses[8]: 2xx is in the list already; remove one of them
f:4:201: upstreams.app.health_check.statuses[9]: want a status from 100 to 599 or a class (1xx to 5xx), got "200x"`},
	{appOf("health_check: {method: 'a b', statuses: [], port: -1, fast_interval: 3s, body: '" + strings.Repeat("a", 1025) + "'}"),
		`f:4:56: upstreams.app.health_check.method: want a method such as GET, HEAD or OPTIONS, got "a b"
f:4:73: upstreams.app.health_check.statuses: is empty, so that no answer would do; remove the line for the default
f:4:83: upstreams.app.health_check.port: want 0 to 65535, got -1
f:4:102: upstreams.app.health_check.fast_interval: want at most interval, which is 2s
f:4:112: upstreams.app.health_check.body: want at most 1024 bytes, got 1025`},
	{appOf("health_check: {method: HEAD, body: ok, interval: 10ms, fast_interval: 11ms, timeout: 5ms}"),
		`f:4:68: upstreams.app.health_check.body: an answer to HEAD has no body; remove it or write method: GET
f:4:103: upstreams.app.health_check.fast_interval: want at most interval, which is 10ms`},
	{appOf("health_check: {interval: 1, fast_interval: 3s, timeout: 3s}"),
		`f:4:58: upstreams.app.health_check.interval: want a duration such as 500ms, 5s or 2m, got "1"; write 1s`},
	{appOf("health_check: {type: tls, method: GET, path: /, host: a, headers: {}, statuses: [200], body: ''}"),
		`f:4:54: upstreams.app.health_check.type: the upstream has no TLS to check; write tls: on beside health_check, or type: tcp
f:4:67: upstreams.app.health_check.method: means nothing to a tls check; remove it or write type: http
f:4:78: upstreams.app.health_check.path: means nothing to a tls check; remove it or write type: http
f:4:87: upstreams.app.health_check.host: means nothing to a tls check; remove it or write type: http
f:4:99: upstreams.app.health_check.headers: means nothing to a tls check; remove it or write type: http
f:4:113: upstreams.app.health_check.statuses: means nothing to a tls check; remove it or write type: http
f:4:126: upstreams.app.health_check.body: means nothing to a tls check; remove it or write type: http`},
	{appOf("health_check: {type: tls}, tls: maybe"),
		`f:4:65: upstreams.app.tls: want on or off, got "maybe"`},
	{appOf("health_check: {type: tcp, method: GET}"),
		`f:4:67: upstreams.app.health_check.method: means nothing to a tcp check; remove it or write type: http`},
	{poolOf("  {servers: [{address: 'b:1'}, {address: 'unix:/a'}, {address: 'unix:/b'}], health_check: {port: 1}}\n"),
		`f:4:98: upstreams.app.health_check.port: unix:/a has no ports; remove it`},
	// Ejection.
	{appOf("ejection: {consecutive_failures: 0, failure_percentage: 101, min_requests: 0, window: 999ms, latency_factor: 1.4, statuses: [499, 600, 5xx, 503, 503], base_time: 0s, max_time: 25h, max_ejected: 0}"),
		`f:4:66: upstreams.app.ejection.consecutive_failures: want 1 to 10000, or off, got 0
f:4:89: upstreams.app.ejection.failure_percentage: want 1 to 100, or off, got 101
f:4:108: upstreams.app.ejection.min_requests: want 1 to 1000000, got 0
f:4:119: upstreams.app.ejection.window: want 1s to 10m, got 999ms
f:4:142: upstreams.app.ejection.latency_factor: want 1.5 to 100, or off, got 1.4
f:4:158: upstreams.app.ejection.statuses[0]: want 500 to 599, got 499
f:4:163: upstreams.app.ejection.statuses[1]: want 500 to 599, got 600
f:4:168: upstreams.app.ejection.statuses[2]: want a whole number, got "5xx"
f:4:178: upstreams.app.ejection.statuses[4]: 503 is in the list already; remove one of them
f:4:195: upstreams.app.ejection.base_time: want 1s to 24h, got 0s
f:4:209: upstreams.app.ejection.max_time: want 1s to 24h, got 25h
f:4:227: upstreams.app.ejection.max_ejected: want 1 to 100, got 0`},
	{appOf("ejection: {base_time: 1m, max_time: 59s, latency_factor: 101, max_ejected: off}"),
		`f:4:69: upstreams.app.ejection.max_time: want at least base_time, which is 1m0s
f:4:90: upstreams.app.ejection.latency_factor: want 1.5 to 100, or off, got 101
f:4:108: upstreams.app.ejection.max_ejected: want a whole number, got "off"`},
	{appOf("ejection: {max_time: 29s, statuses: 503}"),
		`f:4:54: upstreams.app.ejection.max_time: want at least base_time, which is 30s
f:4:69: upstreams.app.ejection.statuses: want a list, got "503"`},
	// Retries and hedging.
	{appOf("retry: {attempts: 11, on: [refused, 399, 600, connect, 503, connect, 503, 5xx, [reset]], per_try_timeout: 0s, budget: 101, budget_min: 1001, max_body: 65MiB}, hedge_percentile: 49"),
		`f:4:51: upstreams.app.retry.attempts: want 1 to 10, got 11
f:4:60: upstreams.app.retry.on[0]: want connect, reset, timeout or a status from 400 to 599, got "refused"
f:4:69: upstreams.app.retry.on[1]: want connect, reset, timeout or a status from 400 to 599, got "399"
f:4:74: upstreams.app.retry.on[2]: want connect, reset, timeout or a status from 400 to 599, got "600"
f:4:93: upstreams.app.retry.on[5]: connect is in the list already; remove one of them
f:4:102: upstreams.app.retry.on[6]: 503 is in the list already; remove one of them
f:4:107: upstreams.app.retry.on[7]: want connect, reset, timeout or a status from 400 to 599, got "5xx"
f:4:112: upstreams.app.retry.on[8]: want connect, reset, timeout or a status from 400 to 599, got a list
f:4:139: upstreams.app.retry.per_try_timeout: want 1ms to 24h, or off, got 0s
f:4:151: upstreams.app.retry.budget: want 0 to 100, got 101
f:4:168: upstreams.app.retry.budget_min: want 0 to 1000, got 1001
f:4:184: upstreams.app.retry.max_body: want 1 to 64MiB, or off, got 65MiB
f:4:210: upstreams.app.hedge_percentile: want 50 to 99, or off, got 49`},
	{appOf("retry: {attempts: off, on: reset, per_try_timeout: 30s, budget: -1, max_body: 0}, hedge_percentile: 99.9"),
		`f:4:51: upstreams.app.retry.attempts: want a whole number, got "off"
f:4:60: upstreams.app.retry.on: want a list, got "reset"
f:4:84: upstreams.app.retry.per_try_timeout: want less than response_timeout, which is 30s
f:4:97: upstreams.app.retry.budget: want 0 to 100, got -1
f:4:111: upstreams.app.retry.max_body: want 1 to 64MiB, or off, got 0
f:4:133: upstreams.app.hedge_percentile: want a whole number, or off, got "99.9"`},
	{appOf("retry: {per_try_timeout: 2s}, response_timeout: 1s"),
		`f:4:58: upstreams.app.retry.per_try_timeout: want less than response_timeout, which is 1s`},
	{appOf("retry: {per_try_timeout: 1m}, response_timeout: 1"),
		`f:4:81: upstreams.app.response_timeout: want a duration such as 500ms, 5s or 2m, got "1"; write 1s`},
	// Limits.
	{appOf("queue: {size: -1, timeout: 0s}, adaptive_concurrency: {min: 0, max: 65537}, max_requests: 0, max_idle_connections: -1"),
		`f:4:47: upstreams.app.queue.size: want 0 to 65536, got -1
f:4:60: upstreams.app.queue.timeout: want 1ms to 24h, got 0s
f:4:93: upstreams.app.adaptive_concurrency.min: want 1 to 65536, got 0
f:4:101: upstreams.app.adaptive_concurrency.max: want 1 to 65536, got 65537
f:4:123: upstreams.app.max_requests: want 1 to 65536, got 0
f:4:148: upstreams.app.max_idle_connections: want 0 to 65536, got -1`},
	{appOf("queue: {size: 65537, timeout: off}, adaptive_concurrency: {min: 11, max: 10}, max_requests: 65537, max_idle_connections: 65537"),
		`f:4:47: upstreams.app.queue.size: want 0 to 65536, got 65537
f:4:63: upstreams.app.queue.timeout: want a duration such as 500ms, 5s or 2m, got "off"
f:4:97: upstreams.app.adaptive_concurrency.min: is more than max, which is 10; write at most that
f:4:125: upstreams.app.max_requests: want 1 to 65536, got 65537
f:4:154: upstreams.app.max_idle_connections: want 0 to 65536, got 65537`},
	{appOf("adaptive_concurrency: {min: 2000, max: many}"),
		`f:4:72: upstreams.app.adaptive_concurrency.max: want a whole number, got "many"`},
	{appOf("max_connections: 10, max_requests: 11, max_idle_connections: 11"),
		`f:4:68: upstreams.app.max_requests: is more than max_connections, which is 10; write at most that
f:4:94: upstreams.app.max_idle_connections: is more than max_connections, which is 10; write at most that`},
	{appOf("max_connections: ten, max_requests: 60000, max_idle_connections: 60000"),
		`f:4:50: upstreams.app.max_connections: want a whole number, got "ten"`},
	// The PROXY protocol.
	{appOf("proxy_protocol: v3"),
		`f:4:49: upstreams.app.proxy_protocol: want off, v1 or v2, got "v3"`},
	{appOf("proxy_protocol: on, tls: maybe"),
		`f:4:49: upstreams.app.proxy_protocol: want off, v1 or v2, got "on"
f:4:58: upstreams.app.tls: want on or off, got "maybe"`},
	// TLS.
	{appOf("tls_ca_file: a, tls_server_name: b, tls_cert_file: c, tls_key_file: d, tls_insecure: on"),
		`f:4:46: upstreams.app.tls_ca_file: means nothing without TLS; remove it or write tls: on
f:4:66: upstreams.app.tls_server_name: means nothing without TLS; remove it or write tls: on
f:4:84: upstreams.app.tls_cert_file: means nothing without TLS; remove it or write tls: on
f:4:101: upstreams.app.tls_key_file: means nothing without TLS; remove it or write tls: on
f:4:118: upstreams.app.tls_insecure: means nothing without TLS; remove it or write tls: on`},
	{appOf("tls: yes, tls_ca_file: a, tls_cert_file: c"),
		`f:4:38: upstreams.app.tls: want on or off, got "yes"`},
	{appOf("tls: on, tls_cert_file: c, tls_ca_file: a, tls_insecure: on"),
		`f:4:57: upstreams.app.tls_cert_file: needs its key; write tls_key_file: PATH
f:4:73: upstreams.app.tls_ca_file: means nothing where certificates are not verified; remove it or write tls_insecure: off`},
	{appOf("tls: on, tls_key_file: d, tls_server_name: 'a:1'"),
		`f:4:56: upstreams.app.tls_key_file: needs its certificate; write tls_cert_file: PATH
f:4:76: upstreams.app.tls_server_name: want a host without a port, got "a:1"; write a`},
	{poolOf("  {servers: [{address: 'unix:/a'}], tls: on, tls_server_name: 'a/b'}\n"),
		`f:4:63: upstreams.app.tls_server_name: want a host name or an IP address, got "a/b"; write name.internal`},
	{poolOf("  {servers: [{address: 'a:1'}, {address: 'unix:/a'}], tls: on}\n"),
		`f:4:42: upstreams.app.servers[1].address: a socket has no name to verify its certificate by; write tls_server_name: NAME beside servers`},
}

func TestUpstreamFaults(t *testing.T) { checkFaults(t, faultyUpstreams) }
