package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringfence/loadtest/result"
	"ringfence/loadtest/scenario"
)

// runFlags are what takes the place of a scenario's file, or changes it.
type runFlags struct {
	url, origin, label, out  string
	target                   string
	keys                     int
	zipf, rate               float64
	clients, count, workers  int
	duration, timeout, think time.Duration
	poisson, fresh, h2       bool
	insecure                 bool
	thresholds               []string
}

func runCommand() *cobra.Command {
	var o runFlags
	c := &cobra.Command{
		Use:   "run [SCENARIO.yaml]",
		Short: "Send requests and measure the answers",
		Long: `Send requests as a scenario says, or as flags do, and measure the answers.

With a rate they are sent by the clock, whatever the answers do (an open loop),
and latency counts from the moment a request was meant to be sent. With clients
each waits for an answer before its next request (a closed loop), which tells
the highest rate and not what users would wait.

loadtest/scenarios has examples, the first of which says what a scenario may
have. Thresholds are on ` + scenario.Metrics + `.

Exit status 1 where a threshold was missed (without any: where a request had no
answer or a 5xx), and where the rate was not kept, so that the figures are void.`,
		Example: `  loadtest run --url 'http://127.0.0.1:8080/item/{key}' --keys 1000 --rate 2000 --duration 10s --threshold 'p99 < 5ms'
  loadtest run --target http://127.0.0.1:8080 --out before.json loadtest/scenarios/zipf.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := o.file(args, c.Flags().Changed)
			if err != nil {
				return err
			}
			s, err := scenario.New(f)
			if err != nil {
				return err
			}
			return play(c, s, o.label, o.out)
		},
	}
	f := c.Flags()
	f.StringVar(&o.url, "url", "", "where requests go, without a scenario; {key} stands for 0, 1, ... keys-1")
	f.IntVar(&o.keys, "keys", 1, "how many values {key} takes, in turn")
	f.Float64Var(&o.zipf, "zipf", 0, "draw keys by Zipf's law with this exponent instead")
	f.Float64Var(&o.rate, "rate", 100, "requests a second")
	f.BoolVar(&o.poisson, "poisson", false, "requests come by chance, at that rate")
	f.IntVar(&o.clients, "clients", 0, "clients that wait for answers, in place of a rate")
	f.DurationVar(&o.think, "think", 0, "how long each waits between an answer and a request, on average")
	f.IntVar(&o.count, "count", 0, "how many requests are sent at most; 0 for no bound")
	f.DurationVar(&o.duration, "duration", 10*time.Second, "how long requests are sent")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "bound on each request")
	f.IntVar(&o.workers, "connections", 256, "most requests under way at once at a rate")
	f.BoolVar(&o.fresh, "new-connections", false, "each request has a connection of its own")
	f.BoolVar(&o.h2, "h2", false, "use HTTP/2")
	f.BoolVar(&o.insecure, "insecure", false, "take any certificate")
	f.StringVar(&o.target, "target", "", "where requests go in place of what the scenario says, such as http://127.0.0.1:8080")
	f.StringVar(&o.origin, "origin", "", "where an origin with --control tells its counts, such as http://127.0.0.1:9001")
	f.StringArrayVar(&o.thresholds, "threshold", nil, "`condition` that each phase must meet, such as 'p99 < 5ms'; may be repeated")
	f.StringVar(&o.label, "label", "", "what this run is called in reports")
	f.StringVar(&o.out, "out", "", "`file` for what came of it, as JSON, for loadtest report")
	return c
}

// play plays a scenario, and tells what came of it.
func play(c *cobra.Command, s *scenario.Scenario, label, out string) error {
	r, err := s.Play(c.Context(), label, runProgress(c.ErrOrStderr()))
	if len(r.Phases) > 0 {
		err = errors.Join(err, r.WriteText(c.OutOrStdout()))
		if out != "" {
			err = errors.Join(err, r.Save(out))
		}
	}
	return errors.Join(err, verdict(r))
}

// file returns the scenario that is meant.
func (o runFlags) file(args []string, given func(string) bool) (*scenario.File, error) {
	if len(args) == 0 {
		return o.plain()
	}
	for _, name := range []string{"url", "keys", "zipf", "rate", "poisson", "clients", "think", "count", "duration", "connections", "new-connections"} {
		if given(name) {
			return nil, fmt.Errorf("--%s: the scenario says that", name)
		}
	}
	f, err := scenario.ReadFile(args[0])
	if err != nil {
		return nil, err
	}
	if o.target != "" {
		f.Target = o.target
	}
	if o.origin != "" {
		f.Origin = o.origin
	}
	if given("timeout") {
		f.Timeout = scenario.Duration(o.timeout)
	}
	if o.h2 {
		f.Protocol = "h2"
	}
	f.TLS.Insecure = f.TLS.Insecure || o.insecure
	if len(o.thresholds) > 0 {
		f.Thresholds = append(f.Thresholds, o.thresholds...)
		for i := range f.Phases {
			if own := &f.Phases[i].Thresholds; *own != nil {
				*own = append(*own, o.thresholds...)
			}
		}
	}
	return f, nil
}

// plain is the scenario that the flags make.
func (o runFlags) plain() (*scenario.File, error) {
	// Places in braces are no part of what a URL is parsed by.
	target, path, ok := cutURL(o.url)
	if !ok {
		return nil, errors.New("want a scenario, or --url such as http://127.0.0.1:8080/{key}")
	}
	f := &scenario.File{
		Name: o.url, Target: target, Origin: o.origin, Timeout: scenario.Duration(o.timeout), Thresholds: o.thresholds,
		TLS: scenario.TLS{Insecure: o.insecure},
	}
	if o.h2 {
		f.Protocol = "h2"
	}
	f.Keys = &scenario.Keys{Count: o.keys}
	if o.zipf > 0 {
		f.Keys.Law, f.Keys.S = "zipf", o.zipf
	}
	f.Connections, f.NewConnections = o.workers, o.fresh
	f.Requests = []scenario.Request{{Path: path}}
	p := scenario.Phase{Name: "run", Duration: scenario.Duration(o.duration), Count: o.count, Rate: o.rate}
	if o.clients > 0 {
		p.Rate, p.Clients, p.Think = 0, o.clients, scenario.Duration(o.think)
	}
	if o.poisson {
		p.Arrivals = "poisson"
	}
	f.Phases = []scenario.Phase{p}
	return f, nil
}

func cutURL(text string) (target, path string, ok bool) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return "", "", false
	}
	host, path, _ := strings.Cut(rest, "/")
	target = scheme + "://" + host
	_, err := url.Parse(target)
	return target, "/" + path, err == nil
}

// runProgress tells on a terminal how far a run has come.
func runProgress(w io.Writer) func(scenario.Progress) {
	tell := progress(w)
	return func(p scenario.Progress) {
		left := ""
		if p.Left > 0 {
			left = fmt.Sprintf("  %s left", p.Left.Round(time.Second))
		}
		if p.Of > 0 && p.Tick.Seconds > 0 {
			tell(fmt.Sprintf("%s (%d of %d)  %.0f/s  p50 %s  p99 %s  errors %d of %d%s", p.Phase, p.Nth, p.Of,
				float64(p.Tick.Answered())/p.Tick.Seconds, result.Short(time.Duration(p.Tick.P50)*time.Microsecond),
				result.Short(time.Duration(p.Tick.P99)*time.Microsecond), p.Failed, p.Sent, left))
		}
		if p.Left == 0 {
			tell("")
		}
	}
}

// verdict is the error of a run that failed.
func verdict(r result.Run) error {
	failed := r.Failed()
	list := make([]error, 0, len(r.Void)+len(failed))
	for _, why := range r.Void {
		list = append(list, errors.New("void: "+why))
	}
	for _, t := range failed {
		list = append(list, fmt.Errorf("%s: %s: %s", t.Phase, t.Text, t.Shown))
	}
	return errors.Join(list...)
}
