package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"ringfence/loadtest/origin"
)

// mostTargets is how many targets the closing table names.
const mostTargets = 10

func originCommand() *cobra.Command {
	var (
		listen, name, cacheControl string
		answer                     origin.Answer
		control                    bool
		paths                      []string
	)
	c := &cobra.Command{
		Use:   "origin",
		Short: "Serve as a scripted origin and count what comes",
		Long: `Serve as a scripted origin until interrupted, then print what came.

The flags say how every request is answered; the query of a request changes it:
  status=503  size=100000  framing=length|chunked|close
  delay=200ms spread=0.5   chunk=1000   pause=10ms
  cut=5000    end=keep|close|drop|reset   h=Cache-Control:max-age=60
With a spread delays are log-normal around their median, delay; the spread is
the standard deviation of their logarithm. GET /healthz is answered with 200.
With --path requests whose path begins so are answered as its query says.

With --control a POST to /control changes the answers from then on: its query
takes the same, part=30 for 30 % of the requests, path=/api/ for those whose
path begins so, and ready=no, with which GET /ready is answered with 503. GET
/control tells, in JSON, how many requests came, for how many keys (a path with
its query), the most for one and the most at once for one. DELETE /control
begins these counts anew.`,
		Example: `  loadtest origin --listen 127.0.0.1:9001 --size 1024
  loadtest origin --delay 20ms --spread 0.5 --path '/slow/?delay=1s' --path '/api/?status=503&part=1'
  curl 'http://127.0.0.1:9001/slow?delay=1s&chunk=100&pause=100ms'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if cacheControl != "" {
				answer = answer.With("Cache-Control", cacheControl)
			}
			script := origin.FromQuery(answer)
			if control || len(paths) > 0 {
				told, err := origin.NewControl(answer, paths...)
				if err != nil {
					return err
				}
				script = told.Script
			}
			o, err := origin.Start(origin.Options{Listen: listen, Name: name, Script: script})
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(c.OutOrStdout(), "origin %s at http://%s\n", o.Name(), o.Addr())
			<-c.Context().Done()
			o.Stop()
			return printRecord(c.OutOrStdout(), o.Record())
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9001", "host:port to serve at; port 0 for a free one")
	f.StringVar(&name, "name", "", "what X-Served-By says (default the address)")
	f.Int64Var(&answer.Size, "size", 1024, "bytes of body, drawn from the target")
	f.DurationVar(&answer.Delay, "delay", 0*time.Second, "time before each answer")
	f.Float64Var(&answer.Spread, "spread", 0, "standard deviation of the delay's logarithm")
	f.StringArrayVar(&paths, "path", nil, "`PATH?QUERY`: how requests whose path begins so are answered; implies --control; may be repeated")
	f.StringVar(&cacheControl, "cache-control", "max-age=60", `value of Cache-Control, "" for none`)
	f.BoolVar(&control, "control", false, "let POST /control change the answers")
	return c
}

func printRecord(w io.Writer, r origin.Record) error {
	_, err := fmt.Fprintf(w, "requests %d, complete %d, targets %d, connections %d, health checks %d, malformed %d\n",
		r.Total, r.Complete, len(r.Targets), r.Connections, r.Checks, r.Malformed)
	targets := slices.SortedFunc(maps.Keys(r.Targets), func(a, b string) int {
		return cmp.Or(r.Targets[b].Total-r.Targets[a].Total, cmp.Compare(a, b))
	})
	for _, t := range targets[:min(len(targets), mostTargets)] {
		if err == nil {
			_, err = fmt.Fprintf(w, "%8d  at most %d at once  %s\n", r.Targets[t].Total, r.Targets[t].Peak, t)
		}
	}
	return err
}
