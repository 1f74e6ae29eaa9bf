package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringfence/loadtest/load"
	"ringfence/loadtest/logs"
	"ringfence/loadtest/scenario"
)

func replayCommand() *cobra.Command {
	var (
		plan               load.Plan
		origin, label, out string
		speed              float64
		most               int
		methods            []string
		keepHost           bool
		thresholds         []string
	)
	c := &cobra.Command{
		Use:   "replay ACCESS.log",
		Short: "Send the requests of an access log again, at their own times or faster",
		Long: `Send the requests of an access log again, at the distances in time that they had, or
faster. Lines are JSON, as Ringfence and others write them, or in the common or
combined format; - is the standard input. A time in whole seconds has its requests
spread over the second. A log has no bodies: only methods without are sent, GET and
HEAD unless --method says otherwise. What is measured, and the exit status, are those
of loadtest run.`,
		Example: `  loadtest replay --target http://127.0.0.1:8080 --speed 10 access.log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !(speed > 0) {
				return fmt.Errorf("--speed: want more than 0, got %v", speed)
			}
			entries, err := readLog(c, args[0], most, methods)
			if err != nil {
				return err
			}
			plan.Times = spreadOut(entries, speed)
			plan.Request = func(i int, _ time.Duration, _ *rand.Rand) load.Request {
				r := load.Request{Method: entries[i].Method, Target: entries[i].Target}
				if keepHost {
					r.Host = entries[i].Host
				}
				return r
			}
			s, err := scenario.Replay(args[0], origin, plan, thresholds)
			if err != nil {
				return err
			}
			return play(c, s, label, out)
		},
	}
	f := c.Flags()
	f.StringVar(&plan.Target, "target", "", "where requests go, such as http://127.0.0.1:8080")
	f.Float64Var(&speed, "speed", 1, "how many times as fast")
	f.IntVar(&most, "most", 1_000_000, "how many requests of the log are read")
	f.StringSliceVar(&methods, "method", []string{"GET", "HEAD"}, "methods that are sent")
	f.BoolVar(&keepHost, "keep-host", false, "send the host that the log names")
	f.DurationVar(&plan.Timeout, "timeout", 10*time.Second, "bound on each request")
	f.IntVar(&plan.Connections, "connections", 256, "most requests under way at once")
	f.StringVar(&origin, "origin", "", "where an origin with --control tells its counts, such as http://127.0.0.1:9001")
	f.StringArrayVar(&thresholds, "threshold", nil, "`condition` that must be met, such as 'p99 < 5ms'; may be repeated")
	f.StringVar(&label, "label", "", "what this run is called in reports")
	f.StringVar(&out, "out", "", "`file` for what came of it, as JSON, for loadtest report")
	return c
}

// readLog returns the requests with these methods (none: all), and says what it leaves
// out.
func readLog(c *cobra.Command, path string, most int, methods []string) ([]logs.Entry, error) {
	from := c.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	l, err := logs.Read(from, most)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if l.Skipped > 0 {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s: %d lines are no requests, such as %s\n", path, l.Skipped, l.Example)
	}
	entries := l.Entries
	if len(methods) > 0 {
		entries = slices.DeleteFunc(entries, func(e logs.Entry) bool { return !slices.Contains(methods, e.Method) })
	}
	if left := len(l.Entries) - len(entries); left > 0 {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s: %d requests have other methods than %s\n", path, left, strings.Join(methods, ", "))
	}
	if len(entries) == 0 {
		return nil, errors.New(path + ": no request is left to send")
	}
	return entries, nil
}

// spreadOut returns when requests are due after the first of them. Those of one moment
// in whole seconds, as the combined format has them, are spread over that second.
func spreadOut(entries []logs.Entry, speed float64) []time.Duration {
	times := make([]time.Duration, len(entries))
	for i := 0; i < len(entries); {
		at := entries[i].At
		n := i + 1
		for n < len(entries) && entries[n].At.Equal(at) {
			n++
		}
		for k := i; k < n; k++ {
			d := at.Sub(entries[0].At)
			if at.Nanosecond() == 0 {
				d += time.Duration(k-i) * time.Second / time.Duration(n-i)
			}
			times[k] = time.Duration(float64(d) / speed)
		}
		i = n
	}
	return times
}
