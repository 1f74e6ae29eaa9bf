package singleflight

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
)

// hold is a flight that can be joined while the benchmark runs.
func hold(b testing.TB, g *Group[string], key string) {
	stop := make(chan struct{})
	r := join(b, g, key, func(_ context.Context, w *Writer[string]) error {
		w.Head("", Store)
		io.WriteString(w, "some")
		<-stop
		return nil
	})
	r.Wait(context.Background())
	b.Cleanup(func() { r.Close(); close(stop) })
}

func follow(g *Group[string], key string) error {
	r, err := g.Join(key, nil)
	if err != nil {
		return err
	}
	_, _, err = r.Wait(context.Background())
	r.Close()
	return err
}

// BenchmarkFollow is the cost of joining a flight under way, waiting for its
// verdict, which has fallen, and leaving.
func BenchmarkFollow(b *testing.B) {
	b.Run("one", func(b *testing.B) {
		g := newGroup(b, Options[string]{})
		hold(b, g, "key")
		b.ReportAllocs()
		for b.Loop() {
			if err := follow(g, "key"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		g := newGroup(b, Options[string]{})
		var keys [1024]string
		for i := range keys {
			keys[i] = fmt.Sprint("key ", i)
			hold(b, g, keys[i])
		}
		b.ReportAllocs()
		var starts atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for i := int(starts.Add(397)); pb.Next(); i++ {
				if err := follow(g, keys[i%len(keys)]); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkLead is a whole flight of one reader and a 1 KiB body.
func BenchmarkLead(b *testing.B) {
	body := make([]byte, 1024)
	for _, v := range []Verdict{Store, Private} {
		b.Run(v.String(), func(b *testing.B) {
			g := newGroup(b, Options[string]{})
			fill := func(_ context.Context, w *Writer[string]) error {
				w.Head("", v)
				w.Grow(int64(len(body)))
				_, err := w.Write(body)
				return err
			}
			b.ReportAllocs()
			for b.Loop() {
				r, err := g.Join("key", fill)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}

// BenchmarkStream passes 1 MiB on, read 32 KiB at a time.
func BenchmarkStream(b *testing.B) {
	const size = 1 << 20
	for _, kind := range []struct {
		name string
		keep int64
		want int64
	}{{"known", size, size}, {"unknown", size, -1}, {"passing", 1, -1}} {
		for _, readers := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, readers), func(b *testing.B) {
				g := newGroup(b, Options[string]{Keep: kind.keep})
				begin := make(chan struct{}, 1)
				fill := func(_ context.Context, w *Writer[string]) error {
					<-begin
					w.Head("", Store)
					w.Grow(kind.want)
					_, err := w.ReadFrom(io.LimitReader(steps{}, size))
					return err
				}
				b.SetBytes(int64(size * readers))
				b.ReportAllocs()
				for b.Loop() {
					var all sync.WaitGroup
					for range readers {
						r := join(b, g, "key", fill)
						all.Go(func() {
							if n, err := r.WriteTo(writerOnly{}); n != size || err != nil {
								b.Errorf("%d, %v", n, err)
							}
							r.Close()
						})
					}
					begin <- struct{}{}
					all.Wait()
				}
			})
		}
	}
}

// steps gives zeroes, 32 KiB at most.
type steps struct{}

func (steps) Read(p []byte) (int, error) { return min(len(p), 32<<10), nil }

type writerOnly struct{}

func (writerOnly) Write(p []byte) (int, error) { return len(p), nil }

// TestAllocations: what a follower costs, and that streaming costs nothing per
// chunk.
func TestAllocations(t *testing.T) {
	g := newGroup(t, Options[string]{})
	hold(t, g, "key")
	if n := testing.AllocsPerRun(100, func() { _ = follow(g, "key") }); n > 1 {
		t.Errorf("a follower allocates %v times", n)
	}
	passed := func(size int64) float64 {
		return testing.AllocsPerRun(5, func() {
			r := join(t, g, "big", func(_ context.Context, w *Writer[string]) error {
				w.Head("", Private)
				_, err := w.ReadFrom(io.LimitReader(steps{}, size))
				return err
			})
			if n, err := r.WriteTo(writerOnly{}); n != size || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			r.Close()
		})
	}
	few, many := passed(4<<20), passed(36<<20)
	// Under the race detector sync.Pool forgets one in four.
	if perChunk := (many - few) / (32 << 20 / chunkSize); perChunk > 0.75 {
		t.Errorf("%.2f allocations per chunk (%v for 4 MiB, %v for 36 MiB)", perChunk, few, many)
	}
}
