package drill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxReply bounds one part of a reply, in bytes, and the parts of an array.
const maxReply = 1 << 20

// engine is a real Redis or Valkey in a process of its own, which can be ended
// and started again at the same address, without what it held.
type engine struct {
	*process
	program, dir, addr string
	slowness           time.Duration // of each answer, while it is slow
	stopSlow           func()        // set while it is slow
}

// startEngine runs an engine and waits until it answers.
func startEngine(ctx context.Context, program, dir string) (*engine, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "engine"); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e := &engine{program: program, dir: dir, addr: addr}
	return e, e.start(ctx)
}

// freeAddress finds a port outside the range from which clients get theirs, so
// that nobody takes it while the engine is away.
func freeAddress() (string, error) {
	var err error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port: %w", err)
}

// start runs the process and waits until it answers.
func (e *engine) start(ctx context.Context) error {
	if err := e.run(); err != nil {
		return err
	}
	return e.await(ctx, "PONG")
}

// run runs the process, which may be loading for a while.
func (e *engine) run(args ...string) error {
	_, port, err := net.SplitHostPort(e.addr)
	if err != nil {
		return err
	}
	args = append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", e.dir, "--daemonize", "no",
		"--save", "", "--enable-debug-command", "yes",
	}, args...)
	p, err := startProcess(e.program, args...)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.process = p
	return nil
}

// ping returns what the engine says to it, "" where it says nothing.
func (e *engine) ping(ctx context.Context) string {
	got, err := e.ask(ctx, "PING")
	var said refusal
	switch {
	case errors.As(err, &said):
		return string(said)
	case err == nil && len(got) == 1:
		return got[0]
	}
	return ""
}

// await waits until the engine's answer to PING begins with a word.
func (e *engine) await(ctx context.Context, word string) error {
	ok, err := until(ctx, startTime, func() bool {
		return strings.HasPrefix(e.ping(ctx), word) || e.ended()
	})
	if err != nil || !ok || e.ended() {
		return errors.Join(fmt.Errorf("engine %s does not say %s; its log ends with: %s", e.addr, word, e.log.tail()), err)
	}
	return nil
}

// end ends the process and what was done to it.
func (e *engine) end() {
	if e.stopSlow != nil {
		e.stopSlow()
	}
	e.kill()
}

// refusal is an error reply.
type refusal string

func (r refusal) Error() string { return "engine: " + string(r) }

// ask sends one command on a connection of its own, and returns the reply's
// parts. An error reply is a refusal.
func (e *engine) ask(ctx context.Context, words ...string) ([]string, error) {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	_ = c.SetDeadline(time.Now().Add(startTime)) // where it fails the command does
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return nil, fmt.Errorf("engine: %s: %w", words[0], err)
	}
	return readReply(bufio.NewReader(c))
}

// readReply reads one reply, whose arrays are flattened.
func readReply(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("engine: reply: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("engine: reply: empty line")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return []string{rest}, nil
	case '-':
		return nil, refusal(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n > maxReply {
		return nil, fmt.Errorf("engine: reply %q", line)
	}
	if kind == '$' {
		if n < 0 {
			return []string{""}, nil
		}
		text := make([]byte, n+len("\r\n"))
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, fmt.Errorf("engine: reply: %w", err)
		}
		return []string{string(text[:n])}, nil
	}
	var parts []string
	for range n {
		part, err := readReply(r)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part...)
	}
	return parts, nil
}

// keys returns the names of all keys.
func (e *engine) keys(ctx context.Context) (map[string]bool, error) {
	all, err := e.ask(ctx, "KEYS", "*")
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(all))
	for _, name := range all {
		names[name] = true
	}
	return names, nil
}
