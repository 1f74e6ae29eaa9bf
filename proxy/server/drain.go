package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// acceptGrace is how long connections are still accepted after the word to
	// stop, so that those in the kernel's queue are answered and not reset.
	acceptGrace = 20 * time.Millisecond
	// keepAliveGrace is how long connections that wait for their next request
	// are kept, so that one that is on its way is answered, and told that it was
	// the last.
	keepAliveGrace = 500 * time.Millisecond
)

// gate is a listener that can be told to stop accepting.
type gate struct{ *net.TCPListener }

// shut lets the gate accept for another moment and then close.
func (g gate) shut() error { return g.SetDeadline(time.Now().Add(acceptGrace)) }

// Accept implements net.Listener. It gives io.EOF where the gate has shut. It
// closes the listener then and there: a connection that the kernel took after
// the last Accept would be reset.
func (g gate) Accept() (net.Conn, error) {
	c, err := g.TCPListener.Accept()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return c, err
	}
	// The end of the deadline may be noticed late, and Accept looks no more.
	if c := g.last(); c != nil {
		return c, nil
	}
	// The end of the deadline is what ends; a failure to close changes nothing.
	_ = g.Close()
	return nil, io.EOF
}

// last takes a connection out of the kernel's queue. Where there is none it
// shuts the queue in the same breath, and returns nil: a handshake that comes
// between the two is the only one that can still be reset.
func (g gate) last() net.Conn {
	raw, err := g.SyscallConn()
	if err != nil {
		return nil
	}
	fd := -1
	if raw.Control(func(listener uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, _, err = syscall.Accept(int(listener)); err != nil {
			// Close follows: it is too late to do anything about an error.
			_ = syscall.Shutdown(int(listener), syscall.SHUT_RD)
			return
		}
		syscall.CloseOnExec(fd)
	}) != nil || err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "queued connection")
	c, err := net.FileConn(f)
	// The connection has a descriptor of its own.
	_ = f.Close()
	if err != nil {
		return nil
	}
	return c
}

// Close implements net.Listener. A second Close does nothing.
func (g gate) Close() error {
	if err := g.TCPListener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// drain ends what Run began. served gives the end of the accept loop.
func (s *Server) drain(served <-chan error) error {
	timeout := s.now.Load().cfg.ShutdownTimeout
	s.log.Info("stopping", "timeout", timeout.String())
	s.notify("STOPPING=1", "STATUS=draining")
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s.keeper.finish(ctx)
	defer s.keeper.close() // where release has not
	s.handler.Drain()
	for _, h := range s.h2s {
		h.Drain()
	}
	var err error
	for i, e := range s.entrances {
		if s.sockets[i].shared {
			err = errors.Join(err, e.gate.Close()) // its queue is for whoever goes on with it
			continue
		}
		err = errors.Join(err, e.gate.shut())
	}
	for range s.entrances {
		if err == nil {
			err = <-served
		}
	}
	s.await(ctx, keepAliveGrace)
	s.door.CloseIdle()
	if !s.await(ctx, timeout) {
		// What is still under way uses the store and the pools: they end with
		// the process.
		s.log.Warn("requests in flight are broken off", "connections", s.door.Stats().Open)
		return err
	}
	s.keeper.close()
	err = errors.Join(err, s.release(ctx))
	err = errors.Join(err, s.closeAdmin())
	s.log.Info("stopped")
	return err
}

// await waits until all connections are closed, for so long at most, and says
// whether they are.
func (s *Server) await(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.door.Stats().Open > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// release frees what needs no listener.
func (s *Server) release(ctx context.Context) error {
	err := s.handler.Close(ctx)
	for _, e := range s.entrances {
		if e.certs != nil {
			e.certs.Close()
		}
	}
	for _, p := range s.now.Load().pools {
		p.Close()
	}
	if err != nil {
		return fmt.Errorf("fills under way: %w", err)
	}
	return nil
}
