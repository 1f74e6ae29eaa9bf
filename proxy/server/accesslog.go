package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"ringfence/proxy/accesslog"
	"ringfence/proxy/config"
)

// newAccessLog opens the access log, or returns nil where there is none.
func newAccessLog(c config.AccessLog, log *slog.Logger) (*accesslog.Log, error) {
	if c.Path == "" {
		return nil, nil
	}
	format, err := accesslog.ParseFormat(c.Format)
	if err != nil {
		return nil, fmt.Errorf("access_log.format: %w", err)
	}
	l, err := accesslog.New(accesslog.Options{
		Path: c.Path, Format: format, OnlyErrors: c.Only == config.AccessErrors, Sample: c.Sample,
		Buffer: int(c.Buffer), Flush: c.Flush, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("access_log.path: %w", err)
	}
	return l, nil
}

// maxLastLines bounds how long the last lines of the access log may take.
const maxLastLines = 2 * time.Second

// openAccessLog has the access log written, and its file opened anew at each
// SIGUSR1, until the function it returns is called. Without an access log the
// signal does nothing, where it would end the process.
func (s *Server) openAccessLog() (end func()) {
	if l := s.now.Load().access; l != nil {
		l.Start()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	var watching sync.WaitGroup
	watching.Go(func() {
		for range signals {
			if l := s.now.Load().access; l != nil {
				l.Reopen()
			}
		}
	})
	return func() {
		s.closeAccessLog()
		signal.Stop(signals)
		close(signals)
		watching.Wait()
	}
}

func (s *Server) closeAccessLog() { s.endAccessLog(s.now.Load().access) }

func (s *Server) endAccessLog(l *accesslog.Log) {
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxLastLines)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		s.log.Warn("the access log is not complete", "error", err)
	}
}
