package proxy

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

// snapshotTotal is what the bodies of the snapshot that is measured take; by hand it
// is 1 GiB.
const snapshotTotal = 64 << 20

// writeSnapshot writes a snapshot of objects of one size, as a handler would whose
// route is h's.
func writeSnapshot(tb testing.TB, h *Handler, path string, size int) {
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	buffer := bufio.NewWriter(file)
	w := newFrameWriter(buffer, SnapshotOrigin{Written: time.Now()})
	fields := wire.Fields{
		{Name: "Date", Value: string(cache.AppendDate(nil, time.Now()))}, {Name: "Content-Type", Value: "text/javascript"},
		{Name: "Cache-Control", Value: "max-age=86400"}, {Name: "ETag", Value: `"7"`}, {Name: "Server", Value: "origin"},
	}
	body := make([]byte, size)
	sum := xxhash.Sum64(body)
	for i := range snapshotTotal / size {
		at, err := parseTarget("http", "GET", fmt.Sprintf("/static/%d", i), host("www.example.com"))
		if err != nil {
			tb.Fatal(err)
		}
		var k keys
		k.build(h.snap.Load().routes[0], at, nil)
		p := preserved{key: string(k.storeName()), status: 200, fields: fields, lifetime: -1, bodies: []preservedBody{{cache.Identity, uint64(size), sum}}}
		w.frame(p.appendTo(nil), body)
	}
	w.end()
	if err := buffer.Flush(); err != nil || w.err != nil {
		tb.Fatal(err, w.err)
	}
}

// What an object costs to be stored again, and to be written.
func BenchmarkSnapshot(b *testing.B) {
	outer := b
	for _, size := range []int{1 << 10, 8 << 10, 64 << 10} {
		path := filepath.Join(b.TempDir(), "snapshot")
		roomy := func(o *Options) { o.Memory, o.IndexEntries = 4*snapshotTotal, 1<<20 }
		writeSnapshot(b, newHandlerFor(b, "127.0.0.1:1"), path, size)
		var h *Handler
		perObject := func(b *testing.B, n int) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/float64(b.N), "ns/object")
			b.ReportMetric(0, "ns/op")
			b.SetBytes(int64(size * n))
		}
		b.Run(fmt.Sprintf("load/%dKiB", size>>10), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				h = newHandlerFor(outer, "127.0.0.1:1", roomy)
				file, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				info, _ := file.Stat()
				past := noPast(b)
				b.StartTimer()
				if err := h.LoadSnapshot(context.Background(), file, info.Size(), past); err != nil {
					b.Fatal(err)
				}
				if n := h.View().Loaded.Entries; n != uint64(snapshotTotal/size) {
					b.Fatalf("%+v", h.View().Loaded)
				}
				_ = file.Close()
			}
			perObject(b, snapshotTotal/size)
		})
		b.Run(fmt.Sprintf("write/%dKiB", size>>10), func(b *testing.B) {
			for b.Loop() {
				file, err := os.Create(path)
				if err != nil {
					b.Fatal(err)
				}
				buffer := bufio.NewWriterSize(file, 256<<10)
				done, err := h.WriteSnapshot(context.Background(), buffer)
				if err != nil || buffer.Flush() != nil || done.Entries != int64(snapshotTotal/size) {
					b.Fatal(done, err)
				}
				_ = file.Close()
			}
			perObject(b, snapshotTotal/size)
		})
	}
}
