package singleflight

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailureBeforeTheVerdict(t *testing.T) {
	sick := func(context.Context, *Writer[string]) error { panic(errBroken) }
	quit := func(context.Context, *Writer[string]) error { runtime.Goexit(); return nil }
	release := func(context.Context, *Writer[string]) error { return ErrRelease }
	final := func(context.Context, *Writer[string]) error { return Final(errBroken) }
	silent := func(context.Context, *Writer[string]) error { return nil }
	good := respond(time.Second, Store, "body")
	tests := []struct {
		name      string
		elections int
		fills     []Fill[string] // of the readers in order
		runs      int64
		outcome   Outcome
		err       error
	}{
		{"one election by default", 0, []Fill[string]{breakDown(1), breakDown(1), good, good}, 2, Failed, errBroken},
		{"elected one succeeds", 0, []Fill[string]{breakDown(1), good, good, good}, 2, Ready, nil},
		{"two elections", 2, []Fill[string]{breakDown(1), sick, good, good}, 3, Ready, nil},
		{"never more than two", 9, []Fill[string]{sick, sick, sick, good}, 3, Failed, errBroken},
		{"no election", -1, []Fill[string]{breakDown(1), good, good, good}, 1, Failed, errBroken},
		{"final", 2, []Fill[string]{final, good, good, good}, 1, Failed, errBroken},
		{"panic", -1, []Fill[string]{sick, good, good, good}, 1, Failed, errBroken},
		{"goroutine exit", 2, []Fill[string]{quit, good, good, good}, 1, Failed, errExited},
		{"no verdict", -1, []Fill[string]{silent, good, good, good}, 1, Failed, ErrNoVerdict},
		{"release", 2, []Fill[string]{release, good, good, good}, 1, Released, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{Elections: tt.elections})
				var runs atomic.Int64
				rs := crowd(t, g, "k", len(tt.fills), func(i int) Fill[string] {
					return func(ctx context.Context, w *Writer[string]) error {
						runs.Add(1)
						pause(ctx, time.Second)
						return tt.fills[i](ctx, w)
					}
				})
				n := count(rs, func(r result) bool {
					return r.outcome == tt.outcome && errors.Is(r.err, tt.err) && (r.outcome != Ready || r.body == "body")
				})
				if n != len(rs) || runs.Load() != tt.runs {
					t.Errorf("%d as wanted after %d runs: %+v", n, runs.Load(), rs)
				}
			})
		})
	}
}

func TestElectedLeaderOwnsAPrivateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		rs := crowd(t, g, "k", 3, func(i int) Fill[string] {
			if i == 1 {
				return respond(0, Private, "one's own")
			}
			return breakDown(time.Second)
		})
		if rs[0].outcome != Released || rs[1].body != "one's own" || rs[2].outcome != Released {
			t.Errorf("%+v", rs)
		}
		if rs[0].leader || !rs[1].leader {
			t.Errorf("leadership did not pass: %+v", rs)
		}
	})
}

// TestWriterOfAFailedFill: what a failed fill left running cannot write into
// the log of the next.
func TestWriterOfAFailedFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		late := make(chan *Writer[string], 1)
		rs := crowd(t, g, "k", 2, func(i int) Fill[string] {
			return func(ctx context.Context, w *Writer[string]) error {
				if i == 0 {
					late <- w
					return breakDown(time.Second)(ctx, w)
				}
				old := <-late
				head := old.Head("old", Store)
				if err := respond(0, Store, "new")(ctx, w); err != nil {
					return err
				}
				_, write := io.WriteString(old, "old")
				if r, follow := old.Follow(); head != ErrOrder || write != ErrOrder || follow != ErrOrder || old.Body() != nil {
					t.Errorf("%v, %v, %v, %v", head, write, r, follow)
				}
				return nil
			}
		})
		if n := count(rs, func(r result) bool { return r.head == "head" && r.body == "new" }); n != 2 {
			t.Errorf("%+v", rs)
		}
	})
}

func TestPanicsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		g := newGroup(t, Options[string]{Elections: -1, OnPanic: func(key string, p *PanicError) {
			told = append(told, key+": "+p.Error())
		}})
		res := consume(join(t, g, "k", func(context.Context, *Writer[string]) error { panic("boom") }), time.Now())
		var p *PanicError
		if !errors.As(res.err, &p) || !bytes.Contains(p.Stack, []byte("TestPanicsAreReported")) || errors.Unwrap(p) != nil {
			t.Errorf("%v", res.err)
		}
		if !slices.Equal(told, []string{"k: singleflight: fill panicked: boom"}) || g.Stats().Panics != 1 {
			t.Errorf("told %q", told)
		}
	})
}

func TestFailureIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{FailureMemory: time.Second, MaxFailures: shardCount})
		if res := consume(join(t, g, "k", breakDown(0)), time.Now()); !errors.Is(res.err, errBroken) {
			t.Fatalf("%+v", res)
		}
		for _, tt := range []struct {
			after time.Duration
			err   error
		}{{0, errBroken}, {time.Second - 1, errBroken}, {1, nil}} {
			time.Sleep(tt.after)
			r, err := g.Join("k", respond(0, Store, ""))
			if !errors.Is(err, tt.err) {
				t.Errorf("Join after %v: %v", tt.after, err)
			}
			if err == nil {
				r.Close()
			}
		}
		if n := g.Stats().Remembered; n != 2 {
			t.Errorf("%d remembered", n)
		}
	})
}

func TestAbortAfterTheVerdict(t *testing.T) {
	tests := []struct {
		name string
		end  func(w *Writer[string]) error
		want error
	}{
		{"error", func(*Writer[string]) error { return errBroken }, errBroken},
		{"panic", func(*Writer[string]) error { panic(errBroken) }, errBroken},
		{"shorter than promised", func(*Writer[string]) error { return nil }, io.ErrUnexpectedEOF},
		{"shorter, by End", func(w *Writer[string]) error { return w.End() }, ErrLength},
		{"longer, by Write", func(w *Writer[string]) error { _, err := io.WriteString(w, "678"); return err }, ErrLength},
		{"longer, by ReadFrom", func(w *Writer[string]) error {
			_, err := w.ReadFrom(strings.NewReader("678"))
			return err
		}, ErrLength},
		{"source breaks", func(w *Writer[string]) error {
			_, err := w.ReadFrom(io.MultiReader(strings.NewReader("6"), failing{}))
			return err
		}, errBroken},
		{"release too late", func(*Writer[string]) error { return ErrRelease }, ErrRelease},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{})
				rs := crowd(t, g, "k", 3, same(func(ctx context.Context, w *Writer[string]) error {
					pause(ctx, time.Second) // until all have joined
					w.Head("head", Store)
					w.Grow(7)
					io.WriteString(w, "12345")
					return tt.end(w)
				}))
				n := count(rs, func(r result) bool {
					return r.outcome == Ready && strings.HasPrefix("1234567", r.body) && r.body >= "12345" &&
						errors.Is(r.err, tt.want) && r.err != io.EOF
				})
				if s := g.Stats(); n != 3 || s.Aborted != 1 || s.Elections != 0 {
					t.Errorf("%+v, %+v", rs, s)
				}
				again := join(t, g, "k", respond(0, Store, "whole"))
				if res := consume(again, time.Now()); res.body != "whole" {
					t.Errorf("afterwards %+v", res)
				}
			})
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }
