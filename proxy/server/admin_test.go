package server

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/proxy/config"
)

// A socket is its user's alone; one that was left behind makes room, and nothing
// else does.
func TestListenSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	first, err := listenAdmin("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := listenAdmin("unix:" + path); err == nil || !strings.Contains(err.Error(), "admin.listen unix:"+path+": the socket is in use") {
		t.Errorf("in use: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as after a kill
	first.Close()
	second, err := listenAdmin("unix:" + path)
	if err != nil {
		t.Fatalf("left behind: %v", err)
	}
	second.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenAdmin("unix:" + path); err == nil {
		t.Error("it listens in place of a file")
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file is %q", text)
	}
	if _, err := listenAdmin("unix:" + filepath.Join(path, "x")); err == nil || strings.Count(err.Error(), path) != 1 {
		t.Errorf("no folder: %v", err)
	}
}

// The token is what its file says at this moment, and nobody is let in while that
// is nothing.
func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log strings.Builder
	c := config.Admin{TokenFile: path}
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if _, err := tokenOf(c, logger); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	write("short\n")
	if _, err := tokenOf(c, logger); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a short one: %v", err)
	}
	write("0123456789abcdef\r\nand more\n")
	token, err := tokenOf(c, logger)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func()
		want   string
		lines  int // of the log
	}{
		{func() {}, "0123456789abcdef", 0},
		{func() { write("another-token-of-20b") }, "another-token-of-20b", 0},
		{func() { write("") }, "", 1},
		{func() {}, "", 1},
		{func() { os.Remove(path) }, "", 2},
		{func() { write("0123456789abcdef") }, "0123456789abcdef", 2},
		{func() { write("") }, "", 3},
	} {
		tt.change()
		got, err := token()
		if got != tt.want || (err == nil) != (tt.want != "") || strings.Count(log.String(), "\n") != tt.lines {
			t.Errorf("%q, %v, want %q; log:\n%s", got, err, tt.want, &log)
		}
	}
	if strings.Contains(log.String(), "0123456789") {
		t.Errorf("the log shows a token:\n%s", &log)
	}
}

// What a configuration names must be there before anything listens.
func TestAdminFiles(t *testing.T) {
	defer noLeak(t)
	for name, change := range map[string]func(*config.Admin){
		"admin.token_file: ": func(a *config.Admin) { a.TokenFile = "/no/such/token" },
		"admin.tls: ":        func(a *config.Admin) { a.TLS = config.AdminTLS{CertFile: "/no/such/cert", KeyFile: "/no/such/key"} },
	} {
		cfg, err := config.Quick("127.0.0.1:0", "127.0.0.1:0", []string{"127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		change(&cfg.Admin)
		if _, err := New(cfg, "test", slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("got %v, want %s...", err, name)
		}
	}
}
