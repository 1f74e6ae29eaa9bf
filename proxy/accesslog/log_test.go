package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func newLog(t *testing.T, path string, change ...func(*Options)) *Log {
	t.Helper()
	o := Options{Path: path, Format: mustFormat(t, "{status} {request_id}"), Sample: 1, Buffer: MinBuffer, Flush: time.Second}
	for _, c := range change {
		c(&o)
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	return l
}

func closeLog(t *testing.T, l *Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func entry(status int, id string) *Entry {
	return &Entry{Status: status, Complete: true, RequestID: id}
}

// A line is there after Flush, and not before others are worth a write.
func TestFlush(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, path)
		for i := range 3 * stripes { // each stripe keeps its order
			l.Write(uint64(i), entry(200, strconv.Itoa(i)))
		}
		time.Sleep(999 * time.Millisecond)
		if text := read(t, path); text != "" {
			t.Errorf("written before it was time: %q", text)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		var want strings.Builder
		for i := range 3 * stripes {
			fmt.Fprintf(&want, "200 %d\n", i/3+i%3*stripes)
		}
		if text := read(t, path); text != want.String() {
			t.Errorf("got %q\nwant %q", text, want.String())
		}
		if st := l.Stats(); st != (Stats{Lines: 3 * stripes}) {
			t.Errorf("%+v", st)
		}
		l.Write(0, entry(200, "last"))
		closeLog(t, l)
		l.Write(0, entry(200, "later"))
		if text := read(t, path); !strings.HasSuffix(text, "200 last\n") || l.Stats() != (Stats{Lines: 3*stripes + 1, Dropped: 1}) {
			t.Errorf("%q, %+v", text, l.Stats())
		}
	})
}

// A full chunk is written at once.
func TestFullChunk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, path)
		id := strings.Repeat("x", 1000)
		for range chunkSize/1000 + 1 {
			l.Write(7, entry(200, id))
		}
		synctest.Wait()
		if n := len(read(t, path)); n < chunkSize-1100 || n > chunkSize {
			t.Errorf("%d bytes are written", n)
		}
		closeLog(t, l)
	})
}

// A line that no chunk has room for is dropped, and no other.
func TestLineTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := newLog(t, path, func(o *Options) { o.Format = mustFormat(t, strings.Repeat("{target}", 9)) })
	for _, n := range []int{1, maxTarget, 1} {
		l.Write(0, &Entry{Target: strings.Repeat("x", n)})
	}
	closeLog(t, l)
	if text := read(t, path); text != strings.Repeat("xxxxxxxxx\n", 2) || l.Stats() != (Stats{Lines: 2, Dropped: 1}) {
		t.Errorf("%.100q, %+v", text, l.Stats())
	}
}

// Only those lines are there that are wanted; requests that failed always are.
func TestWanted(t *testing.T) {
	broken := Entry{Status: 200, RequestID: "broken"}
	for _, tt := range []struct {
		name   string
		change func(*Options)
		entry  *Entry
		want   bool
	}{
		{"all", func(*Options) {}, entry(200, ""), true},
		{"errors, a success", func(o *Options) { o.OnlyErrors = true }, entry(200, ""), false},
		{"errors, a client's fault", func(o *Options) { o.OnlyErrors = true }, entry(499, ""), false},
		{"errors, a failure", func(o *Options) { o.OnlyErrors = true }, entry(500, ""), true},
		{"errors, a broken body", func(o *Options) { o.OnlyErrors = true }, &broken, true},
		{"a sample, a success", func(o *Options) { o.Sample = math.SmallestNonzeroFloat64 }, entry(200, ""), false},
		{"a sample, a failure", func(o *Options) { o.Sample = math.SmallestNonzeroFloat64 }, entry(503, ""), true},
		{"a sample, a broken body", func(o *Options) { o.Sample = math.SmallestNonzeroFloat64 }, &broken, true},
	} {
		path := filepath.Join(t.TempDir(), "log")
		l := newLog(t, path, tt.change)
		l.Write(0, tt.entry)
		closeLog(t, l)
		if got := read(t, path) != ""; got != tt.want {
			t.Errorf("%s: a line is %t", tt.name, got)
		}
	}
}

// An id is drawn alike everywhere, and ids that are alike are not.
func TestDraw(t *testing.T) {
	if a, b := draw("8f3b2c1d"), draw("8f3b2c1d"); a != b {
		t.Errorf("%v and %v of one id", a, b)
	}
	const n, part = 100_000, 0.1
	for name, id := range map[string]func(int) string{
		"numbers": strconv.Itoa,
		"tails":   func(i int) string { return "request-" + strconv.Itoa(i) + "-of-one-client" },
		"none":    func(int) string { return "" },
	} {
		drawn, runs, was := 0, 0, false
		for i := range n {
			is := draw(id(i)) < part
			if is {
				drawn++
			}
			if is && !was {
				runs++
			}
			was = is
		}
		// The standard deviation of the one is 95, and of the other 81.
		if math.Abs(float64(drawn)-n*part) > 500 || math.Abs(float64(runs)-n*part*(1-part)) > 500 {
			t.Errorf("%s: %d of %d in %d runs", name, drawn, n, runs)
		}
	}
}

// A file that was renamed and opened anew loses no line, and no line is there
// twice, while they are written by many.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := newLog(t, path, func(o *Options) { o.Flush, o.Buffer = time.Millisecond, 64<<20 })
	const writers, each, renames = 8, 4000, 20
	var writing sync.WaitGroup
	var progress atomic.Int64
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				l.Write(uint64(w), entry(200, fmt.Sprint(w, "-", i)))
				progress.Add(1)
			}
		})
	}
	for i := range renames {
		waitUntil(t, func() bool { return progress.Load() >= int64(i*writers*each/renames) })
		if err := os.Rename(path, path+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		l.Reopen()
		waitUntil(t, func() bool { _, err := os.Stat(path); return err == nil })
	}
	writing.Wait()
	l.Write(0, entry(200, "last"))
	closeLog(t, l)
	var all string
	for i := range renames {
		all += read(t, path+strconv.Itoa(i))
	}
	tail, ended := strings.CutSuffix(read(t, path), "200 last\n")
	if !ended {
		t.Error("the last file does not have the last line")
	}
	all += tail
	next := make([]int, writers)
	for line := range strings.Lines(all) {
		var w, i int
		if _, err := fmt.Sscanf(line, "200 %d-%d\n", &w, &i); err != nil || next[w] != i {
			t.Fatalf("%q, where %d is next of %d: %v", line, next[w], w, err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d lines of writer %d", n, w)
		}
	}
	if st := l.Stats(); st != (Stats{Lines: writers*each + 1}) {
		t.Errorf("%+v", st)
	}
}

// A file that cannot be opened anew leaves the old one in use.
func TestReopenFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := newLog(t, filepath.Join(dir, "log"), func(o *Options) { o.Flush = time.Millisecond })
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	waitUntil(t, func() bool { return len(l.reopen) == 0 })
	l.Write(0, entry(200, "a"))
	closeLog(t, l)
	if text := read(t, filepath.Join(dir+"2", "log")); text != "200 a\n" {
		t.Errorf("%q", text)
	}
}

// A file that takes nothing costs lines, which are counted, and never a wait; when
// it goes on, so does the log.
func TestSlowFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// Chunks that are queued before they are full would hold fewer lines than the
	// buffer has room for.
	l := newLog(t, pipe, func(o *Options) { o.Flush = time.Hour })
	id := strings.Repeat("x", 1000)
	const n = 2 * MinBuffer / 1000
	for i := range n {
		l.Write(uint64(i), entry(200, id))
	}
	held := l.Stats()
	if held.Dropped < n/4 || held.Dropped > n*3/4 {
		t.Errorf("%d of %d lines are dropped", held.Dropped, n)
	}
	r, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text := make(chan string)
	go func() {
		all, err := io.ReadAll(r)
		text <- fmt.Sprint(string(all), err)
	}()
	tries := uint64(0)
	waitUntil(t, func() bool {
		tries++
		l.Write(0, entry(200, "end"))
		return l.Stats().Dropped < held.Dropped+tries
	})
	closeLog(t, l)
	// All that was not dropped comes, whole.
	lines := strings.SplitAfter(<-text, "\n")
	kept := n - int(held.Dropped)
	counts := map[string]int{}
	for _, line := range lines {
		counts[line]++
	}
	if want := map[string]int{"200 " + id + "\n": kept, "200 end\n": 1, "<nil>": 1}; !maps.Equal(counts, want) {
		t.Errorf("%d kinds of lines: %d, where %d are kept", len(counts), counts["200 "+id+"\n"], kept)
	}
}

// A file that takes nothing does not hold up the end.
func TestCloseGivesUp(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLog(t, pipe)
	const n = 1000
	for i := range n {
		l.Write(uint64(i), entry(200, strings.Repeat("x", 1000)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := l.Close(ctx); !errors.Is(err, errUnwritten) {
		t.Errorf("%v", err)
	}
	if st := l.Stats(); st.Lines+st.Dropped != n || st.Lines == 0 || st.Dropped == 0 {
		t.Errorf("%+v", st)
	}
}

// A line that was written in part is not taken for the beginning of the next.
func TestTornLine(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := &file{path: "pipe", f: w}
	line := []byte(strings.Repeat("x", 999) + "\n")
	full := bytes.Repeat(line, 200) // more than a pipe has room for
	if !f.interrupt() {
		t.Fatal("a pipe has no deadline")
	}
	_ = w.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := f.write(full)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n >= 200 {
		t.Fatalf("%d lines, %v", n, err)
	}
	if m, err := f.write(line); m != 0 || err == nil {
		t.Errorf("%d lines, %v, into a pipe that is full", m, err)
	}
	var text []byte
	read := make(chan struct{})
	go func() { defer close(read); text, _ = io.ReadAll(r) }()
	_ = w.SetWriteDeadline(time.Time{})
	if m, err := f.write(line); m != 1 || err != nil {
		t.Errorf("%d lines, %v", m, err)
	}
	w.Close()
	<-read
	whole := 0
	for l := range bytes.Lines(text) {
		if bytes.Equal(l, line) {
			whole++
		}
	}
	if whole != n+1 || !bytes.HasSuffix(text, append([]byte("x\n"), line...)) {
		t.Errorf("%d whole lines, where %d were written", whole, n+1)
	}
}

func TestNewFails(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "log"): "there is no such folder",
		dir:                               "is a directory",
	} {
		if _, err := New(Options{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	l, err := New(Options{Path: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(context.Background()); err != nil { // it was not started
		t.Error(err)
	}
}

// waitUntil polls until ok, and fails the test where it does not become so.
func waitUntil(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not within 10 s")
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	l, err := New(Options{Path: os.DevNull, Format: mustFormat(b, "json"), Sample: 1, Buffer: 16 << 20, Flush: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	l.Start()
	e := full()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := uint64(0); pb.Next(); i++ {
			l.Write(i, &e)
		}
	})
	if err := l.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(l.Stats().Dropped)/float64(b.N), "dropped/op")
}
