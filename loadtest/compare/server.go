package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTime = 30 * time.Second // until a server answers
	stopTime  = 10 * time.Second // until one that is told to has ended
	keptText  = 16 << 10         // of what a server says, in bytes
)

// server is one that runs.
type server struct {
	name, addr string
	cmd        *exec.Cmd
	ended      chan struct{}
	text       *tail
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - keptText; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// start starts a server on these cores, and waits until it answers.
func start(ctx context.Context, name, addr string, command []string, on []int) (*server, error) {
	s := &server{name: name, addr: addr, cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{}), text: new(tail)}
	s.cmd.Stdout, s.cmd.Stderr = s.text, s.text
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for this process to deal with
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // what it says is in the text
	}()
	err := pin(s.cmd.Process.Pid, on)
	if err == nil {
		err = s.await(ctx)
	}
	for _, pid := range family(s.cmd.Process.Pid) { // those that it has started before it was pinned
		err = errors.Join(err, pin(pid, on))
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w: %s", name, err, s.text)
	}
	return s, nil
}

func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w", err)
		case <-s.ended:
			return errors.New("it has ended")
		case <-tick.C:
		}
	}
}

// stop ends the server, and those that it has started.
func (s *server) stop() {
	all := family(s.cmd.Process.Pid)
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
		for _, pid := range all {
			_ = syscall.Kill(pid, syscall.SIGKILL) // as above
		}
		<-s.ended
	}
}

// get asks for a target once.
func get(ctx context.Context, addr, target string) (body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", target, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// counted is how many requests a floor has answered.
func counted(ctx context.Context, addr string) (int64, error) {
	text, err := get(ctx, addr, countTarget)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// freeAddr is a loopback address that nobody listens on.
func freeAddr() (addr, port string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	addr = l.Addr().String()
	_, port, err = net.SplitHostPort(addr)
	return addr, port, errors.Join(err, l.Close())
}
