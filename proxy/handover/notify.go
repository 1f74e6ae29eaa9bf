package handover

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	envNotify      = "NOTIFY_SOCKET"
	envWatchdog    = "WATCHDOG_USEC"
	envWatchdogPID = "WATCHDOG_PID"
)

// Notifier tells the service manager how things stand (sd_notify(3)). Its zero value
// tells nobody. It is safe for concurrent use.
type Notifier struct {
	socket   string // "" where nobody wants to know
	watchdog time.Duration
}

// NewNotifier returns what tells the service manager that the environment names, or
// nobody.
func NewNotifier() Notifier {
	return Notifier{socket: os.Getenv(envNotify), watchdog: watchdogOf(os.Getenv, os.Getpid())}
}

// watchdogOf is how often the process pid must be heard of, 0 where it need not
// (sd_watchdog_enabled(3)).
func watchdogOf(env func(string) string, pid int) time.Duration {
	if of := env(envWatchdogPID); of != "" && of != strconv.Itoa(pid) {
		return 0
	}
	micros, err := strconv.ParseInt(env(envWatchdog), 10, 64)
	if err != nil || micros <= 0 {
		return 0
	}
	return time.Duration(micros) * time.Microsecond
}

// Watchdog is how long the service manager waits to hear of the process before it
// takes it for dead; 0: it does not.
func (n Notifier) Watchdog() time.Duration {
	if n.socket == "" {
		return 0
	}
	return n.watchdog
}

// maxNotify bounds how long a message may take.
const maxNotify = time.Second

// Notify sends assignments such as READY=1 in one message, and does not wait for
// anything to be done about it.
func (n Notifier) Notify(assignments ...string) error {
	if n.socket == "" {
		return nil
	}
	// A name that begins with @ is in the abstract namespace; net knows it as well.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	// It was sent, or the error says why not.
	defer func() { _ = c.Close() }()
	if err := c.SetWriteDeadline(time.Now().Add(maxNotify)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	if _, err := c.Write([]byte(strings.Join(assignments, "\n"))); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// Reloading are the assignments that say that a reload begins: READY=1 ends it. The
// time is that of the system's monotonic clock, by which the service manager tells
// this reload from one before.
func Reloading() []string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return []string{"RELOADING=1"}
	}
	return []string{"RELOADING=1", "MONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/int64(time.Microsecond), 10)}
}
