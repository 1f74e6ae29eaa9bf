package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var warnedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// certificateFor is a certificate that is valid from and until so long after
// warnedAt, and its key, in PEM.
func certificateFor(t *testing.T, from, until time.Duration) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: warnedAt.Add(from), NotAfter: warnedAt.Add(until)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
}

func warn(t *testing.T, text string, read func(string) ([]byte, error)) string {
	t.Helper()
	doc, err := ParseDocument("f", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var lines []string
	for _, w := range Warnings(doc, warnedAt, read) {
		lines = append(lines, string(w.Kind)+" "+w.String())
	}
	return strings.Join(lines, "\n")
}

// Each warning comes where it is due, at its place, and not a bit before. What is
// wanted of each line is its beginning.
func TestWarnings(t *testing.T) {
	const day = 24 * time.Hour
	files := map[string][]byte{
		"good": certificateFor(t, -day, 30*day), "old": certificateFor(t, -2*day, -day), "young": certificateFor(t, day, 30*day),
		"ending": certificateFor(t, -day, 6*day), "none": []byte("x"), "other": certificateFor(t, -day, 30*day),
	}
	files["both"] = append(append([]byte{}, files["old"]...), files["good"]...)
	read := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return text, nil
		}
		return nil, errors.New("no such file")
	}
	const base = "upstreams: {app: {servers: [{address: 'a:1'}]}}\nroutes: [{upstream: app}]\n"
	route := func(options string) string {
		return "upstreams: {app: {servers: [{address: 'a:1'}], health_check: {path: /live}}}\nroutes:\n- {upstream: app, " + options + "}\n"
	}
	up := func(options string) string {
		return "upstreams: {app: {servers: [{address: 'a:1'}], " + options + "}}\nroutes: [{upstream: app}]\n"
	}
	for _, tt := range []struct{ text, want string }{
		{base, ""},
		// Routes that no request has.
		{route("path_prefix: //a"), "unmatched f:3:32: routes[0].path_prefix: a path that begins with two slashes"},
		{route(`path_prefix: '/a\b'`), `unmatched f:3:32: routes[0].path_prefix: a path with a \ `},
		{"server: {max_target_size: 64}\n" + route("path_prefix: /"+strings.Repeat("a", 64)), "unmatched f:4:32: routes[0].path_prefix: is longer than server.max_target_size"},
		{"server: {max_target_size: 64}\n" + route("path_prefix: /"+strings.Repeat("a", 63)), ""},
		{"listeners: [{address: 'a:80', redirect_to_https: 443}]\n" + base, "unmatched f:3:9: routes: every listener redirects"},
		{"listeners: [{address: 'a:80', redirect_to_https: 443}, {address: 'a:81'}]\n" + base, ""},
		// Health checks that are cached.
		{route("default_ttl: 1s"), "cached-check f:1:69: upstreams.app.health_check.path: the route at line 3"},
		{route("negative_ttl: {5xx: 1s}"), "cached-check f:1:69: "},
		{route("default_ttl: 1s, cache: off"), ""},
		{route("default_ttl: 1s, cache: observe"), ""},
		{route("default_ttl: 1s, path_prefix: /liv"), ""},
		{route("default_ttl: 1s}\n- {upstream: app, path_prefix: /live, cache: off"), ""},
		{route("default_ttl: 1s}\n- {upstream: app, host: b, path_prefix: /live, cache: off"), "cached-check f:1:69: "},
		{"upstreams: {app: {servers: [{address: 'a:1'}], health_check: {path: /}}}\nroutes: [{upstream: app, default_ttl: 1s}]", ""},
		// Limits that contradict each other.
		{"server: {max_target_size: 16KiB}\n" + base, "contradiction f:1:27: server.max_target_size: "},
		{"server: {max_head_size: 8KiB}\n" + base, ""},
		{"server: {request_timeout: 9s}\n" + base, "contradiction f:1:27: server.request_timeout: is less than server.head_timeout"},
		{"server: {max_connections: 10, max_connections_per_client: 11}\n" + base, "contradiction f:1:59: server.max_connections_per_client: "},
		{"server: {max_connections: 10}\n" + base, ""},
		{"server: {max_requests: 10}\ncache: {max_waiters: 11}\n" + base, "contradiction f:2:22: cache.max_waiters: "},
		{"cache: {memory: 8MiB, max_object_size: 5MiB}\n" + base, "contradiction f:1:40: cache.max_object_size: "},
		{"cache: {memory: 8MiB, max_object_size: 4MiB}\n" + base, ""},
		{"cache: {memory: 8MiB}\n" + base, ""},
		{"cache: {memory: 8MiB, max_object_size: 5MiB}\n" + strings.Replace(base, "upstream: app", "upstream: app, cache: off", 1), ""},
		{"cache: {wait_timeout: 3m}\n" + base, "contradiction f:1:23: cache.wait_timeout: "},
		{"cache: {wait_timeout: 1m}\n" + base, ""},
		{strings.Replace(route("default_ttl: 2h, heuristic_max: 1h"), "/live", "/", 1), "contradiction f:3:51: routes[0].heuristic_max: "},
		{strings.Replace(route("default_ttl: 1s, negative_ttl: {404: 2s}"), "/live", "/", 1), "contradiction f:3:50: routes[0].negative_ttl: "},
		{"server: {request_timeout: 20s}\n" + up("response_timeout: 21s"), "contradiction f:2:66: upstreams.app.response_timeout: is more than server.request_timeout"},
		{"server: {request_timeout: 20s}\n" + up("read_timeout: 21s"), "contradiction f:2:62: upstreams.app.read_timeout: "},
		{"server: {request_timeout: 20s}\n" + up("connect_timeout: 21s"), "contradiction f:2:65: upstreams.app.connect_timeout: "},
		{"server: {request_timeout: 20s}\n" + up("queue: {timeout: 21s}"), "contradiction f:2:65: upstreams.app.queue.timeout: "},
		{"server: {request_timeout: 20s}\n" + up("read_timeout: 20s"), ""},
		{up("retry: {attempts: 1, per_try_timeout: 1s}"), "contradiction f:1:86: upstreams.app.retry.per_try_timeout: "},
		{up("retry: {attempts: 2, per_try_timeout: 1s}"), ""},
		{"server: {max_body_size: 1KiB}\n" + up("retry: {max_body: 2KiB}"), "contradiction f:2:66: upstreams.app.retry.max_body: "},
		{"server: {max_body_size: off}\n" + up("retry: {max_body: 2KiB}"), ""},
		{up("response_timeout: 1s, health_check: {timeout: 1500ms}"), "contradiction f:1:94: upstreams.app.health_check.timeout: "},
		// An engine that anybody may write to.
		{"cache: {shared: {redis: {addresses: ['127.0.0.1:1', 'b:1']}}}\n" + base, "open-engine f:1:37: cache.shared.redis.addresses: b:1 is on another host"},
		{"cache: {shared: {redis: {addresses: ['localhost:1', '[::1]:1']}}}\n" + base, ""},
		{"cache: {shared: {redis: {addresses: ['b:1'], password_file: p}}}\n" + base, ""},
		// A token in clear.
		{"admin: {listen: ':9901', token: aaaaaaaaaaaaaaaa}\n" + base, "clear-token f:1:17: admin.listen: "},
		{"admin: {listen: '127.0.0.1:9901', token: aaaaaaaaaaaaaaaa}\n" + base, ""},
		{"admin: {listen: ':9901', token: aaaaaaaaaaaaaaaa, tls: {cert_file: good, key_file: good}}\n" + base, ""},
		// Certificates.
		{listenerWith("old", "old"), "certificate f:1:63: listeners[0].tls.certificates[0].cert_file: old has expired on 2026-02-28"},
		{listenerWith("young", "young"), "certificate f:1:63: listeners[0].tls.certificates[0].cert_file: young is not valid before"},
		{listenerWith("ending", "ending"), "certificate f:1:63: listeners[0].tls.certificates[0].cert_file: ending expires on 2026-03-07"},
		{listenerWith("good", "other"), "certificate f:1:63: listeners[0].tls.certificates[0].cert_file: good is no certificate for the key in other"},
		{listenerWith("none", "none"), "certificate f:1:63: "},
		{listenerWith("gone", "gone"), "certificate f:1:63: listeners[0].tls.certificates[0].cert_file: cannot be read: \ncertificate f:1:79: listeners[0].tls.certificates[0].key_file: cannot be read: "},
		{listenerWith("good", "good"), ""},
		{up("tls: on, tls_ca_file: old"), "certificate f:1:70: upstreams.app.tls_ca_file: old has expired"},
		{up("tls: on, tls_ca_file: none"), "certificate f:1:70: upstreams.app.tls_ca_file: none: there is no certificate in it"},
		{up("tls: on, tls_ca_file: gone"), "certificate f:1:70: upstreams.app.tls_ca_file: cannot be read: "},
		{up("tls: on, tls_ca_file: both"), ""},
	} {
		got, want := strings.Split(warn(t, tt.text, read), "\n"), strings.Split(tt.want, "\n")
		sound := len(got) == len(want)
		for i := 0; sound && i < len(want); i++ {
			sound = strings.HasPrefix(got[i], want[i]) && (want[i] != "" || got[i] == "")
		}
		if !sound {
			t.Errorf("%s\n--- got\n%s\n--- want\n%s", tt.text, strings.Join(got, "\n"), tt.want)
		}
	}
}

func listenerWith(cert, key string) string {
	return "listeners: [{address: 'a:1', tls: {certificates: [{cert_file: " + cert + ", key_file: " + key +
		"}]}}]\nupstreams: {app: {servers: [{address: 'a:1'}]}}\nroutes: [{upstream: app}]\n"
}

// What is shown to be written has none, given its certificates.
func TestExamplesGiveNoWarnings(t *testing.T) {
	good := certificateFor(t, -time.Hour, 1000*time.Hour)
	read := func(string) ([]byte, error) { return good, nil }
	texts := readExample(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if _, err := ParseDocument("README.md", []byte(block[1])); err == nil {
			whole++
			texts = append(texts, block[1])
		}
	}
	if whole == 0 {
		t.Error("README.md has no complete configuration")
	}
	for _, text := range texts {
		if got := warn(t, text, read); got != "" {
			t.Error(got)
		}
	}
}
