package config

import (
	"fmt"
	"io"
	"os"
	"reflect"

	"gopkg.in/yaml.v3"
)

// The bounds of one configuration: the bytes of its file, the values that
// aliases can make of it, and the faults listed.
const (
	maxFile   = 4 << 20
	maxValues = 1 << 17
	maxFaults = 1000
)

// Default returns the configuration in which every option has its default.
// It has no upstreams and no routes, so it serves nothing by itself.
func Default() Config {
	var c Config
	setDefaults(reflect.ValueOf(&c).Elem())
	deriveListeners(&decoder{}, &c)
	return c
}

// Load reads and parses the file at path. The error is [Faults] when the text
// is at fault, and else says why the file could not be read.
func Load(path string) (Config, error) {
	doc, err := LoadDocument(path)
	return doc.Config, err
}

// ReadFile reads the text of a file, for [ParseDocument]: up to the first byte that
// is too much for it. The error says why it could not.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return data, nil
}

// Parse turns the text of a file into a complete configuration; name is the
// file's name in the faults. The error is [Faults]. Parse keeps nothing of data.
func Parse(name string, data []byte) (Config, error) {
	doc, err := ParseDocument(name, data)
	return doc.Config, err
}

// Quick returns the configuration of a command line without a file: one
// upstream, app, of the given servers, and one route for everything. The
// arguments are checked as their options in a file are; an admin of "" or off
// means no admin listener. The error is [Faults], without lines.
func Quick(listen, admin string, servers []string) (Config, error) {
	const name = "command line"
	if len(servers) == 0 {
		return Config{}, Faults{{File: name, Message: "--upstream: is missing; write --upstream 127.0.0.1:9001"}}
	}
	members := &yaml.Node{Kind: yaml.SequenceNode}
	for _, address := range servers {
		members.Content = append(members.Content, mapping("address", text(address)))
	}
	root := mapping(
		"listen", text(listen),
		"admin", mapping("listen", text(admin)),
		"upstreams", mapping("app", mapping("servers", members)),
		"routes", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{mapping("upstream", text("app"))}},
	)
	return decode(&decoder{file: name, label: flagLabel}, root)
}

// decode fills a configuration from the tree, checks it, and returns it or all
// that is wrong with it.
func decode(d *decoder, root *yaml.Node) (Config, error) {
	var c Config
	err := d.decode(root, "", reflect.ValueOf(&c).Elem(), func() {
		derive(d, &c)
		validate(d, c)
	})
	if err != nil {
		return Config{}, err
	}
	sortKeys(c.Routes)
	return c, nil
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

// mapping makes a mapping of alternating keys (string) and values (*yaml.Node).
func mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		n.Content = append(n.Content, text(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return n
}

func pathLabel(path string) string { return path }

// flagLabel names the command line's flag behind an option's path.
func flagLabel(path string) string {
	switch path {
	case "listen":
		return "--listen"
	case "admin.listen":
		return "--admin"
	default:
		return "--upstream"
	}
}
