package compare

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// load is a closed loop: connections that each wait for an answer before they ask
// for more.
type load struct {
	addr        string
	connections int
	scenario    Scenario
	// one has every key asked for once, and else those of a random order are for as
	// long as ctx goes on.
	once bool
}

// tally is what came of a load.
type tally struct {
	answers int64
	latency *hdrhistogram.Histogram // in microseconds
}

func newTally() tally { return tally{latency: hdrhistogram.New(1, 60_000_000, 3)} }

// run asks until ctx ends. The error is the first answer that is not a 200 with a
// body of the scenario's size, or the first failure to get one.
func (l load) run(ctx context.Context) (tally, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	parts := make([]tally, l.connections)
	var workers sync.WaitGroup
	for i := range parts {
		workers.Go(func() {
			var err error
			if parts[i], err = l.work(ctx, i); err != nil {
				stop(err)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return tally{}, err
	}
	all := newTally()
	for _, p := range parts {
		all.answers += p.answers
		all.latency.Merge(p.latency)
	}
	return all, nil
}

// answerTime bounds the wait for one answer.
const answerTime = 10 * time.Second

func (l load) work(ctx context.Context, number int) (tally, error) {
	t := newTally()
	c, err := (&net.Dialer{Timeout: answerTime}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return t, ended(ctx, err)
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	br := bufio.NewReaderSize(c, 16<<10)
	request := []byte("GET " + l.scenario.target(0) + " HTTP/1.1\r\nHost: bench.example\r\n\r\n")
	key := request[len("GET /k/"):][:7]
	keys := rand.New(rand.NewPCG(1, uint64(number)))
	for i := number; ctx.Err() == nil; i += l.connections {
		n := i
		if !l.once {
			n = keys.IntN(l.scenario.Keys)
		} else if i >= l.scenario.Keys {
			break
		}
		putNumber(key, n)
		began := time.Now()
		if _, err := c.Write(request); err != nil {
			return t, ended(ctx, err)
		}
		if err := readAnswer(br, l.scenario.Size); err != nil {
			return t, ended(ctx, err)
		}
		t.answers++
		_ = t.latency.RecordValue(min(max(time.Since(began).Microseconds(), 1), 60_000_000)) // it is within its bounds
	}
	return t, nil
}

// ended is err, unless that is only the end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func putNumber(at []byte, n int) {
	for i := len(at) - 1; i >= 0; i-- {
		at[i] = byte('0' + n%10)
		n /= 10
	}
}

// readAnswer reads an answer whose body is of size bytes to its end. It knows what
// the servers here send, and no more.
func readAnswer(br *bufio.Reader, size int) error {
	line, err := br.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("an answer: %w", err)
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("an answer begins with %q", line)
	}
	length := -1
	for {
		if line, err = br.ReadSlice('\n'); err != nil {
			return fmt.Errorf("the head of an answer: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		if name := []byte("content-length:"); len(line) > len(name) && bytes.EqualFold(line[:len(name)], name) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return fmt.Errorf("an answer: %w", err)
			}
		}
	}
	if length != size {
		return fmt.Errorf("an answer has Content-Length %d, want %d", length, size)
	}
	if _, err := br.Discard(length); err != nil {
		return fmt.Errorf("the body of an answer: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}
