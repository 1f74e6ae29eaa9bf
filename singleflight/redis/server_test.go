package redis

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a real engine in a process of its own.
type server struct {
	t    testing.TB
	addr string
	dir  string
	args []string
	cmd  *exec.Cmd

	began time.Time
}

// startServer runs a redis-server until the test ends. A test that cannot have
// one fails: make test installs it.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: l.Addr().String(), dir: t.TempDir(), args: args}
	l.Close()
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) port() string { _, p, _ := net.SplitHostPort(s.addr); return p }

func (s *server) start() {
	s.t.Helper()
	s.startAgain()
	s.waitReady()
}

// startAgain runs the process, which may be loading for a while.
func (s *server) startAgain() {
	args := []string{"--port", s.port(), "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no"}
	if len(s.args) == 1 { // a sentinel's configuration
		args = append([]string{s.args[0]}, append(args, "--sentinel")...)
	} else {
		args = append(append(args, "--save", ""), s.args...)
	}
	s.cmd, s.began = exec.Command("redis-server", args...), time.Now()
	log, err := os.Create(s.dir + "/log")
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redis-server: %v (make deps installs it)", err)
	}
}

func (s *server) waitReady() {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		if got, err := s.command("PING"); err == nil && (got == "+PONG" || strings.HasPrefix(got, "-NOAUTH")) {
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(s.dir + "/log")
			s.t.Fatalf("redis-server does not answer: %s", text)
		}
		pauseFor(2 * time.Millisecond)
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) pause()  { s.signal(syscall.SIGSTOP) }
func (s *server) resume() { s.signal(syscall.SIGCONT) }

func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// command sends one command, apart from the package under test, and gives the
// reply's lines.
func (s *server) command(words ...string) (string, error) {
	c, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(w), w)
	}
	return readReply(bufio.NewReader(c))
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if err != nil || line == "" {
		return line, err
	}
	n, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '$':
		if n < 0 {
			return "", nil
		}
		b := make([]byte, n+2)
		for at := 0; at < len(b); {
			k, err := r.Read(b[at:])
			if err != nil {
				return "", err
			}
			at += k
		}
		return string(b[:n]), nil
	case '*':
		var all []string
		for range n {
			one, err := readReply(r)
			if err != nil {
				return "", err
			}
			all = append(all, one)
		}
		return strings.Join(all, "\n"), nil
	}
	return line, nil
}

// must is command for what has to go well.
func (s *server) must(words ...string) string {
	s.t.Helper()
	got, err := s.command(words...)
	if err != nil || strings.HasPrefix(got, "-") {
		s.t.Fatalf("%q: %q, %v", words, got, err)
	}
	return got
}

// asked is how often a script was called, or a channel subscribed to, since the
// last CONFIG RESETSTAT, on some request's account: not by beats, each of which
// sets one field.
func (s *server) asked() int {
	stats := s.must("INFO", "commandstats")
	calls := func(command string) int {
		_, rest, _ := strings.Cut(stats, "cmdstat_"+command+":calls=")
		n, _, _ := strings.Cut(rest, ",")
		k, _ := strconv.Atoi(n)
		return k
	}
	return calls("evalsha") + calls("eval") + calls("ssubscribe") - calls("hset")
}

// pauseFor waits in real time, outside any bubble: for another process.
func pauseFor(d time.Duration) {
	<-time.After(d)
}

// eventually waits for a condition that another process brings about.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; pauseFor(2 * time.Millisecond) {
		if ok() {
			return time.Since(began)
		}
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
