package discover

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lines reads an entry of weight 1 a line.
func lines(path string) ([]Entry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if !strings.Contains(line, ":") {
			return nil, fmt.Errorf("line %d: want host:port, got %q", i+1, line)
		}
		entries = append(entries, Entry{Address: line, Weight: 1})
	}
	return entries, nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// replace puts a file into place as it should be done.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	move(t, path+".new", path)
}

// followed is a Discovery of a real file, with what it tells.
type followed struct {
	*Discovery
	t       *testing.T
	changes chan string
	errors  chan string
}

// seldom is longer than a test: what is seen is seen by watching.
const seldom = time.Hour

func follow(t *testing.T, path string, resolve time.Duration, resolver Resolver, entries ...Entry) followed {
	t.Helper()
	f := followed{t: t, changes: make(chan string, 100), errors: make(chan string, 100)}
	d, err := New(Options{
		Entries: entries, File: path, Load: lines, Resolve: resolve, Resolver: resolver,
		OnChange: func(s []Server) { f.changes <- show(s) },
		OnError:  func(err error) { f.errors <- strings.ReplaceAll(err.Error(), path, "FILE") },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Discovery = d
	t.Cleanup(d.Close)
	d.Start(t.Context())
	return f
}

const patience = 20 * time.Second

// becomes waits for the next change, which must be to want.
func (f followed) becomes(want string) {
	f.t.Helper()
	f.next("change", f.changes, want)
	if got := show(f.Servers()); got != want {
		f.t.Errorf("servers are %s, told was %s", got, want)
	}
}

// fails waits for the next error, which must begin with want.
func (f followed) fails(want string) {
	f.t.Helper()
	f.next("error", f.errors, want)
}

func (f followed) next(what string, from <-chan string, want string) {
	f.t.Helper()
	select {
	case got := <-from:
		if got != want && (what == "change" || !strings.HasPrefix(got, want)) {
			f.t.Fatalf("%s %q, want %q", what, got, want)
		}
	case <-time.After(patience):
		f.t.Fatalf("no %s, want %q", what, want)
	}
}

// until calls change again and again until done.
func (f followed) until(what string, change func(i int), done func() bool) {
	f.t.Helper()
	for i, end := 0, time.Now().Add(patience); !done(); i++ {
		if time.Now().After(end) {
			f.t.Fatalf("it was never true that %s", what)
		}
		change(i)
		<-time.After(5 * time.Millisecond)
	}
}

// quiet fails if anything was told that was not waited for.
func (f followed) quiet() {
	f.t.Helper()
	f.Close()
	if len(f.changes)+len(f.errors) > 0 {
		f.t.Errorf("%d changes and %d errors too many", len(f.changes), len(f.errors))
	}
}

func TestFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	write(t, path, "10.0.0.1:80\n10.0.0.2:80\n")
	f := follow(t, path, seldom, nil, Entry{Address: "10.9.9.9:80", Weight: 1})
	const first, second = "10.9.9.9:80*1 10.0.0.1:80*1 10.0.0.2:80*1", "10.9.9.9:80*1 10.0.0.2:80*1 10.0.0.3:80*1"
	if got := show(f.Servers()); got != first {
		t.Errorf("at once: %s", got)
	}
	f.First(t.Context())

	replace(t, path, "10.0.0.2:80\n10.0.0.3:80\n")
	f.becomes(second)
	write(t, path, "") // truncated, and then written
	f.fails(`read servers of FILE: line 1: want host:port, got ""`)
	write(t, path, "10.0.0.1:80\n10.0.0.2:80\n")
	f.becomes(first)

	replace(t, path, "10.0.0.4:80\nnonsense\n")
	f.fails(`read servers of FILE: line 2: want host:port, got "nonsense"`)
	replace(t, path, "10.0.0.4:\n")
	f.fails(`read servers of FILE: server 1: address "10.0.0.4:" is neither`)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.fails("read servers of FILE: open FILE: no such file")
	if s := f.Stats(); s.Failing != 1 || s.LoadErrors < 4 || s.Loads < s.LoadErrors+3 || s.Changes != 2 {
		t.Errorf("stats %+v", s)
	}
	if got := show(f.Servers()); got != first {
		t.Errorf("after all that failed: %s", got)
	}

	replace(t, path, "10.0.0.2:80\n10.0.0.3:80\n")
	f.becomes(second)
	if s := f.Stats(); s.Failing != 0 {
		t.Errorf("stats %+v", s)
	}
	f.quiet()
}

// A ConfigMap's file is a link to ..data/file, and ..data one to a folder:
// that link is replaced, and the old folder removed.
func TestLinkThatIsSwapped(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "servers"), text)
	}
	version("..1", "10.0.0.1:80\n")
	link(t, "..1", filepath.Join(dir, "..data"))
	link(t, filepath.Join("..data", "servers"), filepath.Join(dir, "servers"))
	f := follow(t, filepath.Join(dir, "servers"), seldom, nil)
	f.First(t.Context())
	for i := 2; i < 5; i++ {
		version(fmt.Sprint("..", i), fmt.Sprintf("10.0.0.%d:80\n", i))
		link(t, fmt.Sprint("..", i), filepath.Join(dir, "..data_tmp"))
		move(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
		if err := os.RemoveAll(filepath.Join(dir, fmt.Sprint("..", i-1))); err != nil {
			t.Fatal(err)
		}
		f.becomes(fmt.Sprintf("10.0.0.%d:80*1", i))
	}
	f.quiet()
}

func TestFolderThatIsNeverQuiet(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "servers")
	write(t, path, "10.0.0.1:80\n")
	f := follow(t, path, seldom, nil)
	f.First(t.Context())
	replace(t, path, "10.0.0.2:80\n")
	before, began, writes := f.Stats().Loads, time.Now(), 0
	f.until("the file was read", func(i int) { write(t, filepath.Join(dir, "noise"), fmt.Sprint(i)); writes = i },
		func() bool { return len(f.changes) > 0 && writes > 200 })
	f.becomes("10.0.0.2:80*1")
	took := time.Since(began)
	if n := f.Stats().Loads - before; n > 2+uint64(took/(100*time.Millisecond)) {
		t.Errorf("the file was read %d times in %v", n, took)
	}
	f.quiet()
}

// Where nothing can be watched the file is read now and then.
func TestFileThatCannotBeWatched(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "later", "servers")
	f := follow(t, path, 300*time.Millisecond, nil)
	f.fails("read servers of FILE: open FILE: no such file")
	if got := f.Servers(); len(got) > 0 {
		t.Errorf("got %s", show(got))
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	write(t, elsewhere, "10.0.0.1:80\n")
	if err := os.Mkdir(filepath.Join(dir, "later"), 0o700); err != nil {
		t.Fatal(err)
	}
	link(t, elsewhere, path)
	f.becomes("10.0.0.1:80*1")
	replace(t, elsewhere, "10.0.0.2:80\n") // in a folder that is not watched
	f.becomes("10.0.0.2:80*1")

	// Another folder in its place is watched again.
	move(t, filepath.Join(dir, "later"), filepath.Join(dir, "former"))
	f.fails("read servers of FILE: open FILE: no such file")
	if err := os.Mkdir(filepath.Join(dir, "later"), 0o700); err != nil {
		t.Fatal(err)
	}
	replace(t, path, "10.0.0.3:80\n")
	f.becomes("10.0.0.3:80*1")
	f.quiet()
}

// waiting answers one name only once it may.
type waiting struct {
	*script
	name    string
	release <-chan struct{}
}

func (w waiting) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if host == w.name {
		<-w.release
	}
	return w.script.LookupNetIP(ctx, network, host)
}

// The servers of before stay until all names of a new file were looked up.
func TestNewNamesAreLookedUpFirst(t *testing.T) {
	dns := newScript()
	dns.set("old", "", "10.0.0.1")
	path := filepath.Join(t.TempDir(), "servers")
	write(t, path, "old:80\n")
	release := make(chan struct{})
	f := follow(t, path, seldom, waiting{dns, "new", release})
	f.becomes("10.0.0.1:80*1")

	dns.set("new", "", "10.0.0.2")
	replace(t, path, "new:80\nmissing:80\n")
	f.until("the new name was asked for", func(int) {}, func() bool { return len(dns.times("missing")) > 0 })
	f.fails("look up missing: ")
	if got := show(f.Servers()); got != "10.0.0.1:80*1" {
		t.Errorf("before the look-up has ended: %s", got)
	}
	close(release)
	f.becomes("10.0.0.2:80*1")
	f.quiet()
}

func TestNamesThatAreGoneDoNotMatter(t *testing.T) {
	dns := newScript()
	path := filepath.Join(t.TempDir(), "servers")
	write(t, path, "slow:80\n10.0.0.1:80\n")
	release := make(chan struct{})
	f := follow(t, path, seldom, waiting{dns, "slow", release})
	replace(t, path, "10.0.0.2:80\n")
	f.becomes("10.0.0.2:80*1")
	close(release)
	f.until("the look-up has ended", func(int) {}, func() bool { return len(dns.times("slow")) > 0 })
	replace(t, path, "10.0.0.3:80\n")
	f.becomes("10.0.0.3:80*1")
	if s := f.Stats(); s.Lookups+s.LookupErrors > 0 || s.Failing > 0 {
		t.Errorf("stats %+v", s)
	}
	f.quiet()
}

func TestAddressesOfAFileAreKept(t *testing.T) {
	dns := newScript()
	dns.set("app", "", "10.0.0.1")
	path := filepath.Join(t.TempDir(), "servers")
	write(t, path, "app:80\n")
	f := follow(t, path, seldom, dns)
	f.becomes("10.0.0.1:80*1")
	dns.set("app", "refused")
	replace(t, path, "app:80\n10.0.0.9:80\n") // app is not even asked for again
	f.becomes("10.0.0.1:80*1 10.0.0.9:80*1")
	if n := len(dns.times("app")); n != 1 {
		t.Errorf("looked up %d times", n)
	}
	f.quiet()
}
