package singleflight

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// source gives n bytes, each a function of its place, as fast as they are read.
type source struct{ at, n int64 }

func (s *source) Read(p []byte) (int, error) {
	if s.at == s.n {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.n-s.at)]
	for i := range p {
		p[i] = byteAt(s.at + int64(i))
	}
	s.at += int64(len(p))
	return len(p), nil
}

func byteAt(i int64) byte { return byte(i*7 + i>>13) }

// sink checks a body against its source as it comes, resting after each write.
type sink struct {
	at   int64
	bad  bool
	rest time.Duration
	last time.Duration // the longest time between two writes
	prev time.Time
}

func (s *sink) Write(p []byte) (int, error) {
	if now := time.Now(); !s.prev.IsZero() {
		s.last = max(s.last, now.Sub(s.prev))
	}
	if s.rest > 0 {
		time.Sleep(s.rest)
	}
	s.prev = time.Now()
	for i, c := range p { // only now: p must not have changed meanwhile
		s.bad = s.bad || c != byteAt(s.at+int64(i))
	}
	s.at += int64(len(p))
	return len(p), nil
}

func stream(n, promise int64, v Verdict) Fill[string] {
	return func(ctx context.Context, w *Writer[string]) error {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		if err := w.Head("", v); err != nil {
			return err
		}
		if err := w.Grow(promise); err != nil {
			return err
		}
		if _, err := w.ReadFrom(&source{n: n}); err != nil {
			return err
		}
		return w.End()
	}
}

// TestBody looks at what a fill of each size leaves for the store.
func TestBody(t *testing.T) {
	const keep = 300_000
	for _, n := range []int64{0, 1, firstChunk, firstChunk + 1, chunkSize, keep - 1, keep, keep + 1} {
		for _, promise := range []int64{-1, n} {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{Keep: keep})
				body := make(chan []byte, 2)
				r := join(t, g, "k", func(ctx context.Context, w *Writer[string]) error {
					defer func() { body <- w.Body(); body <- w.Body() }()
					return stream(n, promise, Store)(ctx, w)
				})
				var b bytes.Buffer
				if _, err := r.WriteTo(&b); err != nil || int64(b.Len()) != n {
					t.Fatalf("%d bytes of %d: %v", b.Len(), n, err)
				}
				r.Close()
				for range 2 {
					switch got := <-body; {
					case n > keep && got != nil:
						t.Errorf("%d of %d: a body too long to keep", promise, n)
					case n <= keep && (got == nil || !bytes.Equal(got, b.Bytes()) || cap(got) != int(n)):
						t.Errorf("%d of %d: got %d bytes, capacity %d", promise, n, len(got), cap(got))
					}
				}
			})
		}
	}
}

func TestBodyIsNotReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		var kept []byte
		for range 4 {
			r := join(t, g, "k", func(ctx context.Context, w *Writer[string]) error {
				err := stream(chunkSize, chunkSize, Store)(ctx, w)
				if kept == nil {
					kept = w.Body()
				}
				return err
			})
			r.WriteTo(io.Discard)
			r.Close()
			synctest.Wait()
			s := sink{}
			if s.Write(kept); s.bad {
				t.Fatal("the body the store was given has changed")
			}
			other := join(t, g, "other", respond(0, Store, string(make([]byte, 3*chunkSize))))
			other.WriteTo(io.Discard)
			other.Close()
			synctest.Wait()
		}
	})
}

func TestKeptBodyDoesNotWaitForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		idle := join(t, g, "k", stream(8<<20, -1, Store))
		fast := join(t, g, "k", breakDown(0))
		began := time.Now()
		s := sink{}
		if n, err := fast.WriteTo(&s); n != 8<<20 || err != nil || s.bad || time.Since(began) != time.Second {
			t.Errorf("%d, %v after %v", n, err, time.Since(began))
		}
		fast.Close()
		time.Sleep(time.Hour) // longer than any limit on the readers of a passing flight
		s = sink{}
		if n, err := idle.WriteTo(&s); n != 8<<20 || err != nil || s.bad {
			t.Errorf("%d, %v", n, err)
		}
		idle.Close()
	})
}

// TestSlowReaders streams bodies too long to keep to readers of several speeds.
func TestSlowReaders(t *testing.T) {
	const size = 2 << 20
	tests := []struct {
		name    string
		verdict Verdict
		rests   []time.Duration // after each write of at most one chunk
		errs    []error
		silence time.Duration // the longest any reader without an error waits for bytes
	}{
		{"alone and slow", Store, []time.Duration{50 * time.Second}, []error{nil}, 0},
		{"alone and slow, private", Private, []time.Duration{50 * time.Second}, []error{nil}, 0},
		{"alone and dead", Store, []time.Duration{time.Hour}, []error{ErrTooSlow}, 0},
		{"alone and dead, private", Private, []time.Duration{time.Hour}, []error{ErrTooSlow}, 0},
		{"slow but fast enough", Share, []time.Duration{0, 100 * time.Millisecond}, []error{nil, nil}, time.Minute},
		{"too slow for the others", Share, []time.Duration{0, 2 * time.Second, 0}, []error{nil, ErrTooSlow, nil}, 30 * time.Second},
		{"dead among others", Store, []time.Duration{0, time.Hour, 0, time.Hour}, []error{nil, ErrTooSlow, nil, ErrTooSlow}, 10 * time.Second},
		{"all equally slow", Store, []time.Duration{time.Second, time.Second, time.Second}, []error{nil, nil, nil}, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{Keep: 512 << 10, Window: 128 << 10, ReadWait: 2 * time.Minute})
				done := make(chan struct{})
				fill := stream(size, -1, tt.verdict)
				for i, rest := range tt.rests {
					r := join(t, g, "k", fill)
					go func() {
						defer func() { done <- struct{}{} }()
						defer r.Close()
						s := sink{rest: rest}
						n, err := r.WriteTo(&s)
						if err != tt.errs[i] || s.bad || (err == nil) != (n == size) {
							t.Errorf("reader %d: %d bytes, %v, bad %v", i, n, err, s.bad)
						}
						if err == nil && s.last > tt.silence {
							t.Errorf("reader %d waited %v for bytes", i, s.last)
						}
					}()
				}
				for range tt.rests {
					<-done
				}
			})
		})
	}
}

// TestCutOffInTheMiddleOfAWrite: what a cut-off reader is still writing from
// does not change under it.
func TestCutOffInTheMiddleOfAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{Keep: 64 << 10, Window: 128 << 10})
		fast := join(t, g, "k", stream(4<<20, -1, Share))
		dying := join(t, g, "k", nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer dying.Close()
			s := sink{}
			_, err := dying.WriteTo(writerFunc(func(p []byte) (int, error) {
				if s.at > 200_000 {
					s.rest = time.Hour
				}
				return s.Write(p)
			}))
			if err != ErrTooSlow || s.bad || s.at <= 200_000 {
				t.Errorf("%d bytes, bad %v: %v", s.at, s.bad, err)
			}
		}()
		// Its rests let the fill run a window ahead, through all there is to reuse.
		if n, err := fast.WriteTo(&sink{rest: time.Millisecond}); n != 4<<20 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		fast.Close()
		<-done
	})
}

func TestPassingFlightTakesNobodyIn(t *testing.T) {
	for _, promise := range []int64{-1, 2 << 20} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, Options[string]{Keep: 1 << 20})
			first := join(t, g, "k", stream(2<<20, promise, Store))
			first.Wait(t.Context())
			synctest.Wait()
			second := join(t, g, "k", stream(2<<20, promise, Store))
			if !second.Leader() || g.Stats().Passing != 1 {
				t.Errorf("joined what cannot be read from its start: %+v", g.Stats())
			}
			for _, r := range []*Reader[string]{first, second} {
				s := sink{}
				if n, err := r.WriteTo(&s); n != 2<<20 || err != nil || s.bad {
					t.Errorf("%d, %v", n, err)
				}
				r.Close()
			}
		})
	}
}

// TestPrivateHoldsAWindow: a slow private client costs what it has earned, at most
// a window, not Keep.
func TestPrivateHoldsAWindow(t *testing.T) {
	for _, promise := range []int64{-1, 4 << 20} {
		for taken, most := range map[int64]int64{0: 2 * firstChunk, 200 << 10: 32 << 10, 800 << 10: 100<<10 + 2*chunkSize, 3 << 20: 128<<10 + 2*chunkSize} {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, Options[string]{Window: 128 << 10})
				r := join(t, g, "k", stream(4<<20, promise, Private))
				defer r.Close()
				r.Wait(t.Context())
				s := sink{}
				if n, err := io.CopyN(&s, r, taken); n != taken || err != nil || s.bad {
					t.Fatalf("%d of %d, %v", n, taken, err)
				}
				time.Sleep(2 * time.Second)
				if n := g.Stats().Buffered; n < most/4 || n > most {
					t.Errorf("%d bytes buffered after %d", n, taken)
				}
				if n, err := r.WriteTo(&s); n != 4<<20-taken || err != nil || s.bad {
					t.Errorf("the rest: %d, %v", n, err)
				}
			})
		}
	}
}

// TestMaxBuffered: past the limit new flights pass on, and old ones keep what
// they have.
func TestMaxBuffered(t *testing.T) {
	const limit = 1 << 20
	for _, promise := range []int64{-1, limit / 2} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, Options[string]{MaxBuffered: limit})
			var rs []*Reader[string]
			for _, key := range []string{"a", "b", "c", "d", "e"} {
				rs = append(rs, join(t, g, key, stream(limit/2, promise, Store)))
			}
			time.Sleep(2 * time.Second)
			s := g.Stats()
			if s.Buffered > limit+5*(minWindow+chunkSize) || s.Passing == 0 {
				t.Errorf("%+v", s)
			}
			for i, r := range rs {
				s := sink{}
				if n, err := r.WriteTo(&s); n != limit/2 || err != nil || s.bad {
					t.Errorf("reader %d: %d, %v", i, n, err)
				}
				r.Close()
			}
		})
	}
}

func TestFlatMemory(t *testing.T) {
	const size = 256 << 20
	g := newGroup(t, Options[string]{Window: 256 << 10})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var highest int64
	fill := func(_ context.Context, w *Writer[string]) error {
		w.Head("", Store)
		w.Grow(size)
		_, err := w.ReadFrom(io.LimitReader(zeroes{}, size))
		return err
	}
	r := join(t, g, "k", fill)
	n, err := r.WriteTo(writerFunc(func(p []byte) (int, error) {
		highest = max(highest, g.Stats().Buffered)
		return len(p), nil
	}))
	r.Close()
	runtime.ReadMemStats(&after)
	if n != size || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if highest > 256<<10+2*chunkSize {
		t.Errorf("%d bytes buffered", highest)
	}
	// The race detector makes sync.Pool forget some; 256 MiB must not be allocated.
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size/2 {
		t.Errorf("%d bytes allocated to pass %d on", grown, size)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWriteToReportsTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, Options[string]{})
		r := join(t, g, "k", stream(10_000, -1, Store))
		defer r.Close()
		var got bytes.Buffer
		for _, tt := range []struct {
			take int
			give error
			want error
		}{{3000, errBroken, errBroken}, {2000, nil, io.ErrShortWrite}} {
			n, err := r.WriteTo(writerFunc(func(p []byte) (int, error) {
				got.Write(p[:min(tt.take, len(p))])
				return min(tt.take, len(p)), tt.give
			}))
			if n != int64(tt.take) && !errors.Is(err, tt.want) {
				t.Errorf("%d, %v", n, err)
			}
		}
		rest, err := io.ReadAll(r)
		got.Write(rest)
		s := sink{}
		if s.Write(got.Bytes()); err != nil || s.bad || s.at != 10_000 {
			t.Errorf("%d bytes, %v: none may be lost or twice", s.at, err)
		}
	})
}
