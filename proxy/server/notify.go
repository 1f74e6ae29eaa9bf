package server

import (
	"strings"
	"sync"
	"time"
)

// notify tells the service manager, if there is one, how things stand.
func (s *Server) notify(assignments ...string) {
	if err := s.notifier.Load().Notify(assignments...); err != nil {
		s.log.Warn("the service manager does not hear of this process", "error", err)
	}
}

// notifyReady says that clients are served, and goes on saying that the process is
// alive, where that is wanted, until end is called.
func (s *Server) notifyReady() (end func()) {
	s.notify("READY=1", s.serving())
	within := s.notifier.Load().Watchdog()
	if within == 0 {
		return func() {}
	}
	stop := make(chan struct{})
	var alive sync.WaitGroup
	alive.Go(func() {
		tick := time.NewTicker(within / 2)
		defer tick.Stop()
		for {
			s.notify("WATCHDOG=1")
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(stop)
		alive.Wait()
	}
}

// serving is the line that the service manager shows.
func (s *Server) serving() string { return "STATUS=serving on " + strings.Join(s.Addrs(), " ") }
