package handover

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What runs when the program is started again is what is at the path that this
// process was started by, also where the system does not tell which file it is.
func TestSelf(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "proxy-1"), filepath.Join(dir, "other")
	for _, path := range []string{file, other} {
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "proxy")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	unknown := errors.New("no /proc")
	for name, tt := range map[string]struct {
		arg, own string
		unknown  error
		want     string
	}{
		"a link to it":             {link, file, nil, link},
		"another program's name":   {other, file, nil, file},
		"a name of no file":        {"ringfence: main", file, nil, file},
		"unknown":                  {link, "", unknown, link},
		"unknown, started by none": {filepath.Join(dir, "none"), "", unknown, ""},
	} {
		p, err := self([]string{tt.arg, "run"}, tt.own, tt.unknown)
		if p.path != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s: %q, %v, want %q", name, p.path, err, tt.want)
		}
		if err == nil && (len(p.args) != 2 || p.args[0] != tt.arg) {
			t.Errorf("%s: arguments %q", name, p.args)
		}
	}
}
