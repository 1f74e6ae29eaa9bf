package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// The outcomes of requests that have no status.
const (
	Refused  = "refused"   // nobody listens
	Canceled = "canceled"  // the run was broken off
	Timeout  = "timeout"   // no whole answer within Plan.Timeout
	Broken   = "reset"     // the connection was reset
	CutShort = "cut short" // the connection ended within the answer, or before it
	Failed   = "failed"    // anything else
)

// Result is what came of a run.
type Result struct {
	Sent     int            // requests sent
	Late     int            // of those, sent over 10 ms late for want of a worker or CPU time
	Outcomes map[string]int // by status, such as "200", or one of the outcomes above
	Example  error          // the first error met, nil for none
	Took     time.Duration  // from the first request to the last answer
	latency  []time.Duration
}

func newResult() Result { return Result{Outcomes: map[string]int{}} }

func (r *Result) add(status int, err error, latency time.Duration) {
	r.Sent++
	r.Outcomes[outcome(status, err)]++
	if err == nil {
		r.latency = append(r.latency, latency)
	} else if r.Example == nil {
		r.Example = err
	}
}

func merge(parts []Result, took time.Duration) Result {
	all := newResult()
	for _, p := range parts {
		all.Sent += p.Sent
		all.Late += p.Late
		all.latency = append(all.latency, p.latency...)
		for name, n := range p.Outcomes {
			all.Outcomes[name] += n
		}
		if all.Example == nil {
			all.Example = p.Example
		}
	}
	slices.Sort(all.latency)
	all.Took = took
	return all
}

// Percentile returns the latency that p percent (0 to 100) of the answered
// requests did not pass, 0 where none was answered.
func (r Result) Percentile(p float64) time.Duration {
	if len(r.latency) == 0 {
		return 0
	}
	rank := int(p / 100 * float64(len(r.latency)))
	return r.latency[min(max(rank, 0), len(r.latency)-1)]
}

// Lost is the number of requests that had no answer below 500.
func (r Result) Lost() int {
	lost := r.Sent
	for name, n := range r.Outcomes {
		if len(name) == 3 && name < "500" {
			lost -= n
		}
	}
	return lost
}

// WriteTo writes the result as a short table for people to read.
func (r Result) WriteTo(w io.Writer) (int64, error) {
	n, err := fmt.Fprintf(w, "sent      %d in %.2f s, %.0f/s, %d late\n",
		r.Sent, r.Took.Seconds(), float64(r.Sent)/max(r.Took.Seconds(), 1e-9), r.Late)
	written := int64(n)
	for _, name := range slices.Sorted(maps.Keys(r.Outcomes)) {
		if err != nil {
			return written, err
		}
		n, err = fmt.Fprintf(w, "%-9s %d\n", name, r.Outcomes[name])
		written += int64(n)
	}
	if err != nil || len(r.latency) == 0 {
		return written, err
	}
	n, err = fmt.Fprintf(w, "latency   p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n",
		short(r.Percentile(50)), short(r.Percentile(90)), short(r.Percentile(99)),
		short(r.Percentile(99.9)), short(r.Percentile(100)))
	return written + int64(n), err
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
