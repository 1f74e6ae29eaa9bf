package config

import (
	"reflect"
	"strings"
	"testing"
)

// adminOf is a file with these options of the section admin.
func adminOf(options string) string { return "admin: {" + options + "}" + rest }

func TestAdmin(t *testing.T) {
	const token = "0123456789abcdef"
	for options, want := range map[string]Admin{
		"":                                   {Listen: "127.0.0.1:9901"},
		"listen: 'unix:/run/x.sock'":         {Listen: "unix:/run/x.sock"},
		"listen: off":                        {},
		"listen: '[::1]:1'":                  {Listen: "[::1]:1"},
		"listen: '127.1.2.3:1'":              {Listen: "127.1.2.3:1"},
		"listen: 'LocalHost:1'":              {Listen: "LocalHost:1"},
		"listen: ':1', token: " + token:      {Listen: ":1", Token: token},
		"listen: '0.0.0.0:1', token_file: a": {Listen: "0.0.0.0:1", TokenFile: "a"},
		"listen: 'a.b:1', tls: {cert_file: c, key_file: k, client_ca_file: a}": {
			Listen: "a.b:1", TLS: AdminTLS{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}},
		"hosts: [A.Example, b], read_only: on, pprof: on": {
			Listen: "127.0.0.1:9901", Hosts: []string{"a.example", "b"}, ReadOnly: true, Pprof: true},
		"listen: 'unix:/x', token_file: a, read_only: on": {Listen: "unix:/x", TokenFile: "a", ReadOnly: true},
	} {
		if got := mustParse(t, adminOf(options)).Admin; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", options, got)
		}
	}
}

func TestAdminFaults(t *testing.T) {
	const reached = `admin.listen: others than this machine can reach it; keep them out by admin.token_file, or by admin.tls with a client_ca_file, or write 127.0.0.1:9901`
	for _, tt := range []struct{ options, want string }{
		{"listen: ':1'", "f:1:17: " + reached},
		{"listen: '0.0.0.0:1', read_only: on", "f:1:17: " + reached},
		{"listen: '[::]:1'", "f:1:17: " + reached},
		{"listen: '10.0.0.1:1'", "f:1:17: " + reached},
		{"listen: 'a.example:1', hosts: [a.example]", "f:1:17: " + reached},
		{"listen: ':1', tls: {cert_file: c, key_file: k}", "f:1:17: " + reached},
		{"listen: ':1', token: short",
			`f:1:30: admin.token: want a token of 16 characters or more, got 5; make one with: openssl rand -hex 24`},
		{"token: '0123456789 bcdef'",
			`f:1:16: admin.token: want a token of letters, digits and signs, without spaces; make one with: openssl rand -hex 24`},
		{"token: 0123456789abcdef, token_file: a", `f:1:46: admin.token_file: token is written, too; remove one of them`},
		{"listen: 'unix:run/x'", `f:1:17: admin.listen: want the absolute path of a socket behind unix:, in its shortest form, got "unix:run/x"; write unix:/run/ringfence.sock`},
		{"listen: 'unix:/run/../x'", `f:1:17: admin.listen: want the absolute path of a socket behind unix:, in its shortest form, got "unix:/run/../x"; write unix:/run/ringfence.sock`},
		{"listen: 'unix:/" + strings.Repeat("a", 107) + "'", `f:1:17: admin.listen: want the path of a socket in up to 107 bytes, got 108; write unix:/run/ringfence.sock`},
		{"listen: 'unix:/x', hosts: [a], tls: {cert_file: c, key_file: k}",
			`f:1:35: admin.hosts: means nothing to a socket; remove it or write listen: 127.0.0.1:9901
f:1:45: admin.tls: means nothing to a socket; remove it or write listen: 127.0.0.1:9901`},
		{"listen: off, read_only: on, pprof: on, token_file: a",
			`f:1:33: admin.read_only: means nothing without a listener; remove it or write listen: 127.0.0.1:9901
f:1:44: admin.pprof: means nothing without a listener; remove it or write listen: 127.0.0.1:9901
f:1:60: admin.token_file: means nothing without a listener; remove it or write listen: 127.0.0.1:9901`},
		{"hosts: [a, 'b:1', '', A]",
			`f:1:20: admin.hosts[1]: want a host without a port, got "b:1"; write b
f:1:27: admin.hosts[2]: is empty; write the name that the admin listener is reached by
f:1:31: admin.hosts[3]: a is in the list already; remove one of them`},
		{"tls: {key_file: k}", `f:1:14: admin.tls: cert_file is missing; write cert_file: admin.pem`},
	} {
		_, err := Parse("f", []byte(adminOf(tt.options)))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\ngot\n%v\nwant\n%s", tt.options, err, tt.want)
		}
	}
	const want = "command line: --admin: others than this machine can reach it"
	if _, err := Quick(":1", ":2", []string{"a:1"}); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
