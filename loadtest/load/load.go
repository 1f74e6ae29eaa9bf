// Package load sends requests at a constant rate, whatever the answers do (an
// open loop), and measures each from the moment it was meant to be sent, so
// that a server which stalls cannot hide the requests it kept from being sent.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// lateBy is how far behind its time a request may start before it is counted
// as late.
const lateBy = 10 * time.Millisecond

// Plan describes a run. URL, Rate and Duration are required.
type Plan struct {
	// URL returns where the i-th request goes, i counted from 0. It is called
	// from many goroutines.
	URL      func(i int) string
	Rate     float64       // requests a second
	Duration time.Duration // how long requests are sent
	Timeout  time.Duration // bound on each request; default 10 s
	Workers  int           // most requests under way at once; default 256
}

// Run sends the plan's requests with GET and waits for their answers. When ctx
// ends no more are sent and those under way are broken off. The error says
// that the plan cannot be run; failed requests are counted in the result.
func Run(ctx context.Context, p Plan) (Result, error) {
	if p.URL == nil || p.Rate <= 0 || p.Duration <= 0 {
		return Result{}, errors.New("load: want a URL, a rate above 0 and a duration above 0")
	}
	if p.Timeout <= 0 {
		p.Timeout = 10 * time.Second
	}
	if p.Workers <= 0 {
		p.Workers = 256
	}
	transport := &http.Transport{
		MaxIdleConnsPerHost: p.Workers,
		DisableCompression:  true,
		DialContext:         (&net.Dialer{Timeout: p.Timeout}).DialContext,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport, Timeout: p.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r := run{
		plan: p, client: client, start: time.Now(),
		interval: time.Duration(float64(time.Second) / p.Rate),
		total:    int64(p.Rate * p.Duration.Seconds()),
	}
	parts := make([]Result, min(int64(p.Workers), r.total))
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { parts[i] = r.work(ctx) })
	}
	wg.Wait()
	return merge(parts, time.Since(r.start)), nil
}

// run is shared by its workers, who take the requests in turn.
type run struct {
	plan     Plan
	client   *http.Client
	start    time.Time
	interval time.Duration
	total    int64
	next     atomic.Int64
}

func (r *run) work(ctx context.Context) Result {
	res := newResult()
	for {
		i := r.next.Add(1) - 1
		if i >= r.total {
			return res
		}
		intended := r.start.Add(time.Duration(i) * r.interval)
		if !sleepUntil(ctx, intended) {
			return res
		}
		if time.Since(intended) > lateBy {
			res.Late++
		}
		status, err := get(ctx, r.client, r.plan.URL(int(i)))
		res.add(status, err, time.Since(intended))
	}
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// get returns the status of a whole answer.
func get(ctx context.Context, client *http.Client, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, fmt.Errorf("body: %w", err)
	}
	return resp.StatusCode, nil
}

// outcome names what became of a request: its status, or the kind of error.
func outcome(status int, err error) string {
	switch {
	case err == nil:
		return strconv.Itoa(status)
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Broken
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return CutShort
	}
	return Failed
}
