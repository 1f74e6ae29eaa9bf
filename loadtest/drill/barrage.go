package drill

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"ringfence/loadtest/origin"
)

const (
	// keyCount is how many keys the requests of a barrage take in turn.
	keyCount = 300
	// bodySize is the size of each answer.
	bodySize = 1 << 10
	// lateBy is how far behind its time a request may be sent before it counts
	// as late.
	lateBy = 10 * time.Millisecond
)

// fate is what became of a request, as its client sees it.
type fate uint8

const (
	unanswered fate = iota // the connection ended before a head, or could not be opened
	whole                  // the answer that is right
	refused                // a status that is not 200
	cut                    // the connection ended within the body
	wrong                  // it looks complete, and is not what was asked for
)

func (f fate) String() string {
	return [...]string{"not answered", "whole", "an error status", "cut", "wrong"}[f]
}

// shot is one request of a barrage, and what came of it. Times count from the
// beginning of the barrage.
type shot struct {
	key   int
	at    time.Duration // when it was meant to be sent
	sent  time.Duration // when it was
	ended time.Duration // when all of the answer was there, or the connection's end
	fate  fate
	by    string // the server that answered, "" for none
	err   error
}

// took is the latency as a user has it: it counts from the plan, so that a
// standstill cannot hide the requests that it kept from being sent.
func (s shot) took() time.Duration { return s.ended - s.at }

// barrage sends requests at a constant rate, whatever the answers do (an open
// loop). One goroutine sends, each on a connection that has nothing under way,
// and one for each connection reads.
type barrage struct {
	addr      string
	queries   []string // of the keys, in turn
	start     time.Time
	interval  time.Duration
	contents  [][]byte
	stopped   chan struct{}
	stopOnce  sync.Once
	sender    sync.WaitGroup
	receivers sync.WaitGroup

	mu    sync.Mutex
	idle  []*line
	lines map[*line]struct{}
	shots []*shot
}

// line is one connection.
type line struct {
	net.Conn
	r    *bufio.Reader
	shot *shot // under way; guarded by the barrage's mutex
	dead bool  // likewise
}

// fire begins a barrage against a proxy, with queries that the keys take in
// turn. Who fires must end it.
func fire(ctx context.Context, addr string, rate float64, queries ...string) *barrage {
	b := &barrage{
		addr: addr, queries: queries, interval: time.Duration(float64(time.Second) / rate),
		contents: make([][]byte, keyCount), stopped: make(chan struct{}), lines: map[*line]struct{}{},
	}
	for key := range b.contents {
		b.contents[key], _ = io.ReadAll(origin.Content(b.target(key), bodySize)) // it cannot fail
	}
	b.start = time.Now()
	b.sender.Go(func() { b.send(ctx) })
	return b
}

func (b *barrage) target(key int) string {
	target := "/" + strconv.Itoa(key)
	if len(b.queries) > 0 {
		target += b.queries[key%len(b.queries)]
	}
	return target
}

// connections is how many there are at the moment.
func (b *barrage) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lines)
}

// now is the time since the beginning.
func (b *barrage) now() time.Duration { return time.Since(b.start) }

func (b *barrage) send(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		s := &shot{key: i % keyCount, at: time.Duration(i) * b.interval}
		timer.Reset(time.Until(b.start.Add(s.at)))
		select {
		case <-ctx.Done():
			return
		case <-b.stopped:
			return
		case <-timer.C:
		}
		s.sent = b.now()
		l, err := b.take(ctx, s)
		if err != nil {
			s.err, s.ended = err, b.now()
			continue
		}
		// An error ends the reading of the answer, too.
		_, _ = io.WriteString(l, "GET "+b.target(s.key)+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	}
}

// take gives the request a connection with nothing under way, the latest used
// first, or a new one.
func (b *barrage) take(ctx context.Context, s *shot) (*line, error) {
	b.mu.Lock()
	b.shots = append(b.shots, s)
	for len(b.idle) > 0 {
		l := b.idle[len(b.idle)-1]
		b.idle = b.idle[:len(b.idle)-1]
		if !l.dead {
			l.shot = s
			b.mu.Unlock()
			return l, nil
		}
	}
	b.mu.Unlock()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", b.addr)
	if err != nil {
		return nil, err
	}
	l := &line{Conn: conn, r: bufio.NewReader(conn), shot: s}
	b.mu.Lock()
	b.lines[l] = struct{}{}
	b.mu.Unlock()
	b.receivers.Go(func() { b.receive(l) })
	return l, nil
}

// receive reads the answers of one connection.
func (b *barrage) receive(l *line) {
	buf := make([]byte, 2*bodySize)
	for {
		_, err := l.r.Peek(1)
		b.mu.Lock()
		s := l.shot
		if err != nil || s == nil {
			b.drop(l, err)
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		keep := s.read(l.r, buf, b.contents[s.key])
		s.ended = b.now()
		b.mu.Lock()
		l.shot = nil
		if keep {
			b.idle = append(b.idle, l)
		} else {
			b.drop(l, nil)
		}
		b.mu.Unlock()
		if !keep {
			return
		}
	}
}

// drop ends a connection, and with an error the request that is under way on
// it. The mutex is held.
func (b *barrage) drop(l *line, err error) {
	l.dead = true
	delete(b.lines, l)
	_ = l.Close() // nothing more comes of it
	if l.shot != nil {
		l.shot.ended, l.shot.err = b.now(), err
	}
}

// read reads an answer, and reports whether the connection is good for another.
func (s *shot) read(r *bufio.Reader, buf, content []byte) bool {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		s.err = fmt.Errorf("head: %w", err)
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	s.by = resp.Header.Get("X-Served-By")
	n := 0
	for err == nil && n < len(buf) {
		var more int
		more, err = resp.Body.Read(buf[n:])
		n += more
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.fate, s.err = cut, fmt.Errorf("body: after %d bytes: %w", n, err)
		return false
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		s.fate, s.err = refused, fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(buf[:min(n, keptText)]))
	case !bytes.Equal(buf[:n], content):
		s.fate, s.err = wrong, fmt.Errorf("%d bytes that are not the content", n)
	default:
		s.fate = whole
	}
	return !resp.Close
}

// end stops the sending, waits until every request has its answer or the
// clients are out of patience, and returns what came of them all, in the order
// in which they were meant to be sent. It may be called more than once.
func (b *barrage) end() []*shot {
	b.stopOnce.Do(func() {
		close(b.stopped)
		b.sender.Wait()
		_, _ = until(context.Background(), patience, func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			for l := range b.lines {
				if l.shot != nil {
					return false
				}
			}
			return true
		})
		b.mu.Lock()
		for l := range b.lines {
			_ = l.Close() // its receiver ends
		}
		b.mu.Unlock()
		b.receivers.Wait()
	})
	return b.shots
}
