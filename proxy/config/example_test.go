package config

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const exampleFile = "../../config.example.yaml"

// readExample returns the example, and the example with the listeners that it
// shows in a comment in place of listen.
func readExample(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	other := regexp.MustCompile(`(?m)^listen:.*$`).ReplaceAllString(string(data), "")
	return []string{string(data), regexp.MustCompile(`(?m)^#(listeners:|  )`).ReplaceAllString(other, "$1")}
}

// TestExampleShowsDefaults: the example is the minimal file, written out.
func TestExampleShowsDefaults(t *testing.T) {
	const minimal = `
access_log: {path: stdout}
admin: {tls: {cert_file: admin.pem, key_file: admin.key}}
cache: {snapshot: {file: /var/lib/ringfence/cache}, shared: {redis: {addresses: ['127.0.0.1:6379']}}}
upstreams: {app: {servers: [{address: '127.0.0.1:9001'}, {address: '127.0.0.1:9002'}, {srv: _http._tcp.app.internal}],
  health_check: {}, adaptive_concurrency: {}}}
routes: [{upstream: app, compress: {}}]`
	const listeners = `
listeners:
  - address: 127.0.0.1:8443
    tls: {certificates: [{cert_file: cert.pem, key_file: key.pem}], client_auth: {ca_file: clients.pem}}
    hsts: {}
    proxy_protocol: {from: [10.0.0.0/8]}
  - address: 127.0.0.1:8080`
	for i, text := range readExample(t) {
		want := mustParse(t, []string{minimal, listeners + minimal}[i])
		if got := mustParse(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("config.example.yaml is not the defaults:\ngot  %+v\nwant %+v", got, want)
		}
	}
}

// TestExampleIsComplete: every option of the schema is in the example, with
// its one comment.
func TestExampleIsComplete(t *testing.T) {
	shown := make(map[string]bool)
	for _, text := range readExample(t) {
		var document yaml.Node
		if err := yaml.Unmarshal([]byte(text), &document); err != nil {
			t.Fatal(err)
		}
		collectShown(t, document.Content[0], "", shown)
	}
	want := make(map[string]bool)
	collectOptions(reflect.TypeFor[Config](), "", want)
	for _, option := range slices.Sorted(maps.Keys(want)) {
		if !shown[option] {
			t.Errorf("config.example.yaml does not show %s", option)
		}
	}
}

// collectShown gathers the paths of the scalars in n; the elements of a list,
// shown or not, an upstream's name and the keys of an empty mapping are a *.
func collectShown(t *testing.T, n *yaml.Node, path string, shown map[string]bool) {
	switch {
	case n.Kind != yaml.ScalarNode && len(n.Content) == 0:
		shown[path+".*"] = true
	case n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			name := key.Value
			if path == "upstreams" {
				name = "*"
			}
			collectShown(t, value, strings.TrimPrefix(path+"."+name, "."), shown)
			commented := key.LineComment + value.LineComment
			option := value.Kind == yaml.ScalarNode || value.Style&yaml.FlowStyle != 0
			if option && strings.Count(commented, "#") != 1 {
				t.Errorf("line %d: want one comment, got %q", key.Line, commented)
			}
		}
	case n.Kind == yaml.SequenceNode:
		for _, element := range n.Content {
			collectShown(t, element, path+".*", shown)
		}
	default:
		shown[path] = true
	}
}

// collectOptions gathers the paths of all options of a type, in the same form.
func collectOptions(typ reflect.Type, path string, options map[string]bool) {
	switch {
	case isLeaf(typ):
		options[path] = true
	case typ.Kind() == reflect.Struct:
		for i, name := range fieldNames(typ) {
			collectOptions(typ.Field(i).Type, strings.TrimPrefix(path+"."+name, "."), options)
		}
	default:
		collectOptions(typ.Elem(), path+".*", options)
	}
}
