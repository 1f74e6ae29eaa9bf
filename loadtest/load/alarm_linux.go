package load

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm sleeps with the system's precision, some 50 µs, and without keeping a core from
// other goroutines, as a system call that sleeps would: the runtime waits for the timer
// as it does for connections.
type alarm struct {
	fd   int
	file *os.File // nil: there is no such timer
}

func newAlarm() *alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return new(alarm)
	}
	return &alarm{fd, os.NewFile(uintptr(fd), "timer")}
}

func (a *alarm) close() {
	if a.file != nil {
		_ = a.file.Close() // nothing was written
	}
}

func (a *alarm) sleep(d time.Duration) {
	if a.file != nil && unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil) == nil {
		var count [8]byte
		if _, err := a.file.Read(count[:]); err == nil {
			return
		}
	}
	time.Sleep(d)
}
