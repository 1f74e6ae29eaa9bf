package main_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ringfence/loadtest/origin"
)

// The command says what /readyz says, whatever the token, and in its exit code.
func TestHealthCommand(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	o := newOrigin(t, "one", always(origin.Answer{Hold: hold}))
	socket := "unix:" + filepath.Join(t.TempDir(), "admin")
	file := writeFile(t, withAdmin(setup{origins: []*origin.Origin{o}}, "listen: '"+socket+"', token: "+adminToken))
	says := func(code int, text string, args ...string) {
		t.Helper()
		out, got := command(t, append([]string{"health"}, args...)...)
		if got != code || !strings.Contains(out, text) || strings.Count(out, "\n") != 1 {
			t.Errorf("health %q: exit code %d, %q; want %d and a line with %q", args, got, out, code, text)
		}
	}
	says(1, socket[len("unix:"):], "--config", file) // nobody there
	p := startCommand(t, "run", "--config", file)
	p.awaitListening()
	says(0, socket+": ready\n", "--config", file)
	says(0, socket+": ready\n", "--admin", socket)
	answered := make(chan reply, 1)
	go func() { answered <- p.get("/") }()
	reaches(t, o, func(r origin.Record) bool { return r.Total == 1 })
	p.signal(syscall.SIGTERM)
	p.stderr.await(p.exited, func(log string) bool { return strings.Contains(log, "stopping") })
	says(1, "503: not ready: it is draining", "--config", file)
	close(hold)
	(<-answered).must(t, 200)
	says(1, "no admin listener", "--config", writeFile(t, withAdmin(setup{origins: []*origin.Origin{o}}, "listen: off")))
}
