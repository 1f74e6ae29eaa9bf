package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ringfence/proxy"
	"ringfence/proxy/admin"
)

// write writes a snapshot in place of the one that is there, which stays until the
// new one is whole and on the disk. A gentle one takes at most a quarter of a core.
func (k *keeper) write(ctx context.Context, gentle bool) {
	began := time.Now()
	k.journal.Begin()
	done, err := k.replace(ctx, gentle)
	took := time.Since(began)
	switch {
	case err == nil:
		k.set(func(s *admin.SnapshotState) {
			s.Written, s.WriteTook, s.Last = time.Now(), took, done
			s.Writes++
		})
		k.log.Info("a snapshot of the memory tier is written", "objects", done.Entries, "bytes", done.Bytes, "took", took.String())
	case gentle && ctx.Err() != nil: // the last one is to come
	default:
		k.set(func(s *admin.SnapshotState) { s.WriteFails++ })
		k.log.Warn("the snapshot of the memory tier could not be written: the one before stays", "error", err)
	}
}

func (k *keeper) replace(ctx context.Context, gentle bool) (done proxy.SnapshotWritten, err error) {
	next := k.cfg.File + ".tmp"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return done, err
	}
	done, err = fill(ctx, file, k.handler, gentle)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(next, k.cfg.File)
	}
	if err != nil {
		return done, errors.Join(err, os.Remove(next))
	}
	if err := syncFolder(filepath.Dir(k.cfg.File)); err != nil {
		return done, err
	}
	return done, k.journal.Commit()
}

func fill(ctx context.Context, file *os.File, h *proxy.Handler, gentle bool) (proxy.SnapshotWritten, error) {
	w := &pacedFile{File: file, ctx: ctx, gentle: gentle, since: time.Now()}
	buffer := bufio.NewWriterSize(w, pace)
	done, err := h.WriteSnapshot(ctx, buffer)
	if err == nil {
		err = buffer.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	return done, err
}

const (
	// pace is how much is written between two rests, and syncAfter how much may wait
	// for the disk: what has gathered would hold others up when it is written at once.
	pace      = 256 << 10
	syncAfter = 16 << 20
)

// pacedFile is a file that is written as fast as its disk does, or, gently, with
// rests three times as long as the work between them.
type pacedFile struct {
	*os.File
	ctx    context.Context
	gentle bool
	since  time.Time // the last rest
	dirty  int
}

func (f *pacedFile) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var m int
		m, err = f.File.Write(b[:min(len(b), pace)])
		n, b = n+m, b[m:]
		if f.dirty += m; f.dirty >= syncAfter && err == nil {
			f.dirty, err = 0, f.Sync()
		}
		if f.gentle {
			f.rest()
		}
	}
	return n, err
}

// rest rests three times as long as the work since the last time took, and a second
// at most.
func (f *pacedFile) rest() {
	t := time.NewTimer(min(3*time.Since(f.since), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.ctx.Done(): // WriteSnapshot will see it
	}
	f.since = time.Now()
}

// syncFolder makes a renaming last.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// errLocked says that another process has a lock.
var errLocked = errors.New("another process has it")

// lockFile makes a file and locks it, for as long as it is open and the process
// lives.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file, nil
}
