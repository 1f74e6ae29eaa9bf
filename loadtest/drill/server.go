package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ringfence/loadtest/origin"
)

// server is an origin in a process of its own, so that it can be killed and
// paused.
type server struct {
	*process
	program    string
	name, addr string
	delay      time.Duration // before each answer
}

// startServer runs an origin at a free port.
func startServer(ctx context.Context, program, name string, delay time.Duration) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{program: program, name: name, addr: addr, delay: delay}
	return s, s.start(ctx)
}

// start runs it, or runs it again, and waits until it listens.
func (s *server) start(ctx context.Context) error {
	p, err := startProcess(s.program, "origin", "--control", "--listen", s.addr, "--name", s.name,
		"--size", strconv.Itoa(bodySize), "--delay", s.delay.String(), "--cache-control", cacheControl)
	if err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	s.process = p
	ok, err := until(ctx, startTime, func() bool { return strings.Contains(p.log.String(), s.addr) || p.ended() })
	if err != nil || !ok || p.ended() {
		p.kill()
		return errors.Join(fmt.Errorf("server %s does not listen; it says: %s", s.name, p.log.tail()), err)
	}
	return nil
}

// tell changes how it answers, as origin.Control understands it.
func (s *server) tell(ctx context.Context, query string) error {
	_, err := call(ctx, http.MethodPost, "http://"+s.addr+"/control?"+query, "")
	return err
}

// requests is how many it has got since it was started.
func (s *server) requests(ctx context.Context) (int, error) {
	text, err := call(ctx, http.MethodGet, "http://"+s.addr+origin.ControlPath, "")
	if err != nil {
		return 0, err
	}
	var counts origin.Counts
	if err := json.Unmarshal([]byte(text), &counts); err != nil {
		return 0, fmt.Errorf("server %s: its counts: %w", s.name, err)
	}
	return counts.Requests, nil
}

// call asks for what is answered at once, on a connection of its own, and
// returns the answer's body.
func call(ctx context.Context, method, url, body string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Close = true
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %d %s", method, url, resp.StatusCode, text)
	}
	return string(text), err
}
