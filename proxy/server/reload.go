package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"syscall"
	"time"

	"ringfence/proxy/admin"
	"ringfence/proxy/config"
	"ringfence/proxy/handover"
	"ringfence/proxy/watch"
	"ringfence/singleflight/redis"
)

// reloads are how the configuration is read again.
type reloads struct {
	file  string         // "" for a server without one
	level *slog.LevelVar // of the log; nil: fixed
	asks  chan chan<- admin.Reloaded
	ended chan struct{} // closed when nobody takes asks any more
	seen  string        // hash of the text that was looked at last, be it good or not

	mu     sync.Mutex
	counts admin.Reloads
}

func newReloads() *reloads {
	return &reloads{
		asks: make(chan chan<- admin.Reloaded), ended: make(chan struct{}),
		counts: admin.Reloads{LastOK: true, LastSuccess: time.Now()},
	}
}

func (r *reloads) state() admin.Reloads {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// note counts a reload.
func (r *reloads) note(done admin.Reloaded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.By[done.Result]++
	r.counts.LastOK = done.Err == nil
	if done.Err == nil {
		r.counts.LastSuccess = time.Now()
	}
}

// Follow has the server, which was built from doc.Config, take over what changes in
// the file of doc: on SIGHUP, when it is told to by Reload, and, where
// config.Reload.Watch says so, when the file changes. level takes log.level; nil: it
// stays. It must come before Run.
func (s *Server) Follow(doc config.Document, level *slog.LevelVar) {
	s.reloads.file, s.reloads.seen, s.reloads.level = doc.File, doc.Hash, level
	now := *s.now.Load()
	now.hash = doc.Hash
	s.now.Store(&now)
}

var (
	errNoFile   = errors.New("this process runs without a configuration file")
	errStopping = errors.New("the proxy does not take another configuration: it is starting or stopping")
)

// Reload reads the configuration file again, and returns when that counts. It waits
// for others before it, until ctx is done.
func (s *Server) Reload(ctx context.Context) admin.Reloaded {
	if s.reloads.file == "" {
		return admin.Reloaded{Result: admin.ReloadFailure, Err: errNoFile}
	}
	answer := make(chan admin.Reloaded, 1)
	select {
	case s.reloads.asks <- answer:
		return <-answer
	case <-s.reloads.ended:
		return admin.Reloaded{Result: admin.ReloadFailure, Err: errStopping}
	case <-ctx.Done():
		return admin.Reloaded{Result: admin.ReloadFailure, Err: context.Cause(ctx)}
	}
}

// hangups gives the SIGHUPs from now on, until end is called. Without a file there
// are none, and the signal ends the process.
func (s *Server) hangups() (signals chan os.Signal, end func()) {
	signals = make(chan os.Signal, 1)
	if s.reloads.file != "" {
		signal.Notify(signals, syscall.SIGHUP)
	}
	return signals, func() { signal.Stop(signals) }
}

// pollInterval is how often the file is read even if nothing tells of a change.
const pollInterval = time.Minute

// follow reloads when it is time to, until end is called, which waits for the
// reload under way.
func (s *Server) follow(hangups <-chan os.Signal) (end func()) {
	if s.reloads.file == "" {
		return func() {}
	}
	ctx, stop := context.WithCancel(context.Background())
	changed := make(chan struct{}, 1)
	var running sync.WaitGroup
	running.Go(func() {
		late := false
		watch.Files(ctx, []string{s.reloads.file}, nil, func(lost error) time.Duration {
			if lost != nil && !late {
				s.log.Warn("changes of the configuration may be seen late", "file", s.reloads.file, "error", lost)
			}
			late = lost != nil
			select {
			case changed <- struct{}{}:
			default: // the file is about to be read
			}
			return pollInterval
		})
	})
	running.Go(func() {
		defer close(s.reloads.ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				s.reload(ctx, "SIGHUP")
			case answer := <-s.reloads.asks:
				answer <- s.reload(ctx, "admin")
			case <-changed:
				if s.now.Load().cfg.Reload.Watch && s.isNew() {
					s.reload(ctx, "file")
				}
			}
		}
	})
	return func() {
		stop()
		running.Wait()
	}
}

// isNew reports whether the file holds something else than when it was looked at
// last, be it good or not.
func (s *Server) isNew() bool {
	text, err := config.ReadFile(s.reloads.file)
	return seenOf(text, err) != s.reloads.seen
}

func seenOf(text []byte, err error) string {
	if err != nil {
		return err.Error()
	}
	return config.Hash(text)
}

// reload reads the file and takes it over, or leaves all as it is. One goroutine
// calls it.
func (s *Server) reload(ctx context.Context, cause string) admin.Reloaded {
	s.notify(handover.Reloading()...)
	done := s.tryReload(ctx)
	s.notify("READY=1", s.serving())
	s.reloads.note(done)
	log := s.log.With("cause", cause, "file", s.reloads.file)
	switch done.Result {
	case admin.ReloadSuccess:
		log.Info("configuration reloaded", "hash", done.Hash, "changes", done.Changes)
	case admin.ReloadUnchanged:
		log.Info("configuration unchanged", "hash", done.Hash)
	default:
		log.Error("configuration not reloaded, the one of before stays", "error", done.Err)
	}
	return done
}

func (s *Server) tryReload(ctx context.Context) admin.Reloaded {
	was := s.now.Load()
	failed := func(err error) admin.Reloaded {
		return admin.Reloaded{Result: admin.ReloadFailure, Hash: was.hash, Err: err}
	}
	text, err := config.ReadFile(s.reloads.file)
	s.reloads.seen = seenOf(text, err)
	if err != nil {
		return failed(err)
	}
	doc, err := config.ParseDocument(s.reloads.file, text)
	if err != nil {
		return failed(err)
	}
	changes := config.Diff(was.cfg, doc.Config)
	if err := doc.Refuse(changes); err != nil {
		return failed(err)
	}
	c, err := s.prepare(was, doc)
	if err != nil {
		return failed(err)
	}
	for _, e := range s.entrances {
		if e.certs != nil {
			e.certs.Refresh()
		}
	}
	s.noteShared(was.shared, c.opts.Shared)
	if c.isNothing(changes) {
		next := *was
		next.hash = doc.Hash
		s.now.Store(&next)
		return admin.Reloaded{Result: admin.ReloadUnchanged, Hash: doc.Hash}
	}
	s.apply(ctx, was, c)
	s.Warn(doc)
	done := admin.Reloaded{Result: admin.ReloadSuccess, Hash: doc.Hash}
	for _, c := range changes {
		done.Changes = append(done.Changes, c.String())
	}
	if len(changes) == 0 {
		for name := range c.changed {
			done.Changes = append(done.Changes, "~ upstreams."+name+": what its TLS files hold")
		}
	}
	return done
}

// noteShared says so where what the engine is reached by is not what is in the
// files any more: it is read at the start alone.
func (s *Server) noteShared(was, is *redis.Options) {
	if was == nil || is == nil {
		return
	}
	same := was.Password == is.Password
	if a, b := was.TLS, is.TLS; same && a != nil && b != nil {
		same = reflect.DeepEqual(a.Certificates, b.Certificates) && (a.RootCAs == nil || a.RootCAs.Equal(b.RootCAs))
	}
	if !same {
		s.log.Warn("the fleet's engine is reached by the password and certificates of the start; a restart takes those that are in their files now")
	}
}
