package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rooms says what each package may import beside the standard library. It is
// the table of ARCHITECTURE.md; whoever changes one changes both.
var rooms = map[string][]string{
	"ring":                    {"github.com/cespare/xxhash/v2"},
	"health":                  {},
	"proxy/histogram":         {},
	"singleflight":            {},
	"singleflight/redis":      {"singleflight", "ring", "health", "github.com/redis/rueidis", "github.com/cespare/xxhash/v2"},
	"proxy/wire":              {},
	"proxy/handover":          {"golang.org/x/sys"},
	"proxy/watch":             {"github.com/fsnotify/fsnotify"},
	"proxy/edge":              {"proxy/wire", "proxy/watch", "github.com/valyala/fasthttp"},
	"proxy/accesslog":         {},
	"proxy/config":            {"proxy/accesslog", "proxy/wire", "gopkg.in/yaml.v3"},
	"proxy/cache":             {"proxy/wire", "github.com/dunglas/httpsfv"},
	"proxy/cache/memory":      {"github.com/dgraph-io/ristretto/v2"},
	"proxy/upstream":          {"proxy/wire", "proxy/upstream/discover", "ring", "health", "proxy/histogram"},
	"proxy/upstream/discover": {"proxy/watch"},
	"proxy": {
		"proxy/accesslog", "proxy/wire", "proxy/cache", "proxy/cache/memory", "proxy/upstream", "singleflight",
		"singleflight/redis", "proxy/edge", "proxy/histogram", "github.com/valyala/fasthttp", "github.com/cespare/xxhash/v2",
		"github.com/klauspost/compress", "github.com/molecule-man/go-brrr",
	},
	"proxy/admin":       {"proxy", "proxy/cache", "proxy/edge", "proxy/upstream", "health", "proxy/histogram", "github.com/prometheus/client_golang", "github.com/prometheus/client_model"},
	"proxy/server":      {"singleflight/redis", "proxy", "proxy/accesslog", "proxy/admin", "proxy/cache", "proxy/config", "proxy/edge", "proxy/handover", "proxy/upstream", "proxy/upstream/discover", "proxy/watch", "proxy/wire", "health", "github.com/valyala/fasthttp"},
	"cmd/proxy":         {"proxy/config", "proxy/handover", "proxy/server", "github.com/spf13/cobra", "golang.org/x/term"},
	"loadtest":          {"loadtest/compare", "loadtest/drill", "loadtest/load", "loadtest/logs", "loadtest/origin", "loadtest/report", "loadtest/result", "loadtest/scenario", "loadtest/simulate", "gopkg.in/yaml.v3", "github.com/spf13/cobra", "golang.org/x/term"},
	"loadtest/compare":  {"github.com/HdrHistogram/hdrhistogram-go", "github.com/valyala/fasthttp", "golang.org/x/sys/unix"},
	"loadtest/drill":    {"loadtest/keys", "loadtest/load", "loadtest/origin", "loadtest/result"},
	"loadtest/keys":     {},
	"loadtest/load":     {"loadtest/result", "golang.org/x/sys/unix"},
	"loadtest/scenario": {"loadtest/keys", "loadtest/load", "loadtest/origin", "loadtest/result", "gopkg.in/yaml.v3"},
	"loadtest/report":   {"loadtest/result", "loadtest/simulate"},
	"loadtest/result":   {"github.com/HdrHistogram/hdrhistogram-go"},
	"loadtest/logs":     {},
	"loadtest/simulate": {"loadtest/logs", "ring", "github.com/dgraph-io/ristretto/v2", "github.com/maypok86/otter/v2"},
	"loadtest/origin":   {},
}

func TestImports(t *testing.T) {
	for _, pkg := range listPackages(t) {
		name := strings.TrimPrefix(pkg.ImportPath, "ringfence/")
		allowed, ok := rooms[name]
		if !ok {
			t.Errorf("%s is no room of the house: add it to the table, and to ARCHITECTURE.md", name)
			continue
		}
		for _, path := range pkg.Imports {
			path, internal := strings.CutPrefix(path, "ringfence/")
			if !internal && !strings.Contains(strings.SplitN(path, "/", 2)[0], ".") {
				continue // the standard library
			}
			if !slices.ContainsFunc(allowed, func(a string) bool {
				return path == a || !internal && strings.HasPrefix(path, a+"/")
			}) {
				t.Errorf("%s may not import %s", name, path)
			}
		}
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) (pkgs []goPackage) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}
