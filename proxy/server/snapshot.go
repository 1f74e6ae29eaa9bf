package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"ringfence/proxy"
	"ringfence/proxy/admin"
	"ringfence/proxy/config"
	"ringfence/singleflight/redis"
)

const (
	// lockEvery is how often the snapshot's files are asked for while another
	// process, which is about to end, has them.
	lockEvery = 100 * time.Millisecond
	// maxCatchUp bounds how long the fleet is waited for: without it nothing is
	// known of what was invalidated meanwhile, and the tier stays empty.
	maxCatchUp = 10 * time.Second
)

// keeper keeps the snapshot of the memory tier: one goroutine reads what is there,
// then writes a new one now and then, and at the end. A nil keeper keeps none.
type keeper struct {
	cfg     config.Snapshot
	log     *slog.Logger
	journal *proxy.Journal
	handler *proxy.Handler

	lock   *os.File           // held from acquire until close
	past   proxy.Past         // what the journal had
	ctx    context.Context    // ends when the last one is to be written
	end    context.CancelFunc // which is bounded by last
	last   context.Context
	ending sync.WaitGroup

	mu    sync.Mutex
	state admin.SnapshotState
}

// newKeeper returns nil where there is no snapshot. It touches no file.
func newKeeper(cfg config.Snapshot, log *slog.Logger) *keeper {
	if cfg.File == "" {
		return nil
	}
	k := &keeper{cfg: cfg, log: log.With("snapshot", cfg.File), state: admin.SnapshotState{File: cfg.File, Phase: "waiting"}}
	k.journal = proxy.NewJournal(cfg.File+".purges", k.void)
	k.ctx, k.end = context.WithCancel(context.Background())
	return k
}

// void takes the snapshot away where it can no longer be said what was purged since.
func (k *keeper) void(err error) {
	k.log.Error("a purge could not be written down: the snapshot is given up", "error", errors.Join(err, os.Remove(k.cfg.File)))
}

// configure adds to the options of a handler what the snapshot needs of it.
func (k *keeper) configure(o *proxy.Options) {
	if k == nil {
		return
	}
	o.Journal = k.journal
	if o.Shared != nil {
		o.Shared.Resume = k.positions()
	}
}

// positions are where the fleet's invalidations go on. Where they cannot be read
// there is nothing to be loaded either.
func (k *keeper) positions() []redis.Position {
	file, size, err := k.open()
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // nothing was written
	o, err := proxy.ReadSnapshotOrigin(file, size)
	if err != nil {
		return nil
	}
	return o.Positions
}

// open opens the snapshot that is there.
func (k *keeper) open() (file *os.File, size int64, err error) {
	info, err := os.Stat(k.cfg.File)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, 0, err
	}
	if file, err = os.Open(k.cfg.File); err != nil {
		return nil, 0, err
	}
	if info, err = file.Stat(); err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// start begins to keep the snapshot of h, before its first request: from then on
// every purge is written down.
func (k *keeper) start(h *proxy.Handler) {
	if k == nil {
		return
	}
	k.handler = h
	if err := k.acquire(); err != nil {
		k.log.Warn("the snapshot is not in use: it waits for its files", "error", err)
	}
	k.ending.Go(k.run)
}

// acquire takes the files into use, where no other process has them.
func (k *keeper) acquire() (err error) {
	if k.lock, err = lockFile(k.cfg.File + ".lock"); err != nil {
		return err
	}
	if k.past, err = k.journal.Open(); err != nil {
		err = errors.Join(err, k.lock.Close())
		k.lock = nil
	}
	return err
}

// finish has the last snapshot written, for as long as last goes on. It does not
// wait for it: that is for close.
func (k *keeper) finish(last context.Context) {
	if k != nil {
		k.last = last
		k.end()
	}
}

// close waits for the end of the last snapshot, and gives the files up. finish came
// before, or start never did.
func (k *keeper) close() {
	if k == nil {
		return
	}
	k.end()
	k.ending.Wait()
	if k.lock == nil {
		return
	}
	if err := errors.Join(k.journal.Close(), k.lock.Close()); err != nil {
		k.log.Warn("the snapshot's files were not closed", "error", err)
	}
	k.lock = nil
}

func (k *keeper) run() {
	for k.lock == nil {
		if !k.rest(lockEvery) {
			return
		}
		_ = k.acquire() // it was told once
	}
	if !k.load() {
		return // the one that is there is the better one
	}
	k.set(func(s *admin.SnapshotState) { s.Phase = "ready" })
	for k.wait() {
		k.write(k.ctx, true)
	}
	k.write(k.last, false)
}

// wait waits until the next snapshot is due; it reports false where that is the
// last one.
func (k *keeper) wait() bool {
	if k.cfg.Interval == 0 {
		<-k.ctx.Done()
		return false
	}
	return k.rest(k.cfg.Interval)
}

// rest reports whether it rested for so long.
func (k *keeper) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-k.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// load stores again what the snapshot holds. It reports false where it was told to
// end before it had.
func (k *keeper) load() (whole bool) {
	began := time.Now()
	err := k.read()
	if k.ctx.Err() != nil {
		return false
	}
	took := time.Since(began)
	k.set(func(s *admin.SnapshotState) {
		s.LoadTook = took
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.Failure = err.Error()
		}
	})
	done := k.handler.View().Loaded
	log := k.log.With("objects", done.Entries, "bytes", done.Bytes, "took", took.String())
	for why, n := range done.Skipped {
		if n > 0 {
			log = log.With("skipped_"+proxy.Skip(why).String(), n)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k.log.Info("there is no snapshot of the memory tier yet")
	case err != nil:
		log.Warn("the snapshot of the memory tier was not loaded to its end", "error", err)
	default:
		log.Info("the snapshot of the memory tier is loaded")
	}
	return true
}

var errNotCaughtUp = errors.New("what was invalidated in the fleet since it was written cannot be known")

func (k *keeper) read() error {
	file, size, err := k.open()
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	o, err := proxy.ReadSnapshotOrigin(file, size)
	if err != nil {
		return err
	}
	for late := time.Now().Add(maxCatchUp); ; {
		ok, sure := k.handler.CanLoad(o)
		if ok {
			break
		}
		if sure || time.Now().After(late) || !k.rest(lockEvery) {
			return errNotCaughtUp
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	k.set(func(s *admin.SnapshotState) { s.Phase = "loading" })
	return k.handler.LoadSnapshot(k.ctx, file, size, k.past)
}

// set changes the state that is shown.
func (k *keeper) set(change func(*admin.SnapshotState)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.state)
}

// view returns the state; nil where there is no snapshot.
func (k *keeper) view() *admin.SnapshotState {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state
	return &s
}
