package singleflight

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFollow: a fill can read what it writes, as others do, and beside them.
func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		name    string
		verdict Verdict
		end     func(*Writer[string])
		outcome Outcome
		err     error
		body    string
	}{
		{"stored", Store, func(w *Writer[string]) { _ = w.End() }, Ready, nil, "body"},
		{"shared", Share, func(w *Writer[string]) { _ = w.End() }, Ready, nil, "body"},
		{"cut short", Store, func(w *Writer[string]) { w.Abort(errBroken) }, Ready, errBroken, "body"},
		{"private", Private, func(w *Writer[string]) { _ = w.End() }, Released, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{MaxReaders: 1})
				var seen strings.Builder
				var outcome Outcome
				var err error
				over := make(chan struct{})
				rs := crowd(t, g, "k", 1, same(func(ctx context.Context, w *Writer[string]) error {
					defer close(over)
					r, err2 := w.Follow()
					if err2 != nil {
						return err2
					}
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						defer r.Close()
						if _, outcome, err = r.Wait(ctx); outcome == Ready {
							_, err = r.WriteTo(&seen)
						}
					}()
					pause(ctx, time.Second)
					w.Head("head", tt.verdict)
					io.WriteString(w, "body")
					tt.end(w)
					<-ended // before the fill has returned
					return nil
				}))
				<-over
				if outcome != tt.outcome || !errors.Is(err, tt.err) || seen.String() != tt.body {
					t.Errorf("%v, %v, %q", outcome, err, seen.String())
				}
				if rs[0].body != "body" || !rs[0].leader {
					t.Errorf("the reader: %+v", rs[0])
				}
			})
		})
	}
}

// TestReadWithin: a reader that has something else to do is told when nothing
// has come; Abort ends a body for it before the fill returns.
func TestReadWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		var began time.Time
		b := make([]byte, 10)
		r, err := g.Join("k", func(ctx context.Context, w *Writer[string]) error {
			w.Abort(errBroken)      // nothing to abort yet
			time.Sleep(time.Second) // the reader waits
			began = time.Now()
			w.Head("head", Store)
			time.Sleep(time.Second)
			io.WriteString(w, "some")
			time.Sleep(time.Second)
			w.Abort(errBroken)
			return pause(ctx, time.Hour)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, outcome, err := r.Wait(t.Context()); outcome != Ready {
			t.Fatal(outcome, err)
		}
		for i, want := range []struct {
			within, at time.Duration
			n          int
			err        error
		}{
			{0, linger, 0, nil}, {300 * time.Millisecond, linger + 300*time.Millisecond, 0, nil},
			{time.Minute, time.Second, 4, nil}, {0, time.Second, 0, nil}, {time.Minute, 2 * time.Second, 0, errBroken},
		} {
			n, err := r.ReadWithin(b, want.within)
			if n != want.n || !errors.Is(err, want.err) || time.Since(began) != want.at {
				t.Errorf("read %d: %d, %v after %v", i, n, err, time.Since(began))
			}
		}
		if s := g.Stats(); s.Silent != 0 {
			t.Errorf("%+v", s)
		}
	})
}
