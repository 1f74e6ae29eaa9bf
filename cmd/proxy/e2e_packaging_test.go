package main_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// matches returns what the group of a pattern matches, in each place.
func matches(text, pattern string) (found []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// known fails the test where the program does not know a command line.
func known(t *testing.T, args ...string) {
	t.Helper()
	if out, code := command(t, append(slices.Clone(args), "--help")...); code != 0 || !strings.Contains(out, "proxy "+args[0]) {
		t.Errorf("%q: exit code %d, %s", args, code, out)
	}
}

// The image is built with the language of go.mod, of all the folders that the
// binaries are from, and what it runs are commands of ours.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	file := readText(t, "../../Dockerfile")
	language := matches(readText(t, "../../go.mod"), `(?m)^go (\d+\.\d+)`)
	if got := matches(file, `(?m)^FROM .*\bgolang:([\d.]+)`); !slices.Equal(got, language) {
		t.Errorf("it builds with Go %v; go.mod says %v", got, language)
	}
	for _, line := range matches(file, `(?m)(?:^CMD|HEALTHCHECK .*CMD) (\[.*\])$`) {
		var args []string
		if err := json.Unmarshal([]byte(line), &args); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		known(t, slices.DeleteFunc(args, func(arg string) bool { return arg == "/proxy" })...)
	}
	kept := matches(readText(t, "../../.dockerignore"), `(?m)^!(\S+)$`)
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}", "ringfence/cmd/proxy", "ringfence/loadtest")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	need := []string{"go.mod", "go.sum", "Makefile"}
	for _, pkg := range strings.Fields(string(out)) {
		need = append(need, strings.Split(pkg, "/")[1])
	}
	slices.Sort(need)
	if need = slices.Compact(need); !slices.Equal(slices.Sorted(slices.Values(kept)), need) {
		t.Errorf(".dockerignore keeps %v; the image is made of %v", kept, need)
	}
}

// composeFile is what we use of a compose file; a key that is not here is a fault.
type composeFile struct {
	Name     string
	Services map[string]struct {
		Image           string
		Build           struct{ Context, Target string }
		Volumes, Ports  []string
		Command         []string
		Restart         string
		DependsOn       []string `yaml:"depends_on"`
		StopGracePeriod string   `yaml:"stop_grace_period"`
		ReadOnly        bool     `yaml:"read_only"`
		CapDrop         []string `yaml:"cap_drop"`
		SecurityOpt     []string `yaml:"security_opt"`
	}
	Shared map[string]any `yaml:",inline"` // x-...
}

// Each file and stage that the compose file names exists, each configuration passes
// the check, and each host in one is a service, with the password that it wants.
func TestCompose(t *testing.T) {
	t.Parallel()
	var c composeFile
	dec := yaml.NewDecoder(strings.NewReader(readText(t, "../../packaging/compose.yaml")))
	if dec.KnownFields(true); dec.Decode(&c) != nil || len(c.Services) != 5 {
		t.Fatalf("%+v", c)
	}
	for key := range c.Shared {
		if !strings.HasPrefix(key, "x-") {
			t.Errorf("unknown key %s", key)
		}
	}
	stages := matches(readText(t, "../../Dockerfile"), `(?m)^FROM .* AS (\S+)$`)
	configs := map[string]int{}
	for name, s := range c.Services {
		if s.Build.Context != "" && (s.Build.Context != ".." || !slices.Contains(stages, s.Build.Target)) || s.Image == "" {
			t.Errorf("%s: image %q, built from %+v; there are %v", name, s.Image, s.Build, stages)
		}
		for _, other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s", name, other)
			}
		}
		for _, v := range s.Volumes {
			configs[strings.TrimSuffix(v, ":/etc/ringfence:ro")]++
		}
		if s.Build.Target == "loadtest" {
			if out, err := exec.Command("go", append(append([]string{"run", "ringfence/loadtest"}, s.Command...), "--help")...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %v\n%s", name, s.Command, err, out)
			}
		}
	}
	if !maps.Equal(configs, map[string]int{"./compose": 2}) {
		t.Fatalf("mounted are %v", configs)
	}
	file := "../../packaging/compose/ringfence.yaml"
	if out, code := command(t, "check", "--config", file); code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	text := readText(t, file)
	for _, host := range matches(text, `([\w-]+):(?:9001|6379)\b`) {
		if _, ok := c.Services[host]; !ok {
			t.Errorf("the configuration has %s, which is no service", host)
		}
	}
	if password := matches(text, `password: (\S+)`); len(password) != 1 || !slices.Contains(c.Services["redis"].Command, password[0]) {
		t.Errorf("password %v; the engine's command is %q", password, c.Services["redis"].Command)
	}
}

// The unit has no key that systemd does not know, its commands are ours, and it is
// hardened.
func TestUnit(t *testing.T) {
	t.Parallel()
	unit := readText(t, "../../packaging/ringfence.service")
	for _, line := range matches(unit, `(?m)^Exec\w+=/usr/local/bin/proxy (.*)$`) {
		known(t, strings.Fields(line)...)
	}
	for _, key := range []string{"DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "ExecReload=kill -HUP $MAINPID"} {
		if !strings.Contains(unit, "\n"+key+"\n") {
			t.Errorf("it lacks %s", key)
		}
	}
	file := filepath.Join(t.TempDir(), "ringfence.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, "/usr/local/bin/proxy", binary)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), file) {
		t.Errorf("%v\n%s", err, out)
	}
}
