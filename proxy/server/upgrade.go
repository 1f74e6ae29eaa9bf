package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"ringfence/proxy/admin"
	"ringfence/proxy/handover"
)

// upgrades are how another program takes the place of this one.
type upgrades struct {
	version   string
	program   *handover.Program // nil: nothing can take its place
	inherited *handover.Inherited
	signals   chan os.Signal
	over      chan struct{} // closed when the successor has taken over
	failed    atomic.Uint64
	running   sync.WaitGroup

	mu   sync.Mutex
	busy bool            // one is under way
	ctx  context.Context // of all upgrades; nil before there may be any
	stop context.CancelFunc
}

func newUpgrades(version string) *upgrades {
	return &upgrades{
		version: version, inherited: new(handover.Inherited),
		signals: make(chan os.Signal, 1), over: make(chan struct{}),
	}
}

// Succeed has the server listen on the sockets that the process was started with,
// say to whoever started it how things stand, and give way to a new start of its own
// program on SIGUSR2, or when it is told to by Upgrade; where that program is not to
// be found, the log says so and there are no upgrades. It must come before Listen.
func (s *Server) Succeed(in *handover.Inherited) {
	if program, err := handover.Self(); err == nil {
		s.upgrades.program = &program
	} else {
		s.log.Warn("no upgrades: the program's own path is unknown", "error", err)
	}
	s.upgrades.inherited = in
	notifier := handover.NewNotifier()
	s.notifier.Store(&notifier)
	signal.Notify(s.upgrades.signals, syscall.SIGUSR2)
}

// socket is a listening socket, and who else has it.
type socket struct {
	handover.Socket
	shared bool // another process goes on with it when this one ends
}

// open returns the listener for an address: one that the process was started with,
// or a new one.
func (s *Server) open(address string, listen func() (net.Listener, error)) (net.Listener, error) {
	if inherited, ok := s.upgrades.inherited.Take(address); ok {
		s.sockets = append(s.sockets, &socket{inherited, true})
		return inherited.Listener, nil
	}
	l, err := listen()
	if err != nil {
		return nil, err
	}
	s.sockets = append(s.sockets, &socket{handover.Socket{Listener: l, Name: address}, false})
	return l, nil
}

// own says whether this process is the last to have a socket, and so looks after the
// file of a Unix socket.
func (k *socket) own(is bool) {
	k.shared = !is
	if l, ok := k.Listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(is)
	}
}

// succeeds reports whether a process of this program is about to hand over.
func (u *upgrades) succeeds() bool { return u.inherited.Predecessor() != 0 }

// handedOver reports whether a successor serves.
func (u *upgrades) handedOver() bool {
	select {
	case <-u.over:
		return true
	default:
		return false
	}
}

// takeOver makes the sockets of a predecessor this process's own. From then on there
// may be upgrades.
func (s *Server) takeOver(ctx context.Context) error {
	u := s.upgrades
	if err := u.inherited.TakeOver(ctx, u.version); err != nil {
		if ctx.Err() != nil {
			return nil // told to end
		}
		return err
	}
	for _, k := range s.sockets {
		k.own(!k.Activated)
	}
	if u.succeeds() {
		s.log.Info("took over", "from", u.inherited.Predecessor())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ctx, u.stop = context.WithCancel(context.Background())
	return nil
}

// followUpgrades upgrades on SIGUSR2 until end is called, which breaks off the
// upgrade under way, and waits for that.
func (s *Server) followUpgrades() (end func()) {
	u := s.upgrades
	ended := make(chan struct{})
	u.running.Go(func() {
		for {
			select {
			case <-u.signals:
				// It may be refused, while it is under way. The log has what came of it.
				u.running.Go(func() { s.Upgrade() })
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		u.close()
		u.running.Wait()
		signal.Stop(u.signals)
	}
}

// close lets no upgrade begin, and breaks off the one under way.
func (u *upgrades) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx != nil {
		u.stop()
		u.ctx = nil
	}
}

var (
	errFixed   = errors.New("this process was not started by run, or does not know its own program: nothing can take its place")
	errClosed  = errors.New("the proxy gives way to no other process: it is starting or stopping")
	errBusy    = errors.New("an upgrade is under way")
	errStopped = errors.New("the proxy was told to stop")
	errLate    = errors.New("it was not ready in time (upgrade_timeout)")
)

// begin reports why there can be no upgrade now. Else the caller ends it by done.
func (u *upgrades) begin() (ctx context.Context, done func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.program == nil:
		return nil, nil, errFixed
	case u.ctx == nil:
		return nil, nil, errClosed
	case u.busy:
		return nil, nil, errBusy
	}
	u.busy = true
	u.running.Add(1)
	return u.ctx, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.busy = false
		u.running.Done()
	}, nil
}

// Upgrade starts the program anew with all listening sockets, waits until it serves,
// for as long as the configuration says, and has this process drain. Where that
// fails the other process has ended, and nothing has changed.
func (s *Server) Upgrade() admin.Upgraded {
	u := s.upgrades
	ctx, done, err := u.begin()
	if err != nil {
		s.log.Warn("no upgrade", "error", err)
		return admin.Upgraded{Refused: true, Err: err}
	}
	defer done()
	next, err := s.replace(ctx)
	if err != nil {
		u.failed.Add(1)
		s.log.Error("the upgrade failed, this process goes on", "error", err)
		return admin.Upgraded{Err: err}
	}
	s.log.Info("another process has taken over", "pid", next.PID, "version", next.Version)
	return admin.Upgraded{
		Old: admin.Process{PID: os.Getpid(), Version: u.version},
		New: admin.Process{PID: next.PID, Version: next.Version},
	}
}

// replace has a new process take over.
func (s *Server) replace(ctx context.Context) (handover.Ready, error) {
	timeout := s.now.Load().cfg.UpgradeTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errLate)
	defer cancel()
	offered := make([]handover.Socket, len(s.sockets))
	for i, k := range s.sockets {
		offered[i] = k.Socket
	}
	s.log.Info("upgrading", "timeout", timeout.String())
	next, err := s.upgrades.program.Start(offered)
	if err != nil {
		return handover.Ready{}, fmt.Errorf("start the new process: %w", err)
	}
	ready, err := next.Await(ctx)
	if err == nil {
		// By now, since it listens to none but the main process.
		s.notify(fmt.Sprintf("MAINPID=%d", ready.PID))
		if err = next.HandOver(); err != nil {
			s.notify(fmt.Sprintf("MAINPID=%d", os.Getpid()))
		}
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			err = errStopped
		}
		return handover.Ready{}, fmt.Errorf("the new process: %w (%s)", err, next.End())
	}
	s.leave(ready.Dropped)
	return ready, nil
}

// leave begins the end of this process, whose sockets are a successor's now but for
// those that it dropped. Operators reach the successor from here on; those who wait
// for an answer still get it.
func (s *Server) leave(dropped []int) {
	for _, k := range s.sockets {
		k.own(false)
	}
	for _, i := range dropped {
		if i >= 0 && i < len(s.sockets) {
			s.sockets[i].own(!s.sockets[i].Activated)
		}
	}
	s.notifier.Store(new(handover.Notifier))
	if s.admin != nil {
		s.admin.Retire()
		// It is closed for this process, whatever comes of it.
		_ = s.adminListener.Close()
	}
	s.upgrades.close()
	close(s.upgrades.over)
}
