package main_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// family is a process and those that take its place: what they are reached by stays.
type family struct {
	*process
	program, file string // which the test may replace
	pid           int    // of the one that serves
	ended         chan struct{}
}

// found starts a family on a configuration, by a link to the binary. words come
// before its path on the command line, and variables are added to the environment,
// in which files are inherited from descriptor 3 on.
func found(t *testing.T, yaml string, words, variables []string, files ...*os.File) *family {
	t.Helper()
	f := &family{program: filepath.Join(t.TempDir(), "proxy"), file: writeFile(t, yaml), ended: make(chan struct{})}
	if err := os.Symlink(binary, f.program); err != nil {
		t.Fatal(err)
	}
	f.process = &process{t: t, stdout: newOutput(), stderr: newOutput(), exited: make(chan struct{}), client: client}
	words = append(words, f.program, "run", "--config", f.file)
	f.cmd = exec.Command(words[0], words[1:]...)
	f.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=20"), variables...)
	f.cmd.ExtraFiles = files
	// Whoever is left writes to it, whatever becomes of the first one.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	f.cmd.Stderr = w
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	f.pid = f.cmd.Process.Pid
	go func() {
		defer close(f.exited)
		_ = f.cmd.Wait() // the exit code is what tells
	}()
	go func() {
		defer close(f.ended)
		_, _ = io.Copy(f.stderr, r)
		_ = r.Close()
	}()
	t.Cleanup(f.finish)
	return f
}

func foundListening(t *testing.T, yaml string) *family {
	t.Helper()
	f := found(t, yaml, nil, nil)
	f.awaitListening()
	return f
}

// finish ends them all, and looks for what none of them may have said.
func (f *family) finish() {
	last := f.cmd.Process.Pid
	for _, m := range regexp.MustCompile(`"another process has taken over","pid":(\d+)`).FindAllStringSubmatch(f.stderr.String(), -1) {
		last, _ = strconv.Atoi(m[1])
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(last, s) // it may have ended by itself
		select {
		case <-f.ended:
			if log := f.stderr.String(); strings.Contains(log, "panic") || strings.Contains(log, "DATA RACE") || f.t.Failed() {
				f.t.Errorf("the log:\n%s", log[max(0, len(log)-4000):])
			}
			return
		case <-time.After(soon):
			f.t.Errorf("not all have ended after %v", s)
		}
	}
}

var handedOver = regexp.MustCompile(`^process (\d+) \(.+\) serves; process (\d+) \(.+\) ends what it has begun\n$`)

// upgrade runs the command and notes who serves.
func (f *family) upgrade() {
	f.t.Helper()
	out, code := command(f.t, "upgrade", "--admin", f.admin)
	m := handedOver.FindStringSubmatch(out)
	if code != 0 || m == nil || m[2] != strconv.Itoa(f.pid) || m[1] == m[2] {
		f.t.Fatalf("%d %s, of process %d", code, out, f.pid)
	}
	f.pid, _ = strconv.Atoi(m[1])
}

// serving asks over a new connection who serves operators.
func (f *family) serving() (pid int) {
	r := f.operate("GET /api/status")
	_, after, _ := strings.Cut(r.body, `"pid": `)
	_, _ = fmt.Sscan(after, &pid)
	return pid
}

// sockets counts those of the process that serves.
func (f *family) sockets() (n int) {
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", f.pid))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, fd := range all {
		if of, _ := os.Readlink(fd); strings.HasPrefix(of, "socket:") {
			n++
		}
	}
	return n
}
