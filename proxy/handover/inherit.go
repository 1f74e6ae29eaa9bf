// Package handover carries listening sockets from one process to the next, so that
// no client finds them closed: from a service manager to the proxy (socket
// activation, sd_listen_fds(3)), and from a running proxy to the program that takes
// its place. It also says to the service manager how things stand (sd_notify(3)).
package handover

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The environment by which sockets come. A predecessor cannot know the id of the
// process that it is about to start, and names its own.
const (
	envPID         = "LISTEN_PID"
	envCount       = "LISTEN_FDS"
	envNames       = "LISTEN_FDNAMES"
	envPredecessor = "RINGFENCE_PREDECESSOR"
)

const (
	firstFD = 3 // the first descriptor that is handed over
	maxFDs  = 1024
)

// Socket is a listening socket. Whoever holds it closes it.
type Socket struct {
	// Listener is a *net.TCPListener or a *net.UnixListener.
	Listener net.Listener
	// Name is the address as the configuration has it, host:port or unix: and a path;
	// of an activated socket what the service manager calls it, which may be "".
	Name string
	// Activated says that it is the service manager's, who goes on listening when this
	// process ends, and who looks after the file of a Unix socket.
	Activated bool
}

// String names the socket for people.
func (s Socket) String() string {
	address := addressOf(s.Listener)
	if s.Name == "" || s.Name == address {
		return address
	}
	return fmt.Sprintf("%s (%s)", s.Name, address)
}

// Inherited are the sockets that a process was started with. Its zero value has
// none. It is not safe for concurrent use.
type Inherited struct {
	sockets     []Socket // by descriptor; without a listener where it was taken
	dropped     []int    // those that nobody took
	predecessor net.Conn // nil without one
	pid         int      // of the predecessor
}

// Inherit takes over the sockets that the environment speaks of, and removes them
// from there, so that no child of this process takes them for its own. The error
// says which one is of no use; a predecessor has been told then. It is called once,
// before the process starts another one.
func Inherit() (*Inherited, error) {
	o, err := parseOffer(os.Getenv, os.Getpid(), os.Getppid())
	for _, name := range []string{envPID, envCount, envNames, envPredecessor} {
		err = errors.Join(err, os.Unsetenv(name))
	}
	if err != nil {
		return nil, err
	}
	in := &Inherited{pid: o.predecessor}
	if o.predecessor != 0 {
		if in.predecessor, err = connOf(firstFD + len(o.sockets)); err != nil {
			return nil, fmt.Errorf("the predecessor's connection: %w", err)
		}
	}
	for i, s := range o.sockets {
		if s.Listener, err = listenerOf(firstFD + i); err != nil {
			err = fmt.Errorf("inherited descriptor %d (%s): %w", firstFD+i, s.Name, err)
			in.Fail(err)
			return nil, errors.Join(err, in.close())
		}
		in.sockets = append(in.sockets, s)
	}
	return in, nil
}

// offer is what the environment says of sockets.
type offer struct {
	predecessor int      // its process id; 0: they are a service manager's
	sockets     []Socket // without listeners
}

// parseOffer reads the environment of the process pid, whose parent is ppid. What
// is for another process is disregarded.
func parseOffer(env func(string) string, pid, ppid int) (o offer, err error) {
	switch {
	case env(envPredecessor) == strconv.Itoa(ppid):
		o.predecessor = ppid
	case env(envPID) != strconv.Itoa(pid):
		return o, nil
	}
	n, err := strconv.Atoi(env(envCount))
	if err != nil || n < 0 || n > maxFDs {
		return offer{}, fmt.Errorf("%s: want a number up to %d, got %.20q", envCount, maxFDs, env(envCount))
	}
	names := make([]string, n)
	if text := env(envNames); text != "" {
		if names = strings.Split(text, ":"); len(names) != n {
			return offer{}, fmt.Errorf("%s: want %d names, got %d", envNames, n, len(names))
		}
	}
	for _, name := range names {
		s := Socket{Name: name, Activated: true}
		if bound, ok := strings.CutPrefix(name, boundPrefix); ok && o.predecessor != 0 {
			if s.Name, err = url.QueryUnescape(bound); err != nil {
				return offer{}, fmt.Errorf("%s: %w", envNames, err)
			}
			s.Activated = false
		}
		o.sockets = append(o.sockets, s)
	}
	return o, nil
}

// boundPrefix is what a predecessor writes before the address of a socket that it has
// bound itself; those of a service manager keep their names.
const boundPrefix = "bound@"

// nameOf is the inverse of what parseOffer does with a name.
func nameOf(s Socket) string {
	if s.Activated {
		return s.Name
	}
	return boundPrefix + url.QueryEscape(s.Name) // a colon ends a name
}

// listenerOf makes a listener of a descriptor, which is closed.
func listenerOf(fd int) (net.Listener, error) {
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "inherited socket")
	// The listener has a descriptor of its own.
	defer func() { _ = f.Close() }()
	listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if listens == 0 {
		return nil, errors.New("it is not a socket that listens for connections")
	}
	return net.FileListener(f)
}

// connOf makes a connection of a descriptor, which is closed.
func connOf(fd int) (net.Conn, error) {
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "predecessor")
	// The connection has a descriptor of its own.
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

// Take returns the socket for an address, host:port or unix: and a path; it is the
// caller's. First comes one that the predecessor had for the same text, so that a
// free port stays the same; then one that listens there.
func (in *Inherited) Take(address string) (Socket, bool) {
	i := slices.IndexFunc(in.sockets, func(s Socket) bool {
		return s.Listener != nil && !s.Activated && s.Name == address
	})
	if i < 0 {
		i = slices.IndexFunc(in.sockets, func(s Socket) bool {
			return s.Listener != nil && listensAt(s.Listener.Addr(), address)
		})
	}
	if i < 0 {
		return Socket{}, false
	}
	s := in.sockets[i]
	in.sockets[i].Listener = nil
	if !s.Activated {
		s.Name = address
	}
	return s, true
}

// Rest closes the sockets that nobody has taken. One of a service manager is an
// error that names it: its clients would wait for ever.
func (in *Inherited) Rest() (err error) {
	for i, s := range in.sockets {
		if s.Listener == nil {
			continue
		}
		if s.Activated {
			err = errors.Join(err, fmt.Errorf("the socket %s was handed over by the service manager, and the configuration has no listener with its address", s))
		}
		in.dropped = append(in.dropped, i)
	}
	return errors.Join(err, in.close())
}

// close closes what is left. Descriptors of Unix sockets leave the file alone.
func (in *Inherited) close() (err error) {
	for i, s := range in.sockets {
		if s.Listener != nil {
			err = errors.Join(err, s.Listener.Close())
			in.sockets[i].Listener = nil
		}
	}
	return err
}
