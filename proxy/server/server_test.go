package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringfence/loadtest/origin"
	"ringfence/proxy/config"
)

// newServer builds a proxy on free ports, before one origin.
func newServer(t *testing.T, upstream string) *Server {
	t.Helper()
	cfg, err := config.Quick("127.0.0.1:0", "127.0.0.1:0", []string{upstream})
	if err != nil {
		t.Fatal(err)
	}
	cfg.ShutdownTimeout = 5 * time.Second
	s, err := New(cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs s until stop is called, which waits for its end.
func run(t *testing.T, s *Server) (stop func() error) {
	t.Helper()
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// noLeak reports goroutines left behind. fasthttp's own two end by themselves,
// some seconds later or never.
func noLeak(t *testing.T) {
	t.Helper()
	const fasthttp = "github.com/valyala/fasthttp."
	goleak.VerifyNone(t, goleak.IgnoreAnyFunction(fasthttp+"(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction(fasthttp+"updateServerDate.func1"))
}

// A server that was built but not run can be closed, and leaves no goroutine.
func TestCloseBeforeRun(t *testing.T) {
	defer noLeak(t)
	for _, listens := range []bool{false, true} {
		s := newServer(t, "127.0.0.1:1")
		if listens {
			if err := s.Listen(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("listening %v: %v", listens, err)
		}
	}
}

// A taken address is named with the option that chose it, and nothing stays
// open.
func TestListenErrors(t *testing.T) {
	defer noLeak(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for option, set := range map[string]func(*Server){
		"listen":       func(s *Server) { s.entrances[0].cfg.Address = taken.Addr().String() },
		"admin.listen": func(s *Server) { s.now.Load().cfg.Admin.Listen = taken.Addr().String() },
	} {
		s := newServer(t, "127.0.0.1:1")
		set(s)
		want := option + " " + taken.Addr().String() + ": "
		if err := s.Listen(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "127.0.0.1") != 1 {
			t.Errorf("got %v, want %s...", err, want)
		}
		if s.entrances[0].gate.TCPListener != nil {
			if _, err := s.entrances[0].gate.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: the listener for clients is open: %v", option, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", option, err)
		}
	}
}

// Once told to stop, a server is not ready, answers what is in flight, says
// that it was the last answer, and leaves nothing behind.
func TestDrain(t *testing.T) {
	defer noLeak(t)
	hold := make(chan struct{})
	o, err := origin.Start(origin.Options{Script: func(origin.Request) origin.Answer {
		return origin.Answer{Hold: hold, Body: []byte("x")}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Stop()
	s := newServer(t, o.Addr())
	stop := run(t, s)
	c, err := net.Dial("tcp", s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := o.WaitFor(func(r origin.Record) bool { return r.Total == 1 }, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if r := ready(t, s); r != http.StatusOK {
		t.Errorf("readyz %d while it serves", r)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for s.whyUnready() == "" {
		// The word to stop is under way.
	}
	if r := ready(t, s); r != http.StatusServiceUnavailable {
		t.Errorf("readyz %d while it drains", r)
	}
	close(hold)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "x" || !resp.Close {
		t.Errorf("in flight: %q, %v, last %v", body, err, resp.Close)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, err := net.Dial("tcp", s.Addrs()[0]); err == nil {
		t.Error("the listener is open")
	}
}

func ready(t *testing.T, s *Server) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://%s/readyz", s.AdminAddr()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// A listener that fails ends the server with its error.
func TestServeFails(t *testing.T) {
	defer noLeak(t)
	for name, breakIt := range map[string]func(*Server) error{
		"serve":                   func(s *Server) error { return s.entrances[0].gate.TCPListener.Close() },
		"serve the admin surface": func(s *Server) error { return s.adminListener.Close() },
	} {
		s := newServer(t, "127.0.0.1:1")
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
		if err := breakIt(s); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(context.Background()); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A gate that is shut takes what is in its queue, however late it looks, says
// io.EOF, and is closed by then.
func TestGate(t *testing.T) {
	l, err := listen("listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := gate{l.(*net.TCPListener)}
	const waiting = 3
	for range waiting {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if err := g.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for i := range waiting {
		c, err := g.Accept()
		if err != nil {
			t.Fatalf("queued connection %d: %v", i, err)
		}
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	if _, err := g.Accept(); !errors.Is(err, io.EOF) {
		t.Errorf("then %v", err)
	}
	if err := g.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it is open")
	}
}
