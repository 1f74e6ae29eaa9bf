package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program is what takes the place of this process.
type Program struct {
	path string
	args []string // the first one is its name
}

// Self is the program of this process with its arguments, by the path that it was
// started by: what is there when it is started again is what runs then, be it behind
// a link or a new file. It is called before the process changes its folder. The error
// says that the path is not to be had.
func Self() (Program, error) {
	own, err := os.Executable()
	return self(os.Args, own, err)
}

// self is of a process that has these arguments and, unless the system does not tell,
// as where there is no /proc, this file.
func self(args []string, own string, unknown error) (Program, error) {
	p := Program{path: own, args: slices.Clone(args)}
	path, err := exec.LookPath(args[0])
	// The name may be anything that whoever started the process liked.
	switch {
	case err == nil && (unknown != nil || isSame(path, own)):
		p.path, err = filepath.Abs(path)
		return p, err
	case unknown != nil:
		return Program{}, unknown
	}
	return p, nil
}

func isSame(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// Successor is a process that was started to take the place of this one. The caller
// has it take over by HandOver, or ends it by End.
type Successor struct {
	cmd  *exec.Cmd
	conn net.Conn
}

// Ready is what a successor says when it serves.
type Ready struct {
	PID     int
	Version string
	// Dropped are the places of the sockets that it does not want.
	Dropped []int
}

// Start starts the program with the environment, the standard files and these
// sockets of this process, which goes on using them.
func (p Program) Start(sockets []Socket) (*Successor, error) {
	near, far, err := socketpair()
	if err != nil {
		return nil, err
	}
	// The process has descriptors of its own, or there is none.
	defer func() { _ = far.Close() }()
	cmd := exec.Command(p.path)
	cmd.Args = p.args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	names := make([]string, 0, len(sockets))
	for _, s := range sockets {
		f, err := fileOf(s.Listener)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s, err), near.Close())
		}
		defer func() { _ = f.Close() }()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		names = append(names, nameOf(s))
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, far)
	cmd.Env = append(environment(os.Environ()),
		envPredecessor+"="+strconv.Itoa(os.Getpid()),
		envCount+"="+strconv.Itoa(len(sockets)), envNames+"="+strings.Join(names, ":"))
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, near.Close())
	}
	return &Successor{cmd: cmd, conn: near}, nil
}

// environment leaves out what is said of this process alone. The watchdog's id is:
// without it the variable beside it holds for whoever has it.
func environment(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{envPID, envCount, envNames, envPredecessor, envWatchdogPID}, name)
	})
}

// fileOf returns another descriptor of a listener. The one of its File would make the
// socket block, in this process as well.
func fileOf(l net.Listener) (*os.File, error) {
	c, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T cannot be handed over", l)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	controlled := raw.Control(func(listener uintptr) {
		fd, err = unix.FcntlInt(listener, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(controlled, err); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// socketpair returns both ends of a connection, of which the child gets far.
func socketpair() (near net.Conn, far *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	far = os.NewFile(uintptr(fds[1]), "successor")
	if near, err = connOf(fds[0]); err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}

// maxReport bounds what is read of a successor.
const maxReport = 1 << 20

// Await waits until the process serves. The error says that it never will: it says
// so, has ended, or ctx is done, whose cause is in the error.
func (s *Successor) Await(ctx context.Context) (Ready, error) {
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })()
	var r report
	err := json.NewDecoder(io.LimitReader(s.conn, maxReport)).Decode(&r)
	switch {
	case ctx.Err() != nil:
		return Ready{}, context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return Ready{}, errEnded
	case err != nil:
		return Ready{}, fmt.Errorf("what it says is not understood: %w", err)
	case r.Error != "":
		return Ready{}, errors.New(r.Error)
	}
	return Ready{PID: s.cmd.Process.Pid, Version: r.Version, Dropped: r.Dropped}, nil
}

var errEnded = errors.New("it ended before it was ready")

// HandOver tells the process, which is ready, that the sockets are its own. After an
// error they are not.
func (s *Successor) HandOver() error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.conn, word); err != nil {
		return err
	}
	// It has been told, and is nobody's child now.
	_, _ = s.conn.Close(), s.cmd.Process.Release()
	return nil
}

// endGrace is how long a successor may take to end before it is killed: it may have
// accepted clients.
const endGrace = 5 * time.Second

// End ends the process, and returns how it ended once it has.
func (s *Successor) End() string {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// What it says is in the state.
		_ = s.cmd.Wait()
	}()
	// It may have ended by itself.
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.NewTimer(endGrace)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		_ = s.cmd.Process.Kill()
		<-ended
	}
	// Only now: a successor without a predecessor goes on by itself.
	_ = s.conn.Close()
	return s.cmd.ProcessState.String()
}
