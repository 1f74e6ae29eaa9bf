package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// The paths that stand for what the process was given.
const (
	stdout = "stdout"
	stderr = "stderr"
)

// file is where lines go. One goroutine writes it and opens it anew; interrupt
// may be called by any.
type file struct {
	path string
	torn bool // a line was written in part

	mu          sync.Mutex // held while f is replaced
	f           *os.File
	interrupted bool
}

func openFile(path string) (*file, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	return &file{path: path, f: f}, nil
}

// open opens a path to append to it. A named pipe is opened to be read as well, so
// that it is there, and keeps what it has room for, while nobody reads it.
func open(path string) (*os.File, error) {
	switch path {
	case stdout:
		return os.Stdout, nil
	case stderr:
		return os.Stderr, nil
	}
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		flags = os.O_RDWR | syscall.O_NONBLOCK // which lets writes have a deadline
	}
	f, err := os.OpenFile(path, flags, 0o640)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: there is no such folder", path)
	}
	return f, err
}

// reopen goes on with the file that has the path now. Where it cannot be opened
// the old one stays.
func (o *file) reopen() error {
	f, err := open(o.path)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.f
	if f == old {
		return nil // stdout or stderr
	}
	o.f, o.torn = f, false
	if o.interrupted {
		o.expire()
	}
	return old.Close()
}

// write writes whole lines, and returns how many of them are written. After a
// part of one the next begins on a line of its own.
func (o *file) write(lines []byte) (int, error) {
	if o.torn {
		if _, err := o.f.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		o.torn = false
	}
	n, err := o.f.Write(lines)
	if err == nil {
		return bytes.Count(lines, newline), nil
	}
	o.torn = n > 0 && lines[n-1] != '\n'
	return bytes.Count(lines[:n], newline), err
}

var newline = []byte{'\n'}

// interrupt ends the write under way, and those to come, where the file is of a
// kind that can be waited for; else it reports false.
func (o *file) interrupt() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.interrupted = true
	return o.expire()
}

func (o *file) expire() bool { return o.f.SetWriteDeadline(time.Unix(1, 0)) == nil }

func (o *file) close() error {
	if o.path == stdout || o.path == stderr {
		return nil
	}
	return o.f.Close()
}
