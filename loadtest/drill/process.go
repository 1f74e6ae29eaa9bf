package drill

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	// stopTime is how long a process may take to end by itself.
	stopTime = 10 * time.Second
	// keptLog bounds what is kept of a process's output, in bytes.
	keptLog = 4 << 20
)

// process is a child. Its methods may be called by several goroutines.
type process struct {
	cmd    *exec.Cmd
	log    *output
	exited chan struct{}
}

// startProcess runs a program until it ends or is killed.
func startProcess(program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), log: newOutput(), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // stop and kill wait for it, and how it ended is in its state
	}()
	return p, nil
}

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

func (p *process) freeze() error { return p.signal(syscall.SIGSTOP) }
func (p *process) thaw() error   { return p.signal(syscall.SIGCONT) }

// kill ends the process at once, a stopped one too, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error says that it has ended
	<-p.exited
}

// stop asks the process to end, and kills it where it does not. It reports
// whether it ended well.
func (p *process) stop() bool {
	_ = p.thaw() // an error says that it has ended
	_ = p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode() == 0
	case <-time.After(stopTime):
		p.kill()
		return false
	}
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// output keeps the first keptLog bytes of what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newOutput() *output { return &output{} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := keptLog - o.text.Len(); room > 0 {
		o.text.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail is the last of it, for an error.
func (o *output) tail() string {
	s := o.String()
	return s[max(0, len(s)-1000):]
}
