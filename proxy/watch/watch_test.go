package watch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	seldom = time.Hour
	soon   = 10 * time.Second
)

// looked follows a path until the test ends; each look sends what the file holds.
func looked(t *testing.T, path string, now <-chan struct{}, poll time.Duration) <-chan string {
	t.Helper()
	looks := make(chan string, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Files(ctx, []string{path}, now, func(lost error) time.Duration {
			if lost != nil {
				t.Errorf("changes may be lost: %v", lost)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				text = []byte("none")
			}
			looks <- string(text)
			return poll
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return looks
}

func becomes(t *testing.T, looks <-chan string, want string) {
	t.Helper()
	late := time.After(soon)
	for {
		select {
		case got := <-looks:
			if got == want {
				return
			}
		case <-late:
			t.Fatalf("never saw %q", want)
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Each way in which a file gets another content is seen: writing, renaming,
// removing, and a ConfigMap's, whose file is a link into a folder that is a link.
func TestWaysToChange(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	put(t, path, "0")
	looks := looked(t, path, nil, seldom)
	becomes(t, looks, "0")
	put(t, path, "written")
	becomes(t, looks, "written")
	put(t, path+".new", "renamed")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	becomes(t, looks, "renamed")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	becomes(t, looks, "none")
	for _, name := range []string{"..1", "..2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name, "file"), name)
	}
	link(t, "..1", filepath.Join(dir, "..data"))
	link(t, filepath.Join("..data", "file"), path)
	becomes(t, looks, "..1")
	link(t, "..2", filepath.Join(dir, "..data"))
	becomes(t, looks, "..2")
}

// It is looked at once asked for, and now and then in any case.
func TestWithoutAChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	now := make(chan struct{}, 1)
	looks := looked(t, path, now, seldom)
	becomes(t, looks, "none")
	now <- struct{}{}
	becomes(t, looks, "none")
	often := looked(t, path, nil, time.Millisecond)
	for range 5 {
		becomes(t, often, "none")
	}
	if len(looks) > 0 {
		t.Error("there was one look too many")
	}
}

func TestSettling(t *testing.T) {
	for since, want := range map[time.Duration]time.Duration{
		0: settle, 500 * time.Millisecond: settle, maxSettle - settle: settle,
		maxSettle - settle/4: settle / 4, maxSettle: 0,
	} {
		if got := settling(since); got != want {
			t.Errorf("%v after the first change: %v, want %v", since, got, want)
		}
	}
}
