package main_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	p := startCommand(t, "version")
	if code := p.wait(soon); code != 0 || !regexp.MustCompile(`^ringfence \S+\n$`).MatchString(p.stdout.String()) {
		t.Errorf("exit code %d, %q", code, p.stdout)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		yaml  string
		wants []string // beginnings of lines after "FILE:", in order; none: no fault
	}{
		"minimal": {minimal, nil},
		"several faults": {`listen: "8080"
upstreams:
  app:
    servers:
      - address: 127.0.0.1:9001
        wieght: 2
routes:
  - upstream: ap
`, []string{"1:9: ", "6:9: ", "8:15: "}},
		"duplicate key": {minimal + "listen: 127.0.0.1:1\n", []string{"19:1: "}},
		"fraction":      {"upstreams: {app: {servers: [{address: '127.0.0.1:1', weight: 1.5}]}}\nroutes: [{upstream: app}]\n", []string{"1:62: "}},
		"syntax":        {"listen: [\n", []string{""}},
		"empty":         {"", []string{"1:1: "}},
		"two documents": {minimal + "---\nlisten: x\n", []string{""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, tt.yaml)
			for _, command := range []string{"check", "run"} {
				if command == "run" && tt.wants == nil {
					continue
				}
				p := startCommand(t, command, "--config", file)
				code := p.wait(soon)
				if (code == 0) != (tt.wants == nil) || code > 1 {
					t.Errorf("%s: exit code %d", command, code)
				}
				text := p.stderr.String() + p.stdout.String()
				for _, want := range tt.wants {
					_, after, ok := strings.Cut(text, file+":"+want)
					if !ok {
						t.Errorf("%s: no fault at %s in order; output:\n%s%s", command, want, p.stderr, p.stdout)
					}
					text = after
				}
			}
		})
	}
	p := startCommand(t, "check", "--config", writeFile(t, "upstreams: {app: {servers: [{address: '127.0.0.1:1', wieght: 2}]}}\nroutes: [{upstream: ap}]\n"))
	p.wait(soon)
	for _, hint := range []string{"weight", `app`} {
		if !strings.Contains(p.stderr.String(), hint) {
			t.Errorf("no hint of %s in:\n%s", hint, p.stderr)
		}
	}
}

func TestExampleFileIsValid(t *testing.T) {
	t.Parallel()
	p := startCommand(t, "check", "--config", "../../config.example.yaml")
	if code := p.wait(soon); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	p := startCommand(t, "run", "--config", "no-such-file.yaml")
	if code := p.wait(soon); code != 1 || !strings.Contains(p.stderr.String(), "no-such-file.yaml") {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for name, args := range map[string][]string{
		"run, listen":  {"run", "--listen", taken, "--admin", "127.0.0.1:0", "--upstream", "127.0.0.1:1"},
		"run, admin":   {"run", "--listen", "127.0.0.1:0", "--admin", taken, "--upstream", "127.0.0.1:1"},
		"demo, listen": {"demo", "--listen", taken, "--admin", "127.0.0.1:0"},
		"demo, admin":  {"demo", "--listen", "127.0.0.1:0", "--admin", taken},
	} {
		p := startCommand(t, args...)
		code := p.wait(soon)
		if out := p.stderr.String(); code != 1 || !strings.Contains(out, taken) || !strings.Contains(out, "in use") {
			t.Errorf("%s: exit code %d, %q", name, code, out)
		}
		if out := p.stdout.String(); strings.Contains(out, "curl") {
			t.Errorf("%s: it invites all the same: %q", name, out)
		}
	}
}

func TestRunWithoutFile(t *testing.T) {
	t.Parallel()
	echo := func(r origin.Request) origin.Answer { return origin.Text("max-age=60", r.Target) }
	a, b := newOrigin(t, "a", echo), newOrigin(t, "b", echo)
	p := startCommand(t, "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", a.Addr(), "--upstream", b.Addr())
	p.awaitListening()
	by := map[string]int{}
	for i := range 40 {
		by[p.get(fmt.Sprintf("/%d", i)).must(t, 200).header.Get("X-Served-By")]++
	}
	if by["a"] == 0 || by["b"] == 0 {
		t.Errorf("served by %v", by)
	}
	for _, args := range [][]string{{"run"}, {"run", "--config", "x", "--upstream", "127.0.0.1:1"}, {"run", "--upstream", "nonsense"}, {"nonsense"}} {
		p := startCommand(t, args...)
		if code := p.wait(soon); code != 1 || p.stderr.String() == "" {
			t.Errorf("%q: exit code %d, %q", args, code, p.stderr)
		}
	}
}

func TestAdminOff(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", nil)
	p := runFile(t, fmt.Sprintf("listen: 127.0.0.1:0\nadmin: {listen: off}\nupstreams: {app: {servers: [{address: '%s'}]}}\nroutes: [{upstream: app}]\n", o.Addr()))
	p.get("/").must(t, 200)
	if p.admin != "" {
		t.Errorf("admin listens at %s", p.admin)
	}
}

// The demonstration prints three commands; what they ask for shows a miss, a
// hit, and who answered.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := startCommand(t, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	curl := regexp.MustCompile(`(?m)^\s*curl .*?(http://\S+)`)
	if !p.stdout.await(p.exited, func(text string) bool { return len(curl.FindAllString(text, -1)) >= 3 }) {
		t.Fatalf("printed %q, %s", p.stdout, p.stderr)
	}
	lines := curl.FindAllStringSubmatch(p.stdout.String(), -1)
	if len(lines) != 3 {
		t.Fatalf("%d curl lines in %q", len(lines), p.stdout)
	}
	for i, want := range []string{"fwd=uri-miss", "hit", "fwd=uri-miss"} {
		resp, err := http.Get(lines[i][1])
		if err != nil {
			t.Fatal(err)
		}
		r := whole(resp).must(t, 200)
		if !r.is(want) || r.header.Get("X-Served-By") == "" {
			t.Errorf("%s: %s, want %s", lines[i][1], r, want)
		}
	}
	p.signal(os.Interrupt)
	if code := p.wait(soon); code != 0 {
		t.Errorf("exit code %d after an interrupt", code)
	}
}

// The debug log names the server that answered.
func TestDebugLog(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "one", always(origin.Text("no-store", "x")))
	p := startProxy(t, setup{top: "log: {level: debug}", origins: []*origin.Origin{o}})
	p.get("/page?q").must(t, 200)
	line := `"target":"/page?q","server":"one","attempts":1,"status":200`
	eventually(t, "the log to say "+line, func() bool { return strings.Contains(p.stderr.String(), line) })
}
